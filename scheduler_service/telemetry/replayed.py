"""The figures of the pairs of a replay, computed by the database: memory does not depend on their number.

Formulas and penalties are those of `stats.pairs`; a test compares both.
"""

import math
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Self

import numpy as np
from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    Engine,
    Float,
    Select,
    and_,
    case,
    cast,
    func,
    literal,
    or_,
    select,
)

from scheduler_service.clock import parse_time, to_iso
from scheduler_service.stats.arms import FAILED_RATIO
from scheduler_service.stats.effect import PAIR_LIMIT
from scheduler_service.stats.metrics import Metric
from scheduler_service.stats.optimality import PROVEN_GAP, Proven
from scheduler_service.stats.outcome import NotComputable
from scheduler_service.stats.pair_sums import (
    BINS_A_SIDE,
    NO_REACH,
    SHOWN_SHARE,
    TIE,
    WIDTH,
    Differences,
    PairSums,
    Users,
    no_pairs,
)
from scheduler_service.stats.pairs import MAX_WORST, worst_of
from scheduler_service.telemetry import queries
from scheduler_service.telemetry.schema import pairs

FINITE = 1e300
"""Greater values are not durations; PostgreSQL's NaN is greater than all numbers."""


class ReplayedPairs:
    """The pairs that match a condition; see `stats.pair_sums.Replayed`. Every method raises StorageUnavailable."""

    def __init__(self, engine: Engine, number: int | None, which: ColumnElement[bool]) -> None:
        self._engine, self._number, self._which = engine, number, which

    @classmethod
    def of_last(
        cls, engine: Engine, experiment: str, candidate: str, start: datetime | None, end: datetime | None
    ) -> Self | None:
        """Those of the last replay of the candidate in this period; None: there are none."""
        query = select(pairs.c.replay, queries.REPLAY_NUMBERS.c.number)
        query = query.outerjoin_from(pairs, queries.REPLAY_NUMBERS, queries.REPLAY_NUMBERS.c.id == pairs.c.replay)
        mine = and_(pairs.c.experiment == experiment, pairs.c.candidate == candidate, pairs.c.source == "replay")
        period = [] if start is None else [pairs.c.timestamp >= to_iso(start)]
        period += [] if end is None else [pairs.c.timestamp <= to_iso(end)]
        newest_first = pairs.c.timestamp.desc(), pairs.c.id.desc()
        for row in queries.fetch(engine, query.where(mine, *period).order_by(*newest_first).limit(1)):
            return cls(engine, row.number, and_(mine, pairs.c.replay == row.replay, *period))
        return None

    @property
    def number(self) -> int | None:
        """Of the replay among all replays of the two models."""
        return None if self._number is None else int(self._number)

    def sums(self, metric: Metric, until: datetime | None = None) -> PairSums:
        """The figures of all pairs, or of those recorded until then, all of the same moment."""
        which = self._which if until is None else and_(self._which, pairs.c.timestamp <= to_iso(until))
        compared = _compared(which, metric)
        with queries.reading(self._engine) as connection:
            counts = connection.execute(_counts(compared)).one()._mapping
            if metric.may_be_unrecorded and counts["pairs"] and counts["answered"] and not counts["recorded"]:
                return no_pairs(NotComputable("not_recorded", "pairs_not_recorded", metric=metric.name))
            near = float(counts["log_a"] or 0.0), float(counts["log_b"] or 0.0)
            bins = [row._asdict() for row in connection.execute(_bins(compared, near))]
            worst = _worst(connection, compared, metric)
        return PairSums(
            pairs=int(counts["compared"]),
            users=Users.of_bins(bins, near),
            is_one_model=0 < counts["pairs"] == counts["same"],
            wins=int(counts["wins"] or 0),
            ties=int(counts["ties"] or 0),
            losses=int(counts["losses"] or 0),
            failures=(int(counts["failed_a"] or 0), int(counts["failed_b"] or 0)),
            proven=(_proven(counts, "a"), _proven(counts, "b")),
            distinct_instances=int(counts["instances"]),
            worst=worst,
            unrecorded=None,
        )

    def moments(self, most: int) -> list[datetime]:
        """Times of up to `most` pairs, evenly spaced by place, the first and the last among them."""
        place = func.row_number().over(order_by=(pairs.c.timestamp, pairs.c.id)) - 1
        placed = select(pairs.c.timestamp, place.label("place")).where(self._which).subquery().c
        with queries.reading(self._engine) as connection:
            n = int(connection.execute(select(func.count()).select_from(pairs).where(self._which)).scalar_one())
            places = [int(each) for each in np.unique(np.linspace(0, n - 1, most).round())][:n]
            found = connection.execute(select(placed.timestamp).where(placed.place.in_(places)).distinct())
            return sorted(parse_time(row[0]) for row in found)

    def differences(self, metric: Metric) -> Differences:
        """Of the pairs that both models answered, as shares of the baseline."""
        a, b = pairs.c[f"{metric.name}_a"], pairs.c[f"{metric.name}_b"]
        usable = and_(pairs.c.success_a, pairs.c.success_b, a > 0.0, b.is_not(None))
        improvement = (1.0 - b / a).label("improvement")
        rows = select(improvement).where(self._which, usable).subquery("improvements").c
        size, is_tied = func.abs(rows.improvement), func.abs(rows.improvement) <= TIE
        with queries.reading(self._engine) as connection:
            total = int(connection.execute(select(func.count()).select_from(pairs).where(self._which)).scalar_one())
            counts = select(func.count(case((is_tied, 1))), func.count(case((~is_tied, 1))))
            tied, untied = map(int, connection.execute(counts).one())
            reach = NO_REACH
            if untied:
                place = SHOWN_SHARE * (untied - 1)
                around = select(size).where(~is_tied).order_by(size).limit(2).offset(math.floor(place))
                low, *more = (float(row[0]) for row in connection.execute(around))
                reach = low + (place % 1.0) * ((more[0] if more else low) - low)
            step = cast(func.round(size / (reach / BINS_A_SIDE) - 0.5), BigInteger)
            side = case((rows.improvement < 0.0, -1), else_=1)
            last = BINS_A_SIDE - 1
            bin_ = case((size >= reach, last), else_=step)
            sides = {-1: np.zeros(BINS_A_SIDE), 1: np.zeros(BINS_A_SIDE)}
            counted = select(side, bin_, func.count()).where(~is_tied).group_by(side, bin_)
            for way, number, count in connection.execute(counted):
                sides[way][min(int(number), last)] += count
        return Differences(reach, sides[-1], tied, sides[1], total - tied - untied)


def _compared(which: ColumnElement[bool], metric: Metric) -> Any:
    """All pairs with their penalised values a and b, null if one of them is unknown. Columns of a subquery."""
    limit = pairs.c.lower_bound * FAILED_RATIO

    def value(side: str) -> ColumnElement[float]:
        chosen = case((pairs.c[f"success_{side}"], pairs.c[f"{metric.name}_{side}"]), else_=limit)
        return case((and_(chosen > 0.0, chosen < FINITE), chosen))

    valued = select(pairs, value("a").label("value_a"), value("b").label("value_b")).where(which).subquery("valued").c

    def penalised(side: str, other: str) -> ColumnElement[float]:
        """A failed run is not shorter than the other model's answer."""
        mine, theirs = valued[f"value_{side}"], valued[f"value_{other}"]
        is_longer = and_(~valued[f"success_{side}"], valued[f"success_{other}"], theirs > mine)
        return case((or_(mine.is_(None), theirs.is_(None)), None), (is_longer, theirs), else_=mine)

    known = [valued[column.name] for column in pairs.columns]
    recorded = [valued[f"{metric.name}_{side}"].label(f"recorded_{side}") for side in "ab"]
    a, b = (cast(penalised(*sides), Float).label(sides[0]) for sides in ("ab", "ba"))
    return select(*known, *recorded, a, b).subquery("compared").c


def _counts(compared: Any) -> Select[Any]:
    ratio = compared.b / compared.a
    is_tie = func.abs(ratio - 1.0) <= TIE
    is_known = compared.a.is_not(None)

    def number(condition: ColumnElement[bool]) -> ColumnElement[int]:
        return func.count(case((condition, 1)))

    figures: dict[str, ColumnElement[Any]] = {
        "pairs": func.count(),
        "same": number(compared.key_a == compared.key_b),
        "compared": number(is_known),
        "wins": number(and_(~is_tie, ratio < 1.0)),
        "ties": number(is_tie),
        "losses": number(and_(~is_tie, ratio > 1.0)),
        "instances": func.count(case((is_known, compared.input_digest)).distinct()),
        "log_a": func.avg(func.ln(compared.a)),
        "log_b": func.avg(func.ln(compared.b)),
        "answered": number(or_(compared.success_a, compared.success_b)),
        "recorded": number(or_(compared.recorded_a.is_not(None), compared.recorded_b.is_not(None))),
    }
    for side in "ab":
        is_answer, bound = compared[f"success_{side}"], compared.lower_bound
        has_gap = and_(is_answer, compared[f"makespan_{side}"].is_not(None), bound > 0.0)
        gap = compared[f"makespan_{side}"] / case((bound > 0.0, bound)) - 1.0
        figures[f"failed_{side}"] = number(~is_answer)
        figures[f"known_{side}"] = number(has_gap)
        figures[f"proven_{side}"] = number(and_(has_gap, gap <= PROVEN_GAP))
    return select(*(figure.label(name) for name, figure in figures.items()))


def _bins(compared: Any, near: tuple[float, float]) -> Select[Any]:
    """The bins for `Users.of_bins`; a pair without a user counts as a separate user."""
    log_a, log_b = func.ln(compared.a), func.ln(compared.b)
    single = case((compared.user_id.is_(None), compared.id))
    users = (
        select(
            (func.avg(log_a) - literal(near[0], Float)).label("a"),
            (func.avg(log_b) - literal(near[1], Float)).label("b"),
            func.avg(log_b - log_a).label("difference"),
        )
        .where(compared.a.is_not(None))
        .group_by(compared.user_id, single)
        .subquery("users")
        .c
    )
    limit = literal(PAIR_LIMIT, Float)
    clipped = case(
        (users.difference > limit, limit), (users.difference < -limit, -limit), else_=users.difference
    ) / literal(WIDTH, Float)
    placed = (
        select(
            cast(func.round(clipped), BigInteger).label("bin"),
            (2.0 * (clipped - func.round(clipped))).label("x"),
            users.a,
            users.b,
            (users.difference - literal(near[1] - near[0], Float)).label("d"),
        )
        .subquery("placed")
        .c
    )
    x, a, b, d = placed.x, placed.a, placed.b, placed.d
    products = {"x1": x, "x2": x * x, "x3": x * x * x, "a": a, "b": b, "d": d}
    products |= {"aa": a * a, "bb": b * b, "ab": a * b, "dd": d * d}
    sums = (func.sum(product).label(name) for name, product in products.items())
    return select(placed.bin, func.count().label("n"), *sums).group_by(placed.bin)


def _worst(connection: Connection, compared: Any, metric: Metric) -> tuple[dict[str, Any], ...]:
    ratio = compared.b / compared.a
    columns = [name for name in queries.PAIR_DTYPES if name != "replay_number"]
    query = select(*(compared[name] for name in columns)).where(ratio > 1.0 + TIE)
    query = query.order_by(ratio.desc(), compared.timestamp, compared.id).limit(MAX_WORST)
    rows = connection.execute(query).all()
    return worst_of(queries.frame_of(rows, {name: queries.PAIR_DTYPES[name] for name in columns}), metric)


def _proven(counts: Mapping[Any, Any], side: str) -> Proven:
    return Proven(int(counts[f"known_{side}"]), int(counts[f"proven_{side}"]))

"""The stored plans, beside the runs in the database of the records: durable as they are, on both engines.

A version is one row that is inserted and never changed. Its key is the plan with the number, so that of two changes of
the same version only one can succeed, whichever process makes it.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import Connection, Engine, Row, func, insert, literal, select

from scheduler_env.schedule import Schedule
from scheduler_service.clock import Clock, parse_time, to_iso
from scheduler_service.errors import PlanConflict, PlanNotFound
from scheduler_service.plans.versions import Edits, PlanVersion, ScopeChange, schedule_of
from scheduler_service.telemetry.database import database_of, upsert
from scheduler_service.telemetry.queries import fetch
from scheduler_service.telemetry.schema import plan_publications, plan_versions
from scheduler_service.telemetry.writer import Writer, storable_key, storable_text

_COLUMNS = {name: name for name in PlanVersion.__dataclass_fields__} | {
    "by": "author",
    "makespan_h": "makespan",
    "lower_bound_h": "lower_bound",
}
"""Field of a version -> its column."""
HEAVY = ("request", "placements")
"""Fields that lists leave out."""


@dataclass(frozen=True, slots=True)
class Publication:
    """From when on people held a version, and who said so."""

    version: int
    timestamp: datetime
    by: str
    reason: str


class PlanSummary(NamedTuple):
    """A plan in a list."""

    latest: PlanVersion  # without request and placements
    created: datetime
    published: int | None


class PlanRecords:
    """The plans of one database; every method raises StorageUnavailable.

    Args:
        writer: of the database.
    """

    def __init__(self, engine: Engine, writer: Writer, clock: Clock) -> None:
        self._engine = engine
        self._writer = writer
        self._clock = clock

    def add(self, version: PlanVersion) -> PlanVersion:
        """Store a new version; if the same change has made it already, nothing changes. Returns the stored version.

        Raises:
            PlanConflict: another change has made the version of this number.
        """
        row = _row(version, self._clock())

        def change(connection: Connection) -> None:
            connection.execute(upsert(connection, plan_versions).values(row).on_conflict_do_nothing())

        self._writer.write(change)
        stored = self.version(version.plan, version.number)
        if stored.digest != version.digest:
            raise conflict(version.plan, version.based_on, self.latest(version.plan).number)
        return stored

    def publish(self, plan: str, version: int, by: str, reason: str) -> Publication:
        """Make a version the one that people hold; if it is, nothing changes. Returns the publication in force.

        Raises:
            PlanNotFound: there is no such plan or version.
        """
        key = self.version(plan, version).plan
        table = plan_publications
        held = select(table.c.version).where(table.c.plan == key).order_by(table.c.id.desc()).limit(1)
        new = select(
            literal(key), literal(version), literal(to_iso(self._clock())), literal(storable_text(by)),
            literal(storable_text(reason)),
        ).where(func.coalesce(held.scalar_subquery(), 0) != version)  # fmt: skip

        def change(connection: Connection) -> None:
            database_of(self._engine).serialise(connection, f"plan {key}")
            columns = ["plan", "version", "timestamp", "author", "reason"]
            connection.execute(insert(table).from_select(columns, new))

        self._writer.write(change)
        return self.publications(plan)[0]

    def latest(self, plan: str) -> PlanVersion:
        """The last version of a plan. Raises PlanNotFound."""
        return self._one(plan, None)

    def version(self, plan: str, number: int) -> PlanVersion:
        """A version of a plan; 0: the latest. Raises PlanNotFound."""
        return self._one(plan, number or None)

    def baseline(self, plan: str, number: int) -> PlanVersion:
        """A version of a plan; 0: the one that people hold.

        Raises:
            PlanNotFound: there is no such plan or version.
            PlanConflict: none was published.
        """
        if number:
            return self.version(plan, number)
        latest, held = self.latest(plan), self.held(plan)
        if held is None:
            raise PlanConflict("plan_without_baseline", plan=latest.plan)
        return held

    def schedule(self, version: PlanVersion) -> Schedule:
        """The schedule of a version, with what was published when it was made. Raises as `schedule_of`."""
        held = None if version.published is None else self.find(version.plan, version.published)
        return schedule_of(version, held)

    def find(self, plan: str, number: int) -> PlanVersion | None:
        """As `version`; None if there is none."""
        table = plan_versions.c
        found = fetch(self._engine, _selected().where(table.plan == storable_key(plan), table.number == number))
        return _version(found[0]) if found else None

    def versions(self, plan: str) -> list[PlanVersion]:
        """Every version of a plan, the latest first, without requests and placements. Raises PlanNotFound."""
        query = _selected(without=HEAVY).where(plan_versions.c.plan == storable_key(plan))
        found = fetch(self._engine, query.order_by(plan_versions.c.number.desc()))
        if not found:
            raise PlanNotFound("plan_not_found", plan=plan)
        return [_version(row) for row in found]

    def publications(self, plan: str) -> list[Publication]:
        """The publications of a plan, the last one first."""
        table = plan_publications
        rows = fetch(self._engine, select(table).where(table.c.plan == storable_key(plan)).order_by(table.c.id.desc()))
        return [Publication(row.version, parse_time(row.timestamp), row.author, row.reason) for row in rows]

    def held(self, plan: str) -> PlanVersion | None:
        """The version of a plan that people have in hand; None if none was published."""
        published = self.publications(plan)
        return self.find(plan, published[0].version) if published else None

    def plans(self, limit: int, *, after: str = "", search: str = "") -> list[PlanSummary]:
        """The plans by name.

        Args:
            after: only those whose names come later.
            search: only those whose names contain it.
        """
        table = plan_versions
        ends = select(table.c.plan, func.max(table.c.number).label("last"), func.min(table.c.timestamp).label("first"))
        ends = ends.where(table.c.plan > after).group_by(table.c.plan)
        if search:
            ends = ends.where(table.c.plan.contains(search, autoescape=True))
        chosen = ends.order_by(table.c.plan).limit(limit).subquery()
        last = plan_publications
        held = select(last.c.version).where(last.c.plan == chosen.c.plan).order_by(last.c.id.desc()).limit(1)
        query = _selected(without=HEAVY).add_columns(chosen.c.first, held.scalar_subquery().label("held"))
        query = query.join(chosen, (table.c.plan == chosen.c.plan) & (table.c.number == chosen.c.last))
        found = fetch(self._engine, query.order_by(table.c.plan))
        return [PlanSummary(_version(row), parse_time(row.first), row.held) for row in found]

    def _one(self, plan: str, number: int | None) -> PlanVersion:
        query = _selected().where(plan_versions.c.plan == storable_key(plan))
        if number is not None:
            query = query.where(plan_versions.c.number == number)
        found = fetch(self._engine, query.order_by(plan_versions.c.number.desc()).limit(1))
        if found:
            return _version(found[0])
        if number is None or not self.exists(plan):
            raise PlanNotFound("plan_not_found", plan=plan)
        raise PlanNotFound("plan_version_not_found", plan=plan, version=number)

    def exists(self, plan: str) -> bool:
        """Whether there is a plan of this name."""
        query = select(plan_versions.c.number).where(plan_versions.c.plan == storable_key(plan)).limit(1)
        return bool(fetch(self._engine, query))


def conflict(plan: str, based_on: int | None, latest: int) -> PlanConflict:
    """The error of a change that others were faster than."""
    if based_on is None:
        return PlanConflict("plan_exists", plan=plan)
    return PlanConflict("plan_moved_on", plan=plan, based_on=based_on, latest=latest)


def _selected(without: Sequence[str] = ()) -> Any:
    return select(*(plan_versions.c[column].label(name) for name, column in _COLUMNS.items() if name not in without))


def _row(version: PlanVersion, now: datetime) -> dict[str, Any]:
    json_of: Mapping[str, Callable[[Any], str]] = {"request": _json, "edits": lambda edits: _json(asdict(edits))}
    row = {}
    for name, column in _COLUMNS.items():
        value = getattr(version, name)
        row[column] = json_of[name](value) if name in json_of else value
    texts = {name: storable_text(row[name]) for name in ("author", "reason", "request", "edits")}
    return row | texts | {"plan": storable_key(version.plan), "timestamp": to_iso(now)}


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _version(row: Row[Any]) -> PlanVersion:
    values = {name: getattr(row, name) for name in _COLUMNS if hasattr(row, name)}
    values |= {"timestamp": parse_time(row.timestamp), "edits": _edits(json.loads(row.edits))}
    values["request"] = json.loads(values["request"]) if "request" in values else {}
    return PlanVersion(**({"placements": b""} | values))


def _edits(written: Mapping[str, Any]) -> Edits:
    added, cancelled = (
        tuple(
            ScopeChange(**{key: each[key] for key in ScopeChange.__dataclass_fields__})
            for each in written.get(name, ())
        )
        for name in ("added", "cancelled")
    )
    return Edits(added, cancelled, tuple(written.get("lapsed", ())))

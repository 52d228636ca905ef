"""The requests that a replay repeats: ranges of run ids with a condition, instead of a list.

A selection is the last run of each request among the runs with a recorded input from `since` to the id `last_run`. The
newest ones are those from an id on; a random sample is those whose `sampling_number` is not above `sample_to`. So a
selection of any size is stored as a few numbers, and each range of ids can be read alone, in batches.

The condition gives the same requests at any time: runs are not changed, and `last_run` is determined after every
transaction that could still add a lower id has ended (`Database.await_writers`). In PostgreSQL, id order is not commit
order. Only runs that are deleted leave a selection.
"""

import math
import random
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, and_, exists, func, select

from scheduler_service.clock import to_iso
from scheduler_service.telemetry.record import ReplayRecord
from scheduler_service.telemetry.schema import replay_ranges, runs

REQUESTS = 25
"""Requests of a range, if these are at most `MAX_RANGES` ranges. Replicas share a replay by ranges."""
MAX_RANGES = 1_000
PRIME = 2**31 - 1


@dataclass(frozen=True, slots=True)
class Range:
    """The selected requests between two run ids, both included."""

    number: int  # from 0, in the order of execution: the newest requests are in the first one
    first: int
    last: int
    requests: int
    checksum: int  # of the ids
    skipped: int | None = None  # requests with an invalid input; None: the range is not done

    @property
    def is_done(self) -> bool:
        return self.skipped is not None

    @property
    def content(self) -> tuple[int, ...]:
        """The same for the same requests."""
        return self.first, self.last, self.requests, self.checksum


def ranges_query(replay: str) -> Select[Any]:
    """The columns of `Range`, in order."""
    table = replay_ranges.c
    columns = (table.number, table.first, table.last, table.requests, table.checksum, table.skipped)
    return select(*columns).where(table.replay == replay).order_by(table.number)


def selected(record: ReplayRecord) -> ColumnElement[bool]:
    """Whether a run is selected by the replay, apart from the limits of its ranges."""
    later = runs.alias("later")
    repeated = exists().where(later.c.request_id == runs.c.request_id, later.c.id > runs.c.id, _counts(later, record))
    found = and_(_counts(runs, record), ~repeated)
    seed = record.options.get("seed")
    if record.sample_to is None or not isinstance(seed, int):
        return found
    return and_(found, sampling_number(seed) <= record.sample_to)


def _counts(table: Any, record: ReplayRecord) -> ColumnElement[bool]:
    within = and_(table.c.id <= record.last_run, table.c.timestamp >= to_iso(record.since))
    counts = and_(within, table.c.input_params.is_not(None))
    return and_(counts, table.c.experiment == record.experiment) if record.options.get("own_requests") else counts


def sample_limit(connection: Connection, record: ReplayRecord, seed: int, limit: int) -> int | None:
    """`ReplayRecord.sample_to` for a random sample of `limit` requests; None: there are not more."""
    number = sampling_number(seed)
    query = select(number).where(selected(record)).order_by(number).limit(1).offset(limit - 1)
    found = connection.execute(query).scalar()
    return None if found is None else int(found)


def ranges_of(connection: Connection, record: ReplayRecord, newest: int | None) -> tuple[Range, ...]:
    """The ranges of a new selection.

    Args:
        newest: the number of requests, of which the newest ones are taken; None: all.
    """
    chosen = select(runs.c.id).where(selected(record))
    if newest is not None:
        oldest = connection.execute(chosen.order_by(runs.c.id.desc()).limit(1).offset(newest - 1)).scalar()
        chosen = chosen if oldest is None else chosen.where(runs.c.id >= oldest)
    total = int(connection.execute(select(func.count()).select_from(chosen.subquery())).scalar_one())
    size = max(REQUESTS, math.ceil(total / MAX_RANGES))
    place = func.row_number().over(order_by=runs.c.id.desc()) - 1
    placed = chosen.add_columns((place - place % size).label("begin")).subquery().c
    figures = (func.min(placed.id), func.max(placed.id), func.count(), func.sum(placed.id % PRIME))
    query = select(placed.begin, *figures).group_by(placed.begin).order_by(placed.begin)
    return tuple(Range(int(begin) // size, *map(int, figures)) for begin, *figures in connection.execute(query))


def sampling_number(seed: int) -> ColumnElement[int]:
    """A number below `PRIME` for a run, by which samples are drawn; the same in every engine.

    ((id + b)^5 a) mod `PRIME`, with a and b from the seed: a permutation, because `PRIME` - 1 is no multiple of 5.
    """
    drawn = random.Random(seed)
    a, b = drawn.randrange(1, PRIME), drawn.randrange(PRIME)
    y = (runs.c.id + b) % PRIME
    square = (y * y) % PRIME
    return (((square * square) % PRIME) * y % PRIME) * a % PRIME

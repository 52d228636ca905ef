"""Slices of replays that replicas share: rows of leases; a slice is done by one replica, and its row is then deleted.

Rows that are left say what is not done yet, also if the replica that started the replay is gone.
"""

import secrets
import time
from dataclasses import dataclass

from sqlalchemy import Engine, text

from scheduler_service.database_url import DatabaseUrl
from scheduler_service.postgresql.faults import postgresql_errors
from scheduler_service.postgresql.leases import LEASE_S, MINE, UNTIL, Lease

PREFIX = "range:"
"""Version 9 of the database had slices of lists, with another prefix; replicas of both versions may run."""
MAX_ATTEMPTS = 5
"""A slice that so many replicas have begun and not finished counts as failed."""

_IS_FREE = "expires <= clock_timestamp()"
ADD = text(
    "INSERT INTO leases (name, holder, epoch, expires)"  # noqa: S608  (only constants)
    f" SELECT '{PREFIX}' || :job || ':' || lpad(number::text, 6, '0'), '', 0, clock_timestamp()"
    " FROM generate_series(0, :slices - 1) AS number"
    f" ON CONFLICT (name) DO UPDATE SET epoch = 0 WHERE leases.{_IS_FREE}"
)
TAKE_ANY = text(
    f"UPDATE leases SET holder = :holder, epoch = epoch + 1, expires = {UNTIL} WHERE name = ("  # noqa: S608
    f"SELECT name FROM leases WHERE starts_with(name, '{PREFIX}') AND {_IS_FREE} AND epoch < {MAX_ATTEMPTS}"
    " ORDER BY name LIMIT 1 FOR UPDATE SKIP LOCKED) RETURNING name, epoch"
)
FINISH = text(f"DELETE FROM leases WHERE {MINE}")  # noqa: S608
GIVE_BACK = text(f"UPDATE leases SET epoch = 0, expires = clock_timestamp() WHERE {MINE}")  # noqa: S608
LEFT = text(
    f"SELECT count(*), count(*) FILTER (WHERE {_IS_FREE} AND epoch >= {MAX_ATTEMPTS}) FROM leases"  # noqa: S608
    f" WHERE starts_with(name, '{PREFIX}' || :job || ':')"
)
JOBS = text(
    f"SELECT DISTINCT split_part(name, ':', 2) FROM leases WHERE starts_with(name, '{PREFIX}')"  # noqa: S608
    f" AND NOT ({_IS_FREE} AND epoch >= {MAX_ATTEMPTS}) ORDER BY 1"
)


@dataclass(frozen=True, slots=True)
class Slice:
    """A slice that this process does."""

    job: str  # id of the replay
    number: int  # from 0
    lease: Lease


class Slices:
    """The slices of all replays of one database; every method raises StorageUnavailable."""

    def __init__(self, engine: Engine, url: DatabaseUrl) -> None:
        self._engine, self._url = engine, url

    def add(self, job: str, slices: int) -> None:
        """Add the slices 0 to `slices` - 1 of a job; those that are there stay, and failed ones may be tried again."""
        with postgresql_errors(self._url), self._engine.begin() as connection:
            connection.execute(ADD, {"job": job, "slices": slices})

    def take(self) -> Slice | None:
        """A slice that nobody does; None: there is none."""
        holder, began_s = secrets.token_hex(16), time.monotonic()
        with postgresql_errors(self._url), self._engine.begin() as connection:
            found = connection.execute(TAKE_ANY, {"holder": holder, "lease_s": LEASE_S}).first()
        if found is None:
            return None
        _, job, number = found.name.split(":")
        return Slice(job, int(number), Lease(self._engine, self._url, found.name, holder, int(found.epoch), began_s))

    def finish(self, done: Slice) -> None:
        """Remove a slice that is done; nothing happens if another replica has taken it over."""
        done.lease.end(FINISH)

    def fail(self, begun: Slice) -> None:
        """Leave a slice to others at once, which counts as an attempt."""
        begun.lease.release()

    def give_back(self, begun: Slice) -> None:
        """Leave a slice that this process will not finish to others; this does not count as an attempt."""
        begun.lease.end(GIVE_BACK)

    def left(self, job: str) -> tuple[int, int]:
        """The numbers of slices that are not done, and of those among them that have failed."""
        with postgresql_errors(self._url), self._engine.connect() as connection:
            n_left, n_failed = connection.execute(LEFT, {"job": job}).one()
        return int(n_left), int(n_failed)

    def jobs(self) -> list[str]:
        """The jobs that are not done and have not failed."""
        with postgresql_errors(self._url), self._engine.connect() as connection:
            return [str(row[0]) for row in connection.execute(JOBS)]

"""Leases: rows by which one of several replicas does a job, and another one takes over soon after its death.

A lease ends by the database's clock. Its holder may be slow and not notice; therefore, whoever writes under a lease
confirms it in the writing transaction.
"""

import logging
import secrets
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from sqlalchemy import BigInteger, Column, Connection, DateTime, Engine, String, Table, TextClause, text

from scheduler_service.database_url import DatabaseUrl
from scheduler_service.errors import LeaseLost, StorageUnavailable
from scheduler_service.postgresql.attempts import metadata
from scheduler_service.postgresql.faults import postgresql_errors

log = logging.getLogger(__name__)

LEASE_S, RENEW_S, POLL_S = 4.0, 1.0, 0.1

leases = Table(
    "leases",
    metadata,
    Column("name", String(64, collation="C"), primary_key=True),
    Column("holder", String(32, collation="C"), nullable=False),
    Column("epoch", BigInteger, nullable=False),  # increases with each holder
    Column("expires", DateTime(timezone=True), nullable=False),
)

UNTIL = "clock_timestamp() + make_interval(secs => :lease_s)"
MINE = "name = :name AND holder = :holder AND epoch = :epoch AND expires > clock_timestamp()"
TAKE = text(
    "INSERT INTO leases (name, holder, epoch, expires)"  # noqa: S608  (only constants)
    f" VALUES (:name, :holder, 1, {UNTIL}) ON CONFLICT (name) DO UPDATE"
    " SET holder = excluded.holder, epoch = leases.epoch + 1, expires = excluded.expires"
    " WHERE leases.expires <= clock_timestamp() RETURNING epoch"
)
RENEW = text(f"UPDATE leases SET expires = {UNTIL} WHERE {MINE} RETURNING true")  # noqa: S608
RELEASE = text(f"UPDATE leases SET expires = clock_timestamp() WHERE {MINE}")  # noqa: S608
IS_TAKEN = text("SELECT true FROM leases WHERE name = :name AND expires > clock_timestamp()")
CONFIRM = text(f"SELECT true FROM leases WHERE {MINE} FOR SHARE")  # noqa: S608


class Lease:
    """A lease that is taken, renewed by a thread until it is released or lost."""

    def __init__(self, engine: Engine, url: DatabaseUrl, name: str, holder: str, epoch: int, began_s: float) -> None:
        self.name = name
        self._engine, self._url = engine, url
        self._row = {"name": name, "holder": holder, "epoch": epoch, "lease_s": LEASE_S}
        self._until_s = began_s + LEASE_S  # time.monotonic
        self._ended = threading.Event()
        threading.Thread(target=self._renew_until_ended, name=f"lease {name}", daemon=True).start()

    @property
    def is_held(self) -> bool:
        """Whether this process may still act; a writing transaction must `confirm` it."""
        return not self._ended.is_set() and time.monotonic() < self._until_s

    def confirm(self, connection: Connection) -> None:
        """Check that the lease is held, and keep others from taking it before the transaction ends.

        Raises:
            LeaseLost: another process has taken it.
        """
        if connection.execute(CONFIRM, self._row).first() is None:
            raise LeaseLost("lease_lost", name=self.name)

    def release(self) -> None:
        """End the lease, so that others need not wait for it to expire."""
        with suppress(StorageUnavailable):
            self.end(RELEASE)

    def end(self, statement: TextClause) -> None:
        """Stop renewing, and execute a statement for the row where it is `MINE`.

        Raises:
            StorageUnavailable: the database cannot be used; the lease expires.
        """
        self._ended.set()
        with postgresql_errors(self._url), self._engine.begin() as connection:
            connection.execute(statement, self._row)

    def _renew_until_ended(self) -> None:
        while not self._ended.wait(RENEW_S):
            began_s = time.monotonic()
            try:
                with postgresql_errors(self._url), self._engine.begin() as connection:
                    is_mine = connection.execute(RENEW, self._row).first() is not None
            except StorageUnavailable as err:  # the next renewal may be in time
                log.debug("the lease %s was not renewed: %s", self.name, err)
                continue
            if not is_mine:
                self._ended.set()
                return
            self._until_s = began_s + LEASE_S


def take(engine: Engine, url: DatabaseUrl, name: str) -> Lease | None:
    """The lease, unless another process or thread holds it.

    Raises:
        StorageUnavailable: the database cannot be used.
    """
    with postgresql_errors(url), engine.begin() as connection:
        if connection.execute(IS_TAKEN, {"name": name}).first() is not None:
            return None  # those that wait write nothing
        holder, began_s = secrets.token_hex(16), time.monotonic()
        found = connection.execute(TAKE, {"name": name, "holder": holder, "lease_s": LEASE_S}).scalar()
    return None if found is None else Lease(engine, url, name, holder, int(found), began_s)


@contextmanager
def held(engine: Engine, url: DatabaseUrl, name: str, timeout_s: float) -> Iterator[Lease]:
    """The lease for the length of the block.

    Raises:
        StorageUnavailable: others held it for `timeout_s`, or the database cannot be used.
    """
    until_s = time.monotonic() + timeout_s
    while (lease := take(engine, url, name)) is None:
        if time.monotonic() >= until_s:
            raise StorageUnavailable("locked_by_others", path=f"{url.shown} ({name})", waited=timeout_s)
        time.sleep(POLL_S)
    try:
        yield lease
    finally:
        lease.release()

"""PostgreSQL's errors as codes with a text that names the remedy; no text contains a password."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from scheduler_service.database_url import DatabaseUrl
from scheduler_service.errors import StorageUnavailable

BY_STATE = {
    "25006": "database_read_only",
    "28000": "database_login_refused",
    "28P01": "database_login_refused",
    "3D000": "database_missing",
    "3F000": "database_privilege",  # no schema of the search path exists, or may be used
    "40001": "database_busy",
    "40P01": "database_busy",
    "42501": "database_privilege",
    "53100": "database_full",
    "53300": "database_busy",
    "55P03": "database_busy",
    "57014": "database_busy",
}
"""SQLSTATE -> code (https://www.postgresql.org/docs/current/errcodes-appendix.html)."""
BY_TEXT = (
    (r"password authentication failed|authentication failed|no password supplied", "database_login_refused"),
    (r"no pg_hba\.conf entry|role .* does not exist", "database_login_refused"),
    (r"database .* does not exist", "database_missing"),
    (r"session is read-only|server is in hot standby mode", "database_read_only"),
    (r"too many (connections|clients)|remaining connection slots", "database_busy"),
    (r"permission denied for database", "database_privilege"),
    (r"No space left on device", "database_full"),
)
"""libpq reports a refused connection without SQLSTATE."""
CONNECTION_STATES = ("08", "57P")
"""The first characters of the SQLSTATE of a lost connection, or of a server that stops or starts."""
READ_ONLY = "25006"


@contextmanager
def postgresql_errors(url: DatabaseUrl) -> Iterator[None]:
    """Convert errors of the driver, of the pool and of the password's file to `StorageUnavailable`."""
    try:
        yield
    except (SQLAlchemyError, psycopg.Error, OSError) as err:
        raise fault_of(err, url) from err


def fault_of(err: Exception, url: DatabaseUrl) -> StorageUnavailable:
    """The error to raise from `err`."""
    reason = url.scrubbed(" ".join(str(getattr(err, "orig", None) or err).split()))
    return StorageUnavailable(_code_of(err), database=url.shown, reason=reason)


def state_of(err: Exception) -> str:
    """The SQLSTATE; "" if there is none."""
    return getattr(getattr(err, "orig", err), "sqlstate", None) or ""


def _code_of(err: Exception) -> str:
    state = state_of(err)
    if isinstance(err, PoolTimeout):
        return "database_busy"
    if state in BY_STATE:
        return BY_STATE[state]
    text = str(getattr(err, "orig", None) or err)
    found = next((code for pattern, code in BY_TEXT if re.search(pattern, text)), None)
    if found is not None and not state:
        return found
    is_lost = isinstance(err, psycopg.OperationalError) and not state
    is_lost |= isinstance(err, DBAPIError) and (err.connection_invalidated or not state)
    return "database_unreachable" if is_lost or state.startswith(CONNECTION_STATES) else "database_error"

"""Dumps of a database by PostgreSQL's own programs, `pg_dump` and `pg_restore`."""

import os
import subprocess
from pathlib import Path

from psycopg.conninfo import make_conninfo

from scheduler_service.database_url import DatabaseUrl
from scheduler_service.errors import Conflict, StorageUnavailable
from scheduler_service.postgresql.connecting import connect
from scheduler_service.postgresql.faults import postgresql_errors

OURS = "SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = current_schema()::regnamespace ORDER BY 1"


def dump(url: DatabaseUrl, file: Path) -> None:
    """Write the whole database, as of one moment, to `file`; clients are served meanwhile.

    Raises:
        StorageUnavailable: `pg_dump` is missing or older than the server, the database cannot be read, or the file not
            be written.
    """
    _run(url, "pg_dump", "--format=custom", "--no-owner", "--no-privileges", f"--file={file}")


def restore_dump(url: DatabaseUrl, file: Path) -> None:
    """Restore a file of `dump` into an empty database, in one transaction.

    Raises:
        Conflict: the database has tables.
        StorageUnavailable: `pg_restore` is missing, or the database cannot be written; nothing was restored.
    """
    with postgresql_errors(url), connect(url) as connection:
        found = [row[0] for row in connection.execute(OURS)]
    if found:
        raise Conflict("home_not_empty", home=url.shown, names=found[:5])
    _run(url, "pg_restore", "--single-transaction", "--exit-on-error", "--no-owner", str(file))


def _run(url: DatabaseUrl, program: str, *arguments: str) -> None:
    with postgresql_errors(url):
        given = url.arguments()
    # The password is not an argument, which other users of the machine can read.
    environment = os.environ | {"PGPASSWORD": given.pop("password", "")}
    command = [program, f"--dbname={make_conninfo(**given)}", "--no-password", *arguments]
    try:
        done = subprocess.run(command, env=environment, capture_output=True, text=True, errors="replace", check=False)
    except FileNotFoundError as err:
        raise StorageUnavailable("program_missing", program=program) from err
    if done.returncode != 0:
        reason = url.scrubbed(" ".join(done.stderr.split())[-500:])
        raise StorageUnavailable("database_error", database=url.shown, reason=reason)

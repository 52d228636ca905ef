"""The lock under which tables are created and migrated, so that replicas may start at the same time."""

from sqlalchemy import Connection, text

KEY = 6_105_421_938_775_103_921
"""Any number that other programs do not use."""


def lock_migrations(connection: Connection) -> None:
    """Wait for other migrations; until the end of the transaction, others wait.

    The lock is the transaction's, not the session's: a pooler may give the session to others.
    """
    connection.execute(text(f"SELECT pg_advisory_xact_lock({KEY})"))

"""Commits of known outcome: if a connection is lost during a commit, the id of the attempt tells whether it happened.

The client makes the id and writes it in the same transaction. It is safe to try again with the same id: if the first
commit happened, the id is there; while its outcome is open, the server lets the second one wait.
"""

from sqlalchemy import Column, Connection, DateTime, Index, MetaData, String, Table, func, select, text

metadata = MetaData()

attempts = Table(
    "attempts",
    metadata,
    Column("id", String(32, collation="C"), primary_key=True),
    Column("at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    Index("attempts_by_time", "at"),
)

ADD = "INSERT INTO attempts (id) VALUES (%(id)s) ON CONFLICT DO NOTHING RETURNING true"
FORGET_EVERY, FORGET_LIMIT = 1_000, 5_000
"""Each process deletes so many old ids, before its first commit and before every 1,000th: more than it adds."""
FORGET = text(
    "DELETE FROM attempts WHERE id IN (SELECT id FROM attempts WHERE at < now() - interval '1 hour'"
    " ORDER BY at LIMIT :most FOR UPDATE SKIP LOCKED)"
)


def is_new(connection: Connection, attempt: str) -> bool:
    """Write the id of an attempt as the first statement of its transaction; False if it is committed already.

    Raises:
        SQLAlchemyError: the database cannot be written, or the outcome of the first commit is open for too long.
    """
    return connection.exec_driver_sql(ADD, {"id": attempt}).first() is not None


def is_committed(connection: Connection, attempt: str) -> bool:
    """Whether the attempt is committed, for a caller that no running transaction of the attempt can be behind."""
    query = select(attempts.c.id).where(attempts.c.id == attempt)
    return connection.execute(query).first() is not None


def forget_old(connection: Connection) -> None:
    """Delete ids that no client will ask for again, at most `FORGET_LIMIT`; waits for nobody."""
    connection.execute(FORGET, {"most": FORGET_LIMIT})

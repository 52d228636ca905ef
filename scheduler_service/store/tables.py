"""The tables of a store in PostgreSQL."""

from sqlalchemy import BigInteger, Column, DateTime, Identity, Index, LargeBinary, MetaData, String, Table, Text, func

metadata = MetaData()

revision = Table(
    "store_revision",
    metadata,
    Column("id", BigInteger, primary_key=True),  # always 1
    Column("number", BigInteger, nullable=False),  # of the last change; writers lock this row
)
entries = Table(
    "store_entries",
    metadata,
    Column("name", Text(collation="C"), primary_key=True),
    Column("content", LargeBinary),  # of a document
    Column("sha256", String(64, collation="C")),  # of a file; with neither, the name was removed
    Column("changed_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    Column("revision", BigInteger, nullable=False, index=True),
)
lines = Table(
    "store_lines",
    metadata,
    Column("id", BigInteger, Identity(), primary_key=True),
    Column("log", Text(collation="C"), nullable=False),
    Column("content", LargeBinary, nullable=False),
    Column("revision", BigInteger, nullable=False, index=True),
    Index("store_lines_by_log", "log", "id"),
)
blobs = Table(
    "store_blobs",
    metadata,
    Column("sha256", String(64, collation="C"), primary_key=True),
    Column("content", LargeBinary, nullable=False),
)

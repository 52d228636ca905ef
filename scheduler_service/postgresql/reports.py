"""Reports in the database, so that every replica answers with the same ones."""

from collections.abc import Iterable
from datetime import datetime
from itertools import count
from typing import TYPE_CHECKING

from sqlalchemy import Column, DateTime, Engine, LargeBinary, String, Table, delete, func, select
from sqlalchemy.dialects.postgresql import insert

from scheduler_service.database_url import DatabaseUrl
from scheduler_service.errors import Conflict, ReportNotFound
from scheduler_service.postgresql.attempts import metadata
from scheduler_service.postgresql.faults import postgresql_errors
from scheduler_service.reporting.report_files import ReportFile, contents_of, named_report, numbered, stem_of

if TYPE_CHECKING:
    from scheduler_service.reporting.content import Report

reports = Table(
    "reports",
    metadata,
    Column("name", String(160, collation="C"), primary_key=True),
    Column("bytes", LargeBinary, nullable=False),
    Column("created", DateTime(timezone=True), nullable=False, server_default=func.now()),
)


class ReportTable:
    """The reports of a database; see `ReportShelf`."""

    def __init__(self, engine: Engine, url: DatabaseUrl) -> None:
        self._engine, self._url = engine, url

    def save(self, report: "Report", kind: str, *, pdf: bool) -> str:
        """Store the report under a new name; returns the name.

        Raises:
            StorageUnavailable: the database cannot be written.
        """
        contents, stem = contents_of(report, pdf=pdf), stem_of(report, kind)
        with postgresql_errors(self._url), self._engine.begin() as connection:
            for number in count(1):
                rows = [{"name": numbered(stem, number, end), "bytes": data} for end, data in contents.items()]
                # Another replica may have made a report in the same second.
                new = insert(reports).values(rows).on_conflict_do_nothing().returning(reports.c.name)
                added = connection.execute(new).scalars().all()
                if len(added) == len(rows):
                    return str(rows[0]["name"])
                connection.execute(delete(reports).where(reports.c.name.in_(added)))
        raise AssertionError("unreachable")

    def listed(self) -> list[ReportFile]:
        """The reports, the newest first.

        Raises:
            StorageUnavailable: the database cannot be read.
        """
        query = select(reports.c.name, func.length(reports.c.bytes).label("size"), reports.c.created)
        with postgresql_errors(self._url), self._engine.connect() as connection:
            rows = connection.execute(query.order_by(reports.c.created.desc(), reports.c.name.desc())).all()
        found: Iterable[ReportFile | None] = (named_report(row.name, row.size, row.created) for row in rows)
        return [each for each in found if each is not None]

    def read(self, name: str) -> bytes:
        """The content of a report.

        Raises:
            ReportNotFound: none has this name.
            StorageUnavailable: the database cannot be read.
        """
        with postgresql_errors(self._url), self._engine.connect() as connection:
            found = connection.execute(select(reports.c.bytes).where(reports.c.name == name)).scalar()
        if found is None:
            raise ReportNotFound("report_not_found", name=name)
        return bytes(found)

    def put(self, report: ReportFile, content: bytes) -> None:
        """See `ReportShelf`.

        Raises:
            StorageUnavailable: the database cannot be written.
        """
        row = {"name": report.name, "bytes": content, "created": report.created_at}
        with postgresql_errors(self._url), self._engine.begin() as connection:
            new = insert(reports).values(row).on_conflict_do_nothing().returning(reports.c.name)
            is_new = connection.execute(new).scalar() is not None
        if not is_new and self.read(report.name) != content:
            raise Conflict("report_differs", name=report.name)

    def forget(self, before: datetime) -> int:
        """See `ReportShelf`.

        Raises:
            StorageUnavailable: the database cannot be written.
        """
        old = delete(reports).where(reports.c.created < before)
        with postgresql_errors(self._url), self._engine.begin() as connection:
            return len(connection.execute(old.returning(reports.c.name)).all())

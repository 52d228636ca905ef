"""Where the reports of a process are kept."""

from pathlib import Path

from sqlalchemy import Engine

from scheduler_service.database_url import DatabaseUrl
from scheduler_service.reporting.report_files import ReportFolder, ReportShelf


def open_shelf(folder: Path, engine: Engine, records: Path | DatabaseUrl, *, is_shared: bool) -> ReportShelf:
    """The database of the records, if it is a server and the reports are shared; else the folder.

    Args:
        engine: of the records.
    """
    if is_shared and isinstance(records, DatabaseUrl):
        from scheduler_service.postgresql.reports import ReportTable  # the driver is not needed for a folder

        return ReportTable(engine, records)
    return ReportFolder(folder)

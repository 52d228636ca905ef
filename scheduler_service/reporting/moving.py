"""Copy all reports from one shelf to another one, and prove that they are the same."""

import hashlib
from collections.abc import Iterable

from scheduler_service.command_line import Progress
from scheduler_service.errors import StorageUnavailable
from scheduler_service.reporting.report_files import ReportFile, ReportShelf


def move_reports(source: ReportShelf, target: ReportShelf, progress: Progress | None = None) -> tuple[int, str]:
    """Copy each report with its name and time; returns (number of reports, digest of names and contents).

    Reports that the target has already are left as they are, so that an interrupted move can be repeated. One report
    at a time is in memory.

    Raises:
        Conflict: the target has another report of the same name.
        StorageUnavailable: a shelf cannot be used, or the copy differs.
    """
    reports = sorted(source.listed(), key=lambda report: report.name)
    for done, report in enumerate(reports, 1):
        target.put(report, source.read(report.name))
        if progress is not None:
            progress(done, len(reports))
    digest = _digest(source, reports)
    if _digest(target, reports) != digest:
        raise StorageUnavailable("move_differs", table="reports", rows=len(reports))
    return len(reports), digest


def _digest(shelf: ReportShelf, reports: Iterable[ReportFile]) -> str:
    found = hashlib.sha256()
    for report in reports:
        for part in (report.name.encode(), shelf.read(report.name)):
            found.update(b"%d:" % len(part) + part)
    return found.hexdigest()

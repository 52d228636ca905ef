"""The files of the reports: how they are named, written and listed."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Literal, cast

from scheduler_service.errors import cannot_read
from scheduler_service.files import write_atomically

if TYPE_CHECKING:
    from scheduler_service.reporting.content import Report

_NAME = re.compile(
    r"(?:(?P<performance>performance)|ab_test_(?P<experiment>.+))_\d{8}_\d{6}(?:_(?P<lang>zh|en))?(?:_\d+)?"
    r"\.(?P<format>html|pdf)"
)
"""As `save` gives them; older names do not contain the language."""


@dataclass(frozen=True, slots=True)
class ReportFile:
    """A file in the folder of reports."""

    name: str
    kind: Literal["performance", "ab_test"]
    experiment: str | None
    format: Literal["html", "pdf"]
    lang: Literal["zh", "en"] | None
    size_bytes: int
    created_at: datetime


def save(report: "Report", folder: Path, kind: str, *, pdf: bool) -> Path:
    """Writes the page to a new file in `folder`, named by kind and moment: performance_20261123_121530_zh.html.

    Args:
        pdf: writes the report as PDF, too, beside the page under the same name, but for its suffix `.pdf`.

    Raises:
        StorageUnavailable: it cannot be written.
    """
    from scheduler_service.reporting.page import html_of
    from scheduler_service.reporting.pdf import pdf_of

    page, printed = html_of(report), pdf_of(report) if pdf else None
    safe = re.sub(r"[^A-Za-z0-9_.-]", "_", kind)[:80]
    stem = f"{safe}_{report.moment.astimezone():%Y%m%d_%H%M%S}_{report.lang}"
    paths = (folder / (f"{stem}.html" if number == 1 else f"{stem}_{number}.html") for number in count(1))
    path = next(path for path in paths if not path.exists() and not path.with_suffix(".pdf").exists())
    if printed is not None:
        write_atomically(path.with_suffix(".pdf"), printed)
    write_atomically(path, page.encode())
    return path


def saved_reports(folder: Path) -> list[ReportFile]:
    """The reports in `folder`, the newest first; other files, links and unfinished files are left out.

    Raises:
        StorageUnavailable: it cannot be read.
    """
    try:
        paths = list(folder.iterdir()) if folder.exists() else []
        found = [made for path in paths if (made := _report_file(path)) is not None]
    except OSError as err:
        raise cannot_read(folder, err) from err
    return sorted(found, key=lambda each: (each.created_at, each.name), reverse=True)


def _report_file(path: Path) -> ReportFile | None:
    parts = _NAME.fullmatch(path.name)
    if parts is None or path.is_symlink() or not path.is_file():
        return None
    status = path.stat()
    return ReportFile(
        name=path.name,
        kind="performance" if parts["performance"] else "ab_test",
        experiment=parts["experiment"],
        format=cast(Literal["html", "pdf"], parts["format"]),
        lang=cast(Literal["zh", "en"] | None, parts["lang"]),
        size_bytes=status.st_size,
        created_at=datetime.fromtimestamp(status.st_mtime, UTC),
    )

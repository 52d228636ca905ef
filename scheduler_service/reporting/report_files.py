"""The reports: how they are named, written and listed, in a folder or elsewhere."""

import os
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol, cast

from scheduler_service.errors import Conflict, InvalidInput, ReportNotFound, StorageUnavailable, cannot_read
from scheduler_service.files import write_atomically

if TYPE_CHECKING:
    from scheduler_service.reporting.content import Report

_NAME = re.compile(
    r"(?:(?P<performance>performance)|ab_test_(?P<experiment>.+))_\d{8}_\d{6}(?:_(?P<lang>zh|en))?(?:_\d+)?"
    r"\.(?P<format>html|pdf)"
)
"""As `stem_of` gives them; older names do not contain the language."""
SUFFIXES = (".html", ".pdf")


@dataclass(frozen=True, slots=True)
class ReportFile:
    """A report that is there."""

    name: str
    kind: Literal["performance", "ab_test"]
    experiment: str | None
    format: Literal["html", "pdf"]
    lang: Literal["zh", "en"] | None
    size_bytes: int
    created_at: datetime


class ReportShelf(Protocol):
    """Where reports are kept; each method raises StorageUnavailable if it cannot be used."""

    def save(self, report: "Report", kind: str, *, pdf: bool) -> str:
        """Store the page under a new name made of kind and moment: performance_20261123_121530_zh.html.

        Args:
            pdf: store the report as PDF, too, under the same name, but for its suffix `.pdf`.

        Returns:
            The path of the page, or its name if it is not a file.
        """

    def listed(self) -> list[ReportFile]:
        """The reports, the newest first."""

    def read(self, name: str) -> bytes:
        """The content of a report; raises ReportNotFound."""

    def put(self, report: ReportFile, content: bytes) -> None:
        """Store a copy of a report from another shelf; raises Conflict if another one has its name."""

    def forget(self, before: datetime) -> int:
        """Delete the reports that were created before then; returns their number."""


class ReportFolder:
    """The reports in a folder; see `ReportShelf`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def save(self, report: "Report", kind: str, *, pdf: bool) -> str:
        """Write the page, and the PDF, to new files; returns the path of the page.

        Raises:
            StorageUnavailable: it cannot be written.
        """
        contents, stem = contents_of(report, pdf=pdf), stem_of(report, kind)
        paths = (self._folder / numbered(stem, number, "html") for number in count(1))
        path = next(path for path in paths if not path.exists() and not path.with_suffix(".pdf").exists())
        for end, data in reversed(contents.items()):
            write_atomically(path.with_suffix(f".{end}"), data)
        return str(path)

    def listed(self) -> list[ReportFile]:
        """The reports, the newest first; other files, links and unfinished files are left out.

        Raises:
            StorageUnavailable: the folder cannot be read.
        """
        try:
            paths = list(self._folder.iterdir()) if self._folder.exists() else []
            found = [made for path in paths if (made := _report_file(path)) is not None]
        except OSError as err:
            raise cannot_read(self._folder, err) from err
        return sorted(found, key=lambda each: (each.created_at, each.name), reverse=True)

    def read(self, name: str) -> bytes:
        """The content of a page or PDF in the folder.

        Raises:
            ReportNotFound: there is none with this name.
        """
        # Looked up among the files that are there: no path is ever made of a client's text.
        paths = (path for path in self._folder.glob("*.*") if path.is_file() and not path.is_symlink())
        path = {path.name: path for path in paths if path.suffix in SUFFIXES}.get(name)
        if path is None:
            raise ReportNotFound("report_not_found", name=name)
        return path.read_bytes()

    def put(self, report: ReportFile, content: bytes) -> None:
        """See `ReportShelf`.

        Raises:
            InvalidInput: its name is not that of a file.
            StorageUnavailable: it cannot be written.
        """
        if Path(report.name).name != report.name:
            raise InvalidInput("report_name", name=report.name)
        path = self._folder / report.name
        if path.exists():
            if path.read_bytes() != content:
                raise Conflict("report_differs", name=report.name)
            return
        write_atomically(path, content)
        created_ns = round(report.created_at.timestamp() * 1e6) * 1_000
        os.utime(path, ns=(created_ns, created_ns))

    def forget(self, before: datetime) -> int:
        """See `ReportShelf`; other files remain.

        Raises:
            StorageUnavailable: a file cannot be deleted.
        """
        old = [report for report in self.listed() if report.created_at < before]
        for report in old:
            try:
                (self._folder / report.name).unlink(missing_ok=True)
            except OSError as err:
                raise StorageUnavailable("cannot_write", path=str(self._folder), reason=str(err)) from err
        return len(old)


def contents_of(report: "Report", *, pdf: bool) -> dict[str, bytes]:
    """`html`, and `pdf` if it is wanted -> the bytes of the file."""
    from scheduler_service.reporting.page import html_of
    from scheduler_service.reporting.pdf import pdf_of

    page = {"html": html_of(report).encode()}
    return page | {"pdf": pdf_of(report)} if pdf else page


def stem_of(report: "Report", kind: str) -> str:
    """The beginning of a report's name, at most 100 characters."""
    safe = re.sub(r"[^A-Za-z0-9_.-]", "_", kind)[:80]
    return f"{safe}_{report.moment.astimezone():%Y%m%d_%H%M%S}_{report.lang}"


def numbered(stem: str, number: int, end: str) -> str:
    """The name of the report with this number among those of the same moment, from 1."""
    return f"{stem}.{end}" if number == 1 else f"{stem}_{number}.{end}"


def named_report(name: str, size_bytes: int, created_at: datetime) -> ReportFile | None:
    """The report with this name; None if it is not the name of a report."""
    parts = _NAME.fullmatch(name)
    if parts is None:
        return None
    return ReportFile(
        name=name,
        kind="performance" if parts["performance"] else "ab_test",
        experiment=parts["experiment"],
        format=cast(Literal["html", "pdf"], parts["format"]),
        lang=cast(Literal["zh", "en"] | None, parts["lang"]),
        size_bytes=size_bytes,
        created_at=created_at,
    )


def _report_file(path: Path) -> ReportFile | None:
    if path.is_symlink() or not path.is_file():
        return None
    status = path.stat()
    return named_report(path.name, status.st_size, datetime.fromtimestamp(status.st_mtime, UTC))

"""The reports that were made: the folder says which there are, their names what they are of."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal, cast

from scheduler_service.errors import StorageUnavailable

_NAME = re.compile(
    r"(?:(?P<performance>performance)|ab_test_(?P<experiment>.+))_\d{8}_\d{6}(?:_(?P<lang>zh|en))?(?:_\d+)?"
    r"\.(?P<format>html|pdf)"
)
"""As `page.save` gives them; older ones do not tell their language."""


@dataclass(frozen=True, slots=True)
class MadeReport:
    """A file in the folder of reports."""

    name: str
    kind: Literal["performance", "ab_test"]
    experiment: str | None
    format: Literal["html", "pdf"]
    lang: Literal["zh", "en"] | None
    size_bytes: int
    created_at: datetime


def made_reports(folder: Path) -> list[MadeReport]:
    """The reports in `folder`, the newest first; other files, links and what is being written are passed over.

    Raises:
        StorageUnavailable: it cannot be read.
    """
    found = []
    try:
        for path in folder.iterdir() if folder.exists() else ():
            told = _NAME.fullmatch(path.name)
            if told is None or path.is_symlink() or not path.is_file():
                continue
            status = path.stat()
            found.append(
                MadeReport(
                    name=path.name,
                    kind="performance" if told["performance"] else "ab_test",
                    experiment=told["experiment"],
                    format=cast(Literal["html", "pdf"], told["format"]),
                    lang=cast(Literal["zh", "en"] | None, told["lang"]),
                    size_bytes=status.st_size,
                    created_at=datetime.fromtimestamp(status.st_mtime, UTC),
                )
            )
    except OSError as err:
        raise StorageUnavailable(f"the reports in {folder} cannot be listed: {err.strerror or err}") from err
    return sorted(found, key=lambda each: (each.created_at, each.name), reverse=True)

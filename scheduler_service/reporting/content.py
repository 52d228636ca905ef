"""What a report says, before it is a page or a PDF: sections of text, tables and pictures, every word in place."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, ClassVar

from scheduler_service.reporting.texts import Lang

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True, slots=True)
class Card:
    """A headline figure; `tone` says whether its change is good news: "good", "bad" or "plain"."""

    label: str
    value: str
    change: str
    tone: str


@dataclass(frozen=True, slots=True)
class State:
    """A cell that is good or bad news: `tone` is "ok", "crossed", "warned" or "unknown"."""

    text: str
    tone: str


Cell = str | State


@dataclass(frozen=True, slots=True)
class Column:
    """`width` is relative to the other columns', on paper; a page fits them to what is in them."""

    label: str
    width: float = 1.0
    is_text: bool = False  # aligned to the left, and broken into lines where it has to be


@dataclass(frozen=True, slots=True)
class Findings:
    """Sentences, the most urgent first."""

    kind: ClassVar = "findings"
    sentences: Sequence[str]


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of as many cells as there are columns; without rows, `nothing` is said instead."""

    kind: ClassVar = "table"
    title: str
    columns: Sequence[Column]
    rows: Sequence[Sequence[Cell]]
    nothing: str
    note: str = ""


@dataclass(frozen=True, slots=True)
class Picture:
    """A chart, or where there is none, what is said instead of it."""

    title: str
    figure: "Figure | None"
    note: str = ""


@dataclass(frozen=True, slots=True)
class Pictures:
    """One across the page, or two beside each other."""

    kind: ClassVar = "pictures"
    pictures: Sequence[Picture]


Block = Findings | Table | Pictures


@dataclass(frozen=True, slots=True)
class Section:
    """Blocks under a heading."""

    title: str
    blocks: Sequence[Block]


@dataclass(frozen=True, slots=True)
class Report:
    """A whole report, in one language."""

    title: str
    lang: Lang
    period: str
    moment: datetime  # of which it tells
    cards: Sequence[Card]
    sections: Sequence[Section]

"""The content of a report in its language, independent of HTML and PDF: sections of text, tables and charts."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, ClassVar

from scheduler_service.words import Lang

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True, slots=True)
class Card:
    """A headline figure; `tone` is "good", "bad" or "plain"."""

    label: str
    value: str
    note: str
    tone: str = "plain"


@dataclass(frozen=True, slots=True)
class Badge:
    """A short text with a colour: `tone` is "ok", "crossed", "warned" or "unknown", or the word of a verdict."""

    text: str
    tone: str


Cell = str | Badge


@dataclass(frozen=True, slots=True)
class Column:
    """`width` is relative to the other columns and used in a PDF; a page fits columns to their content."""

    label: str
    width: float = 1.0
    is_text: bool = False  # aligned to the left and wrapped


@dataclass(frozen=True, slots=True)
class Cards:
    """Headline figures, four in a row."""

    kind: ClassVar = "cards"
    cards: Sequence[Card]


@dataclass(frozen=True, slots=True)
class Findings:
    """A bullet list, the most urgent sentence first."""

    kind: ClassVar = "findings"
    sentences: Sequence[str]


@dataclass(frozen=True, slots=True)
class Notes:
    """Small print between panels."""

    kind: ClassVar = "notes"
    sentences: Sequence[str]


@dataclass(frozen=True, slots=True)
class Statement:
    """A panel with a main sentence and its details; empty parts are left out."""

    kind: ClassVar = "statement"
    text: str
    heading: str = ""
    badge: Badge | None = None
    warning: str = ""  # before the sentence
    advice: str = ""
    cards: Sequence[Card] = ()
    notes: Sequence[str] = ()
    tone: str = ""  # "warning" marks the whole panel


@dataclass(frozen=True, slots=True)
class Fields:
    """Labels with their values."""

    kind: ClassVar = "fields"
    title: str
    fields: Sequence[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Table:
    """Each row has as many cells as there are columns; a table without rows shows `nothing` instead."""

    kind: ClassVar = "table"
    title: str
    columns: Sequence[Column]
    rows: Sequence[Sequence[Cell]]
    nothing: str = ""
    note: str = ""


@dataclass(frozen=True, slots=True)
class Picture:
    """A chart with its note; without a chart, the note alone."""

    title: str
    figure: "Figure | None"
    note: str = ""


@dataclass(frozen=True, slots=True)
class Pictures:
    """One picture across the page, or two beside each other."""

    kind: ClassVar = "pictures"
    pictures: Sequence[Picture]


Block = Cards | Findings | Notes | Statement | Fields | Table | Pictures


@dataclass(frozen=True, slots=True)
class Section:
    """At least one block, under a heading unless `title` is empty."""

    title: str
    blocks: Sequence[Block]


@dataclass(frozen=True, slots=True)
class Report:
    """A whole report in one language."""

    title: str
    lang: Lang
    period: str
    moment: datetime  # end of the period
    sections: Sequence[Section]

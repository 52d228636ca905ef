"""A report as PDF: A4, with text that can be searched and copied, in the bundled font."""

import re
from collections.abc import Sequence
from io import BytesIO

from fpdf import FPDF, FontFace
from fpdf.enums import TableBordersLayout

from scheduler_env.fonts import FONT_FILE, drawable
from scheduler_service.reporting.content import (
    Badge,
    Block,
    Card,
    Cards,
    Cell,
    Fields,
    Findings,
    Notes,
    Picture,
    Pictures,
    Report,
    Statement,
    Table,
)
from scheduler_service.reporting.figures import png
from scheduler_service.reporting.formatting import report_texts

Colour = tuple[int, int, int]

FONT = "report"
INK: Colour = (31, 41, 51)
SOFT: Colour = (82, 96, 109)
LINE: Colour = (216, 221, 227)
BRAND: Colour = (0, 114, 178)
GOOD: Colour = (0, 112, 79)
BAD: Colour = (179, 38, 30)
WARNED: Colour = (122, 75, 0)
TONES = {
    **dict.fromkeys(("good", "ok", "better", "non_inferior"), GOOD),
    **dict.fromkeys(("bad", "crossed", "worse", "warning"), BAD),
    **dict.fromkeys(("warned", "invalid"), WARNED),
}
"""Colours of badges, cards and statements; others are grey."""

MARGIN, BESIDE = 12.0, 4.0
PADDING = 1.2
LINE_HEIGHT = 3.7
"""Millimetres, as all lengths here; of text of 7.5 points."""
TEXT_PT, SMALL_PT = 7.5, 6.5
CARDS_IN_ROW = 4
ROWS_TOGETHER = 12
"""Tables with at most so many rows are not split across pages."""

_HANZI = "\u2e80-\u9fff\uf900-\ufaff\uff00-\uffef\u3000-\u303f"
_OPENING, _CLOSING = "（“《【(", "，。、；：）”》】！？…%)"
_BREAKABLE = re.compile(rf"[{_OPENING}]*(?:[{_HANZI}]|[^ {_HANZI}{_OPENING}]+)?[{_CLOSING}]*[ ]*")
"""Units between which a line may be broken: words and single hanzi, with adjacent punctuation."""


def pdf_of(report: Report) -> bytes:
    """The report as a PDF; the same report gives the same bytes."""
    paper = _Paper(report)
    paper.title_page()
    for section in report.sections:
        if section.title:
            paper.heading(section.title, section.blocks[0])
        for block in section.blocks:
            paper.block(block)
    paper.closing(report_texts(report.lang)["footer"])
    return bytes(paper.output())


class _Paper(FPDF):
    """The pages, filled from top to bottom."""

    def __init__(self, report: Report) -> None:
        super().__init__(format="A4")
        self._report = report
        self._words = report_texts(report.lang)
        self.set_margin(MARGIN)
        self.set_auto_page_break(auto=True, margin=MARGIN + 6.0)
        self.add_font(FONT, fname=FONT_FILE)
        self.set_font(FONT, size=TEXT_PT)
        self.set_lang("zh-CN" if report.lang == "zh" else "en")
        self.set_title(report.title)
        self.set_creation_date(report.moment)
        self.add_page()

    def header(self) -> None:
        if self.page_no() == 1:
            return
        self._ink(SOFT, SMALL_PT)
        self.set_xy(MARGIN, 7.0)
        self.cell(self.epw / 2, 4.0, self._report.title)
        self.cell(self.epw / 2, 4.0, self._report.period, align="R")
        self._rule(11.5)
        self.set_xy(MARGIN, 15.0)

    def footer(self) -> None:
        self.set_xy(MARGIN, self.h - 13.0)
        self._ink(SOFT, SMALL_PT)
        number_of_pages = "{nb}"  # fpdf replaces this at the end
        self.cell(self.epw, 4.0, self._words["page_of"].format(page=self.page_no(), pages=number_of_pages), align="C")

    def title_page(self) -> None:
        """The head of the first page."""
        self._ink(BRAND, 17.0)
        self.cell(self.epw, 9.0, self._report.title)
        self.ln()
        self._ink(SOFT, 8.5)
        self.cell(self.epw, 5.0, self._report.period)
        self.ln(7.0)
        self._rule(self.y, BRAND)
        self.set_y(self.y + 4.0)

    def heading(self, title: str, first: Block) -> None:
        """The heading of a section, on the same page as the start of its first block."""
        self._need(12.0 + self._least_height(first))
        self.ln(2.0)
        self.start_section(title)
        self.set_fill_color(*BRAND)
        self.rect(MARGIN, self.y + 0.8, 1.2, 5.0, style="F")
        self.set_fill_color(255)  # or the cells of tables would be filled as well
        self._ink(INK, 11.5)
        self.set_x(MARGIN + 3.0)
        self.cell(self.epw - 3.0, 6.6, title)
        self.ln(8.6)

    def block(self, block: Block) -> None:
        match block:
            case Cards(cards):
                self._cards(cards)
            case Findings():
                self._findings(block)
            case Notes(sentences):
                for sentence in sentences:
                    self._note(sentence)
            case Statement():
                self._statement(block)
            case Fields():
                self._fields(block)
            case Table():
                self._table(block)
            case Pictures():
                self._pictures(block)

    def closing(self, text: str) -> None:
        """The closing remark of the report."""
        self._ink(SOFT, SMALL_PT)
        lines = self._lines(text, self.epw - 2.0)
        self._need(len(lines) * LINE_HEIGHT + 3.0)
        self._rule(self.y + 1.0)
        self.set_y(self.y + 2.5)
        self._write(MARGIN, lines)

    def _cards(self, cards: Sequence[Card]) -> None:
        width, height = (self.epw - (CARDS_IN_ROW - 1) * BESIDE) / CARDS_IN_ROW, 17.0
        self._need(height)
        top = self.y
        for place, card in enumerate(cards):
            row, column = divmod(place, CARDS_IN_ROW)
            x, y = MARGIN + column * (width + BESIDE), top + row * (height + 3.0)
            self._frame(x, y, width, height)
            lines = ((card.label, SOFT, 7.0), (card.value, INK, 13.0), (card.note, TONES.get(card.tone, SOFT), 7.0))
            for (text, colour, size_pt), offset in zip(lines, (1.3, 5.2, 12.2), strict=True):
                self._ink(colour, size_pt)
                self._fit(text, width - 3.0, size_pt)
                self.set_xy(x + 1.5, y + offset)
                self.cell(width - 3.0, 6.6 if size_pt > 10.0 else 3.6, text)
        self.set_xy(MARGIN, top + (height + 3.0) * -(-len(cards) // CARDS_IN_ROW))

    def _statement(self, block: Statement) -> None:
        self._need(self._least_height(block))
        top, page = self.y, self.page_no()
        colour = TONES.get(block.badge.tone if block.badge else block.tone, SOFT)
        for text, ink, size_pt in (
            (block.heading, SOFT, 8.5),
            (block.warning, WARNED, 8.5),
            (block.badge.text if block.badge else "", colour, 9.5),
            (block.text, BAD if block.tone == "warning" else INK, 9.5),
            (f"{self._words['next']}{self._words['colon']}{block.advice}" if block.advice else "", INK, 8.5),
        ):
            if text:
                self._ink(ink, size_pt)
                self._write(MARGIN + 3.0, self._lines(text, self.epw - 6.0), size_pt / 1.9)
                self.ln(0.6)
        if page == self.page_no():
            self.set_fill_color(*colour)
            self.rect(MARGIN, top, 1.0, self.y - top, style="F")
            self.set_fill_color(255)
        if block.cards:
            self.ln(1.5)
            self._cards(block.cards)
        for note in block.notes:
            self._note(note, below=0.5)
        self.ln(3.0)

    def _fields(self, block: Fields) -> None:
        self._need(24.0)
        self._title(block.title)
        width = self.epw / CARDS_IN_ROW
        for first in range(0, len(block.fields), CARDS_IN_ROW):
            row = block.fields[first : first + CARDS_IN_ROW]
            self._ink(INK, TEXT_PT)
            values = [self._lines(value, width - 3.0) for _, value in row]
            height = LINE_HEIGHT * (1 + max(map(len, values)))
            self._need(height)
            top = self.y
            for place, ((label, _), lines) in enumerate(zip(row, values, strict=True)):
                x = MARGIN + place * width
                self.set_y(top)
                for colour, size_pt, texts in ((SOFT, SMALL_PT, [label]), (INK, TEXT_PT, lines)):
                    self._ink(colour, size_pt)
                    self._write(x, texts)
            self.set_xy(MARGIN, top + height + 1.5)
        self.ln(2.0)

    def _findings(self, block: Findings) -> None:
        for sentence in block.sentences:
            self._ink(INK, 8.5)
            lines = self._lines(sentence, self.epw - 5.0)
            self._need(len(lines) * 4.4)
            self.set_x(MARGIN + 1.0)
            self.cell(3.0, 4.4, "•")
            self._write(MARGIN + 4.0, lines, 4.4)
            self.ln(0.8)
        self.ln(1.5)

    def _table(self, table: Table) -> None:
        self._need(self._least_height(table))
        if table.title:
            self._title(table.title)
        if not table.rows:
            self._note(table.nothing)
            return
        self._ink(INK, TEXT_PT)
        widths = self._widths(table)
        self.set_draw_color(*LINE)
        with self.table(
            borders_layout=TableBordersLayout.HORIZONTAL_LINES,
            col_widths=tuple(widths),
            headings_style=FontFace(color=SOFT),
            line_height=LINE_HEIGHT,
            padding=PADDING,
            text_align=tuple("LEFT" if column.is_text else "RIGHT" for column in table.columns),
        ) as drawn:
            drawn.row(self._broken([column.label for column in table.columns], widths))
            for row in table.rows:
                line = drawn.row()
                for text, cell in zip(self._broken(row, widths), row, strict=True):
                    tone = FontFace(color=TONES.get(cell.tone, SOFT)) if isinstance(cell, Badge) else None
                    line.cell(text, style=tone)
        self.set_x(MARGIN)
        self._note(table.note)
        if not table.note:
            self.ln(3.0)

    def _pictures(self, block: Pictures) -> None:
        self._need(self._least_height(block))
        width, height = self._picture_width(block), self._least_height(block) - 3.0
        top = self.y
        for place, picture in enumerate(block.pictures):
            x = MARGIN + place * (width + BESIDE)
            self._frame(x, top, width, height)
            self.set_xy(x + 2.0, top + 1.5)
            self._ink(INK, 8.5)
            self.cell(width - 4.0, 5.0, picture.title)
            self.set_xy(x + 2.0, top + 7.0)
            if picture.figure is not None:
                drawn = BytesIO(png(picture.figure, width - 4.0))
                self.image(drawn, x + 2.0, top + 7.0, width - 4.0, alt_text=picture.title)
                self.set_y(top + 7.5 + self._figure_height(picture, width))
            self._ink(SOFT, SMALL_PT)
            self._write(x + 2.0, self._lines(picture.note, width - 4.0))
        self.set_xy(MARGIN, top + height + 3.0)

    def _least_height(self, block: Block) -> float:
        """The height that must be left on the page on which the block begins."""
        if not isinstance(block, Table | Pictures):
            return 24.0 if isinstance(block, Statement) else 12.0
        if isinstance(block, Table):
            self._ink(INK, TEXT_PT)
            widths = self._widths(block)
            rows = [[column.label for column in block.columns], *block.rows]
            counted = rows if len(rows) <= ROWS_TOGETHER + 1 else rows[:4]
            heights = (max(text.count("\n") + 1 for text in self._broken(row, widths)) for row in counted)
            return 8.0 + sum(lines * LINE_HEIGHT + 2.0 * PADDING for lines in heights)
        width = self._picture_width(block)
        self._ink(SOFT, SMALL_PT)
        return 12.0 + max(
            self._figure_height(picture, width) + len(self._lines(picture.note, width - 4.0)) * LINE_HEIGHT
            for picture in block.pictures
        )

    def _picture_width(self, block: Pictures) -> float:
        count = len(block.pictures)
        return (self.epw - (count - 1) * BESIDE) / count

    @staticmethod
    def _figure_height(picture: Picture, width: float) -> float:
        if picture.figure is None:
            return 0.0
        return (width - 4.0) * picture.figure.get_figheight() / picture.figure.get_figwidth()

    def _widths(self, table: Table) -> list[float]:
        total = sum(column.width for column in table.columns)
        return [self.epw * column.width / total for column in table.columns]

    def _broken(self, cells: Sequence[Cell], widths: Sequence[float]) -> list[str]:
        texts = [cell.text if isinstance(cell, Badge) else cell for cell in cells]
        return [
            "\n".join(self._lines(text, width - 2.0 * PADDING - 0.2)) for text, width in zip(texts, widths, strict=True)
        ]

    def _lines(self, text: str, width: float) -> list[str]:
        """`text` in lines no wider than `width`; fpdf itself would break Chinese only at spaces."""
        lines, line = [], ""
        for piece in _BREAKABLE.findall(drawable(text, len(text) + 1)):
            if line and self.get_string_width((line + piece).rstrip()) > width:
                lines.append(line.rstrip())
                line = ""
            line += piece
            while self.get_string_width(line.rstrip()) > width and len(line) > 1:
                fitting = next(
                    n for n in range(len(line) - 1, 0, -1) if n == 1 or self.get_string_width(line[:n]) <= width
                )
                lines.append(line[:fitting])
                line = line[fitting:]
        return [*lines, line.rstrip()] if line.strip() else lines

    def _write(self, x: float, lines: Sequence[str], line_height: float = LINE_HEIGHT) -> None:
        for line in lines:
            self.set_x(x)
            self.cell(self.w - MARGIN - x, line_height, line)
            self.ln(line_height)

    def _title(self, text: str) -> None:
        self._ink(INK, 9.0)
        self.set_x(MARGIN)
        self.cell(self.epw, 6.0, text)
        self.ln(6.5)

    def _note(self, text: str, below: float = 3.0) -> None:
        """A note in small print; nothing if `text` is empty."""
        if not text:
            return
        self._ink(SOFT, SMALL_PT)
        self.ln(1.0)
        self._write(MARGIN, self._lines(text, self.epw - 2.0))
        self.ln(below)

    def _need(self, height: float) -> None:
        """Start a new page if less than `height` is left."""
        if self.will_page_break(height) and self.y > 20.0:
            self.add_page()

    def _fit(self, text: str, width: float, size_pt: float) -> None:
        """Reduce the font size if `text` would be wider than `width`."""
        needed = self.get_string_width(text)
        if needed > width:
            self.set_font(FONT, size=size_pt * width / needed)

    def _ink(self, colour: Colour, size_pt: float) -> None:
        self.set_text_color(*colour)
        self.set_font(FONT, size=size_pt)

    def _frame(self, x: float, y: float, width: float, height: float) -> None:
        self.set_draw_color(*LINE)
        self.rect(x, y, width, height, round_corners=True, corner_radius=1.5)

    def _rule(self, y: float, colour: Colour = LINE) -> None:
        self.set_draw_color(*colour)
        self.line(MARGIN, y, self.w - MARGIN, y)

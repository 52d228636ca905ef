"""A report as one HTML file that needs nothing else: no script, no link, its own font for the hanzi it uses."""

import base64
from functools import lru_cache
from io import BytesIO
from pathlib import Path

from scheduler_env.fonts import FONT_FILE, NOT_IN_FONT
from scheduler_service.reporting.content import Report
from scheduler_service.reporting.figures import data_uri
from scheduler_service.reporting.formatting import all_texts, report_texts

TEMPLATES = Path(__file__).with_name("templates")
FONT_MARK = "/*embedded-font*/"


def html_of(report: Report) -> str:
    """The report as a page; whatever comes from users is escaped."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    words = report_texts(report.lang)
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    style = (TEMPLATES / "style.css").read_text(encoding="utf-8")
    page = environment.get_template("report.html").render(
        report=report, t=words, style=style, font_mark=FONT_MARK, data_uri=data_uri
    )
    # Half a surrogate pair cannot be written as UTF-8.
    page = page.lstrip().encode("utf-8", "replace").decode()
    # All texts of a language, used or not: then most pages need the same part of the font, which is cached.
    characters = frozenset(page).union(*all_texts(report.lang), map(chr, range(0x20, 0x7F)), NOT_IN_FONT)
    return page.replace(FONT_MARK, _font_face(characters), 1)


@lru_cache(maxsize=8)
def _font_face(characters: frozenset[str]) -> str:
    """A style rule with the part of the bundled font that `characters` need, about 80 KB."""
    from fontTools.subset import Options, Subsetter  # type: ignore[import-untyped]
    from fontTools.ttLib import TTFont  # type: ignore[import-untyped]

    font = TTFont(FONT_FILE)
    subsetter = Subsetter(Options(layout_features=[], notdef_outline=True, hinting=False, drop_tables=["GPOS", "GSUB"]))
    subsetter.populate(text="".join(sorted(characters)))
    subsetter.subset(font)
    font.flavor = "woff"
    data = BytesIO()
    font.save(data)
    encoded = base64.b64encode(data.getvalue()).decode()
    return f'@font-face {{ font-family: "Report Sans"; src: url(data:font/woff;base64,{encoded}) format("woff"); }}'

"""From figures to one HTML file that needs nothing else: no script, no link out, its own font for the hanzi it uses."""

import base64
import re
from datetime import UTC, datetime, tzinfo
from functools import lru_cache
from io import BytesIO
from itertools import count
from pathlib import Path
from zoneinfo import ZoneInfoNotFoundError

from tzlocal import reload_localzone

from scheduler_env.fonts import FONT_FILE, NOT_IN_FONT, drawable
from scheduler_service.files import write_atomically
from scheduler_service.reporting.content import Report
from scheduler_service.reporting.figures import data_uri
from scheduler_service.reporting.texts import TEXTS, Lang
from scheduler_service.thresholds import GAP_RULE, THRESHOLDS

TEMPLATES = Path(__file__).with_name("templates")
FONT_MARK = "/*embedded-font*/"


def render(template: str, lang: Lang, **context: object) -> str:
    """The page of `template` with its texts in `lang`; whatever comes from users is escaped."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    style = (TEMPLATES / "style.css").read_text(encoding="utf-8")
    page = environment.get_template(template).render(
        t=TEXTS[lang], lang="zh-CN" if lang == "zh" else "en", style=style, font_mark=FONT_MARK, **context
    )
    # Half a surrogate pair cannot be written as UTF-8.
    page = page.encode("utf-8", "replace").decode()
    # All the texts of a language, used or not: then most pages need the same part of the font.
    characters = frozenset(page).union(*TEXTS[lang].values(), map(chr, range(0x20, 0x7F)), NOT_IN_FONT)
    return page.replace(FONT_MARK, _font_face(characters), 1)


def html_of(report: Report) -> str:
    """The report as a page."""
    return render(
        "performance.html", report.lang, title=report.title, period=report.period, report=report, data_uri=data_uri
    )


def save(page: str, folder: Path, kind: str, moment: datetime, lang: Lang, *, pdf: bytes | None = None) -> Path:
    """Writes `page` to a new file in `folder`, named by its kind and moment: performance_20261123_121530_zh.html.

    Args:
        pdf: the same report to print, written beside the page under the same name, but for its ending `.pdf`.

    Raises:
        StorageUnavailable: it cannot be written.
    """
    safe = re.sub(r"[^A-Za-z0-9_.-]", "_", kind)[:80]
    stem = f"{safe}_{moment.astimezone():%Y%m%d_%H%M%S}_{lang}"
    names = (stem if number == 1 else f"{stem}_{number}" for number in count(1))
    path, printed = next(
        (path, path.with_suffix(".pdf"))
        for name in names
        if not (path := folder / f"{name}.html").exists() and not path.with_suffix(".pdf").exists()
    )
    if pdf is not None:
        write_atomically(printed, pdf)
    write_atomically(path, page.encode())
    return path


def local_zone(moment: datetime) -> tzinfo:
    """The server's time zone; as its offset at `moment` where it has no name."""
    try:
        return reload_localzone()
    except (ZoneInfoNotFoundError, ValueError, OSError):  # TZ may say anything
        return moment.astimezone().tzinfo or UTC


class Formatter:
    """Figures as people read them; a missing one is a dash."""

    def __init__(self, lang: Lang, zone: tzinfo) -> None:
        self._none = TEXTS[lang]["none"]
        self._zone = zone

    def count(self, value: float | None) -> str:
        return self._none if value is None else f"{value:,.0f}"

    def hours(self, value: float | None) -> str:
        return self._none if value is None else f"{value:,.2f} h"

    def percent(self, value: float | None) -> str:
        """Of a share 0..1; as many decimals as tell 99.9 % from 100 %."""
        if value is None:
            return self._none
        return f"{100 * value:.1f}%" if value == 1.0 or abs(value) < 0.9995 else f"{100 * value:.3f}%"

    def fine_percent(self, value: float | None) -> str:
        """Of a share, where hundredths of a percent count."""
        return self._none if value is None else f"{100 * value:.2f}%"

    def seconds(self, value: float | None) -> str:
        if value is None:
            return self._none
        return f"{1000 * value:.3g} ms" if value < 0.9995 else f"{value:.2f} s"

    def plain(self, value: float | None) -> str:
        if value is None:
            return self._none
        return f"{value:.4g}" if abs(value) < 1000 else f"{value:,.0f}"

    def of_rule(self, name: str, value: float | None) -> str:
        """What an alert's rule of this name measures, in its unit."""
        unit = next((each.unit for each in THRESHOLDS if each.name == name), "share" if name == GAP_RULE else "")
        if unit == "share":
            return self.fine_percent(value)
        if unit == "gib":
            return self._none if value is None else f"{value:,.2f} GiB"
        told = {"hours": self.hours, "seconds": self.seconds}.get(unit, self.plain)
        return told(value)

    def p_value(self, value: float) -> str:
        return "p < 0.0001" if value < 0.0001 else f"p = {value:.4f}"

    def signed_percent(self, value: float) -> str:
        """Of a percentage, with its sign."""
        rounded = round(value, 2)
        return f"{rounded:+.2f}%".replace("-", "−") if rounded else "0.00%"

    def moment(self, value: datetime) -> str:
        return f"{value.astimezone(self._zone):%Y-%m-%d %H:%M:%S}"

    def zone_name(self, moment: datetime) -> str:
        offset = f"{moment.astimezone(self._zone):%z}"
        return f"UTC{offset[:3]}:{offset[3:5]}"

    def name(self, value: object, limit: int = 60) -> str:
        """A name from outside, on one line and not too long; a dash for none."""
        return drawable(value, limit) if isinstance(value, str) and value else self._none


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

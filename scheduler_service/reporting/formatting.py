"""Figures, times, names and texts of the reports, in one language."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta, tzinfo
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfoNotFoundError

from tzlocal import reload_localzone

from scheduler_env.fonts import drawable
from scheduler_env.vocabulary import TEAMS
from scheduler_service.alert_rules import RULES
from scheduler_service.reporting.content import Column
from scheduler_service.stats.metrics import METRICS
from scheduler_service.words import WORDS, Lang, Message

if TYPE_CHECKING:
    import pandas as pd

MIN_PERIOD = timedelta(minutes=1)


def local_zone(moment: datetime) -> tzinfo:
    """The server's time zone; its offset at `moment` if it has no name."""
    try:
        return reload_localzone()
    except (ZoneInfoNotFoundError, ValueError, OSError):  # TZ may be invalid
        return moment.astimezone().tzinfo or UTC


def first_moment(runs: "pd.DataFrame", start: datetime, end: datetime) -> datetime:
    """When a report on `start` to `end` begins: at the first of its runs, so that no chart begins empty."""
    if runs.empty:
        return start
    first: datetime = runs["timestamp"].min().to_pydatetime()
    return max(start, min(first, end - MIN_PERIOD)).astimezone(start.tzinfo)


def report_texts(lang: Lang) -> Mapping[str, str]:
    """The texts of the catalogue's section `reports`."""
    texts: Mapping[str, str] = WORDS.texts(lang)["reports"]
    return texts


def all_texts(lang: Lang) -> Iterator[str]:
    """Every text that a report can contain."""
    return _texts_in({name: texts for name, texts in WORDS.texts(lang).items() if name != "errors"})


def _texts_in(texts: Mapping[str, Any]) -> Iterator[str]:
    for text in texts.values():
        if isinstance(text, str):
            yield text
        else:
            yield from _texts_in(text)


class Formatter:
    """Texts and figures for people; a missing figure is a dash."""

    def __init__(self, lang: Lang, zone: tzinfo) -> None:
        self.lang = lang
        self.words: Mapping[str, str] = report_texts(lang)
        self.none = self.words["none"]
        self._zone = zone

    def text(self, key: str, **params: object) -> str:
        """The text of this key of the catalogue; without a section, of the section `reports`."""
        return WORDS.text(key if "." in key else f"reports.{key}", params, self.lang)

    def say(self, *messages: Message) -> str:
        """The messages as one text."""
        return WORDS.say(*messages, lang=self.lang)

    def term(self, table: str, value: str) -> str:
        """The word of a table of the catalogue's section `terms`."""
        return self.text(f"terms.{table}.{value}")

    def label(self, message: Message | str) -> str:
        """A metric, by its name, or a message, as a heading: it begins with a capital letter."""
        text = self.term("metric", message) if isinstance(message, str) else self.say(message)
        return text[:1].upper() + text[1:]

    def axis(self, metric: str) -> str:
        """The heading of a metric with its unit."""
        unit = self.term("unit", METRICS[metric].unit)
        return f"{self.label(metric)}（{unit}）" if self.lang == "zh" else f"{self.label(metric)} ({unit})"

    def count(self, value: float | None) -> str:
        return self.none if value is None else f"{value:,.0f}"

    def hours(self, value: float | None) -> str:
        return self.none if value is None else f"{value:,.2f} h"

    def percent(self, value: float | None) -> str:
        """A share 0..1 as percent, with enough decimals to tell 99.9 % from 100 %."""
        if value is None:
            return self.none
        return f"{100 * value:.1f} %" if value == 1.0 or abs(value) < 0.9995 else f"{100 * value:.3f} %"

    def fine_percent(self, value: float | None) -> str:
        """A share as percent with two decimals."""
        return self.none if value is None else f"{100 * value:.2f} %"

    def signed_percent(self, value: float | None) -> str:
        """A share as percent with its sign."""
        rounded = None if value is None else round(100.0 * value, 2)
        return self.none if rounded is None else minus(f"{rounded:+.2f} %") if rounded else "0.00 %"

    def seconds(self, value: float | None) -> str:
        if value is None:
            return self.none
        return f"{1000 * value:.3g} ms" if value < 0.9995 else f"{value:.2f} s"

    def plain(self, value: float | None) -> str:
        if value is None:
            return self.none
        return f"{value:.4g}" if abs(value) < 1000 else f"{value:,.0f}"

    def of_figure(self, name: str, value: float | None) -> str:
        """A figure of `analysis.headline`."""
        if name == "requests":
            return self.count(value)
        if name in ("makespan", "policy_makespan"):
            return self.hours(value)
        if name in ("p50", "p99"):
            return self.seconds(value)
        return self.plain(value) if name == "satisfaction" else self.percent(value)

    def of_rule(self, name: str, value: float | None) -> str:
        """A value of the alert rule of this name, in its unit."""
        unit = RULES[name].unit if name in RULES else ""
        if unit == "gib" and value is not None:
            return f"{value:,.2f} GiB"
        by_unit = {"hours": self.hours, "seconds": self.seconds, "share": self.fine_percent}
        return by_unit.get(unit, self.plain)(value)

    def of_metric(self, name: str, value: float | None) -> str:
        """A value of the experiments' metric of this name."""
        by_unit = {"s": self.seconds, "share": self.percent}
        return by_unit.get(METRICS[name].unit, self.plain)(value)

    def p_value(self, value: float) -> str:
        return "p < 0.0001" if value < 0.0001 else f"p = {value:.4f}"

    def moment(self, value: datetime) -> str:
        return f"{value.astimezone(self._zone):%Y-%m-%d %H:%M:%S}"

    def period(self, start: datetime, end: datetime) -> str:
        """From when to when, with the time zone's offset at the end."""
        offset = f"{end.astimezone(self._zone):%z}"
        zone = f"UTC{offset[:3]}:{offset[3:5]}"
        return self.text("period", start=self.moment(start), end=self.moment(end), offset=zone)

    def team(self, name: str) -> str:
        """A team; in Chinese, those of the default plant by their Chinese names."""
        return self.name(TEAMS["zh"][name][-1] if self.lang == "zh" and name in TEAMS["zh"] else name, 40)

    def columns(self, *columns: tuple[str, float], texts: Sequence[str] = ()) -> list[Column]:
        """Columns by the key of their label and their width; those of `texts` contain text."""
        return [Column(self.text(key), width, is_text=key in texts) for key, width in columns]

    def name(self, value: object, limit: int = 60) -> str:
        """A name from outside, on one line and of limited length; a dash for none."""
        return drawable(value, limit) if isinstance(value, str) and value else self.none


def minus(text: str) -> str:
    """`text` with the typographic minus sign."""
    return text.replace("-", "−")


def letter(arm: str) -> str:
    """The letter of an arm: model_b is B."""
    return arm.removeprefix("model_").upper()

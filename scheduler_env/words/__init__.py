"""The catalogue of texts, one folder per language: `<language>/<section>.json`, key -> template.

The path of a text is `<section>.<key>`. A text takes its parameters by name: `{name}` or `{name:kind}`. The kind says
how the value is written; it is one of `KINDS` or a table of the section `terms` (value -> word). A value may itself be
a `Message`, also as JSON, or a list. The console formats the same files by the same rules (`console/core/words.js`).
"""

import json
import string
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Literal, get_args

Lang = Literal["zh", "en"]
LANGS: tuple[Lang, ...] = get_args(Lang)
Texts = Mapping[str, Any]
"""section -> key -> template; a key may hold further keys."""

LIST_MARKS: Mapping[Lang, str] = {"zh": "、", "en": ", "}
CLAUSE_MARKS: Mapping[Lang, str] = {"zh": "；", "en": "; "}
SENTENCE_MARKS: Mapping[Lang, str] = {"zh": "", "en": " "}
MINUS = "\N{MINUS SIGN}"
UNITS: Mapping[Lang, Mapping[str, str]] = {
    "zh": {"h": "小时", "s": "秒", "ms": "毫秒", "days": "天"},
    "en": {"h": "h", "s": "s", "ms": "ms", "days": "days"},
}


@dataclass(frozen=True, slots=True)
class Message:
    """What is said, decided in code and worded in each language: the path of a text with its parameters."""

    code: str
    params: Mapping[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """JSON."""
        return {"code": self.code, "params": {name: _json(value) for name, value in self.params.items()}}


def _json(value: Any) -> Any:
    if isinstance(value, Message):
        return value.to_dict()
    return [_json(each) for each in value] if isinstance(value, list | tuple) else value


def read_catalogue(folders: Iterable[Path], lang: Lang) -> Texts:
    """The texts of all `folders` in one language; a key in two of them is an error (ValueError)."""
    found: dict[str, dict[str, Any]] = {}
    for path in (path for folder in folders for path in sorted((folder / lang).glob("*.json"))):
        section = found.setdefault(path.stem, {})
        added = json.loads(path.read_text(encoding="utf-8"))
        if twice := section.keys() & added.keys():
            raise ValueError(f"{path}: {', '.join(sorted(twice))} is defined twice")
        section.update(added)
    return found


class Catalogue:
    """The texts of some folders in every language.

    Args:
        folders: each with a folder per language.
    """

    def __init__(self, *folders: Path) -> None:
        self.folders = folders
        self.texts = cache(lambda lang: read_catalogue(folders, lang))

    def template(self, path: str, lang: Lang) -> str | None:
        """The text at `path` as it is written; None if there is none."""
        found: Any = self.texts(lang)
        for part in path.split("."):
            found = found.get(part) if isinstance(found, Mapping) else None
        return found if isinstance(found, str) else None

    def text(self, path: str, params: Mapping[str, object] | None = None, lang: Lang = "en") -> str:
        """The text at `path`, formatted.

        Raises:
            KeyError: the catalogue has no such text, or `params` lacks one of its parameters.
        """
        template = self.template(path, lang)
        if template is None:
            raise KeyError(f"no text {path!r} in {lang}")
        return _Formatter(self, lang).vformat(template, (), params or {})

    def say(self, *messages: Message, lang: Lang = "en") -> str:
        """The messages as one text."""
        return SENTENCE_MARKS[lang].join(self.text(each.code, each.params, lang) for each in messages)

    def say_known(self, *messages: Message, lang: Lang = "en") -> str:
        """As `say`; "" if one is unknown, such as one that a newer version of the program has stored."""
        try:
            return self.say(*messages, lang=lang)
        except (KeyError, ValueError, TypeError, AttributeError):  # no text, no parameter, or one of another type
            return ""


def _unworded(message: Message) -> str:
    params = ", ".join(f"{name}={value}" for name, value in message.params.items())
    return f"{message.code} ({params})" if params else message.code


class _Formatter(string.Formatter):
    def __init__(self, catalogue: Catalogue, lang: Lang) -> None:
        self._catalogue, self._lang = catalogue, lang

    def format_field(self, value: Any, format_spec: str) -> str:
        if isinstance(value, Message):
            return self._catalogue.say_known(value, lang=self._lang) or _unworded(value)
        if isinstance(value, Mapping) and value.keys() == {"code", "params"} and isinstance(value["params"], Mapping):
            return self.format_field(Message(value["code"], value["params"]), format_spec)
        if isinstance(value, list | tuple | set | frozenset):
            marks = {"sentences": SENTENCE_MARKS, "clauses": CLAUSE_MARKS}.get(format_spec, LIST_MARKS)
            return marks[self._lang].join(self.format_field(each, format_spec) for each in value)
        if format_spec in KINDS:
            return KINDS[format_spec](value, self._lang)
        terms = self._catalogue.texts(self._lang)["terms"]
        return str(terms[format_spec].get(str(value), value))


def _plain(value: object, _: Lang) -> str:
    """A number with at most six significant digits; whole ones in full; a text as it is."""
    return f"{value:.6g}" if isinstance(value, float) and abs(value) < 1e6 else str(value)


def _percent(value: float, _: Lang) -> str:
    """Two decimals at most, and no minus before a zero."""
    return f"{_trimmed(100.0 * value)} %"


def _signed_percent(value: float, lang: Lang) -> str:
    """As `_percent`, with the sign of what is not shown as zero."""
    text = _percent(abs(value), lang)
    return text if text == "0 %" else f"{'+' if value > 0.0 else MINUS}{text}"


def _points(value: float, _: Lang) -> str:
    return _trimmed(100.0 * value).replace("-", MINUS)


def _short(value: float, lang: Lang) -> str:
    """Three significant digits."""
    return _plain(float(f"{value:.3g}"), lang).replace("-", MINUS)


def _count(value: float, _: Lang) -> str:
    return f"{value:,.0f}"


def _arm(value: str, _: Lang) -> str:
    """The letter of an arm: model_b is B."""
    return value.removeprefix("model_").upper()


def _time(value: str, _: Lang) -> str:
    """Of an ISO-8601 time in UTC: 2026-03-02 10:00 UTC."""
    return f"{value[:16].replace('T', ' ')} UTC"


def _p_value(value: float, _: Lang) -> str:
    return "p < 0.0001" if value < 0.0001 else f"p = {value:.4f}"


def _trimmed(value: float) -> str:
    text = f"{value:.2f}".rstrip("0").rstrip(".")
    return "0" if text in ("-0", "") else text


def _bytes(value: float, _: Lang) -> str:
    for unit in ("B", "KiB", "MiB"):
        if value < 1024:
            return f"{_trimmed(value)} {unit}"
        value /= 1024
    return f"{_trimmed(value)} GiB"


def _with_unit(unit: str) -> "Callable[[Any, Lang], str]":
    return lambda value, lang: f"{_plain(value, lang)} {UNITS[lang][unit]}"


KINDS: Mapping[str, Callable[[Any, Lang], str]] = {
    "": _plain,
    "percent": _percent,  # of a share: 0.0358 is 3.58 %
    "signed": _signed_percent,  # +3.58 %
    "points": _points,  # of a share: 0.0358 is 3.58
    "short": _short,
    "count": _count,  # 10,000
    "arm": _arm,
    "p": _p_value,
    "bytes": _bytes,
    "time": _time,
    "sentences": _plain,  # of a list: as `Catalogue.say`
    "clauses": _plain,  # of a list: separated by semicolons
    **{unit: _with_unit(unit) for unit in UNITS["en"]},
}

SCIENCE = Path(__file__).parent
"""The texts of `scheduler_env`."""
WORDS = Catalogue(SCIENCE)

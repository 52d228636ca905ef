"""What another side says, without what opens a channel: it may repeat what we sent, and people read it."""

import re
from collections.abc import Iterable
from urllib.parse import parse_qsl, quote, quote_plus, unquote, urlsplit

MIN_PART_LENGTH, MIN_VALUE_LENGTH = 8, 4
"""Of a path and of a query; shorter ones are words like "robot" and "1", and hiding these would garble the text."""
HIDDEN = "***"

_NAMES = frozenset({"sign", "signature", "token", "access_token", "key", "secret", "password"})
"""Beside these names any value is hidden, as it is beside the names of the query."""
_SIGNATURE = re.compile(r"(?:[A-Za-z0-9+/]|%2[BbFf]){43}(?:=|%3[Dd])")
"""An HMAC-SHA256 in base64, as it is and in a query."""


def redacted(text: str, *, url: str, secrets: Iterable[str] = ()) -> str:
    """`text` without `secrets`, the query and password of `url`, the longer parts of its path, and any signature."""
    parts = urlsplit(url)
    query = parse_qsl(parts.query)
    hidden = {each for each in (*secrets, parts.query, parts.password) if each}
    hidden |= {each for each in parts.path.split("/") if len(each) >= MIN_PART_LENGTH}
    hidden |= {value for _, value in query if len(value) >= MIN_VALUE_LENGTH}
    hidden |= {unquote(each) for each in hidden}
    for each in sorted(hidden | {quote(each, safe="") for each in hidden}, key=len, reverse=True):
        text = text.replace(each, HIDDEN)
    names = "|".join(re.escape(spelt) for name in _NAMES | {name for name, _ in query} for spelt in _spellings(name))
    text = re.sub(rf"""\b({names})(["']?\s*[=:]\s*["']?)[^&\s"'<>,;]+""", rf"\1\2{HIDDEN}", text, flags=re.IGNORECASE)
    return _SIGNATURE.sub(HIDDEN, text)


def _spellings(name: str) -> set[str]:
    return {name, quote_plus(name)}

"""Removes the credentials of a channel from answers, which may repeat the request and are shown to users."""

import re
from collections.abc import Iterable
from urllib.parse import parse_qsl, quote, quote_plus, unquote, urlsplit

MIN_PART_LENGTH, MIN_VALUE_LENGTH = 8, 4
"""Minimum lengths of hidden path segments and query values; shorter ones are words such as "robot" or "1"."""
HIDDEN = "***"

_NAMES = frozenset({"sign", "signature", "token", "access_token", "key", "secret", "password"})
"""The values of these names are hidden, like those of the names in the query."""
_SIGNATURE = re.compile(r"(?:[A-Za-z0-9+/]|%2[BbFf]){43}(?:=|%3[Dd])")
"""An HMAC-SHA256 in base64, plain or percent-encoded."""


def redacted(text: str, *, url: str, secrets: Iterable[str] = ()) -> str:
    """`text` without `secrets`, query, password and longer path segments of `url`, and signatures."""
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

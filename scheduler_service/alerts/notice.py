"""What is sent when something is wrong, whoever carries it."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

_LINE_BREAKS_AND_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+")
_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


@dataclass(frozen=True, slots=True)
class Notice:
    title: str  # one line
    text: str  # some lines of plain text: what happened, what to do
    severity: str  # "warning", "critical" or "info"
    state: str  # "firing", "resolved", "reminder", "message" or "test"
    payload: Mapping[str, object] = field(default_factory=dict)  # JSON of the alert, for the generic webhook


class Channel(Protocol):
    """A way to tell people; `name` is unique, shown to people and holds no secret."""

    @property
    def name(self) -> str: ...

    def send(self, notice: Notice) -> None:
        """Hand the notice over; it is with the other side when this returns.

        Raises:
            DeliveryFailed: it is not, as far as we know; the text holds no secret.
        """


def one_line(text: str) -> str:
    """`text` without line breaks and control characters, which could begin a header of their own."""
    return _encodable(_LINE_BREAKS_AND_CONTROLS.sub(" ", text)).strip()


def plain(text: str) -> str:
    """`text` with its lines, without other control characters."""
    return _encodable(_CONTROLS.sub("", text.replace("\r\n", "\n").replace("\r", "\n")))


def shortened(text: str, limit_bytes: int) -> str:
    """`text`, cut between characters and marked with an ellipsis if its UTF-8 is longer than `limit_bytes` (>= 3)."""
    encoded = text.encode()
    if len(encoded) <= limit_bytes:
        return text
    return encoded[: limit_bytes - len("…".encode())].decode(errors="ignore") + "…"


def _encodable(text: str) -> str:
    # A lone surrogate, as os.fsdecode makes them, has no UTF-8.
    return text.encode("utf-8", "replace").decode()

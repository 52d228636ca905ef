"""The notice of an alert, and the protocol of channels."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

_LINE_BREAKS_AND_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+")
_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


@dataclass(frozen=True, slots=True)
class Notice:
    """A notification."""

    title: str  # one line
    text: str  # lines of plain text: what happened, what to do
    severity: str  # "warning", "critical" or "info"
    state: str  # "firing", "resolved", "reminder", "message" or "test"
    payload: Mapping[str, object] = field(default_factory=dict)  # JSON of the alert, for the generic webhook


class Channel(Protocol):
    """A notification channel; `name` is unique and contains no secret."""

    @property
    def name(self) -> str: ...

    def send(self, notice: Notice, *, key: str = "") -> None:
        """Deliver the notice; when this returns, the receiver has it.

        Args:
            key: the same at each attempt for the same notice, so that a receiver can drop a repetition; "": none.

        Raises:
            DeliveryFailed: it probably was not delivered; the text contains no secret.
        """


def one_line(text: str) -> str:
    """`text` without line breaks and control characters, which could start another header."""
    return _encodable(_LINE_BREAKS_AND_CONTROLS.sub(" ", text)).strip()


def plain(text: str) -> str:
    """`text` with line breaks, but without other control characters."""
    return _encodable(_CONTROLS.sub("", text.replace("\r\n", "\n").replace("\r", "\n")))


def shortened(text: str, limit_bytes: int) -> str:
    """`text`, cut with an ellipsis if its UTF-8 is longer than `limit_bytes` (>= 3)."""
    encoded = text.encode()
    if len(encoded) <= limit_bytes:
        return text
    return encoded[: limit_bytes - len("…".encode())].decode(errors="ignore") + "…"


def _encodable(text: str) -> str:
    # Lone surrogates, which os.fsdecode creates, cannot be encoded.
    return text.encode("utf-8", "replace").decode()

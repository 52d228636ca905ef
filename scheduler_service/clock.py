"""The clock and the format of times.

Times are stored and sent as ISO-8601 in UTC with an offset; input without an offset is local time.
"""

from collections.abc import Callable
from datetime import UTC, datetime

Clock = Callable[[], datetime]


def utc_now() -> datetime:
    """The current time, aware, in UTC."""
    return datetime.now(UTC)


def to_iso(moment: datetime) -> str:
    """`moment` as ISO-8601 in UTC with microseconds; texts of this form sort by time."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds")


def parse_time(text: str) -> datetime:
    """The aware time in UTC of an ISO-8601 text; without an offset it is local time.

    Raises:
        ValueError: `text` is not ISO-8601.
    """
    return datetime.fromisoformat(text).astimezone(UTC)

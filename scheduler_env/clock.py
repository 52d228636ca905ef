"""Times of the clock beside the elapsed hours of a shutdown: hours are real hours, whatever clocks are changed."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from zoneinfo import ZoneInfo

FIRST_YEAR, LAST_YEAR = 1970, 2200
"""Of the start."""


@dataclass(frozen=True, slots=True)
class Clock:
    """The time of hour 0.

    Attributes:
        start: with a fixed offset from UTC.
        zone: in which times are told; its clock may be changed in summer.
    """

    start: datetime
    zone: tzinfo

    def hours(self, moment: datetime) -> float:
        """The hours from the start to `moment`, which has a fixed offset too."""
        return (moment - self.start) / timedelta(hours=1)

    def at(self, hour: float) -> datetime:
        """The time `hour` hours after the start, to the millisecond.

        Raises:
            OverflowError: after the year 9999.
        """
        return (self.start.astimezone(UTC) + timedelta(milliseconds=round(hour * 3_600_000))).astimezone(self.zone)

    def told(self, hour: float) -> str | None:
        """The time `hour` hours after the start in ISO 8601 with its offset; None after the year 9999."""
        try:
            moment = self.at(hour)
        except OverflowError:
            return None
        return moment.isoformat(timespec="milliseconds" if moment.microsecond else "seconds")


def moment(text: str) -> datetime | None:
    """The date and time in ISO 8601, perhaps without an offset; None if it is none."""
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        return None


def zone_named(name: str) -> tzinfo | None:
    """The time zone of IANA's database with this name; None if there is none."""
    try:
        return ZoneInfo(name)
    except (ValueError, OSError, LookupError):  # no such name, no name at all, or a folder
        return None

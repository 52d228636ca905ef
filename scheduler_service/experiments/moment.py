"""A moment as people write it into the experiments' file."""

from datetime import UTC, datetime
from typing import Annotated

from pydantic import BeforeValidator

from scheduler_service.clock import parse_time


def _read_moment(value: object) -> object:
    if isinstance(value, str):
        try:
            value = parse_time(value)
        except (ValueError, OverflowError) as err:
            raise ValueError(f"{value!r} is not an ISO-8601 time such as 2024-01-01T00:00:00") from err
    if isinstance(value, datetime):
        if not 1970 < value.year < 3000:
            raise ValueError(f"the year {value.year} is not within 1971..2999")
        return value.astimezone(UTC)
    return value


Moment = Annotated[datetime, BeforeValidator(_read_moment)]
"""ISO-8601, local time unless it has an offset; aware once it is read."""

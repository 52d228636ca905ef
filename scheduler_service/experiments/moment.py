"""A time in the experiments' file."""

from datetime import UTC, datetime
from typing import Annotated

from pydantic import BeforeValidator

from scheduler_service.clock import parse_time
from scheduler_service.errors import invalid


def _read_moment(value: object) -> object:
    if isinstance(value, str):
        try:
            value = parse_time(value)
        except (ValueError, OverflowError) as err:
            raise invalid("not_a_time", value=repr(value)) from err
    if isinstance(value, datetime):
        if not 1970 < value.year < 3000:
            raise invalid("out_of_range", value=value.year, minimum=1971, maximum=2999)
        return value.astimezone(UTC)
    return value


Moment = Annotated[datetime, BeforeValidator(_read_moment)]
"""ISO-8601, local time unless it has an offset; parsed to an aware datetime in UTC."""

"""The clock of a run request as it is written, and as it is read."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, WithJsonSchema

from scheduler_env.clock import FIRST_YEAR, LAST_YEAR, Clock, moment, zone_named
from scheduler_env.errors import InvalidInstance
from scheduler_env.mistakes import Mistakes
from scheduler_env.problem_request import Name
from scheduler_env.validation import invalid
from scheduler_env.values import shortened


def _start(text: str) -> str:
    time = moment(text)
    if time is None:
        raise invalid("not_iso_time", value=shortened(text))
    if time.tzinfo is None:
        raise invalid("time_without_offset", value=shortened(text))
    if not FIRST_YEAR <= time.year <= LAST_YEAR:
        raise invalid("start_out_of_range", value=shortened(text), first=FIRST_YEAR, last=LAST_YEAR)
    return text


def _time_zone(name: str) -> str:
    if zone_named(name) is None:
        raise invalid("no_such_time_zone", value=shortened(name))
    return name


Start = Annotated[
    str,
    AfterValidator(_start),
    Field(description="Time of hour 0, ISO 8601 with its offset. Then a time may stand wherever hours are counted."),
    WithJsonSchema({"type": "string", "format": "date-time"}),
]
TimeZone = Annotated[
    Name,
    AfterValidator(_time_zone),
    Field(description="Zone of IANA's database in which times are answered. Default: the offset of `start`."),
]


class ClockRequest(BaseModel):
    """The clock of the shutdown."""

    model_config = ConfigDict(strict=True, frozen=True)

    start: Start | None = None
    time_zone: TimeZone | None = None


MEMBERS = tuple(ClockRequest.model_fields)


def read_clock(payload: Mapping[str, object]) -> Clock | None:
    """The clock of a request; None if it says nothing about it.

    Raises:
        InvalidInstance: it has a mistake. The rest of the request is not read: its times would have no meaning.
    """
    said = {name: payload.get(name) for name in MEMBERS}
    if not any(value is not None for value in said.values()):
        return None
    mistakes = Mistakes()
    read = mistakes.read(ClockRequest, said, ())
    if payload.get("start") is None:
        for name in MEMBERS:
            if said[name] is not None:
                mistakes.add(InvalidInstance("needs_start", (name,), name=name))
    mistakes.refuse()
    assert read is not None
    start = datetime.fromisoformat(str(read.start))
    zone = None if read.time_zone is None else zone_named(read.time_zone)
    return Clock(start, zone or start.tzinfo or UTC)

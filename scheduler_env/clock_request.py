"""The clock and the calendars of a run request as they are written, and as they are read."""

from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, date, datetime
from typing import Annotated, NamedTuple

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, WithJsonSchema

from scheduler_env.calendars import Calendar, Pattern, Shift
from scheduler_env.clock import FIRST_YEAR, LAST_YEAR, Clock, moment, zone_named
from scheduler_env.errors import InvalidInstance, Loc
from scheduler_env.mistakes import Mistakes
from scheduler_env.problem_request import Name, Written
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


MAX_CALENDARS, MAX_SHIFTS, MAX_EXCEPTIONS = 50, 12, 1_000
"""Of a request; of a day; of a calendar."""
DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


def _minutes(text: str) -> int:
    hours, minutes = text.split(":")
    return 60 * int(hours) + int(minutes)


def _time_of_day(text: str) -> str:
    parts = text.split(":")
    is_time = [len(part) for part in parts] == [2, 2] and all(part.isascii() and part.isdigit() for part in parts)
    if not (is_time and int(parts[1]) < 60 and _minutes(text) <= 24 * 60):
        raise invalid("not_time_of_day", value=shortened(text))
    return text


def _shift(times: list[str]) -> list[str]:
    if times[0] == "24:00":
        raise invalid("not_time_of_day", value=shortened(times[0]))
    return times


def _date(text: str) -> str:
    try:
        is_date = date.fromisoformat(text).isoformat() == text
    except ValueError:
        is_date = False
    if not is_date:
        raise invalid("not_iso_date", value=shortened(text))
    return text


TimeOfDay = Annotated[str, AfterValidator(_time_of_day), Field(examples=["07:00"])]
Shifts = Annotated[
    list[Annotated[list[TimeOfDay], Field(min_length=2, max_length=2), AfterValidator(_shift)]],
    Field(
        max_length=MAX_SHIFTS,
        description="From and to, local times. To the same time or an earlier one: of the next day.",
    ),
]


class WeekRequest(Written):
    """The shifts that begin on each day of the week; without work where nothing is said."""

    mon: Shifts | None = None
    tue: Shifts | None = None
    wed: Shifts | None = None
    thu: Shifts | None = None
    fri: Shifts | None = None
    sat: Shifts | None = None
    sun: Shifts | None = None


class ExceptionRequest(Written):
    """The shifts that begin on one date, in place of those of its day of the week."""

    date: Annotated[str, AfterValidator(_date), WithJsonSchema({"type": "string", "format": "date"})]
    hours: Shifts


class CalendarRequest(Written):
    """When people work."""

    week: WeekRequest
    exceptions: Annotated[list[ExceptionRequest], Field(max_length=MAX_EXCEPTIONS)] | None = None


Calendars = Annotated[
    dict[Name, CalendarRequest],
    Field(
        max_length=MAX_CALENDARS, description="By name. Times are local to `time_zone`, or to the offset of `start`."
    ),
]
PlantCalendar = Annotated[
    Name, Field(description="Name of the plant's calendar: steps rest outside its shifts. Default: always at work.")
]


class ClockRequest(BaseModel):
    """The clock of the shutdown, and when people work."""

    model_config = ConfigDict(strict=True, frozen=True)

    start: Start | None = None
    time_zone: TimeZone | None = None
    calendars: Calendars | None = None
    calendar: PlantCalendar | None = None


MEMBERS = tuple(ClockRequest.model_fields)


class ReadClock(NamedTuple):
    """The clock of a request, and the calendar of its plant, if it has one."""

    clock: Clock
    calendar: Calendar | None


def read_clock(payload: Mapping[str, object]) -> ReadClock | None:
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
    clock = Clock(start, zone or start.tzinfo or UTC)
    patterns = {name: _pattern(each, ("calendars", name), mistakes) for name, each in (read.calendars or {}).items()}
    if read.calendar is not None and read.calendar not in patterns:
        mistakes.add(InvalidInstance("unknown_calendar", ("calendar",), name=read.calendar, known=list(patterns)))
    mistakes.refuse()
    pattern = None if read.calendar is None else patterns[read.calendar]
    return ReadClock(clock, None if pattern is None else Calendar(pattern, clock))


def _pattern(read: CalendarRequest, loc: Loc, mistakes: Mistakes) -> Pattern | None:
    exceptions: dict[date, tuple[Shift, ...]] = {}
    for number, each in enumerate(read.exceptions or ()):
        day = date.fromisoformat(each.date)
        if day in exceptions:
            mistakes.add(InvalidInstance("date_twice", (*loc, "exceptions", number, "date"), date=each.date))
        exceptions[day] = tuple(_shifts(each.hours))
    try:
        return Pattern(tuple(tuple(_shifts(getattr(read.week, day) or ())) for day in DAYS), exceptions)
    except InvalidInstance as err:
        mistakes.add(err.at((*loc, *err.loc)))
        return None


def _shifts(written: Iterable[list[str]]) -> Iterator[Shift]:
    for first, last in written:
        begin, end = _minutes(first), _minutes(last)
        yield Shift(begin, end if end > begin else end + 24 * 60)

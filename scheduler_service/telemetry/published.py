"""The plan that people have in hand, named in a request by the id of a recorded run."""

from collections.abc import Mapping
from contextlib import suppress

from sqlalchemy import Engine

from scheduler_env.clock_request import read_clock
from scheduler_env.errors import InvalidInstance, InvalidSchedule
from scheduler_env.readers import instance_from_request
from scheduler_env.schedule import Schedule
from scheduler_service.errors import RunNotFound
from scheduler_service.telemetry.history import run_of_request

ABOUT_PUBLISHED = ("published", "frozen_hours", "stability_tolerance_h")
MAX_CHAIN = 100
"""Replans of replans that are followed, to read the crews that a request took from the plan before it."""


def with_published(problem: Mapping[str, object], engine: Engine) -> Mapping[str, object]:
    """`problem`, with the starts and crews of the recorded run in place of its id; the same if it names none.

    An unknown id stays: the readers refuse it.

    Raises:
        StorageUnavailable: the records cannot be read.
    """
    request_id = problem.get("published")
    if not isinstance(request_id, str):
        return problem
    schedule = _recorded(request_id, engine, MAX_CHAIN)
    if schedule is None:
        return problem
    return {**problem, "published": _placed(schedule, problem)}


def recorded_schedule(asked: Mapping[str, object] | None, placements: bytes | None, engine: Engine) -> Schedule | None:
    """The schedule of a recorded run; None if it is unknown or does not fit the recorded request.

    Raises:
        StorageUnavailable: the records cannot be read.
    """
    if asked is None or placements is None:
        return None
    asked = with_published(asked, engine)
    if isinstance(asked.get("published"), str):  # its record is gone: what it says of the published plan is lost
        asked = {name: value for name, value in asked.items() if name not in ABOUT_PUBLISHED}
    return _unpacked(asked, placements)


def _unpacked(asked: Mapping[str, object], placements: bytes) -> Schedule | None:
    from scheduler_env.placements import unpacked  # imports numpy, which is slow

    with suppress(InvalidInstance, InvalidSchedule):
        return unpacked(instance_from_request(asked), placements)
    return None


def _recorded(request_id: str, engine: Engine, left: int) -> Schedule | None:
    with suppress(RunNotFound):
        _, asked, placements = run_of_request(engine, request_id)
        if asked is None or placements is None:
            return None
        plain = {name: value for name, value in asked.items() if name not in ABOUT_PUBLISHED}
        if (found := _unpacked(plain, placements)) is not None:
            return found
        before = asked.get("published")
        if isinstance(before, Mapping):
            return _unpacked({**plain, "published": before}, placements)
        if left > 0 and isinstance(before, str) and (schedule := _recorded(before, engine, left - 1)) is not None:
            plain["published"] = _placed(schedule, plain)
            return _unpacked(plain, placements)
    return None


def _placed(schedule: Schedule, problem: Mapping[str, object]) -> dict[str, dict[str, float]]:
    """The starts and crews of `schedule`, in the hours of `problem`."""
    earlier_h = 0.0
    with suppress(InvalidInstance):  # the readers refuse it
        clock, other = read_clock(problem), schedule.instance.clock
        earlier_h = 0.0 if clock is None or other is None else clock.clock.hours(other.start)
    return {
        each.step.id: {"start": max(0.0, each.start_h + earlier_h), "workers": each.crew} for each in schedule.steps
    }

"""Compact storage of a schedule: the start and the crew of each step. Everything else follows from the request.

Format: all starts as 64-bit floats, then all crews as 16-bit integers, little-endian, in the order of the instance's
steps, compressed (zlib, RFC 1950). About 80 bytes for 15 steps, 1,800 for 300.
"""

import zlib
from collections.abc import Iterable

import numpy as np

from scheduler_env.errors import InvalidSchedule
from scheduler_env.problem import Instance, Mode, Step
from scheduler_env.schedule import Schedule, ScheduledStep, as_it_happened

LEVEL = 1  # higher levels are slower and save nothing on binary numbers
_START, _CREW = np.dtype("<f8"), np.dtype("<u2")


def packed(schedule: Schedule) -> bytes:
    """The placements of a complete schedule."""
    placed = {step.step.id: step for step in schedule.steps}
    in_order = [placed[step.id] for step in schedule.instance.steps]
    starts = np.array([step.start_h for step in in_order], _START)
    crews = np.array([step.crew for step in in_order], _CREW)
    return zlib.compress(starts.tobytes() + crews.tobytes(), LEVEL)


def unpacked(instance: Instance, data: bytes) -> Schedule:
    """The schedule of `instance` in `data`, which `packed` made; steps in the order of the instance.

    Raises:
        InvalidSchedule: `data` is damaged or was made for another instance.
    """
    n_steps = len(instance.steps)
    try:
        content = zlib.decompress(data)
    except zlib.error as err:
        raise InvalidSchedule("placements_damaged") from err
    if len(content) != n_steps * (_START.itemsize + _CREW.itemsize):
        raise InvalidSchedule("placements_of_other", n=n_steps)
    starts = np.frombuffer(content, _START, n_steps)
    crews = np.frombuffer(content, _CREW, n_steps, n_steps * _START.itemsize)
    facts = {} if instance.status is None else instance.status.facts
    placed: list[tuple[Step, Mode, float]] = []
    for step, start_h, crew in zip(instance.steps, starts.tolist(), crews.tolist(), strict=True):
        is_fact = step.id in facts
        mode = step.modes[0] if is_fact else next((mode for mode in step.modes if step.crew(mode) == crew), None)
        if mode is None:
            raise InvalidSchedule("no_mode_with_crew", step=step.id, crew=crew)
        placed.append((step, mode, start_h))
    return placed_at(instance, placed)


def placed_at(instance: Instance, placements: Iterable[tuple[Step, Mode, float]]) -> Schedule:
    """The schedule with these starts. Facts stay what they are, and ends follow from the calendar."""
    facts, calendar = {} if instance.status is None else instance.status.facts, instance.calendar
    return Schedule(
        instance,
        tuple(
            as_it_happened(step, facts[step.id])
            if step.id in facts
            else ScheduledStep(
                step, mode, start_h, None if calendar is None else calendar.add(start_h, mode.duration_h)
            )
            for step, mode, start_h in placements
        ),
    )

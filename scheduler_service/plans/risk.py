"""How long a plan takes if durations vary: simulated with the plan's order and crews. Pure.

Each sample draws a duration of every open step and builds the schedule by the serial scheme, in the order of the plan's
starts and with its crews. A step has the same random numbers in every version of a plan (common random numbers), so two
versions differ by what differs in them. The draws of a step are stratified (Latin hypercube).

Sources: Kelley 1963 (serial scheme); McKay, Beckman and Conover 1979 (Latin hypercube); Van Slyke 1963 (criticality).
"""

import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from scheduler_env.kernel import compile_instance
from scheduler_env.problem import Instance
from scheduler_env.replan.open_steps import status_of, what_is_left
from scheduler_env.schedule import TOLERANCE_H, Schedule
from scheduler_env.serial import FORWARDS, decode, new_decoder, order_by_time
from scheduler_service.errors import InvalidInput
from scheduler_service.plans.edits import no_such_step

Floats = NDArray[np.float64]

MAX_TOLD = 20
"""Unknown steps that a refusal lists."""
MAX_DURATIONS = 5_000_000
"""Of all samples: they are held in memory, 40 MB, and take some seconds."""
QUANTILES = (0.1, 0.5, 0.8, 0.9)


@dataclass(frozen=True, slots=True)
class Uncertainty:
    """Of one step: the shortest, the likeliest and the longest duration, and the chance that it has to be done.

    Durations are hours with the planned crew; a step that need not be done takes none.
    """

    shortest_h: float
    likeliest_h: float
    longest_h: float
    chance: float = 1.0


@dataclass(frozen=True, slots=True)
class Risk:
    """The makespan of the samples.

    Attributes:
        quantiles_h: share of the samples -> makespan that is not exceeded in it.
        critical: id of each open step -> share of the samples in which its delay would delay the restart.
    """

    samples: int
    mean_h: float
    deviation_h: float
    quantiles_h: Mapping[float, float]
    critical: Mapping[str, float]


def simulate(
    schedule: Schedule,
    uncertain: Mapping[str, Uncertainty],
    *,
    samples: int,
    seed: int = 0,
    stop: Callable[[], bool] = lambda: False,
) -> Risk:
    """The makespan if open steps take as long as `uncertain` says, by step id; the others take as long as planned.

    Args:
        stop: called before each sample; if it returns true, nobody wants the result, and the rest is left out.

    Raises:
        InvalidInput: more than `MAX_DURATIONS` durations would be drawn.
    """
    elapsed_h = _to_elapsed(schedule)
    schedule = schedule.at_work or schedule
    instance = schedule.instance
    facts_h = max((fact.end_h for fact in status_of(instance).facts.values()), default=0.0)
    left = _open_steps(instance)
    if left is None:
        return Risk(samples, elapsed_h(facts_h), 0.0, dict.fromkeys(QUANTILES, elapsed_h(facts_h)), {})
    if samples * len(left.steps) > MAX_DURATIONS:
        most = MAX_DURATIONS // len(left.steps)
        raise InvalidInput("too_many_samples", ("samples",), value=samples, n=len(left.steps), limit=most)
    problem, placed = compile_instance(left), {each.step.id: each for each in schedule.steps}
    steps = left.steps
    mode = np.array([problem.mode_at[j] + [*step.modes].index(placed[step.id].mode) for j, step in enumerate(steps)])
    planned_start = np.array([placed[step.id].start_h for step in steps])
    order = np.empty(len(steps), dtype=np.int64)
    order_by_time(problem, planned_start, order)
    drawn = np.column_stack(
        [
            _drawn(step.id, uncertain.get(step.id), problem.duration[mode[j]], samples, seed)
            for j, step in enumerate(steps)
        ]
    )
    links = _links(left)
    decoder, start = new_decoder(problem), np.empty(len(steps))
    durations = problem.duration.copy()
    one_sample = problem._replace(duration=durations)
    ends, critical = np.zeros(samples), np.zeros(len(steps))
    for sample in range(samples):
        if stop():
            break
        durations[mode] = drawn[sample]
        ends[sample] = decode(
            one_sample, decoder, order, mode, problem.successor_at, problem.successors, start, np.inf, FORWARDS
        )
        if ends[sample] > facts_h:
            critical[_critical(start, start + drawn[sample], links)] += 1.0
    ends = np.array([elapsed_h(hour) for hour in np.maximum(ends, facts_h)])
    return Risk(
        samples,
        float(ends.mean()),
        float(ends.std(ddof=1)) if samples > 1 else 0.0,
        {share: float(np.quantile(ends, share)) for share in QUANTILES},
        {step.id: float(critical[j] / samples) for j, step in enumerate(steps)},
    )


def _to_elapsed(schedule: Schedule) -> Callable[[float], float]:
    """From the hours that are simulated to elapsed ones: with a calendar of the plant, hours at work are simulated."""
    calendar = schedule.instance.calendar
    return (lambda hour: hour) if calendar is None else lambda hour: calendar.end(hour) if hour > 0.0 else 0.0


def uncertainties(
    schedule: Schedule,
    spread: Sequence[float] | None,
    steps: Mapping[str, tuple[Sequence[float] | None, float]],
) -> dict[str, Uncertainty]:
    """What varies, by step id.

    Args:
        spread: shortest, likeliest and longest duration as multiples of the planned one, of steps without own hours;
            None: as planned.
        steps: by id, shortest, likeliest and longest hours, or None, and the chance that the step has to be done.

    Raises:
        InvalidInput: there is no such step.
    """
    known = {placed.step.id for placed in schedule.steps}
    unknown = [each for each in steps if each not in known]
    if unknown:
        raise InvalidInput.of([no_such_step(each, known, ("steps", each)) for each in unknown[:MAX_TOLD]])
    found: dict[str, Uncertainty] = {}
    for placed in schedule.steps:
        hours, chance = steps.get(placed.step.id, (None, 1.0))
        if hours is None and (spread is not None or chance < 1.0):
            hours = [factor * placed.mode.duration_h for factor in spread or (1.0, 1.0, 1.0)]
        if hours is not None:
            found[placed.step.id] = Uncertainty(hours[0], hours[1], hours[2], chance)
    return found


def _open_steps(instance: Instance) -> Instance | None:
    """The open steps; a promised start is the earliest one. None if there are none."""
    left = what_is_left(instance, {})
    if left is None:
        return None
    pins = {key: pin.start_h for key, pin in status_of(instance).pinned.items() if pin.start_h is not None}
    workpoints = tuple(
        replace(
            each,
            steps=tuple(step._replace(release_h=max(step.release_h, pins.get(step.id, 0.0))) for step in each.steps),
        )
        for each in left.instance.workpoints
    )
    return replace(left.instance, workpoints=workpoints) if pins else left.instance


def _drawn(step_id: str, uncertain: Uncertainty | None, planned_h: float, samples: int, seed: int) -> Floats:
    """The hours of a step in each sample."""
    if uncertain is None:
        return np.full(samples, planned_h)
    random = np.random.default_rng([seed, zlib.crc32(step_id.encode("utf-8", "replace"))])
    hours = triangular(_stratified(random, samples), uncertain.shortest_h, uncertain.likeliest_h, uncertain.longest_h)
    is_done = _stratified(random, samples) < uncertain.chance
    return np.where(is_done, hours, 0.0)


def _stratified(random: np.random.Generator, samples: int) -> Floats:
    """Numbers in 0..1, one in each of `samples` equal intervals, in random order."""
    found: Floats = (random.permutation(samples) + random.random(samples)) / samples
    return found


def triangular(share: Floats, low: float, mode: float, high: float) -> Floats:
    """The quantiles of a triangular distribution; low <= mode <= high."""
    if high <= low:
        return np.full(share.shape, low)
    turn = (mode - low) / (high - low)
    rising = low + np.sqrt(share * (high - low) * (mode - low))
    falling = high - np.sqrt((1.0 - share) * (high - low) * (high - mode))
    found: Floats = np.where(share < turn, rising, falling)
    return found


def _links(instance: Instance) -> NDArray[np.bool_]:
    """[i, j]: whether step j may have to wait for i: its predecessor, or one that uses the same team or place."""
    n = len(instance.steps)
    links = np.zeros((n, n), dtype=np.bool_)
    users: dict[str, list[int]] = {}
    for j, step in enumerate(instance.steps):
        for name in {name for mode in step.modes for name, _ in mode.demand}:
            users.setdefault(name, []).append(j)
        for i in instance.predecessors[j]:
            links[i, j] = True
    for those in users.values():
        links[np.ix_(those, those)] = True
    return links


def _critical(start: Floats, end: Floats, links: NDArray[np.bool_]) -> list[int]:
    """The steps on a critical sequence, followed backwards from a last end to steps that end when the next begins."""
    found: set[int] = set()
    waiting = np.flatnonzero(end >= end.max() - TOLERANCE_H).tolist()
    while waiting:
        j = waiting.pop()
        if j in found:
            continue
        found.add(j)
        if start[j] > TOLERANCE_H:
            waiting += np.flatnonzero((np.abs(end - start[j]) <= TOLERANCE_H) & links[:, j]).tolist()
    return [j for j in found if end[j] > start[j]]

"""The compiled simulation of a shutdown that training, serving and search share.

The clock does not advance while decisions are made. At each event (time 0, and whenever activities finish) the caller
starts any number of candidates (activity, mode) whose predecessors are finished and whose demand is available. It then
calls `wait`, which advances the clock to the next finish time. `Problem` is constant; `SimulationState` is updated in
place. Both are tuples of arrays, because compiled code can pass those on. `restore` builds the state of a partial
schedule from starts and modes.

Indices: j activity (0..n-1), m mode (the modes of all activities in one list), k renewable resource.
"""

from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from scheduler_env.availability import Levels
from scheduler_env.compilation import compiled
from scheduler_env.levels import FROM, UNITS, next_change, there_at
from scheduler_env.problem import CrewModes, Instance
from scheduler_env.schedule import Schedule, ScheduledStep

Floats = NDArray[np.float64]
Floats32 = NDArray[np.float32]
Ints = NDArray[np.int64]

WAIT = -1
"""Activity number of the decision to start nothing more and wait."""

ZERO_DURATION_H = 1e-7
"""Shorter durations (0.4 milliseconds) are set to 0. Late in a long shutdown, start + duration would round to the
start, and an activity with a positive duration but no extent could be placed where its resource is occupied."""

EPSILON_H = 1e-9
"""Finish times closer together than this (4 microseconds) are one event."""

# SimulationState.clock
NOW, BOUND = 0, 1
# SimulationState.counts
UNSTARTED, RUNNING, ELIGIBLE = 0, 1, 2
# columns of Outlook.team
LOAD_H, N_UNSTARTED, N_ELIGIBLE, ELIGIBLE_H, NEXT_END, NEXT_ARRIVAL, MAX_TAIL, TEAM_BOUND, MIN_CREW = range(9)


class Problem(NamedTuple):
    """An instance as arrays. Units: hours and people. M is the number of modes, K of resources."""

    capacity: Ints  # (K,) units of each resource
    predecessors_of: Ints  # (n,) number of direct predecessors
    successor_at: Ints  # (n + 1,) CSR into successors
    successors: Ints
    mode_at: Ints  # (n + 1,) CSR: modes of activity j are mode_at[j] .. mode_at[j + 1] - 1
    duration: Floats  # (M,)
    demand_at: Ints  # (M + 1,) CSR into the two arrays below
    demand_resource: Ints
    demand_units: Ints
    use_at: Ints  # (n + 1,) CSR: resources that every mode of j needs
    use_resource: Ints
    use_work: Floats  # minimum work content on that resource over the modes, people-hours
    use_units: Ints  # minimum units of that resource over the modes
    topological: Ints  # (n,) activities, predecessors first
    shortest: Floats  # (n,) shortest duration
    tail: Floats  # (n,) longest path from the start of j to the end of the project in shortest modes, including j
    work_after: Floats32  # (n, K) minimum work content of all transitive successors over the capacity, hours
    release: Floats  # (n,) earliest start, hours
    level_at: Ints  # (K + 1,) CSR into levels
    levels: Floats  # (rows, 3) what is there of the resources over time; see the module `levels`
    is_residual: bool  # whether there is any release or level; if not, the three arrays above say nothing
    unit: float  # mean shortest duration, hours; dividing by it makes features independent of the instance's scale


class SimulationState(NamedTuple):
    """The state of a simulation: arrays that are updated in place."""

    clock: Floats  # (2,) [NOW] time; [BOUND] the largest lower bound on the makespan so far
    counts: Ints  # (3,) [UNSTARTED], [RUNNING], [ELIGIBLE]
    missing: Ints  # (n,) number of unfinished predecessors
    mode: Ints  # (n,) chosen mode, -1 before the start
    start: Floats  # (n,) valid once started
    finish: Floats  # (n,) valid once started
    running: Ints  # (n,) the first counts[RUNNING] entries are the running activities
    eligible: Ints  # (n,) the first counts[ELIGIBLE] entries may start, ascending
    free: Ints  # (K,) available units
    work: Floats  # (K,) minimum work content of the unstarted activities, people-hours


class Outlook(NamedTuple):
    """Estimates that `observe` derives from a state."""

    earliest: Floats  # (n,) earliest start of each unstarted activity, hours
    team: Floats  # (K, 9) columns: see the names above


def compile_instance(instance: Instance) -> Problem:
    """The arrays of `instance` for the kernel; arrays that do not depend on durations are computed once and shared."""
    if instance.status is not None or instance.calendar is not None:
        raise ValueError("an instance with a status or a calendar is planned by scheduler_env.replan.solving")
    frame: _Frame | None = instance.shared.get("frame")
    if frame is None:
        frame = instance.shared["frame"] = _frame(instance)
    if frame.relative is None:
        duration = np.array([mode.duration_h for step in instance.steps for mode in step.modes])
    else:
        nominal = np.array([step.modes.nominal_h for step in instance.steps])  # type: ignore[attr-defined]
        duration = nominal.repeat(frame.n_modes) * frame.relative
    duration[duration < ZERO_DURATION_H] = 0.0
    use_at, use_resource, use_work, use_units, shortest, tail, work_after = _derived(
        frame.capacity, frame.topological, frame.successor_at, frame.successors,
        frame.mode_at, duration, frame.demand_at, frame.demand_resource, frame.demand_units,
    )  # fmt: skip
    return Problem(
        frame.capacity, frame.predecessors_of, frame.successor_at, frame.successors,
        frame.mode_at, duration, frame.demand_at, frame.demand_resource, frame.demand_units,
        use_at, use_resource, use_work, use_units, frame.topological, shortest, tail, work_after,
        frame.release, frame.level_at, frame.levels, frame.is_residual,
        unit=max(float(shortest.sum()) / shortest.size, 1e-6),
    )  # fmt: skip


class _Frame(NamedTuple):
    """The part of a `Problem` that does not depend on durations."""

    capacity: Ints
    predecessors_of: Ints
    successor_at: Ints
    successors: Ints
    mode_at: Ints
    demand_at: Ints
    demand_resource: Ints
    demand_units: Ints
    topological: Ints
    n_modes: Ints  # (n,) modes of each activity
    release: Floats
    level_at: Ints
    levels: Floats
    is_residual: bool
    relative: Floats | None  # (M,) hours per nominal hour; None if a step does not have `CrewModes`


def _frame(instance: Instance) -> _Frame:
    number = {name: number for number, name in enumerate(instance.capacity)}
    before, after = instance.predecessors, instance.successors
    relative = [step.modes.relative_h.values() for step in instance.steps if isinstance(step.modes, CrewModes)]
    demands = [mode.demand for step in instance.steps for mode in step.modes]
    n_modes = [len(step.modes) for step in instance.steps]
    release = np.array([step.release_h for step in instance.steps], dtype=np.float64)
    smallest: dict[str, int] = {}
    for resource, units in (each for demand in demands for each in demand):
        smallest[resource] = min(units, smallest.get(resource, units))
    levels = np.array(
        [row for name in number for row in _rows(instance.levels.get(name, ()), smallest.get(name, 1))]
    ).reshape(-1, 3)
    return _Frame(
        capacity=_ints(list(instance.capacity.values())),
        predecessors_of=_ints([len(each) for each in before]),
        successor_at=_ints([0, *accumulate(map(len, after))]),
        successors=_ints([s for each in after for s in each]),
        mode_at=_ints([0, *accumulate(n_modes)]),
        demand_at=_ints([0, *accumulate(map(len, demands))]),
        demand_resource=_ints([number[resource] for demand in demands for resource, _ in demand]),
        demand_units=_ints([units for demand in demands for _, units in demand]),
        topological=_ints(instance.topological_order),
        n_modes=_ints(n_modes),
        release=release,
        level_at=_ints([0, *accumulate(len(instance.levels.get(name, ())) for name in number)]),
        levels=levels,
        is_residual=bool(levels.size or release.any()),
        relative=np.array([r for each in relative for r in each]) if len(relative) == len(n_modes) else None,
    )


def _rows(levels: Levels, smallest: int) -> Iterator[tuple[float, float, float]]:
    """The rows of one resource in `Problem.levels`; fewer units than the `smallest` demand are of no use."""
    done, previous_h, previous = 0.0, 0.0, 0
    for hour, there in levels:
        units = there if there >= smallest else 0
        done += previous * (hour - previous_h)
        yield hour, float(units), done
        previous_h, previous = hour, units


def _ints(values: Sequence[int]) -> Ints:
    return np.array(values, dtype=np.int64)


@compiled
def _derived(
    capacity: Ints,
    topological: Ints,
    successor_at: Ints,
    successors: Ints,
    mode_at: Ints,
    duration: Floats,
    demand_at: Ints,
    demand_resource: Ints,
    demand_units: Ints,
) -> tuple[Ints, Ints, Floats, Ints, Floats, Floats, Floats32]:
    """`use_*`, `shortest`, `tail` and `work_after` of a problem; one call, because each call releases the GIL once."""
    use_at, use_resource, use_work, use_units, shortest = _min_use(
        mode_at, duration, demand_at, demand_resource, demand_units
    )
    tail = _tails(topological, successor_at, successors, shortest)
    work_after = _work_after(topological, successor_at, successors, use_at, use_resource, use_work, capacity)
    return use_at, use_resource, use_work, use_units, shortest, tail, work_after


@compiled
def _min_use(
    mode_at: Ints, duration: Floats, demand_at: Ints, demand_resource: Ints, demand_units: Ints
) -> tuple[Ints, Ints, Floats, Ints, Floats]:
    """The `use_*` arrays of a problem, and `shortest`.

    A resource is left out for an activity if one of its modes does not need that resource.
    """
    n = mode_at.size - 1
    use_at, shortest = np.zeros(n + 1, dtype=np.int64), np.empty(n)
    use_resource, use_work = np.empty(demand_units.size, dtype=np.int64), np.empty(demand_units.size)
    use_units = np.empty(demand_units.size, dtype=np.int64)
    count = 0
    for j in range(n):
        first = mode_at[j]
        shortest[j] = duration[first : mode_at[j + 1]].min()
        for d in range(demand_at[first], demand_at[first + 1]):
            k, work, units = demand_resource[d], np.inf, demand_units[d]
            for m in range(first, mode_at[j + 1]):
                needed = 0
                for e in range(demand_at[m], demand_at[m + 1]):
                    if demand_resource[e] == k:
                        needed = demand_units[e]
                if needed == 0:
                    work = -1.0
                    break
                work, units = min(work, needed * duration[m]), min(units, needed)
            if work >= 0.0:
                use_resource[count], use_work[count], use_units[count] = k, work, units
                count += 1
        use_at[j + 1] = count
    return use_at, use_resource[:count].copy(), use_work[:count].copy(), use_units[:count].copy(), shortest


@compiled
def _tails(topological: Ints, successor_at: Ints, successors: Ints, shortest: Floats) -> Floats:
    tail = shortest.copy()
    for position in range(topological.size - 1, -1, -1):
        j = topological[position]
        longest = 0.0
        for e in range(successor_at[j], successor_at[j + 1]):
            longest = max(longest, tail[successors[e]])
        tail[j] += longest
    return tail


@compiled
def _work_after(
    topological: Ints,
    successor_at: Ints,
    successors: Ints,
    use_at: Ints,
    use_resource: Ints,
    use_work: Floats,
    capacity: Ints,
) -> Floats32:
    n = topological.size
    result = np.zeros((n, capacity.size), dtype=np.float32)
    seen = np.full(n, -1, dtype=np.int64)
    stack = np.empty(n, dtype=np.int64)
    for j in range(n):
        depth = 0
        for e in range(successor_at[j], successor_at[j + 1]):
            seen[successors[e]] = j
            stack[depth] = successors[e]
            depth += 1
        while depth > 0:
            depth -= 1
            i = stack[depth]
            for u in range(use_at[i], use_at[i + 1]):
                result[j, use_resource[u]] += np.float32(use_work[u] / capacity[use_resource[u]])
            for e in range(successor_at[i], successor_at[i + 1]):
                s = successors[e]
                if seen[s] != j:
                    seen[s] = j
                    stack[depth] = s
                    depth += 1
    return result


@compiled
def new_state(problem: Problem) -> SimulationState:
    """A state for `problem` at time 0 with nothing started."""
    n, k = problem.shortest.size, problem.capacity.size
    state = SimulationState(
        clock=np.zeros(2),
        counts=np.zeros(3, dtype=np.int64),
        missing=np.zeros(n, dtype=np.int64),
        mode=np.zeros(n, dtype=np.int64),
        start=np.zeros(n),
        finish=np.zeros(n),
        running=np.zeros(n, dtype=np.int64),
        eligible=np.zeros(n, dtype=np.int64),
        free=np.zeros(k, dtype=np.int64),
        work=np.zeros(k),
    )
    reset(problem, state)
    return state


@compiled
def new_outlook(problem: Problem) -> Outlook:
    """Memory that `observe` fills."""
    return Outlook(earliest=np.zeros(problem.shortest.size), team=np.zeros((problem.capacity.size, 9)))


@compiled
def reset(problem: Problem, state: SimulationState) -> None:
    """Set `state` to time 0 with nothing started."""
    n = problem.shortest.size
    state.clock[NOW] = 0.0
    state.clock[BOUND] = 0.0
    state.counts[UNSTARTED] = n
    state.counts[RUNNING] = 0
    state.counts[ELIGIBLE] = 0
    state.free[:] = problem.capacity
    state.work[:] = 0.0
    for j in range(n):
        state.missing[j] = problem.predecessors_of[j]
        state.mode[j] = -1
        if state.missing[j] == 0:
            state.eligible[state.counts[ELIGIBLE]] = j
            state.counts[ELIGIBLE] += 1
        for u in range(problem.use_at[j], problem.use_at[j + 1]):
            state.work[problem.use_resource[u]] += problem.use_work[u]
    if problem.is_residual:
        _look_again(problem, state)


@compiled
def restore(problem: Problem, state: SimulationState, now: float, bound: float, mode: Ints, start: Floats) -> None:
    """Set `state` to time `now`, where the activities with `mode[j] >= 0` have started at `start[j] <= now`."""
    reset(problem, state)
    n = problem.shortest.size
    state.clock[NOW] = now
    state.clock[BOUND] = bound
    for j in range(n):
        m = mode[j]
        if m < 0:
            continue
        state.mode[j] = m
        state.start[j] = start[j]
        state.finish[j] = start[j] + problem.duration[m]
        state.counts[UNSTARTED] -= 1
        for u in range(problem.use_at[j], problem.use_at[j + 1]):
            state.work[problem.use_resource[u]] -= problem.use_work[u]
        if state.finish[j] <= now + EPSILON_H:
            for e in range(problem.successor_at[j], problem.successor_at[j + 1]):
                state.missing[problem.successors[e]] -= 1
        else:
            state.running[state.counts[RUNNING]] = j
            state.counts[RUNNING] += 1
            for d in range(problem.demand_at[m], problem.demand_at[m + 1]):
                state.free[problem.demand_resource[d]] -= problem.demand_units[d]
    eligible = 0
    for j in range(n):
        if state.missing[j] == 0 and state.mode[j] < 0:
            state.eligible[eligible] = j
            eligible += 1
    state.counts[ELIGIBLE] = eligible
    if problem.is_residual:
        _look_again(problem, state)


@compiled
def _look_again(problem: Problem, state: SimulationState) -> None:
    """Set `free` and `eligible` of a residual problem by what is there and released now."""
    now = state.clock[NOW]
    for k in range(problem.capacity.size):
        state.free[k] = there_at(problem.levels, problem.level_at, k, now, problem.capacity[k])
    for r in range(state.counts[RUNNING]):
        m = state.mode[state.running[r]]
        for d in range(problem.demand_at[m], problem.demand_at[m + 1]):
            state.free[problem.demand_resource[d]] -= problem.demand_units[d]
    eligible = 0
    for j in range(problem.release.size):
        if state.missing[j] == 0 and state.mode[j] < 0 and problem.release[j] <= now + EPSILON_H:
            state.eligible[eligible] = j
            eligible += 1
    state.counts[ELIGIBLE] = eligible


@compiled
def fits(problem: Problem, state: SimulationState, m: int) -> bool:
    """Whether the units that mode `m` demands are available now."""
    for d in range(problem.demand_at[m], problem.demand_at[m + 1]):
        if problem.demand_units[d] > state.free[problem.demand_resource[d]]:
            return False
    return True


@compiled
def fits_until_end(problem: Problem, state: SimulationState, m: int) -> bool:
    """Whether the demand of `m`, which fits now, also fits at each change of what is there until it ends.

    Only for a residual problem. It is not a part of `fits`, which would then be too large to be inlined: rules and
    policy would take several times as long.
    """
    now = state.clock[NOW]
    for d in range(problem.demand_at[m], problem.demand_at[m + 1]):
        k = problem.demand_resource[d]
        for row in range(problem.level_at[k], problem.level_at[k + 1]):
            hour = problem.levels[row, FROM]
            if hour <= now + EPSILON_H:
                continue
            if hour >= now + problem.duration[m] - EPSILON_H:
                break
            left = problem.levels[row, UNITS] - problem.demand_units[d]
            for r in range(state.counts[RUNNING]):
                other = state.running[r]
                if state.finish[other] > hour + EPSILON_H:
                    used = state.mode[other]
                    for e in range(problem.demand_at[used], problem.demand_at[used + 1]):
                        if problem.demand_resource[e] == k:
                            left -= problem.demand_units[e]
            if left < 0:
                return False
    return True


@compiled
def next_opening(problem: Problem, state: SimulationState) -> float:
    """The next hour at which an activity is released or what is there changes; infinity if there is none."""
    now = state.clock[NOW]
    soonest = next_change(problem.levels, now)
    for j in range(problem.release.size):
        if state.mode[j] < 0 and problem.release[j] > now + EPSILON_H:
            soonest = min(soonest, problem.release[j])
    return soonest


@compiled
def start_activity(problem: Problem, state: SimulationState, j: int, m: int) -> None:
    """Start the eligible activity `j` now in its mode `m`, which must fit."""
    state.mode[j] = m
    state.start[j] = state.clock[NOW]
    state.finish[j] = state.clock[NOW] + problem.duration[m]
    state.counts[UNSTARTED] -= 1
    state.running[state.counts[RUNNING]] = j
    state.counts[RUNNING] += 1
    for d in range(problem.demand_at[m], problem.demand_at[m + 1]):
        state.free[problem.demand_resource[d]] -= problem.demand_units[d]
    for u in range(problem.use_at[j], problem.use_at[j + 1]):
        state.work[problem.use_resource[u]] -= problem.use_work[u]
    last = state.counts[ELIGIBLE] - 1
    position = 0
    while state.eligible[position] != j:
        position += 1
    for i in range(position, last):
        state.eligible[i] = state.eligible[i + 1]
    state.counts[ELIGIBLE] = last


@compiled
def next_end(state: SimulationState) -> float:
    """The earliest finish time of a running activity; infinity if none is running."""
    soonest = np.inf
    for r in range(state.counts[RUNNING]):
        soonest = min(soonest, state.finish[state.running[r]])
    return soonest


@compiled
def wait(problem: Problem, state: SimulationState) -> None:
    """Advance to the next finish time: resources are released, successors may become eligible.

    At least one activity must be running. A residual problem also stops at each `next_opening`; one of the two must
    be ahead.
    """
    now = next_end(state)
    is_residual = problem.is_residual
    if is_residual:
        now = min(now, next_opening(problem, state))
    state.clock[NOW] = now
    r = 0
    while r < state.counts[RUNNING]:
        j = state.running[r]
        if state.finish[j] > now + EPSILON_H:
            r += 1
            continue
        state.counts[RUNNING] -= 1
        state.running[r] = state.running[state.counts[RUNNING]]
        m = state.mode[j]
        for d in range(problem.demand_at[m], problem.demand_at[m + 1]):
            state.free[problem.demand_resource[d]] += problem.demand_units[d]
        for e in range(problem.successor_at[j], problem.successor_at[j + 1]):
            s = problem.successors[e]
            state.missing[s] -= 1
            if state.missing[s] == 0:
                _insert_eligible(state, s)
    if is_residual:
        _look_again(problem, state)


@compiled
def _insert_eligible(state: SimulationState, j: int) -> None:
    position = state.counts[ELIGIBLE]
    while position > 0 and state.eligible[position - 1] > j:
        state.eligible[position] = state.eligible[position - 1]
        position -= 1
    state.eligible[position] = j
    state.counts[ELIGIBLE] += 1


@compiled
def candidates(problem: Problem, state: SimulationState, activity: Ints, mode: Ints) -> int:
    """Fill `activity` and `mode` with the possible decisions; returns their number.

    First every eligible (activity, mode) that fits, sorted by activity and mode; then, if there is an event to wait
    for, `WAIT` with mode -1. Both arrays must have room for M + 1 entries.
    """
    if problem.is_residual:
        return _residual_candidates(problem, state, activity, mode)
    count = 0
    for i in range(state.counts[ELIGIBLE]):
        j = state.eligible[i]
        for m in range(problem.mode_at[j], problem.mode_at[j + 1]):
            if fits(problem, state, m):
                activity[count] = j
                mode[count] = m
                count += 1
    if state.counts[RUNNING] > 0:
        activity[count] = WAIT
        mode[count] = -1
        count += 1
    return count


@compiled
def _residual_candidates(problem: Problem, state: SimulationState, activity: Ints, mode: Ints) -> int:
    """As `candidates`."""
    count = 0
    for i in range(state.counts[ELIGIBLE]):
        j = state.eligible[i]
        for m in range(problem.mode_at[j], problem.mode_at[j + 1]):
            if fits(problem, state, m) and fits_until_end(problem, state, m):
                activity[count] = j
                mode[count] = m
                count += 1
    if state.counts[RUNNING] > 0 or next_opening(problem, state) < np.inf:
        activity[count] = WAIT
        mode[count] = -1
        count += 1
    return count


@compiled
def decide(problem: Problem, state: SimulationState, j: int, m: int) -> None:
    """Execute a candidate: start `j` in mode `m`, or wait."""
    if j == WAIT:
        wait(problem, state)
    else:
        start_activity(problem, state, j, m)


@compiled
def observe(problem: Problem, state: SimulationState, outlook: Outlook) -> None:
    """Fill `outlook` and raise `state.clock[BOUND]` to a lower bound on the makespan of any completion of the state.

    The bound is the maximum of: for each running activity, its finish time plus the longest path after it; now plus the
    longest tail of an eligible activity; for each resource, its remaining work content over its capacity, after the
    earliest head and before the shortest tail. Once every activity has started, the bound is the makespan.
    """
    now = state.clock[NOW]
    bound = state.clock[BOUND]
    n_resources = problem.capacity.size
    team = outlook.team
    for k in range(n_resources):
        team[k, LOAD_H] = state.work[k]
        team[k, N_UNSTARTED] = 0.0
        team[k, N_ELIGIBLE] = 0.0
        team[k, ELIGIBLE_H] = 0.0
        team[k, NEXT_END] = np.inf
        team[k, NEXT_ARRIVAL] = np.inf
        team[k, MAX_TAIL] = 0.0
        team[k, TEAM_BOUND] = np.inf  # holds the shortest tail until the last loop
        team[k, MIN_CREW] = problem.capacity[k]
    earliest = outlook.earliest
    earliest[:] = now
    for r in range(state.counts[RUNNING]):
        j = state.running[r]
        m = state.mode[j]
        after = problem.tail[j] - problem.shortest[j]
        bound = max(bound, state.finish[j] + after)
        for d in range(problem.demand_at[m], problem.demand_at[m + 1]):
            k = problem.demand_resource[d]
            team[k, LOAD_H] += problem.demand_units[d] * (state.finish[j] - now)
            team[k, NEXT_END] = min(team[k, NEXT_END], state.finish[j])
            team[k, TEAM_BOUND] = min(team[k, TEAM_BOUND], after)
        for e in range(problem.successor_at[j], problem.successor_at[j + 1]):
            s = problem.successors[e]
            earliest[s] = max(earliest[s], state.finish[j])
    for position in range(problem.topological.size):
        j = problem.topological[position]
        if state.mode[j] >= 0:
            continue
        ready = earliest[j]
        after = problem.tail[j] - problem.shortest[j]
        if state.missing[j] == 0:
            bound = max(bound, now + problem.tail[j])
        for e in range(problem.successor_at[j], problem.successor_at[j + 1]):
            s = problem.successors[e]
            earliest[s] = max(earliest[s], ready + problem.shortest[j])
        for u in range(problem.use_at[j], problem.use_at[j + 1]):
            k = problem.use_resource[u]
            team[k, N_UNSTARTED] += 1.0
            team[k, TEAM_BOUND] = min(team[k, TEAM_BOUND], after)
            if state.missing[j] == 0:
                team[k, N_ELIGIBLE] += 1.0
                team[k, ELIGIBLE_H] += problem.use_work[u]
                team[k, MAX_TAIL] = max(team[k, MAX_TAIL], problem.tail[j])
                team[k, MIN_CREW] = min(team[k, MIN_CREW], problem.use_units[u])
            else:
                team[k, NEXT_ARRIVAL] = min(team[k, NEXT_ARRIVAL], ready)
    for k in range(n_resources):
        capacity = problem.capacity[k]
        team[k, LOAD_H] /= capacity
        team[k, ELIGIBLE_H] /= capacity
        shortest_tail = team[k, TEAM_BOUND]
        if shortest_tail == np.inf:
            team[k, TEAM_BOUND] = now
            continue
        team_bound = now + team[k, LOAD_H] + shortest_tail
        if team[k, N_UNSTARTED] > 0.0 and team[k, N_ELIGIBLE] == 0.0:
            team_bound = max(team_bound, team[k, NEXT_ARRIVAL] + state.work[k] / capacity + shortest_tail)
        team[k, TEAM_BOUND] = team_bound
        bound = max(bound, team_bound)
    state.clock[BOUND] = bound


@compiled
def makespan(state: SimulationState) -> float:
    """The largest finish time, hours; valid once every activity has started."""
    return float(state.finish.max())


def to_schedule(instance: Instance, problem: Problem, mode: Ints, start: Floats) -> Schedule:
    """The schedule in which activity j runs in mode `mode[j]` (index into `Problem`'s modes) from `start[j]` on."""
    chosen = (mode - problem.mode_at[:-1]).tolist()
    placed = [
        ScheduledStep(step, step.modes[m], start_h)
        for step, m, start_h in zip(instance.steps, chosen, start.tolist(), strict=True)
    ]
    return Schedule(instance, tuple(placed))

"""Priority rules with the parallel and the serial schedule generation scheme.

A rule orders the activities, a crew policy selects a preferred mode for each, and a scheme builds a schedule from both.

| rule | first activity | source |
|---|---|---|
| `LFT` | minimum latest finish time | Davis and Patterson 1975 |
| `LST` | minimum latest start time | Alvarez-Valdes and Tamarit 1989 |
| `MINSLK` | minimum slack: latest minus earliest start | Davis and Patterson 1975 |
| `MTS` | most transitive successors | Alvarez-Valdes and Tamarit 1989 |
| `GRPW` | greatest rank positional weight: own and direct successors' durations | Alvarez-Valdes and Tamarit 1989 |
| `MWKR` | most work remaining, own and of all successors (hours of the full team) | Panwalkar and Iskander 1977 |
| `SPT` | shortest duration | Panwalkar and Iskander 1977 |
| `LPT` | longest duration | Panwalkar and Iskander 1977 |
| `FIFO` | earliest possible start, then lowest number | Panwalkar and Iskander 1977 |
| `WCS` | minimum worst-case slack: latest start minus worst earliest start (parallel scheme only) | Kolisch 1996 |
| `RANDOM` | minimum random number | |

Crew policy: the shortest mode that uses no resource beyond a share of its capacity, or the smallest crew if there is
none. The parallel scheme uses a smaller crew if the preferred one does not fit; the serial scheme always uses the
preferred one. The policy `EVEN` (parallel scheme only) limits a crew to the free people of its team divided by the
number of eligible steps, rounded up, recomputed at each decision.
"""

import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from scheduler_env.bounds import lower_bound
from scheduler_env.compilation import compiled
from scheduler_env.incumbent import MIN_IMPROVEMENT_H, OPTIMAL_WITHIN_H, Incumbent
from scheduler_env.kernel import (
    ELIGIBLE,
    NOW,
    RUNNING,
    UNSTARTED,
    Floats,
    Ints,
    Problem,
    SimulationState,
    compile_instance,
    fits,
    fits_until_end,
    new_state,
    reset,
    start_activity,
    to_schedule,
    wait,
)
from scheduler_env.problem import Instance
from scheduler_env.schedule import Solution
from scheduler_env.serial import FORWARDS, Decoder, decode, new_decoder

WORST_CASE = "WCS"
"""The only rule that compares pairs of eligible activities; defined for the parallel scheme."""
RULES: tuple[str, ...] = ("MWKR", "LFT", "LST", "MTS", "GRPW", "MINSLK", "FIFO", "LPT", "SPT", "RANDOM", WORST_CASE)
"""In the order in which `improve_by_rules` tries them."""
MWKR, LFT, LST, MTS, GRPW, MINSLK, FIFO, LPT, SPT, _, WORST_CASE_CODE = range(len(RULES))
"""Indices into `RULES`, for compiled code."""
EVEN = 0.0
"""The crew share that stands for the policy `EVEN`."""
CREW_SHARES: tuple[float, ...] = (0.2, 1.0 / 3.0, 0.5, 1.0)
SHARES = np.array(CREW_SHARES)
MAX_UNTIMED_ACTIVITIES = 100
"""In a larger problem the deadline is checked after each rule."""
Scheme = Literal["parallel", "serial"]
Bools = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Rule:
    """A priority rule with its maximum crew (a share of the team's headcount, 0..1, or `EVEN`) and its scheme."""

    name: str
    crew_share: float
    scheme: Scheme

    def __str__(self) -> str:
        crews = "even" if self.crew_share == EVEN else f"{self.crew_share:.0%}"
        return f"{self.name}, crews {crews}, {self.scheme}"


def _variants(name: str) -> tuple[Rule, ...]:
    parallel = tuple(Rule(name, share, "parallel") for share in (EVEN, *CREW_SHARES))
    return parallel if name == WORST_CASE else (*parallel, *(Rule(name, share, "serial") for share in CREW_SHARES))


ALL_RULES: tuple[Rule, ...] = tuple(rule for name in RULES for rule in _variants(name))


def solve_by_rule(instance: Instance, rule: Rule, *, seed: int = 0) -> Solution:
    """The schedule that `rule` builds; `seed` is for `RANDOM`.

    Raises:
        ValueError: no such rule.
    """
    problem = compile_instance(instance)
    state = new_state(problem)
    build(problem, state, rule, seed)
    schedule = to_schedule(instance, problem, state.mode, state.start)
    schedule.check()
    bound_h = float(lower_bound(problem))
    return Solution(schedule, bound_h, str(rule), 1, bound_h, schedule.makespan_h)


def build(problem: Problem, state: SimulationState, rule: Rule, seed: int = 0) -> float:
    """Fill `state.mode`, `state.start` and `state.finish` with the rule's schedule; its makespan, hours.

    Raises:
        ValueError: no such rule, or a rule for the parallel scheme with the serial one.
    """
    even = rule.crew_share == EVEN
    preferred = preferred_modes(problem, 1.0 if even else rule.crew_share)
    priority = priorities(problem, rule.name, seed)
    if rule.scheme == "parallel":
        parallel_scheme(problem, state, priority, preferred, even, rule.name == WORST_CASE)
    elif rule.name == WORST_CASE:
        raise ValueError(f"the rule {WORST_CASE} is defined for the parallel scheme only")
    else:
        serial_scheme(problem, state, new_decoder(problem), activity_list(problem, priority), preferred)
    return float(state.finish.max())


def improve_by_rules(
    problem: Problem,
    incumbent: Incumbent,
    *,
    rules: Sequence[Rule] = ALL_RULES,
    lower_bound_h: float = -math.inf,
    deadline_s: float | None = None,
    seed: int = 0,
    max_evaluations: int | None = None,
) -> None:
    """Replace `incumbent` by the shortest schedule of `rules`, if that is shorter.

    Args:
        lower_bound_h: a proved bound; a schedule of this length ends the search.
        deadline_s: a time of `time.perf_counter` after which no further rule is tried. None: all rules are tried. Small
            problems always try all rules, which takes a millisecond, so a busy machine gives the same schedule.
        seed: of `RANDOM`.
        max_evaluations: limit on the schedules built, including those that the incumbent already counts.
    """
    if max_evaluations is not None:
        rules = rules[: max(0, max_evaluations - incumbent.evaluations)]
    is_large = problem.shortest.size > MAX_UNTIMED_ACTIVITIES
    state, decoder = new_state(problem), new_decoder(problem)
    preferred = np.full((SHARES.size, problem.shortest.size), -1, dtype=np.int64)
    for name, variants in groupby(rules, key=lambda rule: rule.name):
        for some in _portions(tuple(variants), problem):
            if deadline_s is not None and is_large and time.perf_counter() >= deadline_s:
                return
            if incumbent.is_optimal(lower_bound_h):
                return
            found, best, tried = _try_rules(
                problem, state, decoder, _code(name), _random(name, problem, seed),
                np.array([rule.crew_share for rule in some]), np.array([rule.scheme == "serial" for rule in some]),
                preferred, incumbent.mode, incumbent.start, incumbent.makespan_h, lower_bound_h + OPTIMAL_WITHIN_H,
            )  # fmt: skip
            incumbent.evaluations += tried
            if best >= 0:
                incumbent.makespan_h, incumbent.stage = found, str(some[best])


def _portions(variants: tuple[Rule, ...], problem: Problem) -> Iterator[tuple[Rule, ...]]:
    """The rules in portions between which the deadline is checked: one by one for a large problem, else all at once."""
    portion = 1 if problem.shortest.size > MAX_UNTIMED_ACTIVITIES else len(variants)
    return (variants[begin : begin + portion] for begin in range(0, len(variants), portion))


@compiled
def _try_rules(
    problem: Problem,
    state: SimulationState,
    decoder: Decoder,
    code: int,
    random: Floats,
    crew_share: Floats,
    is_serial: Bools,
    preferred: Ints,
    best_mode: Ints,
    best_start: Floats,
    best: float,
    target: float,
) -> tuple[float, int, int]:
    """Build the schedules of one rule until one is at most `target` hours long.

    A schedule shorter than `best` overwrites `best_mode` and `best_start`. `preferred` caches the preferred modes of
    the crew shares, one row each.

    Returns:
        (shortest makespan in hours, index of its variant or -1 if none was shorter, number of schedules built).
    """
    priority = _priority(problem, code, random)
    order = np.empty(0, dtype=np.int64)
    which = -1
    for i in range(crew_share.size):
        share = 1.0 if crew_share[i] == EVEN else crew_share[i]
        mode = _cached_preferred_modes(problem, share, preferred)
        if is_serial[i]:
            if order.size == 0:
                order = activity_list(problem, priority)
            serial_scheme(problem, state, decoder, order, mode)
        else:
            parallel_scheme(problem, state, priority, mode, crew_share[i] == EVEN, code == WORST_CASE_CODE)
        found = state.finish.max()
        if found < best - MIN_IMPROVEMENT_H:
            best, which = found, i
            best_mode[:], best_start[:] = state.mode, state.start
            if best <= target:
                return best, which, i + 1
    return best, which, crew_share.size


@compiled
def _cached_preferred_modes(problem: Problem, crew_share: float, preferred: Ints) -> Ints:
    """`preferred_modes`, computed once per share and stored in its row of `preferred`, which is -1 before."""
    for row in range(SHARES.size):
        if SHARES[row] == crew_share:
            known: Ints = preferred[row]
            if known[0] < 0:
                known[:] = preferred_modes(problem, crew_share)
            return known
    return preferred_modes(problem, crew_share)


def priorities(problem: Problem, rule: str, seed: int = 0) -> Floats:
    """The priority of each activity by `rule`, shape (n,); the lowest value goes first.

    Raises:
        ValueError: no such rule.
    """
    return _priority(problem, _code(rule), _random(rule, problem, seed))


def _code(rule: str) -> int:
    try:
        return RULES.index(rule)
    except ValueError:
        raise ValueError(f"unknown rule {rule!r}; known are {', '.join(RULES)}") from None


def _random(rule: str, problem: Problem, seed: int) -> Floats:
    """The random priorities of `RANDOM`, shape (n,); empty for the other rules."""
    return np.random.default_rng(seed).random(problem.shortest.size) if rule == "RANDOM" else np.empty(0)


@compiled
def _priority(problem: Problem, code: int, random: Floats) -> Floats:
    """As `priorities`; `code` is the rule's index in `RULES`."""
    tail, shortest = problem.tail, problem.shortest
    if code == LFT:
        return shortest - tail
    if code in (LST, WORST_CASE_CODE):  # for WCS this is only the static part
        return -tail
    if code == MINSLK:
        return -tail - _heads(problem)
    if code == MTS:
        return -_transitive_successors(problem)
    if code == GRPW:
        return -_rank_positional_weight(problem)
    if code == MWKR:
        everything = _own_work(problem)
        for j in range(everything.size):
            everything[j] += problem.work_after[j].sum()
        return -everything
    if code == SPT:
        return shortest.copy()
    if code == LPT:
        return -shortest
    if code == FIFO:
        return _heads(problem)
    return random


@compiled
def _heads(problem: Problem) -> Floats:
    head = problem.release.copy()
    for position in range(head.size):
        j = problem.topological[position]
        for e in range(problem.successor_at[j], problem.successor_at[j + 1]):
            s = problem.successors[e]
            head[s] = max(head[s], head[j] + problem.shortest[j])
    return head


@compiled
def _transitive_successors(problem: Problem) -> Floats:
    n = problem.shortest.size
    result = np.zeros(n)
    seen = np.full(n, -1, dtype=np.int64)
    stack = np.empty(n, dtype=np.int64)
    for j in range(n):
        stack[0] = j
        depth = 1
        while depth > 0:
            depth -= 1
            i = stack[depth]
            for e in range(problem.successor_at[i], problem.successor_at[i + 1]):
                s = problem.successors[e]
                if seen[s] != j:
                    seen[s] = j
                    result[j] += 1.0
                    stack[depth] = s
                    depth += 1
    return result


@compiled
def _rank_positional_weight(problem: Problem) -> Floats:
    weight = problem.shortest.copy()
    for j in range(weight.size):
        for e in range(problem.successor_at[j], problem.successor_at[j + 1]):
            weight[j] += problem.shortest[problem.successors[e]]
    return weight


@compiled
def _own_work(problem: Problem) -> Floats:
    work = np.zeros(problem.shortest.size)
    for j in range(work.size):
        for u in range(problem.use_at[j], problem.use_at[j + 1]):
            work[j] += problem.use_work[u] / problem.capacity[problem.use_resource[u]]
    return work


@compiled
def preferred_modes(problem: Problem, crew_share: float) -> Ints:
    """(n,) the shortest mode within `crew_share` of every capacity; otherwise the mode with the lowest demand."""
    n = problem.shortest.size
    result = np.empty(n, dtype=np.int64)
    for j in range(n):
        best, best_within, best_peak = -1, False, np.inf
        for m in range(problem.mode_at[j], problem.mode_at[j + 1]):
            peak = 0.0
            for d in range(problem.demand_at[m], problem.demand_at[m + 1]):
                peak = max(peak, problem.demand_units[d] / problem.capacity[problem.demand_resource[d]])
            within = peak <= crew_share + 1e-9
            if best < 0:
                better = True
            elif within and best_within:
                better = problem.duration[m] < problem.duration[best]
            else:
                better = within or (not best_within and peak < best_peak)
            if better:
                best, best_within, best_peak = m, within, peak
        result[j] = best
    return result


@compiled
def parallel_scheme(
    problem: Problem, state: SimulationState, priority: Floats, preferred: Ints, even: bool, worst_case: bool
) -> None:
    """The parallel scheme: at each event, start the activities that are eligible and fit, by priority.

    No activity gets a shorter mode than `preferred`. With `even`, none gets more than its even share of a team (see the
    module's docstring). With `worst_case`, the worst earliest start is subtracted from the priority (`WCS`).

    Source: Kelley 1963; Kolisch 1996.
    """
    reset(problem, state)
    n, is_residual = problem.shortest.size, problem.is_residual
    eligible_on = np.zeros(problem.capacity.size, dtype=np.int64)
    activity, mode = np.empty(n, dtype=np.int64), np.empty(n, dtype=np.int64)  # candidates
    while state.counts[UNSTARTED] > 0:
        while True:
            if even:
                _count_eligible(problem, state, eligible_on)
            count = 0
            best = -1
            for i in range(state.counts[ELIGIBLE]):
                j = state.eligible[i]
                if best >= 0 and not worst_case and priority[j] >= priority[activity[best]]:
                    continue
                if not _might_fit(problem, state, j):
                    continue
                chosen = -1
                for m in range(problem.mode_at[j], problem.mode_at[j + 1]):
                    if (
                        problem.duration[m] >= problem.duration[preferred[j]] - 1e-12
                        and fits(problem, state, m)
                        and (not is_residual or fits_until_end(problem, state, m))
                        and (not even or m == problem.mode_at[j] or _is_even(problem, state, eligible_on, m))
                        and (chosen < 0 or problem.duration[m] < problem.duration[chosen])
                    ):
                        chosen = m
                if chosen >= 0:
                    activity[count], mode[count] = j, chosen
                    best = count
                    count += 1
            if best < 0:
                break
            if worst_case:
                best = _min_worst_case_slack(problem, state, priority, activity, mode, count)
            start_activity(problem, state, activity[best], mode[best])
        if state.counts[UNSTARTED] > 0:
            wait(problem, state)


@compiled
def _might_fit(problem: Problem, state: SimulationState, j: int) -> bool:
    """False if no mode of `j` fits, because the minimum units over its modes are not available."""
    for u in range(problem.use_at[j], problem.use_at[j + 1]):
        if problem.use_units[u] > state.free[problem.use_resource[u]]:
            return False
    return True


@compiled
def _min_worst_case_slack(
    problem: Problem, state: SimulationState, latest_start: Floats, activity: Ints, mode: Ints, count: int
) -> int:
    """Index of the candidate with the minimum latest start minus worst earliest start. Source: Kolisch 1996."""
    best, min_slack = 0, np.inf
    for a in range(count):
        worst = state.clock[NOW]
        for b in range(count):
            if b != a:
                worst = max(worst, _earliest_after(problem, state, mode[a], mode[b]))
        slack = latest_start[activity[a]] - worst
        if slack < min_slack - 1e-12:
            best, min_slack = a, slack
    return best


@compiled
def _earliest_after(problem: Problem, state: SimulationState, m: int, first: int) -> float:
    """The earliest start of mode `m`, hours, if mode `first` is started now. Both fit now."""
    begin = float(state.clock[NOW])
    for d in range(problem.demand_at[m], problem.demand_at[m + 1]):
        k = problem.demand_resource[d]
        free = state.free[k]
        for f in range(problem.demand_at[first], problem.demand_at[first + 1]):
            if problem.demand_resource[f] == k:
                free -= problem.demand_units[f]
        if free >= problem.demand_units[d]:
            continue
        # At the latest when `first` ends; earlier if running activities that end before it release enough units.
        soonest = state.clock[NOW] + problem.duration[first]
        for r in range(state.counts[RUNNING]):
            until = state.finish[state.running[r]]
            if until >= soonest:
                continue
            back = free
            for q in range(state.counts[RUNNING]):
                other = state.running[q]
                if state.finish[other] <= until:
                    for e in range(problem.demand_at[state.mode[other]], problem.demand_at[state.mode[other] + 1]):
                        if problem.demand_resource[e] == k:
                            back += problem.demand_units[e]
            if back >= problem.demand_units[d]:
                soonest = until
        begin = max(begin, soonest)
    return begin


@compiled
def _count_eligible(problem: Problem, state: SimulationState, eligible_on: Ints) -> None:
    eligible_on[:] = 0
    for i in range(state.counts[ELIGIBLE]):
        j = state.eligible[i]
        for u in range(problem.use_at[j], problem.use_at[j + 1]):
            eligible_on[problem.use_resource[u]] += 1


@compiled
def _is_even(problem: Problem, state: SimulationState, eligible_on: Ints, m: int) -> bool:
    """Whether mode `m` demands at most the free units over the eligible activities, rounded up, of each resource."""
    for d in range(problem.demand_at[m], problem.demand_at[m + 1]):
        k = problem.demand_resource[d]
        if (problem.demand_units[d] - 1) * max(eligible_on[k], 1) >= state.free[k]:
            return False
    return True


@compiled
def activity_list(problem: Problem, priority: Floats) -> Ints:
    """The activity list, shape (n,): next is always the lowest priority value whose predecessors are in the list."""
    n = problem.shortest.size
    missing = problem.predecessors_of.copy()
    open_, count = np.empty(n, dtype=np.int64), 0
    order = np.empty(n, dtype=np.int64)
    for j in range(n):
        if missing[j] == 0:
            open_[count] = j
            count += 1
    for position in range(n):
        place = 0
        for i in range(1, count):
            if priority[open_[i]] < priority[open_[place]] or (
                priority[open_[i]] == priority[open_[place]] and open_[i] < open_[place]
            ):
                place = i
        j = open_[place]
        count -= 1
        open_[place] = open_[count]
        order[position] = j
        for e in range(problem.successor_at[j], problem.successor_at[j + 1]):
            s = problem.successors[e]
            missing[s] -= 1
            if missing[s] == 0:
                open_[count] = s
                count += 1
    return order


@compiled
def serial_scheme(problem: Problem, state: SimulationState, decoder: Decoder, order: Ints, mode: Ints) -> None:
    """The serial scheme: schedule each activity of `order` as early as it fits.

    Fills only `state.mode`, `state.start` and `state.finish`.
    """
    state.mode[:] = mode
    decode(problem, decoder, order, mode, problem.successor_at, problem.successors, state.start, np.inf, FORWARDS)
    for j in range(order.size):
        state.finish[j] = state.start[j] + problem.duration[mode[j]]

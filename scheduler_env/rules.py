"""Priority rules with the parallel and the serial schedule generation scheme: the field's baselines.

A rule orders the activities; a crew policy picks the mode that each should have; a scheme turns both into a schedule.

| rule | takes first the activity with | source |
|---|---|---|
| `LFT` | least latest finish time | Davis and Patterson 1975 |
| `LST` | least latest start time | Alvarez-Valdes and Tamarit 1989 |
| `MINSLK` | least slack, latest minus earliest start | Davis and Patterson 1975 |
| `MTS` | most transitive successors | Alvarez-Valdes and Tamarit 1989 |
| `GRPW` | greatest rank positional weight: own and direct successors' durations | Alvarez-Valdes and Tamarit 1989 |
| `MWKR` | most work (hours of full teams) in itself and everything after it | Panwalkar and Iskander 1977 |
| `SPT` | shortest duration | Panwalkar and Iskander 1977 |
| `LPT` | longest duration | Panwalkar and Iskander 1977 |
| `FIFO` | earliest possible start, then its number | Panwalkar and Iskander 1977 |
| `RANDOM` | least random number | |

Crew policy: the shortest mode in which no resource is taken beyond a share of its capacity (the smallest crew if there
is none). The parallel scheme puts a smaller crew to work where that one does not fit; the serial scheme keeps to it.
The policy `EVEN` (parallel scheme only) divides the free people of a team by the steps that they could start now,
rounded up, at each choice anew.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from scheduler_env.bounds import lower_bound
from scheduler_env.compilation import compiled
from scheduler_env.kernel import (
    ELIGIBLE,
    UNSTARTED,
    Floats,
    Ints,
    Problem,
    State,
    compile_instance,
    fits,
    new_state,
    reset,
    start_activity,
    to_schedule,
    wait,
)
from scheduler_env.problem import Instance
from scheduler_env.schedule import Solution
from scheduler_env.serial import Decoder, decode, new_decoder

RULES: tuple[str, ...] = ("LFT", "LST", "MINSLK", "MTS", "GRPW", "MWKR", "SPT", "LPT", "FIFO", "RANDOM")
EVEN = 0.0
"""As a crew share: free people over eligible steps."""
CREW_SHARES: tuple[float, ...] = (0.2, 1.0 / 3.0, 0.5, 1.0)
Scheme = Literal["parallel", "serial"]


@dataclass(frozen=True, slots=True)
class Rule:
    """A complete rule: order, share of a team that one crew may be (0..1, or `EVEN`), and scheme."""

    name: str
    crew_share: float
    scheme: Scheme

    def __str__(self) -> str:
        crews = "even" if self.crew_share == EVEN else f"{self.crew_share:.0%}"
        return f"{self.name}, crews {crews}, {self.scheme}"


ALL_RULES: tuple[Rule, ...] = tuple(
    Rule(name, share, scheme) for name in RULES for share in CREW_SHARES for scheme in ("parallel", "serial")
) + tuple(Rule(name, EVEN, "parallel") for name in RULES)


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
    return Solution(schedule, float(lower_bound(problem)), str(rule), 1)


def build(problem: Problem, state: State, rule: Rule, seed: int = 0) -> float:
    """Fill `state.mode`, `state.start` and `state.finish` with the rule's schedule; its makespan, hours."""
    even = rule.crew_share == EVEN
    preferred = preferred_modes(problem, 1.0 if even else rule.crew_share)
    priority = priorities(problem, rule.name, seed)
    if rule.scheme == "parallel":
        parallel_scheme(problem, state, priority, preferred, even)
    else:
        serial_scheme(problem, state, new_decoder(problem), priority, preferred)
    return float(state.finish.max())


def priorities(problem: Problem, rule: str, seed: int = 0) -> Floats:
    """For each activity its priority by `rule`, shape (n,); the least goes first."""
    tail, shortest = problem.tail, problem.shortest
    if rule == "LFT":
        return np.subtract(shortest, tail)
    if rule == "LST":
        return -tail
    if rule == "MINSLK":
        return -tail - _heads(problem)
    if rule == "MTS":
        return -_transitive_successors(problem)
    if rule == "GRPW":
        return -_rank_positional_weight(problem)
    if rule == "MWKR":
        everything: Floats = problem.work_after.sum(axis=1) + _own_work(problem)
        return -everything
    if rule == "SPT":
        return shortest.copy()
    if rule == "LPT":
        return -shortest
    if rule == "FIFO":
        return _heads(problem)
    if rule == "RANDOM":
        return np.random.default_rng(seed).random(shortest.size)
    raise ValueError(f"unknown rule {rule!r}; known are {', '.join(RULES)}")


@compiled
def _heads(problem: Problem) -> Floats:
    head = np.zeros(problem.shortest.size)
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
    """For each activity the shortest mode within `crew_share` of every capacity; else the one that takes least."""
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
def parallel_scheme(problem: Problem, state: State, priority: Floats, preferred: Ints, even: bool) -> None:
    """At each event start what is eligible and fits, by priority. Source: Kelley 1963; Kolisch 1996.

    No step takes a shorter mode than `preferred`, nor, if `even`, more than its even share of a team (see above).
    """
    reset(problem, state)
    eligible_on = np.zeros(problem.capacity.size, dtype=np.int64)
    while state.counts[UNSTARTED] > 0:
        while True:
            if even:
                _count_eligible(problem, state, eligible_on)
            best, best_mode = -1, -1
            for i in range(state.counts[ELIGIBLE]):
                j = state.eligible[i]
                if best >= 0 and priority[j] >= priority[best]:
                    continue
                chosen = -1
                for m in range(problem.mode_at[j], problem.mode_at[j + 1]):
                    if (
                        problem.duration[m] >= problem.duration[preferred[j]] - 1e-12
                        and fits(problem, state, m)
                        and (not even or m == problem.mode_at[j] or _is_even(problem, state, eligible_on, m))
                        and (chosen < 0 or problem.duration[m] < problem.duration[chosen])
                    ):
                        chosen = m
                if chosen >= 0:
                    best, best_mode = j, chosen
            if best < 0:
                break
            start_activity(problem, state, best, best_mode)
        if state.counts[UNSTARTED] > 0:
            wait(problem, state)


@compiled
def _count_eligible(problem: Problem, state: State, eligible_on: Ints) -> None:
    eligible_on[:] = 0
    for i in range(state.counts[ELIGIBLE]):
        j = state.eligible[i]
        for u in range(problem.use_at[j], problem.use_at[j + 1]):
            eligible_on[problem.use_resource[u]] += 1


@compiled
def _is_even(problem: Problem, state: State, eligible_on: Ints, m: int) -> bool:
    """Whether mode `m` takes no more than one eligible step's share of what is free, rounded up."""
    for d in range(problem.demand_at[m], problem.demand_at[m + 1]):
        k = problem.demand_resource[d]
        if (problem.demand_units[d] - 1) * max(eligible_on[k], 1) >= state.free[k]:
            return False
    return True


@compiled
def serial_scheme(problem: Problem, state: State, decoder: Decoder, priority: Floats, mode: Ints) -> None:
    """Place each activity, by priority among those whose predecessors are placed, as early as it fits.

    The result lies in `state.mode`, `state.start` and `state.finish`; the rest of `state` is not meaningful afterwards.
    """
    n = problem.shortest.size
    reset(problem, state)
    placed = np.zeros(n, dtype=np.bool_)
    order = np.empty(n, dtype=np.int64)
    for position in range(n):
        j = -1
        for i in range(n):
            if not placed[i] and state.missing[i] == 0 and (j < 0 or priority[i] < priority[j]):
                j = i
        placed[j] = True
        order[position] = j
        for e in range(problem.successor_at[j], problem.successor_at[j + 1]):
            state.missing[problem.successors[e]] -= 1
    state.mode[:] = mode
    decode(problem, decoder, order, mode, problem.successor_at, problem.successors, state.start, np.inf)
    state.finish[:] = decoder.finish

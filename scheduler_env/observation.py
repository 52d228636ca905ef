"""The input of the network: features of the state and of each candidate, independent of the instance's size.

Times are divided by `unit` (the mean shortest duration) or by `H`, the hours from now to the lower bound. k is the most
loaded resource that the candidate's mode demands; for `WAIT` it is the most loaded resource that has free units and
eligible activities.

Candidate features (`CANDIDATE_FEATURES`, in this order)

| feature | meaning |
|---|---|
| `horizon_share` | H over the initial H |
| `horizon_log` | log(1 + H / unit) / 4 |
| `peak_load` | largest load of a resource over H; 1 if that resource determines the bound |
| `unstarted_log` | log(1 + activities not started) / 5 |
| `eligible_log` | log(1 + eligible activities) / 4 |
| `team_free` | free units of k over its capacity |
| `team_load` | load of k (remaining work over capacity, hours) over H |
| `team_unstarted_log` | log(1 + activities of k not started) / 4 |
| `team_eligible_log` | log(1 + eligible activities of k) / 3 |
| `team_eligible_share` | load of k's eligible activities over its total load |
| `team_next_end` | hours until the next activity on k ends / unit, at most 2 |
| `team_next_arrival` | hours until the next activity of k can become eligible / unit, at most 2 |
| `people_each` | free units of k per eligible activity of k, over the capacity |
| `is_wait` | 1 for `WAIT`; its features below are 0 unless noted |
| `criticality` | tail of the activity over H |
| `slack` | s / (1 + s) with s = (H - tail) / unit / 2 |
| `shortest` | its shortest duration / unit, at most 3 |
| `tail_behind_best` | (longest eligible tail of k - its tail) / unit, at most 3 |
| `last_blocker` | 1 / (unfinished predecessors of its first successor); 0 without successor |
| `feeds_bottleneck` | work of its successors on the most loaded resource / unit / 4, at most 2 |
| `crew_share` | demand of the mode over the capacity of k |
| `crew_of_free` | demand of the mode over the free units of k |
| `stretch` | (duration - shortest) / unit, at most 3 (WAIT: hours until the next end / unit) |
| `efficiency` | minimum work content over the work content of this mode |
| `slack_after` | (H - duration - tail after it) / unit / 2, -1 to 1 |
| `bound_growth_path` | growth of the critical-path bound by this decision / unit, at most 2 (also for WAIT) |
| `bound_growth_work` | growth of k's work bound by this decision / unit, at most 2 (also for WAIT) |
| `left_over` | free units of k after it, over the capacity (also for WAIT) |
| `left_over_each` | the same per other eligible activity of k, at most 1 |
| `group_end` | (its end - earliest start of its first successor) / unit / 2, -1 to 2 |
| `group_idle` | 1 if it ends no later than the earliest start of its first successor |
| `balance` | (duration - load of k's running and eligible activities) / unit / 2, -2 to 2 |
| `even_share` | demand over an equal share of k's free units among its eligible activities, at most 3 |
| `fair_share` | demand over a share of k's free units in proportion to work content, at most 3 |
| `unseated` | other eligible activities of k for which no crew is left after it / 4, at most 1 |
| `stranded` | free people of k after it over the minimum crew, if they are too few for any other eligible activity |

State features (`STATE_FEATURES`): the first five above, then the eight team features for the two most loaded
resources, then hours to the next end / unit.
"""

import math
from typing import NamedTuple

import numpy as np

from scheduler_env.compilation import compiled, compiled_fast
from scheduler_env.kernel import (
    BOUND,
    ELIGIBLE,
    ELIGIBLE_H,
    LOAD_H,
    MAX_TAIL,
    MIN_CREW,
    N_ELIGIBLE,
    N_UNSTARTED,
    NEXT_ARRIVAL,
    NEXT_END,
    NOW,
    TEAM_BOUND,
    UNSTARTED,
    WAIT,
    Floats32,
    Ints,
    Outlook,
    Problem,
    SimulationState,
    next_end,
)

_GLOBAL = ("horizon_share", "horizon_log", "peak_load", "unstarted_log", "eligible_log")
_TEAM = (
    "team_free",
    "team_load",
    "team_unstarted_log",
    "team_eligible_log",
    "team_eligible_share",
    "team_next_end",
    "team_next_arrival",
    "people_each",
)
_CANDIDATE = (
    "is_wait",
    "criticality",
    "slack",
    "shortest",
    "tail_behind_best",
    "last_blocker",
    "feeds_bottleneck",
    "crew_share",
    "crew_of_free",
    "stretch",
    "efficiency",
    "slack_after",
    "bound_growth_path",
    "bound_growth_work",
    "left_over",
    "left_over_each",
    "group_end",
    "group_idle",
    "balance",
    "even_share",
    "fair_share",
    "unseated",
    "stranded",
)
CANDIDATE_FEATURES: tuple[str, ...] = _GLOBAL + _TEAM + _CANDIDATE
STATE_FEATURES: tuple[str, ...] = (
    *_GLOBAL,
    *(f"first_{name}" for name in _TEAM),
    *(f"second_{name}" for name in _TEAM),
    "next_end",
)
N_GLOBAL, N_TEAM = len(_GLOBAL), len(_TEAM)
N_SHARED = N_GLOBAL + N_TEAM
N_CANDIDATE = len(CANDIDATE_FEATURES)
N_STATE = len(STATE_FEATURES)


class Context(NamedTuple):
    """Values shared by the features of one state."""

    horizon: float  # H, hours
    first: int  # the most loaded resource
    second: int  # the second most loaded resource
    next_end: float  # hours from now to the next finish time; 0 if no activity is running


@compiled
def shared_features(
    problem: Problem,
    state: SimulationState,
    outlook: Outlook,
    initial_bound: float,
    team_features: Floats32,
    common: Floats32,
) -> Context:
    """Fill `common` (5,) and `team_features` (K, 8); `outlook` must be that of `state`.

    `initial_bound` is the lower bound of the empty schedule, hours.
    """
    unit = problem.unit
    now = state.clock[NOW]
    horizon = max(state.clock[BOUND] - now, 1e-6 * unit)
    first, second = 0, 0
    first_load, second_load = -1.0, -1.0
    for k in range(problem.capacity.size):
        team = outlook.team[k]
        load = team[LOAD_H]
        if load > first_load:
            second, second_load = first, first_load
            first, first_load = k, load
        elif load > second_load:
            second, second_load = k, load
        free, capacity = state.free[k], problem.capacity[k]
        row = team_features[k]
        row[0] = free / capacity
        row[1] = load / horizon
        row[2] = math.log1p(team[N_UNSTARTED]) / 4.0
        row[3] = math.log1p(team[N_ELIGIBLE]) / 3.0
        row[4] = team[ELIGIBLE_H] / max(load, 1e-9)
        row[5] = min((team[NEXT_END] - now) / unit, 2.0)
        row[6] = min((team[NEXT_ARRIVAL] - now) / unit, 2.0)
        row[7] = free / max(team[N_ELIGIBLE], 1.0) / capacity
    common[0] = horizon / max(initial_bound, 1e-9)
    common[1] = math.log1p(horizon / unit) / 4.0
    common[2] = first_load / horizon
    common[3] = math.log1p(state.counts[UNSTARTED]) / 5.0
    common[4] = math.log1p(state.counts[ELIGIBLE]) / 4.0
    soonest = next_end(state)
    return Context(horizon, first, max(second, 0), 0.0 if soonest == np.inf else soonest - now)


@compiled
def state_features(
    problem: Problem, context: Context, team_features: Floats32, common: Floats32, out: Floats32
) -> None:
    """Fill `out` (N_STATE,), the input of the value network."""
    out[:N_GLOBAL] = common
    out[N_GLOBAL:N_SHARED] = team_features[context.first]
    out[N_SHARED : N_SHARED + N_TEAM] = team_features[context.second]
    out[N_SHARED + N_TEAM] = min(context.next_end / problem.unit, 3.0)


@compiled
def candidate_features(
    problem: Problem,
    state: SimulationState,
    outlook: Outlook,
    context: Context,
    activity: Ints,
    mode: Ints,
    count: int,
    resource: Ints,
    own: Floats32,
) -> None:
    """Fill `own` (C, N_CANDIDATE - N_SHARED) and `resource` (C,), the k of each candidate, for the first `count` rows.

    The arrays are read from the tuples once, before the loop: each access to an array in a tuple counts a reference
    atomically, which would cost more than the arithmetic.
    """
    unit, horizon, first = problem.unit, context.horizon, context.first
    now, bound = state.clock[NOW], state.clock[BOUND]
    durations, shortests, tails = problem.duration, problem.shortest, problem.tail
    demand_at, demand_resource, demand_units = problem.demand_at, problem.demand_resource, problem.demand_units
    use_at, use_resource, use_work = problem.use_at, problem.use_resource, problem.use_work
    successor_at, successors, work_after = problem.successor_at, problem.successors, problem.work_after
    capacities, frees, works, missing = problem.capacity, state.free, state.work, state.missing
    teams, earliest = outlook.team, outlook.earliest
    for c in range(count):
        j, m = activity[c], mode[c]
        out = own[c]
        if j == WAIT:
            resource[c] = _wait_features(problem, state, outlook, context, out)
            continue
        k, units = first, 0
        heaviest = -1.0
        for d in range(demand_at[m], demand_at[m + 1]):
            if teams[demand_resource[d], LOAD_H] > heaviest:
                k, units = demand_resource[d], demand_units[d]
                heaviest = teams[k, LOAD_H]
        resource[c] = k
        capacity, free, eligible_on = capacities[k], max(frees[k], 1), teams[k, N_ELIGIBLE]
        min_work = 0.0
        for u in range(use_at[j], use_at[j + 1]):
            if use_resource[u] == k:
                min_work = use_work[u]
        duration, shortest, tail = durations[m], shortests[j], tails[j]
        after, work = tail - shortest, units * duration
        slack = max(horizon - tail, 0.0) / unit * 0.5
        out[0] = 0.0
        out[1] = tail / horizon
        out[2] = slack / (1.0 + slack)
        out[3] = min(shortest / unit, 3.0)
        out[4] = min((teams[k, MAX_TAIL] - tail) / unit, 3.0)
        out[6] = min(work_after[j, first] / unit * 0.25, 2.0)
        out[7] = units / capacity
        out[8] = units / free
        out[9] = min((duration - shortest) / unit, 3.0)
        out[10] = min_work / work if work > 0.0 else 1.0
        out[11] = min(max((horizon - duration - after) / unit * 0.5, -1.0), 1.0)
        out[12] = min(max(now + duration + after - bound, 0.0) / unit, 2.0)
        out[13] = min(max(teams[k, TEAM_BOUND] + (work - min_work) / capacity - bound, 0.0) / unit, 2.0)
        left_units = frees[k] - units
        left = left_units / capacity
        others = eligible_on - 1.0
        out[14] = left
        out[15] = min(left / others, 1.0) if others > 0.0 else left
        if successor_at[j + 1] > successor_at[j]:
            s = successors[successor_at[j]]
            late = (now + duration - earliest[s]) / unit * 0.5
            out[5] = 1.0 / max(missing[s], 1)
            out[16] = min(max(late, -1.0), 2.0)
            out[17] = 1.0 if late <= 1e-9 else 0.0
        else:
            out[5] = 0.0
            out[16] = min(max((now + duration - bound) / unit * 0.5, -1.0), 2.0)
            out[17] = 1.0 if now + duration <= bound else 0.0
        at_hand_h = teams[k, LOAD_H] - works[k] / capacity + teams[k, ELIGIBLE_H]
        out[18] = min(max((duration - at_hand_h) / unit * 0.5, -2.0), 2.0)
        out[19] = min(units * max(eligible_on, 1.0) / free, 3.0)
        out[20] = min(units * teams[k, ELIGIBLE_H] * capacity / (free * max(min_work, 1e-9)), 3.0)
        min_crew = max(int(teams[k, MIN_CREW]), 1)
        out[21] = min(max(others - left_units // min_crew, 0.0) * 0.25, 1.0)
        out[22] = left_units / min_crew if others > 0.0 and left_units < min_crew else 0.0


@compiled
def _wait_features(problem: Problem, state: SimulationState, outlook: Outlook, context: Context, out: Floats32) -> int:
    """Fill `out` for `WAIT`; returns its k."""
    unit, until = problem.unit, context.next_end
    now, bound = state.clock[NOW], state.clock[BOUND]
    k, heaviest = context.first, -1.0
    longest, idle_growth = 0.0, 0.0
    for i in range(problem.capacity.size):
        if outlook.team[i, N_ELIGIBLE] > 0.0:
            if state.free[i] > 0 and outlook.team[i, LOAD_H] > heaviest:
                k, heaviest = i, outlook.team[i, LOAD_H]
            longest = max(longest, outlook.team[i, MAX_TAIL])
            idle = state.free[i] / problem.capacity[i] * until
            idle_growth = max(idle_growth, outlook.team[i, TEAM_BOUND] + idle - bound)
    out[:] = 0.0
    out[0] = 1.0
    out[9] = min(until / unit, 3.0)
    out[12] = min(max(now + until + longest - bound, 0.0) / unit, 2.0)
    out[13] = min(idle_growth / unit, 2.0)
    out[14] = state.free[k] / problem.capacity[k]
    return int(k)


class Network(NamedTuple):
    """The weights of the network as arrays for compiled code; the hidden sizes H1, H2 and HV are variable.

    Advantage of a candidate x: `w3 . relu(relu(x w1 + b1) w2 + b2)`; value of a state s: `u2 . relu(s u1 + c1) + c2`.
    """

    w1: Floats32  # (N_CANDIDATE, H1)
    b1: Floats32  # (H1,)
    w2: Floats32  # (H1, H2)
    b2: Floats32  # (H2,)
    w3: Floats32  # (H2,)
    u1: Floats32  # (N_STATE, HV)
    c1: Floats32  # (HV,)
    u2: Floats32  # (HV,)
    c2: Floats32  # (1,)


class Workspace(NamedTuple):
    """Scratch memory of one simulation; the inner loop allocates nothing."""

    activity: Ints  # (C,) candidates of the current state
    mode: Ints  # (C,)
    score: Floats32  # (C,) advantages of the candidates
    team_features: Floats32  # (K, 8)
    common: Floats32  # (5,)
    resource: Ints  # (C,) the k of each candidate
    own: Floats32  # (C, N_CANDIDATE - N_SHARED) features of each candidate
    team_layer: Floats32  # (K, H1) first-layer sums of the features shared by the candidates of a team
    has_layer: Ints  # (K,) 1 if `team_layer` is valid for the current state
    hidden: Floats32  # (H1,)
    second: Floats32  # (H2,)
    state: Floats32  # (N_STATE,)
    value_hidden: Floats32  # (HV,)


@compiled
def new_workspace(problem: Problem, network: Network) -> Workspace:
    """Scratch memory for `problem` and `network`."""
    n_candidates, n_resources, h1 = problem.duration.size + 1, problem.capacity.size, network.b1.size
    return Workspace(
        activity=np.zeros(n_candidates, dtype=np.int64),
        mode=np.zeros(n_candidates, dtype=np.int64),
        score=np.zeros(n_candidates, dtype=np.float32),
        team_features=np.zeros((n_resources, N_TEAM), dtype=np.float32),
        common=np.zeros(N_GLOBAL, dtype=np.float32),
        resource=np.zeros(n_candidates, dtype=np.int64),
        own=np.zeros((n_candidates, N_CANDIDATE - N_SHARED), dtype=np.float32),
        team_layer=np.zeros((n_resources, h1), dtype=np.float32),
        has_layer=np.zeros(n_resources, dtype=np.int64),
        hidden=np.zeros(h1, dtype=np.float32),
        second=np.zeros(network.b2.size, dtype=np.float32),
        state=np.zeros(N_STATE, dtype=np.float32),
        value_hidden=np.zeros(network.c1.size, dtype=np.float32),
    )


@compiled_fast
def _team_layers(network: Network, workspace: Workspace, count: int) -> None:
    """Fill `team_layer`, the first-layer sums of the shared features, for each team of the first `count` candidates."""
    w1 = network.w1
    h1 = network.b1.size
    hidden, resource, has_layer = workspace.hidden, workspace.resource, workspace.has_layer
    for h in range(h1):
        hidden[h] = network.b1[h]
    for f in range(N_GLOBAL):
        x = workspace.common[f]
        for h in range(h1):
            hidden[h] += x * w1[f, h]
    has_layer[:] = 0
    for c in range(count):
        k = resource[c]
        if has_layer[k] == 1:
            continue
        has_layer[k] = 1
        row = workspace.team_layer[k]
        for h in range(h1):
            row[h] = hidden[h]
        for f in range(N_TEAM):
            x = workspace.team_features[k, f]
            for h in range(h1):
                row[h] += x * w1[N_GLOBAL + f, h]


@compiled_fast
def _advantages(network: Network, workspace: Workspace, count: int) -> None:
    """Fill `score` for the first `count` candidates from `own`, `resource` and `team_layer`."""
    w1, w2, b2, w3 = network.w1, network.w2, network.b2, network.w3
    hidden, second, score = workspace.hidden, workspace.second, workspace.score
    h1, h2 = network.b1.size, b2.size
    own, resource, team_layer = workspace.own, workspace.resource, workspace.team_layer
    for c in range(count):
        layer = team_layer[resource[c]]
        for h in range(h1):
            hidden[h] = layer[h]
        for f in range(own.shape[1]):
            x = own[c, f]
            if x != 0.0:
                for h in range(h1):
                    hidden[h] += x * w1[N_SHARED + f, h]
        for o in range(h2):
            second[o] = b2[o]
        for h in range(h1):
            x = hidden[h]
            if x > 0.0:
                for o in range(h2):
                    second[o] += x * w2[h, o]
        total = np.float32(0.0)
        for o in range(h2):
            total += max(second[o], np.float32(0.0)) * w3[o]
        score[c] = total


@compiled_fast
def state_value(network: Network, workspace: Workspace) -> float:
    """The value V of the state whose features are in `workspace.state`."""
    hidden = workspace.value_hidden
    hv = network.c1.size
    for h in range(hv):
        hidden[h] = network.c1[h]
    for f in range(workspace.state.size):
        x = workspace.state[f]
        for h in range(hv):
            hidden[h] += x * network.u1[f, h]
    result = network.c2[0]
    for h in range(hv):
        result += max(hidden[h], np.float32(0.0)) * network.u2[h]
    return float(result)


@compiled
def score_candidates(
    problem: Problem,
    state: SimulationState,
    outlook: Outlook,
    network: Network,
    workspace: Workspace,
    initial_bound: float,
    count: int,
) -> Context:
    """Fill `workspace.score` with the advantages of the first `count` candidates of `workspace`."""
    context = shared_features(problem, state, outlook, initial_bound, workspace.team_features, workspace.common)
    candidate_features(
        problem, state, outlook, context, workspace.activity, workspace.mode, count, workspace.resource, workspace.own
    )
    _team_layers(network, workspace, count)
    _advantages(network, workspace, count)
    return context

"""The prioritised replay buffer: complete episodes, from which the state before any decision can be rebuilt.

No features are stored. The state before decision i follows from the final starts and modes of the episode and from the
order in which its activities were started. So a million decisions need little memory, and the kernel computes the
features when they are needed.
"""

from typing import NamedTuple

import numba
import numpy as np

from scheduler_env.compilation import compiled
from scheduler_env.kernel import (
    BOUND,
    NOW,
    UNSTARTED,
    WAIT,
    Floats,
    Floats32,
    Ints,
    Outlook,
    Problem,
    SimulationState,
    candidates,
    decide,
    makespan,
    observe,
    reset,
    restore,
)
from scheduler_env.observation import (
    N_CANDIDATE,
    N_GLOBAL,
    N_SHARED,
    Network,
    Workspace,
    candidate_features,
    score_candidates,
    shared_features,
    state_features,
    state_value,
)
from scheduler_env.policy import choose
from scheduler_env.random_numbers import RandomState, uniform

SAME_TIME_H = 1e-6
"""An activity of a demonstration is due if its start is at most this much later than the clock: the search adds up its
times in another order, so they differ by rounding."""


class Episodes(NamedTuple):
    """Two ring buffers: E finished episodes of up to N activities, and their S steps (decisions)."""

    start: Floats  # (E, N) hours
    mode: Ints  # (E, N)
    decided: Ints  # (E, N) index of the decision that started the activity
    problem: Ints  # (E,) index of the problem in the pool
    length: Ints  # (E,) number of decisions
    initial_bound: Floats  # (E,) lower bound of the empty schedule, hours
    final: Floats  # (E,) makespan, hours
    is_shown: Ints  # (E,) 1 for a demonstration
    step_episode: Ints  # (S,)
    step_index: Ints  # (S,) index of the decision within the episode
    step_now: Floats  # (S,) hours
    step_bound: Floats  # (S,) lower bound before the decision, hours
    step_candidate: Ints  # (S,) index of the chosen candidate among those of the state
    priority: Floats  # (2 S,) binary sum tree: leaves at S .. 2 S - 1
    head: Ints  # (4,) next episode, next step, number of stored steps, largest priority in millionths


def new_episodes(n_steps: int, n_activities: int) -> Episodes:
    """An empty buffer for `n_steps` decisions (a power of two) in episodes of at most `n_activities` activities."""
    if n_steps & (n_steps - 1):
        raise ValueError(f"n_steps is {n_steps}; it must be a power of two")
    n_episodes = n_steps // 12 + 1  # even the smallest training instance needs more than 12 decisions
    return Episodes(
        start=np.zeros((n_episodes, n_activities)),
        mode=np.full((n_episodes, n_activities), -1, dtype=np.int64),
        decided=np.zeros((n_episodes, n_activities), dtype=np.int64),
        problem=np.zeros(n_episodes, dtype=np.int64),
        length=np.zeros(n_episodes, dtype=np.int64),
        initial_bound=np.zeros(n_episodes),
        final=np.zeros(n_episodes),
        is_shown=np.zeros(n_episodes, dtype=np.int64),
        step_episode=np.zeros(n_steps, dtype=np.int64),
        step_index=np.zeros(n_steps, dtype=np.int64),
        step_now=np.zeros(n_steps),
        step_bound=np.zeros(n_steps),
        step_candidate=np.zeros(n_steps, dtype=np.int64),
        priority=np.zeros(2 * n_steps),
        head=np.array([0, 0, 0, 1_000_000], dtype=np.int64),
    )


@compiled
def set_priority(episodes: Episodes, step: int, priority: float) -> None:
    """Set the priority of a stored step and update the sums above it in the tree."""
    tree = episodes.priority
    node = tree.size // 2 + step
    tree[node] = priority
    node //= 2
    while node >= 1:
        tree[node] = tree[2 * node] + tree[2 * node + 1]
        node //= 2


@compiled
def draw(episodes: Episodes, random: RandomState, out: Ints) -> None:
    """Fill `out` (B,) with steps drawn in proportion to priority, one from each of B equal strata."""
    tree = episodes.priority
    leaves = tree.size // 2
    for b in range(out.size):
        target = (b + uniform(random)) / out.size * tree[1]
        node = 1
        while node < leaves:
            node *= 2
            if target >= tree[node] and tree[node + 1] > 0.0:
                target -= tree[node]
                node += 1
        out[b] = node - leaves


@compiled
def play_episode(
    episodes: Episodes,
    pool_number: int,
    problem: Problem,
    state: SimulationState,
    outlook: Outlook,
    network: Network,
    workspace: Workspace,
    epsilon: float,
    temperature: float,
    random: RandomState,
    demo_mode: Ints,
    demo_start: Floats,
) -> float:
    """Play one episode and store it, its steps with the largest priority so far; returns its makespan, hours.

    `demo_mode` and `demo_start`, both (n,), are a demonstration: a complete schedule whose decisions replace the
    network's. If they are empty, the network plays.
    """
    head = episodes.head
    episode = head[0]
    head[0] = (episode + 1) % episodes.length.size
    n_steps = episodes.step_now.size
    reset(problem, state)
    initial_bound = 0.0
    decision = 0
    while state.counts[UNSTARTED] > 0:
        count = candidates(problem, state, workspace.activity, workspace.mode)
        observe(problem, state, outlook)
        if decision == 0:
            initial_bound = state.clock[BOUND]
        chosen = 0
        if count > 1:
            score_candidates(problem, state, outlook, network, workspace, initial_bound, count)
            if demo_mode.size > 0:
                chosen = _demonstrated(workspace, count, state.clock[NOW], demo_mode, demo_start)
            else:
                chosen = choose(workspace, count, epsilon, temperature, random)
        step = head[1]
        head[1] = (step + 1) % n_steps
        head[2] = min(head[2] + 1, n_steps)
        episodes.step_episode[step] = episode
        episodes.step_index[step] = decision
        episodes.step_now[step] = state.clock[NOW]
        episodes.step_bound[step] = state.clock[BOUND]
        episodes.step_candidate[step] = chosen
        set_priority(episodes, step, head[3] / 1e6)
        j = workspace.activity[chosen]
        if j != WAIT:
            episodes.decided[episode, j] = decision
        decide(problem, state, j, workspace.mode[chosen])
        decision += 1
    n = problem.shortest.size
    episodes.start[episode, :n] = state.start
    episodes.mode[episode, :n] = state.mode
    episodes.problem[episode] = pool_number
    episodes.length[episode] = decision
    episodes.initial_bound[episode] = initial_bound
    episodes.final[episode] = makespan(state)
    episodes.is_shown[episode] = 1 if demo_mode.size > 0 else 0
    return float(episodes.final[episode])


@compiled
def _demonstrated(workspace: Workspace, count: int, now: float, demo_mode: Ints, demo_start: Floats) -> int:
    """The candidate that is due in the demonstration, of several the best scored; the last one (wait) if none is."""
    chosen, best_score = count - 1, -np.inf
    for c in range(count):
        j = workspace.activity[c]
        is_due = j != WAIT and demo_mode[j] == workspace.mode[c] and demo_start[j] <= now + SAME_TIME_H
        if is_due and workspace.score[c] > best_score:
            chosen, best_score = c, workspace.score[c]
    return chosen


@compiled
def rebuild(
    episodes: Episodes, episode: int, index: int, now: float, bound: float, problem: Problem, state: SimulationState
) -> None:
    """Set `state` to the state before decision `index` of a stored episode."""
    n = problem.shortest.size
    mode = np.full(n, -1, dtype=np.int64)
    for j in range(n):
        if episodes.decided[episode, j] < index:
            mode[j] = episodes.mode[episode, j]
    restore(problem, state, now, bound, mode, episodes.start[episode])


class Batch(NamedTuple):
    """The input of one learning step, filled by `fill_batch`: B samples with R rows of candidates in total."""

    features: Floats32  # (R, N_CANDIDATE) candidates of all sampled states
    row_at: Ints  # (B + 1,) the candidates of sample b are rows row_at[b] .. row_at[b + 1] - 1
    chosen: Ints  # (B,) the row of the decision that was made
    states: Floats32  # (B, N_STATE)
    target: Floats32  # (B,) target of Q of the chosen row
    step: Ints  # (B,) index of the stored step
    is_shown: Floats32  # (B,) 1 if the decision is from a demonstration
    is_due: Floats32  # (R,) 1 for the decision made and all others at the same time: their order does not matter


def new_batch(size: int, n_rows: int, n_state: int) -> Batch:
    """An empty batch of `size` samples with `n_rows` rows of candidates."""
    return Batch(
        features=np.zeros((n_rows, N_CANDIDATE), dtype=np.float32),
        row_at=np.zeros(size + 1, dtype=np.int64),
        chosen=np.zeros(size, dtype=np.int64),
        states=np.zeros((size, n_state), dtype=np.float32),
        target=np.zeros(size, dtype=np.float32),
        step=np.zeros(size, dtype=np.int64),
        is_shown=np.zeros(size, dtype=np.float32),
        is_due=np.zeros(n_rows, dtype=np.float32),
    )


@compiled
def fill_batch(
    episodes: Episodes,
    pool: "numba.typed.List[Problem]",
    states: "numba.typed.List[SimulationState]",
    outlooks: "numba.typed.List[Outlook]",
    workspaces: "numba.typed.List[Workspace]",
    online: Network,
    target: Network,
    n_step: int,
    random: RandomState,
    batch: Batch,
) -> int:
    """Draw samples and fill `batch` with features and double-Q targets; returns how many samples fit into its rows.

    The target of a step is the sum of the next `n_step` rewards plus Q of the state after them: the online network
    selects the candidate and the target network evaluates it (van Hasselt, Guez and Silver 2016). The reward of a
    decision is minus the growth of the lower bound, in units of `problem.unit`. There is no discount, so the return is
    the initial bound minus the makespan.
    """
    draw(episodes, random, batch.step)
    rows = 0
    filled = 0
    for b in range(batch.step.size):
        step = batch.step[b]
        episode = episodes.step_episode[step]
        index = episodes.step_index[step]
        number = episodes.problem[episode]
        problem, state, outlook, workspace = pool[number], states[number], outlooks[number], workspaces[number]
        initial_bound = episodes.initial_bound[episode]
        rebuild(episodes, episode, index, episodes.step_now[step], episodes.step_bound[step], problem, state)
        count = candidates(problem, state, workspace.activity, workspace.mode)
        if rows + count > batch.features.shape[0]:
            break
        observe(problem, state, outlook)
        context = shared_features(problem, state, outlook, initial_bound, workspace.team_features, workspace.common)
        candidate_features(
            problem,
            state,
            outlook,
            context,
            workspace.activity,
            workspace.mode,
            count,
            workspace.resource,
            workspace.own,
        )
        for c in range(count):
            row = batch.features[rows + c]
            row[:N_GLOBAL] = workspace.common
            row[N_GLOBAL:N_SHARED] = workspace.team_features[workspace.resource[c]]
            row[N_SHARED:] = workspace.own[c]
            j = workspace.activity[c]
            is_due = c == episodes.step_candidate[step]
            if j != WAIT and workspace.mode[c] == episodes.mode[episode, j]:
                is_due = episodes.start[episode, j] == episodes.step_now[step]
            batch.is_due[rows + c] = 1.0 if is_due else 0.0
        state_features(problem, context, workspace.team_features, workspace.common, batch.states[b])
        batch.row_at[b] = rows
        batch.chosen[b] = rows + episodes.step_candidate[step]
        batch.is_shown[b] = episodes.is_shown[episode]
        rows += count
        batch.row_at[b + 1] = rows

        bound = episodes.step_bound[step]
        later = min(n_step, episodes.length[episode] - index)
        if index + later == episodes.length[episode]:
            batch.target[b] = (bound - episodes.final[episode]) / problem.unit
        else:
            after = (step + later) % episodes.step_now.size
            rebuild(
                episodes, episode, index + later, episodes.step_now[after], episodes.step_bound[after], problem, state
            )
            count = candidates(problem, state, workspace.activity, workspace.mode)
            observe(problem, state, outlook)
            score_candidates(problem, state, outlook, online, workspace, initial_bound, count)
            best = 0
            for c in range(1, count):
                if workspace.score[c] > workspace.score[best]:
                    best = c
            context = score_candidates(problem, state, outlook, target, workspace, initial_bound, count)
            mean = 0.0
            for c in range(count):
                mean += workspace.score[c]
            mean /= count
            state_features(problem, context, workspace.team_features, workspace.common, workspace.state)
            future = state_value(target, workspace) + workspace.score[best] - mean
            reward = (bound - episodes.step_bound[after]) / problem.unit
            # The makespan is never below its bound, so no future return is positive. The problem is deterministic, so
            # the best return is at least the one of this episode (Oh et al. 2018, self-imitation learning; He et al.
            # 2017, optimality tightening).
            achieved = (bound - episodes.final[episode]) / problem.unit
            batch.target[b] = max(reward + min(future, 0.0), achieved)
        filled += 1
    return filled


@compiled
def update_priorities(episodes: Episodes, steps: Ints, errors: Floats32, exponent: float) -> None:
    """Set priority = (|error| + 0.01) ** exponent. Source: Schaul et al. 2016, proportional variant."""
    for b in range(steps.size):
        priority = (abs(float(errors[b])) + 0.01) ** exponent
        set_priority(episodes, steps[b], priority)
        episodes.head[3] = max(episodes.head[3], int(priority * 1e6))

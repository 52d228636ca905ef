"""The serial scheme compared with a plain one: same starts, from any position; and shrinking crews."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduler_env import Instance
from scheduler_env.annealing import fill_rest
from scheduler_env.kernel import Problem, compile_instance, to_schedule
from scheduler_env.rules import activity_list
from scheduler_env.serial import FORWARDS, Decoder, decode, new_decoder, place
from tests.instances import instances
from tests.properties import examples


def _random_list(problem: Problem, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """An activity list and a mode of each activity."""
    mode = np.array([rng.integers(*problem.mode_at[j : j + 2]) for j in range(problem.shortest.size)])
    return activity_list(problem, rng.random(mode.size)), mode


def _plain_starts(instance: Instance, problem: Problem, order: np.ndarray, mode: np.ndarray) -> np.ndarray:
    """Each activity at 0 or at an end, the earliest one at which its people are free throughout."""
    steps = instance.steps
    modes = [steps[j].modes[mode[j] - problem.mode_at[j]] for j in range(len(steps))]
    start: dict[int, float] = {}

    def end(i: int) -> float:
        return start[i] + modes[i].duration_h

    def fits(j: int, begin: float) -> bool:
        moments = [begin, *(start[i] for i in start if begin < start[i] < begin + modes[j].duration_h - 1e-9)]
        for (resource, units), moment in product(modes[j].demand, moments):
            at_work = [i for i in start if start[i] <= moment + 1e-9 and end(i) > moment + 1e-9]
            if units + sum(dict(modes[i].demand).get(resource, 0) for i in at_work) > instance.capacity[resource]:
                return False
        return True

    for j in map(int, order):
        ready = max((end(i) for i in instance.predecessors[j]), default=0.0)
        start[j] = min(t for t in [ready, *map(end, start)] if t >= ready and fits(j, t))
    return np.array([start[j] for j in range(len(steps))])


def _place(
    problem: Problem, decoder: Decoder, order: np.ndarray, mode: np.ndarray, first: int, start: np.ndarray,
    chosen: np.ndarray, limit: float = np.inf,
) -> float:  # fmt: skip
    width = (decoder.size.size - problem.capacity.size) // order.size
    return place(
        order, mode, True, first, start, chosen, limit, width, problem.successor_at, problem.successors, decoder.at,
        decoder.used, decoder.size, decoder.row, decoder.side, decoder.ready, decoder.rest, decoder.full,
        problem.duration, problem.capacity, problem.mode_at, problem.demand_at, problem.demand_resource,
        problem.demand_units, problem.release, problem.level_at, problem.levels, FORWARDS,
    )  # fmt: skip


@examples(100)
@given(instance=instances(), seed=st.integers(0, 2**32))
def test_each_activity_starts_as_early_as_in_a_plain_serial_scheme(instance, seed):
    problem = compile_instance(instance)
    order, mode = _random_list(problem, np.random.default_rng(seed))
    start = np.empty(order.size)
    decode(
        problem, new_decoder(problem), order, mode, problem.successor_at, problem.successors, start, np.inf, FORWARDS
    )
    assert start == pytest.approx(_plain_starts(instance, problem, order, mode))


@examples(100)
@given(instance=instances(), seed=st.integers(0, 2**32))
def test_decoding_from_the_first_change_equals_decoding_the_whole_list(instance, seed):
    problem, rng = compile_instance(instance), np.random.default_rng(seed)
    decoder = new_decoder(problem, incremental=True)
    order, mode = _random_list(problem, rng)
    start, chosen = np.empty(order.size), mode.copy()
    _place(problem, decoder, order, mode, 0, start, chosen)
    decoder.side[:] = 1 - decoder.side
    for _ in range(5):
        first = int(rng.integers(order.size))
        other = mode.copy()
        for j in order[first:]:
            other[j] = rng.integers(*problem.mode_at[j : j + 2])
        new_start, new_chosen = start.copy(), chosen.copy()
        found = _place(problem, decoder, order, other, first, new_start, new_chosen)
        whole_start, whole_chosen = np.empty(order.size), np.empty_like(mode)
        fresh = new_decoder(problem, incremental=True)
        assert found == _place(problem, fresh, order, other, 0, whole_start, whole_chosen)
        assert (new_start == whole_start).all()
        assert (new_chosen == whole_chosen).all()
        if rng.random() < 0.5:  # the new list is kept
            decoder.side[first:] = 1 - decoder.side[first:]
            mode, start, chosen = other, new_start, new_chosen


@examples(100)
@given(instance=instances(), seed=st.integers(0, 2**32))
def test_shrinking_crews_are_valid_and_not_larger_than_their_mode(instance, seed):
    problem = compile_instance(instance)
    order, mode = _random_list(problem, np.random.default_rng(seed))
    start, chosen = np.empty(order.size), mode.copy()
    found = _place(problem, new_decoder(problem, incremental=True), order, mode, 0, start, chosen)
    schedule = to_schedule(instance, problem, chosen, start)
    assert schedule.violations() == []
    assert schedule.makespan_h == pytest.approx(found)
    assert (problem.duration[chosen] >= problem.duration[mode]).all()


@examples(100)
@given(instance=instances(), seed=st.integers(0, 2**32))
def test_a_list_is_abandoned_only_if_it_ends_after_the_limit(instance, seed):
    problem = compile_instance(instance)
    order, mode = _random_list(problem, np.random.default_rng(seed))
    decoder = new_decoder(problem, incremental=True)
    start, chosen = np.empty(order.size), mode.copy()
    makespan_h = _place(problem, decoder, order, mode, 0, start, chosen)
    fill_rest(problem.topological, problem.successor_at, problem.successors, problem.duration, mode, decoder.rest)
    assert _place(problem, decoder, order, mode, 0, start, chosen, makespan_h + 1e-9) == makespan_h
    assert _place(problem, decoder, order, mode, 0, start, chosen, makespan_h - 1e-6) == np.inf

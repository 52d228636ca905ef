"""The minimum makespan of a group compared with complete enumeration, and its bound compared with CP-SAT."""

import time
from itertools import permutations, product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduler_env.bounds import lower_bound
from scheduler_env.exact import improve_exactly
from scheduler_env.generator import random_instance
from scheduler_env.incumbent import empty_incumbent
from scheduler_env.kernel import compile_instance
from scheduler_env.moldable import pack
from scheduler_env.rules import improve_by_rules
from tests.properties import examples
from tests.waiting import HANG_S

PLENTY = 10**7

CAPACITY = 4
modes = st.lists(
    st.tuples(st.sampled_from([0.5, 1.0, 1.25, 2.0, 3.0, 7.5]), st.integers(1, CAPACITY)), min_size=1, max_size=3
)


def arrays(group):
    at = np.cumsum([0] + [len(options) for options in group])
    flat = [mode for options in group for mode in options]
    return at, np.array([hours for hours, _ in flat]), np.array([people for _, people in flat])


def optimum_h(group):
    """Every choice of modes and every order, each activity as early as possible."""
    best = np.inf
    for chosen in product(*group):
        for order in permutations(range(len(group))):
            placed = []  # (start, end, people)
            for i in order:
                hours, people = chosen[i]
                for start in sorted({0.0, *(end for _, end, _ in placed)}):
                    moments = [start, *(begin for begin, _, _ in placed if start < begin < start + hours)]
                    if all(
                        people + sum(crew for begin, end, crew in placed if begin <= at < end) <= CAPACITY
                        for at in moments
                    ):
                        placed.append((start, start + hours, people))
                        break
            best = min(best, max(end for _, end, _ in placed))
    return best


@examples(100)
@given(group=st.lists(modes, min_size=1, max_size=4))
def test_the_minimum_makespan_equals_that_of_complete_enumeration(group):
    assert pack(*arrays(group), CAPACITY, PLENTY).bound == pytest.approx(optimum_h(group), abs=1e-6)


@examples(100)
@given(group=st.lists(modes, min_size=1, max_size=6), nodes=st.integers(0, 300))
def test_with_few_nodes_the_bound_is_weaker(group, nodes):
    weak, strong = (pack(*arrays(group), CAPACITY, most).bound for most in (nodes, PLENTY))
    assert 0.0 < weak <= strong


@pytest.mark.parametrize(("seed", "most_below"), [(7, 0.01), (9, 0.0)])
def test_the_bound_of_one_work_point_is_near_the_proved_optimum(seed, most_below):
    problem = compile_instance(random_instance(1, seed))
    incumbent = empty_incumbent(problem)
    improve_by_rules(problem, incumbent)
    proved_h = improve_exactly(problem, incumbent, lower_bound_h=0.0, deadline_s=time.perf_counter() + HANG_S)
    optimum_h = incumbent.makespan_h
    assert optimum_h - proved_h < 0.02, "CP-SAT proves this one in seconds"
    assert optimum_h * (1.0 - most_below) - 0.01 <= lower_bound(problem) <= optimum_h + 1e-9

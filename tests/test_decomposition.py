"""Decomposition: what its parts prove, compared with CP-SAT, and what happens to parts that stay open."""

import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.requests import bodies
from scheduler_env import SAMPLE_PARAMS, standard_instance
from scheduler_env.agent import load_agent
from scheduler_env.bounds import lower_bound
from scheduler_env.decomposition import EXACT, PART, PART_NODES, assemble, decompose
from scheduler_env.exact import improve_exactly
from scheduler_env.generator import random_instance
from scheduler_env.incumbent import empty_incumbent
from scheduler_env.kernel import compile_instance, new_state, to_schedule
from scheduler_env.readers import instance_from_request
from scheduler_env.rules import ALL_RULES, Rule, build, improve_by_rules
from tests.instances import instances
from tests.properties import examples

AGENT = load_agent(Path(__file__).parent.parent / "models" / "seed" / "ddqn_v2.pth")
FEW_NODES = 5
HOUR_MS = 3_600_000.0

step = st.fixed_dictionaries(
    {
        "order": st.integers(1, 3),
        "team": st.sampled_from(["a", "b", "c"]),
        "duration": st.integers(1, 12),
        "parallel": st.sampled_from([True, True, True, False]),
    },
    optional={"min_crew": st.integers(1, 2), "max_crew": st.just(4)},
)
one_workpoint = st.lists(step, min_size=1, max_size=8).map(
    lambda steps: {
        "workpoints": [{"id": "1", "steps": [{"name": f"s{i}"} | each for i, each in enumerate(steps)]}],
        "teams": [
            {"name": "a", "headcount": 4},
            {"name": "b", "headcount": 5, "min_crew": 2},
            {"name": "c", "headcount": 4, "dedicated": True},
        ],
    }
)


def any_schedule(problem, rule=ALL_RULES[0]):
    """(mode, start, makespan) of a rule's schedule."""
    state = new_state(problem)
    makespan_h = build(problem, state, rule)
    return state.mode.copy(), state.start.copy(), makespan_h


def by_cpsat_h(problem, seconds):
    """(makespan of the schedule, proved bound) by CP-SAT alone; it rounds durations down to thousandths of an hour."""
    incumbent = empty_incumbent(problem)
    improve_by_rules(problem, incumbent, rules=[Rule("SPT", 0.2, "serial")])
    proved_h = improve_exactly(problem, incumbent, lower_bound_h=0.0, deadline_s=time.perf_counter() + seconds)
    return incumbent.makespan_h, proved_h


@examples(15)
@given(body=one_workpoint)
def test_one_work_point_is_solved_to_optimality(body):
    instance = instance_from_request(body)
    problem = compile_instance(instance)
    parts = decompose(problem, PART_NODES)
    mode, start, _ = any_schedule(problem)
    made_h = assemble(problem, parts, mode, start)
    assert to_schedule(instance, problem, mode, start).violations() == []
    assert made_h == pytest.approx(parts.makespan) == pytest.approx(parts.bound, abs=1e-6)
    found_h, proved_h = by_cpsat_h(problem, 5.0)  # proves nineteen of twenty; the other checks hold for the rest
    assert proved_h - 0.001 <= made_h <= found_h + 1e-6


@examples(100)
@given(instance=instances(), rule=st.sampled_from(ALL_RULES))
def test_merged_parts_are_valid_never_longer_and_never_below_the_bound(instance, rule):
    problem = compile_instance(instance)
    parts = decompose(problem, PART_NODES)
    mode, start, before_h = any_schedule(problem, rule)
    after_h = assemble(problem, parts, mode, start)
    schedule = to_schedule(instance, problem, mode, start)
    assert schedule.violations() == []
    assert schedule.makespan_h == pytest.approx(after_h)
    assert parts.bound - 1e-6 <= lower_bound(problem) <= after_h + 1e-6
    assert after_h <= min(before_h, parts.makespan) + 1e-9


@examples(40)
@given(instance=instances(max_steps=6))
def test_no_bound_of_the_parts_exceeds_the_optimum_of_the_whole(instance):
    problem = compile_instance(instance)  # durations are whole thousandths, so CP-SAT rounds nothing
    found_h, proved_h = by_cpsat_h(problem, 300.0)
    assert found_h == pytest.approx(proved_h)
    assert decompose(problem, PART_NODES).bound <= found_h + 1e-6


@examples(100)
@given(instance=instances())
def test_every_activity_is_in_exactly_one_part(instance):
    tree = decompose(compile_instance(instance), PART_NODES).tree
    parts = [tree.items[tree.begin[node] : tree.end[node]] for node in np.flatnonzero(tree.kind == PART)]
    assert sorted(np.concatenate(parts)) == list(range(len(instance.steps)))


def test_the_parts_of_the_standard_cycle_are_its_stages_split_by_team():
    tree = decompose(compile_instance(standard_instance(SAMPLE_PARAMS)), PART_NODES).tree
    parts = [tuple(tree.items[tree.begin[node] : tree.end[node]]) for node in np.flatnonzero(tree.kind == PART)]
    assert sorted(parts) == [(0,), (1,), (2,), (3, 4, 9, 10, 11), (5,), (6, 7, 8), (12,), (13,), (14,)]


def test_work_points_without_a_common_team_are_solved_separately():
    steps = [[{"name": "s", "team": team, "duration": hours} for hours in (4, 5, 6)] for team in ("team2", "team3")]
    body = {"workpoints": [{"id": str(number), "steps": each} for number, each in enumerate(steps)]}
    both = decompose(compile_instance(instance_from_request(body)), PART_NODES)
    alone = [
        decompose(compile_instance(instance_from_request({"workpoints": [workpoint]})), PART_NODES)
        for workpoint in body["workpoints"]
    ]
    assert both.makespan == max(part.makespan for part in alone)
    assert both.bound == pytest.approx(both.makespan, abs=1e-9)


def test_work_points_that_share_teams_are_one_open_part():
    parts = decompose(compile_instance(random_instance(2, 1)), PART_NODES)
    assert list(parts.tree.kind) == [PART]
    assert parts.makespan == np.inf
    assert (parts.mode == -1).all()


def test_few_nodes_keep_the_gap_and_more_nodes_close_it():
    problem = compile_instance(standard_instance([10, 5, 8, 6.1, 7.3, 9, 6, 7, 6, 7.7, 6.9, 8.3, 4, 7, 5]))
    few, many = decompose(problem, FEW_NODES), decompose(problem, PART_NODES)
    assert few.is_cut_short
    assert few.bound < many.bound < many.makespan <= few.makespan
    assert many.bound == pytest.approx(many.makespan, abs=1e-9)
    assert few.nodes <= 2 * FEW_NODES < many.nodes
    assert not many.is_cut_short


@pytest.mark.parametrize("kind", ["near", "generated", "missing", "teams"])
def test_answers_for_one_work_point_are_proved_and_include_the_models_own_makespan(kind):
    for body in bodies(kind, 10):
        instance = instance_from_request({key: body[key] for key in ("params", "workpoints", "teams") if key in body})
        own, found = AGENT.solve(instance), AGENT.solve(instance, time_budget_ms=HOUR_MS)
        assert found.stage == EXACT
        assert found.gap == 0.0
        assert own.stage == "greedy"
        assert own.schedule.makespan_h == own.policy_makespan_h == found.policy_makespan_h
        assert own.lower_bound_h == pytest.approx(found.lower_bound_h, abs=1e-9) == found.instance_bound_h


def test_an_open_part_is_searched_with_the_other_parts_fixed():
    """Thirteen parallel steps of one team exceed the exact packing; the parts before and after them are proved."""
    steps = [{"name": f"s{i}", "order": 2, "team": "team3", "duration": 3 + i % 5} for i in range(13)]
    steps += [{"name": "first", "order": 1, "team": "team2", "duration": 5}]
    steps += [{"name": f"last{i}", "order": 3, "team": "team5", "duration": 4 + i} for i in range(4)]
    instance = instance_from_request({"workpoints": [{"id": "1", "steps": steps}]})
    problem = compile_instance(instance)
    parts = decompose(problem, PART_NODES)
    assert parts.makespan == np.inf
    proved = [j for j in range(len(steps)) if parts.mode[j] >= 0]
    assert [instance.steps[j].name for j in proved] == ["first", "last0", "last1", "last2", "last3"]
    found = AGENT.solve(instance, time_budget_ms=HOUR_MS, max_evaluations=2_000)
    assert found.stage != "greedy"
    assert found.schedule.makespan_h <= AGENT.solve(instance).schedule.makespan_h
    assert found.lower_bound_h <= found.schedule.makespan_h
    placed = found.schedule.steps
    span = max(placed[j].end_h for j in proved[1:]) - min(placed[j].start_h for j in proved[1:])
    assert span == pytest.approx(max(parts.start[j] + problem.duration[parts.mode[j]] for j in proved[1:]))


def test_a_part_of_steps_without_duration_takes_no_time():
    steps = [{"name": f"s{i}", "team": "team1", "duration": 5e-324} for i in range(3)]
    parts = decompose(
        compile_instance(instance_from_request({"workpoints": [{"id": "1", "steps": steps}]})), PART_NODES
    )
    assert parts.bound == parts.makespan == 0.0

"""Alternating forward and backward placement: valid, never longer, reproducible, reaches published optima."""

import csv
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks import psplib as benchmark
from scheduler_env import Instance, WorkPoint
from scheduler_env.alternating import PASSES, SIZES, STAGE, alternating_search, breed_alternating, can_alternate
from scheduler_env.bounds import lower_bound
from scheduler_env.generator import random_instance
from scheduler_env.genetic import evolve
from scheduler_env.improvement import MIN_ALTERNATING, improve
from scheduler_env.incumbent import empty_incumbent
from scheduler_env.kernel import compile_instance, to_schedule
from scheduler_env.psplib import instance_from_psplib
from scheduler_env.random_numbers import new_random
from scheduler_env.rules import Rule, improve_by_rules, priorities
from scheduler_env.serial import new_decoder
from scheduler_service.settings import Settings
from tests.instances import instances
from tests.properties import examples

PSPLIB = Settings().data / "psplib"
POOR = [Rule("SPT", 1.0, "serial")]


def _with_middle_modes(instance: Instance) -> Instance:
    """The same steps, each reduced to its middle mode."""
    workpoints = []
    for each in instance.workpoints:
        steps = tuple(step._replace(modes=(step.modes[len(step.modes) // 2],)) for step in each.steps)
        workpoints.append(WorkPoint(each.id, each.name, steps))
    return Instance(instance.teams, tuple(workpoints))


def _searched(instance, seed, *portions):
    """(problem, incumbent, initial makespan) after `portions` of schedules."""
    problem = compile_instance(instance)
    incumbent = empty_incumbent(problem)
    improve_by_rules(problem, incumbent, rules=POOR)
    began_h = incumbent.makespan_h
    search = alternating_search(problem, incumbent, new_random(seed), 0.0)
    for portion in portions:
        incumbent.makespan_h = min(incumbent.makespan_h, search(portion))
    return problem, incumbent, began_h


@examples(100)
@given(instance=instances(), seed=st.integers(0, 2**32), schedules=st.integers(1, 6 * SIZES[0]))
def test_schedules_are_valid_and_never_longer(instance, seed, schedules):
    instance = _with_middle_modes(instance)
    problem, incumbent, began_h = _searched(instance, seed, schedules)
    assert incumbent.makespan_h <= began_h + 1e-9
    schedule = to_schedule(instance, problem, incumbent.mode, incumbent.start)
    assert schedule.violations() == []
    assert schedule.makespan_h == pytest.approx(incumbent.makespan_h)


def test_the_same_seed_gives_the_same_schedule_in_one_call_or_several():
    instance = _with_middle_modes(random_instance(4, seed=5))
    _, at_once, _ = _searched(instance, 7, 5_000)
    _, in_portions, _ = _searched(instance, 7, 1, 29, 970, 4_000)
    _, other, _ = _searched(instance, 8, 5_000)
    assert at_once.start.tolist() == in_portions.start.tolist()
    assert at_once.start.tolist() != other.start.tolist()


def test_schedules_stay_valid_in_the_next_population():
    instance = _with_middle_modes(random_instance(3, seed=3))
    problem, incumbent, began_h = _searched(instance, 0, SIZES[0] * PASSES[0] + 4 * SIZES[1])
    assert incumbent.makespan_h < began_h
    assert to_schedule(instance, problem, incumbent.mode, incumbent.start).violations() == []


def test_lists_are_in_the_order_of_the_next_pass():
    problem, incumbent, _ = _searched(_with_middle_modes(random_instance(4, seed=5)), 0, 0)
    n, size = problem.shortest.size, SIZES[0]
    orders, starts = np.zeros((2, SIZES[-1], n), dtype=np.int64), np.zeros((2, SIZES[-1], n))
    makespans, counts = np.full((2, SIZES[-1]), np.inf), np.array([0, 0, 0, 0, 1], dtype=np.int64)
    breed_alternating(
        problem, new_decoder(problem), orders, starts, makespans, counts, priorities(problem, "LST"), 10 * size,
        incumbent.start.copy(), new_random(0), 0.0,
    )  # fmt: skip
    duration = problem.duration[problem.mode_at[:n]]
    for i in range(size):
        assert (np.diff(starts[0, i][orders[0, i]]) >= -1e-9).all()
        assert (np.diff((starts[1, i] + duration)[orders[1, i]]) >= -1e-9).all()


def test_the_search_continues_from_a_shorter_schedule_of_another_search():
    instance = _with_middle_modes(random_instance(3, seed=2))
    problem = compile_instance(instance)
    incumbent = empty_incumbent(problem)
    improve_by_rules(problem, incumbent, rules=POOR)
    search = alternating_search(problem, incumbent, new_random(1), 0.0)
    search(SIZES[0])
    shorter = empty_incumbent(problem)
    improve_by_rules(problem, shorter)
    evolve(problem, shorter, lower_bound_h=0.0, deadline_s=math.inf, max_evaluations=20_000)
    incumbent.take(shorter.mode, shorter.start, shorter.makespan_h, "another")
    assert search(1) <= shorter.makespan_h + 1e-9


def test_modes_are_single_only_if_no_activity_has_two():
    instance = random_instance(1, seed=0)
    assert not can_alternate(compile_instance(instance))
    assert can_alternate(compile_instance(_with_middle_modes(instance)))


@pytest.mark.parametrize(("n_workpoints", "stage"), [(2, "annealing"), (4, STAGE)])
def test_large_problems_without_mode_choices_use_alternating_and_small_ones_annealing(n_workpoints, stage):
    problem = compile_instance(_with_middle_modes(random_instance(n_workpoints, seed=1)))
    assert (problem.shortest.size >= MIN_ALTERNATING) == (stage == STAGE)
    incumbent = empty_incumbent(problem)
    improve_by_rules(problem, incumbent, rules=POOR)
    began_h = incumbent.makespan_h
    improve(problem, None, incumbent, lower_bound_h=0.0, deadline_s=math.inf, max_evaluations=5_000)
    assert incumbent.makespan_h < began_h
    assert incumbent.stage == stage
    assert incumbent.evaluations <= 5_000


@pytest.mark.skipif(not PSPLIB.is_dir(), reason=f"no reference data in {PSPLIB}; set SCHED_DATA")
def test_published_optima_are_reached_within_5_000_schedules():
    with (PSPLIB / "j30_optimum.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if (PSPLIB / "j30.sm" / row["problem"]).is_file()][3::6]
    gaps = []
    for row in rows:
        text = (PSPLIB / "j30.sm" / row["problem"]).read_text(encoding="latin-1")
        problem = compile_instance(instance_from_psplib(text))
        incumbent = empty_incumbent(problem)
        improve_by_rules(problem, incumbent)
        bound_h = float(lower_bound(problem))
        evolve(problem, incumbent, lower_bound_h=bound_h, deadline_s=math.inf, max_evaluations=5_000)
        gaps.append(incumbent.makespan_h / int(row["optimum"]) - 1.0)
    assert len(gaps) >= 15
    assert min(gaps) >= -1e-9
    assert np.mean(np.array(gaps) < 1e-9) >= 0.8
    assert np.mean(gaps) < 0.005


def test_missing_families_are_skipped(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(benchmark, "FOLDER", Path(tmp_path))
    assert benchmark.main([]) == 0
    output = capsys.readouterr().err
    assert "j60: skipped" in output
    assert "j120: skipped" in output


@pytest.mark.skipif(not PSPLIB.is_dir(), reason=f"no reference data in {PSPLIB}; set SCHED_DATA")
def test_large_families_are_measured_against_critical_path_and_best_known(monkeypatch, tmp_path, capsys):
    (tmp_path / "j60.sm").mkdir()
    name = "j301_1.sm"  # uses the small family, the only one that is always available
    (tmp_path / "j60.sm" / name).write_bytes((PSPLIB / "j30.sm" / name).read_bytes())
    (tmp_path / "j60_best.csv").write_text(f"problem,optimum\n{name},42..43\n", encoding="utf-8")
    monkeypatch.setattr(benchmark, "FOLDER", tmp_path)
    assert benchmark.main(["--schedules", "1000"]) == 0
    table = capsys.readouterr().out
    assert "j60: 1 instances" in table
    for search in ("agent + search", "genetic", "annealing"):
        assert f"| {search} | 13.16% (0.00%) |" in table  # optimum 43, critical path 38

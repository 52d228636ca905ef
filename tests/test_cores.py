"""The available cores, and how searches share them."""

import math
import time
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest

from scheduler_env.cores import SOLVER_THREADS, Threads, _quota, usable_cores
from scheduler_env.exact import improve_exactly
from scheduler_env.generator import random_instance
from scheduler_env.incumbent import empty_incumbent
from scheduler_env.kernel import compile_instance
from scheduler_env.rules import ALL_RULES, improve_by_rules


@pytest.mark.parametrize(
    ("files", "quota"),
    [
        ({}, math.inf),
        ({"cpu.max": "max 100000"}, math.inf),
        ({"cpu.max": "150000 100000"}, 1.5),
        ({"a.slice/b.service/cpu.max": "max 100000", "a.slice/cpu.max": "300000 100000"}, 3.0),
        ({"a.slice/b.service/cpu.max": "50000 100000", "a.slice/cpu.max": "300000 100000"}, 0.5),
        ({"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, math.inf),
        ({"cpu/cpu.cfs_quota_us": "200000", "cpu/cpu.cfs_period_us": "100000"}, 2.0),
        ({"cpu.max": "nonsense"}, math.inf),
    ],
)
def test_the_cpu_share_is_the_smallest_limit_of_the_cgroups(tmp_path, files, quota):
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(content)
    own = tmp_path / "own"
    own.write_text("0::/a.slice/b.service\n")
    assert _quota(tmp_path, own) == quota
    assert usable_cores() >= 1


def test_searches_share_threads_and_each_gets_at_least_one():
    threads = Threads(4)
    with threads.take(3) as first, threads.take(8) as second, threads.take(8) as third:
        assert (first, second, third) == (3, 1, 1)
    with threads.take(8) as again:
        assert again == 4


def test_parallel_exact_solvers_stay_within_their_thread_limit(monkeypatch):
    from ortools.sat.python import cp_model

    searching, given = Barrier(3), []
    solve = cp_model.CpSolver.solve

    def noted(solver: cp_model.CpSolver, *options: object) -> object:
        given.append(solver.parameters.num_workers)
        searching.wait(60.0)
        return solve(solver, *options)

    monkeypatch.setattr(cp_model.CpSolver, "solve", noted)
    monkeypatch.setattr(SOLVER_THREADS, "limit", 4)

    def search(seed: int) -> None:
        problem = compile_instance(random_instance(2, seed=seed))
        best = empty_incumbent(problem)
        improve_by_rules(problem, best, rules=ALL_RULES[:1], seed=0)
        improve_exactly(problem, best, lower_bound_h=0.0, deadline_s=time.perf_counter() + 5.0, seed=0, workers=8)

    with ThreadPoolExecutor(3) as searches:
        list(searches.map(search, range(3)))
    assert sorted(given) == [1, 1, 4]

"""What single operations cost, one after the other: `python -m benchmarks.single_operations`.

The tests ask that these do not do needless work (`tests/` names no time); here stands what they take, beside the limit
that was set for a quiet core. Processor time of one thread but for budgets and promotions, and the shortest of several
tries, so that what else the machine does counts least.

Writes benchmarks/results/single_operations.{md,json}; ends with 1 when a limit is exceeded.
"""

import argparse
import json
import logging
import sqlite3
import statistics
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from ab_testing import ABTestManager
from benchmarks.machine import markdown_table, write_results
from benchmarks.performance_report import NOW, fill
from benchmarks.registry import variations
from benchmarks.requests import Body, sample
from benchmarks.servers import our_service
from enhanced_flask import create_app
from monitoring import ABTestAnalyzer, PerformanceMonitor
from scheduler_env import gantt
from scheduler_env.agent import load_agent
from scheduler_env.baselines import load_baseline
from scheduler_env.gantt_layout import View
from scheduler_env.generator import random_instance
from scheduler_env.schedule import Schedule
from scheduler_env.solver import Solver
from scheduler_service.errors import InvalidInput
from scheduler_service.http.bodies import parse_json, validated
from scheduler_service.http.contract.runs import VIEWS, RunRequest
from scheduler_service.http.guards.limits import Limits
from scheduler_service.settings import PROJECT_ROOT, Settings

TRIES = 7
BUDGET_MS = 300.0
REPORT_DAYS = 7.0


@dataclass(frozen=True)
class Cost:
    """One operation."""

    name: str
    value: float
    unit: str
    limit: float

    @property
    def is_met(self) -> bool:
        return self.value < self.limit


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; see the module's docstring."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0] if __doc__ else None)
    parser.add_argument("--dry", action="store_true", help="print only; do not change benchmarks/results/")
    options = parser.parse_args(arguments)
    logging.disable(logging.WARNING)
    with tempfile.TemporaryDirectory(prefix="single-operations-") as folder:
        costs = list(all_costs(Path(folder)))
    rows = [
        [c.name, f"{c.value:.3g} {c.unit}", f"< {c.limit:g} {c.unit}", "yes" if c.is_met else "**no**"] for c in costs
    ]
    text = markdown_table(("operation", "takes", "limit", "met"), rows)
    if not options.dry:
        write_results(
            "single_operations", "python -m benchmarks.single_operations", text, {"costs": [asdict(c) for c in costs]}
        )
    print(text)
    return int(not all(c.is_met for c in costs))


def all_costs(home: Path) -> Iterator[Cost]:
    manager = ABTestManager(home / "experiments.json")
    manager.create_experiment("e", "DDQN_v1.0", "DDQN_v2.0", {"model_a": 0.7, "model_b": 0.3})
    time.sleep(0.1)  # until the file's stamp is old enough to be trusted
    assigning_s = shortest_s(lambda: manager.get_model_for_request("e", "user_12345"), 2_000)
    yield Cost("assign a user to an arm", 1e6 * assigning_s, "us", 20.0)
    limits = Limits(Settings(home=home))
    yield Cost(
        "count a request of an address",
        1e6 * shortest_s(lambda: limits.decide_for_address("203.0.113.7"), 2_000),
        "us",
        10.0,
    )
    body = json.dumps({"params": [1] * 15, "charts": ["x"] * 200_000}).encode()

    def refuse() -> None:
        with suppress(InvalidInput):
            validated(RunRequest, parse_json(body))

    yield Cost("refuse 200,000 unknown charts", shortest_s(refuse, 1), "s", 2.0)
    client = create_app(Settings(home=home)).test_client()
    client.get("/metrics")
    yield Cost("/metrics of 2 models", 1e3 * shortest_s(lambda: client.get("/metrics"), 5), "ms", 100.0)
    agent = load_agent(Settings().seed_models_dir / "ddqn_v2.pth")
    schedule = agent.solve(random_instance(3, 1)).schedule
    for view in VIEWS:
        drawing_s = shortest_s(partial(_draw, schedule, view), 1)
        yield Cost(f"chart of 45 steps, {view}", drawing_s, "s", 0.4)
    genetic = load_baseline(PROJECT_ROOT / "models" / "baselines" / "ga.json", "GA")
    instance = random_instance(5, 1)
    solvers: dict[str, Solver] = {"agent": agent, "genetic algorithm": genetic}
    for name, solver in solvers.items():
        solver.solve(instance, time_budget_ms=20.0)
        took_s = shortest_s(partial(solver.solve, instance, time_budget_ms=BUDGET_MS), 1, clock=time.perf_counter)
        yield Cost(f"{name}: beyond a budget of {BUDGET_MS:g} ms, 5 work points", 1e3 * took_s - BUDGET_MS, "ms", 50.0)
    monitor = PerformanceMonitor(home / "reported.db", reports_dir=home / "reports", clock=lambda: NOW)
    fill(monitor, 40_000, REPORT_DAYS)  # half of them are of the days before
    reporting_s = shortest_s(lambda: monitor.generate_performance_report(REPORT_DAYS), 1, tries=2)
    yield Cost("performance report of 20,000 runs", reporting_s, "s", 5.0)
    with closing(sqlite3.connect(home / "reported.db")) as connection, connection:
        connection.execute(
            "UPDATE runs SET experiment = 'e', user_id = id % 5000, "
            "variant = CASE id % 5000 % 2 WHEN 0 THEN 'model_a' ELSE 'model_b' END"
        )
    analyzer = ABTestAnalyzer(monitor, config_path=home / "experiments.json")
    reporting_s = shortest_s(lambda: analyzer.generate_ab_test_report("e", REPORT_DAYS), 1, tries=2)
    yield Cost("report of an experiment of 5,000 users and 40,000 runs", reporting_s, "s", 10.0)
    monitor.close()
    yield Cost("until a promoted model answers in both of 2 workers", promotion_s(home / "service"), "s", 2.0)


def _draw(schedule: Schedule, view: View) -> None:
    gantt.to_png(gantt.figure(schedule, view))


def shortest_s(
    call: Callable[[], object], times: int, *, clock: Callable[[], float] = time.thread_time, tries: int = TRIES
) -> float:
    """Processor seconds of one call, in the best of some tries of so many calls; or seconds of another clock."""
    took_s = []
    for _ in range(tries):
        began_s = clock()
        for _ in range(times):
            call()
        took_s.append((clock() - began_s) / times)
    return min(took_s)


def promotion_s(home: Path) -> float:
    """Median over some promotions: seconds from the answer to a promotion to the last answer of the other model."""
    home.mkdir()
    (home / "ab_test_config.json").write_text('{"experiments": {}, "default_model": "DDQN:stable"}')
    late_s = []
    with our_service(home, 2) as server, ThreadPoolExecutor(8) as clients:

        def ask(_number: int) -> tuple[str, float]:
            told = _post(f"{server.url}/run_algorithm", sample())["experiment_info"]
            return told["model_used"], time.perf_counter()

        for path in variations(home, 3):
            body: Body = {"model_path": path.name, "algorithm_name": "DDQN", "training_params": {"from": path.name}}
            key = _post(f"{server.url}/models/register", body)["model_key"]
            for status in ("validated", "deployed"):
                _post(f"{server.url}/models/{key}/promote", {"status": status})
            promoted_s = time.perf_counter()
            late_s.append(
                max((at_s - promoted_s for used, at_s in clients.map(ask, range(120)) if used != key), default=0.0)
            )
    return statistics.median(late_s)


def _post(url: str, body: Body) -> dict[str, Any]:
    request = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=120) as answer:
        told: dict[str, Any] = json.load(answer)
        return told


if __name__ == "__main__":
    sys.exit(main())

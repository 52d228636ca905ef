"""Large replays: the database adds up what a verdict needs, and a selection is a few ranges of ids."""

import math
import random
import tracemalloc
from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from monitoring import PerformanceMonitor, PerformanceRecord
from scheduler_service.errors import StorageUnavailable
from scheduler_service.experiments.examination import examine
from scheduler_service.experiments.experiment import Experiment
from scheduler_service.experiments.replay import Contest, ReplayOptions, plan_replay
from scheduler_service.reporting.evolution import course, pair_differences
from scheduler_service.stats.betting import log_capital
from scheduler_service.stats.effect import PAIR_LIMIT
from scheduler_service.stats.metrics import METRICS
from scheduler_service.stats.pair_sums import WIDTH, Users, differences_of
from scheduler_service.stats.pairs import judge_pairs, judge_sums
from scheduler_service.telemetry import selection
from scheduler_service.telemetry.record import PairRecord, ReplayRecord
from tests.codes import coded
from tests.test_replay import log_runs

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
ENGINES = ("sqlite", "postgresql")
CONTEST = Contest("A", "B", "e")


# --- sums ---


def some_pairs(n: int, seed: int = 0, **same: object) -> list[PairRecord]:
    """Pairs of users with several requests or without a name; some are ties, some failed, some lack a figure."""
    drawn = random.Random(seed)
    found = []
    for number in range(n):
        bound = math.exp(drawn.gauss(4.0, 0.5))
        a = bound * drawn.uniform(1.0, 1.2)
        b = a * drawn.choice([1.0, math.exp(drawn.gauss(-0.01, 0.05)), drawn.choice([0.2, 4.0]), 1.0 + 1e-12])
        a, b = (None if drawn.random() < 0.08 else value for value in (a, b))
        facts = {
            "request_id": f"r{number}",
            "user_id": drawn.choice([None, f"u{drawn.randrange(1 + n // 3)}"]),
            "makespan_a": a,
            "makespan_b": b,
            "success_a": a is not None,
            "success_b": b is not None,
            "policy_makespan_a": None if a is None or drawn.random() < 0.3 else 1.1 * a,
            "policy_makespan_b": None if b is None else 1.2 * b,
            "lower_bound": None if drawn.random() < 0.1 else (a or bound) if drawn.random() < 0.5 else bound,
            "n_workpoints": 3,
            "input_digest": drawn.choice([None, f"d{number % 7}"]),
            "timestamp": NOW - timedelta(seconds=n - number // 2),
        }
        always = {"source": "replay", "replay": "r-1", "candidate": "model_b", "experiment": "e"}
        found.append(PairRecord(**({"key_a": "A", "key_b": "B"} | always | facts | same)))
    return found


def begin(monitor: PerformanceMonitor, number: int = 1) -> None:
    facts = {"definition": "r", "candidate": "model_b", "key_a": "A", "key_b": "B", "experiment": "e"}
    options = asdict(ReplayOptions())
    record = ReplayRecord(id=f"r-{number}", since=NOW, last_run=0, total=0, options=options, timestamp=NOW, **facts)
    monitor.replays.begin(record)


def nearly(value: object) -> object:
    """The same JSON, with numbers that may differ by 1e-9 of their value."""
    if isinstance(value, float):
        return pytest.approx(value, rel=1e-9, abs=1e-13, nan_ok=True)
    if isinstance(value, dict):
        return {key: nearly(each) for key, each in value.items()}
    return type(value)(map(nearly, value)) if isinstance(value, list | tuple) else value


def assert_equal_verdicts(monitor: PerformanceMonitor, metric: str) -> dict[str, object]:
    options = {"margin": 0.05, "alpha": 0.025, "metric": metric}
    expected = judge_pairs(monitor.get_pairs(replay="r-1"), **options)
    found = judge_sums(monitor.replays.pairs("r-1").sums(METRICS[metric]), **options)
    assert found.to_dict() == nearly(expected.to_dict())
    assert asdict(replace(found, effect=None)) == nearly(asdict(replace(expected, effect=None)))
    return found.to_dict()


@pytest.mark.parametrize("metric", ["makespan", "policy_makespan"])
@pytest.mark.parametrize("n", [0, 1, 2, 7, 40, 600])
def test_sums_of_the_database_give_the_verdict_of_the_pairs(monitor, n, metric):
    monitor.record_pair(*some_pairs(n, seed=n))
    told = assert_equal_verdicts(monitor, metric)
    assert (told["wins"] > 0) == (n > 2) or n <= 7


@pytest.mark.parametrize(
    "same",
    [
        {"key_b": "A"},
        {"makespan_a": 10.0, "makespan_b": 10.0, "success_a": True, "success_b": True, "lower_bound": 10.0},
        {"makespan_a": 10.0, "makespan_b": 9.0, "success_a": True, "success_b": True, "lower_bound": 8.0},
        {"makespan_a": None, "success_a": False, "policy_makespan_a": None},
        {"policy_makespan_a": None, "policy_makespan_b": None},
        {"user_id": "one"},
        {"user_id": None},
        {"lower_bound": None},
    ],
    ids=["one model", "ties", "constant", "failures", "unrecorded", "one user", "no users", "no bounds"],
)
def test_sums_of_unusual_pairs_give_the_same_verdict(monitor, same):
    monitor.record_pair(*some_pairs(60, **same))
    for metric in ("makespan", "policy_makespan"):
        assert_equal_verdicts(monitor, metric)


def test_bins_of_many_users_give_the_capital_of_all_their_values():
    rng = np.random.default_rng(1)
    a = rng.normal(4.0, 0.5, 200_000)
    d = np.concatenate([rng.normal(-0.002, 0.05, 150_000), np.zeros(40_000), rng.uniform(-0.69, 0.69, 9_000)])
    d = np.append(d, np.full(1_000, 5.0))  # clipped
    exact = Users.of(a, a + d)
    clipped = np.clip(d, -PAIR_LIMIT, PAIR_LIMIT) / WIDTH
    place = np.round(clipped)
    x, near = 2.0 * (clipped - place), (3.9, 4.0)
    of_a, of_b, of_d = a - near[0], a + d - near[1], d - 0.1
    products = {"x1": x, "x2": x**2, "x3": x**3, "a": of_a, "b": of_b, "d": of_d}
    products |= {"aa": of_a**2, "bb": of_b**2, "ab": of_a * of_b, "dd": of_d**2}
    bins, inverse, n = np.unique(place, return_inverse=True, return_counts=True)
    sums = {name: np.bincount(inverse, weights=values) for name, values in products.items()}
    rows = [
        {"bin": bins[row], "n": n[row]} | {name: values[row] for name, values in sums.items()}
        for row in range(bins.size)
    ]
    found = Users.of_bins(rows, near)
    assert found.n == exact.n
    for name in ("means", "mean_difference", "standard_error", "correlation"):
        assert getattr(found, name) == pytest.approx(getattr(exact, name), rel=1e-9)
    assert found.differences.size <= 2 * bins.size
    for supposed in (-0.6, -0.1, -0.003, 0.0, 0.003, 0.1, 0.6):
        room = PAIR_LIMIT + supposed
        capital = log_capital(exact.differences + PAIR_LIMIT, np.full(exact.differences.size, room))
        ends = np.full(found.differences.size, room)
        assert log_capital(found.differences + PAIR_LIMIT, ends, found.weights) == pytest.approx(capital, rel=1e-9)


def experiment_of(metric: str) -> Experiment:
    parts = {"name": "e", "model_a": "x", "model_b": "y", "start_time": NOW.isoformat(), "success_metric": metric}
    return Experiment.parse(parts)


def test_results_course_and_chart_of_the_last_replay_are_those_of_its_pairs(monitor):
    begin(monitor, 1)
    begin(monitor, 2)
    monitor.record_pair(*some_pairs(90), *some_pairs(10, candidate="model_c"), *some_pairs(10, experiment="other"))
    monitor.record_pair(*some_pairs(50, seed=3, replay="r-2"), *some_pairs(8, source="shadow", replay=None))
    runs, pairs, now = monitor.get_performance_data(experiment="e"), monitor.get_pairs("e"), NOW + timedelta(hours=1)
    shadow, replayed = monitor.get_pairs("e", source="shadow"), monitor.replays.pairs_of_last("e")
    for metric in ("makespan", "policy_makespan"):
        experiment = experiment_of(metric)
        expected, found = examine(experiment, runs, pairs, now), examine(experiment, runs, shadow, now, replayed)
        assert found.to_dict() == nearly(expected.to_dict())
        assert set(found.pairs) == {"shadow", "replay"}
        assert course(experiment, runs, shadow, replayed) == nearly(course(experiment, runs, pairs))
        mine = pairs[pairs["replay"].eq("r-2") & pairs["candidate"].eq("model_b")]
        usable = pair_differences(mine, metric)
        drawn = differences_of(usable["improvement"].to_numpy(dtype="float64"), len(mine) - len(usable))
        counted = replayed.differences(METRICS[metric])
        assert counted.reach == pytest.approx(drawn.reach)
        for name in ("tied", "unanswered", "n"):
            assert getattr(counted, name) == getattr(drawn, name)
        for name in ("lost", "won"):
            assert list(getattr(counted, name)) == list(getattr(drawn, name))
    assert monitor.replays.pairs_of_last("e", end=NOW - timedelta(days=1)) is None
    assert monitor.replays.pairs_of_last("nothing") is None


def test_a_database_without_mathematical_functions_gives_the_same_figures(records, open_monitor, monkeypatch):
    monkeypatch.setattr("scheduler_service.telemetry.engines.sqlite._has_logarithm", lambda: False)
    monitor = open_monitor()
    monitor.record_pair(*some_pairs(60))
    assert_equal_verdicts(monitor, "makespan")


# --- selection ---


def ids_of(monitor: PerformanceMonitor, plan) -> list[int]:
    """The runs of a plan in the order of execution, read in small batches."""
    found: list[int] = []
    for each in plan.ranges:
        below = None
        while batch := monitor.replays.requests(plan.record, each, 3, below=below):
            found += [request.run for request in batch]
            below = batch[-1].run
    return found


def test_ranges_hold_exactly_the_last_run_of_each_request(monitor):
    log_runs(monitor, 70, timestamp=NOW)
    log_runs(monitor, 20, first=30, timestamp=NOW)  # repeated
    log_runs(monitor, 10, first=70, timestamp=NOW - timedelta(days=9))
    log_runs(monitor, 5, first=80, input_params=None, timestamp=NOW)
    log_runs(monitor, 5, first=85, experiment="other", timestamp=NOW)
    frame = monitor.get_performance_data(columns=("request_id", "experiment", "timestamp", "input_params"))
    frame["id"] = range(1, len(frame) + 1)  # recorded one after the other
    with monitor.engine.connect() as connection:
        rows = connection.exec_driver_sql("SELECT id, request_id, experiment, timestamp, input_params FROM runs").all()

    def expected(*, own: bool) -> list[int]:
        last: dict[str, int] = {}
        for row in sorted(rows):
            is_new = row.timestamp >= (NOW - timedelta(days=7)).isoformat()
            if is_new and row.input_params is not None and (not own or row.experiment == "e"):
                last[row.request_id] = row.id
        return sorted(last.values(), reverse=True)

    for own in (False, True):
        plan = plan_replay(monitor.replays, CONTEST, ReplayOptions(own_requests=own), NOW)
        assert ids_of(monitor, plan) == expected(own=own)
        assert plan.total == len(expected(own=own))
        assert max(each.requests for each in plan.ranges) <= selection.REQUESTS
    plan = plan_replay(monitor.replays, CONTEST, ReplayOptions(limit=33), NOW)
    assert ids_of(monitor, plan) == expected(own=False)[:33]


def test_ranges_are_kept_and_done_with_the_requests_that_have_no_pair(monitor):
    log_runs(monitor, 60, timestamp=NOW)
    plan = plan_replay(monitor.replays, CONTEST, ReplayOptions(), NOW)
    monitor.replays.begin(plan.record, plan.ranges[:1])
    assert monitor.replays.ranges(plan.id) == plan.ranges, "the first of two that begin the same replay counts"
    monitor.replays.finish(plan.id, {0: 2, 2: 1})
    assert [each.skipped for each in monitor.replays.ranges(plan.id)] == [2, None, 1]
    assert monitor.replays.done(plan.id) == 3
    assert not monitor.replays.is_done(plan.record)
    monitor.replays.finish(plan.id, {1: 0})
    assert monitor.replays.is_done(plan.record)


def test_a_selection_has_few_ranges_however_large_it_is(monitor, monkeypatch):
    monkeypatch.setattr(selection, "MAX_RANGES", 4)
    log_runs(monitor, 130, timestamp=NOW)
    plan = plan_replay(monitor.replays, CONTEST, ReplayOptions(), NOW)
    assert [each.requests for each in plan.ranges] == [33, 33, 33, 31]


def test_samples_are_random_and_the_same_in_both_engines(monitor):
    log_runs(monitor, 400, timestamp=NOW)
    drawn = []
    for seed in range(8):
        plan = plan_replay(monitor.replays, CONTEST, ReplayOptions(limit=40, seed=seed), NOW)
        assert plan.total == 40
        drawn.append(ids_of(monitor, plan))
    every = np.concatenate(drawn)
    assert 190 <= len(set(every)) <= 260  # 400 (1 - 0.9^8) = 228 on average
    assert 120 <= every.mean() <= 280
    prime = selection.PRIME
    chosen = random.Random(3)
    a, b = chosen.randrange(1, prime), chosen.randrange(prime)
    numbers = {each: pow(each + b, 5, prime) * a % prime for each in range(1, 401)}
    assert drawn[3] == sorted(sorted(numbers, key=numbers.__getitem__)[:40], reverse=True)


def test_a_selection_waits_for_runs_with_lower_ids_that_are_not_committed_yet(postgresql, tmp_path, monkeypatch):
    with postgresql.schema() as url:
        monitor = PerformanceMonitor(url, reports_dir=tmp_path, clock=lambda: NOW)
        log_runs(monitor, 3)
        with monitor.engine.connect() as slow:
            columns = "request_id, timestamp, success, input_params"
            insert = f"INSERT INTO runs ({columns}) VALUES ('late', '{NOW.isoformat()}', true, '{{}}')"
            slow.exec_driver_sql(insert)  # has drawn its id
            log_runs(monitor, 3, first=3)
            waits = []

            def commit(seconds: float) -> None:
                waits.append(seconds)
                slow.commit()

            monkeypatch.setattr("scheduler_service.telemetry.engines.postgresql.time.sleep", commit)
            plan = plan_replay(monitor.replays, CONTEST, ReplayOptions(), NOW)
        assert waits
        assert plan.total == 7
        assert len(ids_of(monitor, plan)) == 7
        monitor.close()


def test_a_transaction_that_never_ends_refuses_a_selection(postgresql, tmp_path, monkeypatch):
    monkeypatch.setattr("scheduler_service.telemetry.engines.postgresql.WRITERS_END_WITHIN_S", 0.0)
    with postgresql.schema() as url:
        monitor = PerformanceMonitor(url, reports_dir=tmp_path, clock=lambda: NOW)
        log_runs(monitor, 3)
        with monitor.engine.connect() as slow:
            slow.exec_driver_sql("UPDATE runs SET user_id = 'x' WHERE id = 1")
            with pytest.raises(StorageUnavailable, check=coded("locked_by_others")):
                plan_replay(monitor.replays, CONTEST, ReplayOptions(), NOW)
        assert plan_replay(monitor.replays, CONTEST, ReplayOptions(), NOW).total == 3
        monitor.close()


def test_a_plan_and_its_verdict_take_the_same_memory_for_more_requests(open_monitor, tmp_path):
    peaks = []
    for number, n in enumerate((2_000, 20_000)):
        monitor = PerformanceMonitor(tmp_path / f"{number}.db", reports_dir=tmp_path, clock=lambda: NOW)
        monitor.record_performance(*(PerformanceRecord(request_id=f"r{each}", input_params=[1.0]) for each in range(n)))
        pairs = [replace(each, user_id=each.request_id, input_digest=None) for each in some_pairs(n)]
        monitor.record_pair(*pairs)
        del pairs
        monitor.replays.pairs("r-1").sums(METRICS["makespan"])  # imports
        tracemalloc.start()
        plan_replay(monitor.replays, CONTEST, ReplayOptions(limit=n), NOW)
        judge_sums(monitor.replays.pairs("r-1").sums(METRICS["makespan"]), margin=0.05, alpha=0.05)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        monitor.close()
    assert peaks[1] < 3 * peaks[0] + 2**20  # up to 4,096 bins and 1,000 ranges

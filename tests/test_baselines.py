"""Priority rules, genetic algorithm and CP-SAT as model versions: their files, and their use in a running service."""

import json
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from scheduler_env import SAMPLE_PARAMS, baselines, standard_instance
from scheduler_env.baselines import BASELINES, InvalidBaseline, load_baseline
from scheduler_env.generator import random_instance
from tests.codes import coded
from tests.conftest import ROOT, live_service

SHIPPED = ROOT / "models" / "baselines"
FLAGSHIP = standard_instance(SAMPLE_PARAMS)
OPTIMUM_H = 52.87


def written(folder: Path, algorithm: str, described, /, **changes) -> Path:
    path = folder / "baseline.json"
    path.write_text(
        json.dumps({"format": "scheduler-baseline/1", "algorithm": algorithm, "parameters": described} | changes)
    )
    return path


def shipped(algorithm):
    return load_baseline(SHIPPED / f"{algorithm.lower()}.json", algorithm)


@pytest.mark.parametrize("algorithm", BASELINES)
def test_each_shipped_baseline_solves_the_flagship(algorithm):
    solution = shipped(algorithm).solve(FLAGSHIP, time_budget_ms=20)
    assert solution.schedule.violations() == []
    assert solution.schedule.makespan_h == pytest.approx(OPTIMUM_H, abs=0.01)
    assert solution.lower_bound_h <= solution.schedule.makespan_h


def test_a_single_rule_is_worse_than_the_best_of_all(tmp_path):
    path = written(tmp_path, "RULE", {"rule": "SPT", "crew_share": 0.5, "scheme": "serial"})
    one, best = load_baseline(path, "RULE"), shipped("RULE")
    instance = random_instance(2, 7)
    assert best.solve(instance).schedule.makespan_h < one.solve(instance).schedule.makespan_h
    assert one.solve(instance).evaluations == 1


@pytest.mark.parametrize("algorithm", ["GA", "CPSAT"])
def test_more_time_never_gives_a_longer_schedule_than_the_best_rule(algorithm):
    instance = random_instance(5, 8)
    rule_h = shipped("RULE").solve(instance).schedule.makespan_h
    assert shipped(algorithm).solve(instance, time_budget_ms=0).schedule.makespan_h == rule_h
    assert shipped(algorithm).solve(instance, time_budget_ms=300).schedule.makespan_h <= rule_h


def test_the_genetic_algorithm_is_reproducible_for_seed_and_number_of_schedules():
    ga, instance = shipped("GA"), random_instance(3, 9)
    one, two = (
        ga.solve(instance, time_budget_ms=60_000, seed=4, max_evaluations=3_000).schedule.makespan_h for _ in range(2)
    )
    assert one == two


def test_cpsat_keeps_its_own_limit_when_a_request_grants_more(tmp_path, monkeypatch):
    path = written(tmp_path, "CPSAT", {"time_limit_s": 0.3})
    solver = load_baseline(path, "CPSAT")
    assert solver.default_budget_ms == 300
    deadlines_s = []

    def improve(problem, best, *, lower_bound_h, deadline_s, **_):
        deadlines_s.append(deadline_s)
        return lower_bound_h

    monkeypatch.setattr(baselines, "improve_exactly", improve)
    solver.solve(random_instance(10, 1), time_budget_ms=60_000)
    (deadline_s,) = deadlines_s
    assert deadline_s <= time.perf_counter() + 0.3


@pytest.mark.parametrize(
    ("algorithm", "parameters", "code"),
    [
        ("RULE", {}, "rule_parameters"),
        ("RULE", {"rule": "FASTEST"}, "rule_parameters"),
        ("RULE", {"rule": "LFT", "crew_share": 0.4, "scheme": "parallel"}, "rule_parameters"),
        ("RULE", {"rule": "LFT", "crew_share": True, "scheme": "parallel"}, "rule_parameters"),
        ("RULE", {"rule": "LFT", "crew_share": 0.5, "scheme": "parallel", "more": 1}, "rule_parameters"),
        ("GA", {"population": 40}, "baseline_takes_none"),
        ("CPSAT", {"limit": 3}, "baseline_extra"),
        ("CPSAT", {"time_limit_s": 0}, "baseline_time_limit"),
        ("CPSAT", {"time_limit_s": 601}, "baseline_time_limit"),
        ("CPSAT", {"time_limit_s": "10"}, "baseline_time_limit"),
        ("CPSAT", {"workers": 9}, "baseline_workers"),
        ("CPSAT", {"workers": True}, "baseline_workers"),
    ],
)
def test_parameters_out_of_range_are_refused(tmp_path, algorithm, parameters, code):
    with pytest.raises(InvalidBaseline, check=coded(code)):
        load_baseline(written(tmp_path, algorithm, parameters), algorithm)


@pytest.mark.parametrize("changes", [{"format": "other"}, {"algorithm": "GA"}, {"more": 1}, {"parameters": []}])
def test_a_file_of_another_kind_is_refused(tmp_path, changes):
    with pytest.raises(InvalidBaseline):
        load_baseline(written(tmp_path, "RULE", {"rule": "BEST"}, **changes), "RULE")


@pytest.mark.parametrize("content", [b"", b"{", b"[" * 9_000, b"\xff\xfe", b" " * 10_001, b"NaN", b'"text"'])
def test_an_invalid_description_is_refused(tmp_path, content):
    path = tmp_path / "baseline.json"
    path.write_bytes(content)
    with pytest.raises(InvalidBaseline):
        load_baseline(path, "RULE")


def register(service, algorithm, content=None):
    content = (SHIPPED / f"{algorithm.lower()}.json").read_bytes() if content is None else content
    form = {"algorithm_name": algorithm, "training_params": "{}", "performance_metrics": "{}"}
    return service.post("/models/register", data=form, files={"file": ("baseline.json", content)})


def test_baselines_can_be_registered_promoted_pinned_and_tested(tmp_path):
    """Registered, promoted, pinned, and two of them A/B-tested against each other, in a real service."""
    with live_service(tmp_path) as service:
        keys = {}
        for algorithm in BASELINES:
            created = register(service, algorithm)
            assert created.status_code == 201, created.text
            keys[algorithm] = created.json()["model_key"]
            promoted = service.post(f"/models/{keys[algorithm]}/promote", json={"status": "validated"})
            assert promoted.status_code == 200, promoted.text
            measured = service.get(f"/models/{keys[algorithm]}").json()["model"]["verified_metrics"]
            assert measured["makespan"] == pytest.approx(OPTIMUM_H, abs=0.01)

            run = service.run(params=list(SAMPLE_PARAMS), model=keys[algorithm], time_budget_ms=30)["result"]
            assert run["model_info"]["algorithm"] == algorithm
            assert run["makespan"] == pytest.approx(OPTIMUM_H, abs=0.01)

        experiment = {
            "experiment_name": "ga_vs_rule",
            "model_a": keys["RULE"],
            "model_b": keys["GA"],
            "traffic_split": {"model_a": 0.5, "model_b": 0.5},
        }
        assert service.post("/experiments", json=experiment).status_code == 201
        plant = [{"id": "a"}, {"id": "b", "params": [8, 4, 6, 5, 6, 7, 5, 6, 5, 6, 6, 6, 3, 6, 4]}]
        used = set()
        for user in range(12):
            run = service.run(workpoints=plant, experiment="ga_vs_rule", user_id=f"user_{user}")
            assert run["experiment_info"]["reason"] == "assigned"
            used.add(run["result"]["model_info"]["model_key"])
        assert used == {keys["RULE"], keys["GA"]}
        results = service.get("/experiments/ga_vs_rule/results").json()
        assert results["status"] == "success"


def test_a_model_with_a_long_default_time_does_not_delay_short_answers(tmp_path):
    """CP-SAT's default time counts as a long answer, whatever the request says."""
    patient = json.dumps(
        {"format": "scheduler-baseline/1", "algorithm": "CPSAT", "parameters": {"time_limit_s": 4.0}}
    ).encode()
    with live_service(tmp_path) as service, ThreadPoolExecutor(2) as clients:
        key = register(service, "CPSAT", patient).json()["model_key"]
        plant = [{"id": str(number)} for number in range(10)]
        slow = [clients.submit(service.run, workpoints=plant, model=key) for _ in range(2)]
        quick = service.run(params=list(SAMPLE_PARAMS))
        assert not any(answer.done() for answer in slow)
        assert quick["result"]["makespan"] < 60
        assert all(answer.result()["performance"]["execution_time"] >= 1.0 for answer in slow)


def test_a_single_weak_rule_is_not_validated(tmp_path):
    content = json.dumps(
        {
            "format": "scheduler-baseline/1",
            "algorithm": "RULE",
            "parameters": {"rule": "LFT", "crew_share": 0.5, "scheme": "parallel"},
        }
    ).encode()
    with live_service(tmp_path) as service:
        key = register(service, "RULE", content).json()["model_key"]
        refused = service.post(f"/models/{key}/promote", json={"status": "validated"})
        assert refused.status_code == 409 or refused.status_code == 422, refused.text
        broken = register(service, "RULE", b"{}")
        assert broken.status_code == 422
        assert "parameters" in broken.text

"""The effect by size of plant: right values, a level that all intervals hold together, and no class left out."""

import numpy as np
import pandas as pd
import pytest

from ab_testing import ABTestManager
from enhanced_flask import create_app
from monitoring import PerformanceMonitor, PerformanceRecord
from scheduler_service.experiments.cli import main
from scheduler_service.experiments.examination import examine
from scheduler_service.experiments.experiment import Experiment
from scheduler_service.experiments.sizes import CLASSES, breakdowns
from scheduler_service.settings import Settings
from scheduler_service.stats.arms import user_values
from scheduler_service.stats.effect import effect_of_arms

MODELS = {"model_a": "DDQN_v2.0", "model_b": "DDQN_v1.0"}
START = pd.Timestamp("2026-01-01T00:00:00Z")
TIMES = {1: 1.0, 2: 1.02, 3: 1.02, 6: 0.95, 20: 0.9}
"""Work points -> by which factor model_b's schedules differ; none with 8 to 15."""


def experiment(**more):
    return Experiment.parse({"name": "e", **MODELS, "start_time": START.isoformat(), "guardrails": False} | more)


def frame(users_per_size=60, seed=7, times=TIMES, arms=("model_a", "model_b")):
    """One run of each user; the gap varies, model_b's makespan is exactly `times` as long as it would have been."""
    rng = np.random.default_rng(seed)
    rows = []
    for size, factor in times.items():
        for _ in range(users_per_size):
            user = len(rows)
            arm, bound = arms[user % len(arms)], 10.0 * size
            length = bound * (1.2 + 0.02 * rng.standard_normal()) * (1.0 if arm == "model_a" else factor)
            rows.append(
                {
                    "timestamp": START + pd.Timedelta(user, "min"), "request_id": str(user), "user_id": f"u{user}",
                    "variant": arm, "reason": "assigned", "success": True, "makespan": length, "lower_bound": bound,
                    "n_workpoints": size, "model_key": arm, "execution_time": 0.001, "gap": length / bound - 1.0,
                    "resource_utilization": 0.3, "user_satisfaction": np.nan, "policy_makespan": length,
                }
            )  # fmt: skip
    return pd.DataFrame(rows).astype({"n_workpoints": "Int64", "user_satisfaction": "float64"})


def broken_down(runs, pairs=None, arm="model_b", **more):
    found = experiment(**more)
    return breakdowns(examine(found, runs, pairs, START + pd.Timedelta("2D")), runs, pairs)[arm]


def test_each_class_has_the_effect_of_its_requests_alone():
    runs = frame(users_per_size=300)
    told = {(each.low, each.high): each for each in broken_down(runs).classes}
    assert tuple(told) == CLASSES
    for (low, high), factor in {(1, 1): 1.0, (2, 3): 1.02, (4, 7): 0.95, (16, None): 0.9}.items():
        finding = told[low, high].finding
        mine = runs[runs["n_workpoints"].between(low, high or 999)]
        values = user_values(mine, finding.metric, ("model_a", "model_b"), {"model_a": 0.5, "model_b": 0.5})
        again = effect_of_arms(values, finding.metric, 0.05 / 5)
        assert (finding.improvement, *finding.bounds) == pytest.approx((again.improvement, again.low, again.high))
        assert finding.improvement == pytest.approx(1.0 - factor, abs=0.02)
        assert finding.bounds[0] < 1.0 - factor < finding.bounds[1]
        assert finding.baseline_mean == pytest.approx(mine[mine["variant"] == "model_a"]["makespan"].mean())
    assert told[16, None].finding.side == "better"
    assert told[1, 1].finding.side == "open"


def test_a_class_without_requests_is_told_as_one_and_unknown_sizes_are_counted():
    runs = frame()
    runs.loc[runs.index[:7], "n_workpoints"] = pd.NA
    found = broken_down(runs)
    empty = next(each for each in found.classes if each.low == 8)
    assert empty.to_dict()["reason"]["code"] == "too_few_units"
    assert (empty.finding.side, empty.finding.users) == ("unknown", {"model_a": 0, "model_b": 0})
    assert found.unknown == 7
    assert sum(sum(each.finding.samples.values()) for each in found.classes) == len(runs) - 7
    assert broken_down(runs.drop(columns="n_workpoints")).unknown == len(runs)


def test_five_intervals_and_several_candidates_share_the_error():
    assert broken_down(frame()).level == pytest.approx(1.0 - 0.05 / 5)
    runs = frame(arms=("model_a", "model_b", "model_c"))
    assert broken_down(runs, arm="model_c", model_c="DDQN_v3.0").level == pytest.approx(1.0 - 0.05 / 2 / 5)


def test_hours_follow_the_size_and_percentages_do_not():
    told = {each["from_workpoints"]: each for each in broken_down(frame(times={1: 1.1, 20: 1.1})).to_dict()["classes"]}
    small, large = told[1], told[16]
    assert small["improvement_percentage"] == pytest.approx(large["improvement_percentage"], abs=1.5)
    assert large["change"][1] > 10 * small["change"][1] > 0
    for each in (small, large):
        shares = [bound / 100 * each["baseline_mean"] for bound in each["change_percentage"]]
        assert (each["unit"], each["change"]) == ("h", pytest.approx(shares))


def test_all_intervals_hold_together_as_often_as_they_should():
    """Of 60 experiments without any difference, of which 3 may be wrong on average."""
    wrong = 0
    equal = dict.fromkeys((1, 2, 5, 9, 20), 1.0)
    # Of an examination the breakdown reads the metric, the arms and their shares, which are those of every seed.
    examined = examine(experiment(), frame(times=equal), None, START + pd.Timedelta("2D"))
    for seed in range(60):
        found = breakdowns(examined, frame(users_per_size=40, seed=seed, times=equal), None)["model_b"]
        wrong += any(each.finding.side in ("better", "worse") for each in found.classes)
    assert wrong <= 9  # more has a chance of 0.1 % where each is wrong with 5 %


def test_with_shadow_pairs_the_breakdown_is_of_the_same_pairs_as_the_verdict():
    rng = np.random.default_rng(3)
    sizes = np.repeat([1, 20], 80)
    a = 12.0 * sizes * (1.0 + 0.01 * rng.standard_normal(160))
    b = a * np.where(sizes == 1, 1.0 + 0.001 * rng.standard_normal(160), 0.9)
    pairs = pd.DataFrame(
        {
            "source": "shadow", "candidate": "model_b", "user_id": [f"u{number}" for number in range(160)],
            "request_id": [str(number) for number in range(160)], "key_a": "A", "key_b": "B", "makespan_a": a,
            "makespan_b": b, "success_a": True, "success_b": True, "lower_bound": 10.0 * sizes, "n_workpoints": sizes,
            "policy_makespan_a": a, "policy_makespan_b": b, "replay": None,
        }
    )  # fmt: skip
    found = broken_down(frame(), pairs, shadow=1.0)
    assert found.is_of_pairs
    told = {each.low: each.finding for each in found.classes}
    assert told[16].improvement == pytest.approx(0.1)
    assert (told[16].samples["model_b"], told[16].users["model_b"], told[16].side) == (80, 80, "better")
    assert told[1].side == "open"
    assert told[2].side == "unknown"


def test_results_report_and_command_line_have_it(mostly_words, tmp_path, capsys):
    client = create_app(Settings(home=tmp_path)).test_client()
    body = {
        "experiment_name": "sized",
        **MODELS,
        "guardrails": False,
        "traffic_split": {"model_a": 0.5, "model_b": 0.5},
    }
    assert client.post("/experiments", json=body).status_code == 201
    keys = {arm: client.get(f"/models/{model}").json["model"]["model_key"] for arm, model in MODELS.items()}
    monitor = PerformanceMonitor(tmp_path / "logs" / "performance.db")
    records = [
        PerformanceRecord(
            request_id=f"r{at}", user_id=row["user_id"], experiment="sized", variant=row["variant"], reason="assigned",
            model_key=keys[row["variant"]], makespan=row["makespan"], lower_bound=row["lower_bound"], gap=row["gap"],
            execution_time=0.001, n_workpoints=int(row["n_workpoints"]),
        )
        for at, row in enumerate(frame(users_per_size=300).to_dict("records"))
    ]  # fmt: skip
    monitor.record_performance(*records)
    monitor.close()
    told = client.get("/experiments/sized/results").json["results"]["by_size"]
    assert [each["side"] for each in told["classes"]][2:] == ["better", "unknown", "better"]
    large = told["classes"][-1]
    assert large["improvement_percentage"] == pytest.approx(10.0, abs=1.0)
    for lang, said in (("zh", "不作判定"), ("en", "decides nothing")):
        made = client.post("/reports/ab_test", json={"experiment_name": "sized", "lang": lang}).json["report"]
        page = client.get(f"/reports/{made}").text
        assert said in page
        assert f"{large['improvement_percentage']:.2f}" in page
    assert main(ABTestManager, ["results", "sized", "--home", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    assert "16 and more" in out
    assert f"{large['improvement_percentage']:.2f} %" in out

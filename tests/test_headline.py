"""The headline of results: the effect that the verdict rests on, and a contradiction by the raw means."""

import json
import math
from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
import pytest

from ab_testing import ABTestManager
from monitoring import PerformanceRecord
from scheduler_service.clock import to_iso
from scheduler_service.experiments.cli import main
from scheduler_service.experiments.examination import Examination, examine
from scheduler_service.experiments.experiment import Experiment
from scheduler_service.http.contract.experiments import Results
from scheduler_service.http.contract.figures import Contradiction
from scheduler_service.reporting.ab_test import ab_test_report
from scheduler_service.reporting.formatting import Formatter
from scheduler_service.reporting.page import html_of
from scheduler_service.stats.guardrails import check_guardrails
from scheduler_service.words import WORDS
from tests.pages import Page
from tests.parts import parts_over

BEGIN = datetime(2026, 11, 20, tzinfo=UTC)
NOW = BEGIN + timedelta(days=5)


def experiment(**options: object) -> Experiment:
    usual = {"name": "v1_vs_v2", "model_a": "DDQN_v1.0", "model_b": "DDQN_v2.0", "start_time": to_iso(BEGIN)}
    return Experiment.parse(usual | {"duration_days": 14, "min_samples": 30} | options)


def runs_of(users: int = 600, *, better: float = 0.0, failing: float = 0.0, plants_of_b: float = 1.0) -> pd.DataFrame:
    """One request per user, arms alternating; B is shorter by `better`, on plants `plants_of_b` times as large.

    B fails on the largest plants, in the given share of its requests.
    """
    rng = np.random.default_rng(users)
    is_b = np.arange(users) % 2 == 1
    bound = rng.uniform(30.0, 70.0, users) * np.where(is_b, plants_of_b, 1.0)
    makespan = bound * rng.uniform(1.05, 1.15, users) * np.where(is_b, 1.0 - better, 1.0)
    done = ~(is_b & (bound > np.quantile(bound[is_b], 1.0 - failing))) if failing else np.full(users, fill_value=True)
    return pd.DataFrame(
        {
            "timestamp": pd.Timestamp(BEGIN) + pd.to_timedelta(np.linspace(0.0, 90.0, users), unit="h").floor("us"),
            "model_key": np.where(is_b, "DDQN_5c1f0a2e_v2.0.0", "DDQN_1a2b3c4d_v1.0.0"),
            "variant": np.where(is_b, "model_b", "model_a"),
            "reason": "assigned",
            "user_id": [f"u{number}" for number in range(users)],
            "success": done,
            "makespan": np.where(done, makespan, np.nan),
            "policy_makespan": np.where(done, makespan, np.nan),
            "execution_time": rng.lognormal(-4.0, 0.4, users),
            "lower_bound": bound,
            "gap": np.where(done, makespan / bound - 1.0, np.nan),
            "resource_utilization": np.where(done, 0.6, np.nan),
            "user_satisfaction": np.nan,
        }
    )


def pairs_of(runs: pd.DataFrame, ratio: float) -> pd.DataFrame:
    """Every request by both models; B's makespan is about `ratio` times A's."""
    noise = np.random.default_rng(3).normal(0.0, 0.005, len(runs))
    known = runs["makespan"].fillna(60.0)
    return pd.DataFrame(
        {
            "timestamp": runs["timestamp"],
            "request_id": [f"pair-{number}" for number in range(len(runs))],
            "source": "shadow",
            "replay": None,
            "user_id": runs["user_id"],
            "candidate": "model_b",
            "key_a": "DDQN_1a2b3c4d_v1.0.0",
            "key_b": "DDQN_5c1f0a2e_v2.0.0",
            "makespan_a": known,
            "makespan_b": known * (ratio + noise),
            "policy_makespan_a": known,
            "policy_makespan_b": known * (ratio + noise),
            "success_a": True,
            "success_b": True,
            "lower_bound": runs["lower_bound"],
            "n_workpoints": pd.array([1] * len(runs), dtype="Int64"),
        }
    )


def seen(runs: pd.DataFrame, pairs: pd.DataFrame | None = None, **options: object) -> Examination:
    return examine(experiment(**options), runs, pairs, NOW)


FAILING = runs_of(failing=0.3)
SMALL_PLANTS = runs_of(better=-0.04, plants_of_b=0.8)


@pytest.mark.parametrize(
    ("runs", "causes"),
    [
        (FAILING, ["failures", "requests"]),  # the failed requests were the largest
        (SMALL_PLANTS, ["requests"]),
        (runs_of(better=0.04, plants_of_b=1.25), ["requests"]),
    ],
)
def test_opposite_signs_come_first_with_their_causes(runs, causes):
    data = seen(runs).to_dict()
    raw, effect = data["improvement_percentage"], data["anytime_effect"]["improvement_percentage"]
    assert raw * effect < 0.0, "the example"
    assert data["raw_means_contradict"] is True
    assert data["contradiction"]["causes"] == causes
    assert data["summary"].startswith(f"{data['contradiction']['message']} {data['verdict']}: ")
    figures = data["contradiction"]["text"]["params"]
    for figure, text in ((raw, figures["raw"]["params"]), (effect, figures["effect"]["params"])):
        assert text["by"] == pytest.approx(abs(figure) / 100.0)
        assert text["change"] == ("shorter" if figure > 0.0 else "longer")


def test_a_candidate_that_fails_on_the_largest_plants_is_worse_despite_shorter_means():
    """A result of "16.73 % better, significant" contradicted the verdict `worse`."""
    data = seen(FAILING).to_dict()
    assert (data["verdict"], data["is_significant"]) == ("worse", True)
    assert data["improvement_percentage"] > 9.0
    assert data["contradiction"]["failed_percentages"] == [0.0, pytest.approx(30.0)]
    raw_means = WORDS.say(*seen(FAILING).comparisons["model_b"].messages)
    parts = [data["contradiction"]["message"], data["verdict_sentence"], raw_means]
    places = [data["summary"].index(part) for part in parts]
    assert places == sorted(places)


def test_the_arms_requests_are_compared_by_their_lower_bounds():
    data = seen(SMALL_PLANTS).to_dict()["contradiction"]
    bounds = SMALL_PLANTS.groupby("variant")["lower_bound"].mean()
    assert data["requests_longer_percentage"] == pytest.approx(100 * (bounds["model_b"] / bounds["model_a"] - 1))


def test_without_a_contradiction_the_summary_starts_with_the_verdict_and_gives_the_raw_means():
    data = seen(runs_of(better=0.03)).to_dict()
    assert (data["raw_means_contradict"], data["contradiction"]) == (False, None)
    assert data["summary"].startswith(f"better: {data['verdict_sentence']} Raw means of successful runs")


def test_equal_arms_are_no_contradiction():
    runs = runs_of()
    runs[["makespan", "lower_bound"]] = [50.0, 45.0]
    data = seen(runs).to_dict()
    assert (data["improvement_percentage"], data["raw_means_contradict"]) == (0.0, False)


def test_an_impossible_comparison_is_no_contradiction():
    lost = FAILING[(FAILING["variant"] == "model_a") | (np.arange(len(FAILING)) % 3 == 0)]
    data = seen(lost).to_dict()
    assert data["verdict_reason"]["code"] == "ratio_mismatch"
    assert data["raw_means_contradict"] is False
    exchanged = FAILING.assign(model_key=np.where(np.arange(len(FAILING)) < 100, "DDQN_1_v0", FAILING["model_key"]))
    data = seen(exchanged).to_dict()
    assert data["verdict_reason"]["code"] == "model_changed"
    assert data["raw_means_contradict"] is False


def test_a_verdict_on_pairs_is_compared_with_the_raw_means():
    runs = runs_of(better=0.05)
    data = seen(runs, pairs_of(runs, 1.03), shadow=1.0).to_dict()
    assert (data["verdict_basis"], data["verdict"]) == ("pairs", "worse")
    assert data["improvement_percentage"] > 0.0
    assert data["contradiction"]["causes"][0] == "pairs"
    assert data["contradiction"]["effect_improvement_percentage"] == data["anytime_effect"]["improvement_percentage"]


def test_each_candidate_has_its_own_contradiction():
    runs = FAILING.copy()
    third = runs[runs["variant"] == "model_b"].assign(variant="model_c", model_key="DDQN_3c_v3.0.0", success=True)
    third = third.assign(user_id="c" + third["user_id"], makespan=third["lower_bound"] * 1.02)
    data = seen(pd.concat([runs, third]), model_c="DDQN_v3.0").to_dict()
    assert data["raw_means_contradict"] is True
    assert data["comparisons"]["model_c"]["raw_means_contradict"] is False


def test_for_a_metric_without_failures_or_plants_only_weighting_can_explain_a_contradiction():
    """A few slow requests dominate the mean, the others the geometric mean."""
    runs = runs_of()
    in_b = (runs["variant"] == "model_b").to_numpy()
    order = np.random.default_rng(5).random(len(runs))
    runs["execution_time"] = np.where(in_b, np.where(order < 0.02, 9.0, 0.010), 0.011 + 0.001 * order)
    data = seen(runs, success_metric="execution_time").to_dict()
    assert data["improvement_percentage"] < 0.0 < data["anytime_effect"]["improvement_percentage"]
    assert data["contradiction"]["causes"] == ["weights"]
    assert data["contradiction"]["requests_longer_percentage"] is None


# --- reports ---


def page_of(runs: pd.DataFrame, lang: str) -> str:
    return Page(html_of(ab_test_report(seen(runs), runs, None, (), BEGIN, NOW, lang))).text


def test_the_report_shows_it_before_the_verdict_in_both_languages(mostly_words):
    zh, en = page_of(FAILING, "zh"), page_of(FAILING, "en")
    assert zh.index("注意：原始均值与结论方向相反") < zh.index("B 不如 A") < zh.index("成功运行的原始均值（不计失败")
    assert "原始均值不含失败的运行（B 组失败 30 %，A 组 0 %）" in zh
    assert en.index("Note: the raw means and the verdict point in opposite directions") < en.index("B is worse than A")
    assert en.index("B is worse than A") < en.index("Raw means of successful runs (failures excluded")
    assert "opposite directions" not in page_of(runs_of(better=0.03), "en")


@pytest.mark.parametrize("value", [-0.004, -0.0, 0.0, 0.004, -1e-12])
def test_no_zero_has_a_sign(value):
    assert Formatter("en", UTC).signed_percent(value / 100.0) == "0.00 %"
    assert Formatter("en", UTC).signed_percent(-0.00005001) == "−0.01 %"


def test_guardrails_of_equal_arms_print_no_negative_zero(mostly_words):
    """Differences of a few millionths, as left by rounding."""
    runs = runs_of()
    runs["lower_bound"] = 45.0
    runs["makespan"] = 50.0 * np.where(runs["variant"] == "model_b", 1.0 - 1e-6, 1.0)
    zh = page_of(runs, "zh")
    assert "−0.00" not in zh
    assert "-0.00" not in seen(runs).to_dict()["summary"]


def test_guardrails_show_units_and_percent():
    margins = {"makespan": 0.05, "success": 0.05, "execution_time": 0.5}
    found = {each.name: each.to_dict() for each in check_guardrails(FAILING, margins, "model_a", "model_b")}
    units = {name: (each["margin_unit"], each["unit"], each["harm_limit"]) for name, each in found.items()}
    assert units == {
        "makespan": ("share_of_baseline", "share_of_baseline", 0.05),
        "success": ("share_of_requests", "share_of_requests", 0.05),
        "execution_time": ("share_of_baseline_percentile", "share_of_requests", 0.0),
    }
    assert not math.copysign(1.0, check_guardrails(runs_of(), margins, "model_a", "model_b")[1].to_dict()["harm"]) < 0.0
    for each in found.values():
        low, high = each["harm_bounds"]
        assert each["harm_percentage"] == pytest.approx(100.0 * each["harm"])
        assert each["harm_bounds_percentage"] == pytest.approx([100.0 * low, 100.0 * high])
        assert each["margin_percentage"] == pytest.approx(100.0 * each["margin"])
        breached, kept = low > each["harm_limit"], high < each["harm_limit"] or high == 0.0 == each["harm_limit"]
        assert each["state"] == ("breached" if breached else "kept" if kept else "undecided")


def test_the_results_fit_their_schema():
    assert Results.__required_keys__ - {"is_baseline_the_default", "rollout_decision", "by_size"} <= set(
        seen(FAILING).to_dict()
    )
    assert Contradiction.__required_keys__ == set(seen(FAILING).to_dict()["contradiction"])


def test_the_command_line_prints_it_first(tmp_path, capsys):
    parts = parts_over(tmp_path)
    keys = [parts.models.resolve(name) for name in ("DDQN_v1.0", "DDQN_v2.0")]
    parts.experiments.create_experiment("e", *keys, min_samples=30, guardrails=False)
    monitor = parts.monitor
    for row in FAILING.to_dict("records"):
        known = {} if not row["success"] else {"makespan": row["makespan"]}
        monitor.record_performance(
            PerformanceRecord(
                request_id=row["user_id"],
                model_key=keys[row["variant"] == "model_b"],
                experiment="e",
                variant=row["variant"],
                reason="assigned",
                user_id=row["user_id"],
                success=row["success"],
                lower_bound=row["lower_bound"],
                **known,
            )
        )
    monitor.close()
    commands = ["results", "e", "--home", str(tmp_path)]
    assert main(ABTestManager, [*commands, "--json"]) == 0
    output = json.loads(capsys.readouterr().out)
    assert main(ABTestManager, commands) == 0
    text = capsys.readouterr().out
    assert text.startswith(f"{output['contradiction']['message']}\n\nworse: ")

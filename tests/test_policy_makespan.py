"""The makespan of the model's own schedule: recorded for every run; distinguishes models with optimal answers."""

import json
import sqlite3
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ab_testing import ABTestManager
from monitoring import ABTestAnalyzer, PairRecord, PerformanceMonitor, PerformanceRecord
from scheduler_env.standard_cycle import SAMPLE_PARAMS
from scheduler_service.clock import to_iso
from scheduler_service.errors import InvalidInput
from scheduler_service.experiments.cli import main
from scheduler_service.experiments.examination import RUN_COLUMNS, examine
from scheduler_service.experiments.experiment import Experiment
from scheduler_service.experiments.planning import plan, planning_columns
from scheduler_service.experiments.rollout import decide
from scheduler_service.http.contract.runs import RunRequest
from scheduler_service.http.runs.caching import AnswerCache
from scheduler_service.http.runs.running import compute
from scheduler_service.reporting.ab_test import ab_test_report
from scheduler_service.reporting.evolution import course
from scheduler_service.reporting.page import html_of
from scheduler_service.stats.comparison import compare_arms
from scheduler_service.stats.guardrails import check_guardrails
from scheduler_service.stats.optimality import MIN_ANSWERS, PROVEN_GAP, PROVEN_SHARE
from scheduler_service.stats.pairs import judge_pairs
from scheduler_service.stats.verdict import judge
from scheduler_service.telemetry.history import latest_runs
from scheduler_service.telemetry.schema import SCHEMA_VERSION
from scheduler_service.words import WORDS
from tests.codes import coded
from tests.databases import write_database
from tests.pages import Page
from tests.parts import parts_over

SAMPLE = list(SAMPLE_PARAMS)
BEGIN = datetime(2026, 11, 20, tzinfo=UTC)
NOW = BEGIN + timedelta(days=5)
PLANNERS = 80
"""Enough users to distinguish the seed models in pairs of their own schedules."""


def experiment(**options: object) -> Experiment:
    usual = {"name": "v1_vs_v2", "model_a": "DDQN_v1.0", "model_b": "DDQN_v2.0", "start_time": to_iso(BEGIN)}
    return Experiment.parse(usual | {"duration_days": 14, "min_samples": 30} | options)


def optimal_runs(users=300, *, better=0.03, proven=1.0, failing=0.0, tight=True, seed=1) -> pd.DataFrame:
    """Both arms answer optima (a share `proven` of them proven); the candidate's own schedules are `better`."""
    rng = np.random.default_rng(seed)
    is_b = np.arange(users) % 2 == 1
    bound = rng.choice([20.0, 50.0, 90.0], users) * rng.uniform(0.8, 1.2, users)
    answered = bound if tight else bound * rng.uniform(1.0, 1.05, users)
    own = answered * (1.05 + rng.normal(0.0, 0.02, users)) * np.where(is_b, 1.0 - better, 1.0)
    done = ~(is_b & (rng.random(users) < failing))
    gap = np.where(rng.random(users) < proven, 0.0, 0.01)
    return pd.DataFrame(
        {
            "timestamp": pd.Timestamp(BEGIN) + pd.to_timedelta(np.linspace(0.0, 90.0, users), unit="h").floor("us"),
            "model_key": np.where(is_b, "DDQN_5c1f0a2e_v2.0.0", "DDQN_1a2b3c4d_v1.0.0"),
            "variant": np.where(is_b, "model_b", "model_a"),
            "reason": "assigned",
            "user_id": [f"u{number}" for number in range(users)],
            "success": done,
            "makespan": np.where(done, answered * (1.0 + gap), np.nan),
            "policy_makespan": np.where(done, own, np.nan),
            "execution_time": rng.lognormal(-4.0, 0.4, users),
            "lower_bound": bound,
            "gap": np.where(done, gap, np.nan),
            "resource_utilization": np.where(done, 0.6, np.nan),
            "user_satisfaction": np.nan,
        }
    )


def optimal_pairs(count: int = 100, *, better: float = 0.03, **columns: object) -> pd.DataFrame:
    rng = np.random.default_rng(count)
    bound = rng.choice([20.0, 50.0, 90.0], count) * rng.uniform(0.8, 1.2, count)
    own = bound * (1.05 + rng.normal(0.0, 0.02, count))
    pairs = pd.DataFrame(
        {
            "timestamp": pd.Timestamp(BEGIN) + pd.to_timedelta(np.linspace(0.0, 90.0, count), unit="h").floor("us"),
            "request_id": [f"pair-{number}" for number in range(count)],
            "source": "shadow",
            "replay": None,
            "user_id": [f"u{number}" for number in range(count)],
            "candidate": "model_b",
            "key_a": "DDQN_1a2b3c4d_v1.0.0",
            "key_b": "DDQN_5c1f0a2e_v2.0.0",
            "makespan_a": bound,
            "makespan_b": bound,
            "policy_makespan_a": own,
            "policy_makespan_b": own * (1.0 - better + rng.normal(0.0, 0.01, count)),
            "success_a": True,
            "success_b": True,
            "lower_bound": bound,
            "n_workpoints": pd.array([1] * count, dtype="Int64"),
        }
    )
    return pairs.assign(**columns)


def verdict_on(runs: pd.DataFrame, metric: str = "makespan", *, min_samples: int = 30):
    return judge(runs, compare_arms(runs, metric, min_samples=min_samples), 0.05)


# --- records and answers ---


def test_answer_and_record_have_the_makespan_of_the_models_own_schedule(service):
    request = {
        "workpoints": [{"id": str(n), "params": SAMPLE[n:] + SAMPLE[:n]} for n in range(3)],
        "model": "DDQN_v1.0",
    }
    own = service.run(**request, time_budget_ms=0)
    better = service.run(**request, time_budget_ms=300)
    result = better["performance"]
    assert result["policy_makespan"] == own["performance"]["policy_makespan"] >= own["result"]["makespan"]
    assert result["policy_makespan"] >= result["makespan"]
    record = service.get(f"/runs/{better['request_id']}").json()["run"]
    assert record["policy_makespan"] == result["policy_makespan"]
    listed = service.get("/runs?limit=1").json()["runs"][0]
    assert listed["policy_makespan"] == result["policy_makespan"]


def test_figures_trends_and_metrics_include_it(service):
    answer = service.run(params=SAMPLE, model="DDQN_v2.0")
    key = answer["experiment_info"]["model_used"]
    figures = service.get("/performance").json()["performance"]
    assert figures["policy_makespan"]["count"] >= 1
    assert figures["by_model"][key]["policy_makespan"]["min"] <= answer["performance"]["policy_makespan"]
    points = service.get(f"/performance/trends?hours=1&points=4&model_key={key}").json()["trends"]["points"]
    assert points[-1]["mean_policy_makespan"] >= points[-1]["mean_makespan"] - 1e-9
    assert f'schedule_policy_makespan_hours_count{{model="{key}"' in service.get("/metrics").text


def test_a_cached_answer_includes_it(tmp_path):
    parts, cache = parts_over(tmp_path), AnswerCache(10**7)
    request = RunRequest.model_validate({"params": SAMPLE, "time_budget_ms": 0})
    first, second = (compute(request, f"r{n}", parts.models, parts.experiments, 1_000, cache).run for n in range(2))
    assert (first.is_cached, second.is_cached) == (False, True)
    assert second.solution.policy_makespan_h == first.solution.policy_makespan_h


def test_a_failed_run_has_none_and_a_failed_side_may_have_none(monitor):
    monitor.record_performance(
        PerformanceRecord(request_id="r1", makespan=50.0, policy_makespan=52.0, timestamp=NOW),
        PerformanceRecord(request_id="r2", success=False, error_message="x", timestamp=NOW),
    )
    assert monitor.get_performance_data()["policy_makespan"].fillna(-1.0).tolist() == [52.0, -1.0]
    sides = {"key_a": "a", "key_b": "b", "success_a": True, "success_b": False, "makespan_a": 50.0}
    with pytest.raises(InvalidInput, check=coded("pair_failed")):
        PairRecord(request_id="r", source="shadow", candidate="model_b", policy_makespan_b=1.0, **sides)


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_exported_files_have_it_after_the_earlier_columns(monitor, tmp_path, suffix):
    monitor.record_performance(PerformanceRecord(request_id="r1", makespan=50.0, policy_makespan=52.5))
    path = tmp_path / f"runs{suffix}"
    monitor.export(path)
    read = pd.read_csv(path) if suffix == ".csv" else pd.read_parquet(path)
    assert read.columns[-2] == "policy_makespan"
    assert read["policy_makespan"].tolist() == [52.5]


def test_compacted_days_keep_its_sum_and_count(monitor):
    old = NOW - timedelta(days=40)
    for number, own in enumerate((52.0, 53.0, None)):
        one = PerformanceRecord(request_id=f"r{number}", makespan=50.0, policy_makespan=own, timestamp=old)
        monitor.record_performance(one)
    monitor.record_performance(PerformanceRecord(request_id="new", timestamp=NOW))
    monitor.upkeep.compact(NOW - timedelta(days=30))
    with sqlite3.connect(monitor.db_path) as connection:
        assert connection.execute("SELECT runs, policy_makespan_sum, policy_makespans FROM days").fetchall() == [
            (3, 105.0, 2)
        ]


# --- older databases ---


@pytest.fixture
def old(tmp_path):
    """A database without the column: ten runs of two models, one of them failed, four pairs, and the sums of a day."""
    path = write_database(tmp_path / "old.db", 3)
    opened = PerformanceMonitor(path, reports_dir=tmp_path / "reports", clock=lambda: NOW)
    yield opened
    opened.close()


def test_an_older_database_is_upgraded_and_reads_null(old):
    with sqlite3.connect(old.db_path) as connection:
        assert connection.execute("SELECT version FROM schema_version").fetchone() == (SCHEMA_VERSION,)
    runs = old.get_performance_data()
    assert len(runs) == 6
    assert runs["policy_makespan"].isna().all()
    assert old.get_pairs("e")[["policy_makespan_a", "policy_makespan_b"]].isna().all(axis=None)
    assert old.summary()["policy_makespan"]["mean"] is None
    assert [run["policy_makespan"] for run in latest_runs(old.engine, 10)] == [None] * 6
    old.record_performance(PerformanceRecord(request_id="new", makespan=50.0, policy_makespan=51.0))
    assert old.get_performance_data()["policy_makespan"].dropna().tolist() == [51.0]


def test_compacting_a_day_again_adds_the_known_values(old):
    day = datetime(2026, 10, 11, 20, tzinfo=UTC)
    late = PerformanceRecord(request_id="late", model_key="DDQN_a", makespan=50.0, policy_makespan=51.0, timestamp=day)
    old.record_performance(late)
    old.record_performance(PerformanceRecord(request_id="newest", timestamp=NOW))  # which is never compacted
    old.upkeep.compact(NOW - timedelta(days=30))
    with sqlite3.connect(old.db_path) as connection:
        query = "SELECT runs, policy_makespan_sum, policy_makespans FROM days ORDER BY model_key"
        assert connection.execute(query).fetchall() == [(3, 51.0, 1), (2, None, None)]


def test_runs_without_it_are_not_comparable_in_it(old):
    runs, pairs = old.get_performance_data(experiment="e", columns=RUN_COLUMNS), old.get_pairs("e")
    of = experiment(name="e", success_metric="policy_makespan", shadow=1.0, guardrails={"policy_makespan": 0.05})
    data = examine(of, runs, pairs, NOW).to_dict()
    json.dumps(data, allow_nan=False)
    assert (data["verdict"], data["verdict_reason"]["code"]) == ("invalid", "not_recorded")
    assert data["reasons"]["improvement_percentage"]["code"] == "not_recorded"
    assert data["cannot_tell"] is None
    assert data["verdict_reason"]["text"]["code"] == "reasons.pairs_not_recorded"
    assert [(each["name"], each["state"]) for each in data["guardrails"]] == [
        ("policy_makespan", "undecided"), ("requests", "undecided"),
    ]  # fmt: skip
    assert course(of, runs, pairs)["metric"] == "policy_makespan"
    on_users = examine(of.model_copy(update={"shadow": 0.0}), runs, None, NOW).to_dict()
    assert on_users["verdict_reason"]["code"] == "not_recorded"
    for lang, text in zip(("zh", "en"), pages_of(examine(of, runs, pairs, NOW), runs, pairs), strict=True):
        assert WORDS.text("reasons.pairs_not_recorded", {"metric": "policy_makespan"}, lang) in text


def test_a_plan_from_runs_without_it_has_a_reason(old):
    runs = old.get_performance_data(columns=planning_columns("policy_makespan"))
    data = plan(experiment(success_metric="policy_makespan"), 0.02, runs, NOW, None).to_dict()
    assert (data["reason"]["code"], data["days_needed"]) == ("not_recorded", None)


def test_failures_recorded_without_it_do_not_count_in_it():
    new = optimal_runs(400, better=0.0)
    before = optimal_runs(400, failing=0.9).assign(policy_makespan=np.nan)
    before["timestamp"] -= pd.Timedelta(days=10)
    both = pd.concat([before, new], ignore_index=True)
    assert verdict_on(both, "policy_makespan").effect == verdict_on(new, "policy_makespan").effect
    of = experiment(success_metric="policy_makespan")
    known = [plan(of, 0.02, runs, NOW, None).forecast.y for runs in (both, new)]
    np.testing.assert_array_equal(*known)


# --- as a metric ---


@pytest.mark.parametrize(("better", "word"), [(0.03, "better"), (-0.03, "worse")])
def test_an_experiment_on_it_distinguishes_models_with_optimal_answers(better, word):
    verdict = verdict_on(optimal_runs(400, better=better), "policy_makespan")
    assert verdict.word == word
    assert verdict.cannot_tell is None
    assert verdict.messages[0].code == f"verdicts.{word}"
    assert verdict.messages[0].params["metric"] == "policy_makespan"


def test_failures_are_penalised_in_it_as_in_the_makespan():
    assert verdict_on(optimal_runs(600, better=0.03, failing=0.3), "policy_makespan").word == "worse"


def test_as_a_guardrail_it_is_tested_only_if_configured():
    assert "policy_makespan" not in experiment().guardrails
    runs = optimal_runs(600, better=-0.2)
    (check,) = check_guardrails(runs, {"policy_makespan": 0.05}, "model_a", "model_b")
    assert (check.state, check.name) == ("breached", "policy_makespan")
    assert (check.text.params["metric"], check.text.params["way"]) == ("policy_makespan", "longer")
    better = check_guardrails(optimal_runs(600, better=0.2), {"policy_makespan": 0.05}, "model_a", "model_b")
    assert better[0].state == "kept"


def test_shadow_pairs_can_be_judged_by_it():
    of = experiment(success_metric="policy_makespan", shadow=1.0)
    data = examine(of, optimal_runs(40), optimal_pairs(200), NOW).to_dict()
    assert (data["verdict"], data["verdict_basis"]) == ("better", "pairs")
    paired = data["paired"]["shadow"]
    assert (paired["metric"], paired["verdict"], paired["cannot_tell"]) == ("policy_makespan", "better", None)
    assert paired["verdict_text"][0]["params"]["metric"] == "policy_makespan"


def test_the_most_lost_requests_have_both_makespans():
    (worst, *_) = judge_pairs(optimal_pairs(60, better=-0.1), margin=0.05, alpha=0.05, metric="policy_makespan").worst
    assert worst["ratio"] == pytest.approx(worst["policy_makespan_b"] / worst["policy_makespan_a"])
    assert worst["makespan_a"] == worst["makespan_b"]


def test_a_replay_can_be_judged_by_it(tmp_path, capsys):
    monitor = parts_over(tmp_path).monitor
    for user in range(PLANNERS):
        hours = [float(each) for each in np.random.default_rng(user).integers(2, 20, 15)]
        request = {"input_params": {"params": hours}, "time_budget_ms": 20.0}
        monitor.record_performance(PerformanceRecord(request_id=f"r{user}", user_id=f"u{user}", **request))
    monitor.close()
    models = ["--baseline", "DDQN_v1.0", "--candidate-model", "DDQN_v2.0"]
    command = ["replay", "--home", str(tmp_path), *models]
    assert main(ABTestManager, [*command, "--metric", "policy_makespan", "--json"]) == 0
    verdict = json.loads(capsys.readouterr().out)["verdict"]
    assert (verdict["metric"], verdict["pairs"]) == ("policy_makespan", PLANNERS)
    assert verdict["verdict"] == "better"
    assert main(ABTestManager, [*command, "--metric", "policy_makespan"]) == 0
    assert "policy_makespan model_b / model_a: 0.9" in capsys.readouterr().out
    pairs = PerformanceMonitor(tmp_path / "logs" / "performance.db", reports_dir=tmp_path).get_pairs()
    assert (pairs["policy_makespan_b"] >= pairs["makespan_b"] - 1e-9).all()


def test_pairs_are_judged_by_makespans_only():
    with pytest.raises(KeyError, match="makespan or policy_makespan"):
        judge_pairs(optimal_pairs(30), margin=0.05, alpha=0.05, metric="gap")


# --- unreachable verdicts ---


@pytest.mark.parametrize("metric", ["makespan", "gap"])
@pytest.mark.parametrize("tight", [True, False])
def test_an_unreachable_verdict_names_a_metric_that_can_decide(metric, tight):
    verdict = verdict_on(optimal_runs(400, tight=tight), metric)
    assert verdict.word in ("non_inferior", "inconclusive", "invalid")
    assert verdict.cannot_tell.to_dict()["code"] == "proven_optimal"
    assert verdict.cannot_tell.telling == "policy_makespan"
    assert verdict.cannot_tell.shares == {"model_a": 1.0, "model_b": 1.0}
    blocked = verdict.messages[-1]
    assert (blocked.code, blocked.params["metric"]) == ("verdicts.cannot_tell", metric)
    assert verdict.next_step().params["metric"] == "policy_makespan"
    assert (verdict.days_left.days, verdict.days_left.reason.reason) == (None, "cannot_tell")


def test_arms_whose_answers_all_equal_their_bound_are_non_inferior():
    verdict = verdict_on(optimal_runs(400))
    assert (verdict.word, verdict.reason) == ("non_inferior", None)
    assert [each.code for each in verdict.messages] == ["verdicts.equal", "verdicts.cannot_tell"]
    assert verdict.next_code == "cannot_tell_non_inferior"
    json.dumps(verdict.to_dict(), allow_nan=False)
    few, fewer = optimal_runs(60), optimal_runs(60).assign(gap=0.02)
    assert [verdict_on(runs, min_samples=25).word for runs in (few, fewer)] == ["non_inferior", "inconclusive"]


@pytest.mark.parametrize(
    "runs",
    [
        optimal_runs(400, proven=0.8),
        optimal_runs(2 * MIN_ANSWERS - 2),
        optimal_runs(400).assign(gap=lambda runs: np.where(runs["variant"] == "model_b", 0.01, 0.0)),
        optimal_runs(400).drop(columns="gap"),
        optimal_runs(400).assign(gap=10 * PROVEN_GAP),
    ],
    ids=["a fifth is not proven", "too few", "one arm is not optimal", "unknown", "nearly optimal"],
)
def test_arms_whose_answers_may_differ_are_not_called_equal(runs):
    verdict = verdict_on(runs)
    assert verdict.cannot_tell is None
    assert "verdicts.cannot_tell" not in [each.code for each in verdict.messages]


def test_the_limit_is_a_share_of_each_arm():
    runs = optimal_runs(400)
    of_b = runs.index[runs["variant"] == "model_b"]
    allowed = round((1.0 - PROVEN_SHARE) * len(of_b))
    runs.loc[of_b[:allowed], "gap"] = 0.01
    assert verdict_on(runs).cannot_tell.shares["model_b"] == pytest.approx(PROVEN_SHARE)
    runs.loc[of_b[: allowed + 1], "gap"] = 0.01
    assert verdict_on(runs).cannot_tell is None


def test_other_metrics_are_not_affected():
    for metric in ("execution_time", "success", "policy_makespan"):
        assert verdict_on(optimal_runs(400, better=0.0), metric).cannot_tell is None


def test_a_wrong_split_takes_precedence():
    runs = optimal_runs(600)
    runs = runs[(runs["variant"] == "model_a") | (runs.index % 4 == 1)]
    data = examine(experiment(), runs, None, NOW).to_dict()
    assert (data["verdict_reason"]["code"], data["cannot_tell"]) == ("ratio_mismatch", None)


def test_a_candidate_that_fails_more_often_is_not_non_inferior_because_of_optima():
    verdict = verdict_on(optimal_runs(800, failing=0.3), "gap")
    assert verdict.failing.is_certain
    assert verdict.word == "invalid"
    assert verdict.next_code == "failing"


def test_pairs_of_proven_optima_are_called_equal_too():
    verdict = judge_pairs(optimal_pairs(60), margin=0.05, alpha=0.05)
    assert (verdict.word, verdict.cannot_tell.telling) == ("identical", "policy_makespan")
    assert [each.code for each in verdict.messages] == ["verdicts.equal_lengths", "verdicts.cannot_tell"]
    assert (verdict.next_code, verdict.next_step().params["metric"]) == ("cannot_tell", "policy_makespan")
    result = judge_pairs(optimal_pairs(200), margin=0.05, alpha=0.05, metric="policy_makespan")
    assert (result.word, result.cannot_tell) == ("better", None)


def test_a_model_against_itself_is_reported_as_identical_only():
    one = optimal_pairs(60).assign(key_b="DDQN_1a2b3c4d_v1.0.0")
    verdict = judge_pairs(one, margin=0.05, alpha=0.05)
    assert (verdict.word, verdict.cannot_tell) == ("identical", None)


def test_pairs_without_it_are_invalid_in_it_and_not_identical():
    bare = optimal_pairs(60, policy_makespan_a=np.nan, policy_makespan_b=np.nan)
    bare.loc[:3, ["success_a", "success_b"]] = False
    verdict = judge_pairs(bare, margin=0.05, alpha=0.05, metric="policy_makespan")
    assert (verdict.word, verdict.reason.reason, verdict.pairs) == ("invalid", "not_recorded", 0)


# --- guardrails and rollouts ---


def pages_of(examined, runs, pairs=None):
    """The text of the report in Chinese and in English."""
    reports = (ab_test_report(examined, runs, pairs, (), BEGIN, NOW, lang) for lang in ("zh", "en"))
    return [Page(html_of(report)).text for report in reports]


def test_the_makespan_guardrail_is_kept_if_both_arms_answer_optima():
    (check,) = check_guardrails(optimal_runs(400), {"makespan": 0.05}, "model_a", "model_b")
    assert (check.state, check.harm) == ("kept", pytest.approx(0.0, abs=1e-9))
    json.dumps(check.to_dict(), allow_nan=False)


def test_larger_plants_in_one_arm_breach_nothing_if_both_answer_their_bounds():
    runs = optimal_runs(400)
    larger = np.where(runs["variant"] == "model_b", 1.5, 1.0)
    runs = runs.assign(makespan=runs["makespan"] * larger, lower_bound=runs["lower_bound"] * larger)
    (check,) = check_guardrails(runs, {"makespan": 0.05}, "model_a", "model_b")
    assert check.state == "kept"


def test_identical_plants_are_kept_if_proven_and_undecided_otherwise():
    runs = optimal_runs(80).assign(lower_bound=50.0, makespan=50.0)
    assert check_guardrails(runs, {"makespan": 0.05}, "model_a", "model_b")[0].state == "kept"
    unproven = runs.assign(gap=0.02)
    assert check_guardrails(unproven, {"makespan": 0.05}, "model_a", "model_b")[0].state == "undecided"


def test_a_rollout_waiting_for_an_unreachable_verdict_says_so():
    ramp = {"stages": [0.5, 1.0], "min_hours": 0.0, "min_samples": 20}
    of = experiment(rollout=ramp, guardrails={"makespan": 0.05, "success": 0.5})
    examined = examine(of, optimal_runs(600), None, NOW)
    decision = decide(of.rollout, examined.evidence(is_baseline_the_default=True), NOW)
    assert decision.kind == "hold"
    assert [each.code for each in decision.reasons] == ["rollout.waiting", "verdicts.cannot_tell"]
    assert "the makespan of the model's own schedule" in decision.reason
    own = experiment(rollout=ramp, guardrails={"makespan": 0.05, "success": 0.5}, success_metric="policy_makespan")
    result = examine(own, optimal_runs(600), None, NOW)
    assert decide(own.rollout, result.evidence(is_baseline_the_default=True), NOW).kind == "promote"


def test_the_results_state_what_a_rollout_waits_for(tmp_path):
    manager = ABTestManager(tmp_path / "ab_test_config.json", clock=lambda: BEGIN)
    manager.config["default_model"] = "DDQN_v1.0"
    ramp = {"stages": [0.5, 1.0], "min_hours": 0.0, "min_samples": 20}
    manager.create_experiment("e", "DDQN_v1.0", "DDQN_v2.0", min_samples=30, rollout=ramp, guardrails=False)
    result = manager.results("e", optimal_runs(600))
    assert result["rollout_decision"]["kind"] == "hold"
    assert "proven optimal" in result["rollout_decision"]["reason"]
    assert result["cannot_tell"]["telling_metric"] == "policy_makespan"
    manager.pause_experiment("e")
    assert manager.results("e", optimal_runs(600))["rollout_decision"] is None


# --- reports ---


def test_the_report_explains_it_in_both_languages(mostly_words):
    runs = optimal_runs(600)
    examined = examine(experiment(), runs, None, NOW)
    zh, en = pages_of(examined, runs)
    assert "两组的应答几乎都已证明最优（A 100 %，B 100 %），再多的数据也无法按总工期分出高下" in zh
    assert "B 与 A 没有差别：总工期持平" in zh
    step = examined.next_step("model_b")
    assert (step.code, step.params["metric"]) == ("next.cannot_tell_non_inferior", "policy_makespan")
    for lang, text in (("zh", zh), ("en", en)):
        assert WORDS.say(*examined.judged("model_b").messages, lang=lang) in text
        assert WORDS.say(step, lang=lang) in text


def test_a_classical_difference_of_optima_is_attributed_to_the_requests(mostly_words):
    """Larger plants in one arm make its mean makespan significantly longer, whatever the models do."""
    runs = optimal_runs(600)
    larger = runs["variant"] == "model_b"
    runs.loc[larger, ["makespan", "lower_bound"]] *= 1.2
    examined = examine(experiment(), runs, None, NOW)
    data = examined.to_dict()
    assert data["is_significant"], "by the contract's formula, which ignores proofs"
    assert data["verdict"] == "non_inferior"
    assert data["raw_means_text"][-1]["code"] == "raw_means.of_requests"
    assert data["summary"].endswith(WORDS.text("raw_means.of_requests"))
    zh, en = pages_of(examined, runs)
    assert WORDS.text("raw_means.of_requests", lang="zh") in zh
    assert WORDS.text("raw_means.of_requests") in en
    unproven = runs.assign(gap=0.02, lower_bound=runs["makespan"] / 1.02)
    means = examine(experiment(), unproven, None, NOW).to_dict()["raw_means_text"]
    assert "raw_means.of_requests" not in [each["code"] for each in means]


def test_a_report_on_it_names_it_everywhere(mostly_words):
    runs, pairs = optimal_runs(600), optimal_pairs(200)
    of = experiment(success_metric="policy_makespan", shadow=1.0, guardrails={"policy_makespan": 0.05})
    examined = examine(of, runs, pairs, NOW)
    zh, en = pages_of(examined, runs, pairs)
    assert "B 优于 A：模型自身排程的总工期平均缩短" in zh
    assert "模型自身排程的总工期延长" in zh
    assert WORDS.text("experiments.pairs.differences", {"metric": "policy_makespan"}, "zh") in zh
    assert "makespan of the model's own schedule" in en
    lost = optimal_pairs(100, better=-0.1)
    assert "A 的模型自身排程的总工期 B 的模型自身排程的总工期" in pages_of(examine(of, runs, lost, NOW), runs, lost)[0]


def test_pairs_of_an_experiment_on_another_metric_are_reported_in_makespans(mostly_words):
    runs, pairs = optimal_runs(600), optimal_pairs(100, better=0.0)
    pairs = pairs.assign(makespan_b=pairs["makespan_b"] * np.linspace(0.94, 0.98, 100))
    examined = examine(experiment(success_metric="execution_time", shadow=1.0), runs, pairs, NOW)
    assert "B 优于 A：总工期平均缩短" in pages_of(examined, runs, pairs)[0]


def test_the_performance_report_shows_it_by_model(mostly_words, monitor):
    for number in range(30):
        one = PerformanceRecord(
            request_id=f"r{number}", model_key="DDQN_1a2b3c4d_v1.0.0", makespan=50.0, policy_makespan=57.25, gap=0.0
        )
        monitor.record_performance(one)
    page = Page(Path(monitor.generate_performance_report()).read_text("utf-8")).text
    assert WORDS.text("reports.policy_makespan", lang="zh") in page
    assert "57.25" in page or "57.3" in page


def test_an_ab_report_of_older_records_is_created(old, tmp_path):
    config = tmp_path / "ab_test_config.json"
    manager = ABTestManager(config, clock=lambda: BEGIN)
    manager.create_experiment("e", "DDQN_a", "DDQN_b", success_metric="policy_makespan", shadow=True)
    path = ABTestAnalyzer(old, config_path=config).generate_ab_test_report("e", days=30)
    assert "早于模型自身排程的总工期开始记录之时" in Path(path).read_text("utf-8")

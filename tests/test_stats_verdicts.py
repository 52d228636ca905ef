"""The verdict: its word, reasons and advice; directions, failures, several candidates."""

import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from scheduler_service.stats.arms import FAILED_RATIO
from scheduler_service.stats.comparison import compare_arms
from scheduler_service.stats.metrics import METRICS
from scheduler_service.stats.outcome import NotComputable
from scheduler_service.stats.verdict import judge
from scheduler_service.words import WORDS

EQUAL = {"model_a": 0.5, "model_b": 0.5}


def make_runs(n=200, ratio=1.0, seed=0, sizes=True, candidate="model_b", noise=0.03, failing=0.0):
    """One run of each of `n` users per arm; the candidate's makespans are `ratio` times those of the baseline."""
    rng = np.random.default_rng(seed)
    is_b = np.arange(2 * n) % 2 == 1
    bound = np.where(sizes, rng.choice([30.0, 60.0, 120.0], 2 * n), 50.0) * rng.uniform(0.9, 1.1, 2 * n)
    makespan = bound * 1.25 * np.exp(rng.normal(0, noise, 2 * n)) * np.where(is_b, ratio, 1.0)
    success = ~(is_b & (rng.random(2 * n) < failing))
    return pd.DataFrame(
        {
            "variant": np.where(is_b, candidate, "model_a"),
            "user_id": [f"u{number}" for number in range(2 * n)],
            "success": success,
            "makespan": np.where(success, makespan, np.nan),
            "lower_bound": bound,
        }
    )


def verdict_on(runs, metric="makespan", *, margin=0.05, days_until=lambda users: users / 10.0, **options):
    return judge(runs, compare_arms(runs, metric, **{"min_samples": 10, **options}), margin, days_until)


def codes(verdict):
    return [each.code for each in verdict.messages]


# --- words ---


@pytest.mark.parametrize(
    ("ratio", "word"),
    [(0.95, "better"), (1.05, "worse"), (1.0, "non_inferior"), (1.045, "worse"), (0.999, "non_inferior")],
)
def test_the_verdict_follows_bounds_and_margin(ratio, word):
    assert verdict_on(make_runs(600, ratio)).word == word


def test_too_wide_bounds_are_inconclusive():
    verdict = verdict_on(make_runs(30, 1.0, noise=0.2))
    assert verdict.word == "inconclusive"
    assert verdict.effect.low < -0.05 < 0 < verdict.effect.high
    assert codes(verdict) == ["verdicts.inconclusive"]
    assert verdict.next_code == "inconclusive"


@pytest.mark.parametrize("metric", list(METRICS))
def test_a_better_candidate_is_better_in_either_direction_of_the_metric(metric):
    rng = np.random.default_rng(3)
    low, high = rng.uniform(0.2, 0.4, 200), rng.uniform(0.6, 0.8, 200)
    if metric == "success":
        low, high = rng.random(200) < 0.5, rng.random(200) < 0.95
    elif metric == "user_satisfaction":
        low, high = np.tile([1.0, 2.0, 3.0, 2.0], 50), np.tile([5.0, 4.0, 4.0, 3.0], 50)
    better, worse = (low, high) if metric in {"makespan", "policy_makespan", "execution_time", "gap"} else (high, low)

    def arms_of(a, b):
        runs = pd.DataFrame({"variant": ["model_a"] * 200 + ["model_b"] * 200, "user_id": range(400), "success": True})
        return runs.assign(**{metric: np.concatenate([a, b])})

    forward, backward = verdict_on(arms_of(worse, better), metric), verdict_on(arms_of(better, worse), metric)
    assert (forward.word, backward.word) == ("better", "worse")
    assert 0 < forward.effect.low < forward.effect.improvement < forward.effect.high
    assert backward.effect.low < backward.effect.improvement < backward.effect.high < 0
    assert (forward.next_code, backward.next_code) == ("better", "worse")


def test_the_improvement_is_the_ratio_of_geometric_means_measured_by_the_bounds():
    runs = make_runs(300, 0.97)
    effect = verdict_on(runs).effect
    excess = runs["makespan"] / runs["lower_bound"]
    a, b = (excess[runs["variant"] == arm] for arm in ("model_a", "model_b"))
    assert effect.improvement == pytest.approx(1 - stats.gmean(b) / stats.gmean(a))
    assert effect.standard_error == pytest.approx(math.hypot(stats.sem(np.log(a)), stats.sem(np.log(b))))
    logs = np.log(runs[["makespan", "lower_bound"]])
    assert effect.correlation == pytest.approx(stats.pearsonr(logs["makespan"], logs["lower_bound"]).statistic)


def test_equal_models_at_90_to_10_with_rare_failures_are_not_called_better():
    """Before the few users of the small arm have a failure, their variance underestimates the error."""
    rng = np.random.default_rng(4)
    wrong = 0
    for _ in range(25):
        runs = make_runs(100, noise=0.01)
        runs["variant"] = np.where(rng.random(200) < 0.1, "model_b", "model_a")
        runs["success"] = rng.random(200) > 0.03
        words = {verdict_on(runs.head(n), split={"model_a": 0.9, "model_b": 0.1}).word for n in (100, 200)}
        wrong += not words.isdisjoint({"better", "worse"})
    assert wrong / 25 <= 0.05


def test_one_sided_bounds_are_tighter_than_two_sided_ones_and_ordered():
    evidence = verdict_on(make_runs(200, 0.98)).effect.evidence
    assert evidence.low(0.025) < evidence.low(0.05) < evidence.estimate < evidence.high(0.05) < evidence.high(0.025)


# --- invalid ---


def test_a_split_mismatch_is_invalid_for_any_difference():
    runs = make_runs(400, 0.8)
    runs = runs[(runs["variant"] == "model_a") | (np.arange(len(runs)) % 4 == 1)]
    verdict = verdict_on(runs, split=EQUAL)
    assert (verdict.word, verdict.reason.reason) == ("invalid", "ratio_mismatch")
    assert verdict.reason.text.params["users"] == "400 / 200"
    assert verdict.next_code == "ratio_mismatch"


def test_too_few_samples_are_invalid():
    verdict = verdict_on(make_runs(99, 0.8), min_samples=100)
    assert (verdict.word, verdict.reason.reason) == ("invalid", "too_few_samples")
    assert verdict.next_code == "inconclusive"


def test_many_requests_of_few_users_count_as_few_users():
    runs = make_runs(3, 0.8)
    verdict = verdict_on(pd.concat([runs] * 20))
    assert (verdict.word, verdict.effect.units) == ("inconclusive", 6)


@pytest.mark.parametrize(("users", "word"), [(5, "inconclusive"), (100, "worse")])
def test_identical_plants_are_judged_by_the_number_of_users(users, word):
    """Nothing varies within an arm, but distinguishing the arms from chance still needs users."""
    runs = make_runs(users).assign(makespan=55.0, lower_bound=50.0)
    runs.loc[runs["variant"] == "model_b", "makespan"] *= 1.1
    verdict = verdict_on(runs, min_samples=2)
    assert verdict.word == word
    assert verdict.effect.low < verdict.effect.improvement == pytest.approx(-0.1)
    assert verdict.effect.standard_error == pytest.approx(0.0, abs=1e-12)


@pytest.mark.parametrize("metric", list(METRICS))
@pytest.mark.parametrize("min_samples", [10, 1_000])
def test_a_candidate_that_always_fails_is_worse_before_it_has_a_sample(metric, min_samples):
    runs = make_runs(15, failing=1.0).assign(user_satisfaction=np.nan)
    for name in METRICS.keys() - {"makespan", "success", "user_satisfaction"}:
        runs[name] = np.where(runs["success"], 0.3, np.nan)
    if metric == "user_satisfaction":
        runs[metric] = np.where(runs["success"], 3.0, np.nan)
    verdict = verdict_on(runs, metric, min_samples=min_samples)
    assert (verdict.word, verdict.reason) == ("worse", None)
    assert verdict.next_code == "worse"
    assert verdict.days_left.reason.reason == "decided"


def test_worse_needs_no_minimum_of_samples_and_better_does():
    assert verdict_on(make_runs(99, 1.25), min_samples=100).word == "worse"
    assert verdict_on(make_runs(99, 0.8), min_samples=100).word == "invalid"


@pytest.mark.parametrize("metric", list(METRICS))
def test_a_column_without_values_has_a_reason_and_does_not_crash(metric):
    runs = make_runs(60).assign(**{metric: np.nan})
    if metric == "success":
        runs["success"] = False
    verdict = verdict_on(runs, metric)
    assert verdict.word == "invalid"
    assert verdict.to_dict()["anytime_effect"] is None


def test_no_data_is_invalid():
    verdict = verdict_on(make_runs(60).head(0))
    assert (verdict.word, verdict.reason.reason) == ("invalid", "too_few_units")
    assert verdict.days_left.days is None


@pytest.mark.parametrize("ratio", [0.9, 1.0, 1.1, None])
@pytest.mark.parametrize("failing", [0.0, 0.2])
def test_every_text_consists_of_complete_sentences(ratio, failing):
    verdict = verdict_on(make_runs(200 if ratio else 5, ratio or 1.0, failing=failing))
    for text in (verdict.sentence, WORDS.say(verdict.next_step())):
        assert text.endswith(".")
        assert not text.endswith("..")
        assert ".." not in text
        assert "nan" not in text


# --- users, bounds, failures ---


def test_without_bounds_the_verdict_uses_the_makespans_alone():
    runs = make_runs(300, 0.9, sizes=False)
    for bare in (runs.assign(lower_bound=np.nan), runs.drop(columns="lower_bound")):
        verdict = verdict_on(bare)
        assert verdict.word == "better"
        assert verdict.effect.correlation is None


def test_runs_without_a_bound_count():
    runs = make_runs(300, 0.9)
    runs.loc[::7, "lower_bound"] = np.nan
    assert verdict_on(runs).effect.units == 600


def test_a_failed_run_without_a_bound_is_penalised():
    """The service knows no bound of a failed run."""
    runs = make_runs(200, failing=0.3)
    runs["lower_bound"] = runs["lower_bound"].where(runs["success"])
    verdict = verdict_on(runs)
    assert verdict.effect.units == 400
    assert verdict.word == "worse"
    # 30 % of the runs are FAILED_RATIO / 1.25 times as long as the others
    assert verdict.effect.improvement == pytest.approx(1 - (FAILED_RATIO / 1.25) ** 0.3, abs=0.04)


def test_a_candidate_that_answers_only_easy_requests_is_reported_as_failing_more_often_first():
    verdict = verdict_on(make_runs(300, 0.82, failing=0.1))
    assert codes(verdict) == ["verdicts.failing_certainly", "verdicts.held_back", "verdicts.penalised"]
    rates = verdict.messages[0].params
    assert 0.8 < rates["ours"] < rates["theirs"] == 1.0
    assert verdict.next_code == "failing"


def test_a_few_more_failures_are_called_probable():
    runs = make_runs(300, 0.9)
    runs.loc[runs.index[runs["variant"] == "model_b"][40:44], "success"] = False
    verdict = verdict_on(runs)
    assert codes(verdict)[:2] == ["verdicts.failing_probably", "verdicts.better"]
    assert verdict.next_code == "better"


@pytest.mark.parametrize("metric", ["makespan", "success"])
def test_failures_are_not_mentioned_if_not_more_frequent_or_if_success_is_the_metric(metric):
    runs = make_runs(300)
    if metric == "success":
        runs["success"] = runs.index % 2 == 0
    else:
        runs.loc[::31, "success"] = False
    assert not any("failing" in code for code in codes(verdict_on(runs, metric)))


# --- several candidates ---


def test_any_arm_can_be_the_candidate():
    runs = pd.concat([make_runs(300, 1.1), make_runs(300, 0.9, candidate="model_c", seed=1)])
    runs["user_id"] = range(len(runs))
    split = {"model_a": 0.5, "model_b": 0.25, "model_c": 0.25}
    assert verdict_on(runs, split=split).word == "worse"
    verdict = verdict_on(runs, candidate="model_c", split=split)
    assert verdict.word == "better"
    assert (codes(verdict), verdict.messages[0].params["b"]) == (["verdicts.better"], "model_c")


def test_a_smaller_alpha_widens_the_bounds():
    runs = make_runs(300, 0.97)
    one, half = (verdict_on(runs, alpha=alpha).effect for alpha in (0.05, 0.025))
    assert half.low < one.low < one.high < half.high
    assert half.improvement == one.improvement


def test_a_baseline_of_zero_allows_no_relative_change():
    runs = make_runs(50).assign(gap=np.where(make_runs(50)["variant"] == "model_a", 0.0, 0.1))
    verdict = verdict_on(runs, "gap")
    assert (verdict.word, verdict.reason.reason) == ("invalid", "baseline_not_positive")


# --- remaining days and small differences ---


def test_the_projected_users_are_those_at_which_the_bounds_exclude_no_difference():
    """Continues with the same users repeated; here days are users."""
    runs = make_runs(150, 0.9875, seed=5)
    verdict = verdict_on(runs, days_until=float)
    assert verdict.word in {"non_inferior", "inconclusive"}
    days = verdict.days_left
    assert days.low < days.days < days.high
    assert verdict.next_step().params["days"].params["days"] == days.message
    assert days.message.params == {"low": math.ceil(days.low), "high": math.ceil(days.high)}

    def word_with(users):
        copies = [runs.assign(user_id=runs["user_id"] + f"_{copy}") for copy in range(math.ceil(users / 300))]
        return verdict_on(pd.concat(copies).head(math.ceil(users))).word

    assert word_with(1.1 * days.days) == "better"
    assert word_with(0.7 * days.days) != "better"


@pytest.mark.parametrize(
    ("runs", "days_until", "code"),
    [
        (make_runs(600, 0.9), float, "decided"),
        (make_runs(100, 1.0, noise=0.1, seed=1), float, "no_difference_yet"),
        (make_runs(150, 0.9875, seed=5), lambda users: None, "too_few_units"),
        (make_runs(150, 0.9875, seed=5), NotComputable("not_running", status="paused"), "not_running"),
        (make_runs(20).head(0), float, "too_few_units"),
    ],
)
def test_without_a_basis_there_is_a_reason_instead_of_days(runs, days_until, code):
    data = verdict_on(runs, days_until=days_until).to_dict()
    assert (data["projected_days_left"], data["projected_days_left_range"]) == (None, None)
    assert data["projected_days_left_reason"]["code"] == code


def test_the_range_of_days_is_open_if_the_worse_end_is_never_reached():
    result = verdict_on(make_runs(150, 0.9875, seed=5), days_until=lambda users: users / 10 if users < 1_000 else None)
    low, high = result.to_dict()["projected_days_left_range"]
    assert low < result.days_left.days
    assert high is None


@pytest.mark.parametrize("metric", ["makespan", "gap", "execution_time", "resource_utilization"])
def test_a_candidate_that_certainly_fails_more_often_is_not_better(metric):
    runs = make_runs(300, 0.82, failing=0.1)
    is_b = runs["variant"] == "model_b"
    better = np.where(is_b, 2.0, 1.0) if metric == "resource_utilization" else np.where(is_b, 1.0, 2.0)
    values = 0.1 * better * np.random.default_rng(3).uniform(0.9, 1.1, len(runs))
    runs = runs if metric == "makespan" else runs.assign(**{metric: np.where(runs["success"], values, np.nan)})
    verdict = verdict_on(runs, metric)
    assert verdict.failing.is_certain
    assert verdict.word == "inconclusive"
    assert codes(verdict)[0] == "verdicts.failing_certainly"
    assert verdict.next_code == "failing"


@pytest.mark.parametrize("arm", ["model_a", "model_b"])
def test_a_few_answers_without_a_bound_change_nothing_and_many_are_compared_directly(arm):
    runs = make_runs(300, 0.95)
    mine = runs.index[runs["variant"] == arm]
    whole = verdict_on(runs).effect
    few = runs.assign(lower_bound=runs["lower_bound"].mask(runs.index.isin(mine[:20])))
    assert verdict_on(few).effect.improvement == pytest.approx(whole.improvement, abs=0.005)
    assert verdict_on(few).word == "better"
    many = verdict_on(runs.assign(lower_bound=runs["lower_bound"].mask(runs.index.isin(mine[:60])))).effect
    assert many.correlation is None
    assert many.high - many.low > 3.0 * (whole.high - whole.low)

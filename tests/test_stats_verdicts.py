"""The verdict: which word, why, and what it says to do; directions, failures, many candidates."""

import math

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm

from scheduler_service.stats.arms import FAILED_RATIO, user_means_on_scale
from scheduler_service.stats.comparison import compare_arms
from scheduler_service.stats.effect import LEAST_USERS, TUNED_FOR, effect_of_arms, to_improvement, to_scale
from scheduler_service.stats.metrics import METRICS
from scheduler_service.stats.sequential import boundary
from scheduler_service.stats.verdict import MAX_DAYS, judge

EQUAL = {"model_a": 0.5, "model_b": 0.5}


def make_runs(n=200, ratio=1.0, seed=0, sizes=True, candidate="model_b", noise=0.03, failing=0.0):
    """One run of each of `n` users an arm; the candidate's makespans are `ratio` times those of the baseline."""
    rng = np.random.default_rng(seed)
    is_b = np.arange(2 * n) % 2 == 1
    bound = np.where(sizes, rng.choice([30.0, 60.0, 120.0], 2 * n), 50.0) * rng.uniform(0.9, 1.1, 2 * n)
    makespan = bound * 1.1 * np.exp(rng.normal(0, noise, 2 * n)) * np.where(is_b, ratio, 1.0)
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


def verdict_on(runs, metric="makespan", *, margin=0.05, days=10.0, **options):
    return judge(runs, compare_arms(runs, metric, **{"min_samples": 10, **options}), margin, days)


# --- words ---


@pytest.mark.parametrize(
    ("ratio", "word"),
    [(0.95, "better"), (1.05, "worse"), (1.0, "non_inferior"), (1.045, "worse"), (0.999, "non_inferior")],
)
def test_the_word_follows_the_bounds_and_the_margin(ratio, word):
    assert verdict_on(make_runs(600, ratio)).word == word


def test_too_wide_bounds_are_inconclusive():
    verdict = verdict_on(make_runs(30, 1.0, noise=0.2))
    assert verdict.word == "inconclusive"
    assert verdict.effect.low < -0.05 < 0 < verdict.effect.high
    assert "cannot be told from" in verdict.sentence
    assert "do not promote" in verdict.recommendation


@pytest.mark.parametrize("metric", list(METRICS))
def test_what_is_better_is_better_whichever_way_the_metric_points(metric):
    rng = np.random.default_rng(3)
    low, high = rng.uniform(0.2, 0.4, 200), rng.uniform(0.6, 0.8, 200)
    if metric == "success":
        low, high = rng.random(200) < 0.5, rng.random(200) < 0.95
    better, worse = (low, high) if metric in {"makespan", "policy_makespan", "execution_time", "gap"} else (high, low)

    def arms_of(a, b):
        runs = pd.DataFrame({"variant": ["model_a"] * 200 + ["model_b"] * 200, "user_id": range(400), "success": True})
        return runs.assign(**{metric: np.concatenate([a, b])})

    forward, backward = verdict_on(arms_of(worse, better), metric), verdict_on(arms_of(better, worse), metric)
    assert (forward.word, backward.word) == ("better", "worse")
    assert 0 < forward.effect.low < forward.effect.improvement < forward.effect.high
    assert backward.effect.low < backward.effect.improvement < backward.effect.high < 0
    assert forward.recommendation == "Promote model_b."
    assert backward.recommendation == "Stop the experiment and keep model_a."


def test_the_improvement_is_the_ratio_of_geometric_means_adjusted_as_by_a_regression():
    runs = make_runs(300, 0.97)
    verdict = verdict_on(runs)
    design = sm.add_constant(np.column_stack([runs["variant"] == "model_b", np.log(runs["lower_bound"])]).astype(float))
    fit = sm.OLS(np.log(runs["makespan"]), design).fit()
    assert verdict.effect.improvement == pytest.approx(-math.expm1(fit.params.iloc[1]), abs=2e-4)
    assert verdict.effect.standard_error == pytest.approx(fit.bse.iloc[1], rel=0.02)
    radius = fit.bse.iloc[1] * boundary(np.array([600.0]), 0.05, TUNED_FOR, sides=2)[0]
    assert verdict.effect.low == pytest.approx(-math.expm1(fit.params.iloc[1] + radius), abs=5e-4)
    assert verdict.effect.correlation == pytest.approx(
        np.corrcoef(np.log(runs["makespan"]), np.log(runs["lower_bound"]))[0, 1]
    )


@pytest.mark.parametrize("metric", [METRICS["makespan"], METRICS["gap"], METRICS["success"]])
def test_the_scale_of_differences_can_be_left_the_way_it_was_entered(metric):
    for improvement in (-0.5, -0.01, 0.0, 0.01, 0.5):
        assert to_improvement(to_scale(improvement, metric), metric) == pytest.approx(improvement)
        assert math.copysign(1, to_scale(improvement, metric)) == math.copysign(1, improvement) or improvement == 0


def test_one_sided_bounds_are_tighter_than_two_sided_ones_and_in_order():
    effect = verdict_on(make_runs(200, 0.98)).effect
    metric = METRICS["makespan"]
    assert effect.low < effect.margin_low(0.05, metric) < effect.improvement < effect.margin_high(0.05, metric)
    assert effect.margin_high(0.05, metric) < effect.high


# --- invalid ---


def test_a_wrong_split_is_invalid_whatever_the_difference():
    runs = make_runs(400, 0.8)
    runs = runs[(runs["variant"] == "model_a") | (np.arange(len(runs)) % 4 == 1)]
    verdict = verdict_on(runs, split=EQUAL)
    assert (verdict.word, verdict.reason.reason) == ("invalid", "ratio_mismatch")
    assert "400 / 200" in verdict.sentence
    assert verdict.recommendation == "Find out why users are missing from an arm; discard these figures."


def test_too_few_samples_are_invalid():
    verdict = verdict_on(make_runs(99, 0.8), min_samples=100)
    assert (verdict.word, verdict.reason.reason) == ("invalid", "too_few_samples")
    assert verdict.recommendation.startswith("Go on")


def test_many_requests_of_few_users_are_invalid():
    runs = make_runs(LEAST_USERS - 1, 0.8)
    verdict = verdict_on(pd.concat([runs] * 20))
    assert (verdict.word, verdict.reason.reason) == ("invalid", "too_few_units")
    assert f"at least {LEAST_USERS} users" in verdict.sentence
    assert verdict.days_left is None


@pytest.mark.parametrize("hours", [1.0, 53.1])
def test_one_plant_for_all_is_invalid_since_there_is_no_error(hours):
    runs = make_runs(100).assign(makespan=hours, lower_bound=hours * 0.9)
    runs.loc[runs["variant"] == "model_b", "makespan"] *= 1.1
    verdict = verdict_on(runs)
    assert (verdict.word, verdict.reason.reason) == ("invalid", "no_variation")
    assert verdict.recommendation == "Let users with other plants take part, or replay recorded traffic."


@pytest.mark.parametrize("metric", list(METRICS))
def test_a_column_without_a_value_has_a_reason_and_no_crash(metric):
    runs = make_runs(60).assign(**{metric: np.nan})
    if metric == "success":
        runs["success"] = False
    verdict = verdict_on(runs, metric)
    assert verdict.word == "invalid"
    assert verdict.to_dict()["anytime_effect"] is None


def test_nothing_at_all_is_invalid():
    verdict = verdict_on(make_runs(60).head(0))
    assert (verdict.word, verdict.reason.reason) == ("invalid", "too_few_samples")


@pytest.mark.parametrize("ratio", [0.9, 1.0, 1.1, None])
@pytest.mark.parametrize("failing", [0.0, 0.2])
def test_every_text_is_made_of_whole_sentences(ratio, failing):
    verdict = verdict_on(make_runs(200 if ratio else 5, ratio or 1.0, failing=failing))
    for text in (verdict.sentence, verdict.recommendation):
        assert text.endswith(".")
        assert not text.endswith("..")
        assert ".." not in text
        assert "nan" not in text


# --- users, bounds, failures ---


def test_without_any_recorded_bound_the_verdict_rests_on_the_makespans_alone():
    runs = make_runs(300, 0.9, sizes=False)
    for bare in (runs.assign(lower_bound=np.nan), runs.drop(columns="lower_bound")):
        verdict = verdict_on(bare)
        assert verdict.word == "better"
        assert verdict.effect.correlation is None


def test_runs_without_a_bound_still_count():
    runs = make_runs(300, 0.9)
    runs.loc[::7, "lower_bound"] = np.nan
    assert verdict_on(runs).effect.units == 600


@pytest.mark.parametrize("dtype", ["str", "object", "string"])
def test_a_run_without_a_user_is_a_unit_of_its_own_in_any_kind_of_column(dtype):
    runs = make_runs(100)
    runs["user_id"] = pd.Series([None] * 200, dtype=dtype)
    assert verdict_on(runs).effect.units == 200


def test_a_failed_run_counts_as_a_makespan_of_twice_its_bound():
    runs = make_runs(50, failing=0.3)
    of_b = runs[runs["variant"] == "model_b"]
    values, bounds = user_means_on_scale(of_b, METRICS["makespan"])
    failed = ~of_b["success"].to_numpy()
    np.testing.assert_allclose(values[failed], np.log(FAILED_RATIO * of_b["lower_bound"][~of_b["success"]]))
    np.testing.assert_allclose(bounds, np.log(of_b["lower_bound"]))


def test_a_failed_run_without_a_bound_is_penalised_too():
    """The service knows no bound of a run that failed."""
    runs = make_runs(200, failing=0.3)
    runs["lower_bound"] = runs["lower_bound"].where(runs["success"])
    verdict = verdict_on(runs)
    assert verdict.effect.units == 400
    assert verdict.word == "worse"
    # 30 % of the runs 2 / 1.1 times as long
    assert verdict.effect.improvement == pytest.approx(1 - (2 / 1.1) ** 0.3, abs=0.04)


def test_a_candidate_that_answers_only_what_is_easy_is_told_to_fail_more_often_first():
    verdict = verdict_on(make_runs(300, 0.9, failing=0.1))
    assert verdict.sentence.startswith("model_b certainly fails more often than model_a: it answered 8")
    assert "model_a 100.0 %. model_b is" in verdict.sentence
    assert "(failures penalised)" in verdict.sentence
    assert "Do not promote model_b before it fails as seldom as model_a" in verdict.recommendation


def test_a_few_more_failures_are_called_probable():
    runs = make_runs(300, 0.9)
    runs.loc[runs.index[runs["variant"] == "model_b"][:6], "success"] = False
    verdict = verdict_on(runs)
    assert verdict.sentence.startswith("model_b probably fails more often than model_a")
    assert verdict.recommendation == "Promote model_b."


@pytest.mark.parametrize("metric", ["makespan", "success"])
def test_no_word_of_failures_where_none_are_more_or_where_success_is_the_metric(metric):
    runs = make_runs(300)
    if metric == "success":
        runs["success"] = runs.index % 2 == 0
    else:
        runs.loc[::31, "success"] = False
    assert "fails more often" not in verdict_on(runs, metric).sentence


# --- several candidates ---


def test_any_arm_can_be_the_candidate():
    runs = pd.concat([make_runs(300, 1.1), make_runs(300, 0.9, candidate="model_c", seed=1)])
    runs["user_id"] = range(len(runs))
    split = {"model_a": 0.5, "model_b": 0.25, "model_c": 0.25}
    assert verdict_on(runs, split=split).word == "worse"
    verdict = verdict_on(runs, candidate="model_c", split=split)
    assert verdict.word == "better"
    assert verdict.sentence.startswith("model_c is better than model_a")


def test_a_smaller_alpha_widens_the_bounds():
    runs = make_runs(300, 0.97)
    one, half = (verdict_on(runs, alpha=alpha).effect for alpha in (0.05, 0.025))
    assert half.low < one.low < one.high < half.high
    assert half.improvement == one.improvement


# --- effects of arms ---


def test_swapping_the_arms_inverts_the_ratio():
    rng = np.random.default_rng(1)
    a, b = rng.normal(4, 0.2, 80), rng.normal(3.9, 0.3, 70)
    forward, backward = (effect_of_arms(x, y, None, METRICS["makespan"], 0.05) for x, y in ((a, b), (b, a)))
    assert (1 - forward.improvement) * (1 - backward.improvement) == pytest.approx(1)
    assert (1 - forward.low) * (1 - backward.high) == pytest.approx(1)


def test_a_baseline_of_zero_is_nothing_to_be_relative_to():
    gap = np.zeros(50), np.linspace(0, 1, 50)
    assert effect_of_arms(*gap, None, METRICS["gap"], 0.05).reason == "baseline_not_positive"


# --- how long, how small ---


def test_the_projected_days_lead_to_where_the_bounds_exclude_no_difference():
    verdict = verdict_on(make_runs(150, 0.995, seed=5), days=10.0)
    assert verdict.word in {"non_inferior", "inconclusive"}
    assert verdict.days_left is not None
    units = verdict.effect.units * (1 + verdict.days_left / 10.0)
    error = verdict.effect.standard_error * math.sqrt(verdict.effect.units / units)
    scaled = abs(to_scale(verdict.effect.improvement, METRICS["makespan"]))
    width = [error * boundary(np.array([n]), 0.05, TUNED_FOR, sides=2)[0] for n in (0.99 * units, 1.01 * units)]
    assert width[0] * 0.99 < scaled < width[0] * 1.02
    assert f"{math.ceil(verdict.days_left)} more days" in verdict.recommendation


def test_no_days_are_promised_where_nothing_differs_or_all_is_said():
    assert verdict_on(make_runs(600, 0.9)).days_left is None
    runs = make_runs(100)
    same = runs[runs["variant"] == "model_a"]
    both = pd.concat([same, same.assign(variant="model_b", user_id=same["user_id"] + "'")])
    days = verdict_on(both).days_left
    assert days is None or days <= MAX_DAYS


@pytest.mark.parametrize("metric", ["makespan", "gap", "execution_time", "resource_utilization"])
def test_whoever_certainly_fails_more_often_is_better_in_nothing(metric):
    runs = make_runs(300, 0.9, failing=0.15)
    is_b = runs["variant"] == "model_b"
    better = np.where(is_b, 2.0, 1.0) if metric == "resource_utilization" else np.where(is_b, 1.0, 2.0)
    values = 0.1 * better * np.random.default_rng(3).uniform(0.9, 1.1, len(runs))
    runs = runs if metric == "makespan" else runs.assign(**{metric: np.where(runs["success"], values, np.nan)})
    verdict = judge(runs, compare_arms(runs, metric, min_samples=100), 0.05, 3.0)
    assert verdict.failing.is_certain
    assert verdict.word == "inconclusive"
    assert verdict.sentence.startswith("model_b certainly fails more often than model_a")
    assert verdict.recommendation.startswith("Do not promote")

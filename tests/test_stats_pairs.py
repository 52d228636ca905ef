"""Pairs of both models on the same requests: which ones count, which are excluded, and the report."""

import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from scheduler_service.stats.arms import FAILED_RATIO
from scheduler_service.stats.betting import log_capital
from scheduler_service.stats.pairs import MAX_WORST, judge_pairs
from scheduler_service.words import WORDS


def make_pairs(n=100, ratio=0.97, seed=0, noise=0.02, per_user=1, **columns):
    """`n` users with `per_user` requests each; the candidate's makespans are about `ratio` times the baseline's."""
    rng = np.random.default_rng(seed)
    rows = n * per_user
    bound = rng.lognormal(4.0, 0.5, rows)
    makespan = bound * rng.uniform(1.0, 1.2, rows)
    pairs = pd.DataFrame(
        {
            "user_id": [f"u{number // per_user}" for number in range(rows)],
            "request_id": [f"r{number}" for number in range(rows)],
            "key_a": "DDQN_v1",
            "key_b": "DDQN_v2",
            "makespan_a": makespan,
            "makespan_b": makespan * ratio * np.exp(rng.normal(0, noise, rows)),
            "success_a": True,
            "success_b": True,
            "lower_bound": bound,
            "n_workpoints": 3,
            "input_digest": [f"d{number % 50}" for number in range(rows)],
        }
    )
    return pairs.assign(**columns)


def verdict_on(pairs, margin=0.05, alpha=0.05, **options):
    return judge_pairs(pairs, margin=margin, alpha=alpha, **options)


@pytest.mark.parametrize(("ratio", "word"), [(0.97, "better"), (1.03, "worse"), (1.0, "non_inferior")])
def test_the_verdict_follows_the_bounds(ratio, word):
    assert verdict_on(make_pairs(400, ratio)).word == word


def test_few_and_noisy_pairs_are_inconclusive():
    assert verdict_on(make_pairs(30, 1.0, noise=0.3)).word == "inconclusive"


def test_effect_bounds_and_p_value_agree_with_scipy_on_the_log_ratios():
    pairs = make_pairs(120, 0.98)
    verdict = verdict_on(pairs)
    ratios = np.log(pairs["makespan_b"] / pairs["makespan_a"])
    assert verdict.geometric_mean_ratio == pytest.approx(stats.gmean(pairs["makespan_b"] / pairs["makespan_a"]))
    assert verdict.test.p_value == pytest.approx(stats.ttest_1samp(ratios, 0.0).pvalue)
    limit, ends = math.log(FAILED_RATIO), [math.log(1 - bound) for bound in (verdict.effect.high, verdict.effect.low)]
    for end, side in zip(ends, (1, -1), strict=True):  # at the bounds the capital reaches exactly 1 / alpha
        capital = log_capital(side * ratios.to_numpy() + limit, np.full(120, limit + side * end))
        assert capital == pytest.approx(math.log(2 / 0.05), rel=1e-6)
    assert verdict.effect.correlation == pytest.approx(
        stats.pearsonr(np.log(pairs["makespan_a"]), np.log(pairs["makespan_b"])).statistic
    )


def test_the_unit_of_analysis_is_the_user():
    pairs = make_pairs(60, per_user=20)
    verdict = verdict_on(pairs)
    means = np.log(pairs["makespan_b"] / pairs["makespan_a"]).groupby(pairs["user_id"]).mean()
    assert (verdict.pairs, verdict.users, verdict.effect.units) == (1200, 60, 60)
    assert verdict.effect.standard_error == pytest.approx(stats.sem(means))


@pytest.mark.parametrize("dtype", ["str", "object"])
def test_pairs_without_a_user_are_separate_units(dtype):
    assert verdict_on(make_pairs(60, user_id=pd.Series([None] * 60, dtype=dtype))).users == 60


def test_swapping_the_sides_swaps_wins_and_losses_and_inverts_the_ratio():
    pairs = make_pairs(100)
    swapped = pairs.rename(columns=lambda name: {"_a": name[:-2] + "_b", "_b": name[:-2] + "_a"}.get(name[-2:], name))
    forward, backward = verdict_on(pairs), verdict_on(swapped)
    assert (forward.wins, forward.losses) == (backward.losses, backward.wins)
    assert forward.wins == int((pairs["makespan_b"] < pairs["makespan_a"]).sum())
    assert forward.geometric_mean_ratio * backward.geometric_mean_ratio == pytest.approx(1)


# --- identical ---


def test_a_model_against_itself_is_identical_despite_random_differences():
    verdict = verdict_on(make_pairs(200, 0.9, key_b="DDQN_v1"))
    assert verdict.word == "identical"
    assert [each.code for each in verdict.messages] == ["verdicts.one_model"]


def test_two_models_whose_schedules_never_differ_are_identical_so_far():
    pairs = make_pairs(40)
    verdict = verdict_on(pairs.assign(makespan_b=pairs["makespan_a"] * (1 + 1e-12)))
    assert (verdict.word, verdict.ties) == ("identical", 40)
    assert [each.code for each in verdict.messages] == ["verdicts.identical"]
    assert verdict.test.reason == "no_variation"


def test_one_different_pair_is_not_identical():
    pairs = make_pairs(40)
    same = pairs.assign(makespan_b=pairs["makespan_a"])
    same.loc[0, "makespan_b"] *= 1.01
    assert verdict_on(same).word != "identical"


# --- failures and gaps ---


def test_a_failure_counts_as_twice_the_bound_and_is_reported():
    pairs = make_pairs(100, 1.0)
    pairs.loc[:29, "success_b"] = False
    pairs.loc[:29, "makespan_b"] = np.nan
    verdict = verdict_on(pairs)
    assert (verdict.word, verdict.failures, verdict.losses >= 30) == ("worse", (0, 30), True)
    failures = next(each for each in verdict.messages if each.code == "verdicts.failures")
    assert (failures.params["n_a"], failures.params["n_b"]) == (0, 30)
    failed = {each["request_id"]: each for each in verdict.worst}
    assert len(failed) == MAX_WORST  # the ten worst are failures, at the penalised length
    for name, each in failed.items():
        assert each["makespan_b"] == pytest.approx(FAILED_RATIO * pairs["lower_bound"][int(name[1:])])


def test_a_failure_never_beats_a_long_schedule():
    pairs = make_pairs(40, 1.0)
    pairs["makespan_a"] = 3.0 * pairs["lower_bound"]
    pairs["success_b"] = False
    assert verdict_on(pairs).wins == 0


def test_if_both_failed_the_pair_is_a_tie():
    pairs = make_pairs(60)
    pairs.loc[:9, ["success_a", "success_b"]] = False
    pairs.loc[:9, ["makespan_a", "makespan_b"]] = np.nan
    verdict = verdict_on(pairs)
    assert verdict.failures == (10, 10)
    assert verdict.ties == 10
    assert verdict.pairs == 60


def test_pairs_without_values_are_excluded_but_failures_are_counted():
    pairs = make_pairs(60)
    pairs.loc[0, "makespan_a"] = np.nan
    pairs.loc[1, "makespan_b"] = 0.0
    pairs.loc[2, ["makespan_b", "lower_bound"]] = np.nan
    pairs.loc[2, "success_b"] = False
    verdict = verdict_on(pairs)
    assert (verdict.pairs, verdict.users, verdict.failures) == (57, 57, (0, 1))


def test_a_missing_success_value_is_a_failure():
    pairs = make_pairs(60, success_b=pd.Series([None] * 60, dtype="boolean"))
    assert verdict_on(pairs).failures == (0, 60)


@pytest.mark.parametrize("column", ["makespan_a", "makespan_b", "lower_bound"])
def test_columns_without_values_do_not_crash(column):
    pairs = make_pairs(120, **{column: np.nan})
    verdict = verdict_on(pairs)
    assert verdict.word == ("better" if column == "lower_bound" else "invalid")
    verdict.to_dict()


def test_no_pairs_give_no_data():
    verdict = verdict_on(make_pairs(1).head(0))
    assert (verdict.word, verdict.reason.reason, verdict.worst) == ("invalid", "no_data", ())
    assert verdict.messages[0].code == "verdicts.invalid"
    assert verdict.messages[0].params["reason"].code == "reasons.no_pairs"
    data = verdict.to_dict()
    assert data["p_value"] is None
    assert data["p_value_reason"]["code"] == "too_few_units"


def test_many_pairs_of_few_users_count_as_few_users():
    verdict = verdict_on(make_pairs(5, 0.97, per_user=100))
    assert (verdict.word, verdict.effect.units, verdict.pairs) == ("inconclusive", 5, 500)


@pytest.mark.parametrize(("n", "word"), [(5, "inconclusive"), (200, "worse")])
def test_a_constant_ratio_is_judged_by_the_number_of_users(n, word):
    pairs = make_pairs(n)
    verdict = verdict_on(pairs.assign(makespan_b=1.1 * pairs["makespan_a"]))
    assert (verdict.word, verdict.reason) == (word, None)
    assert verdict.effect.improvement == pytest.approx(-0.1)
    assert verdict.test.reason == "no_variation"


def test_one_pair_is_reported_in_the_singular():
    verdict = verdict_on(make_pairs(1, 0.9))
    assert verdict.word == "inconclusive"
    assert -1.0 - 1e-9 <= verdict.effect.low < verdict.effect.high <= 0.5 + 1e-9


# --- error rates under repeated looks ---


@pytest.mark.parametrize("law", ["a failure in 50", "ties and skewed losses"])
def test_the_error_rate_of_pairs_without_a_mean_difference_is_at_most_alpha(law):
    """Small wins and rare or unseen losses: the mean log ratio is exactly 0."""
    rng = np.random.default_rng(9)
    limit = math.log(FAILED_RATIO)
    wrong = 0
    for _ in range(25):
        drawn = rng.random(200)
        if law == "a failure in 50":
            d = np.where(drawn < 0.02, limit, -limit * 0.02 / 0.98)
        else:
            d = np.where(drawn < 0.9, 0.0, np.where(drawn < 0.98, -0.02, 0.08))
        pairs = make_pairs(200)
        pairs["makespan_a"] = pairs["lower_bound"]
        pairs["makespan_b"] = pairs["lower_bound"] * np.exp(d)
        words = {verdict_on(pairs.head(n)).word for n in (20, 50, 100, 200)}
        wrong += not words.isdisjoint({"better", "worse"})
    assert wrong / 25 <= 0.05


# --- the report ---


def test_the_worst_pairs_are_those_with_the_largest_losses():
    pairs = make_pairs(200, 1.0)
    verdict = verdict_on(pairs)
    ratio = (pairs["makespan_b"] / pairs["makespan_a"]).sort_values(ascending=False)
    assert [each["request_id"] for each in verdict.worst] == [f"r{index}" for index in ratio.index[:MAX_WORST]]
    assert verdict.worst[0]["ratio"] == pytest.approx(ratio.iloc[0])


def test_a_candidate_without_losses_has_no_worst_requests():
    pairs = make_pairs(60)
    assert verdict_on(pairs.assign(makespan_b=0.9 * pairs["makespan_a"] * np.linspace(0.9, 1, 60))).worst == ()


def test_distinct_instances_are_counted():
    assert verdict_on(make_pairs(100)).distinct_instances == 50
    assert verdict_on(make_pairs(100).drop(columns="input_digest")).distinct_instances == 0


def test_the_name_of_the_candidate_is_used():
    data = verdict_on(make_pairs(100), candidate="model_c").to_dict()
    first = data["verdict_text"][0]
    assert (first["code"], first["params"]["b"]) == ("verdicts.better", "model_c")
    assert data["recommendation_text"]["code"] == "next.better"
    assert data["recommendation"] == "Promote C: make it the default model."
    assert data["failures"] == {"model_a": 0, "model_c": 0}


@pytest.mark.parametrize(("n", "ratio"), [(100, 0.9), (100, 1.1), (100, 1.0), (5, 1.0), (30, 1.0)])
def test_every_text_ends_in_one_full_stop(n, ratio):
    verdict = verdict_on(make_pairs(n, ratio))
    for text in (verdict.sentence, WORDS.say(verdict.next_step())):
        assert text.endswith(".")
        assert ".." not in text


def test_a_lost_request_of_unknown_size_is_listed():
    pairs = pd.DataFrame(
        {
            "request_id": ["r1"],
            "user_id": pd.array([None], dtype="str"),
            "key_a": ["a"],
            "key_b": ["b"],
            "makespan_a": [50.0],
            "makespan_b": [55.0],
            "success_a": [True],
            "success_b": [True],
            "lower_bound": [45.0],
            "n_workpoints": pd.array([pd.NA], dtype="Int64"),
        }
    )
    worst = judge_pairs(pairs, margin=0.05, alpha=0.05).worst
    assert (worst[0]["request_id"], worst[0]["user_id"], worst[0]["n_workpoints"]) == ("r1", None, None)

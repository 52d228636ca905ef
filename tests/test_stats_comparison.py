"""Results from recorded runs: counted in pandas, tested per user, null with a reason where nothing can be stated."""

import json

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from scheduler_service.stats.comparison import compare_arms
from scheduler_service.stats.metrics import METRICS, metric_named

EQUAL = {"model_a": 0.5, "model_b": 0.5}


def make_runs(seed=0, users=200, requests=1000, effect=0.0, failures=0.05):
    """Runs of users with varying activity; of each ten users, the seventh and later ones are in arm b."""
    rng = np.random.default_rng(seed)
    user = rng.integers(0, users, requests)
    in_b = user % 10 >= 7
    success = rng.random(requests) >= failures
    makespan = 55 + 3 * np.sin(user) + rng.normal(0, 1, requests) + effect * in_b
    return pd.DataFrame(
        {
            "timestamp": pd.Timestamp("2026-01-01", tz="UTC") + pd.to_timedelta(np.arange(requests), unit="s"),
            "variant": np.where(in_b, "model_b", "model_a"),
            "user_id": [f"用户_{number}" for number in user],
            "success": success,
            "makespan": np.where(success, makespan, np.nan),
            "execution_time": rng.gamma(2.0, 0.002, requests),
            "gap": np.where(success, rng.random(requests) / 10, np.nan),
            "resource_utilization": np.where(success, rng.beta(5, 5, requests), np.nan),
            "user_satisfaction": np.where(rng.random(requests) < 0.3, rng.integers(1, 6, requests), np.nan),
        }
    )


def one_value_per_user(metric, a, b):
    """One run of each user; `a` and `b` are the values of the two arms."""
    frame = pd.DataFrame(
        {
            "variant": ["model_a"] * len(a) + ["model_b"] * len(b),
            "user_id": [f"u{number}" for number in range(len(a) + len(b))],
            "success": True,
            metric: [*a, *b],
        }
    )
    return frame.astype({"success": bool})


def test_counts_and_means_agree_with_a_recount_in_pandas():
    runs = make_runs()
    results = compare_arms(runs, "makespan").to_dict()
    for arm, rows in runs.groupby("variant"):
        assert results["total_requests"][arm] == len(rows)
        assert results["users"][arm] == rows["user_id"].nunique()
        for metric in ("makespan", "gap", "resource_utilization", "user_satisfaction"):
            expected = rows[metric].agg(["mean", "count", "min", "max", "std"]).to_dict()
            assert results["average_metrics"][arm][metric] == pytest.approx(expected), metric
        assert results["average_metrics"][arm]["success"]["mean"] == pytest.approx(rows["success"].mean())


def test_failed_runs_have_no_makespan_and_lower_the_success_rate():
    runs = make_runs(failures=0.4)
    runs["makespan"] = runs["makespan"].fillna(9_999.0)  # even if one was recorded
    results = compare_arms(runs, "makespan").to_dict()["average_metrics"]["model_a"]
    assert results["makespan"]["max"] < 100
    assert results["makespan"]["count"] == int((runs["success"] & (runs["variant"] == "model_a")).sum())
    assert results["execution_time"]["count"] == results["makespan"]["count"]
    assert results["success"]["count"] == int((runs["variant"] == "model_a").sum())


def test_the_p_value_and_the_improvement_are_of_user_means():
    runs = make_runs(effect=-1.0)
    results = compare_arms(runs, "makespan").to_dict()
    means = runs.dropna(subset="makespan").groupby(["variant", "user_id"])["makespan"].mean()
    a, b = means["model_a"], means["model_b"]
    assert results["p_value"] == pytest.approx(stats.ttest_ind(a, b, equal_var=False).pvalue)
    assert results["improvement_percentage"] == pytest.approx((a.mean() - b.mean()) / a.mean() * 100)
    assert results["user_means"]["model_b"]["mean"] == pytest.approx(b.mean())
    low, high = results["confidence_interval"]
    assert low < results["improvement_percentage"] < high


def change_of(comparison):
    return comparison.messages[0].params["change"].params["change"]


@pytest.mark.parametrize("metric", list(METRICS))
def test_improvement_is_positive_if_model_b_is_better_in_either_direction(metric):
    rng = np.random.default_rng(5)
    small, large = rng.uniform(0.2, 0.5, 150), rng.uniform(0.6, 0.9, 150)
    better, worse = (
        (small, large) if metric in ("makespan", "policy_makespan", "execution_time", "gap") else (large, small)
    )
    if metric == "success":
        runs = one_value_per_user("success", worse > 0.4, better > 0.65)
    else:
        runs = one_value_per_user(metric, worse, better)
    found = compare_arms(runs, metric)
    results = found.to_dict()
    assert results["improvement_percentage"] > 0
    assert results["confidence_interval"][0] > 0
    assert results["is_significant"] is True
    assert change_of(found) == found.metric.way(is_more=not found.metric.lower_is_better)
    swapped = runs.assign(variant=runs["variant"].map({"model_a": "model_b", "model_b": "model_a"}))
    inverse = compare_arms(swapped, metric)
    assert inverse.improvement_percentage < 0
    assert inverse.confidence_interval[1] < 0
    assert change_of(inverse) == inverse.metric.way(is_more=inverse.metric.lower_is_better)


def test_improvement_is_relative_to_model_a():
    results = compare_arms(one_value_per_user("makespan", [60.0] * 3, [45.0] * 3), "makespan").to_dict()
    assert results["improvement_percentage"] == pytest.approx(25.0)


def test_a_clear_difference_is_not_significant_before_every_arm_has_its_samples():
    rng = np.random.default_rng(2)
    a, b = rng.normal(55, 1, 100), rng.normal(50, 1, 99)
    early = compare_arms(one_value_per_user("makespan", a, b), "makespan").to_dict()
    assert early["p_value"] < 1e-6
    assert early["is_significant"] is False
    assert early["reasons"]["is_significant"]["code"] == "too_few_samples"
    text = early["reasons"]["is_significant"]["text"]["params"]
    assert text["least"] == 100
    assert [each["params"] for each in text["have"]] == [{"arm": "model_b", "count": 99}]
    later = compare_arms(one_value_per_user("makespan", a, [*b, 50.0]), "makespan").to_dict()
    assert later["is_significant"] is True
    assert "is_significant" not in later["reasons"]


def test_failed_runs_are_no_samples_of_the_makespan():
    runs = make_runs(effect=-5.0, requests=800, failures=0.0)
    b = runs.index[runs["variant"] == "model_b"]
    runs.loc[b[99:], "success"] = False
    assert len(b) > 150
    assert compare_arms(runs, "makespan").to_dict()["reasons"]["is_significant"]["code"] == "too_few_samples"


def test_equal_arms_are_not_significant_because_of_the_p_value():
    results = compare_arms(make_runs(), "makespan").to_dict()
    assert results["is_significant"] is False
    assert results["reasons"]["is_significant"]["code"] == "not_below_alpha"


def test_the_given_alpha_and_min_samples_are_used():
    runs = make_runs(effect=-1.0)
    p_value = compare_arms(runs, "makespan").to_dict()["p_value"]
    assert compare_arms(runs, "makespan", alpha=p_value * 1.01).is_significant
    assert not compare_arms(runs, "makespan", alpha=p_value * 0.99).is_significant
    assert not compare_arms(runs, "makespan", min_samples=10_000).is_significant


def test_repeated_identical_schedules_have_no_p_value():
    runs = one_value_per_user("makespan", [53.1] * 140, [52.9] * 120)
    results = compare_arms(runs, "makespan").to_dict()
    assert (results["p_value"], results["confidence_interval"], results["is_significant"]) == (None, None, False)
    assert results["improvement_percentage"] == pytest.approx(0.2 / 53.1 * 100)
    reasons = [results["reasons"][field]["code"] for field in ("p_value", "confidence_interval", "is_significant")]
    assert reasons == ["no_variation"] * 3


@pytest.mark.parametrize("present", [[], ["model_a"], ["model_b"]])
def test_arms_without_data_give_null_and_a_reason(present):
    runs = make_runs()
    runs = runs[runs["variant"].isin(present)]
    results = compare_arms(runs, "makespan", split=EQUAL).to_dict()
    for field in ("improvement_percentage", "confidence_interval", "p_value"):
        assert results[field] is None
        assert results["reasons"][field]["code"] == "no_data"
    assert results["is_significant"] is False
    assert "cannot be compared" in results["summary"]


def test_the_results_are_plain_json():
    many = make_runs()
    for runs in (many, many.iloc[:0], many.iloc[:1], one_value_per_user("gap", [0.0, 0.0], [0.0, 0.1])):
        metric = "makespan" if "makespan" in runs else "gap"
        results = compare_arms(runs, metric, split=EQUAL).to_dict()
        assert json.loads(json.dumps(results, allow_nan=False)) == results


def test_nullable_and_untyped_columns_are_accepted():
    runs = make_runs()
    expected = compare_arms(runs, "makespan").to_dict()
    assert compare_arms(runs.convert_dtypes(), "makespan").to_dict() == expected
    untyped = runs.astype(object).where(runs.notna(), None)
    assert compare_arms(untyped, "makespan").to_dict() == expected


def test_rows_of_other_variants_are_ignored():
    runs = make_runs()
    others = runs.head(100).assign(variant=None, makespan=1.0)
    assert compare_arms(pd.concat([runs, others]), "makespan").to_dict() == compare_arms(runs, "makespan").to_dict()


def test_a_run_without_a_user_is_a_separate_unit():
    runs = make_runs(requests=300)
    runs["user_id"] = None
    results = compare_arms(runs, "success").to_dict()
    assert results["users"] == results["total_requests"]


def test_a_fallback_counts_as_a_failure_of_its_arm():
    runs = make_runs(failures=0.0)
    in_b = runs["variant"] == "model_b"
    runs["reason"] = np.where(in_b & (runs.index % 2 == 0), "fallback", "assigned")
    results = compare_arms(runs, "makespan").to_dict()["average_metrics"]["model_b"]
    assert results["makespan"]["count"] == int((in_b & (runs.index % 2 == 1)).sum())
    assert results["success"]["mean"] == pytest.approx((runs["reason"][in_b] == "assigned").mean())


def test_a_split_mismatch_is_computed_on_users_and_reported():
    rng = np.random.default_rng(1)
    runs = one_value_per_user("makespan", rng.normal(50, 1, 550), rng.normal(50, 1, 450))
    runs = pd.concat([runs, runs[runs["variant"] == "model_b"].head(100)])  # rows are balanced, users are not
    fair = compare_arms(runs, "makespan", split={"model_a": 0.55, "model_b": 0.45}).to_dict()
    assert fair["srm_p_value"] == pytest.approx(1.0)
    assert fair["split_text"]["code"] == "split.ok"
    skewed = compare_arms(runs, "makespan", split={"model_a": 0.5, "model_b": 0.5})
    assert skewed.to_dict()["srm_p_value"] == pytest.approx(0.001565402258, abs=1e-8)
    worse = compare_arms(runs, "makespan", split={"model_a": 0.45, "model_b": 0.55}).to_dict()
    assert worse["split_text"]["code"] == "split.bad"
    assert worse["split_text"]["params"] | {"p": None} == {"users": "550 / 450", "shares": "45 % / 55 %", "p": None}


def periods(*rows):
    """Runs of (split, users of a, users of b): every user has one run in a period."""
    frames = []
    for number, (split, of_a, of_b) in enumerate(rows):
        users = [*(f"a{n}" for n in of_a), *(f"b{n}" for n in of_b)]
        arms = ["model_a"] * len(of_a) + ["model_b"] * len(of_b)
        time = pd.Timestamp("2026-01-01", tz="UTC") + pd.Timedelta(days=number)
        period = pd.DataFrame({"variant": arms, "user_id": users, "split": split, "timestamp": time})
        frames.append(period.astype({"split": object}))
    return pd.concat(frames, ignore_index=True).assign(success=True, makespan=50.0)


def srm_of(runs, split=EQUAL):
    return compare_arms(runs, "makespan", split=split).srm_p


def test_a_changed_split_is_checked_by_periods():
    changed = periods(("0.9/0.1", range(450), range(50)), ("0.5/0.5", range(450, 700), range(50, 300)))
    assert srm_of(changed) == pytest.approx(1.0)
    assert srm_of(changed.drop(columns="split")) < 0.001  # the result with the current shares alone
    assert srm_of(periods(("0.9/0.1", range(450), range(50)), ("0.5/0.5", range(450, 550), range(50, 300)))) < 0.001


def test_recorded_shares_are_used_and_not_the_configured_ones():
    assert srm_of(periods(("0.9/0.1", range(450), range(50)))) == pytest.approx(1.0)
    assert srm_of(periods((None, range(300), range(300)))) == pytest.approx(1.0)
    assert srm_of(periods(("?", range(300), range(300)))) == pytest.approx(1.0)


def test_users_who_return_after_a_change_are_counted_once():
    """A random deviation seen in two periods with nearly the same shares is one deviation."""
    once = periods(("0.5/0.5", range(270), range(330)))
    again = periods(("0.5/0.5", range(270), range(330)), ("0.51/0.49", range(270), range(330)))
    assert srm_of(again) == pytest.approx(srm_of(once))


def test_rounded_shares_are_accepted_and_an_arm_without_a_share_expects_no_users():
    thirds = periods(("0.333333/0.333333/0.333333", range(200), range(200)))
    others = thirds[thirds["variant"] == "model_b"].assign(variant="model_c", user_id=[f"c{n}" for n in range(200)])
    split = dict.fromkeys(("model_a", "model_b", "model_c"), 1 / 3)
    assert srm_of(pd.concat([thirds, others]), split) == pytest.approx(1.0)
    ramped = periods(("1/0", range(300), range(0)), ("0.5/0.5", range(300, 400), range(100)))
    assert srm_of(ramped) == pytest.approx(1.0)


def test_without_a_known_split_there_is_no_ratio_check():
    results = compare_arms(make_runs(), "makespan").to_dict()
    assert results["srm_p_value"] is None
    assert results["reasons"]["srm_p_value"]["code"] == "split_unknown"


def test_the_success_rate_has_two_names_and_one_result():
    runs = make_runs()
    assert compare_arms(runs, "success_rate").to_dict() == compare_arms(runs, "success").to_dict()
    with pytest.raises(KeyError, match="not a metric"):
        metric_named("speed")


def test_the_false_alarm_rate_of_40_users_with_50_requests_each_is_at_most_alpha():
    rng = np.random.default_rng(2026)
    user = np.repeat(np.arange(40), 50)
    frame = pd.DataFrame({"user_id": user, "success": True})
    experiments, on_users, on_rows = 300, 0, 0
    for _ in range(experiments):
        arm_of_user = rng.permutation(np.repeat(["model_a", "model_b"], 20))
        frame["variant"] = arm_of_user[user]
        frame["makespan"] = 55 + rng.normal(0, 5, 40)[user] + rng.normal(0, 5, user.size)
        on_users += compare_arms(frame, "makespan").is_significant
        rows = [frame.loc[frame["variant"] == arm, "makespan"] for arm in ("model_a", "model_b")]
        on_rows += stats.ttest_ind(*rows, equal_var=False).pvalue < 0.05
    # Three standard errors of 5 % in 300 experiments are 3.8 %.
    assert on_users / experiments == pytest.approx(0.05, abs=0.038)
    assert on_rows / experiments > 0.4  # the false alarm rate of a test on rows

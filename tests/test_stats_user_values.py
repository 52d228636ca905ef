"""The values of each user in a comparison: arms, shares, order, scale, and columns of every type."""

import math

import numpy as np
import pandas as pd
import pytest

from scheduler_service.stats.arms import FAILED_RATIO, user_values
from scheduler_service.stats.effect import Effect, effect_of_arms
from scheduler_service.stats.metrics import METRICS

ARMS = ("model_a", "model_b")
MAKESPAN, GAP = METRICS["makespan"], METRICS["gap"]
FAILED = math.log(FAILED_RATIO)


def frame(*rows, **columns):
    """Runs of (user, arm, makespan); no makespan is a failure. All lower bounds are 50 h."""
    users, variants, makespans = zip(*rows, strict=True)
    runs = pd.DataFrame(
        {
            "variant": variants,
            "user_id": users,
            "success": [makespan is not None for makespan in makespans],
            "makespan": np.array(makespans, float),
            "lower_bound": 50.0,
            "gap": np.array(makespans, float) / 50.0 - 1.0,
        }
    )
    return runs.assign(**columns)


def random_runs(seed=0, users=60, each=3):
    rng = np.random.default_rng(seed)
    user = rng.permutation(np.repeat(np.arange(users), each))
    excess = [None if rng.random() < 0.1 else 50.0 * (1.0 + 0.3 * rng.random()) for _ in user]
    rows = [(f"用户{number}", ARMS[number % 2], makespan) for number, makespan in zip(user, excess, strict=True)]
    return frame(*rows).assign(
        timestamp=pd.date_range("2026-01-01", periods=user.size, freq="min", tz="UTC"),
        reason=rng.choice(["assigned", "fallback", None], user.size, p=[0.7, 0.2, 0.1]),
        split=rng.choice(["0.5/0.5", "0.9/0.1", None], user.size),
    )


def assert_equal(one, other):
    for name in ("y", "is_candidate", "share"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))


# --- scale ---


def test_makespans_are_logarithms_over_the_bound_with_failures_averaged_by_user():
    runs = frame(("u", "model_a", 55.0), ("v", "model_b", 60.0), ("u", "model_a", None), ("v", "model_b", 50.0))
    values = user_values(runs, MAKESPAN, ARMS)
    assert values.y == pytest.approx([(math.log(1.1) + FAILED) / 2, math.log(1.2) / 2])
    assert values.limits == (0.0, FAILED)
    assert list(values.is_candidate) == [False, True]


def test_values_beyond_the_limits_are_clipped():
    runs = frame(("u", "model_a", 49.0), ("v", "model_b", 200.0))
    assert user_values(runs, MAKESPAN, ARMS).y == pytest.approx([0.0, FAILED])
    assert user_values(runs, GAP, ARMS).y == pytest.approx([0.0, 1.0])


@pytest.mark.parametrize("arm", ARMS)
def test_without_bounds_in_one_arm_failures_of_both_are_penalised_alike(arm):
    runs = frame(
        *[(f"{arm}{n}", arm, 55.0) for arm in ARMS for n in range(5)], ("x", ARMS[0], None), ("z", ARMS[1], None)
    )
    runs.loc[runs["variant"] == arm, "lower_bound"] = np.nan
    values = user_values(runs, MAKESPAN, ARMS)
    assert values.limits is None
    assert [side[-1] for side in (values.a, values.b)] == pytest.approx([math.log(55.0) + FAILED] * 2)
    assert values.a.mean() == pytest.approx(values.b.mean())


def test_a_failure_without_a_bound_counts_like_one_with_it():
    """The service knows no bound of a failed run."""
    runs = frame(("u", "model_a", 55.0), ("v", "model_b", None))
    runs.loc[1, "lower_bound"] = np.nan
    assert user_values(runs, MAKESPAN, ARMS).y == pytest.approx([math.log(1.1), FAILED])


def test_answers_of_another_model_are_failures_and_those_of_testers_are_ignored():
    rows = [("u", "model_a", 55.0), ("v", "model_b", 55.0), ("w", "model_b", 55.0)]
    values = user_values(frame(*rows, reason=["assigned", "fallback", "pinned"]), MAKESPAN, ARMS)
    assert values.y == pytest.approx([math.log(1.1), FAILED])
    assert list(values.is_candidate) == [False, True]


# --- arms and shares ---


@pytest.mark.parametrize(
    ("rows", "metric", "values", "is_candidate"),
    [
        (
            [("u", "model_b", 55.0), ("v", "model_a", 60.0), ("u", "model_a", 99.0), ("u", "model_b", 50.0)],
            MAKESPAN, [math.log(1.1) / 2, math.log(1.2)], [True, False],
        ),
        ([("u", "model_a", None), ("u", "model_b", 55.0), ("v", "model_b", 60.0)], GAP, [0.2], [True]),
        (
            [("u", "model_c", 55.0), ("u", "model_b", 55.0), ("v", "model_b", 60.0), ("w", "model_a", 60.0)],
            MAKESPAN, [math.log(1.2)] * 2, [True, False],
        ),
    ],
    ids=["a user in both arms", "no value in the first run", "started in a third arm"],
)  # fmt: skip
def test_a_user_counts_in_the_arm_of_the_first_run(rows, metric, values, is_candidate):
    found = user_values(frame(*rows), metric, ARMS)
    assert found.y == pytest.approx(values)
    assert list(found.is_candidate) == is_candidate


def test_the_share_is_that_of_the_recorded_split_of_the_first_run():
    rows = [("u", "model_a", 55.0), ("v", "model_b", 55.0), ("u", "model_a", 99.0), ("w", "model_b", 55.0)]
    runs = frame(*rows, split=["0.8/0.2", None, "0.5/0.5", "0.5/0.25/0.25"])
    values = user_values(runs, MAKESPAN, ARMS, {"model_a": 0.4, "model_b": 0.6})
    assert values.share == pytest.approx([0.2, 0.6, 1 / 3])
    assert values.y == pytest.approx([math.log(1.1)] * 3)  # the 99 h were under another split


@pytest.mark.parametrize(
    "split", [None, {"model_a": 1.0, "model_b": 0.0}, {"model_a": 0.0, "model_b": 1.0}, {"model_c": 1.0}]
)
def test_without_a_usable_split_the_share_is_the_observed_one(split):
    """An arm's share may be set to 0 by hand after it has users."""
    runs = frame(*[(f"u{n}", ARMS[n % 4 == 0], 50.0 + n) for n in range(12)])
    values = user_values(runs, MAKESPAN, ARMS, split)
    assert values.share == pytest.approx([0.25] * 12)
    effect = effect_of_arms(values, MAKESPAN, 0.05)
    assert isinstance(effect, Effect)
    assert effect.low < effect.improvement < effect.high


def test_runs_from_before_an_arm_had_a_share_are_excluded():
    rows = [("u", "model_a", 55.0), ("v", "model_a", 55.0), ("u", "model_b", 60.0), ("w", "model_a", 60.0)]
    values = user_values(frame(*rows, split=["1/0", "1/0", "0.5/0.5", "0.5/0.5"]), MAKESPAN, ARMS)
    assert values.y == pytest.approx([math.log(1.2)] * 2)
    assert list(values.is_candidate) == [True, False]
    assert values.share == pytest.approx([0.5, 0.5])


def test_an_empty_split_is_none():
    rows = [("u", "model_a", 55.0), ("v", "model_b", 55.0)]
    for text in ("", "half/half", "0.5;0.5"):
        assert user_values(frame(*rows, split=text), MAKESPAN, ARMS).share == pytest.approx([0.5, 0.5])


# --- order ---


def test_users_are_ordered_by_their_first_run_in_any_arm():
    runs = random_runs()
    shuffled = runs.sample(frac=1.0, random_state=1)
    assert_equal(user_values(runs, MAKESPAN, ARMS), user_values(shuffled, MAKESPAN, ARMS))
    order = runs.drop_duplicates("user_id")
    assert list(user_values(runs, MAKESPAN, ARMS).is_candidate) == list(order["variant"].eq("model_b"))


def test_without_distinct_timestamps_the_order_is_that_of_the_rows():
    runs = random_runs()
    expected = user_values(runs, MAKESPAN, ARMS)
    assert_equal(user_values(runs.drop(columns="timestamp"), MAKESPAN, ARMS), expected)
    assert_equal(user_values(runs.assign(timestamp=runs["timestamp"].min()), MAKESPAN, ARMS), expected)


# --- columns ---


@pytest.mark.parametrize("metric", [METRICS[name] for name in ("makespan", "gap", "success")])
def test_nullable_and_untyped_columns_are_accepted(metric):
    runs = random_runs()
    expected = user_values(runs, metric, ARMS)
    assert_equal(user_values(runs.convert_dtypes(), metric, ARMS), expected)
    assert_equal(user_values(runs.astype(object).where(runs.notna(), None), metric, ARMS), expected)


def test_runs_of_other_variants_are_ignored():
    runs = random_runs()
    others = runs.head(50).assign(variant=None, makespan=1_000.0)
    assert_equal(user_values(pd.concat([others, runs]), MAKESPAN, ARMS), user_values(runs, MAKESPAN, ARMS))


@pytest.mark.parametrize("dtype", ["str", "object", "string"])
def test_a_run_without_a_user_is_a_separate_user(dtype):
    runs = random_runs().assign(user_id=pd.Series([None] * 180, dtype=dtype))
    assert user_values(runs, METRICS["success"], ARMS).y.size == 180


@pytest.mark.parametrize("name", list(METRICS))
def test_no_runs_are_no_users(name):
    runs = random_runs().assign(**dict.fromkeys(METRICS.keys() - {"success"}, 0.5))
    assert user_values(runs.head(0), METRICS[name], ARMS).y.size == 0
    assert user_values(runs.head(0).drop(columns=["split", "reason"]), METRICS[name], ARMS).share.size == 0


def test_a_split_changed_together_with_the_plants_causes_no_effect():
    """Of the first users nine in ten are in the baseline, of the later ones, whose schedules are longer, half."""
    rng = np.random.default_rng(4)
    later = np.arange(2_000) >= 1_000
    in_b = rng.random(2_000) < np.where(later, 0.5, 0.1)
    runs = pd.DataFrame(
        {
            "variant": np.where(in_b, "model_b", "model_a"),
            "user_id": np.arange(2_000),
            "success": True,
            "makespan": 50.0 * np.exp(np.where(later, 0.3, 0.1) + rng.normal(0.0, 0.02, 2_000)),
            "lower_bound": 50.0,
            "gap": np.where(later, 0.35, 0.1) + rng.normal(0.0, 0.02, 2_000),
            "split": np.where(later, "0.5/0.5", "0.9/0.1"),
        }
    )
    for name in ("makespan", "gap"):
        metric = METRICS[name]
        effect = effect_of_arms(user_values(runs, metric, ("model_a", "model_b")), metric, 0.05)
        assert effect.improvement == pytest.approx(0.0, abs=0.02)
        assert effect.low < 0.0 < effect.high
        as_of_one = effect_of_arms(
            user_values(runs.drop(columns="split"), metric, ("model_a", "model_b")), metric, 0.05
        )
        assert as_of_one.improvement < -0.05, "the difference of the plants is reported as an effect"

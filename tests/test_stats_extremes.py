"""Nearly equal, constant, single, missing and huge values give figures or a reason, without warnings.

pyproject.toml turns numpy's and scipy's RuntimeWarnings into errors.
"""

import itertools
import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from scheduler_service.stats.comparison import compare_arms
from scheduler_service.stats.guardrails import check_guardrails
from scheduler_service.stats.lift import lift_interval
from scheduler_service.stats.outcome import NotComputable
from scheduler_service.stats.outliers import modified_z_scores
from scheduler_service.stats.paired import paired
from scheduler_service.stats.pairs import judge_pairs
from scheduler_service.stats.secondary import secondary
from scheduler_service.stats.sequential import lower_confidence_sequence
from scheduler_service.stats.summaries import summarise
from scheduler_service.stats.verdict import judge
from scheduler_service.stats.welch import welch

N = 40
USUAL = np.random.default_rng(1).normal(50.0, 5.0, N)
NOISE = np.random.default_rng(2).normal(0.0, 1.0, N)
KINDS = {
    "none": np.empty(0),
    "one": np.array([50.0]),
    "two": np.array([50.0, 51.0]),
    "constant": np.full(N, 50.0),
    "zero": np.zeros(N),
    "usual": USUAL,
    "negative": -USUAL,
    "nearly equal": 50.0 * (1.0 + 1e-13 * NOISE),
    "hardly different": 50.0 * (1.0 + 1e-9 * NOISE),
    "one differs in the last digit": np.append(np.full(N - 1, 50.0), np.nextafter(50.0, 51.0)),
    "huge": 1e300 * USUAL,
    "huge among usual": np.append(USUAL[1:], 1e305),
    "tiny": 1e-300 * USUAL,
    "the least there are": np.append(np.full(N - 1, 5e-324), 1e-323),
}
ALL_PAIRS = list(itertools.product(KINDS, repeat=2))
USABLE = (
    "none",
    "one",
    "two",
    "constant",
    "usual",
    "nearly equal",
    "hardly different",
    "one differs in the last digit",
)


@pytest.mark.parametrize(("of_a", "of_b"), ALL_PAIRS)
def test_every_test_of_two_arms_gives_finite_figures_or_a_reason(of_a, of_b):
    a, b = KINDS[of_a], KINDS[of_b]
    found = [welch(a, b), lift_interval(a, b)]
    if a.size == b.size:
        found.append(paired(a, b))
    for each in found:
        if isinstance(each, NotComputable):
            assert each.message
        else:
            figures = [each.standard_error, each.degrees_of_freedom, each.low, each.high]
            assert all(math.isfinite(figure) for figure in figures)
            assert each.standard_error >= 0.0
            assert each.low <= each.high


@pytest.mark.parametrize("kind", KINDS)
def test_figures_of_one_arm_cause_no_warning(kind):
    values = KINDS[kind]
    result = summarise(values)
    assert result.count == values.size
    if result.count:
        assert result.min <= result.mean * (1.0 + math.copysign(1e-12, result.mean))
    assert modified_z_scores(values).shape == values.shape
    assert not (lower_confidence_sequence(values) > values.max(initial=-math.inf)).any()


@pytest.mark.parametrize("power", [-1000, -1, 1, 600, 1000])
def test_a_change_of_unit_changes_no_p_value_and_no_share(power):
    """The squares of such values exceed the range of a float."""
    rng = np.random.default_rng(3)
    a, b = rng.normal(50, 5, 30), rng.normal(52, 7, 25)
    unit = 2.0**power
    assert welch(unit * a, unit * b).p_value == welch(a, b).p_value
    assert welch(unit * a, unit * b).low == unit * welch(a, b).low
    assert lift_interval(unit * a, unit * b) == lift_interval(a, b)
    assert paired(unit * a[:25], unit * b).p_value == paired(a[:25], b).p_value
    assert summarise(unit * a).std == unit * summarise(a).std
    assert (modified_z_scores(unit * a) == modified_z_scores(a)).all()
    assert (lower_confidence_sequence(unit * a) == unit * lower_confidence_sequence(a)).all()


@pytest.mark.parametrize("seed", range(20))
def test_the_t_tests_equal_those_of_scipy(seed):
    rng = np.random.default_rng(seed)
    n_a, n_b = rng.integers(2, 60, 2)
    a, b = rng.lognormal(1.0, 1.0, n_a), rng.lognormal(1.2, 0.5, n_b)
    theirs, ours = stats.ttest_ind(b, a, equal_var=False), welch(a, b, 0.1)
    assert (ours.p_value, ours.degrees_of_freedom) == (pytest.approx(theirs.pvalue), pytest.approx(theirs.df))
    assert (ours.low, ours.high) == pytest.approx(tuple(theirs.confidence_interval(0.9)))
    n = min(n_a, n_b)
    theirs, ours = stats.ttest_rel(b[:n], a[:n]), paired(a[:n], b[:n], 0.1)
    assert (ours.p_value, ours.degrees_of_freedom) == (pytest.approx(theirs.pvalue), theirs.df)
    assert (ours.low, ours.high) == pytest.approx(tuple(theirs.confidence_interval(0.9)))


def test_a_constant_arm_is_compared_with_a_varying_one():
    """scipy.stats.ttest_ind warned about a loss of precision here."""
    found = welch(np.full(30, 50.0), USUAL + 5.0)
    alone = stats.ttest_1samp(USUAL + 5.0, 50.0)  # the constant arm adds no error
    assert found.p_value == pytest.approx(alone.pvalue)


def test_differences_near_the_precision_of_a_float_keep_their_digits():
    """For means that differ by 1e-10, the error comes from the differences, not from the squares."""
    steps = 1e-10 * np.array([0.0, 1.0, 2.0, 3.0, 4.0])
    found = welch(50.0 * (1.0 + steps), 50.0 * (1.0 + steps + 2e-10))
    exact = stats.ttest_ind(steps + 2e-10, steps, equal_var=False)
    assert found.p_value == pytest.approx(exact.pvalue, rel=1e-4)


def failing_by_turns(pairs):
    """None, all, and one in seven of the candidate's runs fail, alternating."""
    return [(a, b, failing_every) for (a, b), failing_every in zip(pairs, itertools.cycle((0, 1, 7)), strict=False)]


def _runs(arm, values, failing_every=0):
    n = len(values)
    return pd.DataFrame(
        {
            "variant": arm,
            "user_id": [f"{arm} {number % 30}" for number in range(n)],
            "reason": "assigned",
            "timestamp": pd.Timestamp("2026-11-23", tz="UTC") + pd.to_timedelta(np.arange(n), unit="s"),
            "success": [not failing_every or number % failing_every > 0 for number in range(n)],
            "lower_bound": 40.0,
            **dict.fromkeys(("makespan", "policy_makespan", "execution_time", "gap", "resource_utilization"), values),
        }
    )


@pytest.mark.parametrize(("of_a", "of_b", "failing_every"), failing_by_turns(ALL_PAIRS))
def test_the_comparison_of_any_runs_can_be_reported(of_a, of_b, failing_every):
    runs = pd.concat([_runs("model_a", KINDS[of_a]), _runs("model_b", KINDS[of_b], failing_every)])
    for metric in ("makespan", "gap"):
        data = compare_arms(runs, metric, min_samples=1).to_dict()
        for figure in ("improvement_percentage", "p_value"):
            assert data[figure] is not None or data["reasons"][figure]["message"]
    assert set(secondary(runs, "makespan", "model_b")) > {"execution_time", "gap"}


@pytest.mark.parametrize(("of_a", "of_b", "failing_every"), failing_by_turns(list(itertools.product(USABLE, repeat=2))))
def test_the_verdict_and_the_guardrails_of_degenerate_runs_cause_no_warning(of_a, of_b, failing_every):
    runs = pd.concat([_runs("model_a", KINDS[of_a]), _runs("model_b", KINDS[of_b], failing_every)])
    for metric in ("makespan", "execution_time", "gap", "success"):
        assert judge(runs, compare_arms(runs, metric, min_samples=1), 0.05).sentence
    margins = {"makespan": 0.05, "success": 0.05, "execution_time": 0.5}
    assert [each.name for each in check_guardrails(runs, margins, "model_a", "model_b")] == list(margins)
    size = min(KINDS[of_a].size, KINDS[of_b].size)
    pairs = pd.DataFrame(
        {
            "user_id": [f"user {number}" for number in range(size)],
            "key_a": "a",
            "key_b": "b",
            "makespan_a": KINDS[of_a][:size],
            "makespan_b": KINDS[of_b][:size],
            "success_a": True,
            "success_b": [not failing_every or number % failing_every > 0 for number in range(size)],
            "lower_bound": 40.0,
        }
    )
    assert judge_pairs(pairs, margin=0.05, alpha=0.05).sentence

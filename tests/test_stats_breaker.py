"""The breaker: which candidates are stopped within 20 requests, and which are not."""

import itertools
import math

import numpy as np
import pandas as pd
import pytest

from scheduler_service.stats.breaker import ALPHA, BREAKER, LIMIT, check_requests, failures, log_evidence


def requests(candidate: list[bool], baseline: list[bool] = (), *, users: int = 10, stand_in: bool | None = True):
    """Runs as recorded by the service; `candidate` and `baseline` list which of their requests failed.

    `stand_in`: whether the default model answered in place of the arm; None: no fallback was tried.
    """
    rows = []
    for arm, failed in (("model_a", baseline), ("model_b", candidate)):
        for number, is_failed in enumerate(failed):
            of_request = {"request_id": f"{arm}-{number}", "user_id": f"u{number % users}"}
            rows.append({**of_request, "variant": arm, "reason": "assigned", "success": not is_failed})
            if is_failed and stand_in is not None:
                rows.append({**of_request, "variant": None, "reason": "fallback", "success": stand_in})
    return pd.DataFrame(rows, columns=["request_id", "user_id", "variant", "reason", "success"])


def state(candidate, baseline=(), **options):
    return check_requests(requests(candidate, baseline, **options), "model_a", "model_b").state


def test_a_candidate_that_always_fails_is_stopped_at_its_thirteenth_request():
    assert state([True] * 12) == "undecided"
    found = check_requests(requests([True] * 13, [False] * 4), "model_a", "model_b")
    assert (found.name, found.state, found.harm, found.margin) == (BREAKER, "breached", 1.0, LIMIT)
    assert found.text.params == {"count": 13, "total": 13, "limit": 0.5, "since": "", "baseline": ""}


def test_18_failures_among_the_first_20_suffice_in_any_order():
    threshold = -math.log(ALPHA)
    for good in itertools.combinations(range(20), 2):
        failed = np.ones(20, dtype=bool)
        failed[list(good)] = False
        assert log_evidence(failed, LIMIT).max() >= threshold, good


def test_one_user_with_repeated_requests_suffices():
    assert state([True] * 13, users=1) == "breached"


def test_a_candidate_that_fails_in_a_fifth_of_its_requests_is_not_stopped():
    random = np.random.default_rng(5)
    for _ in range(200):
        assert log_evidence(random.random(10_000) < 0.2, LIMIT).max() < -math.log(ALPHA)
    assert state(list(random.random(10_000) < 0.2)) == "kept"


def test_a_candidate_at_the_limit_is_stopped_with_probability_at_most_alpha():
    random = np.random.default_rng(6)
    tripped = sum(log_evidence(random.random(1_000) < LIMIT, LIMIT).max() >= -math.log(ALPHA) for _ in range(3_000))
    # Binomial with p = alpha: 6 of 3,000 on average; 15 or more with probability 0.0014.
    assert tripped < 15


def test_the_evidence_is_a_fair_bet_at_the_limit():
    """At 0.5 all sequences of 12 requests are equally likely; the mean of M is the sum of all weights, at most 1."""
    every = np.array(list(itertools.product([False, True], repeat=12)))
    mean = np.mean([math.exp(log_evidence(failed, 0.5)[-1]) for failed in every])
    assert mean == pytest.approx(1.0 - 1.0 / 13.0)  # sum of 1 / (k (k + 1)) for k = 1..12


def test_the_evidence_matches_its_formula():
    failed = np.random.default_rng(7).random(40) < 0.6
    for n in (1, 7, 40):
        total = 0.0
        for k in range(1, n + 1):
            for p in (0.7, 0.9):
                steps = [p / 0.5 if each else (1 - p) / 0.5 for each in failed[k - 1 : n]]
                total += math.prod(steps) / 2.0 / (k * (k + 1))
        assert log_evidence(failed, 0.5)[n - 1] == pytest.approx(math.log(total))


def test_an_infeasible_request_is_no_failure_of_the_candidate():
    assert state([True] * 500, users=1, stand_in=False) == "undecided"
    mixed = pd.concat([requests([True] * 30, stand_in=False), requests([False] * 40).assign(request_id="other")])
    assert failures(mixed, "model_b").tolist() == [False] * 40


def test_failures_recorded_by_other_programs_count():
    assert state([True] * 13, stand_in=None) == "breached"
    without_ids = requests([True] * 13, stand_in=None).drop(columns="request_id")
    assert check_requests(without_ids, "model_a", "model_b").state == "breached"


@pytest.mark.parametrize(
    ("fails", "reason", "expected"), [([False] * 13, "fallback", "breached"), ([True] * 40, "pinned", "undecided")]
)
def test_fallbacks_under_the_arms_name_are_failures_and_requests_of_testers_do_not_count(fails, reason, expected):
    assert check_requests(requests(fails).assign(reason=reason), "model_a", "model_b").state == expected


@pytest.mark.parametrize("rate", [0.6, 0.8, 1.0])
def test_a_baseline_that_fails_equally_often_prevents_a_stop(rate):
    random = np.random.default_rng(8)
    states = [state(list(random.random(60) < rate), list(random.random(60) < rate)) for _ in range(100)]
    assert states.count("breached") <= 1


def test_a_baseline_that_fails_occasionally_does_not_prevent_a_stop():
    found = check_requests(requests([True] * 20, [True] + [False] * 19), "model_a", "model_b")
    assert found.state == "breached"
    assert found.text.params["baseline"].params == {"count": 1, "total": 20}


def test_a_candidate_that_starts_to_fail_later_is_stopped_and_the_message_names_the_start():
    random = np.random.default_rng(9)
    good = list(random.random(10_000) < 0.01)
    assert state(good) == "kept"
    found = check_requests(requests([*good, *[True] * 45]), "model_a", "model_b")
    assert (found.state, found.harm) == ("breached", 1.0)
    assert found.text.params["since"].params == {"first": 10_001}


def test_a_tripped_breaker_stays_tripped():
    assert state([True] * 13 + [False] * 1_000) == "breached"


def test_a_candidate_without_a_request_is_undecided():
    found = check_requests(requests([], [True] * 20), "model_a", "model_b")
    assert (found.state, found.harm) == ("undecided", None)

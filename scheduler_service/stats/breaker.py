"""The breaker: a candidate whose requests fail is stopped within its first 20 requests.

The guardrails compare users, because requests of one user are similar, and it takes time until there are enough users.
The breaker tests a simpler statement: whether the candidate's own model fails on most of its requests. This is a
statement about the sequence of requests, so one user is sufficient.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from scheduler_service.stats.arms import rows_of_arm, succeeded
from scheduler_service.stats.guardrails import Guardrail, GuardrailState
from scheduler_service.stats.summaries import Values
from scheduler_service.words import Message

if TYPE_CHECKING:
    import pandas as pd

REQUEST_COLUMNS = ("request_id", "variant", "reason", "user_id", "success")
"""The columns of the runs that the breaker needs."""
BREAKER = "requests"
"""Name of the guardrail."""
LIMIT = 0.5
"""Share of a candidate's requests that may fail before the breaker trips; the guardrail `success` covers less."""
ALPHA = 0.002
"""Probability that a candidate with a failure rate within the limit is ever stopped. At 0.002, 18 failures among the
first 20 requests stop a candidate in any order; at 0.001 some orders do not."""
REACH = (0.4, 0.8)
"""The alternative failure rates for the limit q are q + reach (1 - q): 0.7 and 0.9 for 0.5."""
BASELINE_LEVEL = 0.95
"""Confidence of the bound on the baseline's own failure rate."""


def check_requests(runs: pd.DataFrame, baseline: str, candidate: str) -> Guardrail:
    """Whether most of the candidate's requests fail: `breached` if that is certain now or was at an earlier request.

    The margin is the share of the requests that may fail: `LIMIT`, or the upper confidence bound of the baseline's
    failure rate (Clopper and Pearson 1934, one-sided, `BASELINE_LEVEL`) if that is higher. `breached`: the evidence for
    a higher rate (`log_evidence`) has ever reached 1 / `ALPHA`. `kept`: the evidence for a lower rate reaches it now.
    The harm is the share of failures among the candidate's requests; if breached, among the requests with the strongest
    evidence. It has no bounds.

    Args:
        runs: those of the experiment in order of time; columns `REQUEST_COLUMNS`; without `request_id` every failure
            counts.
    """
    failed_a, failed_b = (failures(runs, arm) for arm in (baseline, candidate))
    users = tuple(int(rows_of_arm(runs, arm)["user_id"].nunique()) for arm in (baseline, candidate))
    limit = _limit(failed_a)
    is_known = bool(failed_b.size) and limit < 1.0
    rising = log_evidence(failed_b, limit) if is_known else np.empty(0)
    begin, end = 0, failed_b.size
    state: GuardrailState = "undecided"
    if is_known and float(rising.max()) >= -math.log(ALPHA):
        state, end = "breached", int(np.argmax(rising >= -math.log(ALPHA))) + 1
        begin = _begin_of_stretch(failed_b[:end], limit)
    elif is_known and float(log_evidence(~failed_b, 1.0 - limit)[-1]) >= -math.log(ALPHA):
        state = "kept"
    share = float(failed_b[begin:end].mean()) if end else None
    text = _text(failed_b, failed_a, begin, end, limit)
    return Guardrail(BREAKER, limit, state, share, None, None, (users[0], users[1]), text)


def failures(runs: pd.DataFrame, arm: str) -> npt.NDArray[np.bool_]:
    """Whether the arm's own model failed, for each of its requests in order of time; shape (n_requests,).

    A request that the fallback model could not answer either is left out, because it may be infeasible for any model. A
    failure without a fallback run (such as one recorded by a program) counts.
    """
    rows = rows_of_arm(runs, arm)
    failed = ~succeeded(rows)
    if "request_id" in runs.columns and bool(failed.any()):
        stand_ins = runs[_is(runs, "reason", "fallback") & runs["variant"].isna()]
        has_answered = stand_ins["success"].astype("boolean").fillna(value=False).astype(bool)
        answered = set(stand_ins["request_id"][has_answered])
        unanswerable = set(stand_ins["request_id"]) - answered
        if unanswerable:
            failed = failed[~(failed & rows["request_id"].isin(unanswerable))]
    return np.asarray(failed, dtype=bool)


def log_evidence(failed: npt.NDArray[np.bool_], limit: float) -> Values:
    """For each n, the log of an e-value of the first n requests against "each fails with probability <= `limit`".

    M_n = sum over k <= n of 1 / (k (k + 1)) * mean over p of product over i = k..n of L_i(p)
    L_i(p) = p / q if request i failed, otherwise (1 - p) / (1 - q);  p = q + reach (1 - q)

    The requests may depend on each other. If none fails with a probability above q, given all before it, each product
    is a supermartingale that starts at 1. The weights of k add up to 1, so the probability that M ever reaches
    1 / alpha is at most alpha (Ville 1939). The sum over k covers models that start to fail later: after 10,000
    answers, about 40 failures in a row are sufficient.

    Args:
        failed: shape (n,), in the order of the requests.
        limit: q, greater than 0 and less than 1.

    Source: Shin, Ramdas, Rinaldo, "E-detectors", New England Journal of Statistics in Data Science 2 (2024) 229-260,
    with weights of the change points that add up to 1; Ramdas, Gruenwald, Vovk, Shafer, Statistical Science 38 (2023).
    """
    k = np.arange(1.0, failed.size + 1.0)
    log_weights = -np.log(k * (k + 1.0))
    of_rates = []
    for reach in REACH:
        steps, before = _walk(failed, limit, reach)
        of_rates.append(before + steps + np.logaddexp.accumulate(log_weights - before))
    return np.asarray(np.logaddexp.reduce(of_rates, axis=0) - math.log(len(REACH)), np.float64)


def _walk(failed: npt.NDArray[np.bool_], limit: float, reach: float) -> tuple[Values, Values]:
    """(log L of each request, sum of log L of the requests before it)."""
    p = limit + reach * (1.0 - limit)
    steps = np.where(failed, math.log(p / limit), math.log((1.0 - p) / (1.0 - limit)))
    return steps, np.cumsum(steps) - steps


def _begin_of_stretch(failed: npt.NDArray[np.bool_], limit: float) -> int:
    """The first request of the sequence with the strongest evidence: the largest term of M."""
    _, before = _walk(failed, limit, REACH[-1])
    k = np.arange(1.0, failed.size + 1.0)
    return int(np.argmax(-np.log(k * (k + 1.0)) - before))


def _limit(failed: npt.NDArray[np.bool_]) -> float:
    """The failure rate that the candidate may have, given the baseline's requests; 0..1."""
    from scipy import special  # slow to import, and the service starts without it

    count = int(failed.sum())
    if count == 0:
        return LIMIT
    if count == failed.size:
        return 1.0
    return max(LIMIT, float(special.betaincinv(count + 1.0, failed.size - count, BASELINE_LEVEL)))


def _text(
    failed: npt.NDArray[np.bool_], failed_a: npt.NDArray[np.bool_], begin: int, end: int, limit: float
) -> Message:
    if not failed.size:
        return Message("guardrails.no_request")
    params: dict[str, object] = {"count": int(failed[begin:end].sum()), "total": end - begin, "limit": limit}
    since = Message("guardrails.requests_since", {"first": begin + 1}) if begin else ""
    baseline: Message | str = ""
    if failed_a.any():
        baseline = Message("guardrails.requests_of_baseline", {"count": int(failed_a.sum()), "total": failed_a.size})
    return Message("guardrails.seen_requests", {**params, "since": since, "baseline": baseline})


def _is(rows: pd.DataFrame, column: str, value: str) -> Any:
    if column not in rows.columns:
        return np.zeros(len(rows), dtype=bool)
    return rows[column].eq(value).fillna(value=False).astype(bool)

"""The short ways of `bets` held against the functions that the service calls."""

import numpy as np
import pandas as pd

from benchmarks.experiments.bets import Flags, Ints
from benchmarks.experiments.populations import Requests
from scheduler_service.stats.comparison import compare_arms
from scheduler_service.stats.pairs import judge_pairs
from scheduler_service.stats.summaries import Values
from scheduler_service.stats.verdict import judge

ALPHA = 0.05
MARGIN = 0.05
SPEAKING = ("better", "worse")


def frame(requests: Requests, in_b: Flags, share: Values, user: Ints | None = None) -> pd.DataFrame:
    """The runs as the service records them; `in_b` and `share` of each request, as its split on record."""
    n = requests.bound.size
    return pd.DataFrame(
        {
            "timestamp": pd.Timestamp("2026-01-01", tz="UTC") + pd.to_timedelta(np.arange(n), unit="s"),
            "variant": np.where(in_b, "model_b", "model_a"),
            "split": [f"{1.0 - p:.12g}/{p:.12g}" for p in share],
            "user_id": np.arange(n) if user is None else user,
            "success": requests.success,
            "makespan": np.where(requests.success, np.exp(requests.bound + requests.excess), np.nan),
            "lower_bound": np.exp(requests.bound),
            "gap": np.where(requests.success, requests.gap, np.nan),
        }
    )


def speaks(runs: pd.DataFrame, metric: str) -> bool:
    """Whether `judge` says better or worse; no number of samples is asked for."""
    return judge(runs, compare_arms(runs, metric, min_samples=0, alpha=ALPHA), MARGIN).word in SPEAKING


def must_agree(says: bool, runs: pd.DataFrame, metric: str) -> bool:
    """Whether `judge` says better or worse of these runs, as the short way does.

    It may be silent where the short way speaks: the bounds never end before the plain difference of the means, which
    may be on the other side of zero, above all where the split changed while the plants did.

    Raises:
        RuntimeError: it speaks where the short way does not.
    """
    spoke = speaks(runs, metric)
    if spoke and not says:
        raise RuntimeError(f"judge decides on {len(runs)} runs where the short way does not")
    return spoke == says


def pair_frame(d: Values, user: Ints | None = None) -> pd.DataFrame:
    """Pairs of which the log ratios are `d`, shape (n,)."""
    n = d.size
    return pd.DataFrame(
        {
            "user_id": np.arange(n) if user is None else user,
            "key_a": "a",
            "key_b": "b",
            "makespan_a": 50.0,
            "makespan_b": 50.0 * np.exp(d),
            "success_a": True,
            "success_b": True,
            "lower_bound": 25.0,
        }
    )


def pairs_must_agree(says: bool, d: Values, alpha: float, user: Ints | None = None) -> None:
    """The same of `judge_pairs`."""
    verdict = judge_pairs(pair_frame(d, user), margin=MARGIN, alpha=alpha)
    if (verdict.word in SPEAKING) != says:
        raise RuntimeError(f"judge_pairs says {verdict.word} of {d.size} pairs, the short way {says}")

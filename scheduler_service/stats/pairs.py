"""The comparison of two models on identical instances, which is possible because a schedule is only computed.

Differences between users (their plants) cancel out, so a fraction of the users is sufficient.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from scheduler_service.stats.arms import BASELINE, FAILED_RATIO, units
from scheduler_service.stats.effect import effect_of_differences
from scheduler_service.stats.judged import DaysLeft, Judged, Word, advice, word_for
from scheduler_service.stats.metrics import METRICS, PAIRED, Metric
from scheduler_service.stats.optimality import CannotTell, cannot_tell_of, proven_of
from scheduler_service.stats.outcome import NotComputable
from scheduler_service.stats.pair_sums import TIE, PairSums, Users, no_pairs
from scheduler_service.stats.paired import Paired, paired_of
from scheduler_service.stats.summaries import Values
from scheduler_service.words import Message

if TYPE_CHECKING:
    import pandas as pd

MAX_WORST = 10
"""Number of the candidate's worst pairs that are reported."""


@dataclass(frozen=True, kw_only=True)
class PairedVerdict(Judged):
    """A verdict from the same requests, answered by both models."""

    is_one_model: bool  # both sides have the same key, so differences are random
    test: Paired | NotComputable  # of the users' mean log ratios, for a single look at the end
    pairs: int
    users: int
    distinct_instances: int
    wins: int  # pairs in which the candidate's schedule is shorter
    ties: int
    losses: int
    failures: tuple[int, int]  # of the baseline and of the candidate, in all pairs, including those left out
    worst: tuple[dict[str, Any], ...]  # the pairs with the largest ratios above 1
    replay_number: int | None = None  # number of this replay of the two models; None: the pairs are not from a replay

    @property
    def geometric_mean_ratio(self) -> float | None:
        """The candidate's geometric mean over the baseline's; below 1 is better."""
        return None if isinstance(self.effect, NotComputable) else 1.0 - self.effect.improvement

    @property
    def basis(self) -> Message:
        return Message("verdicts.basis_pairs", {"pairs": self.pairs, "users": self.users})

    @property
    def messages(self) -> tuple[Message, ...]:
        if self.is_one_model:
            return (Message("verdicts.one_model", self._params),)
        said = super().messages
        if self.wins or self.losses:
            said += (Message("verdicts.counts", {"wins": self.wins, "ties": self.ties, "losses": self.losses}),)
        if any(self.failures):
            a, b = self.failures
            said += (Message("verdicts.failures", {"a": BASELINE, "b": self.candidate, "n_a": a, "n_b": b}),)
        if self.replay_number is not None:
            said += (Message("verdicts.replay", {"number": self.replay_number, "alpha": self.alpha}),)
        return said

    def to_dict(self) -> dict[str, Any]:
        """JSON; shares as percentages, null if a figure cannot be computed."""
        effect = None if isinstance(self.effect, NotComputable) else self.effect
        return {
            "metric": self.metric.name,
            **self.words(),
            **advice(self.next_step()),
            "alpha": self.alpha,
            "replay_number": self.replay_number,
            "pairs": self.pairs,
            "users": self.users,
            "distinct_instances": self.distinct_instances,
            "improvement_percentage": None if effect is None else 100.0 * effect.improvement,
            "confidence_sequence": None if effect is None else [100.0 * effect.low, 100.0 * effect.high],
            "geometric_mean_ratio": self.geometric_mean_ratio,
            "correlation": None if effect is None else effect.correlation,
            "p_value": None if isinstance(self.test, NotComputable) else self.test.p_value,
            "p_value_reason": self.test.to_dict() if isinstance(self.test, NotComputable) else None,
            "wins": self.wins,
            "ties": self.ties,
            "losses": self.losses,
            "failures": {BASELINE: self.failures[0], self.candidate: self.failures[1]},
            "worst": list(self.worst),
        }

    def effect_dict(self) -> dict[str, Any]:
        """The verdict as JSON with the fields of one on users."""
        found = super().to_dict()
        if found["anytime_effect"] is not None:
            found["anytime_effect"]["users"] = self.users
        return found


def judge_pairs(
    pairs: pd.DataFrame, *, margin: float, alpha: float, candidate: str = "model_b", metric: str = "makespan"
) -> PairedVerdict:
    """The verdict on pairs of makespans of the same instances (or of `policy_makespan`, the models' own schedules).

    The unit is the user: d = mean over the user's requests of log(makespan_b / makespan_a). A failed run gets the
    penalised makespan `arms.FAILED_RATIO` times the lower bound, at least the makespan of the other model if that did
    not fail. If both failed, the pair is a tie. Pairs with neither a makespan nor a lower bound are left out. The
    bounds are those of `effect.effect_of_pairs`, valid at all times. The word is `identical` if both sides are the same
    model, or if no pair differs.

    Args:
        pairs: one row per request; columns `user_id`, `key_a`, `key_b`, `makespan_a`, `makespan_b`, `success_a`,
            `success_b` and `lower_bound`; optional `request_id`, `n_workpoints` and `input_digest`. A row without
            `user_id` counts as a separate user.
        margin: share of the baseline by which the candidate may be worse and still be non-inferior.
        alpha: probability of a wrong verdict, for any number of looks.
        metric: one of `metrics.PAIRED`; the pairs have the columns `<metric>_a` and `<metric>_b`.

    Raises:
        KeyError: another metric.
    """
    return judge_sums(sums_of(pairs, metric), margin=margin, alpha=alpha, candidate=candidate, metric=metric)


def judge_sums(
    sums: PairSums, *, margin: float, alpha: float, candidate: str = "model_b", metric: str = "makespan"
) -> PairedVerdict:
    """As `judge_pairs`, from the figures of the pairs in this metric."""
    judged, users = _paired(metric), sums.users
    effect = effect_of_differences(users.differences, users.correlation, judged, alpha, users.weights)
    word: Word
    if sums.is_one_model or (sums.pairs and sums.ties == sums.pairs):
        word, reason = "identical", None
    elif isinstance(effect, NotComputable):
        word, reason = "invalid", sums.unrecorded or effect
    else:
        word, reason = word_for(effect, margin), None
    undecidable = None
    if word not in ("better", "worse") and not sums.is_one_model:
        undecidable = cannot_tell_of(judged, dict(zip((BASELINE, candidate), sums.proven, strict=True)))
    return PairedVerdict(
        candidate=candidate,
        metric=judged,
        word=word,
        is_one_model=sums.is_one_model,
        reason=reason,
        margin=margin,
        alpha=alpha,
        effect=effect,
        test=paired_of(users.n, users.means, users.mean_difference, users.standard_error, alpha),
        pairs=sums.pairs,
        users=users.n,
        distinct_instances=sums.distinct_instances,
        wins=sums.wins,
        ties=sums.ties,
        losses=sums.losses,
        failures=sums.failures,
        worst=sums.worst,
        cannot_tell=undecidable,
        days_left=_days_left(word, undecidable),
    )


def _paired(metric: str) -> Metric:
    if metric not in PAIRED:
        raise KeyError(f"pairs are not judged by {metric!r}; they are by {' or '.join(PAIRED)}")
    return METRICS[metric]


def sums_of(pairs: pd.DataFrame, metric: str) -> PairSums:
    """The figures of the pairs; arguments and errors as of `judge_pairs`."""
    judged = _paired(metric)
    if (unrecorded := _unrecorded(pairs, judged)) is not None:
        return no_pairs(unrecorded)
    rows, a, b = _compared(pairs, judged)
    failed_a, failed_b = _failed(pairs, "a"), _failed(pairs, "b")
    ratio = b / a
    is_tie = np.abs(ratio - 1.0) <= TIE
    return PairSums(
        pairs=len(rows),
        users=Users.of(*_user_means(rows, a, b)),
        is_one_model=bool(len(pairs)) and bool(pairs["key_a"].eq(pairs["key_b"]).all()),
        wins=int((~is_tie & (ratio < 1.0)).sum()),
        ties=int(is_tie.sum()),
        losses=int((~is_tie & (ratio > 1.0)).sum()),
        failures=(int(failed_a.sum()), int(failed_b.sum())),
        proven=(proven_of(_gaps(pairs, "a")), proven_of(_gaps(pairs, "b"))),
        distinct_instances=int(rows["input_digest"].nunique()) if "input_digest" in rows.columns else 0,
        worst=_worst(rows, judged, a, b),
        unrecorded=None,
    )


def worst_of(pairs: pd.DataFrame, metric: Metric) -> tuple[dict[str, Any], ...]:
    """The pairs with the largest ratios above 1, for `PairedVerdict.worst`."""
    rows, a, b = _compared(pairs, metric)
    return _worst(rows, metric, a, b)


def _days_left(word: Word, undecidable: CannotTell | None) -> DaysLeft:
    if undecidable is not None:
        return DaysLeft(None, reason=NotComputable("cannot_tell"))
    if word in ("better", "worse", "identical"):
        return DaysLeft(None, reason=NotComputable("decided"))
    return DaysLeft(None, reason=NotComputable("no_data", "pairs_to_come"))


def paired_user_means(pairs: pd.DataFrame, metric: Metric) -> tuple[Values, Values]:
    """Mean log makespan of each user, for baseline and candidate; pairs as for `judge_pairs`; shapes (n,)."""
    return _user_means(*_compared(pairs, metric))


def success_differences(pairs: pd.DataFrame) -> Values:
    """The candidate's mean success minus the baseline's for each user, shape (n,), -1..1."""
    unit = units(pairs)
    answered = _failed(pairs, "a").astype(np.float64) - _failed(pairs, "b")
    return np.bincount(unit, weights=answered) / np.maximum(np.bincount(unit), 1)


def _compared(pairs: pd.DataFrame, metric: Metric) -> tuple[pd.DataFrame, Values, Values]:
    """The pairs with both makespans (failures penalised), and these makespans."""
    a, b = _makespans(pairs, metric, "a"), _makespans(pairs, metric, "b")
    failed_a, failed_b = _failed(pairs, "a"), _failed(pairs, "b")
    a, b = np.where(failed_a & ~failed_b, np.maximum(a, b), a), np.where(failed_b & ~failed_a, np.maximum(a, b), b)
    known = np.isfinite(a) & np.isfinite(b)
    return pairs[known], a[known], b[known]


def _user_means(rows: pd.DataFrame, a: Values, b: Values) -> tuple[Values, Values]:
    unit = units(rows)
    of_a, of_b = (np.bincount(unit, weights=np.log(side)) / np.bincount(unit) for side in (a, b))
    return of_a, of_b


def _unrecorded(pairs: pd.DataFrame, metric: Metric) -> NotComputable | None:
    """The reason `not_recorded` if all pairs are older than the metric; otherwise None."""
    if not metric.may_be_unrecorded or not len(pairs):
        return None
    known = pairs[[f"{metric.name}_a", f"{metric.name}_b"]].notna().to_numpy()
    answered = ~np.column_stack([_failed(pairs, side) for side in ("a", "b")])
    if known.any() or not answered.any():
        return None
    return NotComputable("not_recorded", "pairs_not_recorded", metric=metric.name)


def _makespans(pairs: pd.DataFrame, metric: Metric, side: str) -> Values:
    """The makespan of each pair, failed runs penalised; NaN if unknown."""
    penalty = FAILED_RATIO * pairs["lower_bound"].astype("float64")
    values = pairs[f"{metric.name}_{side}"].astype("float64").mask(_failed(pairs, side), penalty)
    return np.asarray(values.where(values > 0.0), np.float64)


def _gaps(pairs: pd.DataFrame, side: str) -> Values:
    """The gap of each answer to the best bound proved by either model; NaN for failures."""
    gaps = pairs[f"makespan_{side}"].astype("float64") / pairs["lower_bound"].astype("float64") - 1.0
    return np.asarray(gaps.mask(_failed(pairs, side)), np.float64)


def _failed(pairs: pd.DataFrame, side: str) -> npt.NDArray[np.bool_]:
    done = pairs[f"success_{side}"].astype("boolean").fillna(value=False)
    return ~np.asarray(done, dtype=bool)


def _worst(rows: pd.DataFrame, metric: Metric, a: Values, b: Values) -> tuple[dict[str, Any], ...]:
    answered = (_makespans(rows, METRICS["makespan"], side) for side in ("a", "b"))
    lengths = dict(zip(("makespan_a", "makespan_b"), answered, strict=True))
    lengths |= {f"{metric.name}_a": a, f"{metric.name}_b": b}
    order = np.argsort(-(b / a), kind="stable")[:MAX_WORST]
    found = []
    for index in order[(b / a)[order] > 1.0 + TIE]:
        row = rows.iloc[int(index)]
        columns = {name: row[name] for name in ("request_id", "user_id", "n_workpoints", "input_digest") if name in row}
        found.append(
            {
                **{name: _plain(value) for name, value in columns.items()},
                **{name: float(values[index]) for name, values in lengths.items()},
                "ratio": float(b[index] / a[index]),
            }
        )
    return tuple(found)


def _plain(value: Any) -> str | int | None:
    import pandas as pd  # slow to import; callers that have rows have imported it

    if pd.isna(value):
        return None
    return value if isinstance(value, str) else int(value)

"""The comparison of a candidate with the baseline, from the recorded runs of an experiment."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from scheduler_service.stats.arms import (
    BASELINE,
    assigned,
    metric_values,
    rows_of_arm,
    split_of,
    totals,
    units,
    unrecorded,
)
from scheduler_service.stats.judged import change_message
from scheduler_service.stats.lift import LiftInterval, lift, lift_interval
from scheduler_service.stats.metrics import METRICS, Metric, metric_named
from scheduler_service.stats.outcome import NotComputable
from scheduler_service.stats.srm import SRM_ALARM, srm_p_value, srm_p_value_of_periods
from scheduler_service.stats.summaries import Summary, Values, summarise
from scheduler_service.stats.welch import Welch, welch
from scheduler_service.words import WORDS, Message

if TYPE_CHECKING:
    import pandas as pd  # slow to import; callers that have a frame have imported it


@dataclass(frozen=True)
class ArmComparison:
    """A candidate, usually model_b, compared with the baseline, model_a.

    Counts and `average_metrics` are per request. All inference is per user: users are assigned to arms, and requests of
    one user are similar, so a test that treats requests as independent would find differences that do not exist.
    """

    candidate: str
    metric: Metric
    alpha: float
    min_samples: int
    split: Mapping[str, float] | None  # the configured shares; None: unknown
    total_requests: Mapping[str, int]
    users: Mapping[str, int]
    average_metrics: Mapping[str, Mapping[str, Summary]]  # arm -> metric -> summary over its requests
    user_means: Mapping[str, Summary]  # arm -> summary over the means of its users, for `metric`
    relative_difference: float | NotComputable  # of the user means, share of the baseline; positive: larger values
    interval: LiftInterval | NotComputable  # of `relative_difference`
    test: Welch | NotComputable  # of the user means
    srm_p: float | NotComputable

    @property
    def baseline(self) -> str:
        """The arm that the candidate is compared with."""
        return BASELINE

    @property
    def arms(self) -> tuple[str, str]:
        """Baseline and candidate."""
        return BASELINE, self.candidate

    @property
    def improvement_percentage(self) -> float | NotComputable:
        """The candidate's improvement in percent of model_a's mean; negative if it is worse."""
        if isinstance(self.relative_difference, NotComputable):
            return self.relative_difference
        return 100.0 * self._sign * self.relative_difference + 0.0  # + 0.0 turns -0.0 into 0.0

    @property
    def confidence_interval(self) -> tuple[float, float] | NotComputable:
        """Confidence interval (low, high) of `improvement_percentage` at level 1 - alpha."""
        if isinstance(self.interval, NotComputable):
            return self.interval
        low, high = sorted((100.0 * self._sign * self.interval.low, 100.0 * self._sign * self.interval.high))
        return low, high

    @property
    def p_value(self) -> float | NotComputable:
        """Two-sided p-value of the hypothesis that the user means are equal."""
        return self.test if isinstance(self.test, NotComputable) else self.test.p_value

    @property
    def too_few_samples(self) -> NotComputable | None:
        """The reason `too_few_samples` if an arm has fewer than `min_samples` values of the metric; otherwise None."""
        counts = {arm: self.average_metrics[arm][self.metric.name].count for arm in self.arms}
        short = {arm: count for arm, count in counts.items() if count < self.min_samples}
        if not short:
            return None
        have = [Message("reasons.samples_of_arm", {"arm": arm, "count": count}) for arm, count in short.items()]
        return NotComputable("too_few_samples", least=self.min_samples, have=have)

    @property
    def not_significant(self) -> NotComputable | None:
        """The reason why the difference is not significant; None if it is."""
        if self.too_few_samples is not None:
            return self.too_few_samples
        if isinstance(self.p_value, NotComputable):
            return self.p_value
        if not self.p_value < self.alpha:
            return NotComputable("not_below_alpha", p=self.p_value, alpha=self.alpha)
        return None

    @property
    def is_significant(self) -> bool:
        """Every arm has `min_samples` values of the metric, and p < alpha."""
        return self.not_significant is None

    @property
    def has_ratio_mismatch(self) -> bool:
        """Sample-ratio mismatch: the users' shares of the arms differ from the split by more than chance.

        The comparison is then not reliable.
        """
        return not isinstance(self.srm_p, NotComputable) and self.srm_p < SRM_ALARM

    @property
    def messages(self) -> tuple[Message, ...]:
        """The result of the raw means."""
        metric, improvement, interval = self.metric, self.improvement_percentage, self.confidence_interval
        if isinstance(improvement, NotComputable):
            said = Message("raw_means.not_computable", {"metric": metric.name, "reason": improvement.text})
            return (said, *self._mismatch())
        bounds: Message | str = ""
        if not isinstance(interval, NotComputable):
            low, high = (each / 100.0 for each in interval)
            bounds = Message("raw_means.interval", {"level": 1.0 - self.alpha, "low": low, "high": high})
        params = {
            "b": self.candidate,
            "a": BASELINE,
            "change": change_message(improvement / 100.0, metric, bounds),
            "significance": self._significance(),
            "users": [self.user_means[arm].count for arm in self.arms],
        }
        kind = "all" if not metric.of_successes else "adjustable" if metric.covariate is not None else "successes"
        return (Message(f"raw_means.{kind}", params), *self._mismatch())

    @property
    def summary(self) -> str:
        """The result of the raw means in English; `headline.summary` puts the verdict before it."""
        return WORDS.say(*self.messages)

    def to_dict(self) -> dict[str, object]:
        """The results as JSON, see API.md: null if a figure cannot be computed, with the reason in `reasons`."""
        figures: dict[str, object | NotComputable] = {
            "improvement_percentage": self.improvement_percentage,
            "confidence_interval": self.confidence_interval,
            "p_value": self.p_value,
            "srm_p_value": self.srm_p,
        }
        reasons = {name: figure.to_dict() for name, figure in figures.items() if isinstance(figure, NotComputable)}
        if self.not_significant is not None:
            reasons["is_significant"] = self.not_significant.to_dict()
        plain = {name: None if isinstance(figure, NotComputable) else figure for name, figure in figures.items()}
        if not isinstance(self.confidence_interval, NotComputable):
            plain["confidence_interval"] = list(self.confidence_interval)
        return {
            "metric": self.metric.name,
            "direction": self.metric.direction,
            "total_requests": dict(self.total_requests),
            "users": dict(self.users),
            "average_metrics": {
                arm: {name: summary.to_dict() for name, summary in metrics.items()}
                for arm, metrics in self.average_metrics.items()
            },
            "user_means": {arm: summary.to_dict() for arm, summary in self.user_means.items()},
            **plain,
            "confidence_level": 1.0 - self.alpha,
            "is_significant": self.is_significant,
            "alpha": self.alpha,
            "min_samples": self.min_samples,
            "reasons": reasons,
            "summary": self.summary,
            "split_text": self.split_message.to_dict(),
        }

    @property
    def _sign(self) -> float:
        return -1.0 if self.metric.lower_is_better else 1.0

    def _significance(self) -> Message:
        shortfall = self.not_significant
        if shortfall is None:
            return Message("raw_means.significant", {"p": self.p_value})
        return Message("raw_means.not_significant", {"reason": shortfall.text})

    def _mismatch(self) -> tuple[Message, ...]:
        return (self.split_message,) if self.has_ratio_mismatch else ()

    @property
    def split_message(self) -> Message:
        """Whether the users are split as configured."""
        if isinstance(self.srm_p, NotComputable):
            return Message("split.unknown", {"reason": self.srm_p.text})
        if not self.has_ratio_mismatch:
            return Message("split.ok", {"p": self.srm_p})
        split = {arm: share for arm, share in (self.split or {}).items() if share > 0.0}
        users = " / ".join(f"{self.users[arm]:,}" for arm in split)
        shares = " / ".join(f"{100.0 * share:g} %" for share in split.values())
        return Message("split.bad", {"users": users, "shares": shares, "p": self.srm_p})


def compare_arms(
    runs: pd.DataFrame,
    metric: str,
    *,
    min_samples: int = 100,
    alpha: float = 0.05,
    split: Mapping[str, float] | None = None,
    candidate: str = "model_b",
) -> ArmComparison:
    """Compare `candidate` with model_a by the recorded runs of one experiment.

    Args:
        runs: one row per request; columns `variant`, `user_id`, `success` and the recorded metrics. Rows of other
            variants count only for the split. A row without `user_id` counts as a separate user. If there is a column
            `reason`, rows with `fallback` count as failures of their arm, because another model answered.
        metric: the name of a metric in `scheduler_service.stats.metrics` by which the arms are judged.
        min_samples: minimum number of values of the metric per arm for a significant difference.
        alpha: significance level for a single look, 0..1.
        split: the configured share of the users of each arm; None: the split is not checked.
        candidate: the arm that is compared with model_a.

    Raises:
        KeyError: the metric is unknown, or a column is missing.
    """
    chosen = metric_named(metric)
    if chosen.name not in runs.columns:
        raise KeyError(f"the runs have no column {chosen.name!r}")
    names = (BASELINE, candidate) if split is None else tuple(split)
    arms = {arm: _read_arm(runs, arm, chosen) for arm in names}
    a, b = arms[BASELINE].user_means, arms[candidate].user_means
    user_means = {arm: summarise(arms[arm].user_means) for arm in names}
    mean_a, mean_b = user_means[BASELINE].mean, user_means[candidate].mean
    empty = [arm for arm in (BASELINE, candidate) if not arms[arm].user_means.size]
    nothing = unrecorded(runs, chosen, (BASELINE, candidate)) or NotComputable(
        "no_data", metric=chosen.name, arms=empty
    )
    users = {arm: arms[arm].users for arm in names}
    unknown = NotComputable("split_unknown")
    return ArmComparison(
        candidate=candidate,
        metric=chosen,
        alpha=alpha,
        min_samples=min_samples,
        split=split,
        total_requests={arm: arms[arm].requests for arm in names},
        users=users,
        average_metrics={arm: arms[arm].summaries for arm in names},
        user_means=user_means,
        relative_difference=nothing if mean_a is None or mean_b is None else lift(mean_a, mean_b),
        interval=nothing if empty else lift_interval(a, b, alpha),
        test=nothing if empty else welch(a, b, alpha),
        srm_p=unknown if split is None else _srm_p(runs, users, split),
    )


def _srm_p(runs: pd.DataFrame, users: Mapping[str, int], split: Mapping[str, float]) -> float | NotComputable:
    """p-value of the split over all periods with constant shares; a user counts only in the first period.

    A returning user gets the same arm again if the shares are similar, so counting the user twice would count one
    deviation twice.
    """
    if "split" not in runs.columns:
        return srm_p_value(*_taking_part(users, split))
    rows = assigned(runs)
    first = rows.iloc[np.unique(units(rows), return_index=True)[1]]
    periods: dict[tuple[tuple[str, float], ...], Counter[str]] = {}
    for text, seen in first.groupby("split", dropna=False):
        said = split_of(text) if isinstance(text, str) else None
        counts = periods.setdefault(tuple((said or split).items()), Counter())
        counts.update(seen["variant"])
    return srm_p_value_of_periods([_taking_part(counts, dict(shares)) for shares, counts in periods.items()])


def _taking_part(users: Mapping[str, int], split: Mapping[str, float]) -> tuple[list[int], list[float]]:
    """Users and shares of the arms with a share; the shares are normalised, because recorded ones may be rounded."""
    arms = [arm for arm, share in split.items() if share > 0.0]
    total = math.fsum(split.values())
    return [users[arm] for arm in arms], [split[arm] / total for arm in arms]


@dataclass(frozen=True)
class _Arm:
    requests: int
    users: int
    summaries: Mapping[str, Summary]  # metric -> summary over the requests
    user_means: Values  # of the judged metric; one value per user with a value


def _read_arm(runs: pd.DataFrame, arm: str, chosen: Metric) -> _Arm:
    rows = rows_of_arm(runs, arm)
    columns = {name: values for name, metric in METRICS.items() if (values := metric_values(rows, metric)) is not None}
    unit = units(rows)
    judged = totals(columns[chosen.name], unit)
    return _Arm(
        requests=len(rows),
        users=len(np.unique(unit)),
        summaries={name: summarise(np.asarray(column, np.float64)) for name, column in columns.items()},
        user_means=judged.sums / judged.counts,
    )

"""The power of a planned experiment and the days it needs, from the recorded runs."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

import numpy as np

from scheduler_service.experiments.assignment import BOUNDARY_DECIMALS
from scheduler_service.experiments.experiment import Experiment
from scheduler_service.stats.arms import BASELINE, metric_values, since_recorded, units, user_means
from scheduler_service.stats.metrics import Metric, metric_named
from scheduler_service.stats.outcome import NotComputable
from scheduler_service.stats.power import Forecast
from scheduler_service.stats.summaries import Values
from scheduler_service.words import WORDS, Message

if TYPE_CHECKING:
    import pandas as pd

POWER = 0.8
LOOK_BACK_DAYS = 28.0
MAX_RUNS = 20_000
"""The newest runs: enough to estimate the variance, and read in a fraction of a second."""
MIN_RATE_DAYS = 2.0
"""With records of a shorter period, the rate of new users cannot be estimated; arrivals are assumed uniform."""
MIN_USERS = 10
"""Needed to estimate the variance between users."""
MIN_WINDOW_DAYS = 1.0 / 86_400.0
MAX_DAYS = 3_650.0
CURVE_POINTS = 40

PLANNING_COLUMNS = ("timestamp", "model_key", "reason", "user_id", "success", "lower_bound")


def planning_columns(metric: str) -> tuple[str, ...]:
    """The columns of the runs that `plan` needs for an experiment with this success metric."""
    name = metric_named(metric).name
    return PLANNING_COLUMNS if name in PLANNING_COLUMNS else (*PLANNING_COLUMNS, name)


@dataclass(frozen=True)
class Traffic:
    """Recorded users and requests, and the users expected in the future."""

    first_seen_days: Values  # first request of each user, days after the start of the window; ascending
    requests: int
    window_days: float
    is_even: bool  # the record is short: arrivals are assumed uniform over the window
    late_share: float = 1.0  # new users in the second half of the record, as a share of those of a uniform stream

    @property
    def users(self) -> int:
        return int(self.first_seen_days.size)

    @property
    def requests_per_day(self) -> float:
        return self.requests / self.window_days

    @property
    def new_users_per_day(self) -> float:
        """After the window: the rate of its second half, when more users are returning; at most the average."""
        average = self.users / self.window_days
        if self.is_even:
            return average * self.late_share
        late = self.users - int(np.searchsorted(self.first_seen_days, self.window_days / 2.0))
        return min(average, late / (self.window_days / 2.0))

    def users_after(self, days: float) -> float:
        """Expected distinct users within so many days."""
        if self.is_even and days < self.window_days:
            return self.users / self.window_days * days
        if days >= self.window_days:
            return self.users + (days - self.window_days) * self.new_users_per_day
        # Interpolated: future users do not arrive at the same times of the window.
        return float(np.interp(days, [0.0, *self.first_seen_days], np.arange(self.users + 1.0)))

    def days_until(self, users: float) -> float | None:
        """The days until there are so many users; None: more than ten years."""
        low, high = 0.0, MAX_DAYS
        if self.users_after(high) < users:
            return None
        for _ in range(60):
            middle = (low + high) / 2.0
            low, high = (low, middle) if self.users_after(middle) >= users else (middle, high)
        return high


@dataclass(frozen=True)
class Plan:
    """The effects that an experiment can detect for its first candidate, by the bounds that the verdict uses."""

    experiment: Experiment
    minimum_effect: float  # share of the baseline
    traffic: Traffic
    forecast: Forecast | NotComputable
    correlation: float | None  # of metric and lower bound; None if the metric is not adjusted for the bound
    model: str | None  # key of the model whose runs are used; None: all models
    runs: int  # number of these runs
    users: int  # number of their users
    is_open_ended: bool = False  # `duration_days` is only the period of the estimate

    @property
    def alpha(self) -> float:
        return self.experiment.alpha / len(self.experiment.candidates)

    @property
    def shares(self) -> tuple[float, float]:
        """The shares of all users in baseline and candidate; 0 for an arm without a bucket."""
        coverage = last_coverage(self.experiment)
        split = self.experiment.traffic_split
        share_a, share_b = coverage * split[BASELINE], coverage * split[self.experiment.candidates[0]]
        return round(share_a, BOUNDARY_DECIMALS), round(share_b, BOUNDARY_DECIMALS)

    def days_for(self, effect: float, *, supposed: float = 0.0) -> float | None:
        """The days until the power for this improvement against `supposed` (shares of the baseline) is 80 %."""
        users = self._users_for(effect, supposed)
        days = None if users is None else self.traffic.days_until(users)
        if days is None:
            return None
        days = max(days, self.experiment.min_samples / (self.traffic.requests_per_day * min(self.shares)))
        return days if days <= MAX_DAYS else None

    def users_for(self, effect: float) -> dict[str, int] | None:
        """The users needed in each arm."""
        users = self._users_for(effect)
        return None if users is None else {arm: math.ceil(round(users * share, 6)) for arm, share in self._arms()}

    def users_after(self, days: float) -> dict[str, int]:
        users = self.traffic.users_after(days)
        return {arm: int(users * share) for arm, share in self._arms()}

    def detectable_after(self, days: float) -> float | None:
        """The smallest improvement detected with a power of 80 %; None: too few users, or unknown variance."""
        users = self.users_after(days)
        if isinstance(self.forecast, NotComputable) or min(self.shares) == 0.0:
            return None
        return self.forecast.detectable(sum(users.values()), self._share)

    @property
    def is_long_enough(self) -> bool:
        """Whether the minimum effect is found before the planned end."""
        needed = self.days_for(self.minimum_effect)
        return needed is not None and (self.is_open_ended or needed <= self.experiment.duration_days)

    @property
    def conclusion(self) -> Message:
        """Whether the planned days are enough, and what to do if not."""
        codes = ("open_ended", "out_of_reach") if self.is_open_ended else ("long_enough", "too_short")
        return Message(f"plan.{codes[not self.is_long_enough]}", {"days": self.experiment.duration_days})

    def to_dict(self) -> dict[str, Any]:
        """JSON; shares as percentages, null for unknown values."""
        experiment, known = self.experiment, not isinstance(self.forecast, NotComputable)
        days, minimum = float(experiment.duration_days), self.minimum_effect
        needed = self.days_for(minimum) if known else None
        return {
            "metric": experiment.success_metric,
            "direction": self._metric.direction,
            "alpha": self.alpha,
            "power": POWER,
            "reason": self.forecast.to_dict() if isinstance(self.forecast, NotComputable) else None,
            "basis": {
                "model": self.model,
                "days": self.traffic.window_days,
                "runs": self.runs,
                "users": self.users,
                "least_users": MIN_USERS,
                "requests_per_day": self.traffic.requests_per_day,
                "new_users_per_day": self.traffic.new_users_per_day,
                "covariate_correlation": self.correlation,
            },
            "minimum_effect_percentage": 100.0 * minimum,
            "users_needed": self.users_for(minimum),
            "days_needed": needed,
            "days_to_non_inferior": self.days_for(0.0, supposed=-experiment.margin) if known else None,
            "is_long_enough": None if not known else self.is_long_enough,
            "conclusion": None if not known else WORDS.say(self.conclusion),
            "conclusion_text": None if not known else self.conclusion.to_dict(),
            "duration_days": days,
            "is_open_ended": self.is_open_ended,
            "users_in_duration": self.users_after(days),
            "minimum_detectable_effect_percentage": _percentage(self.detectable_after(days)),
            "curve": self._curve(needed) if known else [],
        }

    def _curve(self, needed: float | None) -> list[dict[str, Any]]:
        duration = float(self.experiment.duration_days)
        until = min(max(2.0 * duration, min(1.25 * (needed or 0.0), 10.0 * duration)), MAX_DAYS)
        return [
            {
                "days": float(days),
                "users": self.users_after(float(days)),
                "minimum_detectable_effect_percentage": _percentage(self.detectable_after(float(days))),
            }
            for days in np.linspace(until / CURVE_POINTS, until, CURVE_POINTS)
        ]

    def _users_for(self, effect: float, supposed: float = 0.0) -> float | None:
        """The users of the whole service that are needed; None: unknown variance, or an arm without users."""
        if isinstance(self.forecast, NotComputable) or min(self.shares) == 0.0:
            return None
        wanted = self.forecast.users_needed(effect, self._share, supposed=supposed)
        return None if wanted is None else wanted / sum(self.shares)

    @property
    def _share(self) -> float:
        """The candidate's share of the users who take part."""
        share_a, share_b = self.shares
        return share_b / (share_a + share_b)

    @property
    def _metric(self) -> Metric:
        return metric_named(self.experiment.success_metric)

    def _arms(self) -> list[tuple[str, float]]:
        return list(zip((BASELINE, self.experiment.candidates[0]), self.shares, strict=True))


def plan(
    experiment: Experiment,
    minimum_effect: float,
    runs: pd.DataFrame,
    now: datetime,
    model: str | None,
    *,
    days: float = LOOK_BACK_DAYS,
    is_open_ended: bool = False,
) -> Plan:
    """The power of `experiment` if traffic continues as recorded.

    The variance is that of the user means of the baseline's runs, or of all runs if the baseline has too few users. As
    in the verdict, makespans are adjusted for the lower bound of the instances, and failures are penalised.

    Args:
        minimum_effect: the smallest improvement to detect, a share of the baseline.
        runs: of the last `days`, or the newest ones of them; columns `planning_columns`.
        model: key of the baseline; None: not known yet.
        is_open_ended: the experiment has no planned end; its `duration_days` are only the period of the estimate.
    """
    metric = metric_named(experiment.success_metric)
    mine = runs if model is None else runs[runs["model_key"].eq(model).fillna(value=False).astype(bool)]
    alpha = experiment.alpha / len(experiment.candidates)
    forecast, correlation = _forecast(mine, metric, alpha)
    if model is not None and isinstance(forecast, NotComputable):
        mine, model, (forecast, correlation) = runs, None, _forecast(runs, metric, alpha)
    users = int(np.unique(units(mine)).size)
    traffic = traffic_of(runs, now, days)
    return Plan(experiment, minimum_effect, traffic, forecast, correlation, model, len(mine), users, is_open_ended)


def last_coverage(experiment: Experiment) -> float:
    """The share of the users who take part; for a rollout, at the last stage before the promotion."""
    rollout = experiment.rollout
    if rollout is None:
        return experiment.coverage
    return rollout.model_copy(update={"stage": len(rollout.stages) - 2}).coverage


def _forecast(runs: pd.DataFrame, metric: Metric, alpha: float) -> tuple[Forecast | NotComputable, float | None]:
    values = metric_values(runs, metric)
    if values is None or not values.notna().any():
        if metric.may_be_unrecorded and len(runs):
            return NotComputable("not_recorded", "runs_not_recorded", metric=metric.name), None
        return NotComputable("no_data", "no_run", metric=metric.name), None
    means, limits, correlation = user_means(since_recorded(runs, metric), metric)
    if means.size < MIN_USERS:
        return NotComputable("too_few_units", "too_few_to_plan", least=MIN_USERS, users=means.size), None
    if not metric.is_ratio_scale and not float(means.mean()) > 0.0:
        return NotComputable("baseline_not_positive", mean=float(means.mean())), None
    return Forecast(means, limits, metric, alpha, POWER), correlation


def traffic_of(runs: pd.DataFrame, now: datetime, days: float) -> Traffic:
    """The traffic of the runs of the last `days`.

    A record of less than a day counts as one day, since the rest of the day is unknown. But if the number of runs was
    limited to `MAX_RUNS`, the window is the period of these runs.
    """
    if not len(runs):
        return Traffic(np.empty(0), 0, days, is_even=True)
    ages = (now - runs["timestamp"]).dt.total_seconds() / 86_400.0
    is_cut = len(runs) >= MAX_RUNS
    window = min(max(float(ages.max()), MIN_WINDOW_DAYS if is_cut else 1.0), days)
    first = np.asarray(ages.groupby(units(runs)).max(), np.float64)
    first_seen = np.sort(np.clip(window - first, 0.0, window))
    middle = (float(ages.min()) + float(ages.max())) / 2.0
    late_share = min(1.0, 2.0 * int((first < middle).sum()) / first.size)
    return Traffic(first_seen, len(runs), window, is_even=not is_cut and window < MIN_RATE_DAYS, late_share=late_share)


def _percentage(share: float | None) -> float | None:
    return None if share is None else 100.0 * share

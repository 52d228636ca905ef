"""How long an experiment would take: the power of one that is only being thought of, from the runs on record."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

import numpy as np

from scheduler_service.experiments.assignment import BOUNDARY_DECIMALS
from scheduler_service.experiments.experiment import Experiment
from scheduler_service.experiments.rollout import Rollout
from scheduler_service.stats.arms import BASELINE, metric_values, since_recorded, units, user_means
from scheduler_service.stats.metrics import Metric, metric_named
from scheduler_service.stats.outcome import NotComputable
from scheduler_service.stats.power import Prospect
from scheduler_service.stats.summaries import Values
from scheduler_service.words import WORDS, Message

if TYPE_CHECKING:
    import pandas as pd

POWER = 0.8
LOOK_BACK_DAYS = 28.0
RUNS_AT_MOST = 20_000
"""The newest ones: enough for a spread, and read in a fraction of a second."""
RATE_DAYS = 2.0
"""Of records that it takes before users who come again are told from new ones; a shorter time counts as even."""
LEAST_USERS = 10
"""On record, for a plan: fewer do not show what users vary by."""
LEAST_WINDOW_DAYS = 1.0 / 86_400.0
MAX_DAYS = 3_650.0
POINTS = 40
"""Of the curve."""

PLANNING_COLUMNS = ("timestamp", "model_key", "reason", "user_id", "success", "lower_bound")


def planning_columns(metric: str) -> tuple[str, ...]:
    """What `plan` reads of the runs for an experiment judged by `metric`."""
    name = metric_named(metric).name
    return PLANNING_COLUMNS if name in PLANNING_COLUMNS else (*PLANNING_COLUMNS, name)


@dataclass(frozen=True)
class Traffic:
    """Users and requests as they were recorded, and how many there would be after so many days more."""

    first_seen_days: Values  # of each user, after the window began; rising
    requests: int
    window_days: float
    is_even: bool  # too short for a day's course: what came counts as coming evenly over the window
    late_share: float = (
        1.0  # of the users that an even stream brings in the second half of the record, how many came new
    )

    @property
    def users(self) -> int:
        return int(self.first_seen_days.size)

    @property
    def requests_per_day(self) -> float:
        return self.requests / self.window_days

    @property
    def new_users_per_day(self) -> float:
        """Once the window is over: those of its second half, as people come again; never above the average."""
        average = self.users / self.window_days
        if self.is_even:
            return average * self.late_share
        late = self.users - int(np.searchsorted(self.first_seen_days, self.window_days / 2.0))
        return min(average, late / (self.window_days / 2.0))

    def users_after(self, days: float) -> float:
        """Different users within so many days."""
        if self.is_even and days < self.window_days:
            return self.users / self.window_days * days
        if days >= self.window_days:
            return self.users + (days - self.window_days) * self.new_users_per_day
        # Not a staircase: the next window's users do not come at this one's minutes.
        return float(np.interp(days, [0.0, *self.first_seen_days], np.arange(self.users + 1.0)))

    def days_until(self, users: float) -> float | None:
        """The first moment with so many users; None beyond ten years."""
        low, high = 0.0, MAX_DAYS
        if self.users_after(high) < users:
            return None
        for _ in range(60):
            middle = (low + high) / 2.0
            low, high = (low, middle) if self.users_after(middle) >= users else (middle, high)
        return high


@dataclass(frozen=True)
class Plan:
    """What an experiment could find, of its first candidate. Figures on how far it sees are of the verdict's bounds."""

    experiment: Experiment
    minimum_effect: float  # share of the baseline
    traffic: Traffic
    prospect: Prospect | NotComputable
    correlation: (
        float | None
    )  # of makespans and lower bounds on record; None where the one is not measured by the other
    model: str | None  # key of the model whose runs the prospect is of; None: of every model
    runs: int  # of these
    users: int  # of these
    is_open_ended: bool = False  # `duration_days` is only the period of the estimate

    @property
    def alpha(self) -> float:
        return self.experiment.alpha / len(self.experiment.candidates)

    @property
    def shares(self) -> tuple[float, float]:
        """Of all users, baseline and candidate; 0 for an arm so small that no bucket is its own."""
        coverage = last_coverage(self.experiment)
        split = self.experiment.traffic_split
        share_a, share_b = coverage * split[BASELINE], coverage * split[self.experiment.candidates[0]]
        return round(share_a, BOUNDARY_DECIMALS), round(share_b, BOUNDARY_DECIMALS)

    def days_for(self, effect: float, *, supposed: float = 0.0) -> float | None:
        """Until an improvement of this share of the baseline is told from `supposed` with a chance of 80 %."""
        users = self._users_for(effect, supposed)
        days = None if users is None else self.traffic.days_until(users)
        if days is None:
            return None
        days = max(days, self.experiment.min_samples / (self.traffic.requests_per_day * min(self.shares)))
        return days if days <= MAX_DAYS else None

    def users_for(self, effect: float) -> dict[str, int] | None:
        """Of each arm."""
        users = self._users_for(effect)
        return None if users is None else {arm: math.ceil(round(users * share, 6)) for arm, share in self._arms()}

    def users_after(self, days: float) -> dict[str, int]:
        users = self.traffic.users_after(days)
        return {arm: int(users * share) for arm, share in self._arms()}

    def detectable_after(self, days: float) -> float | None:
        """The least improvement that is told from none with a chance of 80 %; None: too few users, or no spread."""
        users = self.users_after(days)
        if isinstance(self.prospect, NotComputable) or min(self.shares) == 0.0:
            return None
        return self.prospect.detectable(sum(users.values()), self._share)

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
        """JSON; shares as percentages, null where there is no such figure."""
        experiment, known = self.experiment, not isinstance(self.prospect, NotComputable)
        days, minimum = float(experiment.duration_days), self.minimum_effect
        needed = self.days_for(minimum) if known else None
        return {
            "metric": experiment.success_metric,
            "direction": self._metric.direction,
            "alpha": self.alpha,
            "power": POWER,
            "reason": self.prospect.to_dict() if isinstance(self.prospect, NotComputable) else None,
            "basis": {
                "model": self.model,
                "days": self.traffic.window_days,
                "runs": self.runs,
                "users": self.users,
                "least_users": LEAST_USERS,
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
            for days in np.linspace(until / POINTS, until, POINTS)
        ]

    def _users_for(self, effect: float, supposed: float = 0.0) -> float | None:
        """Of the whole service; None where nothing is known, or an arm that nobody falls into."""
        if isinstance(self.prospect, NotComputable) or min(self.shares) == 0.0:
            return None
        wanted = self.prospect.users_needed(effect, self._share, supposed=supposed)
        return None if wanted is None else wanted / sum(self.shares)

    @property
    def _share(self) -> float:
        """Of the candidate among those who take part."""
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
    """The power of `experiment`, if users and requests go on as in the runs on record.

    The spread is that of the user means of the baseline's own runs, or of all runs where it has too few users; as in
    the verdict, the lower bound of the instances is taken out of the makespans, and failures are penalised.

    Args:
        minimum_effect: the least improvement that one wants to find, a share of the baseline.
        runs: of the last `days`, or the newest ones of them; columns `planning_columns`.
        model: key of the baseline; None if it is not known yet.
        is_open_ended: the experiment has no planned end; its `duration_days` are only the period of the estimate.
    """
    metric = metric_named(experiment.success_metric)
    mine = runs if model is None else runs[runs["model_key"].eq(model).fillna(value=False).astype(bool)]
    alpha = experiment.alpha / len(experiment.candidates)
    prospect, correlation = _prospect(mine, metric, alpha)
    if model is not None and isinstance(prospect, NotComputable):
        mine, model, (prospect, correlation) = runs, None, _prospect(runs, metric, alpha)
    users = int(np.unique(units(mine)).size)
    traffic = traffic_of(runs, now, days)
    return Plan(experiment, minimum_effect, traffic, prospect, correlation, model, len(mine), users, is_open_ended)


def last_coverage(experiment: Experiment) -> float:
    """The share of the users that take part; of a rollout that of the stage before the promotion."""
    rollout = experiment.rollout
    if rollout is None:
        return experiment.coverage
    last: Mapping[str, Any] = {"stage": len(rollout.stages) - 2}
    return Rollout.model_copy(rollout, update=last).coverage


def _prospect(runs: pd.DataFrame, metric: Metric, alpha: float) -> tuple[Prospect | NotComputable, float | None]:
    values = metric_values(runs, metric)
    if values is None or not values.notna().any():
        if metric.may_be_unrecorded and len(runs):
            return NotComputable("not_recorded", "runs_not_recorded", metric=metric.name), None
        return NotComputable("no_data", "no_run", metric=metric.name), None
    means, limits, correlation = user_means(since_recorded(runs, metric), metric)
    if means.size < LEAST_USERS:
        return NotComputable("too_few_units", "too_few_to_plan", least=LEAST_USERS, users=means.size), None
    if not metric.is_ratio_scale and not float(means.mean()) > 0.0:
        return NotComputable("baseline_not_positive", mean=float(means.mean())), None
    return Prospect(means, limits, metric, alpha, POWER), correlation


def traffic_of(runs: pd.DataFrame, now: datetime, days: float) -> Traffic:
    """Less than a day of records counts as one: nobody knows what the rest of the day brings.

    Unless there are more than were read: then the window is the time that those took.
    """
    if not len(runs):
        return Traffic(np.empty(0), 0, days, is_even=True)
    ages = (now - runs["timestamp"]).dt.total_seconds() / 86_400.0
    is_cut = len(runs) >= RUNS_AT_MOST
    window = min(max(float(ages.max()), LEAST_WINDOW_DAYS if is_cut else 1.0), days)
    first = ages.groupby(units(runs)).max()
    first_seen = np.sort(np.clip(window - np.asarray(first, np.float64), 0.0, window))
    middle = (float(ages.min()) + float(ages.max())) / 2.0
    late = int((np.asarray(first, np.float64) < middle).sum())
    late_share = min(1.0, 2.0 * late / first_seen.size)
    return Traffic(first_seen, len(runs), window, is_even=not is_cut and window < RATE_DAYS, late_share=late_share)


def _percentage(share: float | None) -> float | None:
    return None if share is None else 100.0 * share

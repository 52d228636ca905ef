"""A confidence interval of a candidate's improvement over the baseline, as text and as JSON. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

from scheduler_service.stats.arms import BASELINE
from scheduler_service.stats.comparison import ArmComparison
from scheduler_service.stats.effect import Effect
from scheduler_service.stats.metrics import Metric
from scheduler_service.stats.outcome import NotComputable
from scheduler_service.words import WORDS, Message

Basis = Literal["users", "shadow", "replay", "raw_means"]
"""The data of an interval: user means, pairs of shadow runs, pairs of the last replay, or raw means."""
BASES: tuple[Basis, ...] = get_args(Basis)
Side = Literal["worse", "better", "open", "unknown"]
"""The position of the interval. open: it contains zero; unknown: there is no interval."""


@dataclass(frozen=True, slots=True)
class Finding:
    """An interval of the improvement, as a share of the baseline; positive is better."""

    basis: Basis
    is_of_verdict: bool
    candidate: str
    metric: Metric
    improvement: float | None
    bounds: tuple[float, float] | None
    level: float  # confidence level, 0..1
    baseline_mean: float | None  # mean of model_a's user means, in the metric's unit
    users: Mapping[str, int]  # arm -> users; equal for both arms if the basis is pairs
    samples: Mapping[str, int]  # arm -> requests or pairs

    @property
    def side(self) -> Side:
        if self.bounds is None:
            return "unknown"
        low, high = self.bounds
        return "worse" if high < 0.0 else "better" if low > 0.0 else "open"

    @property
    def is_harmful(self) -> bool:
        """Whether the whole interval is negative."""
        return self.side == "worse"

    def changes(self) -> tuple[float, float] | None:
        """The relative change of the metric, as shares of the baseline, lower bound first."""
        if self.bounds is None:
            return None
        low, high = self.bounds
        return (-high, -low) if self.metric.lower_is_better else (low, high)

    @property
    def message(self) -> Message:
        """The change of the metric, whether it is better or worse, and the number of samples."""
        arms = {"a": BASELINE, "b": self.candidate, "metric": self.metric.name}
        changes = self.changes()
        if changes is None:
            return Message("findings.none", {**arms, "basis": self._counts()})
        low, high = changes
        params = {**arms, "side": self.side, "absolute": self._absolute(changes), "basis": self._basis()}
        if low <= 0.0 <= high:
            ways = {"more": self.metric.way(is_more=True), "less": self.metric.way(is_more=False)}
            return Message("findings.open", {**params, **ways, "low": -low, "high": high})
        near, far = sorted((abs(low), abs(high)))
        way = self.metric.way(is_more=low > 0.0)
        return Message("findings.one_sided", {**params, "way": way, "low": near, "high": far})

    def _absolute(self, changes: tuple[float, float]) -> Message | str:
        unit, mean = self.metric.difference_unit, self.baseline_mean
        if unit is None or mean is None:
            return ""
        ends = [change * mean for change in changes]
        low, high = sorted(map(abs, ends)) if ends[0] * ends[1] > 0.0 else ends
        return Message("findings.absolute", {"a": BASELINE, "low": low, "high": high, "mean": mean, "unit": unit})

    def _basis(self) -> Message:
        if self.basis in ("users", "raw_means"):
            return Message(f"findings.{self.basis}", {"level": self.level, "counts": self._counts()})
        return Message(f"findings.{self.basis}", {"level": self.level, **self._pairs()})

    def _counts(self) -> Message:
        if self.basis not in ("users", "raw_means"):
            return Message("findings.pairs", self._pairs())
        a, b = BASELINE, self.candidate
        counts = {"users_a": self.users[a], "n_a": self.samples[a], "users_b": self.users[b], "n_b": self.samples[b]}
        return Message("findings.counts", {"a": a, "b": b, **counts})

    def _pairs(self) -> dict[str, int]:
        return {"pairs": self.samples[self.candidate], "users": self.users[self.candidate]}

    def to_dict(self) -> dict[str, Any]:
        """JSON; `change` in the metric's `unit`, if it has one."""
        changes, unit, mean = self.changes(), self.metric.difference_unit, self.baseline_mean
        in_unit = None if changes is None or unit is None or mean is None else [each * mean for each in changes]
        return {
            "basis": self.basis,
            "is_of_verdict": self.is_of_verdict,
            "metric": self.metric.name,
            "side": self.side,
            "improvement_percentage": None if self.improvement is None else 100.0 * self.improvement,
            "interval_percentage": None if self.bounds is None else [100.0 * bound for bound in self.bounds],
            "change_percentage": None if changes is None else [100.0 * change for change in changes],
            "change": in_unit,
            "unit": unit,
            "baseline_mean": mean,
            "confidence_level": self.level,
            "users": dict(self.users),
            "samples": dict(self.samples),
            "sentence": WORDS.say(self.message),
            "text": self.message.to_dict(),
        }


def finding_of(
    basis: Basis, comparison: ArmComparison, level: float, effect: Effect | NotComputable | None = None
) -> Finding:
    """The finding for an effect on the candidate of `comparison`; without bounds if there is no effect."""
    known = effect if isinstance(effect, Effect) else None
    return Finding(
        basis=basis,
        is_of_verdict=False,
        candidate=comparison.candidate,
        metric=comparison.metric,
        improvement=None if known is None else known.improvement,
        bounds=None if known is None else (known.low, known.high),
        level=level,
        baseline_mean=comparison.user_means[BASELINE].mean,
        users={each: comparison.users[each] for each in comparison.arms},
        samples={each: comparison.total_requests[each] for each in comparison.arms},
    )

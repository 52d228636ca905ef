"""An interval of a candidate against the baseline, with its sign, in words and as JSON. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

from scheduler_service.stats.comparison import BASELINE, ArmComparison
from scheduler_service.stats.effect import Effect
from scheduler_service.stats.metrics import Metric
from scheduler_service.stats.outcome import NotComputable
from scheduler_service.stats.wording import percent

Basis = Literal["users", "shadow", "replay", "raw_means"]
"""What an interval is of: the means of users, pairs of shadow runs or of the last replay, or the raw means."""
BASES: tuple[Basis, ...] = get_args(Basis)
Side = Literal["worse", "better", "open", "unknown"]
"""Where the whole interval lies. open: on both sides of no difference; unknown: there is none."""
SIDES: tuple[Side, ...] = get_args(Side)
UNITS: Mapping[str, str] = {"makespan": "h", "policy_makespan": "h", "execution_time": "s"}
"""Of the metrics whose differences are told in it besides percent."""
WAYS: Mapping[str, tuple[str, str]] = {  # metric -> more and less of it
    **dict.fromkeys(UNITS, ("longer", "shorter")),
    "gap": ("larger", "smaller"),
}
_USUAL_WAYS = ("higher", "lower")


@dataclass(frozen=True, slots=True)
class Finding:
    """An interval of the improvement, a share of the baseline; positive is better."""

    basis: Basis
    is_of_verdict: bool
    candidate: str
    metric: Metric
    improvement: float | None
    bounds: tuple[float, float] | None
    level: float  # chance that the bounds hold, 0..1
    baseline_mean: float | None  # of model_a's user means, in the metric's unit
    users: Mapping[str, int]  # arm -> users; of pairs both arms have the same
    samples: Mapping[str, int]  # arm -> requests; of pairs: pairs

    @property
    def side(self) -> Side:
        if self.bounds is None:
            return "unknown"
        low, high = self.bounds
        return "worse" if high < 0.0 else "better" if low > 0.0 else "open"

    @property
    def is_harmful(self) -> bool:
        """Whether the whole interval lies on the bad side."""
        return self.side == "worse"

    def changes(self) -> tuple[float, float] | None:
        """By which shares of the baseline the candidate's value is higher, lower bound first."""
        if self.bounds is None:
            return None
        low, high = self.bounds
        return (-high, -low) if self.metric.lower_is_better else (low, high)

    @property
    def sentence(self) -> str:
        """In plain English: by how much the candidate's value is more or less, what that means, and of how many."""
        changes = self.changes()
        if changes is None:
            return f"No interval of {self.candidate} against {BASELINE} in {self.metric.name} yet; {self._basis()}."
        said = {"worse": "worse", "better": "better", "open": "not settled"}[self.side]
        return f"{self._difference(changes)} = {said}{self._absolute(changes)}; {self._basis()}."

    def _difference(self, changes: tuple[float, float]) -> str:
        low, high = changes
        more, less = WAYS.get(self.metric.name, _USUAL_WAYS)
        names = f"than {BASELINE} in {self.metric.name}"
        if low <= 0.0 <= high:
            between = f"between {percent(-100.0 * low)} {less} and {percent(100.0 * high)} {more}"
            return f"{self.candidate} is {between} {names}"
        near, far = sorted((abs(low), abs(high)))
        way = more if low > 0.0 else less
        return f"{self.candidate} is {100.0 * near:.2f} to {percent(100.0 * far)} {way} {names}"

    def _absolute(self, changes: tuple[float, float]) -> str:
        unit, mean = UNITS.get(self.metric.name), self.baseline_mean
        if unit is None or mean is None:
            return ""
        ends = [change * mean for change in changes]
        low, high = sorted(map(abs, ends)) if ends[0] * ends[1] > 0.0 else ends
        return f" ({low:.3g} to {high:.3g} {unit} at {BASELINE}'s mean of {mean:.4g} {unit})"

    def _basis(self) -> str:
        users, samples = (" and ".join(map(str, counts.values())) for counts in (self.users, self.samples))
        seen = {
            "users": f"{users} users with {samples} requests of {BASELINE} and {self.candidate}",
            "raw_means": f"raw means of {users} users with {samples} requests of {BASELINE} and {self.candidate}",
            "shadow": f"{self.samples[self.candidate]} shadow pairs of {self.users[self.candidate]} users",
            "replay": f"{self.samples[self.candidate]} replayed pairs of {self.users[self.candidate]} users",
        }[self.basis]
        if self.bounds is None:
            return seen
        when = "one look" if self.basis == "raw_means" else "any time"
        return f"{100.0 * self.level:g} % interval for {when}, from {seen}"

    def to_dict(self) -> dict[str, Any]:
        """JSON; `change` in the metric's `unit` where it has one."""
        changes, unit, mean = self.changes(), UNITS.get(self.metric.name), self.baseline_mean
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
            "sentence": self.sentence,
        }


def finding_of(
    basis: Basis, comparison: ArmComparison, level: float, effect: Effect | NotComputable | None = None
) -> Finding:
    """Of the effect on `comparison`'s candidate; without bounds where there is none."""
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

"""The metrics an experiment may be judged by, and which way each of them is better."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType


@dataclass(frozen=True, slots=True)
class Metric:
    """A column of the recorded runs. `of_successes`: a failed run has no such value, or none worth counting."""

    name: str
    lower_is_better: bool
    of_successes: bool
    is_ratio_scale: bool = False  # positive and of any size: verdicts compare logarithms
    limits: tuple[float, float] | None = None  # that its values are taken to stay within, those beyond count as these
    covariate: str | None = None  # a column fixed before the assignment that it is measured by in verdicts
    is_penalised: bool = False  # verdicts give failed runs a value
    may_be_unrecorded: bool = False  # records of older versions lack it
    telling: str | None = None  # the metric that still tells solvers apart where all answers are proven optimal

    @property
    def direction(self) -> str:
        return "lower_is_better" if self.lower_is_better else "higher_is_better"


# A failure after 1 ms is not a quick answer, so the execution time is that of successful runs; failures are judged by
# the metric `success`.
METRICS: Mapping[str, Metric] = MappingProxyType(
    {
        metric.name: metric
        for metric in (
            Metric(
                "makespan",
                lower_is_better=True,
                of_successes=True,
                is_ratio_scale=True,
                covariate="lower_bound",
                is_penalised=True,
                telling="policy_makespan",
            ),
            Metric(  # of the model's own schedule, which no search improved and no proof replaced
                "policy_makespan",
                lower_is_better=True,
                of_successes=True,
                is_ratio_scale=True,
                covariate="lower_bound",
                is_penalised=True,
                may_be_unrecorded=True,
            ),
            Metric("execution_time", lower_is_better=True, of_successes=True, is_ratio_scale=True),
            Metric("gap", lower_is_better=True, of_successes=True, limits=(0.0, 1.0), telling="policy_makespan"),
            Metric("resource_utilization", lower_is_better=False, of_successes=True, limits=(0.0, 1.0)),
            Metric("user_satisfaction", lower_is_better=False, of_successes=False, limits=(1.0, 5.0)),
            Metric("success", lower_is_better=False, of_successes=False, limits=(0.0, 1.0)),
        )
    }
)

PAIRED = ("makespan", "policy_makespan")
"""The metrics that pairs can be judged by; an experiment on another one has its pairs judged by the first."""

ALIASES: Mapping[str, str] = MappingProxyType({"success_rate": "success"})


def paired_metric(success_metric: str) -> str:
    """What the pairs of an experiment are judged by."""
    return success_metric if success_metric in PAIRED else PAIRED[0]


def metric_named(name: str) -> Metric:
    """The metric of this name or alias.

    Raises:
        KeyError: there is none; the text lists those that exist.
    """
    canonical = ALIASES.get(name, name)
    if canonical not in METRICS:
        raise KeyError(f"{name!r} is not a metric; the metrics are {', '.join([*METRICS, *ALIASES])}")
    return METRICS[canonical]

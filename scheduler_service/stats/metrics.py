"""The metrics by which an experiment can be judged, with their direction and scale."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType


@dataclass(frozen=True, slots=True)
class Metric:
    """A column of the recorded runs that an experiment can be judged by."""

    name: str
    lower_is_better: bool
    of_successes: bool  # only successful runs have a value that counts
    is_ratio_scale: bool = False  # positive values without a scale: verdicts compare logarithms
    limits: tuple[float, float] | None = None  # values are clipped to these limits
    covariate: str | None = None  # a column, fixed before the assignment, by which verdicts divide the metric
    is_penalised: bool = False  # in verdicts, failed runs get a penalty value
    may_be_unrecorded: bool = False  # records of older versions lack it
    telling: str | None = None  # the metric to use instead if all answers are proven optimal

    @property
    def direction(self) -> str:
        return "lower_is_better" if self.lower_is_better else "higher_is_better"


# The execution time counts successful runs only, because a failure after 1 ms is not a fast answer. Failures are judged
# by the metric `success`.
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
            Metric(  # of the model's own schedule, before the search and the exact method
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
"""The metrics by which pairs can be judged; if the experiment has another metric, the first one is used."""

ALIASES: Mapping[str, str] = MappingProxyType({"success_rate": "success"})


def paired_metric(success_metric: str) -> str:
    """The metric by which the pairs of an experiment are judged."""
    return success_metric if success_metric in PAIRED else PAIRED[0]


def metric_named(name: str) -> Metric:
    """The metric with this name or alias.

    Raises:
        KeyError: there is none; the text lists the existing ones.
    """
    canonical = ALIASES.get(name, name)
    if canonical not in METRICS:
        raise KeyError(f"{name!r} is not a metric; the metrics are {', '.join([*METRICS, *ALIASES])}")
    return METRICS[canonical]

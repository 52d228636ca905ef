"""The metrics by which an experiment can be judged. A metric is defined here and nowhere else.

The schema of experiments, the console's form and charts, reports and verdicts are made from these definitions. The name
of a metric in each language stands in the catalogue (`terms.metric`).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

Unit = Literal["h", "s", "share", "rating"]
"""share: 0..1, shown as percent. rating: 1..5."""
_OPPOSITES = MappingProxyType({"longer": "shorter", "larger": "smaller", "higher": "lower"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """A column of the recorded runs that an experiment can be judged by."""

    name: str
    unit: Unit
    more: Literal["longer", "larger", "higher"]  # how more of it is called
    lower_is_better: bool
    of_successes: bool  # only successful runs have a value that counts
    is_ratio_scale: bool = False  # positive values without a scale: verdicts compare logarithms
    limits: tuple[float, float] | None = None  # values are clipped to these limits
    covariate: str | None = None  # a column, fixed before the assignment, by which verdicts divide the metric
    is_penalised: bool = False  # in verdicts, failed runs get a penalty value
    is_paired: bool = False  # pairs of both models on the same request can be judged by it
    may_be_unrecorded: bool = False  # records of older versions lack it
    telling: str | None = None  # the metric to use instead if all answers are proven optimal

    @property
    def direction(self) -> str:
        return "lower_is_better" if self.lower_is_better else "higher_is_better"

    @property
    def difference_unit(self) -> str | None:
        """The unit in which a difference is given besides percent; None: in percent only."""
        return self.unit if self.unit in ("h", "s") else None

    def way(self, *, is_more: bool) -> str:
        """What a value that is more, or less, is called: a key of the catalogue's `terms.way` and `terms.change`."""
        return self.more if is_more else _OPPOSITES[self.more]


METRICS: Mapping[str, Metric] = {
    metric.name: metric
    for metric in (
        Metric(
            name="makespan",
            unit="h",
            more="longer",
            lower_is_better=True,
            of_successes=True,
            is_ratio_scale=True,
            covariate="lower_bound",
            is_penalised=True,
            is_paired=True,
            telling="policy_makespan",
        ),
        Metric(  # of the model's own schedule, before the search and the exact method
            name="policy_makespan",
            unit="h",
            more="longer",
            lower_is_better=True,
            of_successes=True,
            is_ratio_scale=True,
            covariate="lower_bound",
            is_penalised=True,
            is_paired=True,
            may_be_unrecorded=True,
        ),
        # Successful runs only, because a failure after 1 ms is not a fast answer; failures are judged by `success`.
        Metric(
            name="execution_time", unit="s", more="longer", lower_is_better=True, of_successes=True, is_ratio_scale=True
        ),
        Metric(
            name="gap",
            unit="share",
            more="larger",
            lower_is_better=True,
            of_successes=True,
            limits=(0.0, 1.0),
            telling="policy_makespan",
        ),
        Metric(
            name="resource_utilization",
            unit="share",
            more="higher",
            lower_is_better=False,
            of_successes=True,
            limits=(0.0, 1.0),
        ),
        Metric(
            name="user_satisfaction",
            unit="rating",
            more="higher",
            lower_is_better=False,
            of_successes=False,
            limits=(1.0, 5.0),
        ),
        Metric(
            name="success", unit="share", more="higher", lower_is_better=False, of_successes=False, limits=(0.0, 1.0)
        ),
    )
}

PAIRED = tuple(name for name, metric in METRICS.items() if metric.is_paired)
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


def metrics_described() -> str:
    """The metrics by their units, for the schemas of answers."""
    of = {"h": "hours", "s": "seconds", "share": "shares, 0 to 1", "rating": "1 to 5"}
    names = {unit: [name for name, each in METRICS.items() if each.unit == unit] for unit in of}
    return "; ".join(f"{', '.join(names[unit])} {text}" for unit, text in of.items())

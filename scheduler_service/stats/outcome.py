"""What stands in the place of a figure that cannot be computed: never p = 1, never 0.0, never NaN."""

from dataclasses import dataclass
from typing import Literal

Reason = Literal[
    "no_data",  # an arm has no value at all
    "too_few_units",  # fewer values than the formula needs
    "no_variation",  # all values are equal, so there is no error to measure a difference against
    "baseline_not_positive",  # a relative difference needs something to be relative to
    "baseline_near_zero",  # the baseline is within three standard errors of zero: a ratio to it has no usable error
    "split_unknown",  # nobody said which shares were meant
    "too_few_samples",  # fewer than the experiment's `min_samples` in an arm
    "not_below_alpha",  # computed, and not significant
    "model_changed",  # an arm's name came to mean another model
    "not_recorded",  # the records are from before the metric was recorded
    "ratio_mismatch",  # users are missing from an arm
    "decided",  # nothing is left to wait for
    "cannot_tell",  # more data will not decide
    "no_difference_yet",  # what was seen is no larger than its error
    "not_running",  # nobody takes part any more
]


@dataclass(frozen=True, slots=True)
class NotComputable:
    """No figure, and why: a code for programs, a sentence for people."""

    reason: Reason
    message: str

    def to_dict(self) -> dict[str, str]:
        return {"code": self.reason, "message": self.message}


def nearly_constant(standard_error: float, *means: float) -> bool:
    """Whether an error is nothing but the rounding of sums of equal values (relative 1e-12)."""
    return standard_error <= 1e-12 * max(abs(mean) for mean in means)

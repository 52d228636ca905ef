"""The result in place of a figure that cannot be computed; p = 1, 0.0 or NaN would be misleading."""

from dataclasses import dataclass
from typing import Any, Literal

from scheduler_service.words import WORDS, Message

Reason = Literal[
    "no_data",  # an arm has no value
    "too_few_units",  # fewer values than the formula needs
    "no_variation",  # all values are equal, so there is no standard error
    "baseline_not_positive",  # a relative difference needs a positive baseline
    "baseline_near_zero",  # the baseline is within three standard errors of zero: the error of a ratio is not usable
    "split_unknown",  # the configured shares are unknown
    "too_few_samples",  # an arm has fewer than the experiment's `min_samples`
    "not_below_alpha",  # p was computed and is not significant
    "model_changed",  # an arm's model changed during the experiment
    "not_recorded",  # the records are older than the metric
    "ratio_mismatch",  # sample-ratio mismatch: users are missing from an arm
    "decided",  # the verdict is final
    "cannot_tell",  # more data will not decide
    "no_difference_yet",  # the observed difference is not larger than its error
    "not_running",  # the experiment gets no more users
]


@dataclass(frozen=True, slots=True, init=False)
class NotComputable:
    """The reason why there is no figure: a code, and its text.

    Args:
        text: a key of the catalogue's section `reasons`, if it is not that of the reason.
        params: the parameters of the text.
    """

    reason: Reason
    text: Message

    def __init__(self, reason: Reason, text: str = "", /, **params: object) -> None:
        object.__setattr__(self, "reason", reason)
        object.__setattr__(self, "text", Message(f"reasons.{text or reason}", params))

    @property
    def message(self) -> str:
        """The reason in English, without a full stop."""
        return WORDS.say(self.text)

    def to_dict(self) -> dict[str, Any]:
        return {"code": self.reason, "message": self.message, "text": self.text.to_dict()}


def nearly_constant(standard_error: float, *means: float) -> bool:
    """Whether a standard error is only the rounding error of equal values (relative 1e-12)."""
    return standard_error <= 1e-12 * max(abs(mean) for mean in means)

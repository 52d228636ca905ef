"""The relative difference of two means, as a share of the baseline, with an interval by the delta method."""

import math
from dataclasses import dataclass

from scheduler_service.stats.outcome import NotComputable, nearly_constant
from scheduler_service.stats.summaries import Values, scaled, unscaled
from scheduler_service.stats.welch import satterthwaite

MIN_BASELINE_ERRORS = 3.0
"""If the baseline's mean is fewer standard errors above zero, the ratio is too skewed for the delta method."""


@dataclass(frozen=True, slots=True)
class LiftInterval:
    """Bounds of the relative difference at 1 - alpha; shares of the baseline (0.05 is 5 %)."""

    standard_error: float
    degrees_of_freedom: float
    low: float
    high: float


def lift(mean_a: float, mean_b: float) -> float | NotComputable:
    """(mean_b - mean_a) / mean_a, a share of the baseline; not computable if `mean_a` is not positive or nearly 0."""
    if not mean_a > 0.0:
        return NotComputable("baseline_not_positive", mean=mean_a)
    difference = mean_b / mean_a - 1.0
    if not math.isfinite(difference):
        return NotComputable("baseline_near_zero", mean=mean_a)
    return difference


def lift_interval(a: Values, b: Values, alpha: float = 0.05) -> LiftInterval | NotComputable:
    """Bounds of mean_b / mean_a - 1 for independent arms.

    r = mean_b / mean_a;  to first order  var(r) = ca + cb  with
    ca = r^2 va / mean_a^2,  cb = vb / mean_a^2,  va = s_a^2 / n_a,  vb = s_b^2 / n_b
    df = (ca + cb)^2 / (ca^2 / (n_a - 1) + cb^2 / (n_b - 1));   r - 1 -+ t(1 - alpha/2; df) sqrt(ca + cb)

    The degrees of freedom are Welch-Satterthwaite's for the two linearised terms: the delta method replaces the ratio
    by a sum of two independent means with estimated variances, which is the case of Satterthwaite's rule. At r = 1 they
    are those of Welch's test, so interval and p-value agree for small samples; a normal quantile would be too narrow.

    Args:
        a, b: shapes (n_a,) and (n_b,), finite; one value per independent unit.

    Source: Deng, Knoblich, Lu, "Applying the Delta Method in Metric Analytics", KDD 2018, section 3; Satterthwaite,
    Biometrics Bulletin 2 (1946) 110-114.
    """
    from scipy import stats  # slow to import, and the service starts without it

    if min(a.size, b.size) < 2:
        return NotComputable("too_few_units", least=2, users=(a.size, b.size))
    exponent, (a, b) = scaled(a, b)
    mean_a, mean_b = float(a.mean()), float(b.mean())
    ratio = lift(mean_a, mean_b)
    if isinstance(ratio, NotComputable):
        return ratio
    error_a, error_b = (math.sqrt(float(each.var(ddof=1)) / each.size) for each in (a, b))
    if nearly_constant(math.hypot(error_a, error_b), mean_a, mean_b):
        return NotComputable("no_variation")
    if mean_a < MIN_BASELINE_ERRORS * error_a:
        return NotComputable("baseline_near_zero", mean=unscaled(mean_a, exponent))
    term_a, term_b = (1.0 + ratio) * error_a / mean_a, error_b / mean_a  # roots of ca and cb
    standard_error = math.hypot(term_a, term_b)
    if standard_error == 0.0:  # every user of model_b has 0 (such as a gap of 0), so the linearised error vanishes
        return NotComputable("no_variation", "no_variation_at_zero")
    if not math.isfinite(standard_error):
        return NotComputable("baseline_near_zero", mean=unscaled(mean_a, exponent))
    df = satterthwaite((term_a / standard_error) ** 2, a.size, b.size)
    margin = float(stats.t.isf(alpha / 2.0, df)) * standard_error
    return LiftInterval(standard_error, df, ratio - margin, ratio + margin)

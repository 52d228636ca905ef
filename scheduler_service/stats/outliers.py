"""Detection of outliers by medians, which outliers do not distort."""

import numpy as np

from scheduler_service.stats.summaries import Values, scaled

OUTLIER_SCORE = 3.5
"""A value with a greater modified z-score counts as an outlier (Iglewicz and Hoaglin 1993)."""

_NORMAL_MAD = 0.6745
_NORMAL_MEAN_DEVIATION = 1.253314
"""For a normal distribution the standard deviation is MAD / 0.6745, and 1.253314 times the mean absolute deviation."""


def modified_z_scores(values: Values) -> Values:
    """The modified z-score of each value: its distance from the median in robust standard deviations.

        z = 0.6745 (x - median) / MAD

    If more than half of the values are equal, MAD = 0 and the mean absolute deviation is used instead:
    z = (x - median) / (1.253314 MeanAD).

    Args:
        values: shape (n,), finite.

    Returns:
        Shape (n,); all NaN if all values are equal.

    Source: Iglewicz and Hoaglin, How to Detect and Handle Outliers, ASQC Basic References in Quality Control 16, 1993,
    section 3.3; the fallback as in IBM SPSS, Modified z score.
    """
    if not values.size:
        return values.astype(float)
    _, (values,) = scaled(values)  # the scores are dimensionless
    distances = values - np.median(values)
    deviation = float(np.median(np.abs(distances))) / _NORMAL_MAD
    if deviation == 0.0:
        deviation = _NORMAL_MEAN_DEVIATION * float(np.mean(np.abs(distances)))
    scores: Values = distances / deviation if deviation > 0.0 else np.full(values.shape, np.nan)
    return scores

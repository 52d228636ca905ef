"""Multiple testing: Holm's step-down correction."""

from collections.abc import Mapping


def holm(p_values: Mapping[str, float]) -> dict[str, float]:
    """Adjusted p-values; comparing them with alpha keeps the family-wise error rate at or below alpha.

    The i-th smallest of m is multiplied by m - i + 1, then raised to the one before it if smaller, and capped at 1.

    Source: Holm, Scandinavian Journal of Statistics 6 (1979) 65-70.
    """
    adjusted: dict[str, float] = {}
    largest = 0.0
    for rank, name in enumerate(sorted(p_values, key=lambda name: p_values[name])):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[name]))
        adjusted[name] = largest
    return adjusted

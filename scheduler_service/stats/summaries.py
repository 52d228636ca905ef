"""Summary statistics: count, mean, standard deviation and range."""

import math
from dataclasses import asdict, dataclass

import numpy as np
import numpy.typing as npt

Values = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Summary:
    """Summary of `count` values; without values the other figures are None, with one value `std` is None."""

    mean: float | None
    count: int
    min: float | None
    max: float | None
    std: float | None  # sample standard deviation (divisor count - 1)

    def to_dict(self) -> dict[str, float | int | None]:
        return asdict(self)


def summarise(values: Values) -> Summary:
    """Summary of the finite values among `values`, shape (n,)."""
    finite = values[np.isfinite(values)]
    if not finite.size:
        return Summary(None, 0, None, None, None)
    exponent, (near_one,) = scaled(finite)
    spread = unscaled(float(near_one.std(ddof=1)), exponent) if finite.size > 1 else math.inf
    return Summary(
        mean=unscaled(float(near_one.mean()), exponent),
        count=int(finite.size),
        min=float(finite.min()),
        max=float(finite.max()),
        std=spread if math.isfinite(spread) else None,
    )


def scaled(*groups: Values) -> tuple[int, list[Values]]:
    """(e, the groups divided by 2^e), where the largest absolute value of all groups is in [0.5, 1), or 0.

    Squares of the result neither overflow nor underflow. Division by a power of two is exact (except for values below
    1e-300 times the largest), so dimensionless statistics (t, p, a ratio) do not change.
    """
    largest = max((float(np.abs(group).max()) for group in groups if group.size), default=0.0)
    exponent = math.frexp(largest)[1]
    return exponent, [np.ldexp(group, -exponent) for group in groups]


def unscaled(value: float, exponent: int) -> float:
    """`value` times 2^exponent; infinite if it overflows."""
    try:
        return math.ldexp(value, exponent)
    except OverflowError:
        return math.copysign(math.inf, value)

"""What an arm looks like: count, mean, spread and range of its values."""

import math
from dataclasses import asdict, dataclass

import numpy as np
import numpy.typing as npt

Values = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Summary:
    """Of `count` values. None where there is no such figure: all but `count` of no values, `std` of one."""

    mean: float | None
    count: int
    min: float | None
    max: float | None
    std: float | None  # of the sample: divided by count - 1

    def to_dict(self) -> dict[str, float | int | None]:
        return asdict(self)


def summarise(values: Values) -> Summary:
    """Count, mean, least, greatest and sample standard deviation of the finite ones of `values`, shape (n,)."""
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
    """(e, the groups divided by 2^e) with the largest absolute value of all in [0.5, 1), or 0.

    Squares of the result neither overflow nor vanish. Divided by a power of two, values keep all their digits (but for
    those that are 1e-300 times the largest), so statistics without a unit (t, p, a ratio) are the same figures.
    """
    largest = max((float(np.abs(group).max()) for group in groups if group.size), default=0.0)
    exponent = math.frexp(largest)[1]
    return exponent, [np.ldexp(group, -exponent) for group in groups]


def unscaled(value: float, exponent: int) -> float:
    """`value` times 2^exponent; infinite where no float is as large."""
    try:
        return math.ldexp(value, exponent)
    except OverflowError:
        return math.copysign(math.inf, value)

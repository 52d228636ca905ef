"""What an arm looks like: count, mean, spread and range of its values."""

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
    return Summary(
        mean=float(finite.mean()),
        count=int(finite.size),
        min=float(finite.min()),
        max=float(finite.max()),
        std=float(finite.std(ddof=1)) if finite.size > 1 else None,
    )

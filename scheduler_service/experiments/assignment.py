"""The arm of a user: a pure function of the user, the experiment's name and the shares. Nothing is stored.

The result is the same in every process, after a restart and on every machine. The bucketing is that of GrowthBook's
SDKs (hash version 2), so other systems can compute the same result.

Source: GrowthBook, "Build your own SDK", sections "Hashing" and "Bucket ranges", spec 0.7.1.
"""

from collections.abc import Sequence
from typing import Literal

Range = tuple[float, float]
"""A half-open range of buckets, `[from, to)`."""

HashVersion = Literal[1, 2]

FNV_OFFSET = 0x811C9DC5
FNV_PRIME = 0x01000193
BOUNDARY_DECIMALS = 9
SUM_TOLERANCE = 0.01  # as published; a new experiment is checked with 1e-9


def bucket(seed: str, unit_id: str, version: HashVersion = 2) -> float:
    """The bucket of a unit, a multiple of 1/10,000 (version 1: 1/1,000) in [0, 1).

    Version 2 hashes twice, so the splits of two experiments (two seeds) are independent. Version 1 does not; it is
    needed for the published test vectors and GrowthBook's namespaces.

    Args:
        seed: the salt: the experiment's name.
        unit_id: any text; hashed as UTF-8.

    Raises:
        ValueError: an unknown `version`.
    """
    if version == 2:
        return _fnv1a32(str(_fnv1a32(seed + unit_id))) % 10_000 / 10_000
    if version == 1:
        return _fnv1a32(unit_id + seed) % 1_000 / 1_000
    raise ValueError(f"there is no hash version {version}; the versions are 1 and 2")


def bucket_ranges(arms: int, coverage: float = 1.0, weights: Sequence[float] | None = None) -> tuple[Range, ...]:
    """The buckets of each arm: `[start, start + coverage * weight)`; `start` is the sum of the weights before it.

    A higher coverage, or a higher weight while no other weight increases, moves no unit out of that arm. This is exact
    since boundaries are rounded to 9 decimals: 0.1 + 0.2 gives the bucket 0.3.

    Args:
        arms: their number, at least 1.
        coverage: share of the units that take part; clipped to 0..1.
        weights: of the arms, with the sum 1 (within 0.01). If None or invalid: equal weights, as published.
    """
    coverage = min(1.0, max(0.0, coverage))
    if weights is None or len(weights) != arms or abs(sum(weights) - 1.0) > SUM_TOLERANCE:
        weights = [1.0 / arms] * arms
    ranges = []
    start = 0.0
    for weight in weights:
        ranges.append((round(start, BOUNDARY_DECIMALS), round(start + coverage * weight, BOUNDARY_DECIMALS)))
        start += weight
    return tuple(ranges)


def choose(unit_bucket: float, ranges: Sequence[Range]) -> int | None:
    """The index of the first range with the bucket; None if the unit does not take part."""
    for arm, (low, high) in enumerate(ranges):
        if low <= unit_bucket < high:
            return arm
    return None


def _fnv1a32(text: str) -> int:
    """FNV-1a, 32 bits, of the UTF-8 bytes. Source: Fowler, Noll, Vo; draft-eastlake-fnv."""
    value = FNV_OFFSET
    # surrogatepass: JSON may contain a lone surrogate, and a request with such an id must not fail.
    for byte in text.encode("utf-8", "surrogatepass"):
        value = (value ^ byte) * FNV_PRIME & 0xFFFFFFFF
    return value

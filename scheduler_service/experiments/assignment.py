"""Who falls into which arm: a pure function of the user, the experiment's name and the shares.

The same answer in every process, after every restart and on every machine; nothing is stored. It is the bucketing that
GrowthBook publishes for its SDKs (hash version 2), so other systems can compute the same answer.

Source: GrowthBook, "Build your own SDK", sections "Hashing" and "Bucket ranges", spec 0.7.1.
"""

from collections.abc import Sequence
from typing import Literal

Range = tuple[float, float]
"""Buckets from the first number on, up to but without the second."""

HashVersion = Literal[1, 2]

FNV_OFFSET = 0x811C9DC5
FNV_PRIME = 0x01000193
BOUNDARY_DECIMALS = 9
SUM_TOLERANCE = 0.01  # of the published ranges; experiments are held to 1e-9 when they are defined


def bucket(seed: str, unit_id: str, version: HashVersion = 2) -> float:
    """Where a unit falls, a multiple of 1/10,000 (version 1: of 1/1,000), at least 0 and less than 1.

    Version 2 hashes twice, so the splits of two experiments (two seeds) are independent; version 1 does not, and is
    kept for the published vectors and GrowthBook's namespaces.

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
    """The buckets of each arm: `[start, start + coverage * weight)`, `start` being the sum of the weights before it.

    Raising the coverage, or one weight while no other one grows, moves no unit out of that arm. Boundaries are
    rounded to 9 decimals: 0.1 + 0.2 is then the bucket 0.3 and not the next one, which is what makes this exact.

    Args:
        arms: how many, at least 1.
        coverage: share of the units that take part; limited to 0..1.
        weights: of the arms, adding up to 1 (within 0.01); equal ones if None, or if they do not fit, as published.
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
    """The index of the first range that holds the bucket; None when the unit takes no part."""
    for arm, (low, high) in enumerate(ranges):
        if low <= unit_bucket < high:
            return arm
    return None


def _fnv1a32(text: str) -> int:
    """FNV-1a, 32 bits, of the UTF-8 bytes. Source: Fowler, Noll, Vo; draft-eastlake-fnv."""
    value = FNV_OFFSET
    # surrogatepass: JSON can carry half a surrogate pair, and an odd id is no reason to refuse a schedule.
    for byte in text.encode("utf-8", "surrogatepass"):
        value = (value ^ byte) * FNV_PRIME & 0xFFFFFFFF
    return value

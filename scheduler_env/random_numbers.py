"""A random number generator for compiled code, with its whole state in one array."""

import numpy as np

from scheduler_env.compilation import compiled

RandomState = np.ndarray[tuple[int], np.dtype[np.uint64]]


def new_random(seed: int) -> RandomState:
    """The state of a generator; the same seed gives the same numbers on every machine."""
    return np.array([(seed * 0x9E3779B97F4A7C15 + 0x1234567) % 2**64], dtype=np.uint64)


@compiled
def uniform(random: RandomState) -> float:
    """The next number in [0, 1). Source: SplitMix64, Steele, Lea and Flood 2014."""
    random[0] += np.uint64(0x9E3779B97F4A7C15)
    z = random[0]
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    z = z ^ (z >> np.uint64(31))
    return float(z >> np.uint64(11)) / 9007199254740992.0

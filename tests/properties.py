"""The number of examples of property tests: about a hundred in the suite, many times more in `make fuzz`."""

import os

from hypothesis import settings

TIMES = int(os.environ.get("PROPERTY_TIMES", "1"))


def examples(number: int) -> settings:
    """`number` examples times the environment's `PROPERTY_TIMES`, without a deadline per example."""
    return settings(max_examples=number * TIMES, deadline=None)

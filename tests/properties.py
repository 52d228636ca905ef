"""How many examples a property is tried on: a hundred or so in the suite, many times that in `make fuzz`."""

import os

from hypothesis import settings

TIMES = int(os.environ.get("PROPERTY_TIMES", "1"))


def examples(number: int) -> settings:
    """`number` examples, times the environment's `PROPERTY_TIMES`; an example may take as long as it takes."""
    return settings(max_examples=number * TIMES, deadline=None)

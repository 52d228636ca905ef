"""The format of figures in the English sentences of the statistics."""


def percent(percentage: float) -> str:
    """A percentage with two decimals, without a minus before zero."""
    return f"{round(percentage, 2) + 0.0:.2f} %"  # + 0.0 turns -0.0 into 0.0

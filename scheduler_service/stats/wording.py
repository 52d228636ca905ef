"""How figures are written in the English sentences of the statistics."""


def percent(percentage: float) -> str:
    """Two decimals, and no minus before a zero."""
    return f"{round(percentage, 2) + 0.0:.2f} %"  # + 0.0 turns -0.0 into 0.0

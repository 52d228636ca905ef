"""How the error that is put up with is shared out among repeated looks for the same thing."""


def replay_alpha(alpha: float, number: int) -> float:
    """The chance of a wrong verdict that is left to the `number`-th replay of the same two models.

    alpha / (k (k + 1)): 1/2 of it for the first, 1/6, 1/12 and so on, which add up to alpha however many there are. So
    who replays other samples until one says what he likes is wrong with chance alpha, all replays together.

    Args:
        alpha: of all replays together.
        number: k, from 1 on.

    Source: Bonferroni's inequality with unequal shares, as it is used where nobody knows how many tests there will be.
    """
    return alpha / (number * (number + 1))

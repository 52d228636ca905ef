"""Alpha spending: the division of the error probability among repeated tests of the same question."""


def replay_alpha(alpha: float, number: int) -> float:
    """The probability of a wrong verdict allowed for the `number`-th replay of the same two models.

    alpha / (k (k + 1)): 1/2 of alpha for the first replay, then 1/6, 1/12 and so on, which add up to at most alpha. So
    replaying samples until one gives the desired result is wrong with probability at most alpha.

    Args:
        alpha: of all replays together.
        number: k, starting at 1.

    Source: Bonferroni's inequality with unequal shares, as used if the number of tests is not known in advance.
    """
    return alpha / (number * (number + 1))

"""Errors by their codes, for `pytest.raises(..., check=coded("unknown_team"))`."""

from collections.abc import Callable

from scheduler_env.errors import CodedError


def coded(code: str, **params: object) -> Callable[[CodedError], bool]:
    """Whether an error has this code, and these among its parameters."""
    return lambda err: err.code == code and params.items() <= err.params.items()

"""Check errors by code: `pytest.raises(..., check=coded("unknown_team"))`."""

from collections.abc import Callable

from scheduler_env.errors import CodedError


def coded(code: str, **params: object) -> Callable[[CodedError], bool]:
    """A check that an error has this code and these parameters (it may have more)."""
    return lambda err: err.code == code and params.items() <= err.params.items()

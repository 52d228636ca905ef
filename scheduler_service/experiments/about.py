"""What people call an experiment, what they expect of it, and whose it is: texts of any script beside its id. Pure."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated

from pydantic import AfterValidator

from scheduler_env.values import is_printable

ABOUT: Mapping[str, int] = MappingProxyType({"title": 200, "hypothesis": 2_000, "owner": 200})
"""Field -> its longest text, in characters."""


def _printable(longest: int) -> AfterValidator:
    def check(text: str) -> str:
        if not is_printable(text, longest):
            raise ValueError(f"must be a text of 1 to {longest} printable characters")
        return text

    return AfterValidator(check)


Title = Annotated[str, _printable(ABOUT["title"])]
Hypothesis = Annotated[str, _printable(ABOUT["hypothesis"])]
Owner = Annotated[str, _printable(ABOUT["owner"])]

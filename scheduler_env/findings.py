"""Findings about places of a file: mistakes, and what was read differently from how it is written."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from scheduler_env.errors import InvalidInstance, Loc
from scheduler_env.words import WORDS

MAX_TOLD = 100
"""Mistakes of one file that are listed."""
SHOWN = 3
"""Mistakes in the text of the error."""


@dataclass(frozen=True, slots=True)
class Finding:
    """Something about one place of a file.

    `loc` is `("line", number, column)` in a table, the path in JSON, empty for the whole file; `source` is the line.
    """

    loc: Loc
    code: str
    params: Mapping[str, object] = field(default_factory=dict)
    source: str = ""

    @property
    def text(self) -> str:
        return WORDS.text(f"errors.{self.code}", self.params)


class InvalidFile(InvalidInstance):
    """A file that does not describe a request; `findings` has every mistake, at most `MAX_TOLD`."""

    def __init__(self, findings: Sequence[Finding]) -> None:
        self.findings = tuple(findings[:MAX_TOLD])
        first = self.findings[0]
        super().__init__(first.code, first.loc)
        self.params = dict(first.params)

    def __str__(self) -> str:
        shown = "; ".join(f"{' '.join(map(str, each.loc)) or 'file'}: {each.text}" for each in self.findings[:SHOWN])
        left = len(self.findings) - SHOWN
        return shown + (f"; and {left} more" if left > 0 else "")

"""What there is to say about places of a file that was read: by code, worded in English here."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from scheduler_env.errors import InvalidInstance
from scheduler_env.values import Loc

MAX_TOLD = 100
"""Mistakes of one file that are told one by one."""

TEXTS: Mapping[str, str] = {
    # what is wrong
    "is_workbook": "it is an Excel workbook; save it as CSV",
    "not_text": "it is no text in UTF-8, UTF-16 or GB18030",
    "empty": "it has no line",
    "no_rows": "it has headings, but no line of data",
    "damaged": "the quotation marks or delimiters of this line are damaged: {why}",
    "many_columns": "{n} columns are more than the limit of {limit}",
    "many_rows": "more lines of data than the limit of {limit}",
    "unknown_column": "there is no column {name!r}",
    "unknown_column_near": "there is no column {name!r}; the nearest is {nearest!r}",
    "column_twice": "the column {name!r} is the same as {first!r}",
    "missing_columns": "the columns {names} are missing",
    "no_heading": "column {n} has no heading, but {value!r} here",
    "many_cells": "{n} cells are more than the {limit} columns",
    "blank_cell": "the cell is blank",
    "blank_workpoint": "the work point's id is blank; fill_down takes that of the line above (merged cells)",
    "name_differs": "work point {id!r} is called {name!r} here and {first!r} in line {there}",
    "not_a_number": "{value!r} is not a number; wanted are digits with a decimal point, as in 12.5",
    "not_a_flag": "{value!r} is neither true nor false",
    "invalid": "{reason}",
    # what was read otherwise than it is written
    "team_read_as": "the team {name!r} is read as {team!r} (steps: {n})",
    "filled_down": "{n} lines without a work point's id got that of the line above",
}


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
        return TEXTS[self.code].format(**self.params)


class InvalidFile(InvalidInstance):
    """A file that does not describe a request; `findings` has every mistake, at most `MAX_TOLD`."""

    def __init__(self, findings: Sequence[Finding]) -> None:
        self.findings = tuple(findings[:MAX_TOLD])
        told = "; ".join(f"{' '.join(map(str, each.loc)) or 'file'}: {each.text}" for each in findings[:3])
        more = f"; and {len(findings) - 3} more" if len(findings) > 3 else ""
        super().__init__(told + more, findings[0].loc)

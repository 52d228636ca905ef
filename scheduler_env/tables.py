"""A CSV with a line for each step, read into a request: strict, and every refusal says the file's line and column."""

import csv
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from io import StringIO
from typing import Any

from scheduler_env import vocabulary
from scheduler_env.errors import InvalidInstance, Loc
from scheduler_env.findings import Finding, InvalidFile
from scheduler_env.json_requests import ReadRequest, checked
from scheduler_env.problem import MAX_STEPS

DELIMITERS = (",", ";", "\t")
MAX_COLUMNS = 100
NEEDED = ("workpoint_id", "step", "team", "duration")
KEY_OF = {"step": "name", "step_id": "id"}
"""Of a step in a request, where it is not the column's own name."""
COLUMN_OF = {"steps": {key: column for column, key in KEY_OF.items()}} | {
    "workpoint": {"id": "workpoint_id", "name": "workpoint_name"}
}
MAX_SOURCE = 200
_MARKED = re.compile(r"'('*[=+\-@\t\r])")
"""A text that a spreadsheet would run as a formula, behind the mark that says it is a text."""


def read_csv(text: str, *, fill_down: bool = False, teams: Mapping[str, Any] | None = None) -> ReadRequest:
    """The request that a table describes.

    The first line names the columns (`vocabulary.COLUMNS`), of which `NEEDED` must be there; comma, semicolon or tab
    stand between them. A blank cell says nothing. Predecessors are separated by `|`. Lines of one `workpoint_id` are
    one work point. A team of the default plant may go by a name of its own (`vocabulary.TEAMS`).

    Args:
        fill_down: a blank `workpoint_id` is that of the line above, as merged cells are written.
        teams: of the plant that it is for, by name, as in a request; they are no part of what is answered.

    Raises:
        InvalidFile: every mistake with the line of the file where it is; all cells are looked at before any rule that
            concerns several of them.
        InvalidInstance: `teams` cannot be.
    """
    lines = _lines(text)
    if not lines:
        raise InvalidFile([Finding((), "empty")])
    table = _Table(_columns(lines[0]), fill_down, frozenset(teams or ()))
    if len(lines) == 1:
        raise InvalidFile([lines[0].finding("no_rows")])
    if len(lines) - 1 > MAX_STEPS:
        raise InvalidFile([lines[MAX_STEPS + 1].finding("many_rows", limit=MAX_STEPS)])
    for line in lines[1:]:
        table.add(line)
    if table.mistakes:
        raise InvalidFile(table.mistakes)
    request: dict[str, Any] = {"workpoints": [each.request for each in table.workpoints.values()]}
    try:
        instance = checked(request, teams)
    except InvalidInstance as err:
        if err.loc[:1] == ("teams",):
            raise
        raise InvalidFile([table.located(each) for each in err.each]) from err
    return ReadRequest(request, tuple(table.notes()), len(instance.workpoints), len(instance.steps))


@dataclass(frozen=True, slots=True)
class _Line:
    number: int  # of the file, from 1; the first of several
    cells: Sequence[str]

    def finding(self, code: str, column: str | int | None = None, **params: object) -> Finding:
        loc: Loc = ("line", self.number) if column is None else ("line", self.number, column)
        return Finding(loc, code, params, ", ".join(self.cells)[:MAX_SOURCE])


@dataclass(slots=True)
class _WorkPoint:
    id: str
    name: str = ""
    named_in: int = 0  # line
    steps: list[dict[str, Any]] = field(default_factory=list)
    lines: list[_Line] = field(default_factory=list)  # of the steps

    @property
    def request(self) -> dict[str, Any]:
        return {"id": self.id, **({"name": self.name} if self.name else {}), "steps": self.steps}


def _lines(text: str) -> list[_Line]:
    """Every line that is not blank; one whose quoted cell has several lines is one."""
    reader = csv.reader(StringIO(text, newline=""), delimiter=_delimiter(text), strict=True, skipinitialspace=True)
    found: list[_Line] = []
    number = 1
    try:
        for cells in reader:
            if any(map(str.strip, cells)):
                found.append(_Line(number, [cell.strip() for cell in cells]))
            number = reader.line_num + 1
    except csv.Error as err:
        raise InvalidFile([Finding(("line", number), "damaged", {"why": str(err)})]) from err
    return found


def _delimiter(text: str) -> str:
    """The one that parts the first line into the most columns that are known."""
    first = re.split(r"[\r\n]", text.lstrip("\r\n"), maxsplit=1)[0]

    def known(delimiter: str) -> int:
        return sum(vocabulary.column_of(cell.strip(' "')) is not None for cell in first.split(delimiter))

    return max(DELIMITERS, key=known)


def _columns(headings: _Line) -> list[str | None]:
    """The column of each heading; None where there is no heading.

    Raises:
        InvalidFile: a heading that is unknown or stands twice, or one that is missing.
    """
    if len(headings.cells) > MAX_COLUMNS:
        raise InvalidFile([headings.finding("many_columns", n=len(headings.cells), limit=MAX_COLUMNS)])
    found: list[str | None] = []
    first: dict[str, str] = {}
    mistakes: list[Finding] = []
    for heading in headings.cells:
        column = vocabulary.column_of(heading) if heading else None
        kind = "parallel" if column == "alone" else column
        if heading and column is None:
            mistakes.append(_unknown(headings, heading))
        elif kind in first:
            mistakes.append(headings.finding("column_twice", heading[:60], name=heading[:60], first=first[kind]))
        elif kind is not None:
            first[kind] = heading
        found.append(column)
    missing = [column for column in NEEDED if column not in first]
    if missing:
        mistakes.append(headings.finding("missing_columns", names=missing))
    if mistakes:
        raise InvalidFile(mistakes)
    return found


def _unknown(headings: _Line, heading: str) -> Finding:
    name, nearest = heading[:60], vocabulary.nearest_heading(heading)
    if nearest is None:
        return headings.finding("unknown_column", name, name=name)
    return headings.finding("unknown_column_near", name, name=name, nearest=nearest)


class _Table:
    """The lines of data, as they are read one after the other."""

    def __init__(self, columns: Sequence[str | None], fill_down: bool, own_teams: frozenset[str]) -> None:
        self.workpoints: dict[str, _WorkPoint] = {}
        self.mistakes: list[Finding] = []
        self._columns = columns
        self._fills_down = fill_down
        self._own_teams = own_teams
        self._above: str | None = None
        self._filled: list[_Line] = []
        self._renamed: dict[str, _Line] = {}
        self._n_renamed: Counter[str] = Counter()

    def add(self, line: _Line) -> None:
        cells = self._cells(line)
        workpoint = self._workpoint(line, cells)
        step = dict(self._step(line, cells))
        for column in NEEDED[1:]:
            if column not in cells:
                self._refuse(line, "blank_cell", column)
        if workpoint is not None:
            workpoint.steps.append(step)
            workpoint.lines.append(line)

    def located(self, err: InvalidInstance) -> Finding:
        """What is wrong with the request, where the file has it."""
        at, known = err.loc, list(self.workpoints.values())
        if len(at) < 2 or at[0] != "workpoints" or not isinstance(at[1], int):
            return Finding((), err.code, err.params)
        workpoint = known[at[1]]
        if len(at) > 3 and at[2] == "steps" and isinstance(at[3], int):
            column = COLUMN_OF["steps"].get(str(at[4]), str(at[4])) if len(at) > 4 else None
            return workpoint.lines[at[3]].finding(err.code, column, **err.params)
        column = COLUMN_OF["workpoint"].get(str(at[2])) if len(at) > 2 else None
        return workpoint.lines[0].finding(err.code, column, **err.params)

    def notes(self) -> Iterator[Finding]:
        """What was read otherwise than it is written."""
        if self._filled:
            yield self._filled[0].finding("filled_down", "workpoint_id", n=len(self._filled))
        for name, line in self._renamed.items():
            team = vocabulary.team_of(name)
            yield line.finding("team_read_as", "team", name=name, team=team, n=self._n_renamed[name])

    def _refuse(self, line: _Line, code: str, column: str | int | None = None, **params: object) -> None:
        self.mistakes.append(line.finding(code, column, **params))

    def _cells(self, line: _Line) -> dict[str, str]:
        """The cells that say something, by column."""
        found: dict[str, str] = {}
        for number, cell in enumerate(line.cells, start=1):
            if not cell:
                continue
            if number > len(self._columns):
                self._refuse(line, "many_cells", n=len(line.cells), limit=len(self._columns))
                break
            column = self._columns[number - 1]
            if column is None:
                self._refuse(line, "no_heading", number, n=number, value=cell[:60])
            else:
                found[column] = cell
        return found

    def _workpoint(self, line: _Line, cells: Mapping[str, str]) -> _WorkPoint | None:
        written = _text(cells.get("workpoint_id", ""))
        if not written and self._fills_down and self._above is not None:
            self._filled.append(line)
            written = self._above
        if not written:
            self._refuse(line, "blank_workpoint", "workpoint_id")
            return None
        self._above = written
        workpoint = self.workpoints.setdefault(written, _WorkPoint(written))
        name = _text(cells.get("workpoint_name", ""))
        if name and not workpoint.name:
            workpoint.name, workpoint.named_in = name, line.number
        elif name and name != workpoint.name:
            told = {"id": written[:60], "name": name[:60], "first": workpoint.name, "there": workpoint.named_in}
            self._refuse(line, "name_differs", "workpoint_name", **told)
        return workpoint

    def _step(self, line: _Line, cells: Mapping[str, str]) -> Iterator[tuple[str, object]]:
        """The members of the step, in the request's words."""
        for column, cell in cells.items():
            if column in ("workpoint_id", "workpoint_name"):
                continue
            value = _READ.get(column, _text)(cell)
            if value is None:
                code = "not_a_flag" if column in _FLAGS else "not_a_number"
                self._refuse(line, code, column, value=cell[:60])
            elif column == "alone":
                yield "parallel", not value
            elif column == "team":
                yield "team", self._team(line, str(value))
            else:
                yield KEY_OF.get(column, column), value

    def _team(self, line: _Line, written: str) -> str:
        team = vocabulary.team_of(written)
        if team is None or team == written or written in self._own_teams:
            return written
        self._renamed.setdefault(written, line)
        self._n_renamed[written] += 1
        return team


def _text(cell: str) -> str:
    return cell[1:] if _MARKED.match(cell) else cell


def _names(cell: str) -> list[str]:
    return [name for part in re.split(r"[|｜]", _text(cell)) if (name := part.strip())]


_FLAGS = ("dedicated", "parallel", "alone", "interruptible", "exclusive")
_READ: Mapping[str, Callable[[str], object]] = {
    **dict.fromkeys(
        ("duration", "order", "team_size", "min_crew", "max_crew", "reference_crew", "release"), vocabulary.number_of
    ),
    **dict.fromkeys(_FLAGS, vocabulary.flag_of),
    "predecessors": _names,
}

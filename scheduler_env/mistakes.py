"""Every mistake of a run request: what is wrong is put right, harmlessly, and the rest is read again."""

from collections.abc import Callable, Mapping
from copy import deepcopy
from typing import Any

from scheduler_env.errors import InvalidInstance, Loc
from scheduler_env.standard_cycle import DEFAULT_TEAMS, STANDARD_STEPS
from scheduler_env.written import steps_written

MAX_TOLD = 100
MAX_STEPS_READ = 10_000
"""Steps that are read to find further mistakes, over all times: bounds the work that a wrong request makes."""
PREDECESSORS_LIKE_A_STEP = 10
"""Read in the time of a step."""

_OF_A_STEP: Mapping[str, Any] = {"duration": 1.0, "predecessors": [], "team": "team2"}
_WITH_THE_TEAM = ("dedicated", "team_size", "min_crew", "max_crew")
"""Of a step whose team is unknown: of another team they may be wrong."""
_DEFAULT_TEAMS = frozenset(team.name for team in DEFAULT_TEAMS)
_PEOPLE = 100  # of a new team


def further_mistakes(
    payload: Mapping[str, Any], first: InvalidInstance, read: Callable[[Mapping[str, Any]], object]
) -> tuple[InvalidInstance, ...]:
    """What `read` refuses in `payload` besides `first`; ends where something cannot be put right.

    Args:
        payload: as `readers.instance_from_request` takes it; stays as it is.
        read: raises `InvalidInstance` with `loc` of the first mistake.
    """
    n_times = min(MAX_TOLD, MAX_STEPS_READ // max(1, _n_steps(payload)))
    if n_times < 2:
        return ()
    mended: Any = deepcopy({**payload})
    found, last = [], first
    for number in range(n_times - 1):
        try:
            _mend(mended, last.loc, f"\u2063{number}")
            read(mended)
        except InvalidInstance as err:
            if (err.loc, err.code, err.params) == (last.loc, last.code, last.params):
                break
            found.append(err)
            last = err
        except (KeyError, IndexError, TypeError, AttributeError, ValueError):
            break  # it is nowhere, or nothing can be put there
        else:
            break
    return tuple(found)


def _n_steps(payload: Mapping[str, Any]) -> int:
    """How long it takes to read, in steps."""
    workpoints, written = payload.get("workpoints"), list(steps_written(payload))
    n_standard = len(workpoints) - len({loc[1] for loc, _ in written}) if isinstance(workpoints, Mapping | list) else 1
    predecessors = [step["predecessors"] for _, step in written if isinstance(step.get("predecessors"), list)]
    n_like_steps = sum(map(len, predecessors)) // PREDECESSORS_LIKE_A_STEP
    return n_standard * len(STANDARD_STEPS) + len(written) + n_like_steps


def _mend(payload: Any, loc: Loc, unique: str) -> None:
    """Puts something at `loc` that is right and that no other mistake comes from."""
    match loc:
        case ("params", at) | ("workpoints", _, "params", at):
            _at(payload, loc[:-1])[at] = 1.0
        case ("workpoints", _, "steps", _, "predecessors", *_):
            _at(payload, loc[:4])["predecessors"] = []
        case ("workpoints", _, "steps", _, "team_size") if _at(payload, loc[:4])["team"] not in _DEFAULT_TEAMS:
            _give_up_team(payload, _at(payload, loc[:4])["team"])
        case ("workpoints", _, "steps", _, key):
            _mend_step(_at(payload, loc[:4]), str(key), unique)
        case ("workpoints", _, "steps", _) | ("workpoints", _):  # its id is another's
            _at(payload, loc)["id"] = unique
        case ("workpoints", int(), "id"):
            _at(payload, loc[:2])["id"] = unique
        case ("workpoints", _, key):
            _at(payload, loc[:2]).pop(key)
        case ("teams", int(), "name"):
            _at(payload, loc[:2])["name"] = unique
        case ("teams", name, "headcount") if _at(payload, loc[:2]).get("name", name) not in _DEFAULT_TEAMS:
            _at(payload, loc[:2])["headcount"] = _PEOPLE
        case ("teams", _, key):
            _at(payload, loc[:2]).pop(key)
        case ("teams", at):
            _mend_team(payload["teams"], at, unique)
        case ("crew_efficiency",):
            del payload["crew_efficiency"]
        case _:
            raise KeyError(loc)


def _mend_step(step: Any, key: str, unique: str) -> None:
    harmless = {**_OF_A_STEP, "name": unique, "id": unique}
    if key in harmless:
        step[key] = harmless[key]
    else:
        step.pop(key, None)
    if key == "order" and step.get("predecessors") is None:
        step["predecessors"] = []  # who has neither is refused
    if key == "team":
        for each in _WITH_THE_TEAM:
            step.pop(each, None)


def _give_up_team(payload: Any, team: object) -> None:
    """Its size may be what the crews of all of its steps rest on."""
    for _, step in steps_written(payload):
        if step.get("team") == team:
            _mend_step(step, "team", "")


def _mend_team(teams: Any, at: Any, unique: str) -> None:
    """One that is no object, declared twice, needed by no step, or of fewer people than its least crew."""
    if isinstance(teams[at], dict) and "min_crew" in teams[at]:
        del teams[at]["min_crew"]
    elif isinstance(teams, list):
        teams[at] = {"name": unique, "headcount": _PEOPLE}
    elif isinstance(teams[at], dict):
        del teams[at]
    else:
        teams[at] = {} if at in _DEFAULT_TEAMS else {"headcount": _PEOPLE}


def _at(payload: Any, loc: Loc) -> Any:
    for part in loc:
        payload = payload[part]
    return payload

"""Every mistake of a run request: what is wrong is put right, harmlessly, and the rest is read again."""

from collections.abc import Callable, Mapping
from copy import deepcopy
from typing import Any

from scheduler_env.errors import InvalidInstance
from scheduler_env.standard_cycle import DEFAULT_TEAMS, STANDARD_STEPS
from scheduler_env.values import Loc

MAX_TOLD = 100
MAX_STEPS_READ = 10_000
"""Steps that are read to find further mistakes, over all times: bounds the work that a wrong request makes."""

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
    mended: Any = deepcopy({**payload})
    found, last = [], first
    n_times = min(MAX_TOLD, MAX_STEPS_READ // max(1, _n_steps(mended)))
    for number in range(n_times - 1):
        try:
            _mend(mended, last.loc, f"\u2063{number}")
            read(mended)
        except InvalidInstance as err:
            if err.loc == last.loc and str(err) == str(last):
                break
            found.append(err)
            last = err
        except (KeyError, IndexError, TypeError, AttributeError, ValueError):
            break  # it is nowhere, or nothing can be put there
        else:
            break
    return tuple(found)


def _n_steps(payload: Mapping[str, Any]) -> int:
    workpoints = payload.get("workpoints")
    entries = list(workpoints.values()) if isinstance(workpoints, Mapping) else workpoints
    if not isinstance(entries, list):
        return 0
    written = [each.get("steps") for each in entries if isinstance(each, Mapping)]
    return sum(len(steps) if isinstance(steps, list) else len(STANDARD_STEPS) for steps in written)


def _mend(payload: Any, loc: Loc, unique: str) -> None:
    """Puts something at `loc` that is right and that no other mistake comes from."""
    match loc:
        case ("params", at) | ("workpoints", _, "params", at):
            _at(payload, loc[:-1])[at] = 1.0
        case ("workpoints", _, "steps", _, "predecessors", *_):
            _at(payload, loc[:4])["predecessors"] = []
        case ("workpoints", _, "steps", _, key):
            _mend_step(_at(payload, loc[:4]), str(key), unique)
        case ("workpoints", _, "steps", _) | ("workpoints", _):  # its id is another's
            _at(payload, loc)["id"] = unique
        case ("workpoints", _, key):
            _at(payload, loc[:2]).pop(key)
        case ("teams", name, "headcount") if _at(payload, loc[:2]).get("name", name) not in _DEFAULT_TEAMS:
            _at(payload, loc[:2])["headcount"] = _PEOPLE
        case ("teams", _, key):
            _at(payload, loc[:2]).pop(key)
        case ("teams", _) if "min_crew" in _at(payload, loc):
            del _at(payload, loc)["min_crew"]
        case ("teams", str(name)):  # which no step needs
            del payload["teams"][name]
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


def _at(payload: Any, loc: Loc) -> Any:
    for part in loc:
        payload = payload[part]
    return payload

"""A run request as JSON, read as `readers` reads it and answered in one form, with nothing added that was not there."""

from collections import Counter
from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

from scheduler_env import vocabulary
from scheduler_env.errors import Loc
from scheduler_env.findings import Finding
from scheduler_env.problem import Instance
from scheduler_env.problem_request import steps_written
from scheduler_env.readers import instance_from_request
from scheduler_env.values import whole


@dataclass(frozen=True, slots=True)
class ReadRequest:
    """What a file asks for, in the words of `readers.instance_from_request`; and what was found on the way."""

    request: Mapping[str, Any]
    findings: tuple[Finding, ...]
    n_workpoints: int
    n_steps: int


def read_request(
    payload: Mapping[str, Any],
    *,
    teams: Mapping[str, Any] | None = None,
    with_published: Callable[[Mapping[str, Any]], Mapping[str, Any]] | None = None,
) -> ReadRequest:
    """`payload` without nulls, its work points as a list and its teams by name; other keys stay as they are.

    A step whose team nobody declares may name one of the default plant in another language (`vocabulary.TEAMS`).

    Args:
        teams: of the plant that it is for, by name; they are no part of what is answered.
        with_published: puts the published plan in the place of the run that names it, to check the request.

    Raises:
        InvalidInstance: as `readers.instance_from_request` does.
    """
    renamed, findings = _with_known_teams(payload, teams or {})
    instance = checked(renamed if with_published is None else with_published(renamed), teams)
    return ReadRequest(_plain(renamed), findings, len(instance.workpoints), len(instance.steps))


def checked(request: Mapping[str, Any], teams: Mapping[str, Any] | None) -> Instance:
    """The instance of `request` in a plant with `teams`, of which it may tell the sizes itself.

    Raises:
        InvalidInstance: as `readers.instance_from_request` does.
    """
    if not teams or request.get("teams") is not None:
        return instance_from_request(request)
    sized = _sized_teams(request)
    needed = {team for _, step in steps_written(request) if isinstance(team := step.get("team"), str)}
    others = {name: team for name, team in teams.items() if name in needed or vocabulary.team_of(name) in (None, name)}
    return instance_from_request({**request, "teams": {name: others[name] for name in others if name not in sized}})


def _with_known_teams(
    payload: Mapping[str, Any], plant: Mapping[str, Any]
) -> tuple[Mapping[str, Any], tuple[Finding, ...]]:
    own = {*plant, *_own_teams(payload)}
    renamed = deepcopy(payload)
    first: dict[str, Loc] = {}
    count: Counter[str] = Counter()
    for loc, step in steps_written(renamed):
        name = step.get("team")
        if not isinstance(name, str) or name in own:
            continue
        team = vocabulary.team_of(name)
        if team not in (None, name):
            first.setdefault(name, (*loc, "team"))
            count[name] += 1
            step["team"] = team
    return renamed, tuple(
        Finding(loc, "team_read_as", {"name": name, "team": vocabulary.team_of(name), "n": count[name]})
        for name, loc in first.items()
    )


def _own_teams(payload: Mapping[str, Any]) -> set[object]:
    """Names of the teams that the request declares, or gives a size in a step."""
    teams = payload.get("teams")
    listed = teams if isinstance(teams, list) else ()
    declared = list(teams) if isinstance(teams, Mapping) else [t.get("name") for t in listed if isinstance(t, Mapping)]
    return {name for name in (*declared, *_sized_teams(payload)) if isinstance(name, str)}


def _sized_teams(payload: Mapping[str, Any]) -> list[object]:
    return [step.get("team") for _, step in steps_written(payload) if step.get("team_size") is not None]


def _plain(request: Mapping[str, Any]) -> dict[str, Any]:
    """A valid request in one form."""
    said: dict[str, Any] = _without_nulls(request)
    if isinstance(workpoints := said.get("workpoints"), dict):
        said["workpoints"] = [{**workpoint, "id": key} for key, workpoint in workpoints.items()]
    teams = said.get("teams")
    if isinstance(teams, list):
        teams = {str(whole(team["name"])): team for team in teams}
    if teams is not None:
        said["teams"] = {
            name: {key: value for key, value in team.items() if key != "name"} for name, team in teams.items()
        }
    return said


def _without_nulls(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _without_nulls(entry) for key, entry in value.items() if entry is not None}
    return [_without_nulls(entry) for entry in value] if isinstance(value, list) else value

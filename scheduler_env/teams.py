"""The teams of a plant: the default ones, changed and joined by what a request says."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import cast

from scheduler_env import values
from scheduler_env.errors import InvalidInstance, Loc
from scheduler_env.problem import Team
from scheduler_env.standard_cycle import DEFAULT_TEAMS
from scheduler_env.vocabulary import team_of
from scheduler_env.written import RawWorkPoint

MAX_TEAMS = 200
TEAM_KEYS = ("name", "headcount", "dedicated", "min_crew")


def plant(value: object, workpoints: Sequence[RawWorkPoint]) -> dict[str, Team]:
    """The default plant with the request's `teams` and what the steps' `team_size` add; every step's team is in it.

    A team that only steps define is dedicated when all of its steps are.

    Args:
        value: the request's `teams`.

    Raises:
        InvalidInstance: with `loc`, the path in the request to what is wrong.
    """
    steps = [step for workpoint in workpoints for step in workpoint.steps or ()]
    default = {team.name: team for team in DEFAULT_TEAMS}
    size_of: dict[str, tuple[int, Loc]] = {}
    shared = {step.team for step in steps if not step.dedicated}
    for step in steps:
        if step.team_size is None:
            continue
        size, where = size_of.setdefault(step.team, (step.team_size, step.loc))
        if size != step.team_size:
            raise InvalidInstance(
                "team_sizes_differ",
                (*step.loc, "team_size"),
                team=step.team,
                here=step.team_size,
                there=size,
                place=".".join(map(str, where)),
            )
    found = _declared(value, needed={step.team for step in steps})
    for name, (size, where) in size_of.items():
        team = found.get(name)
        # A declared team is one that `teams` changed or added: then both must say the same.
        if team is not None and team != default.get(name) and team.headcount != size:
            raise InvalidInstance(
                "team_sizes_differ", (*where, "team_size"), team=name, here=size, there=team.headcount, place="teams"
            )
        found[name] = Team(name, size, name not in shared) if team is None else replace(team, headcount=size)
    if len(found) > MAX_TEAMS:
        raise InvalidInstance("too_many_teams", ("workpoints",), n=len(found), limit=MAX_TEAMS)
    for step in steps:
        if step.team not in found:
            raise InvalidInstance(
                "unknown_team", (*step.loc, "team"), step=step.name, team=step.team, known=list(found)
            )
    return found


def _declared(value: object, needed: Collection[str]) -> dict[str, Team]:
    """The default plant with the teams of the request's `teams` changed and added; steps need the teams `needed`."""
    by_name = {team.name: team for team in DEFAULT_TEAMS}
    if value is None:
        return by_name
    if isinstance(value, Mapping):
        entries: list[tuple[Loc, str | None, object]] = [(("teams", key), key, entry) for key, entry in value.items()]
    elif isinstance(value, list):
        entries = [(("teams", index), None, entry) for index, entry in enumerate(value)]
    else:
        raise InvalidInstance("not_a_list_or_object", ("teams",), found=values.kind_of(value))
    if len(entries) > MAX_TEAMS:
        raise InvalidInstance("too_many_teams", ("teams",), n=len(entries), limit=MAX_TEAMS)
    seen: set[str] = set()
    for loc, key, raw in entries:
        entry = values.json_object(raw, loc, TEAM_KEYS, "team")
        written = entry.get("name", key)
        if written is None:
            raise InvalidInstance("missing", (*loc, "name"), name="name")
        name = values.identifier(written, (*loc, "name"))
        if key is not None and name != key:
            raise InvalidInstance("key_differs", (*loc, "name"), key=key, name=name)
        if name in seen:
            raise InvalidInstance("team_twice", loc, team=name)
        seen.add(name)
        known = by_name.get(name)
        headcount = values.people(entry.get("headcount"), (*loc, "headcount"))
        if headcount is None and known is None:
            raise InvalidInstance("no_headcount", (*loc, "headcount"), team=name)
        dedicated = values.boolean(
            entry.get("dedicated"), (*loc, "dedicated"), default=known is not None and known.dedicated
        )
        min_crew = values.people(entry.get("min_crew"), (*loc, "min_crew"))
        if dedicated and min_crew is not None:
            raise InvalidInstance("min_crew_of_dedicated", (*loc, "min_crew"), team=name)
        try:
            by_name[name] = Team(name, headcount or cast(Team, known).headcount, dedicated, min_crew)
        except InvalidInstance as err:
            raise err.at(loc) from err
        # It would change nothing.
        if name not in needed and (meant := team_of(name)) not in (None, name):
            raise InvalidInstance("misnamed_team", loc, team=name, nearest=meant)
    return by_name

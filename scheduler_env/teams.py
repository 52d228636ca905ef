"""The teams of a plant: the default ones, changed and joined by what a request says."""

from collections.abc import Collection, Sequence
from dataclasses import replace

from scheduler_env.availability import MAX_INTERVALS, Availability, Interval
from scheduler_env.errors import InvalidInstance, Loc
from scheduler_env.mistakes import Mistakes
from scheduler_env.problem import MAX_HEADCOUNT, Team
from scheduler_env.problem_request import (
    MAX_NAME_LENGTH,
    MAX_TEAMS,
    NamedTeamRequest,
    PresenceRequest,
    TeamRequest,
    WrittenStep,
)
from scheduler_env.standard_cycle import DEFAULT_TEAMS
from scheduler_env.values import is_printable, shortened, whole
from scheduler_env.vocabulary import team_of

DEFAULT_PLANT = {team.name: team for team in DEFAULT_TEAMS}


def plant(value: object, steps: Sequence[WrittenStep], mistakes: Mistakes) -> dict[str, Team]:
    """The default plant with the request's `teams` and what the steps' `team_size` add; every step's team is in it.

    A team that only steps define is dedicated when all of its steps are. A team about which something unreadable is
    said has `MAX_HEADCOUNT` people, so that no further mistake follows from it.

    Args:
        value: the request's `teams`.
    """
    found, is_named = _declared(value, {step.team for step in steps}, mistakes)
    for name, (size, loc) in _sizes(steps, mistakes).items():
        team = found.get(name)
        # A declared team is one that `teams` changed or added: then both must say the same.
        if team is not None and team != DEFAULT_PLANT.get(name) and team.headcount != size:
            mistakes.add(
                InvalidInstance(
                    "team_sizes_differ", (*loc, "team_size"), team=name, here=size, there=team.headcount, place="teams"
                )
            )
        is_dedicated = all(step.read is not None and step.read.dedicated for step in steps if step.team == name)
        found[name] = Team(name, size, is_dedicated) if team is None else replace(team, headcount=size)
    for step in steps:
        if step.read is None and step.team is not None and (step.sizes_team or step.team not in found):
            found[step.team] = Team(step.team, MAX_HEADCOUNT)
    if len(found) > MAX_TEAMS:
        mistakes.stop(InvalidInstance("too_many_teams", ("workpoints",), n=len(found), limit=MAX_TEAMS))
    if not is_named:  # the entry may be about any team of which nothing else is said
        needed = {step.team for step in steps} | DEFAULT_PLANT.keys()
        found |= {
            name: Team(name, MAX_HEADCOUNT)
            for name in needed
            if name is not None and found.get(name) == DEFAULT_PLANT.get(name)
        }
    return found


def name_in(entry: object, field: str, *, is_id: bool) -> str | None:
    """What an entry that is not valid has as a name, or as an id, which may be a number; None if it cannot be one."""
    value = whole(entry.get(field)) if isinstance(entry, dict) else None
    if isinstance(value, bool) or not isinstance(value, (str | int) if is_id else str):
        return None
    return str(value) if 0 < len(str(value)) <= MAX_NAME_LENGTH and is_printable(str(value)) else None


def _sizes(steps: Sequence[WrittenStep], mistakes: Mistakes) -> dict[str, tuple[int, Loc]]:
    """The headcounts that steps give to their teams, each with the first step that does."""
    found: dict[str, tuple[int, Loc]] = {}
    for step in steps:
        if step.read is None or step.read.team_size is None:
            continue
        here = step.read.team_size
        there, loc = found.setdefault(step.read.team, (here, step.loc))
        if here != there:
            place = ".".join(map(str, loc))
            mistakes.add(
                InvalidInstance(
                    "team_sizes_differ",
                    (*step.loc, "team_size"),
                    team=step.read.team,
                    here=here,
                    there=there,
                    place=place,
                )
            )
    return found


def _declared(value: object, needed: Collection[str | None], mistakes: Mistakes) -> tuple[dict[str, Team], bool]:
    """The default plant with the teams of the request's `teams` changed and added; steps need the teams `needed`.

    And whether the names of all these teams can be read.
    """
    found = dict(DEFAULT_PLANT)
    seen: set[str] = set()
    entries = mistakes.entries([] if value is None else value, ("teams",), MAX_TEAMS)
    is_named = not isinstance(value, dict | list) or len(entries) == len(value)
    for loc, key, entry in entries:
        read = mistakes.read(NamedTeamRequest if key is None else TeamRequest, entry, loc)
        name = key if read is None or read.name is None else read.name
        if name is None:
            name = name_in(entry, "name", is_id=True)
        if name is None:
            is_named = False
            continue
        if key is not None and name != key:
            mistakes.add(InvalidInstance("key_differs", (*loc, "name"), key=key, name=name))
        if name in seen:
            mistakes.add(InvalidInstance("team_twice", loc, team=name))
        seen.add(name)
        known = found.get(name)
        found[name] = (read and _team(name, read, known, loc, mistakes)) or Team(name, MAX_HEADCOUNT)
        # It would change nothing.
        if read is not None and name not in needed and (meant := team_of(name)) not in (None, name):
            mistakes.add(InvalidInstance("misnamed_team", loc, team=name, nearest=meant))
    return found, is_named


def _team(name: str, read: TeamRequest, known: Team | None, loc: Loc, mistakes: Mistakes) -> Team | None:
    """The team as declared, the rest as `known`; None if it cannot be."""
    headcount = read.headcount or (known.headcount if known is not None else None)
    if headcount is None:
        mistakes.add(InvalidInstance("no_headcount", (*loc, "headcount"), team=name))
        return None
    is_dedicated = known is not None and known.dedicated if read.dedicated is None else read.dedicated
    if is_dedicated and read.min_crew is not None:
        mistakes.add(InvalidInstance("min_crew_of_dedicated", (*loc, "min_crew"), team=name))
        return None
    try:
        return Team(name, headcount, is_dedicated, read.min_crew, _availability(read.availability, loc, mistakes))
    except InvalidInstance as err:
        mistakes.add(err.at((*loc, *err.loc)))
        return None


def _availability(value: object, loc: Loc, mistakes: Mistakes) -> Availability | None:
    """The people who are there; None if nothing is said about it, or if it has a mistake."""
    loc = (*loc, "availability")
    if isinstance(value, list):
        if len(value) > MAX_INTERVALS:
            mistakes.add(InvalidInstance("too_long", loc, max_length=MAX_INTERVALS, actual_length=len(value)))
            return None
        read = [mistakes.read(PresenceRequest, entry, (*loc, at)) for at, entry in enumerate(value)]
        intervals = [Interval(each.begin, each.to, each.people) for each in read if each is not None]
        return tuple(intervals) if len(intervals) == len(read) else None
    if value is None:
        return None
    value = whole(value)
    if isinstance(value, bool) or not isinstance(value, int):
        mistakes.add(InvalidInstance("people_or_intervals", loc, value=shortened(value)))
        return None
    return value

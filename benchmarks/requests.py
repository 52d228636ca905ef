"""Seeded request bodies of the kinds that clients send to POST /run_algorithm.

A benchmark that sends one body over and over measures that one body: the sample request is proved optimal at once,
others are not. `bodies(kind, count)` gives as many different bodies as are wanted; the same seed gives the same body.

| kind | what it asks for |
|---|---|
| `sample` | the 15 durations of the documentation, every time |
| `near` | 15 durations near those of the sample, in tenths of an hour, as planners write them |
| `generated` | one work point as `scheduler_env.generator` makes it: 2 to 20 h, optional steps missing at 10 % |
| `missing` | one work point near the sample that does without some of its tests or its repair |
| `teams` | one work point on other teams: headcounts, crew ranges, dedicated teams, steps that run alone |
| `varied` | one work point: `near` and `generated` in turn |
| `mix` | 1 to 5 work points near the sample or generated, mostly 1 |
"""

import random
from collections.abc import Callable

from scheduler_env.generator import OPTIONAL_STEPS, random_durations
from scheduler_env.standard_cycle import DEFAULT_TEAMS, SAMPLE_PARAMS, STANDARD_STEPS

Body = dict[str, object]

FIRST_SEED = 600_000
"""Other seeds are taken: registry 400,000 and 450,000, the choice of weights 500,000, training from 1,000,000 on."""
SPREAD = 0.2
"""How far a duration lies from the sample's at most, as a share of it."""
SHARE_OF_TEAMS_CHANGED = 0.5
SHARE_OF_STEPS_CHANGED = 0.3
MIX_SHARES = {1: 0.7, 2: 0.12, 3: 0.08, 4: 0.05, 5: 0.05}
"""Work points of a request -> share of the requests."""


def sample() -> Body:
    """The sample request: the 15 durations of the documentation."""
    return {"params": list(SAMPLE_PARAMS)}


def near_sample(seed: int) -> Body:
    """15 durations within 20 % of the sample's, in tenths of an hour."""
    return {"params": _near(random.Random(seed))}


def generated(seed: int) -> Body:
    """The work point of `random_instance(1, seed)`; its durations are not rounded, so the instance is the same."""
    return {"workpoints": [{"id": "1", "steps": _steps(random_durations(1, seed)[0])}]}


def missing_steps(seed: int) -> Body:
    """One work point near the sample without 1 to 5 of the tests and the repair."""
    chooser = random.Random(seed)
    left_out = set(chooser.sample(sorted(OPTIONAL_STEPS), chooser.randint(1, 5)))
    hours = {index: value for index, value in enumerate(_near(chooser)) if index not in left_out}
    return {"workpoints": [{"id": "1", "steps": _steps(hours)}]}


def other_teams(seed: int) -> Body:
    """One work point near the sample on changed teams, with crew ranges and steps that run alone."""
    chooser = random.Random(seed)
    plant: dict[str, dict[str, object]] = {}
    headcount: dict[str, int] = {}
    least: dict[str, int] = {}  # people; the headcount where the team is dedicated
    for team in DEFAULT_TEAMS:
        people, dedicated, least_crew = team.headcount, team.dedicated, team.least_crew
        if chooser.random() < SHARE_OF_TEAMS_CHANGED:
            people = max(2, round(people * chooser.uniform(0.5, 1.6)))
            dedicated = chooser.random() < (0.8 if dedicated else 0.1)
            changed: dict[str, object] = {"headcount": people, "dedicated": dedicated}
            least_crew = people if dedicated else min(least_crew, people)
            if not dedicated:
                least_crew = changed["min_crew"] = chooser.randint(1, min(4, people))
            plant[team.name] = changed
        headcount[team.name], least[team.name] = people, least_crew
    steps = _steps(dict(enumerate(_near(chooser))))
    for step, standard in zip(steps, STANDARD_STEPS, strict=True):
        low, high = least[standard.team], headcount[standard.team]
        if low < high and chooser.random() < SHARE_OF_STEPS_CHANGED:
            step["min_crew"] = low = chooser.randint(low, high)
        if low < high and chooser.random() < SHARE_OF_STEPS_CHANGED:
            step["max_crew"] = chooser.randint(low, high)
        if standard.order == 4 and chooser.random() < SHARE_OF_STEPS_CHANGED / 2:
            step["parallel"] = False
    return {"teams": plant, "workpoints": [{"id": "1", "steps": steps}]}


def varied(seed: int) -> Body:
    """One work point: near the sample for an even seed, generated for an odd one."""
    return generated(seed) if seed % 2 else near_sample(seed)


def mixed(seed: int) -> Body:
    """1 to 5 work points, each near the sample or generated; how many: `MIX_SHARES`."""
    chooser = random.Random(seed)
    (count,) = chooser.choices(list(MIX_SHARES), list(MIX_SHARES.values()))
    workpoints: list[dict[str, object]] = []
    for number, hours in enumerate(random_durations(count, seed), start=1):
        content = {"params": _near(chooser)} if chooser.random() < 0.5 else {"steps": _steps(hours)}
        workpoints.append({"id": str(number), **content})
    return {"workpoints": workpoints}


KINDS: dict[str, Callable[[int], Body]] = {
    "sample": lambda _: sample(),
    "near": near_sample,
    "generated": generated,
    "missing": missing_steps,
    "teams": other_teams,
    "varied": varied,
    "mix": mixed,
}


def bodies(kind: str, count: int, *, first_seed: int = FIRST_SEED) -> list[Body]:
    """`count` bodies of one of `KINDS`, of the seeds from `first_seed` on; the sample only once, for it has no other.

    Raises:
        KeyError: there is no such kind.
    """
    make = KINDS[kind]
    return [make(first_seed + number) for number in range(1 if kind == "sample" else count)]


def _near(chooser: random.Random) -> list[float]:
    return [round(hours * chooser.uniform(1 - SPREAD, 1 + SPREAD), 1) for hours in SAMPLE_PARAMS]


def _steps(hours: dict[int, float]) -> list[dict[str, object]]:
    """Steps as clients write them; `hours`: index in `STANDARD_STEPS` -> nominal hours."""
    return [
        {
            "id": str(index + 1),
            "name": standard.name_zh,
            "order": standard.order,
            "team": standard.team,
            "duration": value,
        }
        for index, value in hours.items()
        for standard in (STANDARD_STEPS[index],)
    ]

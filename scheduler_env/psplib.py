"""Reader of PSPLIB benchmark instances (`.sm` and `.mm` files).

Source of the format and the instances: Kolisch and Sprecher 1996, PSPLIB - a project scheduling problem library.
"""

import re

from scheduler_env.errors import InvalidInstance
from scheduler_env.problem import Instance, Mode, Step, Team, WorkPoint

_SECTION = {
    "successors": re.compile(r"PRECEDENCE RELATIONS:\s*\n[^\n]*\n(.*?)\n\*{5,}", re.S),
    "modes": re.compile(r"REQUESTS/DURATIONS:\s*\n([^\n]*)\n-+\s*\n(.*?)\n\*{5,}", re.S),
    "capacities": re.compile(r"RESOURCE\s?AVAILABILITIES:\s*\n([^\n]*)\n([^\n]*)"),
}


def instance_from_psplib(text: str) -> Instance:
    """The project in a `.sm` or `.mm` file: one work point, one team per renewable resource; a time unit is an hour.

    Job k becomes step `k` with its executable modes in the order of the file. The dummy source and sink are kept, with
    duration 0.

    Raises:
        InvalidInstance: the text is not such a file, or has non-renewable resources, which are not supported.
    """
    header, availabilities = _section(text, "capacities")
    resources = [kind + number for kind, number in re.findall(r"([RND])\s*(\d+)", header)]
    if unknown := [name for name in resources if not name.startswith("R")]:
        raise InvalidInstance("psplib_resources", names=unknown)
    capacities = _numbers(availabilities)
    if len(capacities) != len(resources):
        raise InvalidInstance("psplib_availabilities", n=len(capacities), expected=len(resources))
    successors: dict[int, list[int]] = {}
    for line in _section(text, "successors")[0].splitlines():
        values = _numbers(line)
        if len(values) < 3 or len(values) != 3 + values[2]:
            raise InvalidInstance("psplib_successors", line=line.strip())
        job, after = values[0], values[3:]
        successors[job] = after
    modes: dict[int, list[Mode]] = {}
    job = 0
    for line in _section(text, "modes")[1].splitlines():
        values = _numbers(line)
        if len(values) == len(resources) + 3:  # the first mode of a job names the job
            job = values.pop(0)
        if len(values) != len(resources) + 2 or job not in successors:
            raise InvalidInstance("psplib_mode", line=line.strip(), n=len(resources))
        demand = tuple((name, units) for name, units in zip(resources, values[2:], strict=True) if units)
        # Modes whose demand exceeds a capacity are not executable (Sprecher et al. 1997).
        if all(units <= capacities[resources.index(name)] for name, units in demand):
            modes.setdefault(job, []).append(Mode(float(values[1]), demand))
    before: dict[int, list[str]] = {job: [] for job in successors}
    for job, after in successors.items():
        for successor in after:
            if successor not in before:
                raise InvalidInstance("psplib_no_such_successor", job=job, successor=successor)
            before[successor].append(str(job))
    steps = tuple(
        Step(str(job), f"job {job}", "1", resources[0], None, tuple(modes.get(job, ())), tuple(before[job]))
        for job in successors
    )
    teams = tuple(Team(name, units) for name, units in zip(resources, capacities, strict=True))
    return Instance(teams, (WorkPoint("1", "project", steps),))


def _section(text: str, name: str) -> tuple[str, ...]:
    found = _SECTION[name].search(text)
    if found is None:
        raise InvalidInstance("psplib_section", section=name)
    return found.groups()


def _numbers(line: str) -> list[int]:
    try:
        return [int(word) for word in line.split()]
    except ValueError as err:
        raise InvalidInstance("psplib_numbers", line=line.strip()) from err

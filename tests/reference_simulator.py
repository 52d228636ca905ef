"""A plain Python simulation of the shutdown, slow and simple: the oracle for the compiled kernel."""

from scheduler_env import Instance


class ReferenceSimulator:
    """A direct implementation of the rules of DOMAIN.md; activities are numbered, modes are indices within the step."""

    def __init__(self, instance: Instance) -> None:
        self.instance = instance
        self.now = 0.0
        self.started: dict[int, tuple[int, float, float]] = {}  # activity -> (mode, start, end)

    def _finished(self, activity: int) -> bool:
        return activity in self.started and self.started[activity][2] <= self.now + 1e-9

    def _at_work(self) -> list[int]:
        return [activity for activity in self.started if not self._finished(activity)]

    def free(self) -> dict[str, int]:
        people = dict(self.instance.capacity)
        for activity in self._at_work():
            for team, units in self.instance.steps[activity].modes[self.started[activity][0]].demand:
                people[team] -= units
        return people

    def _ready(self, activity: int) -> bool:
        step = self.instance.steps[activity]
        for other, other_step in enumerate(self.instance.steps):
            lower = (
                step.order is not None
                and other_step.order is not None
                and other_step.workpoint_id == step.workpoint_id
                and other_step.order < step.order
            )
            if (lower or other_step.id in step.predecessors) and not self._finished(other):
                return False
        return True

    def candidates(self) -> list[tuple[int, int]]:
        people = self.free()
        found = [
            (activity, number)
            for activity, step in enumerate(self.instance.steps)
            if activity not in self.started and self._ready(activity)
            for number, mode in enumerate(step.modes)
            if all(units <= people[team] for team, units in mode.demand)
        ]
        return found + ([(-1, -1)] if self._at_work() else [])

    def decide(self, activity: int, mode: int) -> None:
        if activity == -1:
            self.now = min(self.started[other][2] for other in self._at_work())
        else:
            duration = self.instance.steps[activity].modes[mode].duration_h
            self.started[activity] = (mode, self.now, self.now + duration)

    def is_complete(self) -> bool:
        return len(self.started) == len(self.instance.steps)

"""Who answers a request: the arm of the experiment that it names, or the default model. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from scheduler_service.experiments.experiment import Experiment

AssignmentReason = Literal["assigned", "default", "pinned", "experiment_not_found", "experiment_not_active"]


@dataclass(frozen=True, slots=True)
class Assignment:
    """Which model answers a request, and why. `variant` is the arm; None unless `reason` is `assigned` or `pinned`.

    `pinned` is a tester whom the experiment forces into an arm, or a request that names its model. `split` has the
    shares of the arms that the user was assigned under, in their order ("0.9/0.1"); None unless `reason` is `assigned`.
    """

    experiment: str | None  # as asked for
    variant: str | None
    model: str  # as configured: a key, short name or tag of the registry
    user_id: str
    reason: AssignmentReason
    split: str | None = None


def assign(
    experiments: Mapping[str, Experiment], default_model: str, experiment: str | None, user_id: str, now: datetime
) -> Assignment:
    """Arm and model for this user, and why; a missing or finished experiment means the default model."""
    if not experiment:
        return Assignment(None, None, default_model, user_id, "default")
    found = experiments.get(experiment)
    if found is None:
        return Assignment(experiment, None, default_model, user_id, "experiment_not_found")
    if found.status_at(now) != "active":
        return Assignment(experiment, None, default_model, user_id, "experiment_not_active")
    place = found.place_of(user_id)
    if place.arm is None:
        return Assignment(experiment, None, default_model, user_id, "default")
    model = found.models[place.arm]
    if place.why == "forced":
        return Assignment(experiment, place.arm, model, user_id, "pinned")
    return Assignment(experiment, place.arm, model, user_id, "assigned", found.split_now)

"""The model that answers a request: that of an experiment's arm, or the default model. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from scheduler_service.experiments.experiment import Experiment

AssignmentReason = Literal["assigned", "default", "pinned", "experiment_not_found", "experiment_not_active"]


@dataclass(frozen=True, slots=True)
class Assignment:
    """The model that answers a request, and the reason.

    `pinned`: the experiment forces this tester into an arm, or the request names its model.
    """

    experiment: str | None  # as named by the request
    variant: str | None  # the arm; None unless `reason` is `assigned` or `pinned`
    model: str  # as configured: a key, short name or tag of the registry
    user_id: str
    reason: AssignmentReason
    split: str | None = None  # shares of the arms in their order, "0.9/0.1"; None unless `reason` is `assigned`


def assign(
    experiments: Mapping[str, Experiment], default_model: str, experiment: str | None, user_id: str, now: datetime
) -> Assignment:
    """The arm and the model of this user; the default model if the experiment is missing or not active."""
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

"""Which move the verdict on a candidate calls for: what pages offer first. Pure."""

from collections.abc import Mapping
from typing import Any, Literal, get_args

from scheduler_service.experiments.experiment import Experiment
from scheduler_service.experiments.lifecycle import OVER

AdvisedMove = Literal["promote", "stop", "stop_arm", "conclude", "start"]
ADVISED_MOVES: tuple[AdvisedMove, ...] = get_args(AdvisedMove)


def advised_move(experiment: Experiment, arm: str, verdict: Mapping[str, Any]) -> AdvisedMove | None:
    """The move that the verdict on `arm` calls for now; None: go on, or a person has to find something out first.

    Args:
        verdict: as JSON; `verdict`, `failing` and `cannot_tell` of it.
    """
    if experiment.archived_at is not None or experiment.status == "concluded" or arm in experiment.stopped_arms:
        return None
    word, failing = verdict["verdict"], verdict["failing"]
    if word == "worse":
        return _end(experiment)
    if word == "better" and verdict["cannot_tell"] is None and not (failing and failing["is_certain"]):
        return _promotion(experiment)
    return "start" if experiment.status == "paused" else None


def _end(experiment: Experiment) -> AdvisedMove:
    if experiment.status in OVER:
        return "conclude"
    return "stop" if len(experiment.running_candidates) == 1 else "stop_arm"


def _promotion(experiment: Experiment) -> AdvisedMove | None:
    if experiment.status == "paused":
        return "start"
    is_automatic = experiment.status == "active" and experiment.rollout is not None and experiment.rollout.auto
    return None if is_automatic or experiment.status == "scheduled" else "promote"

"""The recommended action after a verdict: its text, and the move that pages offer first. Pure."""

from typing import Literal

from scheduler_service.experiments.experiment import Experiment
from scheduler_service.experiments.lifecycle import OVER, Status
from scheduler_service.stats.judged import UNRELIABLE, Judged
from scheduler_service.words import Message

AdvisedMove = Literal["promote", "stop", "stop_arm", "conclude", "start"]


def next_step(
    experiment: Experiment, judged: Judged, *, status: Status, last_event: str | None, days_planned: float
) -> Message:
    """The recommended action.

    Args:
        status: current status of the experiment.
        last_event: kind of its last transition, if any.
        days_planned: days until the experiment ends.
    """
    promoted = experiment.promotion
    other = "" if promoted is None else promoted.arm
    code = _outcome(experiment, judged.candidate, last_event) or _by_status(experiment, judged, status)
    return judged.next_step(code, days_planned, other=other)


def _outcome(experiment: Experiment, arm: str, last_event: str | None) -> str | None:
    """The code of the advice after a promotion, a stop or an abort; None: none of these happened."""
    promoted = experiment.promotion
    if promoted is not None:
        if promoted.is_reverted:
            return "reverted"
        return "promoted" if promoted.arm == arm else "other_promoted"
    if arm in experiment.stopped_arms:
        return "arm_stopped"
    return "aborted" if last_event == "aborted" else None


def _by_status(experiment: Experiment, judged: Judged, status: Status) -> str:
    code, is_automatic = judged.next_code, _is_automatic(experiment, status)
    if judged.word == "worse":
        if status in OVER:
            return "over_worse"
        if len(experiment.running_candidates) > 1:
            return "worse_arm"
        return "worse_auto" if is_automatic else code
    if status in ("paused", "scheduled"):
        return status
    if status in OVER and judged.cannot_tell is None and code not in UNRELIABLE:
        return "over_better" if judged.word == "better" else "over"
    return "better_auto" if code == "better" and is_automatic else code


def _is_automatic(experiment: Experiment, status: Status) -> bool:
    return status == "active" and experiment.rollout is not None and experiment.rollout.auto


def advised_move(experiment: Experiment, judged: Judged) -> AdvisedMove | None:
    """The move that the verdict recommends; None: continue, or a person must investigate first."""
    arm = judged.candidate
    if experiment.archived_at is not None or experiment.status == "concluded" or arm in experiment.stopped_arms:
        return None
    if judged.word == "worse":
        if experiment.status in OVER:
            return "conclude"
        return "stop" if len(experiment.running_candidates) == 1 else "stop_arm"
    if experiment.status == "paused":
        return "start"
    if judged.word != "better" or judged.cannot_tell is not None or judged.is_failing:
        return None
    return None if _is_automatic(experiment, experiment.status) or experiment.status == "scheduled" else "promote"

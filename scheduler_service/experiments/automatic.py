"""The moves that the service makes by itself: what the figures call for, written down."""

import logging
from datetime import datetime

from scheduler_service.experiments.changes import Changes, Overtaken
from scheduler_service.experiments.edits import set_arm_stopped, set_next_stage, set_status
from scheduler_service.experiments.experiment import Experiment
from scheduler_service.experiments.lifecycle import Transition
from scheduler_service.experiments.rollout import Decision, Evidence, decide

log = logging.getLogger(__name__)


def act(changes: Changes, experiment: Experiment, evidence: Evidence, now: datetime) -> Transition | None:
    """Makes the move that the evidence calls for; None: there is none, or somebody else was quicker.

    Raises:
        InvalidTransition: the candidate cannot be deployed; it stays where it is.
        StorageUnavailable: the file is broken or cannot be written.
    """
    if experiment.status != "active":
        return None
    decision = decide(experiment.rollout, evidence, now)
    try:
        return _made(changes, experiment, decision, now)
    except Overtaken as err:
        log.info("%s", err)
    return None


def _made(changes: Changes, experiment: Experiment, decision: Decision, now: datetime) -> Transition | None:
    name, actor, said = experiment.name, "rollout", (decision.reasons, decision.figures)
    if decision.kind == "promote":
        return changes.promote(experiment, "model_b", actor, *said)
    if decision.kind == "advance":
        change = set_next_stage(experiment, now)
        return changes.make(name, "advanced", change, actor, *said, expected=experiment)
    if decision.kind == "stop_arm" and decision.arm is not None:
        change = set_arm_stopped(name, decision.arm, now)
        made = changes.make(name, "arm_stopped", change, "guardrail", *said, expected=experiment)
        told = "%s of the experiment %s is stopped, its users get the default model: %s"
        log.error(told, decision.arm, name, decision.reason)
        return made
    if decision.kind == "abort":
        change, actor = set_status(name, "stopped"), "guardrail" if decision.is_breach else actor
        made = changes.make(name, "aborted", change, actor, *said, expected=experiment)
        log.error("the experiment %s is stopped, everyone gets the default model: %s", name, decision.reason)
        return made
    return None

"""Executes the decisions that follow from the figures: advance, promote, stop an arm, abort."""

import logging
from datetime import datetime
from functools import partial

from scheduler_service.experiments.changes import ChangedMeanwhile, Changes
from scheduler_service.experiments.config import Document
from scheduler_service.experiments.edits import set_arm_stopped, set_next_stage
from scheduler_service.experiments.experiment import Experiment
from scheduler_service.experiments.lifecycle import Transition
from scheduler_service.experiments.rollout import Decision, Evidence, decide
from scheduler_service.lease import Lease

log = logging.getLogger(__name__)


def act(
    changes: Changes, experiment: Experiment, evidence: Evidence, now: datetime, lease: Lease | None = None
) -> Transition | None:
    """Execute the decision on the evidence; None: nothing to do, or the experiment was changed meanwhile.

    Args:
        lease: the change rests on it; as in `Store.changing`.

    Raises:
        InvalidTransition: the candidate cannot be deployed; the stage does not change.
        LeaseLost: another process has taken the lease; nothing was changed.
        StorageUnavailable: the file is broken or cannot be written.
    """
    if experiment.status != "active":
        return None
    try:
        return _execute(changes, experiment, decide(experiment.rollout, evidence, now), now, lease)
    except ChangedMeanwhile as err:
        log.info("%s", err)
    return None


def _execute(
    changes: Changes, experiment: Experiment, decision: Decision, now: datetime, lease: Lease | None
) -> Transition | None:
    name, why = experiment.name, (decision.reasons, decision.figures)
    if decision.kind == "promote":
        return changes.promote(experiment, "model_b", "rollout", *why, lease=lease)
    if decision.kind == "advance":
        change = partial(set_next_stage, experiment=experiment, now=now)
        return changes.make(name, "advanced", change, "rollout", *why, experiment, lease=lease)
    if decision.kind == "stop_arm" and (arm := decision.arm) is not None:
        change = partial(set_arm_stopped, name=name, arm=arm, now=now)
        made = changes.make(name, "arm_stopped", change, "guardrail", *why, experiment, lease=lease)
        message = "%s of the experiment %s is stopped, its users get the default model: %s"
        log.error(message, arm, name, decision.reason)
        return made
    if decision.kind == "abort":

        def stop(document: Document) -> None:
            document["experiments"][name]["status"] = "stopped"

        actor = "guardrail" if decision.is_breach else "rollout"
        made = changes.make(name, "aborted", stop, actor, *why, experiment, lease=lease)
        log.error("the experiment %s is stopped, everyone gets the default model: %s", name, decision.reason)
        return made
    return None

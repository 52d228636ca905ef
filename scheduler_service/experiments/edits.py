"""Single changes of the JSON of `ab_test_config.json`. Pure."""

import secrets
from collections.abc import Callable, Mapping
from datetime import datetime

from scheduler_service.clock import to_iso
from scheduler_service.errors import ServiceError
from scheduler_service.experiments.config import DEFAULT_MODEL, Document
from scheduler_service.experiments.experiment import Experiment
from scheduler_service.experiments.lifecycle import Status


def set_default(document: Document, model: str, actor: str, reason: str | ServiceError, now: datetime) -> None:
    """Let `model` answer requests outside of experiments, and record the change for the registry's history."""
    before = document.get("default_model", DEFAULT_MODEL)
    document["default_model"] = model
    document["default_change"] = {
        "id": secrets.token_hex(8),
        "time": to_iso(now),
        "before": before,
        "after": model,
        "actor": actor,
        "reason": str(reason),
        **(reason.to_dict() if isinstance(reason, ServiceError) else {}),
    }


def set_status(name: str, status: Status) -> Callable[[Document], None]:
    """The change of an experiment's status."""

    def change(document: Document) -> None:
        document["experiments"][name]["status"] = status

    return change


def set_arm_stopped(name: str, arm: str, now: datetime) -> Callable[[Document], None]:
    """The change that takes a candidate away from its users, for good."""

    def change(document: Document) -> None:
        entry = document["experiments"][name]
        entry["stopped_arms"] = {**(entry.get("stopped_arms") or {}), arm: to_iso(now)}

    return change


def set_about(name: str, texts: Mapping[str, str | None]) -> Callable[[Document], None]:
    """The change of title, hypothesis or owner; None takes one away."""

    def change(document: Document) -> None:
        entry = document["experiments"][name]
        for field, text in texts.items():
            entry.pop(field, None)
            if text is not None:
                entry[field] = text

    return change


def set_next_stage(experiment: Experiment, now: datetime) -> Callable[[Document], None]:
    """The change to the next stage of a rollout."""
    assert experiment.rollout is not None
    following = {"stage": experiment.rollout.stage + 1, "stage_since": to_iso(now)}

    def change(document: Document) -> None:
        document["experiments"][experiment.name]["rollout"] |= following

    return change

"""Single changes of the JSON of `ab_test_config.json`. Pure."""

import secrets
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from scheduler_service.clock import to_iso
from scheduler_service.errors import ServiceError
from scheduler_service.experiments.config import DEFAULT_MODEL, Document
from scheduler_service.experiments.experiment import Experiment


def set_default(
    document: Document, model: str, actor: str, reason: str | ServiceError, now: datetime
) -> dict[str, Any]:
    """Change the default model; returns the change, as the registry's history notes it."""
    before = document.get("default_model", DEFAULT_MODEL)
    change = {"id": secrets.token_hex(8), "time": to_iso(now), "before": before, "after": model}
    document["default_model"] = model
    coded = reason.to_dict() if isinstance(reason, ServiceError) else {}
    change |= {"actor": actor, "reason": str(reason), **coded}
    document["default_change"] = change
    return change


def set_arm_stopped(document: Document, name: str, arm: str, now: datetime) -> None:
    """Stop a candidate permanently."""
    entry = document["experiments"][name]
    entry["stopped_arms"] = {**(entry.get("stopped_arms") or {}), arm: to_iso(now)}


def set_about(document: Document, name: str, texts: Mapping[str, str | None]) -> None:
    """Change title, hypothesis or owner; None removes it."""
    entry = document["experiments"][name]
    for field, text in texts.items():
        entry.pop(field, None)
        if text is not None:
            entry[field] = text


def set_next_stage(document: Document, experiment: Experiment, now: datetime) -> None:
    """Move a rollout to its next stage."""
    assert experiment.rollout is not None
    following = {"stage": experiment.rollout.stage + 1, "stage_since": to_iso(now)}
    document["experiments"][experiment.name]["rollout"] |= following

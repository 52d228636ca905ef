"""Who answers: the default model what no experiment takes, the arms of running experiments their users."""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

from scheduler_service.clock import utc_now
from scheduler_service.errors import ServiceError
from scheduler_service.experiments.experiment import Experiment
from scheduler_service.http.services import Services
from scheduler_service.registry.names import STABLE
from scheduler_service.registry.records import ModelRecord, elsewhere, elsewhere_params
from scheduler_service.telemetry.answered import answered_by

DAYS = 7
LATEST = 20_000
"""Answers that the shares are of, at most: the newest ones of the last `DAYS`."""


def default_model(parts: Services) -> dict[str, str | None]:
    """The model that answers by default: as configured, and its key; no key if the name stands for none."""
    name = parts.experiments.default_model
    return {"name": name, "model_key": _key(parts, name)}


def answering(parts: Services, records: Sequence[ModelRecord]) -> dict[str, Any]:
    """Who answers now and what share of the requests of late was whose, as JSON; of all models in `records`."""
    default = default_model(parts)["model_key"]
    counts, takes_part = _counts(parts), _arms(parts)
    total = None if counts is None else sum(counts.values())
    known = {record.model_key for record in records}
    concerned = sorted(({default, *(counts or {}), *takes_part} & known) - {None}, key=str)
    return {
        "days": DAYS,
        "requests": total,
        "models": [
            {
                "model_key": key,
                "is_default": key == default,
                "requests": None if counts is None else counts.get(str(key), 0),
                "share": counts.get(str(key), 0) / total if counts is not None and total else None,
                "experiments": takes_part.get(str(key), []),
            }
            for key in concerned
        ],
        "stable_elsewhere": [_elsewhere(record, default) for record in records if _is_elsewhere(record, default)],
    }


def is_default(record: ModelRecord, default: Mapping[str, str | None]) -> dict[str, bool]:
    """Whether the model is what answers by default, as a member of its JSON."""
    return {"is_default": record.model_key == default["model_key"]}


def held_rollouts(parts: Services) -> list[str]:
    """Running rollouts that compare with the default model, and wait once another one is."""
    default = default_model(parts)["model_key"]
    active = parts.experiments.active_experiments()
    return [each.name for each in active if each.rollout is not None and _key(parts, each.model_a) == default]


def _is_elsewhere(record: ModelRecord, default: str | None) -> bool:
    return STABLE in record.tags and record.model_key != default


def _elsewhere(record: ModelRecord, default: str | None) -> dict[str, Any]:
    return {
        "algorithm": record.algorithm,
        "model_key": record.model_key,
        "message": elsewhere(record, default),
        "code": "stable_elsewhere",
        "params": elsewhere_params(record, default),
    }


def _counts(parts: Services) -> dict[str, int] | None:
    """Model key -> its answers of late; None where the records cannot be read: the registry is told all the same."""
    try:
        return answered_by(parts.monitor.engine, utc_now() - timedelta(days=DAYS), LATEST)
    except ServiceError:
        return None


def _arms(parts: Services) -> dict[str, list[dict[str, Any]]]:
    """Model key -> the arms of running experiments that it answers, with the share of the users who name them."""
    found: dict[str, list[dict[str, Any]]] = {}
    for experiment in parts.experiments.active_experiments():
        for arm, share in _shares(experiment).items():
            key = _key(parts, experiment.models[arm])
            if key is not None and share > 0.0:
                arm_of = {"experiment": experiment.name, "arm": arm, "share_of_users": share}
                found.setdefault(key, []).append(arm_of)
    return found


def _shares(experiment: Experiment) -> dict[str, float]:
    return {arm: experiment.present_coverage * share for arm, share in experiment.split_at().items()}


def _key(parts: Services, name: str) -> str | None:
    try:
        return parts.models.resolve(name, standing=True)
    except ServiceError:
        return None

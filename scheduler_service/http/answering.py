"""Which models answer requests: the arms of running experiments for their users, the default model for the rest."""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

from scheduler_service.clock import utc_now
from scheduler_service.errors import ServiceError
from scheduler_service.experiments.experiment import Experiment
from scheduler_service.http.services import Services
from scheduler_service.registry.names import STABLE
from scheduler_service.registry.records import ModelRecord, stable_elsewhere, stable_elsewhere_params
from scheduler_service.telemetry.history import answered_by

WINDOW_DAYS = 7
MAX_RUNS = 20_000
"""The shares are computed from at most this many answers, the newest of the last `WINDOW_DAYS`."""


def default_model(parts: Services) -> dict[str, str | None]:
    """The default model: its configured name, and its key, or None if the name matches no model."""
    name = parts.experiments.default_model
    return {"name": name, "model_key": _key(parts, name)}


def answering(parts: Services, records: Sequence[ModelRecord]) -> dict[str, Any]:
    """The models in `records` that answer now, and their shares of the latest requests, as JSON."""
    default = default_model(parts)["model_key"]
    counts, takes_part = _counts(parts), _arms(parts)
    total = None if counts is None else sum(counts.values())
    known = {record.model_key for record in records}
    concerned = sorted(({default, *(counts or {}), *takes_part} & known) - {None}, key=str)
    return {
        "days": WINDOW_DAYS,
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
    """Whether the model is the default model, as a member of its JSON."""
    return {"is_default": record.model_key == default["model_key"]}


def held_rollouts(parts: Services) -> list[str]:
    """Running rollouts whose model_a is the default model; they wait if the default changes."""
    default = default_model(parts)["model_key"]
    active = parts.experiments.active_experiments()
    return [each.name for each in active if each.rollout is not None and _key(parts, each.model_a) == default]


def _is_elsewhere(record: ModelRecord, default: str | None) -> bool:
    return STABLE in record.tags and record.model_key != default


def _elsewhere(record: ModelRecord, default: str | None) -> dict[str, Any]:
    return {
        "algorithm": record.algorithm,
        "model_key": record.model_key,
        "message": stable_elsewhere(record, default),
        "code": "stable_elsewhere",
        "params": stable_elsewhere_params(record, default),
    }


def _counts(parts: Services) -> dict[str, int] | None:
    """Model key -> number of latest answers. None if the records cannot be read: the registry is shown without them."""
    try:
        return answered_by(parts.monitor.engine, utc_now() - timedelta(days=WINDOW_DAYS), MAX_RUNS)
    except ServiceError:
        return None


def _arms(parts: Services) -> dict[str, list[dict[str, Any]]]:
    """Model key -> the arms of running experiments that it serves, each with its share of the experiment's users."""
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
        return parts.models.resolve(name, oldest=True)
    except ServiceError:
        return None

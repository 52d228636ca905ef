"""The models in use according to the experiments' file."""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from scheduler_service.errors import ServiceError, StorageUnavailable
from scheduler_service.experiments.config import ConfigFile
from scheduler_service.experiments.lifecycle import OVER
from scheduler_service.registry.index import Index

Role = Literal["default", "experiment", "way_back"]
"""The role of a model in use; `way_back`: the previous default model of a promotion."""


@dataclass(frozen=True, slots=True)
class ModelUse:
    """A use of a model: as the default model, in an experiment, or as the previous default of a promotion."""

    role: Role
    named: str  # the configured name: a key, a short name or a tag
    experiment: str | None = None


def models_in_use(file: ConfigFile, index: Index, now: datetime) -> dict[str, list[ModelUse]]:
    """Model key -> its uses: default model, arms of experiments that are not over, previous defaults.

    Raises:
        StorageUnavailable: the file exists but cannot be read, so the models in use are unknown.
    """
    try:
        config, fault = file.current(), file.fault
    except ServiceError as err:
        raise StorageUnavailable("users_unknown", reason=err.messages) from err
    if fault is not None:
        raise StorageUnavailable("users_unknown", reason=fault.messages)
    if not file.exists:  # a registry without a service: the service creates the file at its start
        return {}
    uses = [ModelUse("default", config.default_model)]
    for experiment in config.experiments.values():
        if experiment.status_at(now) not in OVER:
            uses += [ModelUse("experiment", name, experiment.name) for name in experiment.models.values()]
        promotion = experiment.promotion
        if promotion is not None and promotion.model == config.default_model:
            uses.append(ModelUse("way_back", promotion.previous_default, experiment.name))
    # A name that matches several models may mean any of them, so all of them are in use.
    found: dict[str, list[ModelUse]] = {}
    for use in uses:
        for key in index.candidates(use.named):
            found.setdefault(key, []).append(use)
    return found

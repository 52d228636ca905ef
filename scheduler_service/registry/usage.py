"""Which models the experiments need, by the file that the A/B manager keeps."""

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Literal

from scheduler_service.errors import ServiceError, StorageUnavailable
from scheduler_service.experiments.config import ConfigFile
from scheduler_service.experiments.lifecycle import OVER
from scheduler_service.registry.index import Index

Role = Literal["default", "experiment", "way_back"]
"""How a model is used."""


@dataclass(frozen=True, slots=True)
class User:
    """Who needs a model: everybody who is in no experiment, an experiment, or its way back."""

    role: Role
    named: str  # how the model is called there: a key, a short name or a tag
    experiment: str | None = None


def models_in_use(config_file: Path, index: Index, now: datetime) -> dict[str, list[User]]:
    """Model key -> who needs it: the default model, and the arms of each experiment that is not over.

    Raises:
        StorageUnavailable: the file is there, but cannot be read as it is: nobody knows what it means to keep.
    """
    if not config_file.exists():  # a registry without a service: the service writes the file when it starts
        return {}
    try:
        file = ConfigFile(config_file)
        config, problem = file.current(), file.problem
    except ServiceError as err:
        raise StorageUnavailable("users_unknown", reason=str(err)) from err
    if problem is not None:
        raise StorageUnavailable("users_unknown", reason=problem)
    users = [User("default", config.default_model)]
    for experiment in config.experiments.values():
        if experiment.status_at(now) not in OVER:
            users += [User("experiment", name, experiment.name) for name in experiment.models.values()]
        promotion = experiment.promotion
        if promotion is not None and promotion.model == config.default_model:
            users.append(User("way_back", promotion.previous_default, experiment.name))
    # A name that fits several models may mean any of them, so none of those may go.
    found: dict[str, list[User]] = {}
    for user in users:
        for key in index.candidates(user.named):
            found.setdefault(key, []).append(user)
    return found

"""Which models the experiments need, by the file that the A/B manager keeps."""

from datetime import datetime
from pathlib import Path

from scheduler_service.errors import ServiceError, StorageUnavailable
from scheduler_service.experiments.config import ConfigFile
from scheduler_service.registry.index import Index

OVER = ("stopped", "concluded", "completed")
"""The statuses of an experiment that needs its models no longer."""


def models_in_use(config_file: Path, index: Index, now: datetime) -> dict[str, str]:
    """Model key -> who needs it: the default model, and both arms of each experiment that is not over.

    Raises:
        StorageUnavailable: the file is there, but cannot be read as it is: nobody knows what it means to keep.
    """
    if not config_file.exists():  # a registry without a service: the service writes the file when it starts
        return {}
    try:
        file = ConfigFile(config_file)
        config, problem = file.current(), file.problem
    except ServiceError as err:
        raise StorageUnavailable(f"the models in use are unknown: {err}") from err
    if problem is not None:
        raise StorageUnavailable(f"the models in use are unknown: {problem}")
    names = {config.default_model: "the default model"}
    for experiment in config.experiments.values():
        if experiment.status_at(now) not in OVER:
            names |= dict.fromkeys(experiment.models.values(), f"the experiment {experiment.name!r}")
        promotion = experiment.promotion
        if promotion is not None and promotion.model == config.default_model:
            names[promotion.previous_default] = f"the way back from the experiment {experiment.name!r}"
    # A name that fits several models may mean any of them, so none of those may go.
    return {key: user for name, user in names.items() for key in index.candidates(name)}

"""Which runs a client asks about: `model_key` and `experiment` of the query, as names that stand for something."""

from collections.abc import Callable, Mapping

from flask import request

from scheduler_service.errors import ExperimentNotFound, ModelNotFound
from scheduler_service.http.services import Services
from scheduler_service.telemetry.history import latest_runs


def runs_asked_for(parts: Services) -> Callable[[], Mapping[str, str | None]]:
    """Looks up what the present request asks for: `model_key`, a key, and `experiment`, each None if it does not.

    To be called where files and records may be read.

    Raises (the function):
        ModelNotFound, AmbiguousModelName, ExperimentNotFound: a name stands for none, and has no runs on record.
    """
    model, experiment = request.args.get("model_key"), request.args.get("experiment")
    return lambda: {
        "model_key": _model_key(model, parts) if model else None,
        "experiment": _experiment(experiment, parts) if experiment else None,
    }


def _model_key(name: str, parts: Services) -> str:
    """Of a key, short name or tag; also of a deleted model that has runs."""
    try:
        return parts.models.resolve(name)
    except ModelNotFound:
        if latest_runs(parts.monitor.engine, 1, model_key=name):
            return name
        raise


def _experiment(name: str, parts: Services) -> str:
    try:
        return parts.experiments.get_experiment(name).name
    except ExperimentNotFound:
        if latest_runs(parts.monitor.engine, 1, experiment=name):
            return name
        raise

"""Filters on runs: resolves `model_key` and `experiment` of a query."""

from collections.abc import Mapping

from scheduler_service.errors import ExperimentNotFound, ModelNotFound
from scheduler_service.http.contract.runs import RunFilter
from scheduler_service.http.services import Services
from scheduler_service.telemetry.history import latest_runs


def runs_asked_for(parts: Services, query: RunFilter) -> Mapping[str, str | None]:
    """The resolved `model_key` and `experiment`; None for one that the query lacks. Reads files and records.

    Raises:
        ModelNotFound, AmbiguousModelName, ExperimentNotFound: a name is unknown and has no recorded runs.
    """
    return {
        "model_key": _model_key(query.model_key, parts) if query.model_key else None,
        "experiment": _experiment(query.experiment, parts) if query.experiment else None,
    }


def _model_key(name: str, parts: Services) -> str:
    """The key for a key, short name or tag; also for a deleted model that has runs."""
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

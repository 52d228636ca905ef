"""Experiments: create, start, pause, stop, conclude, and what they found."""

from typing import Any, Literal

from flask import Blueprint

from scheduler_service.http.bodies import read_body
from scheduler_service.http.schemas import ExperimentRequest, NoBody
from scheduler_service.http.services import services

blueprint = Blueprint("experiments", __name__)

Action = Literal["start", "pause", "stop", "conclude"]


@blueprint.post("/experiments")
def create_experiment() -> tuple[dict[str, Any], int]:
    """Compare two models on live traffic."""
    body = read_body(ExperimentRequest)
    experiment = services().storage.run(
        lambda: services().experiments.create_experiment(
            body.experiment_name,
            body.model_a,
            body.model_b,
            body.traffic_split,
            body.success_metric,
            body.duration_days,
            min_samples=body.min_samples,
            alpha=body.alpha,
        )
    )
    return {
        "status": "success",
        "experiment_name": experiment.name,
        "message": f"the experiment {experiment.name} is {experiment.status}",
        "experiment": experiment.to_dict(),
    }, 201


@blueprint.get("/experiments")
def list_experiments() -> dict[str, Any]:
    """All experiments, the newest first."""
    found = services().storage.run(services().experiments.list_experiments)
    return {"status": "success", "experiments": [each.to_dict() for each in found], "total": len(found)}


@blueprint.get("/experiments/<name>")
def get_experiment(name: str) -> dict[str, Any]:
    """One experiment with its status now."""
    experiment = services().storage.run(lambda: services().experiments.get_experiment(name))
    return {"status": "success", "experiment": experiment.to_dict()}


@blueprint.post("/experiments/<name>/start")
def start_experiment(name: str) -> dict[str, Any]:
    """Let a paused experiment run on."""
    return _move(name, "start")


@blueprint.post("/experiments/<name>/pause")
def pause_experiment(name: str) -> dict[str, Any]:
    """Send everyone to the default model for a while."""
    return _move(name, "pause")


@blueprint.post("/experiments/<name>/stop")
def stop_experiment(name: str) -> dict[str, Any]:
    """Send everyone to the default model for good."""
    return _move(name, "stop")


@blueprint.post("/experiments/<name>/conclude")
def conclude_experiment(name: str) -> dict[str, Any]:
    """Close an experiment whose results have been acted upon."""
    return _move(name, "conclude")


@blueprint.get("/experiments/<name>/results")
def get_results(name: str) -> dict[str, Any]:
    """What the recorded runs say of an experiment."""
    parts = services()

    def results() -> dict[str, Any]:
        parts.experiments.get_experiment(name)  # before its runs are read: an unknown name is cheap to refuse
        return parts.experiments.results(name, parts.monitor.get_performance_data(experiment=name))

    return {"status": "success", "results": parts.storage.run(results)}


def _move(name: str, action: Action) -> dict[str, Any]:
    read_body(NoBody, optional=True)
    move = getattr(services().experiments, f"{action}_experiment")
    experiment = services().storage.run(lambda: move(name))
    return {
        "status": "success",
        "experiment_name": experiment.name,
        "message": f"the experiment {experiment.name} is {experiment.status}",
        "experiment": experiment.to_dict(),
    }

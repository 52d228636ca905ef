"""Experiments: create, ramp, start, pause, stop, conclude, and what they found."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any, TypeVar

from flask import Blueprint, request

from ab_testing import Records
from scheduler_service.clock import to_iso, utc_now
from scheduler_service.errors import InvalidInput, ServiceError
from scheduler_service.experiments.experiment import Experiment, asked_for
from scheduler_service.experiments.planning import LOOK_BACK_DAYS, RUNS_AT_MOST, Plan, plan, planning_columns
from scheduler_service.experiments.ramp import USUAL, ShadowChoice, ramp_of, usual_shadow
from scheduler_service.experiments.replay import ReplayOptions
from scheduler_service.http.bodies import flag_of, read_body
from scheduler_service.http.contract.experiment_schemas import (
    AdvanceRequest,
    DescribeRequest,
    ExperimentRequest,
    MoveRequest,
    PlanRequest,
    PromoteArmRequest,
    ReplayRequest,
    StopArmRequest,
)
from scheduler_service.http.services import services
from scheduler_service.http.watch.watching import records_of
from scheduler_service.reporting.evolution import course

blueprint = Blueprint("experiments", __name__)

Asked = TypeVar("Asked", bound=ExperimentRequest)


@blueprint.post("/experiments")
def create_experiment() -> tuple[dict[str, Any], int]:
    """Compare two models on live traffic."""
    body, parts = read_body(ExperimentRequest), services()

    def created() -> dict[str, Any]:
        asked, choice = _with_usual_shadow(body)
        experiment = parts.experiments.create_experiment(
            asked.experiment_name,
            asked.model_a,
            asked.model_b,
            asked.traffic_split,
            asked.success_metric,
            asked.duration_days,
            actor=asked.actor,
            **asked.options,
        )
        chosen = [] if choice is None else [choice.reason]
        return _told(experiment) | {"notes": [*chosen, *_notes(experiment)]}

    return parts.storage.run(created), 201


def _with_usual_shadow(body: Asked) -> tuple[Asked, ShadowChoice | None]:
    """What was asked for, with the shadow that a rollout has by default; as it is where there is nothing to choose."""
    if body.rollout is None or body.shadow is not None:
        return body, None
    users: int | None
    try:
        runs = services().monitor.get_performance_data(
            start_time=utc_now() - timedelta(days=LOOK_BACK_DAYS), columns=("user_id",), latest=RUNS_AT_MOST
        )
        users = int(runs["user_id"].nunique())
    except ServiceError:  # an experiment can be created, whatever is wrong with the records
        users = None
    choice = usual_shadow(body.rollout.stages, body.success_metric, users)
    return body.model_copy(update={"shadow": choice.share}), choice


def _notes(experiment: Experiment) -> list[str]:
    """What its owner should know from the start: how far its rollout can come with the users that there are."""
    if experiment.rollout is None:
        return []
    parts = services()
    try:
        ramp = ramp_of(_planned(experiment, USUAL, parts.models.resolve(experiment.model_a, standing=True)))
    except ServiceError as err:  # the experiment is there, whatever is wrong with the records
        return [f"Nobody can tell how far this rollout will come: {err}."]
    return [] if ramp is None else ramp.notes()


def _planned(experiment: Experiment, minimum_effect: float, model: str | None) -> Plan:
    now = utc_now()
    runs = services().monitor.get_performance_data(
        start_time=now - timedelta(days=LOOK_BACK_DAYS),
        columns=planning_columns(experiment.success_metric),
        latest=RUNS_AT_MOST,
    )
    return plan(experiment, minimum_effect, runs, now, model)


@blueprint.post("/experiments/plan")
def plan_experiment() -> dict[str, Any]:
    """How long an experiment would take that is being thought of; changes nothing."""
    body, parts = read_body(PlanRequest), services()

    def planned() -> dict[str, Any]:
        asked, choice = _with_usual_shadow(body)
        experiment = asked_for(asked.definition | {"start_time": to_iso(utc_now())})
        key = None if body.model_a is None else parts.models.resolve(body.model_a, standing=True)
        found = _planned(experiment, body.minimum_effect, key)
        ramp = ramp_of(found)
        if ramp is None:
            return found.to_dict() | {"ramp": None}
        notes = [*([] if choice is None else [choice.reason]), *ramp.notes()]
        return found.to_dict() | {"ramp": ramp.to_dict() | {"notes": notes}}

    return {"status": "success", "plan": parts.storage.run(planned)}


@blueprint.get("/experiments")
def list_experiments() -> dict[str, Any]:
    """All experiments that are not archived, or those that are, the newest first."""
    experiments = services().experiments
    wanted = experiments.archived_experiments if flag_of("archived") else experiments.list_experiments
    found = services().storage.run(wanted)
    told = [each.to_dict() for each in found]
    return {"status": "success", "experiments": told, "total": len(told), "default_model": experiments.default_model}


@blueprint.get("/experiments/<name>")
def get_experiment(name: str) -> dict[str, Any]:
    """One experiment with its status now."""
    experiments = services().experiments
    experiment = services().storage.run(lambda: experiments.get_experiment(name))
    return {"status": "success", "experiment": experiment.to_dict(), "default_model": experiments.default_model}


@blueprint.post("/experiments/<name>/start")
def start_experiment(name: str) -> dict[str, Any]:
    """Let a paused experiment run on."""
    return _move(name, services().experiments.start_experiment)


@blueprint.post("/experiments/<name>/pause")
def pause_experiment(name: str) -> dict[str, Any]:
    """Send everyone to the default model for a while."""
    return _move(name, services().experiments.pause_experiment)


@blueprint.post("/experiments/<name>/stop")
def stop_experiment(name: str) -> dict[str, Any]:
    """Send everyone to the default model for good."""
    return _move(name, services().experiments.stop_experiment)


@blueprint.post("/experiments/<name>/conclude")
def conclude_experiment(name: str) -> dict[str, Any]:
    """Close an experiment whose results have been acted upon."""
    return _move(name, services().experiments.conclude_experiment)


@blueprint.post("/experiments/<name>/archive")
def archive_experiment(name: str) -> dict[str, Any]:
    """Take an experiment that is over out of the list; it can be read as before."""
    return _move(name, services().experiments.archive_experiment)


@blueprint.post("/experiments/<name>/describe")
def describe_experiment(name: str) -> dict[str, Any]:
    """Change the title, the hypothesis or the owner."""
    body, experiments = read_body(DescribeRequest), services().experiments
    told = {"actor": body.actor, "reason": body.reason}
    return _told(services().storage.run(lambda: experiments.describe_experiment(name, body.texts, **told)))


@blueprint.post("/experiments/<name>/advance")
def advance_experiment(name: str) -> dict[str, Any]:
    """Move a rollout to its next stage by hand; after the last one its candidate is promoted."""
    body, experiments, records = read_body(AdvanceRequest, optional=True), services().experiments, _records(name)
    return _told(
        services().storage.run(lambda: experiments.advance_experiment(name, **body.model_dump(), records=records))
    )


@blueprint.post("/experiments/<name>/promote")
def promote_arm(name: str) -> dict[str, Any]:
    """Make an arm's model the default one, and conclude the experiment."""
    body, experiments, records = read_body(PromoteArmRequest, optional=True), services().experiments, _records(name)
    return _told(services().storage.run(lambda: experiments.promote_arm(name, **body.model_dump(), records=records)))


@blueprint.get("/experiments/<name>/outlook")
def look_ahead(name: str) -> dict[str, Any]:
    """What promoting an arm would rest on, and what speaks against it."""
    arm, experiments, records = request.args.get("arm") or "model_b", services().experiments, _records(name)

    def looked() -> dict[str, Any]:
        return experiments.prospect(name, arm, records).to_dict() | {"default_model": experiments.default_model}

    return {"status": "success", "outlook": services().storage.run(looked)}


def _records(name: str) -> Records:
    """Reads what the experiment is judged by, on whatever thread it is called."""
    monitor = services().monitor
    return lambda: records_of(name, monitor)


@blueprint.post("/experiments/<name>/stop_arm")
def stop_arm(name: str) -> dict[str, Any]:
    """Take one candidate away from its users for good; the others go on."""
    body, experiments = read_body(StopArmRequest), services().experiments
    return _told(
        services().storage.run(lambda: experiments.stop_arm(name, body.arm, actor=body.actor, reason=body.reason))
    )


@blueprint.post("/experiments/<name>/revert")
def revert_promotion(name: str) -> dict[str, Any]:
    """Undo a promotion: default model and tag are what they were before."""
    return _move(name, services().experiments.revert_promotion)


@blueprint.get("/experiments/<name>/assignment")
def get_assignment(name: str) -> dict[str, Any]:
    """Where a user falls, and why."""
    user_id = request.args.get("user_id", "")
    if not 1 <= len(user_id) <= 200:
        raise InvalidInput("user_id_length", ("user_id",), limit=200)
    told = services().storage.run(lambda: services().experiments.explain_assignment(name, user_id))
    return {"status": "success", "assignment": told}


@blueprint.get("/experiments/<name>/history")
def get_history(name: str) -> dict[str, Any]:
    """What was done with an experiment, by whom, why and on which figures; the oldest first."""
    experiments = services().experiments

    def history() -> list[dict[str, Any]]:
        experiments.get_experiment(name)
        return experiments.history.of(name)

    found = services().storage.run(history)
    return {"status": "success", "history": found, "total": len(found)}


@blueprint.get("/experiments/<name>/results")
def get_results(name: str) -> dict[str, Any]:
    """What the recorded runs say of an experiment."""
    parts = services()

    def results() -> dict[str, Any]:
        parts.experiments.get_experiment(name)  # before its runs are read: an unknown name is cheap to refuse
        runs, pairs = records_of(name, parts.monitor)
        return parts.experiments.results(name, runs, pairs)

    return {"status": "success", "results": parts.storage.run(results)}


@blueprint.get("/experiments/<name>/course")
def get_course(name: str) -> dict[str, Any]:
    """How the improvement and its bounds came to be what they are."""
    parts = services()

    def found() -> dict[str, Any]:
        experiment = parts.experiments.get_experiment(name)
        return course(experiment, *records_of(name, parts.monitor))

    return {"status": "success", "course": parts.storage.run(found)}


@blueprint.post("/experiments/<name>/replay")
def start_replay(name: str) -> tuple[dict[str, Any], int]:
    """Run a candidate on logged traffic, beside the baseline; it goes on in the background."""
    body, parts = read_body(ReplayRequest, optional=True), services()
    options = ReplayOptions(**body.model_dump(exclude={"candidate"}))
    state = parts.storage.run(lambda: parts.replays.start(name, candidate=body.candidate, options=options))
    return {"status": "success", "replay": state}, 202


@blueprint.get("/experiments/<name>/replay")
def get_replay(name: str) -> dict[str, Any]:
    """How far the last replay of an experiment is, and what it says so far."""
    return {"status": "success", "replay": services().storage.run(lambda: services().replays.state(name))}


def _move(name: str, move: Callable[..., Experiment]) -> dict[str, Any]:
    body = read_body(MoveRequest, optional=True)
    return _told(services().storage.run(lambda: move(name, actor=body.actor, reason=body.reason)))


def _told(experiment: Experiment) -> dict[str, Any]:
    is_archived = experiment.archived_at is not None
    return {
        "status": "success",
        "experiment_name": experiment.name,
        "message": f"the experiment {experiment.name} is {experiment.status}{' and archived' * is_archived}",
        "experiment": experiment.to_dict(),
    }

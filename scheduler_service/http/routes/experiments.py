"""Experiments: create, ramp, start, pause, stop, conclude, and what they found."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any, TypeVar

from ab_testing import Records
from scheduler_service.clock import to_iso, utc_now
from scheduler_service.errors import (
    AmbiguousModelName,
    Conflict,
    ConsentNeeded,
    ExperimentConflict,
    ExperimentNotFound,
    ModelNotFound,
    NothingToReplay,
    ReplayNotFound,
    ServiceError,
)
from scheduler_service.experiments.experiment import Experiment, parse_request
from scheduler_service.experiments.planning import LOOK_BACK_DAYS, MAX_RUNS, Plan, plan, planning_columns
from scheduler_service.experiments.ramp import TYPICAL_IMPROVEMENT, ShadowChoice, default_shadow, ramp_of
from scheduler_service.experiments.replay import ReplayOptions
from scheduler_service.http.contract import experiment_requests as requests
from scheduler_service.http.contract import experiments as answers
from scheduler_service.http.contract.api import Api, success
from scheduler_service.http.contract.types import ExperimentName
from scheduler_service.http.services import Services
from scheduler_service.http.watch.watching import records_of
from scheduler_service.reporting.evolution import course
from scheduler_service.words import WORDS, Message

api = Api("experiments", "Compare models on live traffic.")

Asked = TypeVar("Asked", bound=requests.ExperimentRequest)
MODELS = (ModelNotFound, AmbiguousModelName)
MOVES = (ExperimentNotFound, ExperimentConflict)


@api.post("/experiments", success=201, raises=(*MODELS, ExperimentConflict))
def create_experiment(parts: Services, body: requests.ExperimentRequest) -> answers.ExperimentCreatedAnswer:
    """Create an experiment.

    It compares models on live traffic; with `rollout` it ramps up a candidate.
    """
    asked, choice = _with_default_shadow(parts, body)
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
    notes = [*chosen, *_notes(parts, experiment)]
    texts = {"notes": [WORDS.say(each) for each in notes], "notes_text": [each.to_dict() for each in notes]}
    return _changed(experiment) | texts


@api.post("/experiments/plan", scope="read", raises=MODELS)
def plan_experiment(parts: Services, body: requests.PlanRequest) -> answers.PlanAnswer:
    """Plan an experiment.

    The answer says how long it would take; nothing is created.
    """
    asked, choice = _with_default_shadow(parts, body)
    experiment = parse_request(asked.definition | {"start_time": to_iso(utc_now())})
    key = None if body.model_a is None else parts.models.resolve(body.model_a, oldest=True)
    found = _planned(parts, experiment, body.minimum_effect, key, is_open_ended=body.is_open_ended)
    ramp = ramp_of(found)
    if ramp is None:
        return success(plan=found.to_dict() | {"ramp": None})
    chosen = [] if choice is None else [choice.reason]
    return success(plan=found.to_dict() | {"ramp": ramp.to_dict(*chosen)})


@api.get("/experiments")
def list_experiments(parts: Services, query: requests.ExperimentsQuery) -> answers.ExperimentsAnswer:
    """List experiments, newest first."""
    experiments = parts.experiments
    found = experiments.archived_experiments() if query.archived else experiments.list_experiments()
    return success(
        experiments=[each.to_dict() for each in found], total=len(found), default_model=experiments.default_model
    )


@api.get("/experiments/{name}", raises=(ExperimentNotFound,))
def get_experiment(parts: Services, name: ExperimentName) -> answers.ExperimentAnswer:
    """Get an experiment."""
    experiments = parts.experiments
    experiment = experiments.get_experiment(name)
    return success(experiment=experiment.to_dict(), default_model=experiments.default_model)


def _move(action: str, summary: str, move: Callable[[Services], Callable[..., Experiment]]) -> None:
    """Declare a move that takes nothing but who makes it, and why."""

    def handle(parts: Services, name: ExperimentName, body: requests.MoveRequest) -> answers.ExperimentChangedAnswer:
        return _changed(move(parts)(name, actor=body.actor, reason=body.reason))

    handle.__doc__ = summary
    api.post(f"/experiments/{{name}}/{action}", is_body_optional=True, raises=(*MOVES, *MODELS))(handle)


_move("start", "Start a paused experiment.", lambda parts: parts.experiments.start_experiment)
_move(
    "pause", "Pause an experiment: everyone gets the default model.", lambda parts: parts.experiments.pause_experiment
)
_move("stop", "Stop an experiment: everyone gets the default model.", lambda parts: parts.experiments.stop_experiment)
_move(
    "conclude",
    "Conclude an experiment whose results have been acted upon.",
    lambda parts: parts.experiments.conclude_experiment,
)
_move(
    "archive",
    "Archive an experiment that is over.",
    lambda parts: parts.experiments.archive_experiment,
)
_move(
    "revert",
    "Revert a promotion: default model and tag become what they were before.",
    lambda parts: parts.experiments.revert_promotion,
)


@api.post("/experiments/{name}/describe", raises=MOVES)
def describe_experiment(
    parts: Services, name: ExperimentName, body: requests.DescribeRequest
) -> answers.ExperimentChangedAnswer:
    """Change an experiment's title, hypothesis or owner."""
    return _changed(parts.experiments.describe_experiment(name, body.texts, actor=body.actor, reason=body.reason))


@api.post("/experiments/{name}/advance", is_body_optional=True, raises=(*MOVES, ConsentNeeded))
def advance_experiment(
    parts: Services, name: ExperimentName, body: requests.AdvanceRequest
) -> answers.ExperimentChangedAnswer:
    """Advance a rollout to its next stage.

    After the last stage its candidate is promoted.
    """
    return _changed(parts.experiments.advance_experiment(name, **body.model_dump(), records=_records(parts, name)))


@api.post("/experiments/{name}/promote", is_body_optional=True, raises=(*MOVES, ConsentNeeded))
def promote_arm(
    parts: Services, name: ExperimentName, body: requests.PromoteArmRequest
) -> answers.ExperimentChangedAnswer:
    """Promote an arm.

    Its model becomes the default one, and the experiment is concluded.
    """
    return _changed(parts.experiments.promote_arm(name, **body.model_dump(), records=_records(parts, name)))


@api.get("/experiments/{name}/outlook", raises=(ExperimentNotFound, Conflict))
def look_ahead(parts: Services, name: ExperimentName, query: requests.ArmQuery) -> answers.ExperimentOutlookAnswer:
    """What speaks for and against promoting an arm."""
    prospect = parts.experiments.prospect(name, query.arm, _records(parts, name))
    return success(outlook=prospect.to_dict() | {"default_model": parts.experiments.default_model})


@api.post("/experiments/{name}/stop_arm", raises=MOVES)
def stop_arm(parts: Services, name: ExperimentName, body: requests.StopArmRequest) -> answers.ExperimentChangedAnswer:
    """Stop one candidate; the others go on."""
    return _changed(parts.experiments.stop_arm(name, body.arm, actor=body.actor, reason=body.reason))


@api.get("/experiments/{name}/assignment", raises=(ExperimentNotFound,))
def get_assignment(parts: Services, name: ExperimentName, query: requests.UserQuery) -> answers.AssignmentAnswer:
    """Which arm a user gets, and why."""
    return success(assignment=parts.experiments.explain_assignment(name, query.user_id))


@api.get("/experiments/{name}/history", raises=(ExperimentNotFound,))
def get_history(parts: Services, name: ExperimentName) -> answers.ExperimentHistoryAnswer:
    """List what was done with an experiment, oldest first."""
    parts.experiments.get_experiment(name)
    found = parts.experiments.history.of(name)
    return success(history=found, total=len(found))


@api.get("/experiments/{name}/results", raises=(ExperimentNotFound,))
def get_results(parts: Services, name: ExperimentName) -> answers.ResultsAnswer:
    """Results of an experiment."""
    parts.experiments.get_experiment(name)  # before its runs are read: an unknown name is cheap to refuse
    return success(results=parts.experiments.results(name, *_records(parts, name)()))


@api.get("/experiments/{name}/course", raises=(ExperimentNotFound,))
def get_course(parts: Services, name: ExperimentName) -> answers.CourseAnswer:
    """The improvement and its bounds over time."""
    experiment = parts.experiments.get_experiment(name)
    return success(course=course(experiment, *_records(parts, name)()))


@api.post(
    "/experiments/{name}/replay", is_body_optional=True, success=202, raises=(ExperimentNotFound, NothingToReplay)
)
def start_replay(parts: Services, name: ExperimentName, body: requests.ReplayRequest) -> answers.ReplayAnswer:
    """Replay logged requests on a candidate and the baseline.

    It goes on in the background.
    """
    options = ReplayOptions(**body.model_dump(exclude={"candidate"}))
    return success(replay=parts.replays.start(name, candidate=body.candidate, options=options))


@api.get("/experiments/{name}/replay", raises=(ReplayNotFound, ExperimentNotFound))
def get_replay(parts: Services, name: ExperimentName) -> answers.ReplayAnswer:
    """Progress and results of the last replay."""
    return success(replay=parts.replays.state(name))


def _with_default_shadow(parts: Services, body: Asked) -> tuple[Asked, ShadowChoice | None]:
    """What was asked for, with the shadow that a rollout has by default; as it is where there is nothing to choose."""
    if body.rollout is None or body.shadow is not None:
        return body, None
    users: int | None
    try:
        runs = parts.monitor.get_performance_data(
            start_time=utc_now() - timedelta(days=LOOK_BACK_DAYS), columns=("user_id",), latest=MAX_RUNS
        )
        users = int(runs["user_id"].nunique())
    except ServiceError:  # an experiment can be created, whatever is wrong with the records
        users = None
    choice = default_shadow(body.rollout.stages, body.success_metric, users)
    return body.model_copy(update={"shadow": choice.share}), choice


def _notes(parts: Services, experiment: Experiment) -> list[Message]:
    """What its owner should know from the start: how far its rollout can come with the users that there are."""
    if experiment.rollout is None:
        return []
    try:
        ramp = ramp_of(
            _planned(parts, experiment, TYPICAL_IMPROVEMENT, parts.models.resolve(experiment.model_a, oldest=True))
        )
    except ServiceError as err:  # the experiment is there, whatever is wrong with the records
        return [Message("ramp.unknown", {"reason": err.messages})]
    return [] if ramp is None else ramp.notes()


def _planned(
    parts: Services, experiment: Experiment, minimum_effect: float, model: str | None, *, is_open_ended: bool = False
) -> Plan:
    now = utc_now()
    runs = parts.monitor.get_performance_data(
        start_time=now - timedelta(days=LOOK_BACK_DAYS),
        columns=planning_columns(experiment.success_metric),
        latest=MAX_RUNS,
    )
    return plan(experiment, minimum_effect, runs, now, model, is_open_ended=is_open_ended)


def _records(parts: Services, name: str) -> Records:
    """Reads what the experiment is judged by, on whatever thread it is called."""
    return lambda: (*records_of(name, parts.monitor), parts.monitor.replays.pairs_of_last(name))


def _changed(experiment: Experiment) -> Any:
    is_archived = experiment.archived_at is not None
    return success(
        experiment_name=experiment.name,
        message=f"the experiment {experiment.name} is {experiment.status}{' and archived' * is_archived}",
        experiment=experiment.to_dict(),
    )

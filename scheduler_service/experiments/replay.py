"""Replay: what a candidate would have made of requests that were answered already, before a single user sees it.

Both models get the identical instance and the time that the request had. Pairs are committed as they come in, and a
replay that was cut off, however it was, goes on where it stopped when it is asked for again.
"""

import hashlib
import json
import random
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal

from scheduler_env.errors import InvalidInstance
from scheduler_env.problem import Instance
from scheduler_env.readers import instance_from_request
from scheduler_service.clock import to_iso
from scheduler_service.errors import InvalidExperiment, InvalidInput, NothingToReplay
from scheduler_service.experiments.experiment import Experiment
from scheduler_service.experiments.pairing import pair_record, solve_both
from scheduler_service.stats.arms import BASELINE
from scheduler_service.stats.metrics import PAIRED, paired_metric
from scheduler_service.stats.spending import replay_alpha
from scheduler_service.stats.verdict import DEFAULT_MARGIN
from scheduler_service.telemetry.record import PairRecord, ReplayRecord, input_digest
from scheduler_service.telemetry.replays import LoggedRequest, ReplayLog

if TYPE_CHECKING:
    from model_manager import LoadedModel
    from monitoring import PerformanceMonitor

MAX_DAYS = 3_650.0
MAX_LIMIT = 100_000
MAX_TIME_BUDGET_MS = 60_000.0
RESUME_WITHIN = timedelta(days=1)
"""A replay that is asked for again goes on with the requests it selected when it began; after a day, with new ones."""
READ_AT_A_TIME = 200
COMMIT_AFTER = 25
COMMIT_AFTER_S = 1.0
"""So many pairs, or so many seconds of work, are computed again after a kill."""

State = Literal["identical", "running", "done", "unfinished", "failed"]
"""`unfinished`: cut off, or at work in another process. It goes on where it stopped when it is asked for again."""

Progress = Callable[[int, int], None]
"""Told how many requests are done, of how many."""


@dataclass(frozen=True, slots=True)
class ReplayOptions:
    """Which requests are replayed, and how.

    Raises:
        InvalidInput: out of range.
    """

    days: float = 7.0  # how far back
    limit: int = 1_000  # the newest so many requests
    seed: int | None = None  # a random sample of `limit` requests instead of the newest
    time_budget_ms: float | None = None  # for each model; None: what the request had
    own_requests: bool = False  # only those that named the experiment, not all of the service

    def __post_init__(self) -> None:
        budget_ms = self.time_budget_ms
        if not 0.0 < self.days <= MAX_DAYS:
            raise InvalidInput("not_positive", ("days",), maximum=MAX_DAYS, value=self.days)
        if not 1 <= self.limit <= MAX_LIMIT:
            raise InvalidInput("out_of_range", ("limit",), minimum=1, maximum=MAX_LIMIT, value=self.limit)
        if budget_ms is not None and not 0.0 <= budget_ms <= MAX_TIME_BUDGET_MS:
            loc = ("time_budget_ms",)
            raise InvalidInput("out_of_range", loc, minimum=0, maximum=MAX_TIME_BUDGET_MS, value=budget_ms)


@dataclass(frozen=True, slots=True)
class Contest:
    """Two models, by their keys, and how they are judged."""

    key_a: str  # the baseline's
    key_b: str  # the candidate's
    experiment: str | None = None  # that the pairs are recorded for; None compares any two models
    candidate: str = "model_b"  # the arm
    margin: float = DEFAULT_MARGIN  # share of the baseline that the candidate may be worse and still be non-inferior
    alpha: float = 0.05  # probability of calling a difference where there is none, of all replays together
    metric: str = PAIRED[0]  # what the pairs are judged by; both makespans are recorded whatever it is


@dataclass(frozen=True, slots=True)
class ReplayPlan:
    """The requests of a replay, which stay the same until it is done."""

    record: ReplayRecord
    runs: tuple[int, ...]  # ids, in the order of the work
    options: ReplayOptions

    @property
    def id(self) -> str:
        return self.record.id

    @property
    def total(self) -> int:
        return len(self.runs)


def contest_of(experiment: Experiment, candidate: str | None, resolve: Callable[[str], str]) -> Contest:
    """The experiment's baseline against one of its candidates, the first if None.

    Args:
        resolve: the registry's key for a model's name in the experiment.

    Raises:
        InvalidExperiment: the arm is none of its candidates.
        ModelNotFound: a model is gone.
    """
    arm = candidate or experiment.candidates[0]
    if arm not in experiment.candidates:
        known = list(experiment.candidates)
        raise InvalidExperiment("unknown_candidate", ("candidate",), experiment=experiment.name, arm=arm, known=known)
    key_a, key_b = (resolve(experiment.models[each]) for each in (BASELINE, arm))
    metric = paired_metric(experiment.success_metric)
    return Contest(key_a, key_b, experiment.name, arm, experiment.margin, experiment.alpha, metric)


def definition_of(contest: Contest, options: ReplayOptions) -> str:
    """What the same replay, asked for again, is known by."""
    asked = [contest.experiment, contest.candidate, contest.key_a, contest.key_b, asdict(options)]
    return hashlib.sha256(json.dumps(asked).encode()).hexdigest()[:12]


def plan_replay(log: ReplayLog, contest: Contest, options: ReplayOptions, now: datetime) -> ReplayPlan:
    """What is to be replayed: what is left of the same replay, or else a new selection.

    Raises:
        InvalidInput: both models are the same; `judge_replay` says so without a replay.
        NothingToReplay: no request of that time is recorded with its input.
        StorageUnavailable: the database cannot be used.
    """
    if contest.key_a == contest.key_b:
        raise InvalidInput("compared_with_itself", model=contest.key_a)
    definition = definition_of(contest, options)
    whose = contest.experiment if options.own_requests else None
    fresh = ReplayRecord(
        id=f"{definition}-1",
        definition=definition,
        experiment=contest.experiment,
        candidate=contest.candidate,
        key_a=contest.key_a,
        key_b=contest.key_b,
        since=now - timedelta(days=options.days),
        last_run=log.last_run(),
        total=0,
        options=asdict(options),
        timestamp=now,
    )
    runs = _selected(log, fresh, whose, options)
    begun = log.last(definition=definition)
    if begun is not None:
        plan = ReplayPlan(begun, _selected(log, begun, whose, options), options)
        is_recent = begun.timestamp is not None and now - begun.timestamp < RESUME_WITHIN
        if plan.runs and (plan.runs == runs or (is_recent and not _is_done(log, plan))):
            return plan
        fresh = replace(fresh, id=f"{definition}-{int(begun.id.rpartition('-')[2]) + 1}")
    if not runs:
        if whose is None:
            raise NothingToReplay("nothing_to_replay", days=options.days)
        raise NothingToReplay("nothing_of_experiment", experiment=whose, days=options.days)
    log.begin(replace(fresh, total=len(runs)))
    # Another process may have begun the same replay a moment before; then both go on with that one's selection.
    begun = log.last(definition=definition)
    assert begun is not None
    return ReplayPlan(begun, _selected(log, begun, whose, options), options)


def run_replay(
    plan: ReplayPlan,
    monitor: "PerformanceMonitor",
    model_a: "LoadedModel",
    model_b: "LoadedModel",
    *,
    progress: Progress,
    may_go_on: Callable[[], bool] = lambda: True,
) -> bool:
    """Runs both models on what is left of the plan's requests; False if `may_go_on` ended it before that was done.

    Requests with the same input and time are computed once, and recorded one by one: they are what users asked for.
    Inputs that cannot be read are passed over.

    Args:
        may_go_on: asked before each request; it may wait.

    Raises:
        StorageUnavailable: the database cannot be used; what was committed stays.
    """
    log, models = monitor.replays, {model.key: model for model in (model_a, model_b)}
    done = log.done(plan.id)
    n_done = len(done)
    known: dict[tuple[str, float], PairRecord] = {}
    pending: list[PairRecord] = []
    committed_s = time.monotonic()
    progress(n_done, plan.total)
    try:
        for request in _left(log, plan, done):
            if not may_go_on():
                return False
            budget_ms = _budget_ms(request, plan, model_a)
            problem = _problem(request)
            digest = input_digest(problem)
            pair = known.get((digest, budget_ms))
            if pair is None:
                instance = _instance(problem)
                if instance is not None:
                    sides = solve_both(
                        (model_a.key, model_b.key),
                        models.__getitem__,
                        instance,
                        budget_ms,
                        request_id=request.request_id,
                    )
                    pair = pair_record(
                        sides,
                        instance,
                        request_id=request.request_id,
                        user_id=request.user_id,
                        experiment=plan.record.experiment,
                        candidate=plan.record.candidate,
                        source="replay",
                        replay=plan.id,
                        time_budget_ms=budget_ms,
                        digest=digest,
                    )
                    known[digest, budget_ms] = pair
            n_done += 1
            if pair is not None:
                pending.append(replace(pair, request_id=request.request_id, user_id=request.user_id))
            if len(pending) >= COMMIT_AFTER or time.monotonic() - committed_s > COMMIT_AFTER_S:
                monitor.record_pair(*pending)
                pending.clear()
                committed_s = time.monotonic()
            progress(n_done, plan.total)
    finally:  # an interrupted replay keeps what it has
        monitor.record_pair(*pending)
    return True


def number_and_alpha(
    contest: Contest, replay: ReplayRecord | None, monitor: "PerformanceMonitor"
) -> tuple[int | None, float]:
    """(which replay of the two models it is, the chance of a wrong verdict that is left to it).

    (None, the contest's alpha) for a model against itself. Raises as `judge_replay`.
    """
    if replay is None:
        return None, contest.alpha
    number = monitor.replays.number(replay.id)
    return number, replay_alpha(contest.alpha, number)


def judge_replay(contest: Contest, replay: ReplayRecord | None, monitor: "PerformanceMonitor") -> dict[str, Any]:
    """The verdict on the pairs that the replay has so far, as JSON; may be asked for at any time.

    A model against itself is `identical`, and needs no replay. Replays of the same two models share one alpha
    (`stats.spending`).

    Raises:
        StorageUnavailable: the database cannot be read.
    """
    from scheduler_service.stats.pairs import judge_pairs  # numpy, pandas and scipy are slow to import

    # No replay has the empty id.
    pairs = monitor.get_pairs(replay="" if replay is None else replay.id)
    number, alpha = number_and_alpha(contest, replay, monitor)
    found = judge_pairs(pairs, margin=contest.margin, alpha=alpha, candidate=contest.candidate, metric=contest.metric)
    found = replace(found, replay_number=number)
    if contest.key_a == contest.key_b:
        found = replace(found, word="identical", reason=None, is_one_model=True)
    return found.to_dict()


def state_of(
    contest: Contest, replay: ReplayRecord | None, state: State, done: int, monitor: "PerformanceMonitor"
) -> dict[str, Any]:
    """How far a replay is, and what it says so far, as JSON; `replay` is None for a model against itself."""
    number, alpha = number_and_alpha(contest, replay, monitor)
    return {
        "experiment": contest.experiment,
        "candidate": contest.candidate,
        "models": {BASELINE: contest.key_a, contest.candidate: contest.key_b},
        "replay_id": None if replay is None else replay.id,
        "replay_number": number,
        "alpha": alpha,
        "state": state,
        "done": done,
        "total": 0 if replay is None else replay.total,
        "remaining_s": None,
        "began_at": None if replay is None or replay.timestamp is None else to_iso(replay.timestamp),
        "options": {} if replay is None else dict(replay.options),
        "error": None,
        "verdict": judge_replay(contest, replay, monitor),
    }


def _selected(log: ReplayLog, record: ReplayRecord, whose: str | None, options: ReplayOptions) -> tuple[int, ...]:
    if options.seed is None:
        return tuple(log.select(experiment=whose, since=record.since, last_run=record.last_run, limit=options.limit))
    everything = log.select(experiment=whose, since=record.since, last_run=record.last_run)
    return tuple(random.Random(options.seed).sample(everything, min(options.limit, len(everything))))


def _left(log: ReplayLog, plan: ReplayPlan, done: set[str]) -> Iterator[LoggedRequest]:
    for begin in range(0, plan.total, READ_AT_A_TIME):
        for request in log.requests(plan.runs[begin : begin + READ_AT_A_TIME]):
            if request.request_id not in done:
                yield request


def _is_done(log: ReplayLog, plan: ReplayPlan) -> bool:
    return not any(_instance(_problem(request)) for request in _left(log, plan, log.done(plan.id)))


def _problem(request: LoggedRequest) -> object:
    """What was asked for; the guide's own records hold the 15 hours alone."""
    problem = json.loads(request.input_params)
    return {"params": problem} if isinstance(problem, list) else problem


def _instance(problem: object) -> Instance | None:
    """None for what is no problem: programs may record any input."""
    try:
        return instance_from_request(problem) if isinstance(problem, dict) else None
    except InvalidInstance:
        return None


def _budget_ms(request: LoggedRequest, plan: ReplayPlan, baseline: "LoadedModel") -> float:
    if plan.options.time_budget_ms is not None:
        return plan.options.time_budget_ms
    return baseline.agent.default_budget_ms if request.time_budget_ms is None else request.time_budget_ms

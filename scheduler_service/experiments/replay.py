"""Replay: runs a candidate and the baseline on recorded requests, before any user gets the candidate.

Both models get the identical instance and the time budget of the request. Pairs are committed in small batches; an
interrupted replay continues where it stopped when it is started again.
"""

import hashlib
import json
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from itertools import count
from typing import TYPE_CHECKING, Any, Literal, cast

from scheduler_env.batch import START_S, map_unordered
from scheduler_service.clock import to_iso
from scheduler_service.command_line import Progress
from scheduler_service.errors import InvalidExperiment, InvalidInput, NothingToReplay
from scheduler_service.experiments import pairing
from scheduler_service.experiments.experiment import Experiment
from scheduler_service.experiments.pairing import Repetition, repeat
from scheduler_service.registry.loading import share
from scheduler_service.stats.arms import BASELINE
from scheduler_service.stats.metrics import METRICS, PAIRED, paired_metric
from scheduler_service.stats.spending import replay_alpha
from scheduler_service.stats.verdict import DEFAULT_MARGIN
from scheduler_service.telemetry.record import PairRecord, ReplayRecord, input_digest
from scheduler_service.telemetry.replays import LoggedRequest, ReplayLog
from scheduler_service.telemetry.selection import Range

if TYPE_CHECKING:
    from model_manager import LoadedModel
    from monitoring import PerformanceMonitor

MAX_DAYS = 3_650.0
MAX_LIMIT = 10_000_000
MAX_TIME_BUDGET_MS = 60_000.0
RESUME_WITHIN = timedelta(days=1)
"""If a replay is started again within this time, it continues with the requests of its first selection."""
READ_BATCH = 200
REMEMBERED = 1_000
"""Results that are kept for further requests with the same input; other ones are read from the database."""
COMMIT_AFTER, COMMIT_AFTER_S = 25, 1.0
"""After a kill, at most this many pairs, or seconds of work (of each worker), are computed again."""

_Key = tuple[str, float]  # digest of an input, and budget in ms
ReplayState = Literal["identical", "running", "done", "unfinished", "failed"]
"""`unfinished`: interrupted, or running in another process; it continues when it is started again."""


@dataclass(frozen=True, slots=True)
class ReplayOptions:
    """The selection of requests, and the time budget.

    Raises:
        InvalidInput: out of range.
    """

    days: float = 7.0  # length of the period
    limit: int = 1_000  # number of the newest requests
    seed: int | None = None  # select a random sample of `limit` requests instead of the newest
    time_budget_ms: float | None = None  # of each model; None: that of the request
    own_requests: bool = False  # only requests that named the experiment

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
    """Two models, by their keys, and the parameters of the verdict."""

    key_a: str  # of the baseline
    key_b: str  # of the candidate
    experiment: str | None = None  # the pairs are recorded for it; None: any two models
    candidate: str = "model_b"  # the arm
    margin: float = DEFAULT_MARGIN  # non-inferiority margin, a share of the baseline
    alpha: float = 0.05  # significance level of all replays of the two models together
    metric: str = PAIRED[0]  # metric of the verdict


@dataclass(frozen=True, slots=True)
class ReplayPlan:
    """The requests of a replay; they stay the same until it is done."""

    record: ReplayRecord
    ranges: tuple[Range, ...]  # in the order of execution; a process may have some of them only
    options: ReplayOptions

    @property
    def id(self) -> str:
        return self.record.id

    @property
    def total(self) -> int:
        return self.record.total


def contest_of(experiment: Experiment, candidate: str | None, resolve: Callable[[str], str]) -> Contest:
    """The experiment's baseline and one of its candidates, by default the first.

    Args:
        resolve: returns the registry's key for a model's name in the experiment.

    Raises:
        InvalidExperiment: the experiment has no such candidate.
        ModelNotFound: the registry does not have a model.
    """
    arm = candidate or experiment.candidates[0]
    if arm not in experiment.candidates:
        known = list(experiment.candidates)
        raise InvalidExperiment("unknown_candidate", ("candidate",), experiment=experiment.name, arm=arm, known=known)
    key_a, key_b = (resolve(experiment.models[each]) for each in (BASELINE, arm))
    metric = paired_metric(experiment.success_metric)
    return Contest(key_a, key_b, experiment.name, arm, experiment.margin, experiment.alpha, metric)


def definition_of(contest: Contest, options: ReplayOptions) -> str:
    """A digest of models, arm and options, by which the same replay is recognised."""
    definition = [contest.experiment, contest.candidate, contest.key_a, contest.key_b, asdict(options)]
    return hashlib.sha256(json.dumps(definition).encode()).hexdigest()[:12]


def options_of(record: ReplayRecord) -> ReplayOptions:
    """The options of a recorded replay."""
    return ReplayOptions(**cast(dict[str, Any], dict(record.options)))


def plan_replay(log: ReplayLog, contest: Contest, options: ReplayOptions, now: datetime) -> ReplayPlan:
    """The same replay if it is unfinished, otherwise a new selection.

    Raises:
        InvalidInput: both models are the same, which needs no replay.
        NothingToReplay: no request of the period is recorded with its input.
        StorageUnavailable: the database cannot be used.
    """
    if contest.key_a == contest.key_b:
        raise InvalidInput("compared_with_itself", model=contest.key_a)
    definition = definition_of(contest, options)
    new = ReplayRecord(
        id=f"{definition}-1",
        definition=definition,
        experiment=contest.experiment,
        candidate=contest.candidate,
        key_a=contest.key_a,
        key_b=contest.key_b,
        since=now - timedelta(days=options.days),
        last_run=0,
        total=0,
        options=asdict(options),
        timestamp=now,
    )
    new, ranges = log.select(new)
    last = log.last(definition=definition)
    if last is not None:
        former = log.ranges(last.id)
        is_same = [each.content for each in former] == [each.content for each in ranges]
        is_recent = last.timestamp is not None and now - last.timestamp < RESUME_WITHIN
        if former and (is_same or (is_recent and not log.is_done(last))):
            return ReplayPlan(last, former, options)
        new = replace(new, id=f"{definition}-{int(last.id.rpartition('-')[2]) + 1}")
    if not ranges:
        if not options.own_requests or contest.experiment is None:
            raise NothingToReplay("nothing_to_replay", days=options.days)
        raise NothingToReplay("nothing_of_experiment", experiment=contest.experiment, days=options.days)
    log.begin(new, ranges)
    # If another process has just started the same replay, both use its selection.
    last = log.last(definition=definition)
    assert last is not None
    return ReplayPlan(last, log.ranges(last.id), options)


Compute = Callable[[Iterator[Repetition]], Generator[tuple[int, PairRecord | None], None, None]]
"""Gives (number from 0, pair) of each repetition, in any order; no pair for an invalid input."""


def run_replay(
    plan: ReplayPlan,
    monitor: "PerformanceMonitor",
    model_a: "LoadedModel",
    model_b: "LoadedModel",
    *,
    progress: Progress,
    may_continue: Callable[[], bool] = lambda: True,
    compute: Compute | None = None,
) -> bool:
    """Run both models on the remaining requests of the plan; returns False if `may_continue` ended it.

    Requests with the same input and budget are computed once, but each is recorded. Invalid inputs are skipped.

    Args:
        may_continue: called before each request; it may block.
        compute: for example `on_workers`; by default one request after the other in this thread.

    Raises:
        StorageUnavailable: the database cannot be used; committed pairs remain.
    """
    work = _Work(plan, monitor, progress, monitor.replays.done(plan.id))
    is_stopped = False

    def repetitions() -> Iterator[Repetition]:
        nonlocal is_stopped
        for each in plan.ranges:
            if each.is_done:
                continue
            for request in work.begin(each):
                if is_stopped := not may_continue():
                    return
                if (repetition := work.add(each.number, request, _budget_ms(request, plan, model_a))) is not None:
                    yield repetition
            work.end(each.number)

    progress(work.n_done, plan.total)
    try:
        with closing((compute or in_this_thread(model_a, model_b))(repetitions())) as pairs:
            for number, pair in pairs:
                work.finish(number, pair)
    finally:  # also if the replay is interrupted
        work.commit()
    return not is_stopped


@dataclass(slots=True)
class _Progress:
    """How far a range is."""

    waiting: int = 0  # requests that are being computed
    skipped: int = 0  # requests with an invalid input
    is_read: bool = False  # no further request will come


class _Work:
    """The requests of a replay that are being computed, and the pairs that are not committed yet.

    Memory does not depend on the number of requests: results are forgotten, and read from the database if another
    request has the same input.
    """

    def __init__(self, plan: ReplayPlan, monitor: "PerformanceMonitor", progress: Progress, n_done: int) -> None:
        self.n_done = n_done
        self._plan, self._monitor, self._progress = plan, monitor, progress
        self._numbers = count()
        self._keys: dict[int, _Key] = {}  # of each repetition that is being computed
        self._waiting: dict[_Key, list[tuple[int, LoggedRequest]]] = {}  # ranges and requests whose pair is computed
        self._known: dict[_Key, PairRecord | None] = {}  # the latest ones
        self._read: dict[int, tuple[object, str]] = {}  # id of a run -> its input and digest; of the last ones read
        self._ranges: dict[int, _Progress] = {}
        self._pending: list[PairRecord] = []
        self._committed_s = time.monotonic()

    def begin(self, among: Range) -> Iterator[LoggedRequest]:
        """The requests of a range that have no pair yet, newest first."""
        self._ranges[among.number] = _Progress()
        log, record, below = self._monitor.replays, self._plan.record, None
        while requests := log.requests(record, among, READ_BATCH, below=below):
            problems = {each.run: _problem(each, log) for each in requests}
            self._read = {run: (problem, input_digest(problem)) for run, problem in problems.items()}
            for key, pair in log.computed(record.id, {digest for _, digest in self._read.values()}).items():
                self._remember(key, pair)
            yield from requests
            below = requests[-1].run

    def end(self, among: int) -> None:
        """All requests of the range with this number were added."""
        self._ranges[among].is_read = True

    def add(self, among: int, request: LoggedRequest, budget_ms: float) -> Repetition | None:
        """What is to be computed for a request of a range; None if the same is computed already."""
        problem, digest = self._read[request.run]
        record, key = self._plan.record, (digest, budget_ms)
        self._ranges[among].waiting += 1
        if key in self._known:
            self._record(among, request, self._known[key])
        elif key in self._waiting:
            self._waiting[key].append((among, request))
        else:
            self._waiting[key] = [(among, request)]
            self._keys[next(self._numbers)] = key
            about = (request.request_id, request.user_id, record.experiment, record.candidate, record.id)
            return Repetition(problem, *about, budget_ms, key[0])
        return None

    def finish(self, number: int, pair: PairRecord | None) -> None:
        """Record the pair for each request of the repetition with this number."""
        key = self._keys.pop(number)
        self._remember(key, pair)
        for among, request in self._waiting.pop(key):
            self._record(among, request, pair)

    def commit(self) -> None:
        self._monitor.record_pair(*self._pending)
        self._pending.clear()
        self._committed_s = time.monotonic()
        done = {number: each.skipped for number, each in self._ranges.items() if each.is_read and not each.waiting}
        self._monitor.replays.finish(self._plan.id, done)
        for number in done:
            del self._ranges[number]

    def _remember(self, key: _Key, pair: PairRecord | None) -> None:
        self._known[key] = pair
        if len(self._known) > REMEMBERED:
            del self._known[next(iter(self._known))]

    def _record(self, among: int, request: LoggedRequest, pair: PairRecord | None) -> None:
        self.n_done += 1
        self._ranges[among].waiting -= 1
        if pair is None:
            self._ranges[among].skipped += 1
        else:
            self._pending.append(replace(pair, request_id=request.request_id, user_id=request.user_id))
        if len(self._pending) >= COMMIT_AFTER or time.monotonic() - self._committed_s > COMMIT_AFTER_S:
            self.commit()
        self._progress(self.n_done, self._plan.total)


def in_this_thread(*models: "LoadedModel") -> Compute:
    """Computes one request after the other. `models`: baseline and candidate."""

    def compute(repetitions: Iterator[Repetition]) -> Generator[tuple[int, PairRecord | None], None, None]:
        for number, repetition in enumerate(repetitions):
            yield number, repeat(repetition, models)

    return compute


def on_workers(*models: "LoadedModel", here_s: float = START_S) -> Compute:
    """Computes with the workers of `scheduler_env.batch`. `models`: baseline and candidate."""
    shared = [share(model) for model in models]

    def compute(repetitions: Iterator[Repetition]) -> Generator[tuple[int, PairRecord | None], None, None]:
        chunks = ({"models": shared, "repetition": asdict(each)} for each in repetitions)
        digests = [model["digest"] for model in shared]
        with closing(map_unordered(f"{pairing.__name__}:repeat_chunk", chunks, inputs=digests, here_s=here_s)) as found:
            for number, pair in found:
                yield number, None if pair is None else PairRecord(**pair)

    return compute


def _number_and_alpha(
    contest: Contest, replay: ReplayRecord | None, monitor: "PerformanceMonitor"
) -> tuple[int | None, float]:
    """The number of the replay among those of the two models, and its significance level.

    (None, the contest's alpha) for a model against itself. Raises as `judge_replay`.
    """
    if replay is None:
        return None, contest.alpha
    number = monitor.replays.number(replay.id)
    return number, replay_alpha(contest.alpha, number)


def judge_replay(contest: Contest, replay: ReplayRecord | None, monitor: "PerformanceMonitor") -> dict[str, Any]:
    """The verdict on the pairs so far, as JSON; valid at any time.

    A model against itself is `identical` without a replay. Replays of the same two models share one alpha
    (`stats.spending`).

    Raises:
        StorageUnavailable: the database cannot be read.
    """
    # numpy, pandas and scipy are slow to import
    from scheduler_service.stats.pair_sums import no_pairs
    from scheduler_service.stats.pairs import judge_sums

    sums = no_pairs() if replay is None else monitor.replays.pairs(replay.id).sums(METRICS[contest.metric])
    number, alpha = _number_and_alpha(contest, replay, monitor)
    found = judge_sums(sums, margin=contest.margin, alpha=alpha, candidate=contest.candidate, metric=contest.metric)
    found = replace(found, replay_number=number)
    if contest.key_a == contest.key_b:
        found = replace(found, word="identical", reason=None, is_one_model=True)
    return found.to_dict()


def replay_status(
    contest: Contest,
    replay: ReplayRecord | None,
    state: ReplayState,
    done: int,
    monitor: "PerformanceMonitor",
    verdict: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """Progress and verdict of a replay, as JSON.

    Args:
        replay: None for a model against itself.
        verdict: of `judge_replay`; None: the present one.
    """
    number, alpha = _number_and_alpha(contest, replay, monitor)
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
        "verdict": judge_replay(contest, replay, monitor) if verdict is None else verdict,
    }


def _problem(request: LoggedRequest, log: ReplayLog) -> object:
    """The recorded input; records of the guide's service contain only the 15 durations."""
    problem = json.loads(request.input_params)
    if isinstance(problem, dict):
        return log.with_published(problem)
    return {"params": problem} if isinstance(problem, list) else problem


def _budget_ms(request: LoggedRequest, plan: ReplayPlan, baseline: "LoadedModel") -> float:
    if plan.options.time_budget_ms is not None:
        return plan.options.time_budget_ms
    return baseline.agent.default_budget_ms if request.time_budget_ms is None else request.time_budget_ms

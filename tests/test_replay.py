"""Replays of users' requests by a candidate; after an interruption nothing is lost or counted twice."""

import itertools
import json
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from enhanced_flask import make_services
from monitoring import PerformanceMonitor, PerformanceRecord
from scheduler_env.baselines import load_baseline
from scheduler_env.standard_cycle import SAMPLE_PARAMS
from scheduler_service.errors import (
    ExperimentNotFound,
    InvalidExperiment,
    InvalidInput,
    NothingToReplay,
    Overloaded,
    ReplayNotFound,
)
from scheduler_service.experiments.replay import (
    RESUME_WITHIN,
    Contest,
    ReplayOptions,
    contest_of,
    judge_replay,
    plan_replay,
    replay_status,
    run_replay,
)
from scheduler_service.http.services import Services
from tests.codes import coded
from tests.conftest import ROOT
from tests.instances import params_of
from tests.parts import parts_over
from tests.waiting import in_threads, until

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
ENGINES = ("sqlite", "postgresql")
CONTEST = Contest("A", "B", "e")


def log_runs(monitor: PerformanceMonitor, number: int, *, first: int = 0, **fields: object) -> None:
    """Runs r<first>, r<first + 1>, ..., each by another user with another plant."""
    for user in range(first, first + number):
        usual = {
            "request_id": f"r{user}",
            "user_id": f"u{user}",
            "experiment": "e",
            "input_params": {"params": params_of(user)},
            "time_budget_ms": 0.0,
        }
        monitor.record_performance(PerformanceRecord(**(usual | fields)))


class Fake:
    """A model that records its requests and plans by a priority rule."""

    default_budget_ms = 33.0

    def __init__(self, key: str, calls: list[tuple[str, int, float]], *, fails: bool = False) -> None:
        self.key, self.agent, self._calls, self._fails = key, self, calls, fails
        self._rules = load_baseline(ROOT / "models" / "baselines" / "rule.json", "RULE")

    def solve(self, instance, *, time_budget_ms):
        self._calls.append((self.key, id(instance), time_budget_ms))
        if self._fails:
            raise RuntimeError("out of order")
        return self._rules.solve(instance)


@pytest.fixture
def calls() -> list[tuple[str, int, float]]:
    return []


def replay(monitor, calls, options=None, *, now=NOW, stop_after=None, contest=CONTEST, fails=False):
    """Plan and run a replay; return the plan and whether it is complete."""
    plan = plan_replay(monitor.replays, contest, options or ReplayOptions(), now)
    count = itertools.count()
    models = Fake(contest.key_a, calls), Fake(contest.key_b, calls, fails=fails)
    is_done = run_replay(
        plan,
        monitor,
        *models,
        progress=lambda done, total: None,
        may_continue=lambda: next(count) < (stop_after or 10_000),
    )
    return plan, is_done


# --- computation ---


def test_every_request_becomes_a_pair_of_both_models_on_the_same_instance(monitor, calls):
    log_runs(monitor, 5)
    plan, is_done = replay(monitor, calls)
    assert is_done
    pairs = monitor.get_pairs(replay=plan.id)
    assert list(pairs["request_id"]) == ["r4", "r3", "r2", "r1", "r0"]  # newest first
    assert list(pairs["user_id"]) == ["u4", "u3", "u2", "u1", "u0"]
    assert set(pairs["source"]) == {"replay"}
    assert set(pairs["experiment"]) == {"e"}
    assert Counter(key for key, _, _ in calls) == {"A": 5, "B": 5}
    for first, second in zip(calls[::2], calls[1::2], strict=True):
        assert first[1] == second[1]
        assert {first[0], second[0]} == {"A", "B"}


def test_the_time_budget_is_that_of_the_request_unless_given(monitor, calls):
    log_runs(monitor, 1, time_budget_ms=70.0)
    log_runs(monitor, 1, first=1, time_budget_ms=None)  # recorded by an older version
    replay(monitor, calls)
    assert [budget for _, _, budget in calls] == [33.0, 33.0, 70.0, 70.0]
    calls.clear()
    plan, _ = replay(monitor, calls, ReplayOptions(time_budget_ms=5.0))
    assert {budget for _, _, budget in calls} == {5.0}
    assert set(monitor.get_pairs(replay=plan.id)["time_budget_ms"]) == {5.0}


def test_the_same_input_is_computed_once_and_recorded_for_each_request(monitor, calls):
    log_runs(monitor, 6, input_params={"params": list(SAMPLE_PARAMS)})
    log_runs(monitor, 1, first=6, input_params={"params": list(SAMPLE_PARAMS)}, time_budget_ms=9.0)
    plan, _ = replay(monitor, calls)
    pairs = monitor.get_pairs(replay=plan.id)
    assert Counter(budget for _, _, budget in calls) == {0.0: 2, 9.0: 2}
    assert set(pairs["request_id"]) == {f"r{number}" for number in range(7)}
    assert set(pairs["user_id"]) == {f"u{number}" for number in range(7)}
    assert pairs["input_digest"].nunique() == 1


def test_failed_requests_are_replayed_and_a_request_with_a_fallback_once(monitor, calls):
    log_runs(monitor, 1, success=False, error_message="the model was gone")
    log_runs(monitor, 1, reason="fallback")
    plan, _ = replay(monitor, calls)
    assert list(monitor.get_pairs(replay=plan.id)["request_id"]) == ["r0"]


def test_a_failing_model_gives_a_failed_side(monitor, calls):
    log_runs(monitor, 2)
    plan, is_done = replay(monitor, calls, fails=True)
    pairs = monitor.get_pairs(replay=plan.id)
    assert is_done
    assert list(pairs["success_a"]) == [True, True]
    assert list(pairs["success_b"]) == [False, False]
    assert set(pairs["error_b"]) == {"RuntimeError: out of order"}


def test_invalid_inputs_are_skipped(monitor, calls):
    log_runs(monitor, 1)
    log_runs(monitor, 1, first=1, input_params={"params": [1, 2]})
    log_runs(monitor, 1, first=2, input_params="hello")
    log_runs(monitor, 1, first=3, input_params=list(SAMPLE_PARAMS))  # in the format of the guide
    plan, is_done = replay(monitor, calls)
    assert is_done
    assert set(monitor.get_pairs(replay=plan.id)["request_id"]) == {"r0", "r3"}
    again, _ = replay(monitor, calls)
    assert again.id == plan.id
    log_runs(monitor, 1, first=4)
    later, _ = replay(monitor, calls)  # the replay is complete, though two inputs have no pair
    assert later.id != plan.id


def test_progress_is_reported(monitor, calls):
    log_runs(monitor, 4)
    plan, _ = replay(monitor, calls, stop_after=1)
    reported = []
    models = Fake("A", calls), Fake("B", calls)
    run_replay(plan, monitor, *models, progress=lambda done, total: reported.append((done, total)))
    assert reported == [(1, 4), (2, 4), (3, 4), (4, 4)]


# --- selection of requests ---


def test_requests_are_selected_by_time_number_and_experiment(monitor, calls):
    log_runs(monitor, 3, timestamp=NOW - timedelta(days=8))
    log_runs(monitor, 3, first=3, experiment=None)
    log_runs(monitor, 3, first=6)

    def selected(**options: object) -> set[str]:
        plan, _ = replay(monitor, calls, ReplayOptions(**options))
        return set(monitor.get_pairs(replay=plan.id)["request_id"])

    assert selected() == {"r3", "r4", "r5", "r6", "r7", "r8"}
    assert selected(days=9) == {f"r{number}" for number in range(9)}
    assert selected(limit=2) == {"r7", "r8"}
    assert selected(own_requests=True) == {"r6", "r7", "r8"}
    sample = selected(limit=3, seed=1)
    assert len(sample) == 3
    assert sample == selected(limit=3, seed=1)
    assert any(selected(limit=3, seed=seed) != sample for seed in range(2, 6))


def test_without_requests_nothing_is_replayed(monitor):
    with pytest.raises(NothingToReplay, check=coded("nothing_to_replay", days=7.0)):
        plan_replay(monitor.replays, CONTEST, ReplayOptions(), NOW)
    log_runs(monitor, 1, experiment="other")
    with pytest.raises(NothingToReplay, check=coded("nothing_of_experiment", experiment="e", days=2.0)):
        plan_replay(monitor.replays, CONTEST, ReplayOptions(own_requests=True, days=2), NOW)


@pytest.mark.parametrize(
    ("name", "value"),
    [("days", 0), ("days", np.nan), ("limit", 0), ("limit", 10**9), ("time_budget_ms", -1), ("time_budget_ms", 1e9)],
)
def test_options_out_of_range_are_refused_by_name(name, value):
    with pytest.raises(InvalidInput) as caught:
        ReplayOptions(**{name: value})
    assert caught.value.errors[0][0] == (name,)


# --- interruption ---


def test_a_stopped_replay_resumes_where_it_stopped(monitor, calls):
    log_runs(monitor, 10)
    plan, is_done = replay(monitor, calls, stop_after=4)
    assert not is_done
    assert len(monitor.get_pairs(replay=plan.id)) == 4
    again, is_done = replay(monitor, calls)
    assert is_done
    assert again.id == plan.id
    assert len(calls) == 20
    pairs = monitor.get_pairs(replay=plan.id)
    assert len(pairs) == pairs["request_id"].nunique() == 10


def test_new_requests_do_not_change_a_running_replay(monitor, calls):
    log_runs(monitor, 5)
    plan, _ = replay(monitor, calls, ReplayOptions(limit=5), stop_after=2)
    log_runs(monitor, 5, first=5)
    again, is_done = replay(monitor, calls, ReplayOptions(limit=5), now=NOW + timedelta(hours=1))
    assert is_done
    assert again.id == plan.id
    assert set(monitor.get_pairs(replay=plan.id)["request_id"]) == {f"r{number}" for number in range(5)}


def test_a_complete_replay_is_repeated_only_with_new_requests(monitor, calls):
    log_runs(monitor, 3)
    plan, _ = replay(monitor, calls)
    calls.clear()
    again, is_done = replay(monitor, calls, now=NOW + timedelta(days=2))
    assert (again.id, is_done, calls) == (plan.id, True, [])
    log_runs(monitor, 1, first=3)
    later, _ = replay(monitor, calls)
    assert later.id == f"{plan.record.definition}-2"
    assert set(monitor.get_pairs(replay=later.id)["request_id"]) == {"r0", "r1", "r2", "r3"}


def test_a_long_abandoned_replay_starts_again(monitor, calls):
    log_runs(monitor, 5)
    plan, _ = replay(monitor, calls, stop_after=2)
    log_runs(monitor, 1, first=5, timestamp=NOW + RESUME_WITHIN)
    later, _ = replay(monitor, calls, now=NOW + RESUME_WITHIN)
    assert later.id != plan.id
    assert len(monitor.get_pairs(replay=later.id)) == 6


def test_other_models_or_options_are_another_replay(monitor, calls):
    log_runs(monitor, 2)
    ids = {
        replay(monitor, calls)[0].id,
        replay(monitor, calls, ReplayOptions(time_budget_ms=0))[0].id,
        replay(monitor, calls, contest=Contest("A", "C", "e"))[0].id,
        replay(monitor, calls, contest=Contest("A", "B"))[0].id,
        replay(monitor, calls, contest=Contest("A", "B", "e", "model_c"))[0].id,
    }
    assert len(ids) == 5


def test_two_identical_replays_at_once_store_each_pair_once(monitor, calls):
    log_runs(monitor, 30)
    plans = []
    in_threads(lambda: plans.append(replay(monitor, calls)[0]), [()] * 3)
    assert len({plan.id for plan in plans}) == 1
    pairs = monitor.get_pairs(replay=plans[0].id)
    assert len(pairs) == pairs["request_id"].nunique() == 30


def test_computed_pairs_are_kept_after_an_error(monitor, calls):
    log_runs(monitor, 5)
    plan = plan_replay(monitor.replays, CONTEST, ReplayOptions(), NOW)

    def interrupt(done: int, total: int) -> None:
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_replay(plan, monitor, Fake("A", calls), Fake("B", calls), progress=interrupt)
    assert len(monitor.get_pairs(replay=plan.id)) == 3


# --- the verdict ---


def test_a_model_is_not_compared_with_itself(monitor):
    log_runs(monitor, 2)
    itself = Contest("A", "A", "e")
    with pytest.raises(InvalidInput, check=coded("compared_with_itself")):
        plan_replay(monitor.replays, itself, ReplayOptions(), NOW)
    verdict = judge_replay(itself, None, monitor)
    assert verdict["verdict"] == "identical"
    assert verdict["verdict_reason"] is None
    assert verdict["pairs"] == 0
    assert verdict["verdict_text"][0]["code"] == "verdicts.one_model"


def test_a_candidate_is_found_by_its_arm(monitor):
    from scheduler_service.experiments.experiment import Experiment

    experiment = Experiment.parse(
        {"name": "e", "model_a": "x", "model_b": "y", "model_c": "z", "start_time": NOW.isoformat(), "margin": 0.02}
    )
    assert contest_of(experiment, None, str.upper) == Contest("X", "Y", "e", "model_b", 0.02, 0.05)
    assert contest_of(experiment, "model_c", str.upper).key_b == "Z"
    for arm in ("model_a", "model_d"):
        with pytest.raises(InvalidExperiment, check=coded("unknown_candidate")):
            contest_of(experiment, arm, str.upper)


# --- repeated replays of two models ---


def counted(monitor, plan, contest=CONTEST):
    """(number, alpha, the last text) of the report of the replay."""
    verdict = judge_replay(contest, plan.record, monitor)
    return verdict["replay_number"], verdict["alpha"], verdict["verdict_text"][-1]


def test_each_further_replay_of_two_models_has_a_smaller_alpha(monitor, calls):
    log_runs(monitor, 6)
    plans = [
        replay(monitor, calls, ReplayOptions(limit=3, seed=seed), now=NOW + timedelta(minutes=seed))[0]
        for seed in (1, 2, 3)
    ]
    for number, plan in enumerate(plans, 1):
        replay_number, alpha, text = counted(monitor, plan)
        assert (replay_number, alpha) == (number, pytest.approx(0.05 / (number * (number + 1))))
        assert text == {"code": "verdicts.replay", "params": {"number": number, "alpha": alpha}}
    state = replay_status(CONTEST, plans[1].record, "done", 3, monitor)
    assert (state["replay_number"], state["alpha"]) == (2, pytest.approx(0.05 / 6))


def test_replays_for_other_experiments_and_in_reverse_order_count_too(monitor, calls):
    log_runs(monitor, 4)
    replay(monitor, calls)
    elsewhere = replace(CONTEST, experiment="another")
    turned = replace(CONTEST, experiment=None, key_a=CONTEST.key_b, key_b=CONTEST.key_a)
    third_model = replace(CONTEST, key_b="C")
    numbers = [
        counted(monitor, replay(monitor, calls, now=NOW + timedelta(hours=hour), contest=contest)[0], contest)[0]
        for hour, contest in ((1, elsewhere), (2, turned), (3, third_model))
    ]
    assert numbers == [2, 3, 1]


def test_a_resumed_or_repeated_replay_is_not_counted_again(monitor, calls):
    log_runs(monitor, 6)
    plan, is_done = replay(monitor, calls, stop_after=2)
    assert not is_done
    resumed, is_done = replay(monitor, calls, now=NOW + timedelta(minutes=5))
    assert is_done
    again, _ = replay(monitor, calls, now=NOW + timedelta(minutes=9))
    assert [counted(monitor, each)[0] for each in (plan, resumed, again)] == [1, 1, 1]


def test_the_experiments_results_judge_the_last_replay_with_its_alpha(monitor, calls):
    from scheduler_service.experiments.examination import examine
    from scheduler_service.experiments.experiment import Experiment
    from scheduler_service.reporting.evolution import course

    log_runs(monitor, 30)
    for seed in (1, 2):
        replay(monitor, calls, ReplayOptions(limit=20, seed=seed), now=NOW + timedelta(minutes=seed))
    experiment = Experiment.parse({"name": "e", "model_a": "x", "model_b": "y", "start_time": NOW.isoformat()})
    runs, pairs = monitor.get_performance_data(experiment="e"), monitor.get_pairs("e")
    found = examine(experiment, runs, pairs, NOW + timedelta(hours=1)).pairs["replay"]
    assert (found.replay_number, found.alpha) == (2, pytest.approx(0.05 / 6))
    assert found.to_dict()["replay_number"] == 2
    assert set(course(experiment, runs, pairs)["pairs"]) == {"replay"}


# --- replays in the service ---

REQUESTS = 160


@pytest.fixture(scope="module")
def parts(tmp_path_factory) -> Services:
    """The service's parts, with the seed models and requests of 160 users, each answered by a greedy rule."""
    services = parts_over(tmp_path_factory.mktemp("replays"))
    log_runs(services.monitor, REQUESTS, experiment=None)
    for name, models in {"better": ("DDQN_v1.0", "DDQN_v2.0"), "worse": ("DDQN_v2.0", "DDQN_v1.0")}.items():
        services.experiments.create_experiment(name, *models)
        services.experiments.pause_experiment(name)  # no user gets the candidate
    return services


def state_when_over(parts: Services, experiment: str) -> dict[str, object]:
    until(lambda: parts.replays.state(experiment)["state"] != "running", lambda: parts.replays.state(experiment))
    return parts.replays.state(experiment)


def test_a_better_candidate_is_found_before_any_user_gets_it(parts):
    started = parts.replays.start("better", options=ReplayOptions())
    assert started["state"] in ("running", "done")
    assert started["total"] == REQUESTS
    state = state_when_over(parts, "better")
    assert (state["state"], state["done"], state["error"]) == ("done", REQUESTS, None)
    assert state["verdict"]["verdict"] == "better", state["verdict"]["verdict_sentence"]
    assert state["verdict"]["geometric_mean_ratio"] < 1.0
    assert state["verdict"]["pairs"] == REQUESTS
    assert state["options"]["limit"] == 1_000
    json.dumps(state, allow_nan=False)
    assert len(parts.monitor.get_pairs("better", source="replay")) == REQUESTS


def test_the_reverse_comparison_is_worse(parts):
    parts.replays.start("worse", options=ReplayOptions())
    state = state_when_over(parts, "worse")
    assert state["verdict"]["verdict"] == "worse", state["verdict"]["verdict_sentence"]
    assert len(state["verdict"]["worst"]) == 10


def test_another_process_shows_the_same_state(parts):
    parts.replays.start("better", options=ReplayOptions())
    mine = state_when_over(parts, "better")
    others = make_services(parts.settings).replays.state("better")
    assert others == mine


def test_only_one_replay_runs_at_a_time_and_an_identical_request_joins_it(parts):
    slow = ReplayOptions(limit=40, time_budget_ms=100.0)
    first = parts.replays.start("better", options=slow)
    assert parts.replays.start("better", options=slow)["replay_id"] == first["replay_id"]
    with pytest.raises(Overloaded, check=coded("replay_at_work", experiment="better")) as caught:
        parts.replays.start("worse", options=ReplayOptions())
    assert caught.value.retry_after_s >= 1
    assert parts.replays.state("better")["state"] == "running"
    assert state_when_over(parts, "better")["done"] == 40


def test_identical_models_are_reported_at_once(parts):
    parts.models.tag_model("twin", "DDQN_v1.0")
    parts.experiments.create_experiment("itself", "DDQN_v2.0", "DDQN:twin")
    parts.models.tag_model("twin", "DDQN_v2.0")  # both arms are now one model
    state = parts.replays.start("itself", options=ReplayOptions())
    assert state["state"] == "identical"
    assert state["verdict"]["verdict"] == "identical"
    assert len(parts.monitor.get_pairs("itself")) == 0


def test_an_impossible_replay_states_the_reason(parts):
    with pytest.raises(ExperimentNotFound):
        parts.replays.start("nobody_made_this", options=ReplayOptions())
    with pytest.raises(InvalidExperiment, check=coded("unknown_candidate", arm="model_h")):
        parts.replays.start("better", candidate="model_h", options=ReplayOptions())
    with pytest.raises(NothingToReplay):
        parts.replays.start("better", options=ReplayOptions(own_requests=True))
    parts.experiments.create_experiment("untouched", "DDQN_v1.0", "DDQN_v2.0")
    with pytest.raises(ReplayNotFound, check=coded("not_replayed", experiment="untouched")):
        parts.replays.state("untouched")

"""One bad candidate of several is stopped alone: the effect on its users, and the continued judgement of the others."""

import json
from collections import Counter
from datetime import timedelta

import numpy as np
import pandas as pd
import pytest

from ab_testing import ABTestManager
from scheduler_service.clock import to_iso
from scheduler_service.errors import ExperimentConflict, InvalidExperiment
from scheduler_service.experiments.cli import main
from scheduler_service.experiments.pairing import shadow_candidate
from scheduler_service.experiments.rollout import Evidence, decide
from scheduler_service.reporting.ab_test import ab_test_report
from scheduler_service.reporting.evolution import course, ramp
from scheduler_service.reporting.page import html_of
from scheduler_service.stats.guardrails import Guardrail
from scheduler_service.stats.outcome import NotComputable
from scheduler_service.words import Message
from tests.clocks import START, Clock
from tests.codes import coded
from tests.conftest import live_service
from tests.pages import Page
from tests.waiting import until

USERS = [f"用户_{number}" for number in range(2_000)]
ARMS = ("model_a", "model_b", "model_c", "model_d")
MODELS = {"model_c": "C", "model_d": "D"}


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def manager(tmp_path, clock):
    created = ABTestManager(tmp_path / "ab_test_config.json", clock=clock)
    created.create_experiment("four", "A", "B", **MODELS, forced_variants={"tester": "model_c"}, excluded_users=["out"])
    return created


def arms(manager):
    return {user: manager.assign("four", user).variant for user in USERS}


def runs_of(manager, users, begin, end, *, failing=()) -> pd.DataFrame:
    """One run of each user between two times, in the arm assigned to the user; the arms `failing` fail."""
    rng = np.random.default_rng(len(users))
    assigned = [manager.assign("four", user) for user in users]
    variant = pd.array([each.variant for each in assigned], dtype="str")
    bound = rng.uniform(40.0, 60.0, len(users))
    success = ~np.isin(variant.to_numpy(dtype=object), failing)
    share = np.linspace(0.0, 1.0, len(users))
    return pd.DataFrame(
        {
            "timestamp": pd.Timestamp(begin)
            + pd.to_timedelta(share * (end - begin).total_seconds(), unit="s").floor("us"),
            "model_key": [each.model for each in assigned],
            "variant": variant,
            "reason": [each.reason for each in assigned],
            "user_id": users,
            "split": pd.array([each.split for each in assigned], dtype="str"),
            "success": success,
            "makespan": np.where(success, bound * rng.normal(1.05, 0.01, len(users)), np.nan),
            "policy_makespan": np.where(success, bound * rng.normal(1.1, 0.01, len(users)), np.nan),
            "execution_time": rng.lognormal(-4.0, 0.2, len(users)),
            "lower_bound": bound,
            "gap": np.where(success, 0.05, np.nan),
            "resource_utilization": np.where(success, 0.6, np.nan),
            "user_satisfaction": np.nan,
        }
    )


HOUR, SECOND = timedelta(hours=1), timedelta(seconds=1)


def lines(manager):
    return [(line["event"], line["actor"], line["figures"].get("arm")) for line in manager.history.of("four")]


# --- effect on the users ---


def test_users_of_a_stopped_arm_get_the_default_model_and_no_other_user_changes_arms(manager):
    before = arms(manager)
    manager.stop_arm("four", "model_c", actor="王工", reason="人员不够")
    after = arms(manager)
    assert all(after[user] == (None if arm == "model_c" else arm) for user, arm in before.items())
    assert Counter(after.values()).keys() == {None, "model_a", "model_b", "model_d"}
    user = next(user for user, arm in before.items() if arm == "model_c")
    for each in (user, "tester"):
        found = manager.assign("four", each)
        assert (found.model, found.variant, found.reason, found.split) == (manager.default_model, None, "default", None)


def test_a_run_records_the_split_without_the_stopped_arm(manager):
    user = next(user for user, arm in arms(manager).items() if arm == "model_b")
    before = manager.assign("four", user).split
    manager.stop_arm("four", "model_c")
    assert (before, manager.assign("four", user).split) == ("0.25/0.25/0.25/0.25", "0.25/0.25/0/0.25")


def test_the_explanation_names_the_stopped_arm(manager):
    user = next(user for user, arm in arms(manager).items() if arm == "model_c")
    assert manager.explain_assignment("four", user)["stopped_arm"] is None
    manager.stop_arm("four", "model_c")
    for each in (user, "tester"):
        result = manager.explain_assignment("four", each)
        assert (result["variant"], result["stopped_arm"], result["reason"]) == (None, "model_c", "default")
        assert result["why_text"][0]["code"] == "assignment.stopped"
    result = manager.explain_assignment("four", "out")
    assert (result["stopped_arm"], result["why_text"][0]["code"]) == (None, "assignment.excluded")


def test_a_stopped_arm_gets_no_shadow_runs(manager):
    requests = [f"request_{number}" for number in range(300)]
    for stopped in (None, "model_c"):
        if stopped:
            manager.stop_arm("four", stopped)
        candidates = manager.get_experiment("four").running_candidates
        drawn = {shadow_candidate("four", candidates, "model_a", request) for request in requests}
        assert drawn == set(ARMS[1:]) - {stopped}


# --- by a person ---


def test_a_person_stops_an_arm_and_the_history_records_who_and_why(manager, clock, tmp_path):
    clock.now += HOUR
    found = manager.stop_arm("four", "model_c", actor="王工", reason="人员不够")
    assert (found.status, found.running_candidates) == ("active", ("model_b", "model_d"))
    line = manager.history.of("four")[-1]
    assert (line["event"], line["actor"], line["reason"]) == ("arm_stopped", "王工", "人员不够")
    assert (line["before"], line["after"]) == ({"status": "active"}, {"status": "active", "stopped_arms": ["model_c"]})
    written = json.loads((tmp_path / "ab_test_config.json").read_text("utf-8"))["experiments"]["four"]
    assert written["stopped_arms"] == {"model_c": to_iso(clock.now)} == found.to_dict()["stopped_arms"]


def test_without_a_stop_the_file_has_no_stopped_arms(manager, tmp_path):
    assert "stopped_arms" not in (tmp_path / "ab_test_config.json").read_text("utf-8")


def test_stopping_the_last_candidate_stops_the_experiment(manager):
    for arm in ("model_b", "model_d"):
        assert manager.stop_arm("four", arm).status == "active"
    assert manager.stop_arm("four", "model_c", actor="王工").status == "stopped"
    assert lines(manager)[-1] == ("stopped", "王工", None)
    assert set(arms(manager).values()) == {None}


@pytest.mark.parametrize("arm", ["model_a", "model_e", "model_h", ""])
def test_the_baseline_and_unknown_arms_cannot_be_stopped(manager, arm):
    with pytest.raises(InvalidExperiment, check=coded("unknown_candidate")) as caught:
        manager.stop_arm("four", arm)
    assert [loc for loc, _ in caught.value.errors] == [("arm",)]


def test_an_arm_is_stopped_once_and_only_while_the_experiment_can_be_stopped(manager):
    manager.pause_experiment("four")
    manager.stop_arm("four", "model_c")
    with pytest.raises(ExperimentConflict, check=coded("arm_stopped_already", arm="model_c")):
        manager.stop_arm("four", "model_c")
    manager.stop_experiment("four")
    with pytest.raises(ExperimentConflict, check=coded("move_of_experiment", status="stopped", action="stop_arm")):
        manager.stop_arm("four", "model_b")


def test_an_arm_stays_stopped_after_a_pause_and_a_restart(manager, clock, tmp_path):
    manager.stop_arm("four", "model_c")
    before = arms(manager)
    manager.pause_experiment("four")
    manager.start_experiment("four")
    assert arms(ABTestManager(tmp_path / "ab_test_config.json", clock=clock)) == before


@pytest.mark.parametrize("arm", ["model_a", "model_e", "x"])
def test_a_file_with_an_invalid_stopped_arm_is_refused(manager, arm):
    with pytest.raises(InvalidExperiment, check=coded("not_a_candidate")):
        manager.config["experiments"]["four"]["stopped_arms"] = {arm: to_iso(START)}


def test_a_file_that_stops_every_candidate_stops_the_experiment(manager):
    manager.config["experiments"]["four"]["stopped_arms"] = dict.fromkeys(ARMS[1:], to_iso(START))
    assert manager.get_experiment("four").status == "stopped"
    assert manager.assign("four", USERS[0]).reason == "experiment_not_active"


# --- automatic stops ---


def check(state, name="success", harm=0.2):
    return Guardrail(name, 0.05, state, harm, 0.1, 0.3, (200, 200), Message("guardrails.no_request"))


def evidence(**guardrails):
    return Evidence(
        samples={},
        word="inconclusive",
        verdict=(),
        is_mismatched=False,
        guardrails=guardrails,
        is_baseline_the_default=True,
        is_one_of_several=len(guardrails) > 1,
    )


def test_a_breach_of_one_candidate_stops_that_candidate_and_names_it():
    decision = decide(None, evidence(model_b=[check("kept")], model_c=[check("breached")]), START)
    assert (decision.kind, decision.arm, decision.is_breach) == ("stop_arm", "model_c", True)
    assert decision.reason == "Guardrail breached by C: the candidate has no request yet."
    assert decision.figures["arm"] == "model_c"
    assert decision.figures["guardrails"] == {"success": {"state": "breached", "harm": 0.2}}


def test_breaches_of_all_active_candidates_abort_the_experiment():
    decision = decide(
        None, evidence(model_b=[check("breached", harm=0.1)], model_c=[check("breached", harm=0.4)]), START
    )
    assert (decision.kind, decision.arm) == ("abort", None)
    assert [each.params["arm"] for each in decision.reasons] == ["model_b", "model_c"]
    assert decision.figures["guardrails"]["success"]["harm"] == 0.4  # the worst one's
    alone = decide(None, evidence(model_b=[check("breached")]), START)
    assert alone.reason == "Guardrail breached: the candidate has no request yet."


def test_a_failing_candidate_is_stopped_and_the_others_continue(manager, clock):
    before = runs_of(manager, USERS[:800], START, START + HOUR, failing=["model_c"])
    clock.now = START + HOUR
    assert manager.review("four", before).event == "arm_stopped"
    assert manager.get_experiment("four").status == "active"
    assert lines(manager)[-1] == ("arm_stopped", "guardrail", "model_c")
    line = manager.history.of("four")[-1]
    assert line["figures"]["guardrails"]["success"]["state"] == "breached"
    assert {each["code"] for each in line["reason_text"]} == {"rollout.breached_by_arm"}
    assert line["figures"]["verdict"] == manager.results("four", before)["comparisons"]["model_c"]["verdict"]
    assert manager.review("four", before) is None
    clock.now = START + 2 * HOUR
    after = pd.concat([before, runs_of(manager, USERS[800:], START + HOUR + SECOND, clock.now)], ignore_index=True)
    assert manager.review("four", after) is None  # the runs before its stop do not affect the others
    result = manager.results("four", after)
    assert result["total_requests"]["model_b"] > manager.results("four", before)["total_requests"]["model_b"]
    assert result["stopped_arms"] == {"model_c": to_iso(START + HOUR)}


def test_two_failing_candidates_are_stopped_in_one_review_and_the_last_one_ends_the_experiment(manager, clock):
    runs = runs_of(manager, USERS[:800], START, START + HOUR, failing=["model_b", "model_d"])
    clock.now = START + HOUR
    assert manager.review("four", runs).event == "arm_stopped"
    assert [arm for _, _, arm in lines(manager)[1:]] == ["model_b", "model_d"]
    clock.now = START + 2 * HOUR
    later = runs_of(manager, USERS[800:], START + HOUR + SECOND, clock.now, failing=["model_c"])
    moves = manager.review("four", pd.concat([runs, later], ignore_index=True))
    assert (moves.event, moves.actor) == ("aborted", "guardrail")
    assert "Guardrail breached by C: " in moves.reason
    assert manager.get_experiment("four").status == "stopped"


def test_a_review_overtaken_by_a_person_changes_nothing(manager, clock, tmp_path):
    runs = runs_of(manager, USERS[:800], START, START + HOUR, failing=["model_c"])
    clock.now = START + HOUR
    slow = ABTestManager(tmp_path / "ab_test_config.json", clock=clock)
    read = slow.examine

    def examine(*args):
        found = read(*args)
        if "model_b" not in manager.get_experiment("four").stopped_arms:
            manager.stop_arm("four", "model_b", actor="王工")
        return found

    slow.examine = examine
    assert slow.review("four", runs) is None
    assert list(manager.get_experiment("four").stopped_arms) == ["model_b"]
    assert slow.review("four", runs).event == "arm_stopped"  # seen by the next review


# --- results and reports ---


def test_the_split_is_judged_without_the_stopped_arm_after_its_stop(manager, clock):
    before = runs_of(manager, USERS[:400], START, START + HOUR)
    clock.now = START + HOUR
    manager.stop_arm("four", "model_c")
    clock.now = START + 5 * HOUR
    after = runs_of(manager, USERS[400:], START + HOUR + SECOND, clock.now)
    after = after[after["variant"].notna()]
    examined = manager.examine("four", pd.concat([before, after], ignore_index=True))
    for arm, comparison in examined.comparisons.items():
        assert not isinstance(comparison.srm_p, NotComputable), arm
        assert comparison.srm_p > 0.001, arm
    wrong = pd.concat([before, after[after["variant"] != "model_d"]], ignore_index=True)
    assert manager.examine("four", wrong).comparisons["model_b"].has_ratio_mismatch


def test_the_figures_of_a_stopped_arm_cover_the_runs_until_its_stop(manager, clock):
    before = runs_of(manager, USERS[:400], START, START + HOUR)
    clock.now = START + HOUR
    until_then = manager.results("four", before)["comparisons"]["model_c"]
    manager.stop_arm("four", "model_c")
    clock.now = START + 5 * HOUR
    after = pd.concat([before, runs_of(manager, USERS[400:], START + HOUR + SECOND, clock.now)], ignore_index=True)
    now = manager.results("four", after)["comparisons"]["model_c"]
    same = (
        "total_requests",
        "improvement_percentage",
        "confidence_interval",
        "verdict",
        "anytime_effect",
        "srm_p_value",
    )
    assert {name: now[name] for name in same} == {name: until_then[name] for name in same}
    assert now["recommendation_text"]["code"] == "next.arm_stopped"
    assert now["projected_days_left"] is None


def test_all_runs_are_counted_even_if_the_first_candidate_is_stopped(manager, clock):
    before = runs_of(manager, USERS[:400], START, START + HOUR)
    clock.now = START + HOUR
    manager.stop_arm("four", "model_b")
    clock.now = START + 5 * HOUR
    after = pd.concat([before, runs_of(manager, USERS[400:], START + HOUR + SECOND, clock.now)], ignore_index=True)
    result = manager.results("four", after)
    assert result["total_requests"] == {arm: int((after["variant"] == arm).sum()) for arm in ARMS}
    assert sum(result["users"].values()) == after["variant"].notna().sum()


def test_the_share_of_a_stopped_candidate_is_zero_after_its_stop(manager, clock):
    clock.now = START + HOUR
    manager.stop_arm("four", "model_b")
    steps = ramp(manager.get_experiment("four"), manager.history.of("four"))
    assert [(step.event, step.share) for step in steps] == [("created", 0.25), ("arm_stopped", 0.0)]


def test_the_course_of_a_stopped_arm_ends_at_its_stop(manager, clock):
    before = runs_of(manager, USERS[:1_000], START, START + HOUR)
    clock.now = START + HOUR
    manager.stop_arm("four", "model_c")
    clock.now = START + 2 * HOUR
    after = pd.concat([before, runs_of(manager, USERS[1_000:], START + HOUR + SECOND, clock.now)], ignore_index=True)
    found = course(manager.get_experiment("four"), after, pd.DataFrame(columns=["candidate", "source"]))["users"]
    stop = to_iso(START + HOUR)
    assert any(point["confidence_sequence"] for point in found["model_c"] if point["time"] <= stop)
    assert not any(point["confidence_sequence"] for point in found["model_c"] if point["time"] > stop)
    assert found["model_b"][-1]["confidence_sequence"] is not None


def test_the_report_describes_the_stop_in_both_languages(mostly_words, manager, clock):
    runs = runs_of(manager, USERS[:800], START, START + HOUR, failing=["model_c"])
    clock.now = START + HOUR
    manager.review("four", runs)
    examined = manager.examine("four", runs)
    history = manager.history.of("four")
    output = {
        lang: Page(html_of(ab_test_report(examined, runs, None, history, START - HOUR, clock.now, lang))).text
        for lang in ("zh", "en")
    }
    for words in ("停止 C 组", "C 组已停止，其用户使用默认模型", "已停止的组 C"):
        assert words in output["zh"], words
    for words in ("arm C stopped", "Arm C is stopped and its users get the default model", "Stopped arms C"):
        assert words in output["en"], words


def test_a_rollout_whose_candidate_is_stopped_has_ended(tmp_path, clock):
    manager = ABTestManager(tmp_path / "ab_test_config.json", clock=clock)
    manager.create_experiment("ramp", manager.default_model, "B", rollout={})
    assert manager.stop_arm("ramp", "model_b").status == "stopped"
    assert "stopped_arms" not in manager.config["experiments"]["ramp"]


# --- over HTTP, on the command line, in the metrics and the alerts ---


@pytest.fixture(scope="module")
def three(tmp_path_factory):
    """A service with a third model whose weights are lost, so that it answers no request."""
    environment = {"SCHED_ALERT_EVERY_S": "0.5", "SCHED_ALERT_LANG": "en"}
    with live_service(tmp_path_factory.mktemp("three"), environment=environment) as running:
        (weights,) = (running.home / "models").rglob("*_v1.0.0.pth")
        body = {"model_path": str(weights), "algorithm_name": "DDQN", "bump": "major", "created_by": "tests"}
        key = running.post("/models/register", json=body).json()["model_key"]
        (running.home / "models" / "models" / f"{key}.pth").unlink()
        yield running, {"model_a": "DDQN_v2.0", "model_b": "DDQN_v1.0", "model_c": key}


def assignment_of(service, experiment, user):
    params = [6 + user % 9, 5, 8, 6, 7, 4 + user % 11, 6, 7, 6, 7, 7, 3 + user % 7, 4, 7, 5]
    body = {"params": params, "experiment": experiment, "user_id": f"planner_{user}", "time_budget_ms": 0}
    return service.run(**body)["experiment_info"]


def test_an_arm_stopped_over_http_gives_its_users_the_default_model(three):
    service, models = three
    body = {"experiment_name": "by_hand", **models, "guardrails": False}
    assert service.post("/experiments", json=body).status_code == 201
    place = "/experiments/by_hand/stop_arm"
    user = next(n for n in range(100) if assignment_of(service, "by_hand", n)["reason"] == "fallback")
    refused = [({}, 422), ({"arm": "model_a"}, 422), ({"arm": "model_d"}, 422), ({"arm": "model_c", "x": 1}, 422)]
    assert [service.post(place, json=body).status_code for body, _ in refused] == [status for _, status in refused]
    assert service.post("/experiments/nobody/stop_arm", json={"arm": "model_c"}).status_code == 404
    answer = service.post(place, json={"arm": "model_c", "actor": "王工"})
    assert (answer.status_code, list(answer.json()["experiment"]["stopped_arms"])) == (200, ["model_c"])
    assert service.post(place, json={"arm": "model_c"}).status_code == 409
    found = assignment_of(service, "by_hand", user)
    assert (found["variant"], found["reason"], "_v2.0.0" in found["model_used"]) == (None, "default", True)
    data = service.get(f"/experiments/by_hand/assignment?user_id=planner_{user}").json()["assignment"]
    assert data["stopped_arm"] == "model_c"
    metrics = service.get("/metrics").text
    for arm, stopped in (("model_b", "0.0"), ("model_c", "1.0")):
        assert f'experiment_arm_stopped{{arm="{arm}",experiment="by_hand"}} {stopped}' in metrics
    share = [line for line in metrics.splitlines() if 'arm="model_c",experiment="by_hand",model=' in line]
    assert [line.rsplit(" ", 1)[1] for line in share] == ["0.0"]
    assert list(service.get("/experiments/by_hand/results").json()["results"]["stopped_arms"]) == ["model_c"]
    service.post("/experiments/by_hand/conclude")
    assert 'experiment_arm_stopped{arm="model_c",experiment="by_hand"} 0.0' in service.get("/metrics").text


def test_the_service_stops_a_failing_arm_reports_it_and_continues_with_the_other(three):
    service, models = three
    assert service.post("/experiments", json={"experiment_name": "live", **models}).status_code == 201

    def experiment():
        return service.get("/experiments/live").json()["experiment"]

    users = iter(range(1_000))
    until(lambda: [assignment_of(service, "live", next(users)) for _ in range(40)] and "stopped_arms" in experiment())
    found = experiment()
    assert (found["status"], list(found["stopped_arms"])) == ("active", ["model_c"])
    line = service.get("/experiments/live/history").json()["history"][-1]
    assert (line["event"], line["actor"], line["figures"]["arm"]) == ("arm_stopped", "guardrail", "model_c")
    later = Counter(assignment_of(service, "live", user)["reason"] for user in range(60))
    assert (later["fallback"], later.keys()) == (0, {"assigned", "default"})

    def alerts():
        return [each for each in service.get("/alerts").json()["alerts"] if each["name"] == "experiment_arm_stopped"]

    (alert,) = until(alerts)
    assert (alert["subject"], alert["severity"]) == ("live/model_c", "warning")  # a person's action is no alert
    assert alert["params"].items() >= {"experiment": "live", "arm": "model_c"}.items()


def test_an_arm_can_be_stopped_and_shown_on_the_command_line(tmp_path, capsys):
    (tmp_path / "models").mkdir()
    manager = ABTestManager(tmp_path / "ab_test_config.json")
    manager.create_experiment("three", "DDQN_v2.0", "DDQN_v1.0", model_c="DDQN_v3.0")
    command = ["stop-arm", "three", "model_c", "--home", str(tmp_path), "--actor", "王工", "--reason", "too few people"]
    assert main(ABTestManager, command) == 0
    assert "the experiment three is active without model_c" in capsys.readouterr().out
    assert main(ABTestManager, command) == 1
    assert "stopped already" in capsys.readouterr().err
    assert main(ABTestManager, ["history", "three", "--home", str(tmp_path)]) == 0
    assert "active without model_c" in capsys.readouterr().out
    assert main(ABTestManager, ["results", "three", "--home", str(tmp_path)]) == 0
    assert "model_c is stopped since" in capsys.readouterr().out

"""Rollouts: who is exposed at each stage, what advances a rollout, and what remains after a kill."""

import itertools
import json
import subprocess
import textwrap
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ab_testing import ABTestManager
from scheduler_service.errors import ExperimentConflict, InvalidExperiment, InvalidTransition
from scheduler_service.experiments.experiment import Experiment
from scheduler_service.experiments.rollout import DEFAULT_STAGES, Evidence, Rollout, decide
from scheduler_service.settings import PROJECT_ROOT
from scheduler_service.stats.guardrails import Guardrail
from scheduler_service.store.folder import FolderStore
from scheduler_service.words import WORDS, Message
from tests import preloaded
from tests.clocks import START, Clock
from tests.codes import coded
from tests.properties import examples
from tests.waiting import HANG_S

STORES = ("folder", "postgresql")
USERS = [f"用户_{number}" for number in range(4_000)]
V1, V2 = "DDQN_aaaaaaaa_v1.0.0", "DDQN_bbbbbbbb_v2.0.0"


class Registry:
    """The registry's part of a promotion, in memory: which models may be deployed, and which one is `stable`."""

    store = FolderStore(Path("elsewhere"))

    def __init__(self):
        self.keys = {"DDQN_v1.0": V1, "DDQN_v2.0": V2, V1: V1, V2: V2}
        self.stable = [V1]
        self.is_deployable = True
        self.noted = []

    def resolve(self, name, *, oldest=False):
        return self.stable[-1] if name == "DDQN:stable" else self.keys[name]

    def check_deployable(self, name):
        if not self.is_deployable:
            raise InvalidTransition("never_validated", model=name)

    def promote_model(self, name, status, *, reason="", actor="", within=None):
        assert status == "deployed"
        self.check_deployable(name)
        if self.stable[-1] != name:
            self.stable.append(name)

    def rollback(self, algorithm, reason, *, actor="", only_from=None, within=None):
        assert (algorithm, only_from) == ("DDQN", self.stable[-1])
        self.stable.pop()

    def note_default(self, change, *, within=None):
        self.noted.append(change)


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def registry():
    return Registry()


@pytest.fixture
def manager(open_store, clock, registry):
    found = ABTestManager(store=open_store(), registry=registry, clock=clock)
    found.config["default_model"] = "DDQN_v1.0"
    return found


@pytest.fixture
def ramp(manager):
    manager.create_experiment("ramp", "DDQN_v1.0", "DDQN_v2.0", rollout={"min_hours": 0.0, "min_samples": 2})
    return manager


def arms(manager, name="ramp"):
    return {user: manager.assign(name, user).variant for user in USERS}


def guardrail(name="makespan", state="kept"):
    return Guardrail(name, 0.05, state, 0.0, -0.01, 0.01, (200, 200), Message("guardrails.no_request"))


def kept_by(*checks, arm="model_b"):
    return {arm: list(checks)}


def evidence(**changes):
    known = {
        "samples": {"model_a": 500, "model_b": 500},
        "word": "better",
        "verdict": [Message("verdicts.one_model", {"a": "model_a", "b": "model_b"})],
        "is_mismatched": False,
        "guardrails": kept_by(guardrail("makespan"), guardrail("success"), guardrail("execution_time", "undecided")),
        "is_baseline_the_default": True,
    }
    return Evidence(**known | changes)


def unmet(decision):
    """The conditions that a stage waits for."""
    return [each.text.code.removeprefix("rollout.") for each in decision.conditions if not each.is_met]


def plan(**changes):
    return Rollout.model_validate({"stage_since": START, **changes})


NEXT_DAY = START + timedelta(hours=25)

# --- duration ---


def test_a_rollout_has_no_end_date_by_default(ramp, clock):
    assert ramp.get_experiment("ramp").is_open_ended
    clock.forward(days=400)
    assert ramp.get_experiment("ramp").status == "active"
    assert set(arms(ramp).values()) == {None, "model_a", "model_b"}


@pytest.mark.parametrize("days", [7, 14])
def test_explicit_days_end_a_rollout(manager, clock, days):
    created = manager.create_experiment("ramp", "DDQN_v1.0", "DDQN_v2.0", rollout={}, duration_days=days)
    assert (created.duration_days, created.is_open_ended) == (days, False)
    clock.forward(days=days)
    assert manager.get_experiment("ramp").status == "completed"


def test_a_plain_experiment_takes_seven_days_unless_the_sixth_argument_differs(manager):
    assert manager.create_experiment("usual", "DDQN_v1.0", "DDQN_v2.0").duration_days == 7
    split = {"model_a": 0.5, "model_b": 0.5}
    assert manager.create_experiment("explicit", "DDQN_v1.0", "DDQN_v2.0", split, "makespan", 3).duration_days == 3


def test_a_rollout_without_days_in_an_existing_file_ends_after_seven(manager, clock):
    # Otherwise an upgrade of the service would bring candidates back to users whose rollout was over.
    written = {"model_a": "DDQN_v1.0", "model_b": "DDQN_v2.0", "start_time": START.isoformat(), "rollout": {}}
    manager.config["experiments"]["by_hand"] = written
    clock.forward(days=7)
    assert manager.get_experiment("by_hand").status == "completed"


def test_a_rollout_over_http_has_no_end_and_is_planned_for_seven_days(service):
    default = service.get("/experiments").json()["default_model"]
    body = {"model_a": default, "model_b": "DDQN_v1.0", "rollout": {"auto": False}}
    assert service.post("/experiments/plan", json=body).json()["plan"]["duration_days"] == 7
    assert service.post("/experiments/plan", json=body | {"duration_days": 30}).json()["plan"]["duration_days"] == 30
    for name, days, expected in [
        ("no_end", {}, 3650), ("null_end", {"duration_days": None}, 3650), ("an_end", {"duration_days": 30}, 30)
    ]:  # fmt: skip
        answer = service.post("/experiments", json=body | {"experiment_name": name} | days)
        assert answer.json()["experiment"]["duration_days"] == expected, answer.text
        service.post(f"/experiments/{name}/stop")


# --- exposure ---


def test_each_stage_assigns_its_share_to_the_candidate_and_the_same_to_the_baseline(ramp):
    for share in DEFAULT_STAGES[:-1]:
        found = list(arms(ramp).values())
        assert found.count("model_b") / len(USERS) == pytest.approx(share, abs=0.025)
        assert found.count("model_a") / len(USERS) == pytest.approx(share, abs=0.025)
        if share < 0.5:
            ramp.advance_experiment("ramp")


def test_no_user_changes_arms_between_stages(ramp):
    before = arms(ramp)
    for _ in range(2):
        ramp.advance_experiment("ramp")
        after = arms(ramp)
        assert all(after[user] == arm for user, arm in before.items() if arm is not None)
        before = after


def test_other_users_get_the_default_model_and_no_arm(ramp):
    user = next(user for user, arm in arms(ramp).items() if arm is None)
    found = ramp.assign("ramp", user)
    assert (found.model, found.variant, found.reason) == ("DDQN_v1.0", None, "default")


@examples(100)
@given(st.lists(st.floats(0.001, 0.5), min_size=1, max_size=6, unique=True), st.text(min_size=1, max_size=12))
def test_no_user_leaves_an_arm_whatever_the_stages(shares, user):
    stages = [*sorted(shares), 1.0]
    definition = {"name": "any", "model_a": "a", "model_b": "b", "start_time": START}
    found = [
        Experiment.parse(definition | {"rollout": {"stages": stages, "stage": stage}}).place_of(user).arm
        for stage in range(len(stages) - 1)
    ]
    first = next((index for index, arm in enumerate(found) if arm is not None), len(found))
    assert len(set(found[first:])) <= 1


# --- decisions ---


def test_a_stage_with_all_conditions_met_advances():
    assert decide(plan(), evidence(), NEXT_DAY).kind == "advance"
    assert decide(plan(stage=2), evidence(), NEXT_DAY).kind == "promote"


def test_before_the_last_stage_non_inferiority_is_enough():
    assert decide(plan(), evidence(word="non_inferior"), NEXT_DAY).kind == "advance"
    assert decide(plan(), evidence(word="inconclusive"), NEXT_DAY).kind == "advance"  # the guardrails are kept


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"samples": {"model_a": 500, "model_b": 99}}, "samples"),
        ({"samples": {}}, "samples"),
        ({"is_mismatched": True}, "split"),
        ({"is_baseline_the_default": False}, "baseline"),
        ({"guardrails": kept_by(guardrail("makespan", "undecided"))}, "guardrail"),
        ({"guardrails": kept_by(guardrail("success", "undecided"))}, "guardrail"),
    ],
)
@pytest.mark.parametrize("stage", [0, 2])
def test_missing_data_advances_nothing(changes, code, stage):
    decision = decide(plan(stage=stage), evidence(**changes), NEXT_DAY)
    assert (decision.kind, unmet(decision)) == ("hold", [code])
    (reason,) = decision.reasons
    assert reason == Message(
        "rollout.waiting", {"conditions": [each.text for each in decision.conditions if not each.is_met]}
    )


def test_an_unmet_condition_does_not_read_as_a_fact():
    """The list begins with 还需要; "A 仍是默认模型" said what is not so."""
    decision = decide(plan(), evidence(is_baseline_the_default=False), NEXT_DAY)
    assert "还需要：A 为默认模型" in WORDS.say(*decision.reasons, lang="zh")


@pytest.mark.parametrize("word", ["non_inferior", "inconclusive", "invalid", "identical"])
def test_only_a_better_candidate_is_promoted(word):
    decision = decide(plan(stage=2), evidence(word=word), NEXT_DAY)
    assert (decision.kind, unmet(decision)) == ("hold", ["verdict_better"])
    assert decision.reason == f"Waiting for: verdict better (now {WORDS.text(f'terms.verdict.{word}')})."


def test_a_non_inferior_candidate_is_promoted_if_configured():
    rollout = plan(stage=2, promote_on="non_inferior")
    assert decide(rollout, evidence(word="non_inferior"), NEXT_DAY).kind == "promote"
    assert decide(rollout, evidence(word="inconclusive"), NEXT_DAY).kind == "hold"


def test_a_stage_lasts_its_hours():
    assert unmet(decide(plan(), evidence(), START + timedelta(hours=23))) == ["hours"]
    assert decide(plan(), evidence(), START + timedelta(hours=24)).kind == "advance"


def test_without_auto_a_rollout_only_stops_by_itself_on_a_breach():
    assert decide(plan(auto=False), evidence(), NEXT_DAY).kind == "hold"
    breached = evidence(guardrails=kept_by(guardrail("success", "breached")))
    assert decide(plan(auto=False), breached, NEXT_DAY).kind == "abort"


@pytest.mark.parametrize("rollout", [None, plan(), plan(stage=2)])
@pytest.mark.parametrize("name", ["makespan", "success", "execution_time"])
def test_a_breach_aborts_under_all_other_conditions(rollout, name):
    found = evidence(guardrails=kept_by(guardrail(), guardrail(name, "breached")), samples={}, is_mismatched=True)
    decision = decide(rollout, found, START)
    assert (decision.kind, decision.is_breach) == ("abort", True)
    assert [each.code for each in decision.reasons] == ["rollout.breached"]


def test_a_worse_candidate_does_not_advance():
    assert decide(plan(), evidence(word="worse"), NEXT_DAY).kind == "abort"
    assert decide(None, evidence(word="worse"), NEXT_DAY).kind == "hold"  # a plain experiment may measure by how much


@pytest.mark.parametrize(
    "stages", [[1.0], [0.5], [0.3, 0.1, 1.0], [0.1, 0.1, 1.0], [0.0, 1.0], [0.1, 0.8, 1.0], [0.1, float("nan"), 1.0]]
)
def test_invalid_stages_are_refused(manager, stages):
    with pytest.raises(InvalidExperiment) as caught:
        manager.create_experiment("ramp", "DDQN_v1.0", "DDQN_v2.0", rollout={"stages": stages})
    assert [loc for loc, _ in caught.value.errors] == [("rollout", "stages")]


@pytest.mark.parametrize(
    ("changes", "loc"),
    [
        ({"model_a": "DDQN_v2.0", "model_b": "DDQN_v1.0"}, ("model_a",)),  # v1 is the default model
        ({"traffic_split": {"model_a": 0.7, "model_b": 0.3}}, ("rollout",)),
        ({"coverage": 0.5}, ("rollout",)),
        ({"model_c": "DDQN_v3.0"}, ("rollout",)),
    ],
)
def test_a_rollout_that_could_not_be_promoted_is_refused(manager, changes, loc):
    with pytest.raises(InvalidExperiment) as caught:
        manager.create_experiment(
            **{"experiment_name": "ramp", "model_a": "DDQN_v1.0", "model_b": "DDQN_v2.0", "rollout": {}} | changes
        )
    assert [found for found, _ in caught.value.errors] == [loc]


def test_a_rollout_of_a_candidate_that_may_not_be_deployed_is_refused(manager, registry):
    registry.is_deployable = False
    with pytest.raises(InvalidTransition, check=coded("never_validated")):
        manager.create_experiment("ramp", "DDQN_v1.0", "DDQN_v2.0", rollout={})
    assert manager.list_experiments() == []


# --- promotion and its reversal ---


def test_a_promotion_of_the_service_keeps_its_reason_as_messages_in_both_histories(ramp, registry, clock):
    reasons = [Message("verdicts.one_model", {"a": "model_a", "b": "model_b"})]
    changes, experiment = ramp._changes, ramp.get_experiment("ramp")
    changes.promote(experiment, "model_b", "rollout", reasons)
    line = ramp.history.of("ramp")[-1]
    assert (line["event"], line["reason"]) == ("promoted", WORDS.say(*reasons))
    assert line["reason_text"] == [each.to_dict() for each in reasons]
    change = registry.noted[-1]
    assert change["code"] == "by_experiment_because"
    assert change["params"] == {"experiment": "ramp", "reason": line["reason_text"]}
    assert WORDS.text("errors.by_experiment_because", change["params"], "zh").startswith(
        "实验 ramp：B 与 A 是同一个模型"
    )


def test_the_last_stage_changes_the_default_model_and_the_tag(ramp, registry):
    for _ in DEFAULT_STAGES[:-1]:
        ramp.advance_experiment("ramp", actor="王工", reason="看过了")
    found = ramp.get_experiment("ramp")
    assert (found.status, found.rollout.share, found.promotion.model) == ("concluded", 1.0, V2)
    assert ramp.default_model == V2
    assert registry.stable[-1] == V2
    assert {ramp.get_model_for_request("ramp", user) for user in USERS} == {V2}


def test_one_call_reverts_the_promotion(ramp, registry):
    ramp.promote_arm("ramp")
    ramp.revert_promotion("ramp", actor="王工", reason="现场反馈不好")
    assert ramp.default_model == "DDQN_v1.0"
    assert registry.stable == [V1]
    with pytest.raises(ExperimentConflict, check=coded("nothing_to_revert")):
        ramp.revert_promotion("ramp")


def test_a_tag_not_moved_by_the_promotion_is_not_reverted(manager, registry):
    manager.config["default_model"] = "DDQN_v2.0"  # v1 has the tag `stable`, v2 is the default: as shipped
    manager.create_experiment("back", "DDQN_v2.0", "DDQN_v1.0")
    manager.promote_arm("back")
    manager.revert_promotion("back")
    assert (manager.default_model, registry.stable) == ("DDQN_v2.0", [V1])
    assert manager.get_experiment("back").promotion.are_tags_right


def test_a_promotion_followed_by_another_change_is_not_reverted(ramp):
    ramp.promote_arm("ramp")
    ramp.config["default_model"] = "DDQN_v1.0"
    with pytest.raises(ExperimentConflict, check=coded("not_default_any_more")):
        ramp.revert_promotion("ramp")


def test_the_winner_of_a_plain_experiment_can_be_promoted(manager, registry):
    manager.create_experiment("plain", "DDQN_v1.0", "DDQN_v2.0")
    assert manager.promote_arm("plain", "model_b").status == "concluded"
    assert (manager.default_model, registry.stable[-1]) == (V2, V2)
    with pytest.raises(ExperimentConflict, check=coded("concluded_already")):
        manager.promote_arm("plain", "model_a")
    with pytest.raises(InvalidExperiment, check=coded("unknown_arm", arm="model_c")):
        manager.promote_arm("plain", "model_c")


def test_a_refusal_by_the_registry_changes_nothing(ramp, registry):
    registry.is_deployable = False
    with pytest.raises(InvalidTransition):
        ramp.promote_arm("ramp")
    assert (ramp.get_experiment("ramp").status, ramp.default_model, registry.stable) == ("active", "DDQN_v1.0", [V1])


def test_only_an_active_rollout_advances(ramp, manager):
    manager.create_experiment("plain", "DDQN_v1.0", "DDQN_v2.0")
    with pytest.raises(ExperimentConflict, check=coded("no_rollout")):
        manager.advance_experiment("plain")
    ramp.pause_experiment("ramp")
    with pytest.raises(ExperimentConflict, check=coded("rollout_not_active", status="paused")):
        ramp.advance_experiment("ramp")


def test_naming_the_seen_stage_prevents_skipping_one(ramp):
    assert ramp.advance_experiment("ramp", from_stage=0).rollout.stage == 1
    with pytest.raises(ExperimentConflict, check=coded("another_stage", stage=1, expected=0)):
        ramp.advance_experiment("ramp", from_stage=0)
    assert ramp.get_experiment("ramp").rollout.stage == 1


# --- persistence ---


def test_the_history_records_every_move_with_who_why_and_from_where(ramp):
    ramp.advance_experiment("ramp", actor="王工", reason="看过了")
    ramp.pause_experiment("ramp", reason="检修")
    ramp.start_experiment("ramp")
    ramp.stop_experiment("ramp", actor="李工")
    ramp.conclude_experiment("ramp")
    lines = ramp.history.of("ramp")
    assert [line["event"] for line in lines] == ["created", "advanced", "paused", "started", "stopped", "concluded"]
    assert (lines[1]["actor"], lines[1]["reason"]) == ("王工", "看过了")
    assert (lines[1]["before"], lines[1]["after"]) == (
        {"status": "active", "stage": 0.1},
        {"status": "active", "stage": 0.3},
    )
    assert all(before["after"] == after["before"] for before, after in itertools.pairwise(lines))


def test_state_survives_a_restart(ramp, open_store, clock):
    ramp.advance_experiment("ramp")
    again = ABTestManager(store=open_store(), clock=clock)
    assert again.get_experiment("ramp") == ramp.get_experiment("ramp")
    assert arms(again) == arms(ramp)


def test_processes_that_advance_at_once_write_every_history_line(tmp_path):
    path = tmp_path / "ab_test_config.json"
    names = [f"ramp_{number}" for number in range(4)]
    manager = ABTestManager(path)
    for name in names:
        manager.create_experiment(name, manager.default_model, "other", rollout={"stages": [0.05, 0.1, 0.2, 0.5, 1.0]})
    code = textwrap.dedent(
        """
        import sys
        from ab_testing import ABTestManager
        from scheduler_service.errors import ExperimentConflict
        manager = ABTestManager(sys.argv[1])
        for name in sys.argv[2:]:
            for _ in range(3):
                try:
                    manager.advance_experiment(name, actor="process")
                except ExperimentConflict:
                    pass
        """
    )
    command = [preloaded.python(), "-c", code, str(path), *names]
    processes = [subprocess.Popen(command, cwd=PROJECT_ROOT) for _ in range(3)]
    assert [process.wait(timeout=HANG_S) for process in processes] == [0, 0, 0]
    for name in names:
        lines = manager.history.of(name)
        assert all(before["after"] == after["before"] for before, after in itertools.pairwise(lines))
        assert lines[-1]["after"]["stage"] == manager.get_experiment(name).rollout.share


@pytest.mark.only_folder
def test_the_file_is_readable_and_editable_by_people(ramp, tmp_path):
    written = json.loads((tmp_path / "ab_test_config.json").read_text())["experiments"]["ramp"]
    assert written["rollout"]["stages"] == [0.1, 0.3, 0.5, 1.0]
    ramp.config["experiments"]["ramp"]["rollout"]["stage"] = 1
    assert ramp.get_experiment("ramp").rollout.share == 0.3
    with pytest.raises(InvalidExperiment):
        ramp.config["experiments"]["ramp"]["rollout"]["stage"] = 9

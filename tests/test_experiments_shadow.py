"""The share of the requests that a rollout shadows where nobody said one."""

import pytest

from enhanced_flask import create_app
from monitoring import PerformanceRecord
from scheduler_service.experiments.ramp import default_shadow
from scheduler_service.http.services import EXTENSION
from scheduler_service.settings import Settings
from scheduler_service.words import Message


def few(users, taking_part):
    return "shadow_few", {"users": users, "taking_part": taking_part, "needed": 540}


@pytest.mark.parametrize(
    ("stages", "metric", "users", "share", "told"),
    [
        ([0.1, 1.0], "makespan", 200, 1.0, few(200, 40)),
        (
            [0.1, 1.0],
            "policy_makespan",
            2_699,
            1.0,
            ("shadow_few", {"users": 2_699, "taking_part": 539, "needed": 540}),
        ),
        ([0.1, 1.0], "makespan", 2_700, 0.0, ("shadow_enough", {"users": 2_700})),
        ([0.5, 1.0], "makespan", 539, 1.0, few(539, 539)),
        ([0.5, 1.0], "makespan", 540, 0.0, ("shadow_enough", {"users": 540})),
        ([0.1, 1.0], "makespan", 0, 1.0, few(0, 0)),
        ([0.1, 1.0], "makespan", None, 1.0, ("shadow_unknown", {})),
        ([0.1, 1.0], "success", 10, 0.0, ("shadow_not_judged", {"metric": "success"})),
    ],
)
def test_a_rollout_rests_on_pairs_where_too_few_users_take_part_in_its_first_stage(stages, metric, users, share, told):
    choice = default_shadow(stages, metric, users)
    assert choice.share == share
    code, params = told
    assert choice.reason == Message(f"ramp.{code}", params)


def test_the_service_chooses_the_shadow_of_a_rollout_unless_it_is_said(tmp_path):
    app = create_app(Settings(home=tmp_path))
    client, monitor = app.test_client(), app.extensions[EXTENSION].monitor

    def created(name, **more):
        body = {"experiment_name": name, "model_a": "DDQN_v2.0", "model_b": "DDQN_v1.0", **more}
        answer = client.post("/experiments", json=body)
        assert answer.status_code == 201, answer.json
        return answer.json["experiment"].get("shadow", 0.0), [
            each for each in answer.json["notes"] if each.startswith("Shadow runs are")
        ]

    def record(numbers):
        usual = {"model_key": "k", "makespan": 1.0}
        monitor.record_performance(*(PerformanceRecord(request_id=f"r{n}", user_id=f"u{n}", **usual) for n in numbers))

    record(range(50))
    share, (told,) = created("small", rollout={})
    assert (share, "of the 50 users known, 10 take part" in told) == (1.0, True)
    assert created("null_is_absent", rollout={}, shadow=None)[0] == 1.0
    assert created("off", rollout={}, shadow=False) == (0.0, [])
    assert created("none", rollout={}, shadow=0) == (0.0, [])
    assert created("some", rollout={}, shadow=0.25) == (0.25, [])
    assert created("no_rollout") == (0.0, [])
    assert created("of_success", rollout={}, success_metric="success")[0] == 0.0
    plan = client.post("/experiments/plan", json={"rollout": {}}).json["plan"]["ramp"]
    assert (plan["basis"], plan["notes_text"][0]["code"]) == ("pairs", "ramp.shadow_few")
    record(range(50, 2_750))
    share, (told,) = created("large", rollout={})
    assert (share, told) == (0.0, "Shadow runs are off by default: the 2,750 users known are enough for two arms.")
    assert client.post("/experiments/plan", json={"rollout": {}}).json["plan"]["ramp"]["basis"] == "users"

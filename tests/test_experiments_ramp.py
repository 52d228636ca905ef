"""The prospects of a rollout with the known users: stages, detectable effects, and alternatives."""

import json
from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
import pytest

from scheduler_service.clock import to_iso
from scheduler_service.experiments.experiment import Experiment
from scheduler_service.experiments.planning import plan
from scheduler_service.experiments.ramp import Ramp, ramp_of

NOW = datetime(2026, 11, 25, 12, 0, tzinfo=UTC)


def ramp(users: int, *, rollout: dict | None = None, days: float = 10.0, **options) -> Ramp:
    """Planners who send three requests a day, always the same."""
    rng = np.random.default_rng(1)
    n = int(users * days * 3)
    bound = np.exp(rng.normal(4.0, 0.5, n))
    ages = np.linspace(days, 0.001, n)
    runs = pd.DataFrame(
        {
            "timestamp": pd.to_datetime([NOW - timedelta(days=float(age)) for age in ages], utc=True),
            "model_key": "a",
            "reason": "default",
            "user_id": np.arange(n) % users if users else [],
            "success": True,
            "lower_bound": bound,
            "makespan": bound * np.exp(rng.gamma(1.5, 0.04, n)),
        }
    )
    definition = {"name": "ramp", "model_a": "a", "model_b": "b", "start_time": to_iso(NOW), "rollout": rollout or {}}
    found = ramp_of(plan(Experiment.parse(definition | options), 0.03, runs, NOW, "a"))
    assert found is not None
    return found


def test_returning_users_are_not_counted_again():
    assert ramp(200).users == 200
    assert ramp(200, days=1.0).users == 200, "a day is too short to tell who will come"


def test_more_users_can_show_a_smaller_effect_and_pairs_need_fewest():
    two_arms = [ramp(users).smallest_improvement for users in (200, 2_000)]
    pairs = [ramp(users, shadow=1.0).smallest_improvement for users in (200, 2_000)]
    assert pairs[0] < two_arms[0]
    assert pairs[1] < two_arms[1] < two_arms[0] < 0.2
    assert ramp(10).smallest_improvement is None


def test_a_service_with_too_few_users_is_told_the_alternatives():
    note, weak, quicker = ramp(50).notes()
    assert (note.code, note.params["users"], note.params["basis"]) == ("ramp.nothing", 50, "users")
    assert (weak.code, weak.params["share"]) == ("ramp.weak", 0.5)
    assert [each.code for each in weak.params["remedies"]] == ["ramp.remedy_shadow", "ramp.remedy_replay"]
    assert (quicker.code, quicker.params["stages"]) == ("ramp.sooner", [0.5, 1.0])


def test_a_service_with_enough_users_keeps_its_stages_and_is_told_the_detectable_effect():
    found = ramp(5_000, rollout={"min_samples": 10})
    (note,) = found.notes()
    assert (note.code, note.params["users"], note.params["basis"]) == ("ramp.least", 5_000, "users")
    assert found.proposed_stages is None


@pytest.mark.parametrize(("users", "is_enough"), [(20, False), (2_000, True)])
def test_for_a_non_inferiority_goal_the_note_says_whether_it_can_be_shown(users, is_enough):
    codes = [each.code for each in ramp(users, rollout={"promote_on": "non_inferior"}).notes()]
    assert ("ramp.non_inferior" in codes) != is_enough


def test_stages_follow_one_another_and_shorter_ones_are_proposed_if_they_end_earlier():
    found = ramp(200)
    days = [each["days"] for each in found.stages()]
    assert days == sorted(days)
    assert days[0] >= 1.0
    assert [each["users"] for each in found.stages()] == [40, 120, 200]
    assert found.proposed_stages == (0.5, 1.0)
    assert found.stages((0.5, 1.0))[-1]["days"] < days[-1]
    assert ramp(200, rollout={"stages": [0.5, 1.0]}).proposed_stages is None


@pytest.mark.parametrize("users", [0, 5])
def test_without_records_there_is_no_forecast(users):
    found = ramp(users)
    (note,) = found.notes()
    assert note.code == "ramp.unknown"
    json.dumps(found.to_dict(), allow_nan=False)

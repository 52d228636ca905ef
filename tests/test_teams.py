"""The teams that a request declares are those of the plant that is meant."""

import pytest

from scheduler_env.errors import InvalidInstance
from scheduler_env.readers import instance_from_request
from scheduler_env.standard_cycle import SAMPLE_PARAMS


@pytest.mark.parametrize("named", [{"params": list(SAMPLE_PARAMS)}, {"workpoints": [{"id": "a"}]}])
@pytest.mark.parametrize("name", ["Team2", "TEAM_2", "2 班", "保温打磨", "Insulation"])
def test_a_team_that_changes_nothing_since_it_is_the_default_plants_under_another_name_is_refused(named, name):
    for teams, place in (
        ({name: {"headcount": 7}}, name),
        ([{"name": "x", "headcount": 1}, {"name": name, "headcount": 7}], 1),
    ):
        with pytest.raises(InvalidInstance) as refused:
            instance_from_request({**named, "teams": teams})
        assert (refused.value.code, refused.value.loc) == ("misnamed_team", ("teams", place))
        assert refused.value.params == {"team": name, "nearest": "team2"}


def test_a_team_by_such_a_name_may_be_declared_for_steps_that_need_it():
    steps = [{"name": "strip", "team": "2 班", "duration": 4.0}]
    read = instance_from_request({"workpoints": [{"id": "a", "steps": steps}], "teams": {"2 班": {"headcount": 7}}})
    assert {team.name: team.headcount for team in read.teams}["2 班"] == 7

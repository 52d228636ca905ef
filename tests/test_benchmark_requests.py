"""The varied requests of the benchmarks are accepted by the service and have the properties that they claim."""

import pytest

from benchmarks.requests import FIRST_SEED, KINDS, bodies, generated, sample
from scheduler_env.generator import random_instance
from scheduler_env.pool import TRAINING_SEEDS_FROM
from scheduler_env.readers import instance_from_request
from scheduler_env.standard_cycle import DEFAULT_TEAMS, SAMPLE_PARAMS, standard_instance
from scheduler_env.training import VALIDATION_SEEDS_FROM
from scheduler_service.http.contract.runs import RunRequest

COUNT = 300


@pytest.mark.parametrize("kind", KINDS)
def test_the_service_accepts_every_body(kind):
    for body in bodies(kind, COUNT):
        RunRequest.model_validate(body | {"user_id": "u"})
        assert instance_from_request(body).workpoints


@pytest.mark.parametrize("kind", sorted(set(KINDS) - {"sample"}))
def test_bodies_depend_on_the_seed_alone(kind):
    created = bodies(kind, COUNT)
    assert len({repr(body) for body in created}) == COUNT
    assert created == bodies(kind, COUNT)


def test_a_generated_body_describes_the_generators_instance():
    for seed in range(FIRST_SEED, FIRST_SEED + 50):
        assert instance_from_request(generated(seed)) == random_instance(1, seed)


def test_the_sample_describes_the_standard_instance():
    assert instance_from_request(sample()) == standard_instance(SAMPLE_PARAMS)


@pytest.mark.parametrize("kind", ["near", "generated", "missing", "teams", "varied"])
def test_kinds_with_one_work_point_have_one(kind):
    assert all(len(instance_from_request(body).workpoints) == 1 for body in bodies(kind, COUNT))


def test_a_mix_has_one_to_five_work_points_and_usually_one():
    counts = [len(instance_from_request(body).workpoints) for body in bodies("mix", COUNT)]
    assert set(counts) == {1, 2, 3, 4, 5}
    assert counts.count(1) > COUNT / 2


def test_steps_are_removed_and_teams_vary_as_named():
    assert all(len(instance_from_request(body).steps) < len(SAMPLE_PARAMS) for body in bodies("missing", COUNT))
    others = [instance_from_request(body) for body in bodies("teams", COUNT)]
    assert sum(instance.teams != DEFAULT_TEAMS for instance in others) > 0.9 * COUNT
    assert any(
        team.dedicated != known.dedicated for i in others for team, known in zip(i.teams, DEFAULT_TEAMS, strict=True)
    )
    assert any(resource.startswith("place:") for i in others for resource in i.capacity)


def test_no_seed_is_used_for_training_or_selection():
    assert VALIDATION_SEEDS_FROM + 10_000 <= FIRST_SEED
    assert FIRST_SEED + 100_000 <= TRAINING_SEEDS_FROM

"""The watch over experiments: who is judged, by which process, and what a trouble leaves standing."""

from types import SimpleNamespace

import pytest

from enhanced_flask import create_app
from scheduler_service.files import locked
from scheduler_service.http.services import EXTENSION
from scheduler_service.http.watch.watching import REST, ExperimentWatch
from scheduler_service.settings import Settings


@pytest.fixture
def parts(tmp_path):
    found = create_app(Settings(home=tmp_path)).extensions[EXTENSION]
    for name in ("first", "second"):
        found.experiments.create_experiment(name, "DDQN_v1.0", "DDQN_v2.0")
    found.experiments.create_experiment("unguarded", "DDQN_v1.0", "DDQN_v2.0", guardrails={})
    found.experiments.create_experiment("paused", "DDQN_v1.0", "DDQN_v2.0")
    found.experiments.pause_experiment("paused")
    return found


@pytest.fixture
def judged(parts, monkeypatch):
    """The names of the experiments that are judged, in turn."""
    names = []
    monkeypatch.setattr(parts.experiments, "review", lambda name, *_: names.append(name))
    return names


def test_active_experiments_that_could_be_moved_are_judged_once_until_there_is_something_new(parts, judged):
    watch = ExperimentWatch(parts)
    watch.look()
    watch.look()
    assert sorted(judged) == ["first", "second"]


def test_only_the_holder_of_the_lease_judges(parts, judged):
    with locked(parts.settings.ab_config_file.with_name("experiments.lease")):
        ExperimentWatch(parts).look()
    assert judged == []
    ExperimentWatch(parts).look()
    assert sorted(judged) == ["first", "second"]


def test_whatever_is_wrong_with_one_experiment_the_others_are_judged_and_the_log_says_it_once(
    parts, monkeypatch, caplog
):
    names = []

    def review(name, *_):
        names.append(name)
        raise ZeroDivisionError("a defect of ours")

    monkeypatch.setattr(parts.experiments, "review", review)
    monkeypatch.setattr("scheduler_service.http.watch.watching.ANYWAY_EVERY_S", 0.0)
    watch = ExperimentWatch(parts)
    watch.look()
    watch.look()
    assert sorted(set(names)) == ["first", "second"]
    assert caplog.text.count("experiment first could not be judged: a defect of ours") == 1


def test_long_looks_are_followed_by_a_rest(parts, monkeypatch):
    names, now = [], SimpleNamespace(s=1_000.0)

    def review(name, *_):
        names.append(name)
        now.s += 0.05

    monkeypatch.setattr("scheduler_service.http.watch.watching.time", SimpleNamespace(monotonic=lambda: now.s))
    monkeypatch.setattr(parts.experiments, "review", review)
    monkeypatch.setattr("scheduler_service.http.watch.watching.ANYWAY_EVERY_S", 0.0)
    watch = ExperimentWatch(parts)
    for _ in range(4):  # the first tells nothing of the next, the second took long
        watch.look()
    assert names.count("first") == 2
    now.s += REST * 0.05
    watch.look()
    assert names.count("first") == 3

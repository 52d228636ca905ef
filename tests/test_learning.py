"""The environment, the network file, the agent, and a real (short) training run."""

import importlib
import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from gymnasium.utils.env_checker import check_env

from scheduler_env import SAMPLE_PARAMS, InvalidCheckpoint, standard_instance
from scheduler_env.agent import load_agent
from scheduler_env.batch import local
from scheduler_env.environment import SchedulingEnv
from scheduler_env.generator import random_instance
from scheduler_env.kernel import candidates, compile_instance, new_outlook, new_state, observe
from scheduler_env.network import QNetwork, read_checkpoint, save_checkpoint
from scheduler_env.observation import (
    CANDIDATE_FEATURES,
    N_CANDIDATE,
    STATE_FEATURES,
    new_workspace,
    score_candidates,
    state_value,
)
from scheduler_env.polishing import Evaluation, Polishing
from scheduler_env.random_numbers import new_random, uniform
from scheduler_env.replay_buffer import draw, new_episodes, play_episode, set_priority
from scheduler_env.rules import ALL_RULES, build
from scheduler_env.training import PolishingConfig, Training, TrainingConfig
from tests import preloaded
from tests.codes import coded
from tests.conftest import ROOT
from tests.waiting import HANG_S

SMALL = TrainingConfig(updates=30, batch_size=16, sizes=(1, 2), instances=4, replay_steps=2**12, hidden=(8, 8, 8))
SHOWN = SMALL.model_copy(update={"demonstrations": 0.5, "imitation": 0.3, "search_evaluations": 400})
SEED_MODELS = Path(__file__).parent.parent / "models" / "seed"


def _train(config: TrainingConfig, updates: int, training: Training | None = None) -> Training:
    training = training or Training(config)
    for _ in range(updates):
        training.step()
    return training


def _weights(training: Training) -> np.ndarray:
    return np.concatenate([value.numpy().ravel() for value in training.online.state_dict().values()])


# --- the environment ---


@pytest.mark.filterwarnings("ignore:.*Not able to test alternative render modes")
def test_without_gymnasium_the_environment_names_the_remedy(monkeypatch):
    monkeypatch.setitem(sys.modules, "gymnasium", None)
    monkeypatch.delitem(sys.modules, "scheduler_env.environment")
    with pytest.raises(ImportError, match="pip install gymnasium"):
        importlib.import_module("scheduler_env.environment")


def test_the_environment_fulfils_gymnasiums_contract():
    check_env(SchedulingEnv(standard_instance(SAMPLE_PARAMS)))


@pytest.mark.parametrize("seed", range(5))
def test_the_return_of_an_episode_is_the_initial_bound_minus_the_makespan(seed):
    environment = SchedulingEnv(lambda rng: random_instance(3, int(rng.integers(1_000))), max_candidates=500)
    observation, info = environment.reset(seed=seed)
    initial_bound_h, total, terminated = info["bound_h"], 0.0, False
    rng = np.random.default_rng(seed)
    while not terminated:
        action = rng.choice(np.flatnonzero(observation["action_mask"]))
        observation, reward, terminated, truncated, info = environment.step(action)
        assert reward <= 0.0
        assert not truncated
        total += reward
    assert environment.schedule().violations() == []
    assert total == pytest.approx(initial_bound_h - info["makespan_h"])


def test_a_masked_action_performs_the_last_candidate_and_reports_it():
    environment = SchedulingEnv(standard_instance(SAMPLE_PARAMS))
    observation, _ = environment.reset(seed=1)
    assert observation["action_mask"].sum() == 1  # only scaffolding, with the whole team
    _, _, _, _, info = environment.step(np.int64(environment.max_candidates - 1))
    assert info["masked"]
    assert info["activity"] == 0


def test_the_docstring_names_every_feature_in_order():
    import scheduler_env.observation as observation

    named = re.findall(r"^\| `(\w+)` \|", observation.__doc__ or "", flags=re.M)
    assert tuple(named) == CANDIDATE_FEATURES


# --- the network ---


def test_compiled_scores_equal_the_torch_networks_advantages_and_value():
    torch.manual_seed(5)
    network = QNetwork((16, 12, 8))
    environment = SchedulingEnv(random_instance(2, seed=3))
    observation, _ = environment.reset()
    problem = compile_instance(environment.instance)
    state, outlook = new_state(problem), new_outlook(problem)
    arrays = network.to_arrays()
    workspace = new_workspace(problem, arrays)
    observe(problem, state, outlook)
    count = candidates(problem, state, workspace.activity, workspace.mode)
    score_candidates(problem, state, outlook, arrays, workspace, float(state.clock[1]), count)
    rows = torch.from_numpy(observation["candidates"][:count])
    with torch.no_grad():
        expected = network.advantage(rows).squeeze(1).numpy()
        workspace.state[:] = observation["state"]
        value = float(network.value(torch.from_numpy(observation["state"])[None]))
        q = network(rows, torch.from_numpy(observation["state"])[None], torch.zeros(count, dtype=torch.int64))
    assert workspace.score[:count] == pytest.approx(expected, abs=1e-5)
    assert state_value(arrays, workspace) == pytest.approx(value, abs=1e-5)
    assert float(q.mean()) == pytest.approx(value, abs=1e-5)  # dueling: advantages average to zero


def test_a_saved_network_is_read_back(tmp_path):
    network = QNetwork((4, 4, 4))
    save_checkpoint(tmp_path / "x.pth", network, {"note": "hello"})
    back = read_checkpoint(tmp_path / "x.pth")
    assert back.training == {"note": "hello"}
    for name, value in network.state_dict().items():
        assert torch.equal(value, back.network.state_dict()[name])


def _nested(depth: int) -> list:
    """A list that is small in a file and whose text doubles with each level."""
    value: list = [0]
    for _ in range(depth):
        value = [value, value]
    return value


def _broken(change) -> dict:
    network = QNetwork((4, 4, 4))
    content = {
        "format": "ddqn-scheduler/1",
        "candidate_features": list(CANDIDATE_FEATURES),
        "state_features": list(STATE_FEATURES),
        "hidden": [4, 4, 4],
        "state_dict": network.state_dict(),
    }
    change(content)
    return content


@pytest.mark.parametrize(
    ("change", "check"),
    [
        (lambda c: c.update(format="other/9"), coded("checkpoint_format", found="'other/9'")),
        (
            lambda c: c.update(candidate_features=["x", *CANDIDATE_FEATURES[1:]]),
            coded("checkpoint_features_differ"),
        ),
        (lambda c: c.update(state_features=None), coded("checkpoint_features")),
        (lambda c: c.update(format=_nested(60)), coded("checkpoint_format", found="list")),
        (
            lambda c: c.update(candidate_features=_nested(60)),
            coded("checkpoint_features"),
        ),
        (lambda c: c.update(hidden=_nested(60)), coded("checkpoint_hidden")),
        (lambda c: c.update(hidden=[4, 4]), coded("checkpoint_hidden")),
        (lambda c: c.update(hidden=[4, 4, 10**9]), coded("checkpoint_hidden")),
        (lambda c: c.update(state_dict=[1, 2]), coded("checkpoint_without_tensors")),
        (lambda c: c["state_dict"].pop("value.0.bias"), coded("checkpoint_misfit")),
        (
            lambda c: c["state_dict"].update({"value.0.bias": torch.full((4,), float("nan"))}),
            coded("checkpoint_not_finite"),
        ),
        (lambda c: c["state_dict"].update({"value.0.bias": torch.zeros(5)}), coded("checkpoint_misfit")),
    ],
)
def test_an_invalid_file_is_refused_with_the_reason(tmp_path, change, check):
    torch.save(_broken(change), tmp_path / "x.pth")
    with pytest.raises(InvalidCheckpoint, check=check):
        load_agent(tmp_path / "x.pth")


class _Malicious:
    def __reduce__(self):
        return (Path.touch, (Path("/tmp/scheduler-pwned"),))


def test_a_pickle_with_code_is_refused_and_not_run(tmp_path):
    torch.save({"format": "ddqn-scheduler/1", "state_dict": _Malicious()}, tmp_path / "x.pth")
    with pytest.raises(InvalidCheckpoint, check=coded("checkpoint_unreadable")):
        load_agent(tmp_path / "x.pth")
    assert not Path("/tmp/scheduler-pwned").exists()


# --- replay ---


def test_steps_are_sampled_in_proportion_to_their_priority():
    episodes = new_episodes(16, 1)
    weights = {3: 1.0, 7: 2.0, 15: 5.0}
    for step, weight in weights.items():
        set_priority(episodes, step, weight)
    drawn = np.zeros(8_000, dtype=np.int64)
    draw(episodes, new_random(1), drawn)
    share = {step: float((drawn == step).mean()) for step in weights}
    assert share == pytest.approx({3: 0.125, 7: 0.25, 15: 0.625}, abs=0.002)


def test_the_generator_is_uniform_and_reproducible():
    random = new_random(7)
    numbers = np.array([uniform(random) for _ in range(20_000)])
    assert numbers.min() >= 0.0
    assert numbers.max() < 1.0
    assert numbers.mean() == pytest.approx(0.5, abs=0.01)
    again = new_random(7)
    assert [uniform(again) for _ in range(5)] == numbers[:5].tolist()


# --- training ---


def test_the_same_seed_trains_the_same_weights():
    assert np.array_equal(_weights(_train(SMALL, 10)), _weights(_train(SMALL, 10)))


def test_a_resumed_run_gives_the_result_of_an_uninterrupted_one(tmp_path):
    straight = _train(SMALL, 20)
    _train(SMALL, 8).save(tmp_path / "state.pt")
    resumed = _train(SMALL, 12, Training.resume(tmp_path / "state.pt", SMALL))
    assert np.array_equal(_weights(straight), _weights(resumed))


def test_resuming_with_another_configuration_is_refused(tmp_path):
    _train(SMALL, 1).save(tmp_path / "state.pt")
    with pytest.raises(ValueError, match="another configuration"):
        Training.resume(tmp_path / "state.pt", SMALL.model_copy(update={"n_step": 3}))


def test_targets_of_finished_episodes_are_the_following_return():
    config = SMALL.model_copy(update={"n_step": 1_000})
    training = Training(config)
    training.step()
    episodes, batch = training.episodes, training.batch
    for b in range(config.batch_size):
        step = batch.step[b]
        episode = episodes.step_episode[step]
        unit = training.pool.problems[int(episodes.problem[episode])].unit
        assert batch.target[b] == pytest.approx(
            (episodes.step_bound[step] - episodes.final[episode]) / unit, rel=1e-5, abs=1e-5
        )
        assert batch.row_at[b] <= batch.chosen[b] < batch.row_at[b + 1]
        assert batch.features.shape[1] == N_CANDIDATE


def test_a_demonstration_repeats_the_schedule_of_the_search_and_its_return_is_learned():
    training = Training(SHOWN.model_copy(update={"demonstrations": 1.0}))
    training.play(200)
    episodes, pool = training.episodes, training.pool
    for episode in range(int(episodes.head[0])):
        number = int(episodes.problem[episode])
        problem, best = pool.problems[number], training.demonstrations
        assert episodes.is_shown[episode]
        rules = min(build(problem, new_state(problem), rule) for rule in ALL_RULES)
        assert best.makespan_h[number] <= episodes.final[episode] + 1e-6 <= rules + 2e-6


def test_demonstrated_schedules_are_never_longer_and_reproduced_exactly():
    training = Training(SHOWN)
    shortest = np.inf
    for seed in range(4):
        mode, start = training.demonstrations.demonstrate(0, training.online_arrays, 400, seed)
        problem, state = training.pool.problems[0], training.pool.states[0]
        played_h = play_episode(
            training.episodes, 0, problem, state, training.pool.outlooks[0], training.online_arrays,
            training.pool.workspaces[0], 0.0, 0.0, training.random, mode, start,
        )  # fmt: skip
        assert np.array_equal(state.mode, mode)
        assert state.start == pytest.approx(start, abs=1e-6)
        assert played_h <= shortest + 1e-6
        shortest = played_h


def test_every_demonstrated_decision_is_a_candidate():
    training = Training(SHOWN)
    training.step()
    batch = training.batch
    assert batch.is_shown.any()
    assert batch.is_due[batch.chosen].all()


def test_a_run_with_demonstrations_resumes_like_an_uninterrupted_one(tmp_path):
    straight = _train(SHOWN, 12)
    _train(SHOWN, 5).save(tmp_path / "state.pt")
    resumed = _train(SHOWN, 7, Training.resume(tmp_path / "state.pt", SHOWN))
    assert np.array_equal(_weights(straight), _weights(resumed))


def test_the_command_line_trains_a_model_that_schedules(tmp_path):
    config = tmp_path / "config.json"
    config.write_text(json.dumps(SMALL.model_dump(mode="json")), encoding="utf-8")
    out = tmp_path / "best_model_v2.pth"
    command = [preloaded.python(), "-m", "scheduler_env.training", "--config", str(config), "--out", str(out)]
    done = subprocess.run(
        [*command, "--run-dir", str(tmp_path / "run"), "--validate-every", "15"],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parent.parent,
        timeout=HANG_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["update"] == SMALL.updates
    agent = load_agent(out)
    assert agent.training["config"] == SMALL.model_dump(mode="json")
    assert agent.solve(standard_instance(SAMPLE_PARAMS)).schedule.violations() == []
    assert (tmp_path / "run" / "learning_curve.png").stat().st_size > 10_000
    assert (tmp_path / "run" / "learning_curve.csv").read_text().count("\n") == 3


def test_several_seeds_are_trained_at_once_and_the_best_is_kept(tmp_path):
    config = tmp_path / "config.json"
    config.write_text(json.dumps(SMALL.model_dump(mode="json")), encoding="utf-8")
    out, runs = tmp_path / "best.pth", tmp_path / "runs"
    arguments = ["--config", str(config), "--out", str(out), "--run-dir", str(runs), "--validate-every", "15"]
    command = [preloaded.python(), "-m", "scheduler_env.training", *arguments, "--seeds", "3", "4"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=HANG_S, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    gaps = {}
    for seed in (3, 4):
        alone = SMALL.model_copy(update={"seed": seed})
        weights = runs / f"seed-{seed}" / "best.pth"
        resumed = Training.resume(runs / f"seed-{seed}" / "state.pt", alone)
        assert np.array_equal(_weights(resumed), _weights(_train(alone, SMALL.updates)))
        gaps[str(seed)] = load_agent(weights).training["mean_gap"]
    assert found["mean_gaps"] == gaps
    assert found["seed"] == int(min(gaps, key=gaps.__getitem__))
    assert out.read_bytes() == (runs / f"seed-{found['seed']}" / "best.pth").read_bytes()


# --- polishing ---

POLISHED = SMALL.model_copy(
    update={"polishing": PolishingConfig(generations=6, pairs=3, sizes=(1, 2), instances=4, workpoints=4)}
)


def _polish(generations: int, run: Polishing | None = None) -> Polishing:
    torch.manual_seed(1)
    run = run or Polishing(POLISHED, QNetwork((8, 8, 8)))
    for _ in range(generations):
        run.step()
    return run


def test_a_resumed_polishing_gives_the_result_of_an_uninterrupted_one(tmp_path):
    straight = _polish(6)
    _polish(2).save(tmp_path / "polishing.pt")
    resumed = _polish(0)
    resumed.resume(tmp_path / "polishing.pt")
    _polish(4, resumed)
    assert resumed.generation == straight.generation
    assert np.array_equal(resumed.weights, straight.weights)
    assert np.array_equal(resumed.mean, straight.mean)


def test_polishing_changes_the_advantages_and_not_the_value():
    torch.manual_seed(1)
    before, after = QNetwork((8, 8, 8)).state_dict(), _polish(6).polished().state_dict()
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    assert moved == {name for name in before if name.startswith("advantage.")}


def test_polishing_reduces_the_gap_of_its_instances():
    config = POLISHED.model_copy(
        update={"polishing": PolishingConfig(generations=60, sizes=(2,), instances=4, workpoints=8)}
    )
    torch.manual_seed(1)
    run = Polishing(config, QNetwork((8, 8, 8)))
    evaluation, everything = Evaluation(run.config, config.seed, run.network), np.arange(4)
    before = evaluation.gaps(run.weights, everything).mean()
    for _ in range(60):
        run.step()
    assert evaluation.gaps(run.mean, everything).mean() < before


def test_the_number_of_workers_does_not_change_the_polished_weights(monkeypatch):
    several = _polish(3)
    monkeypatch.setattr(local, "usable_cores", lambda: 1)
    assert np.array_equal(_polish(3).weights, several.weights)
    evaluation = Evaluation(several.config, POLISHED.seed, several.network)
    monkeypatch.setattr(
        Polishing,
        "_differences",
        lambda run: np.array([evaluation.difference(run.weights, run.generation, pair) for pair in range(3)]),
    )
    assert np.array_equal(_polish(3).weights, several.weights)  # in this process


# --- the shipped models ---


@pytest.mark.parametrize("name", ["ddqn_v1", "ddqn_v2"])
@pytest.mark.parametrize("n_workpoints", [1, 2, 5, 10, 20, 50])
def test_a_seed_model_schedules_any_size_validly_and_deterministically(name, n_workpoints):
    agent = load_agent(SEED_MODELS / f"{name}.pth")
    instance = random_instance(n_workpoints, seed=77)
    first, second = agent.solve(instance), agent.solve(instance)
    assert first.schedule.violations() == []
    assert [placed.start_h for placed in first.schedule.steps] == [placed.start_h for placed in second.schedule.steps]
    assert first.schedule.makespan_h >= first.lower_bound_h - 1e-9


def test_the_better_seed_model_solves_the_flagship_within_55_hours():
    agent = load_agent(SEED_MODELS / "ddqn_v2.pth")
    assert agent.solve(standard_instance(SAMPLE_PARAMS)).schedule.makespan_h <= 55.0


def test_a_time_budget_never_lengthens_a_schedule():
    agent = load_agent(SEED_MODELS / "ddqn_v1.pth")
    for seed in range(3):
        instance = random_instance(3, seed)
        greedy, improved = agent.solve(instance), agent.solve(instance, time_budget_ms=2_000, max_evaluations=500)
        assert improved.schedule.makespan_h <= greedy.schedule.makespan_h
        assert improved.evaluations > greedy.evaluations
        assert improved.schedule.violations() == []

"""Rollouts against the running service, with real models: nobody touches one until it has ended."""

import json
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch

from monitoring import PerformanceMonitor
from scheduler_env.agent import load_agent
from scheduler_env.network import read_checkpoint, save_checkpoint
from scheduler_env.standard_cycle import standard_instance
from tests.checkpoints import SEED
from tests.conftest import NEW_PROCESS, LiveService, live_service
from tests.waiting import until

pytestmark = pytest.mark.slow

ROLLOUT = {"stages": [0.2, 0.5, 1.0], "min_samples": 50, "min_hours": 0}
CLIENTS, BATCH = 4, 100


def params_of(user: int) -> list[float]:
    """The plant of a user: everybody has one of their own."""
    return [float(hours) for hours in np.random.default_rng(user).integers(2, 20, 15)]


def ask(service: LiveService, experiment: str, user: int) -> dict[str, object]:
    """What one user is answered; greedy schedules, so that models and not the search are compared."""
    answer = service.post(
        "/run_algorithm",
        json={"params": params_of(user), "experiment": experiment, "user_id": f"u{user}", "time_budget_ms": 0},
    )
    assert answer.status_code == 200, answer.text
    return answer.json()


def rollout_ends(service: LiveService, experiment: str, most_users: int) -> int:
    """Sends one request of each new user until the rollout has ended; how many were sent."""
    sent = 0

    def has_ended() -> bool:
        return service.get(f"/experiments/{experiment}").json()["experiment"]["status"] != "active"

    with ThreadPoolExecutor(CLIENTS) as clients:
        while sent < most_users:
            list(clients.map(lambda user: ask(service, experiment, user), range(sent, sent + BATCH)))
            sent += BATCH
            time.sleep(1.2)  # longer than the service usually takes to look; where it takes longer, more are sent
            if has_ended():
                return sent
    until(has_ended, lambda: json.dumps(service.get(f"/experiments/{experiment}/results").json(), indent=1)[:6_000])
    return sent


def history(service: LiveService, experiment: str) -> list[dict[str, object]]:
    return service.get(f"/experiments/{experiment}/history").json()["history"]


def exposed(service: LiveService, experiment: str) -> dict[str, int]:
    """Users by arm, from the database."""
    runs = PerformanceMonitor(service.home / "logs" / "performance.db").get_performance_data(experiment=experiment)
    return runs.groupby("variant")["user_id"].nunique().to_dict()


def worse_model(service: LiveService) -> str:
    """The key of the shipped model with noise on its weights: valid schedules, at least 8 % longer, still validated."""
    plants = [standard_instance(params_of(user)) for user in range(60)]
    good = np.array([load_agent(SEED).solve(plant).schedule.makespan_h for plant in plants])
    for seed in range(60):
        path = service.home / f"noisy_{seed}.pth"
        noisy(path, sigma=0.3, seed=seed)
        agent = load_agent(path)
        bad = np.array([agent.solve(plant).schedule.makespan_h for plant in plants])
        if np.exp(np.mean(np.log(bad / good))) < 1.08:
            continue
        body = {"model_path": str(path), "algorithm_name": "DDQN", "training_params": {"noise": seed}, "bump": "major"}
        key = service.post("/models/register", json=body).json()["model_key"]
        if service.post(f"/models/{key}/promote", json={"status": "validated"}).status_code == 200:
            return key
    pytest.fail("no noisy model is both worse and good enough to be validated")


def noisy(path: Path, sigma: float, seed: int) -> None:
    network, generator = read_checkpoint(SEED).network, torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weights in network.parameters():
            if weights.numel() > 1:
                weights += sigma * weights.std() * torch.randn(weights.shape, generator=generator)
    save_checkpoint(path, network, {"config": {"noise": sigma, "seed": seed}})


def test_a_model_made_worse_is_stopped_by_itself_during_the_first_stage(tmp_path):
    with live_service(tmp_path) as service:
        bad = worse_model(service)
        default = json.loads((tmp_path / "ab_test_config.json").read_text())["default_model"]
        body = {"experiment_name": "bad_ramp", "model_a": default, "model_b": bad, "rollout": ROLLOUT}
        assert service.post("/experiments", json=body).status_code == 201
        sent = rollout_ends(service, "bad_ramp", most_users=3_000)
        last = history(service, "bad_ramp")[-1]
        assert (last["event"], last["before"]) == ("aborted", {"status": "active", "stage": 0.2})
        # Whichever is certain first: that it is worse, or that it is so by more than the margin.
        said = {"rollout": "B is worse than A: makespan", "guardrail": "Guardrail breached: makespan"}
        assert said[last["actor"]] in last["reason"]
        users = exposed(service, "bad_ramp")
        assert users["model_b"] <= 0.3 * sent
        assert ask(service, "bad_ramp", 1)["experiment_info"]["reason"] == "experiment_not_active"
        assert {ask(service, "bad_ramp", user)["experiment_info"]["model_used"] for user in range(40)} != {bad}
        alerts = service.get("/alerts").json()["alerts"]
        assert [alert["experiment"] for alert in alerts if alert["name"] == "experiment_aborted"] == ["bad_ramp"]
        print(f"stopped after {sent} users; exposed: {users}")


def test_a_better_model_is_ramped_to_everyone_with_no_hand_on_it(tmp_path):
    (tmp_path / "ab_test_config.json").write_text('{"experiments": {}, "default_model": "DDQN_v1.0"}')
    with live_service(tmp_path) as service:
        body = {"experiment_name": "ramp", "model_a": "DDQN_v1.0", "model_b": "DDQN_v2.0", "rollout": ROLLOUT}
        assert service.post("/experiments", json=body).status_code == 201
        sent = rollout_ends(service, "ramp", most_users=6_000)
        lines = history(service, "ramp")
        assert [line["event"] for line in lines] == ["created", "advanced", "promoted"]
        assert [line["after"].get("stage") for line in lines] == ROLLOUT["stages"]
        assert all(min(line["figures"]["samples"].values()) >= ROLLOUT["min_samples"] for line in lines[1:])
        found = service.get("/models/DDQN_v2.0").json()["model"]
        assert (found["status"], "stable" in found["tags"]) == ("deployed", True)
        info = service.run(params=params_of(0), user_id="anybody")["experiment_info"]
        assert (info["model_used"], info["reason"]) == (found["model_key"], "default")
        print(f"promoted after {sent} users; exposed: {exposed(service, 'ramp')}")

        reverted = service.post("/experiments/ramp/revert", json={"reason": "a drill", "actor": "operator"})
        assert reverted.status_code == 200, reverted.text
        info = service.run(params=params_of(0), user_id="anybody")["experiment_info"]
        assert info["model_used"] == service.get("/models/DDQN_v1.0").json()["model"]["model_key"]
        assert "stable" in service.get("/models/DDQN_v1.0").json()["model"]["tags"]


def test_after_a_kill_in_the_middle_of_a_ramp_stage_arms_and_counts_are_right(tmp_path):
    (tmp_path / "ab_test_config.json").write_text('{"experiments": {}, "default_model": "DDQN_v1.0"}')
    answered: dict[int, tuple[object, object]] = {}
    stop = threading.Event()

    def client(service: LiveService, first: int) -> None:
        for user in range(first, 100_000, CLIENTS):
            if stop.is_set():
                return
            try:
                info = ask(service, "ramp", user)["experiment_info"]
            except Exception:  # the service was killed
                return
            answered[user] = (info["variant"], info["reason"])

    with live_service(tmp_path, command=NEW_PROCESS) as service:
        rollout = ROLLOUT | {"min_samples": 40}
        body = {"experiment_name": "ramp", "model_a": "DDQN_v1.0", "model_b": "DDQN_v2.0", "rollout": rollout}
        assert service.post("/experiments", json=body).status_code == 201
        clients = [threading.Thread(target=client, args=(service, first)) for first in range(CLIENTS)]
        for thread in clients:
            thread.start()
        until(lambda: len(history(service, "ramp")) >= 2)
        service.process.send_signal(signal.SIGKILL)
        service.process.wait()
        stop.set()
        for thread in clients:
            thread.join()

    stage = json.loads((tmp_path / "ab_test_config.json").read_text())["experiments"]["ramp"]["rollout"]["stage"]
    assert stage >= 1
    with live_service(tmp_path) as service:
        found = service.get("/experiments/ramp").json()["experiment"]
        lines = history(service, "ramp")
        assert lines[-1]["after"] == {"status": found["status"], "stage": ROLLOUT["stages"][stage]}
        assert len({line["id"] for line in lines}) == len(lines) == stage + 1
        runs = PerformanceMonitor(tmp_path / "logs" / "performance.db").get_performance_data(experiment="ramp")
        recorded = {int(user[1:]) for user in runs["user_id"]}
        assert set(answered) <= recorded, "an answered run is missing"
        assert len(recorded - set(answered)) <= CLIENTS  # recorded, and killed before the answer left
        results = service.get("/experiments/ramp/results").json()["results"]
        for arm in ("model_a", "model_b"):
            assert results["total_requests"][arm] == int((runs["variant"] == arm).sum())
        for user, (variant, _) in list(answered.items())[:200]:
            if variant is not None:  # nobody has left an arm
                url = f"/experiments/ramp/assignment?user_id=u{user}"
                assert service.get(url).json()["assignment"]["variant_while_active"] == variant

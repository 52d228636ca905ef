"""Six rollouts against a real service over HTTP with real models: `python -m benchmarks.experiments --live`.

A process of the service over a folder of its own, requests one after the other, shadow as by default, `min_hours` 0:
what is compressed is the time between requests. The candidates: the shipped v2 instead of v1; v2 with noise on its
weights; a model whose weights are lost, so that another one has to answer.
"""

import json
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from benchmarks.experiments.populations import rng_of
from benchmarks.experiments.tables import Figures
from benchmarks.machine import markdown_table, write_results
from benchmarks.servers import WEIGHTS
from monitoring import PerformanceMonitor
from scheduler_env.agent import load_agent
from scheduler_env.network import read_checkpoint, save_checkpoint
from scheduler_env.standard_cycle import standard_instance
from scheduler_service.experiments.ramp import SHORT_STAGES
from scheduler_service.experiments.rollout import DEFAULT_STAGES
from tests.conftest import LiveService, live_service

NOISE = 0.3
"""Of the weights' standard deviation."""
BASELINE, BETTER = "DDQN_v1.0", "DDQN_v2.0"
MOST_DAYS, REQUESTS_A_DAY = 4, 5
EXPERIMENT = "ramp"
LOOK_S = 2.5
"""The service looks at new runs within about a second, later on a busy machine."""
SERVICES = {50: SHORT_STAGES, 200: DEFAULT_STAGES}


def worse_model(service: LiveService) -> str:
    """The key of v2 with noise on its weights: schedules are at least 8 % longer, and still good enough to validate."""
    rng = np.random.default_rng(60)
    plants = [standard_instance([float(hours) for hours in rng.integers(2, 20, 15)]) for _ in range(60)]
    good = np.array([load_agent(WEIGHTS).solve(plant).schedule.makespan_h for plant in plants])
    for seed in range(60):
        path = service.home / f"noisy_{seed}.pth"
        network, generator = read_checkpoint(WEIGHTS).network, torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for weights in network.parameters():
                if weights.numel() > 1:
                    weights.add_(NOISE * weights.std() * torch.randn(weights.shape, generator=generator))
        save_checkpoint(path, network, {"config": {"noise": NOISE, "seed": seed}})
        agent = load_agent(path)
        bad = np.array([agent.solve(plant).schedule.makespan_h for plant in plants])
        if np.exp(np.mean(np.log(bad / good))) < 1.08:
            continue
        body = {"model_path": str(path), "algorithm_name": "DDQN", "training_params": {"noise": seed}, "bump": "major"}
        key = str(service.post("/models/register", json=body).json()["model_key"])
        if service.post(f"/models/{key}/promote", json={"status": "validated"}).status_code == 200:
            return key
    raise RuntimeError("no noisy model is both worse and good enough to be validated")


@dataclass(frozen=True)
class Case:
    """One rollout; `prepare` answers the candidate's name."""

    name: str
    prepare: Callable[[LiveService], str]
    loses_weights: bool = False


CASES = (
    Case("fails always", lambda _: BETTER, loses_weights=True),
    Case("worse: noise on the weights", worse_model),
    Case("better: v2 instead of v1", lambda _: BETTER),
)


def main(command: str) -> int:
    """Runs the six, writes results/experiments_live.{md,json}."""
    found = {f"{users} users, {case.name}": rollout(case, users) for users in SERVICES for case in CASES}
    rows = [
        [
            name,
            ", ".join(f"{stage:g}" for stage in each["stages"]),
            each["ended"],
            "-" if each["requests"] is None else f"{each['requests']:,}",
            "-" if each["days"] is None else f"{each['days']:.2f}",
            f"{each['exposed']:,}",
            f"{each['pairs']:,}",
        ]
        for name, each in found.items()
    ]
    header = ["service and candidate", "stages", "ended", "requests", "days", "of them the candidate's", "pairs"]
    text = "\n\n".join(["# Rollouts through the doors", TEXT, markdown_table(header, rows)])
    write_results("experiments_live", command, text, {"rollouts": found})
    print(text)
    return 0


TEXT = (
    "Live: a process of the service, its HTTP doors, real models and plants of one work point, greedy schedules "
    "(`time_budget_ms` 0), shadow pairs as by default, its own decisions about a second after new runs. "
    f"Compressed: the same users come {REQUESTS_A_DAY} times a day, one request after the other, at most {MOST_DAYS} "
    "days of them; `min_hours` is 0, so that a stage is left as soon as the figures allow it. `days` are those that "
    "so many requests would take. One run each."
)


def rollout(case: Case, users: int) -> Figures:
    """One rollout until it ends, or the days are over."""
    home = Path(tempfile.mkdtemp(prefix="experiments-live-"))
    (home / "ab_test_config.json").write_text(json.dumps({"experiments": {}, "default_model": BASELINE}))
    body = {
        "experiment_name": EXPERIMENT,
        "model_a": BASELINE,
        "duration_days": 30,
        "rollout": {"stages": list(SERVICES[users]), "min_hours": 0},
    }
    try:
        with _prepared(case, home, body) as service:
            requests, ended = _drive(service, users)
        pairs = len(PerformanceMonitor(home / "logs" / "performance.db", reports_dir=home).get_pairs(EXPERIMENT))
        runs = PerformanceMonitor(home / "logs" / "performance.db", reports_dir=home).get_performance_data(
            experiment=EXPERIMENT
        )
    finally:
        shutil.rmtree(home, ignore_errors=True)
    return {
        "stages": list(SERVICES[users]),
        "ended": ended,
        "requests": requests,
        "days": None if requests is None else requests / (users * REQUESTS_A_DAY),
        "exposed": int(runs["variant"].eq("model_b").sum()),
        "pairs": pairs,
    }


@contextmanager
def _prepared(case: Case, home: Path, body: Figures) -> Iterator[LiveService]:
    """The service with its rollout; where the candidate's weights are lost they are so before anybody asks."""
    with live_service(home) as service:
        answer = service.post("/experiments", json=body | {"model_b": case.prepare(service)})
        if answer.status_code != 201:
            raise RuntimeError(f"the rollout was not created: {answer.text}")
        if not case.loses_weights:
            yield service
            return
    for weights in (home / "models" / "models").glob("*_v2.0.0*"):
        weights.unlink()
    with live_service(home) as service:
        yield service


def _drive(service: LiveService, users: int) -> tuple[int | None, str]:
    """(requests sent until it ended, how it ended); None where it did not."""
    rng = rng_of("live", str(users))
    sent, next_look = 0, 10
    for _ in range(MOST_DAYS):
        for user in rng.permutation(np.repeat(np.arange(users), REQUESTS_A_DAY)):
            service.run(
                params=[float(hours) for hours in rng.integers(2, 20, 15)],
                experiment=EXPERIMENT,
                user_id=f"planner_{user}",
                time_budget_ms=0,
            )
            sent += 1
            if sent >= next_look:
                time.sleep(LOOK_S)
                next_look = max(sent + 10, int(1.1 * sent))
                ended = _ended(service)
                if ended:
                    return sent, ended
    time.sleep(3.0 * LOOK_S)
    ended = _ended(service)
    return (sent, ended) if ended else (None, "not within these days")


def _ended(service: LiveService) -> str:
    last = service.get(f"/experiments/{EXPERIMENT}/history").json()["history"][-1]
    if last["event"] not in ("aborted", "promoted"):
        return ""
    return f"{last['event']} by {last['actor']} at {last['before'].get('stage')}"

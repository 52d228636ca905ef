"""Compile everything that serving, rules and training call, so that the first start is as quick as the second."""

import sys
import time

import numpy as np


def compile_everything() -> None:
    """Run each compiled path once on a tiny instance; numba keeps the machine code on disk."""
    began = time.monotonic()
    from scheduler_env.agent import Agent
    from scheduler_env.environment import SchedulingEnv
    from scheduler_env.network import QNetwork, signature_of
    from scheduler_env.rules import RULES, Rule, solve_by_rule
    from scheduler_env.standard_cycle import SAMPLE_PARAMS, standard_instance
    from scheduler_env.training import Training, TrainingConfig

    instance = standard_instance(SAMPLE_PARAMS)
    network = QNetwork((8, 8, 8))
    Agent(network.to_arrays(), signature_of(network), {}).solve(
        instance, time_budget_ms=600_000.0, max_evaluations=1_000
    )
    for name in RULES:
        solve_by_rule(instance, Rule(name, 0.5, "parallel"))
    solve_by_rule(instance, Rule("LFT", 0.5, "serial"))
    environment = SchedulingEnv(instance)
    environment.reset(seed=0)
    environment.step(np.int64(0))
    Training(TrainingConfig(updates=1, batch_size=4, sizes=(1,), instances=1, replay_steps=2**12)).step()
    print(f"kernel ready after {time.monotonic() - began:.1f} s", file=sys.stderr)

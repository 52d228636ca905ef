"""Compile everything that serving, rules and training call, so that the first start is as quick as the second."""

import argparse
import math
import multiprocessing
import os
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from scheduler_env.errors import InvalidCheckpoint


def main() -> None:
    """`python -m scheduler_env.kernel`."""
    parser = argparse.ArgumentParser(
        prog="python -m scheduler_env.kernel",
        description="Compile the kernel, so that the first start is as quick as the second. It takes about a minute, "
        "and seconds when it is there already.",
    )
    parser.add_argument(
        "weights", nargs="*", type=Path, help="checkpoints (.pth) that are to be loaded without torch later on"
    )
    weights: list[Path] = parser.parse_args().weights
    if absent := [str(path) for path in weights if not path.is_file()]:
        parser.error(f"there is no file {', '.join(absent)}")
    try:
        compile_everything(weights)
    except InvalidCheckpoint as err:
        parser.exit(1, f"{parser.prog}: {err}\n")


def compile_everything(checkpoints: Iterable[Path] = ()) -> None:
    """Run each compiled path once on a tiny instance; numba keeps the machine code on disk.

    Args:
        checkpoints: files that are to be loaded quickly later on.
    """
    began = time.monotonic()
    from scheduler_env.agent import Agent, load_agent
    from scheduler_env.environment import SchedulingEnv
    from scheduler_env.improvement import improve
    from scheduler_env.incumbent import nothing_yet
    from scheduler_env.kernel import compile_instance, new_state, new_view
    from scheduler_env.network import QNetwork, signature_of
    from scheduler_env.observation import new_workspace
    from scheduler_env.rollout import new_random, roll_out
    from scheduler_env.standard_cycle import SAMPLE_PARAMS, standard_instance
    from scheduler_env.training import Training, TrainingConfig

    instance = standard_instance(SAMPLE_PARAMS)
    network = QNetwork((8, 8, 8))
    agent = Agent(network.to_arrays(), signature_of(network), {})
    problem = compile_instance(instance)
    with _another_process_compiling_the_search():
        workspace = new_workspace(problem, agent.network)
        roll_out(problem, new_state(problem), new_view(problem), agent.network, workspace, 0.0, 0.0, new_random(0))
        # The rules' schedule is proved to be optimal, which would end the search before it began: hence no bound.
        improve(
            problem,
            agent.network,
            nothing_yet(problem),
            lower_bound_h=0.0,
            deadline_s=math.inf,
            max_evaluations=1_000,
        )
    compile_search()  # what the other one kept, or could not
    agent.solve(instance, time_budget_ms=600_000.0, max_evaluations=1_000)
    environment = SchedulingEnv(instance)
    environment.reset(seed=0)
    environment.step(np.int64(0))
    Training(TrainingConfig(updates=1, batch_size=4, sizes=(1,), instances=1, replay_steps=2**12)).step()
    for path in checkpoints:
        load_agent(path)
    print(f"kernel ready after {time.monotonic() - began:.1f} s", file=sys.stderr)


def compile_search() -> None:
    """The half of it that knows no network: bounds, priority rules, the genetic algorithms."""
    from scheduler_env.alternating import SIZES, alternating_search
    from scheduler_env.bounds import bound_with_parts, lower_bound
    from scheduler_env.decomposition import PART_NODES, decompose, take_parts
    from scheduler_env.generator import random_instance
    from scheduler_env.genetic import evolve
    from scheduler_env.incumbent import nothing_yet
    from scheduler_env.interleaving import bound_by_orders
    from scheduler_env.kernel import compile_instance
    from scheduler_env.rollout import new_random
    from scheduler_env.rules import improve_by_rules
    from scheduler_env.standard_cycle import SAMPLE_PARAMS, standard_instance

    problem = compile_instance(standard_instance(SAMPLE_PARAMS))
    lower_bound(problem)
    incumbent = nothing_yet(problem)
    improve_by_rules(problem, incumbent)
    parts = decompose(problem, PART_NODES)
    bound_with_parts(problem, parts)
    take_parts(problem, parts, incumbent)
    bound_by_orders(compile_instance(random_instance(2, 0)), 0.0, math.inf, math.inf, max_programs=1)
    evolve(problem, incumbent, lower_bound_h=0.0, deadline_s=math.inf, max_evaluations=incumbent.evaluations + 30)
    alternating_search(problem, incumbent, new_random(0), 0.0)(2 * SIZES[0])


@contextmanager
def _another_process_compiling_the_search() -> Iterator[None]:
    """The compiler keeps one core busy for over a minute; with a second core there are two of them."""
    if os.cpu_count() == 1:
        yield
        return
    other = multiprocessing.get_context("spawn").Process(target=compile_search)
    other.start()
    try:
        yield
    finally:
        other.join()

"""Compile everything that serving and training call: `python -m scheduler_env.warm_up`.

It imports the whole science package; no module imports it.
"""

import argparse
import math
import multiprocessing
import os
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from scheduler_env.errors import InvalidCheckpoint


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m scheduler_env.warm_up",
        description="Compile the kernel, so that the service starts without compiling. This takes one to two minutes, "
        "and a few seconds if the kernel is already compiled.",
    )
    parser.add_argument("weights", nargs="*", type=Path, help="checkpoints (.pth) to convert for loading without torch")
    weights: list[Path] = parser.parse_args().weights
    if absent := [str(path) for path in weights if not path.is_file()]:
        parser.error(f"file not found: {', '.join(absent)}")
    try:
        compile_everything(weights)
    except InvalidCheckpoint as err:
        parser.exit(1, f"{parser.prog}: {err}\n")


def compile_everything(checkpoints: Iterable[Path] = ()) -> None:
    """Run each compiled function once on a small instance; numba stores the machine code on disk.

    Args:
        checkpoints: weights files to convert for loading without torch.
    """
    began = time.monotonic()
    from scheduler_env.agent import Agent, load_agent
    from scheduler_env.improvement import improve
    from scheduler_env.incumbent import empty_incumbent
    from scheduler_env.kernel import compile_instance, new_outlook, new_state
    from scheduler_env.network import QNetwork, signature_of
    from scheduler_env.observation import new_workspace
    from scheduler_env.policy import run_policy
    from scheduler_env.random_numbers import new_random
    from scheduler_env.standard_cycle import SAMPLE_PARAMS, standard_instance
    from scheduler_env.training import Training, TrainingConfig

    instance = standard_instance(SAMPLE_PARAMS)
    q_network = QNetwork((8, 8, 8))
    network = q_network.to_arrays()
    agent = Agent(network, signature_of(q_network), {})
    problem = compile_instance(instance)
    with _another_process_compiling_the_search():
        state, outlook, workspace = new_state(problem), new_outlook(problem), new_workspace(problem, network)
        run_policy(problem, state, outlook, network, workspace, 0.0, 0.0, new_random(0))
        # Without a bound: the priority rules find a proven optimum of this instance, which would end the search.
        improve(
            problem, network, empty_incumbent(problem), lower_bound_h=0.0, deadline_s=math.inf, max_evaluations=1_000
        )
    compile_search()  # loads what the other process has compiled, and compiles the rest
    agent.solve(instance, time_budget_ms=600_000.0, max_evaluations=1_000)
    Training(TrainingConfig(updates=1, batch_size=4, sizes=(1,), instances=1, replay_steps=2**12)).step()
    for path in checkpoints:
        load_agent(path)
    print(f"kernel ready after {time.monotonic() - began:.1f} s", file=sys.stderr)


def compile_search() -> None:
    """Compile the functions that do not use the network: bounds, priority rules, genetic algorithms."""
    from scheduler_env.alternating import SIZES, alternating_search
    from scheduler_env.bounds import bound_with_parts, lower_bound
    from scheduler_env.decomposition import PART_NODES, decompose, take_parts
    from scheduler_env.generator import random_instance
    from scheduler_env.genetic import evolve
    from scheduler_env.incumbent import empty_incumbent
    from scheduler_env.interleaving import bound_by_orders
    from scheduler_env.kernel import compile_instance
    from scheduler_env.random_numbers import new_random
    from scheduler_env.rules import improve_by_rules
    from scheduler_env.standard_cycle import SAMPLE_PARAMS, standard_instance

    problem = compile_instance(standard_instance(SAMPLE_PARAMS))
    lower_bound(problem)
    incumbent = empty_incumbent(problem)
    improve_by_rules(problem, incumbent)
    parts = decompose(problem, PART_NODES)
    bound_with_parts(problem, parts)
    take_parts(problem, parts, incumbent)
    bound_by_orders(compile_instance(random_instance(2, 0)), 0.0, math.inf, math.inf, max_programs=1)
    evolve(problem, incumbent, lower_bound_h=0.0, deadline_s=math.inf, max_evaluations=incumbent.evaluations + 30)
    alternating_search(problem, incumbent, new_random(0), 0.0)(2 * SIZES[0])


@contextmanager
def _another_process_compiling_the_search() -> Iterator[None]:
    """Compile the search in a second process within the block, if there is a second core."""
    if os.cpu_count() == 1:
        yield
        return
    other = multiprocessing.get_context("spawn").Process(target=compile_search)
    other.start()
    try:
        yield
    finally:
        other.join()


if __name__ == "__main__":
    main()

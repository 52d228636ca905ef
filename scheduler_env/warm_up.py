"""Compile everything that serving and training call: `python -m scheduler_env.warm_up`.

There are three stages: what the first answers need, what serving needs, and training. Each stage includes the one
before; only training needs PyTorch. This module imports the whole science package; no module imports it.
"""

import argparse
import hashlib
import math
import multiprocessing
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from scheduler_env.compilation import compiling
from scheduler_env.errors import InvalidCheckpoint
from scheduler_env.shared_cache import give, take

if TYPE_CHECKING:
    from scheduler_env.agent import Agent
    from scheduler_env.kernel import Problem
    from scheduler_env.problem import Instance

FIRST, SERVING, TRAINING = STAGES = ("first", "serving", "training")


def main() -> None:
    """`python -m scheduler_env.warm_up`."""
    parser = argparse.ArgumentParser(
        prog="python -m scheduler_env.warm_up",
        description="Compile the kernel, so that the service starts without compiling. This takes one to two minutes, "
        "and a few seconds if the kernel is already compiled.",
    )
    parser.add_argument("weights", nargs="*", type=Path, help="checkpoints (.pth) to convert for loading without torch")
    parser.add_argument("--until", choices=STAGES, default=TRAINING, help="the last stage (default: training)")
    parser.add_argument(
        "--share",
        action="store_true",
        help="use what another checkout of these sources compiled, and keep a copy in ~/.cache",
    )
    options = parser.parse_args()
    weights: list[Path] = options.weights
    if absent := [str(path) for path in weights if not path.is_file()]:
        parser.error(f"file not found: {', '.join(absent)}")
    began = time.monotonic()
    try:
        with compiling():
            if options.share:
                take()
            compile_everything(weights, until=options.until)
            if options.share and options.until == TRAINING:
                give()
    except InvalidCheckpoint as err:
        parser.exit(1, f"{parser.prog}: {err}\n")
    print(f"kernel ready for {options.until} after {time.monotonic() - began:.1f} s", file=sys.stderr)


def compile_everything(checkpoints: Sequence[Path] = (), *, until: str = TRAINING) -> None:
    """Run each compiled function once on a small instance; numba stores the machine code on disk.

    Args:
        checkpoints: weights files to convert for loading without torch.
        until: the last of `STAGES`.
    """
    for path in checkpoints:
        keep_packed(path)
    compile_first()
    if until != FIRST:
        compile_serving()
    if until == TRAINING:
        compile_training()
        for path in checkpoints:
            _load(path)


def compile_first() -> None:
    """What schedules one work point and registers the shipped models, in two processes."""
    from scheduler_env.bounds import bound_by_heads_and_tails, lower_bound
    from scheduler_env.kernel import new_outlook, new_state
    from scheduler_env.observation import new_workspace
    from scheduler_env.policy import run_policy
    from scheduler_env.random_numbers import new_random

    agent, instance, problem = _sample()
    with _another_process(compile_parts):
        bound_by_heads_and_tails(problem)
        workspace = new_workspace(problem, agent.network)
        run_policy(problem, new_state(problem), new_outlook(problem), agent.network, workspace, 0.0, 0.0, new_random(0))
    agent.solve(instance, time_budget_ms=600_000.0, max_evaluations=1_000)
    lower_bound(problem)


def compile_parts() -> None:
    """The decomposition into parts that are proved; and priority rules, which new models are measured against."""
    from scheduler_env.decomposition import PART_NODES, decompose
    from scheduler_env.kernel import new_state
    from scheduler_env.rules import Rule, build

    _, _, problem = _sample()
    decompose(problem, PART_NODES)
    build(problem, new_state(problem), Rule("LFT", 0.0, "parallel"))


def compile_serving() -> None:
    """What schedules any plant: priority rules in one process, the improvement of schedules in another."""
    from scheduler_env.improvement import improve
    from scheduler_env.incumbent import empty_incumbent

    agent, _, problem = _sample()
    with _another_process(compile_search):
        # Without a bound: the priority rules find a proven optimum of this instance, which would end the search.
        improve(
            problem,
            agent.network,
            empty_incumbent(problem),
            lower_bound_h=0.0,
            deadline_s=math.inf,
            max_evaluations=1_000,
        )
    compile_search()  # what the other one kept, or could not
    compile_replans()


def compile_replans() -> None:
    """Plans from where things stand that move little, and plans with due dates."""
    from scheduler_env.replan.progress import Placement, Status

    agent, instance, _ = _sample()
    published = {step.id: Placement(float(number), None) for number, step in enumerate(instance.steps)}
    again = instance.with_status(Status(data_date_h=1.0, published=published))
    dated = replace(instance, workpoints=tuple(replace(each, due_h=1.0) for each in instance.workpoints))
    for each in (again, dated):
        agent.solve(each, time_budget_ms=600_000.0, max_evaluations=1_000)


def compile_search() -> None:
    """The half of it that knows no network: bounds, priority rules, the genetic algorithms."""
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


def compile_training() -> None:
    """The training of a network."""
    from scheduler_env.training import Training, TrainingConfig

    Training(TrainingConfig(updates=1, batch_size=4, sizes=(1,), instances=1, replay_steps=2**12)).step()


def packed_file(checkpoint: Path) -> Path:
    """Where the packed weights of a checkpoint ship with it, if they do; its digest says which checkpoint it was."""
    return checkpoint.parent / "packed" / f"{hashlib.sha256(checkpoint.read_bytes()).hexdigest()}.weights"


def keep_packed(checkpoint: Path) -> None:
    """Keep the packed weights that ship with a checkpoint, so that PyTorch never has to read it.

    Raises:
        InvalidCheckpoint: they are damaged or not of this version.
    """
    from scheduler_env.weights import store_cached

    packed = packed_file(checkpoint)
    if packed.exists():
        store_cached(checkpoint.read_bytes(), packed.read_bytes())


def _load(checkpoint: Path) -> None:
    from scheduler_env.agent import load_agent

    load_agent(checkpoint)


def _sample() -> "tuple[Agent, Instance, Problem]":
    """A small network, the sample request, and the same for compiled code."""
    import numpy as np

    from scheduler_env.agent import Agent
    from scheduler_env.kernel import compile_instance
    from scheduler_env.observation import Network
    from scheduler_env.standard_cycle import SAMPLE_PARAMS, standard_instance
    from scheduler_env.weights import shapes_of, signature_of_sizes

    sizes = (8, 8, 8)
    instance = standard_instance(SAMPLE_PARAMS)
    network = Network(*(np.zeros(shape, dtype=np.float32) for shape in shapes_of(sizes)))
    return Agent(network, signature_of_sizes(sizes), {}), instance, compile_instance(instance)


@contextmanager
def _another_process(work: Callable[[], None]) -> Iterator[None]:
    """The compiler keeps one core busy for over a minute; with a second core there are two of them."""
    if os.cpu_count() == 1:
        yield
        return
    other = multiprocessing.get_context("spawn").Process(target=work)
    other.start()
    try:
        yield
    finally:
        other.join()


if __name__ == "__main__":
    main()

"""Polish a trained network: `python -m scheduler_env.polishing --config ddqn_v2.json --weights in.pth --out out.pth`.

Q-learning fits values, so the order of nearly equal candidates keeps changing after the loss has converged. Evolution
strategies (Salimans et al. 2017, antithetic) minimise the objective itself, the makespan of the greedy schedule. They
change only the advantage head, which makes the decisions, along an estimate of the gradient from random directions.
All random numbers follow from the configuration and the number of the generation, so a resumed run gives the same
result as an uninterrupted one.
"""

import math
import sys
from collections.abc import Iterable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numba
import numpy as np
import numpy.typing as npt
import torch
from tqdm import tqdm

from scheduler_env.batch import input_file, keep, map_all
from scheduler_env.bounds import lower_bound
from scheduler_env.compilation import compiled
from scheduler_env.kernel import Floats, Ints, Outlook, Problem, SimulationState, makespan
from scheduler_env.network import QNetwork, read_checkpoint, save_atomically, save_checkpoint
from scheduler_env.observation import Network, Workspace
from scheduler_env.policy import run_policy
from scheduler_env.pool import Pool, layout
from scheduler_env.random_numbers import RandomState, new_random
from scheduler_env.training import (
    PolishingConfig,
    TrainingConfig,
    Validation,
)
from scheduler_env.training_options import command_parser, config_in, reported_errors

VALIDATION_SIZES = (1, 2, 5, 10, 20)


Weights = npt.NDArray[np.float32]


class Draw(NamedTuple):
    """What a generation draws at random."""

    numbers: Ints  # of the instances in the pool
    size_of: Ints  # of each instance, the index of its size
    directions: Weights  # shape (pairs, weights), standard normal


def draw(config: PolishingConfig, generation: int, n_weights: int) -> Draw:
    """Random directions, and random instances with about the same number of work points per size."""
    rng = np.random.default_rng([config.seed, generation])
    sizes, per_size = layout(config.sizes, config.instances)
    numbers, size_of = [], []
    for index, size in enumerate(sizes):
        count = max(1, min(config.workpoints // size, per_size))
        numbers.append(index * per_size + rng.choice(per_size, count, replace=False))
        size_of.append(np.full(count, index))
    directions = rng.standard_normal((config.pairs, n_weights), dtype=np.float32)
    return Draw(np.concatenate(numbers), np.concatenate(size_of), directions)


def scale_of(network: QNetwork) -> Weights:
    """The unit of a step for each weight of the advantage head: the standard deviation of its layer."""
    each = [np.full(p.numel(), max(float(p.detach().std()), 0.05)) for p in network.advantage.parameters()]
    return np.concatenate(each).astype(np.float32)


class Evaluation:
    """The instances of a polishing run, and the gaps of the network on them with any weights of its advantage head."""

    def __init__(self, config: PolishingConfig, pool_seed: int, network: QNetwork) -> None:
        self.config, self.network, self._scale = config, network, scale_of(network)
        self._pool = Pool(config.sizes, config.instances, pool_seed, network.to_arrays())
        self._bounds_h = np.array([float(lower_bound(problem)) for problem in self._pool.problems])

    def difference(self, weights: Weights, generation: int, pair: int) -> Floats:
        """Mean gap after a step along the direction `pair` minus that after the opposite step, by size."""
        drawn = draw(self.config, generation, weights.size)
        step = self.config.noise * self._scale * drawn.directions[pair]
        difference = self.gaps(weights + step, drawn.numbers) - self.gaps(weights - step, drawn.numbers)
        return np.bincount(drawn.size_of, difference) / np.bincount(drawn.size_of)

    def gaps(self, weights: Weights, numbers: Ints) -> Floats:
        """Gaps (shares) of the greedy schedules with these weights to the lower bound, one per instance."""
        load_advantage(self.network, weights)
        pool, hours = self._pool, np.empty(numbers.size)
        network, unused = self.network.to_arrays(), new_random(0)
        _greedy(pool.problems, pool.states, pool.outlooks, pool.workspaces, numbers, network, unused, hours)
        gaps: Floats = hours / self._bounds_h[numbers] - 1.0
        return gaps


def difference_chunk(chunk: dict[str, Any]) -> list[float]:
    """A chunk of batch work: `Evaluation.difference` of one pair."""
    evaluation = _evaluation(chunk["config"], chunk["pool_seed"], tuple(chunk["hidden"]), chunk["network"])
    weights = np.frombuffer(input_file(chunk["weights"]).read_bytes(), dtype=np.float32)
    difference: list[float] = evaluation.difference(weights, chunk["generation"], chunk["pair"]).tolist()
    return difference


@lru_cache(maxsize=1)
def _evaluation(config: str, pool_seed: int, hidden: tuple[int, int, int], network: str) -> Evaluation:
    torch.set_num_threads(1)
    trained = QNetwork(hidden)
    vector = np.frombuffer(input_file(network).read_bytes(), dtype=np.float32)
    torch.nn.utils.vector_to_parameters(torch.from_numpy(vector.copy()), trained.parameters())
    return Evaluation(PolishingConfig.model_validate_json(config), pool_seed, trained)


def load_advantage(network: QNetwork, weights: Weights) -> None:
    """Give the advantage head of `network` these weights."""
    vector = torch.from_numpy(weights.astype(np.float32))
    torch.nn.utils.vector_to_parameters(vector, network.advantage.parameters())


def _vector(parameters: Iterable[torch.Tensor]) -> Weights:
    found: Weights = torch.nn.utils.parameters_to_vector(parameters).detach().numpy().copy()
    return found


class Polishing:
    """A polishing run that can be stepped, saved and resumed. Workers of `scheduler_env.batch` compute the gaps."""

    def __init__(self, config: TrainingConfig, network: QNetwork) -> None:
        if config.polishing is None:
            raise ValueError("the configuration has no `polishing`")
        self.config: PolishingConfig = config.polishing
        self.network = network
        self.weights = _vector(network.advantage.parameters())
        self.mean = self.weights.copy()  # running mean of the weights; validated and saved
        # Running means of the gradient estimate and of its mean square (as in Adam).
        self.slope, self.power = np.zeros_like(self.weights), 0.0
        self.generation = 0
        self._scale = scale_of(network)
        self._about: dict[str, Any] = {
            "config": self.config.model_dump_json(),
            "pool_seed": config.seed,
            "hidden": network.hidden,
            "network": keep(_vector(network.parameters()).tobytes()),
        }

    def step(self) -> None:
        """One generation: estimate the gradient from pairs of opposite steps on the same instances, then descend."""
        config = self.config
        directions = draw(config, self.generation, self.weights.size).directions
        worse = self._differences()
        # Normalised, so that each size has the same weight whatever its gaps.
        scores = (worse / np.maximum(worse.std(axis=0), 1e-9)).sum(axis=1)
        slope = (scores @ directions / config.pairs).astype(np.float32)
        self.generation += 1
        self.slope = 0.9 * self.slope + 0.1 * slope
        self.power = 0.99 * self.power + 0.01 * float((slope**2).mean())
        size = config.step * 0.5 * (1.0 + math.cos(math.pi * self.generation / config.generations))
        unbiased = self.slope / (1.0 - 0.9**self.generation)
        scale = math.sqrt(self.power / (1.0 - 0.99**self.generation)) + 1e-12
        descent = size * self._scale * unbiased / np.float32(scale)
        self.weights = (self.weights - descent).astype(np.float32)
        self.mean += max(0.05, 1.0 / self.generation) * (self.weights - self.mean)

    def _differences(self) -> Floats:
        """`Evaluation.difference` of each pair; shape (pairs, sizes)."""
        about = self._about | {"generation": self.generation, "weights": keep(self.weights.tobytes())}
        chunks = [about | {"pair": pair} for pair in range(self.config.pairs)]
        inputs = [about["network"], about["weights"]]
        return np.array(map_all("scheduler_env.polishing:difference_chunk", chunks, inputs=inputs))

    def polished(self) -> QNetwork:
        """The network with the running mean of the weights."""
        load_advantage(self.network, self.mean)
        return self.network

    def save(self, path: Path) -> None:
        """Write everything that `resume` needs, atomically."""
        arrays = {name: torch.from_numpy(getattr(self, name)) for name in ("weights", "mean", "slope")}
        config = self.config.model_dump(mode="json")
        save_atomically({"config": config, **arrays, "power": self.power, "generation": self.generation}, path)

    def resume(self, path: Path) -> None:
        """Continue the run saved in `path`.

        Raises:
            ValueError: it was saved under another configuration.
        """
        saved = torch.load(path, weights_only=True)
        if saved["config"] != self.config.model_dump(mode="json"):
            raise ValueError(f"{path} belongs to another configuration; remove it or use that configuration")
        self.weights, self.mean, self.slope = (saved[name].numpy() for name in ("weights", "mean", "slope"))
        self.power, self.generation = saved["power"], saved["generation"]


@compiled
def _greedy(
    pool: "numba.typed.List[Problem]",
    states: "numba.typed.List[SimulationState]",
    outlooks: "numba.typed.List[Outlook]",
    workspaces: "numba.typed.List[Workspace]",
    numbers: Ints,
    network: Network,
    random: RandomState,
    hours: Floats,
) -> None:
    """Fill `hours` with the makespans of the greedy schedules of the instances `numbers`."""
    for i in range(numbers.size):
        n = numbers[i]
        run_policy(pool[n], states[n], outlooks[n], network, workspaces[n], 0.0, 0.0, random)
        hours[i] = makespan(states[n])


def polish(
    config: TrainingConfig, weights: Path, out: Path, run_dir: Path, *, resume: bool, validate_every: int
) -> None:
    """Polish the network in `weights`; writes the best validated network to `out` and the run's state to `run_dir`."""
    run_dir.mkdir(parents=True, exist_ok=True)
    state_file = run_dir / "polishing.pt"
    checkpoint = read_checkpoint(weights)
    validation = Validation(VALIDATION_SIZES)
    gaps = validation.gaps(checkpoint.network.to_arrays())
    best = float(np.mean(list(gaps.values())))
    print(f"before: {_text(gaps)}", file=sys.stderr)
    run = Polishing(config, checkpoint.network)
    if resume and state_file.exists():
        run.resume(state_file)
        if out.exists():
            best = min(best, float(read_checkpoint(out).training["mean_gap"]))
    with tqdm(total=run.config.generations, initial=run.generation, unit="generation", dynamic_ncols=True) as bar:
        while run.generation < run.config.generations:
            run.step()
            bar.update()
            if run.generation % validate_every and run.generation != run.config.generations:
                continue
            network = run.polished()
            gaps = validation.gaps(network.to_arrays())
            mean_gap = float(np.mean(list(gaps.values())))
            bar.write(f"generation {run.generation}: {_text(gaps)} mean {mean_gap:.2%}", file=sys.stderr)
            if mean_gap < best:
                best = mean_gap
                lineage = {"config": config.model_dump(mode="json"), "trained": checkpoint.training}
                measured = {"generation": run.generation, "mean_gap": mean_gap, "gaps": gaps}
                save_checkpoint(out, network, {**lineage, **measured})
            run.save(state_file)


def _text(gaps: dict[str, float]) -> str:
    return " ".join(f"{group} {gap:.2%}" for group, gap in gaps.items())


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; see the module's docstring."""
    parser = command_parser("polishing", __doc__.split("\n\n")[0], "GENERATIONS", 25)
    parser.add_argument("--weights", type=Path, required=True, help="weights file written by scheduler_env.training")
    options = parser.parse_args(arguments)
    content = config_in(options.config, parser) if options.config else {}
    run_dir = options.run_dir or Path("training_runs") / options.out.stem
    with reported_errors(parser):
        config, every = TrainingConfig.model_validate(content), options.validate_every
        polish(config, options.weights, options.out, run_dir, resume=options.resume, validate_every=every)
    return 0


if __name__ == "__main__":
    sys.exit(main())

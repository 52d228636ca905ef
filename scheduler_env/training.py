"""Train a DDQN: `python -m scheduler_env.training --config models/seed/ddqn_v2.json --out best_model_v2.pth`.

Double Q-learning (van Hasselt et al. 2016) with a dueling network (Wang et al. 2016), prioritised experience replay
(Schaul et al. 2016) and n-step returns (Sutton 1988), on instances of the seeded generator. Episodes and targets are
computed in the compiled kernel; torch is used only to fit the network. All random numbers follow from the seed in the
configuration, so a run is reproducible, and a resumed run gives the same result as an uninterrupted one.
"""

import base64
import csv
import json
import math
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import nn
from tqdm import tqdm

from scheduler_env.batch import map_all
from scheduler_env.compilation import source_digest
from scheduler_env.generator import random_instance
from scheduler_env.kernel import BOUND, Floats, Problem, compile_instance, makespan, new_outlook, new_state, observe
from scheduler_env.network import QNetwork, read_checkpoint, save_atomically, save_checkpoint
from scheduler_env.observation import N_STATE, Network, new_workspace
from scheduler_env.policy import run_policy
from scheduler_env.pool import NO_DEMONSTRATION, Demonstrations, Pool
from scheduler_env.random_numbers import new_random
from scheduler_env.replay_buffer import (
    Batch,
    Episodes,
    fill_batch,
    new_batch,
    new_episodes,
    play_episode,
    update_priorities,
)
from scheduler_env.rules import ALL_RULES, build
from scheduler_env.standard_cycle import SAMPLE_PARAMS, standard_instance
from scheduler_env.training_options import command_parser, config_in, reported_errors

VALIDATION_SEEDS_FROM = 500_000
STATE_FILE = "state.pt"
"""In the folder of a run."""


class PolishingConfig(BaseModel):
    """The configuration of `scheduler_env.polishing`, the fine-tuning of trained weights."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    seed: int = Field(default=1, ge=0, description="Seed of the directions and of the instances per generation.")
    generations: int = Field(default=400, ge=1, description="Number of steps.")
    pairs: int = Field(default=12, ge=2, description="Pairs of opposite random directions per generation.")
    noise: float = Field(default=0.05, gt=0, le=1, description="Scale of a direction, in standard deviations.")
    step: float = Field(default=0.01, gt=0, le=1, description="Step size, in standard deviations; falls to 0.")
    sizes: tuple[int, ...] = Field(default=(1, 2, 5, 10, 20), min_length=1, description="Work points per instance.")
    instances: int = Field(default=1_000, ge=1, le=100_000, description="Pool size, equally many of each size.")
    workpoints: int = Field(default=20, ge=1, description="Work points per size and generation (at least 1 instance).")


class TrainingConfig(BaseModel):
    """The configuration of a training run: the file given as `--config`, and the model's `training_params`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    seed: int = Field(default=1, ge=0, description="Seed of weights, instances, exploration and sampling.")
    updates: int = Field(default=20_000, ge=1, description="Number of learning steps.")
    batch_size: int = Field(default=128, ge=1, le=4096, description="Decisions per learning step.")
    learning_rate: float = Field(default=1e-3, gt=0, le=1, description="Initial rate of Adam; falls to a tenth.")
    hidden: tuple[int, int, int] = Field(default=(32, 32, 32), description="Sizes of the hidden layers: H1, H2, HV.")
    sizes: tuple[int, ...] = Field(default=(1, 2, 3, 5), min_length=1, description="Work points per instance.")
    curriculum_share: float = Field(default=0.3, ge=0, le=1, description="Share of the run until all sizes are used.")
    instances: int = Field(default=1_000, ge=1, le=100_000, description="Training instances in the pool.")
    n_step: int = Field(default=5, ge=1, le=1_000, description="Rewards summed before the bootstrap.")
    target_every: int = Field(default=500, ge=1, description="Learning steps between copies to the target network.")
    averaging: float = Field(default=0.999, ge=0, lt=1, description="Decay of the running mean of the weights.")
    decisions_per_update: int = Field(default=32, ge=1, description="Decisions played per learning step.")
    replay_steps: int = Field(default=2**18, ge=2**10, description="Size of the replay buffer; a power of two.")
    epsilon_start: float = Field(default=0.3, ge=0, le=1, description="Initial share of random decisions.")
    epsilon_end: float = Field(default=0.01, ge=0, le=1, description="Their share in the second half of the run.")
    temperature: float = Field(default=0.05, ge=0, description="Noise on the scores in half of the episodes.")
    demonstrations: float = Field(default=0.0, ge=0, le=1, description="Share of episodes that are demonstrations.")
    search_evaluations: int = Field(default=4_000, ge=1, description="Schedules that the search tries for each.")
    imitation: float = Field(default=0.0, ge=0, description="Weight of the large-margin loss on demonstrations.")
    imitation_margin: float = Field(default=0.02, ge=0, description="Its margin, in mean shortest durations.")
    priority_exponent: float = Field(default=0.6, ge=0, le=1, description="0: uniform sampling; 1: by error.")
    correction_start: float = Field(default=0.4, ge=0, le=1, description="Importance-sampling exponent; rises to 1.")
    polishing: PolishingConfig | None = Field(default=None, description="Fine-tuning of the trained weights.")


class Validation:
    """Validation instances, which training does not use, and the mean gap of the best single rule of each group.

    The groups are the sizes (`N=2`: 20 instances of two work points) and the sample request (`sample`).
    """

    def __init__(self, sizes: Sequence[int] = (1, 2, 5, 10, 20), per_size: int = 20) -> None:
        seeds = range(VALIDATION_SEEDS_FROM, VALIDATION_SEEDS_FROM + per_size)
        self.problems: dict[str, list[Problem]] = {
            f"N={size}": [compile_instance(random_instance(size, seed)) for seed in seeds] for size in sizes
        }
        self.problems["sample"] = [compile_instance(standard_instance(SAMPLE_PARAMS))]
        self.bounds_h: dict[str, Floats] = {}
        self.best_rule: dict[str, tuple[str, float]] = {}
        for group, problems in self.problems.items():
            self.bounds_h[group] = np.array([_lower_bound_h(problem) for problem in problems])
            makespans = {
                str(rule): np.array([build(problem, new_state(problem), rule) for problem in problems])
                for rule in ALL_RULES
            }
            gaps = {name: float((hours / self.bounds_h[group]).mean() - 1.0) for name, hours in makespans.items()}
            name = min(gaps, key=lambda rule: gaps[rule])
            self.best_rule[group] = (name, gaps[name])

    def gaps(self, network: Network) -> dict[str, float]:
        """Mean gap (share) of the greedy policy to the lower bound, by group."""
        result = {}
        for group, problems in self.problems.items():
            makespans = np.array([greedy_makespan_h(problem, network) for problem in problems])
            result[group] = float((makespans / self.bounds_h[group]).mean() - 1.0)
        return result


def greedy_makespan_h(problem: Problem, network: Network) -> float:
    """Makespan of the network's greedy schedule, hours."""
    state, outlook, workspace = new_state(problem), new_outlook(problem), new_workspace(problem, network)
    run_policy(problem, state, outlook, network, workspace, 0.0, 0.0, new_random(0))
    return float(makespan(state))


def _lower_bound_h(problem: Problem) -> float:
    state, outlook = new_state(problem), new_outlook(problem)
    observe(problem, state, outlook)
    return float(state.clock[BOUND])


class Training:
    """A training run that can be stepped, saved and resumed."""

    def __init__(self, config: TrainingConfig) -> None:
        torch.manual_seed(config.seed)
        torch.set_num_threads(1)
        self.config = config
        self.online = QNetwork(config.hidden)
        self.target = QNetwork(config.hidden)
        self.target.load_state_dict(self.online.state_dict())
        # The running mean of the online weights is validated and saved: it is far less noisy than the last weights
        # (Polyak and Juditsky 1992).
        self.averaged = QNetwork(config.hidden)
        self.averaged.load_state_dict(self.online.state_dict())
        self.optimizer = torch.optim.Adam(self.online.parameters(), lr=config.learning_rate)
        self.online_arrays, self.target_arrays = self.online.to_arrays(), self.target.to_arrays()
        self.pool = Pool(config.sizes, config.instances, config.seed, self.online_arrays)
        self.episodes: Episodes = new_episodes(config.replay_steps, self.pool.n_activities)
        self.batch: Batch = new_batch(config.batch_size, config.batch_size * 400, N_STATE)
        self.demonstrations = Demonstrations(self.pool)
        self.random = new_random(config.seed)
        self.chooser = np.random.default_rng(config.seed)
        self.update = 0
        self.decisions = 0

    @property
    def progress(self) -> float:
        """Share of the updates that are done, 0..1."""
        return self.update / self.config.updates

    def play(self, n_decisions: int) -> None:
        """Play episodes into the replay buffer, at least `n_decisions` decisions in total."""
        config = self.config
        epsilon = config.epsilon_start + (config.epsilon_end - config.epsilon_start) * min(1.0, 2.0 * self.progress)
        curriculum = self.progress / config.curriculum_share if config.curriculum_share > 0 else 1.0
        played = 0
        while played < n_decisions:
            number = self.pool.draw(self.chooser, curriculum)
            noisy = bool(self.chooser.random() < 0.5)
            demonstration = NO_DEMONSTRATION
            if config.demonstrations > 0.0 and self.chooser.random() < config.demonstrations:
                seed = int(self.chooser.integers(2**31))
                demonstration = self.demonstrations.demonstrate(
                    number, self.online_arrays, config.search_evaluations, seed
                )
            episode = int(self.episodes.head[0])
            play_episode(
                self.episodes, number, self.pool.problems[number], self.pool.states[number],
                self.pool.outlooks[number], self.online_arrays, self.pool.workspaces[number],
                0.0 if noisy else epsilon, config.temperature if noisy else 0.0, self.random, *demonstration,
            )  # fmt: skip
            played += int(self.episodes.length[episode])
        self.decisions += played

    def learn(self) -> float:
        """One learning step on one batch; returns the loss."""
        config = self.config
        filled = fill_batch(
            self.episodes, self.pool.problems, self.pool.states, self.pool.outlooks, self.pool.workspaces,
            self.online_arrays, self.target_arrays, config.n_step, self.random, self.batch,
        )  # fmt: skip
        row_at = self.batch.row_at[: filled + 1]
        sample = torch.from_numpy(np.repeat(np.arange(filled), np.diff(row_at)))
        scores = self.online(
            torch.from_numpy(self.batch.features[: row_at[-1]]), torch.from_numpy(self.batch.states[:filled]), sample
        )
        q = scores[torch.from_numpy(self.batch.chosen[:filled])]
        target = torch.from_numpy(self.batch.target[:filled])
        corrections = self._corrections(filled)
        loss = (corrections * nn.functional.smooth_l1_loss(q, target, reduction="none")).mean()
        if config.imitation > 0.0:
            loss = loss + config.imitation * (corrections * self._margin_violation(scores, sample, filled)).mean()
        for group in self.optimizer.param_groups:
            group["lr"] = config.learning_rate * (0.1 + 0.45 * (1.0 + math.cos(math.pi * self.progress)))
        self.optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self.online.parameters(), 10.0)
        self.optimizer.step()
        self._average()
        errors = (target - q.detach()).numpy()
        update_priorities(self.episodes, self.batch.step[:filled], errors, config.priority_exponent)
        self.update += 1
        self.online_arrays = self.online.to_arrays()
        if self.update % config.target_every == 0:
            self.target.load_state_dict(self.online.state_dict())
            self.target_arrays = self.target.to_arrays()
        return float(loss.item())

    def step(self) -> float:
        """Play, then one learning step; returns the loss."""
        initial = 2_000 if self.update == 0 else 0
        self.play(initial + self.config.decisions_per_update)
        return self.learn()

    def save(self, path: Path) -> None:
        """Write everything that `resume` needs, atomically."""
        save_atomically(
            {
                "config": self.config.model_dump(mode="json"),
                "online": self.online.state_dict(),
                "target": self.target.state_dict(),
                "averaged": self.averaged.state_dict(),
                "optimizer": self.optimizer.state_dict(),
                "episodes": {name: torch.from_numpy(array) for name, array in self.episodes._asdict().items()},
                "demonstrations": self.demonstrations.state_dict(),
                "random": torch.from_numpy(self.random.view(np.int64)),
                "chooser": json.dumps(self.chooser.bit_generator.state),
                "update": self.update,
                "decisions": self.decisions,
            },
            path,
        )

    @classmethod
    def resume(cls, path: Path, config: TrainingConfig) -> "Training":
        """The run saved in `path`.

        Raises:
            ValueError: it was saved under another configuration.
        """
        saved = torch.load(path, weights_only=True)
        if saved["config"] != config.model_dump(mode="json"):
            raise ValueError(f"{path} belongs to another configuration; remove it or use that configuration")
        training = cls(config)
        training.online.load_state_dict(saved["online"])
        training.target.load_state_dict(saved["target"])
        training.averaged.load_state_dict(saved["averaged"])
        training.optimizer.load_state_dict(saved["optimizer"])
        for name, array in training.episodes._asdict().items():
            array[...] = saved["episodes"][name].numpy()
        training.demonstrations.load_state_dict(saved["demonstrations"])
        training.random[...] = saved["random"].numpy().view(np.uint64)
        training.chooser.bit_generator.state = json.loads(saved["chooser"])
        training.update, training.decisions = saved["update"], saved["decisions"]
        training.online_arrays, training.target_arrays = training.online.to_arrays(), training.target.to_arrays()
        return training

    def _margin_violation(self, scores: torch.Tensor, sample: torch.Tensor, filled: int) -> torch.Tensor:
        """The large-margin loss of each sample, shape (filled,): 0 if the decision is not from a demonstration.

        It is the best score plus margin of a candidate that is not due, above the best score of the due ones.
        Everything that the demonstration starts at the same time is due, because the order does not matter.

        Source: Hester et al. 2018 (DQfD), the large-margin classification loss.
        """
        is_due = torch.from_numpy(self.batch.is_due[: scores.shape[0]]) > 0
        lowest = torch.full((filled,), -torch.inf)
        rival = torch.where(is_due, scores, scores + self.config.imitation_margin)
        best = lowest.scatter_reduce(0, sample, rival, "amax")
        shown = lowest.scatter_reduce(0, sample, scores.masked_fill(~is_due, -torch.inf), "amax")
        return torch.from_numpy(self.batch.is_shown[:filled]) * (best - shown)

    def _average(self) -> None:
        # The decay is smaller at first, so that the random initial weights lose their influence.
        decay = min(self.config.averaging, (1.0 + self.update) / (10.0 + self.update))
        with torch.no_grad():
            for mean, new in zip(self.averaged.parameters(), self.online.parameters(), strict=True):
                mean.lerp_(new, 1.0 - decay)

    def _corrections(self, filled: int) -> torch.Tensor:
        """Importance-sampling weights, at most 1. Source: Schaul et al. 2016, section 3.4."""
        tree = self.episodes.priority
        leaves = tree[tree.size // 2 + self.batch.step[:filled]]
        stored = max(int(self.episodes.head[2]), 1)
        exponent = self.config.correction_start + (1.0 - self.config.correction_start) * self.progress
        weights = (np.maximum(leaves, 1e-12) / max(tree[1], 1e-12) * stored) ** -exponent
        return torch.from_numpy((weights / weights.max()).astype(np.float32))


def train(config: TrainingConfig, out: Path, run_dir: Path, *, resume: bool, validate_every: int) -> dict[str, Any]:
    """Train to the end and write the best validated weights to `out`; returns the last row of the learning curve.

    Writes to `run_dir`: `state.pt` (for `resume`), `learning_curve.csv`, `.json` (for the registration) and `.png`.
    """
    run_dir.mkdir(parents=True, exist_ok=True)
    state_file, curve_file = run_dir / STATE_FILE, run_dir / "learning_curve.csv"
    print("computing the baselines on the validation instances ...", file=sys.stderr)
    validation = Validation()
    for group, (rule, gap) in validation.best_rule.items():
        print(f"  {group}: best single rule {rule}, gap {gap:.2%}", file=sys.stderr)
    training = Training.resume(state_file, config) if resume and state_file.exists() else Training(config)
    rows: list[dict[str, Any]] = []
    if training.update and curve_file.exists():
        with curve_file.open(newline="") as file:
            rows = [row for row in csv.DictReader(file) if int(row["update"]) <= training.update]
    best = min((float(row["mean_gap"]) for row in rows), default=float("inf"))
    began = time.monotonic()
    losses: list[float] = []
    with tqdm(total=config.updates, initial=training.update, unit="update", dynamic_ncols=True) as bar:
        while training.update < config.updates:
            losses.append(training.step())
            bar.update()
            if training.update % validate_every and training.update != config.updates:
                continue
            gaps = validation.gaps(training.averaged.to_arrays())
            mean_gap = float(np.mean(list(gaps.values())))
            row = {
                "update": training.update,
                "decisions": training.decisions,
                "seconds": round(time.monotonic() - began, 1),
                "loss": float(np.mean(losses)),
                "mean_gap": mean_gap,
                **gaps,
            }
            rows.append(row)
            losses.clear()
            bar.set_postfix_str(" ".join(f"{group} {gap:.1%}" for group, gap in gaps.items()))
            if mean_gap < best:
                best = mean_gap
                measured = {
                    "update": training.update,
                    "mean_gap": mean_gap,
                    "gaps": {str(k): v for k, v in gaps.items()},
                }
                lineage = {"config": config.model_dump(mode="json"), "code_version": source_digest()}
                save_checkpoint(out, training.averaged, {**lineage, **measured})
            training.save(state_file)
            _write_curve(rows, validation, run_dir)
    return rows[-1] if rows else {}


def train_seeds(
    config: TrainingConfig, seeds: Sequence[int], out: Path, run_dir: Path, *, resume: bool, validate_every: int
) -> dict[str, Any]:
    """Train with each seed at once on the workers of `scheduler_env.batch`; writes the best validated weights to `out`.

    Returns the best seed and the mean gap of each. Each run has the folder `seed-<seed>` in `run_dir`, on the machine
    of its worker. A run whose worker was killed continues from its last validation.
    """
    chunks = []
    for seed in seeds:
        folder = (run_dir / f"seed-{seed}").absolute()
        if not resume:
            (folder / STATE_FILE).unlink(missing_ok=True)
        of_seed = TrainingConfig.model_validate(config.model_dump() | {"seed": seed})
        chunks.append(
            {"config": of_seed.model_dump(mode="json"), "run_dir": str(folder), "validate_every": validate_every}
        )
    with tqdm(total=len(seeds), unit="seed", dynamic_ncols=True) as bar:
        found = map_all("scheduler_env.training:train_chunk", chunks, progress=lambda done, _: bar.update(done - bar.n))
    best = min(range(len(seeds)), key=lambda number: found[number]["mean_gap"])
    out.write_bytes(base64.b64decode(found[best]["weights"]))
    gaps = {str(seed): each["mean_gap"] for seed, each in zip(seeds, found, strict=True)}
    return {"seed": seeds[best], "mean_gaps": gaps}


def train_chunk(chunk: dict[str, Any]) -> dict[str, Any]:
    """A chunk of batch work: one training run; its best weights (base64) and their mean gap."""
    folder, config = Path(chunk["run_dir"]), TrainingConfig.model_validate(chunk["config"])
    out = folder / "best.pth"
    train(config, out, folder, resume=True, validate_every=chunk["validate_every"])
    return {
        "weights": base64.b64encode(out.read_bytes()).decode(),
        "mean_gap": read_checkpoint(out).training["mean_gap"],
    }


def _write_curve(rows: list[dict[str, Any]], validation: Validation, run_dir: Path) -> None:
    from matplotlib.figure import Figure

    with (run_dir / "learning_curve.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    curve = {name: [round(float(row[name]), 6) for row in rows] for name in rows[0]}
    (run_dir / "learning_curve.json").write_text(json.dumps({"learning_curve": curve}), encoding="utf-8")
    figure = Figure(figsize=(8, 5), layout="constrained")
    axes = figure.subplots()
    updates = [int(row["update"]) for row in rows]
    for number, (group, (_, rule_gap)) in enumerate(validation.best_rule.items()):
        colour = f"C{number}"
        axes.plot(updates, [100 * float(row[group]) for row in rows], color=colour, label=group)
        axes.axhline(100 * rule_gap, color=colour, linestyle=":", linewidth=1)
    axes.set(xlabel="learning steps", ylabel="mean gap to the lower bound, %", ylim=(0, 60))
    axes.legend(title="greedy agent (dotted: best single rule)")
    figure.savefig(run_dir / "learning_curve.png", dpi=120)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; see the module's docstring."""
    parser = command_parser("training", __doc__.split("\n\n")[0], "UPDATES", 1_000)
    parser.add_argument("--updates", type=int, help="overrides the number of learning steps of the configuration")
    parser.add_argument("--seeds", type=int, nargs="+", help="train with each of these seeds and keep the best weights")
    options = parser.parse_args(arguments)
    content = config_in(options.config, parser) if options.config else {}
    if options.updates:
        content["updates"] = options.updates
    run_dir = options.run_dir or Path("training_runs") / options.out.stem
    with reported_errors(parser):
        config = TrainingConfig.model_validate(content)
        how = {"resume": options.resume, "validate_every": options.validate_every}
        if options.seeds:
            last = train_seeds(config, list(dict.fromkeys(options.seeds)), options.out, run_dir, **how)
        else:
            last = train(config, options.out, run_dir, **how)
    print(json.dumps({"out": str(options.out), **last}))
    return 0


if __name__ == "__main__":
    sys.exit(main())

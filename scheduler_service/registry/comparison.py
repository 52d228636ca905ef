"""Comparison of two models on the same instances by makespan."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from scheduler_env.batch import START_S, map_all
from scheduler_service.command_line import Progress
from scheduler_service.registry.loading import LoadedModel, share, shared_model
from scheduler_service.stats.outcome import NotComputable
from scheduler_service.stats.paired import paired

COMPARISON_SEEDS_FROM = 450_000
"""These seeds are used neither for training nor for validation nor for benchmarks."""
SIZES = (1, 2, 5, 10)
PER_SIZE = 20
TIE_H = 1e-6
ALPHA = 0.05


@dataclass(frozen=True, slots=True)
class Group:
    """Instances of one size; `wins` are B's."""

    n_workpoints: int
    instances: int
    wins: int
    ties: int
    losses: int
    mean_makespan_a_h: float
    mean_makespan_b_h: float


@dataclass(frozen=True, slots=True)
class ModelComparison:
    """B compared with A. The ratio is the geometric mean of makespan B / A; below 1, B is shorter."""

    a: str
    b: str
    groups: tuple[Group, ...]
    wins: int
    ties: int
    losses: int
    mean_ratio: float
    low: float | None  # 95 % interval of the ratio; None if `note` gives a reason
    high: float | None
    p_value: float | None
    note: str | None

    @property
    def verdict(self) -> str:
        if self.low is None or self.high is None:
            return f"{self.b} and {self.a}: no difference can be tested ({self.note})"
        percent = abs(1.0 - self.mean_ratio) * 100.0
        if self.high < 1.0:
            return f"{self.b} is better: its schedules are {percent:.2f} % shorter on average"
        if self.low > 1.0:
            return f"{self.a} is better: its schedules are shorter, those of {self.b} {percent:.2f} % longer on average"
        return f"neither is shown to be better on {self.wins + self.ties + self.losses} instances"

    def to_dict(self) -> dict[str, Any]:
        return {**asdict(self), "verdict": self.verdict}


def compare_models(
    a: LoadedModel,
    b: LoadedModel,
    *,
    sizes: Sequence[int] = SIZES,
    per_size: int = PER_SIZE,
    progress: Progress | None = None,
) -> ModelComparison:
    """Run both models greedily on `per_size` generated instances of each size; paired t-test on the logarithms.

    Args:
        progress: called with the number of finished instances and the total.
    """
    import numpy as np

    models = [share(a), share(b)]
    chunks = [
        {"models": models, "size": size, "seed": COMPARISON_SEEDS_FROM + number}
        for size in sizes
        for number in range(per_size)
    ]
    inputs = [model["digest"] for model in models]
    makespans = map_all(f"{__name__}:makespans_h", chunks, inputs=inputs, here_s=START_S, progress=progress)
    found = [(chunk["size"], *spans) for chunk, spans in zip(chunks, makespans, strict=True)]
    groups = []
    for size in sizes:
        spans = [(first, second) for n, first, second in found if n == size]
        wins = sum(second < first - TIE_H for first, second in spans)
        losses = sum(second > first + TIE_H for first, second in spans)
        means = (math.fsum(span[side] for span in spans) / len(spans) for side in (0, 1))
        groups.append(Group(size, len(spans), wins, len(spans) - wins - losses, losses, *means))
    logs = np.log([spans[1:] for spans in found])
    test = paired(logs[:, 0], logs[:, 1], ALPHA)
    return ModelComparison(
        a=a.key,
        b=b.key,
        groups=tuple(groups),
        wins=sum(group.wins for group in groups),
        ties=sum(group.ties for group in groups),
        losses=sum(group.losses for group in groups),
        mean_ratio=float(np.exp((logs[:, 1] - logs[:, 0]).mean())),
        low=None if isinstance(test, NotComputable) else math.exp(test.low),
        high=None if isinstance(test, NotComputable) else math.exp(test.high),
        p_value=None if isinstance(test, NotComputable) else test.p_value,
        note=test.message if isinstance(test, NotComputable) else None,
    )


def makespans_h(chunk: dict[str, Any]) -> list[float]:
    """A chunk of batch work: the makespans of both models on one instance, hours."""
    from scheduler_env.generator import random_instance

    instance = random_instance(chunk["size"], chunk["seed"])
    return [shared_model(model).agent.solve(instance).schedule.makespan_h for model in chunk["models"]]

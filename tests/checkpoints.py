"""Weights files for tests: the shipped model with one weight changed, so that each is distinct but good."""

from pathlib import Path

import torch

from scheduler_env.network import read_checkpoint, save_checkpoint
from scheduler_service.settings import Settings

SEED = Settings().seed_models_dir / "ddqn_v2.pth"


def write_checkpoint(path: Path, number: int) -> Path:
    """Write variation `number` of the seed model; different numbers give different weights."""
    network = read_checkpoint(SEED).network
    first = next(network.value.parameters())
    with torch.no_grad():
        first[0, 0] += 1e-4 * (number + 1)
    save_checkpoint(path, network, {"config": {"seed": number, "episodes": 1000}})
    return path

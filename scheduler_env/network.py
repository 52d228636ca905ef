"""The dueling network that scores candidates, its checkpoint file, and the validation of such files."""

import os
import pickle
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch
from torch import Tensor, nn

from scheduler_env.errors import MAX_REASON, InvalidCheckpoint
from scheduler_env.observation import CANDIDATE_FEATURES, N_CANDIDATE, N_STATE, STATE_FEATURES, Network
from scheduler_env.weights import FORMAT, MAX_HIDDEN, Weights, signature_of_sizes


class QNetwork(nn.Module):
    """Q(s, x) = V(s) + A(x) - mean of A over the state's candidates (dueling network; Wang et al. 2016).

    Every feasible candidate is one row, so the same network applies to any number of work points.

    Args:
        hidden: sizes (H1, H2) of the advantage's hidden layers and HV of the value's.
    """

    def __init__(self, hidden: tuple[int, int, int] = (32, 32, 32)) -> None:
        super().__init__()
        self.hidden = hidden
        h1, h2, hv = hidden
        self.advantage = nn.Sequential(
            nn.Linear(N_CANDIDATE, h1), nn.ReLU(), nn.Linear(h1, h2), nn.ReLU(), nn.Linear(h2, 1, bias=False)
        )
        self.value = nn.Sequential(nn.Linear(N_STATE, hv), nn.ReLU(), nn.Linear(hv, 1))

    def forward(self, candidates: Tensor, states: Tensor, sample: Tensor) -> Tensor:
        """Q of every row.

        Args:
            candidates: shape (R, N_CANDIDATE).
            states: shape (B, N_STATE).
            sample: shape (R,), index of the state of each row.

        Returns:
            Shape (R,): minus the expected further growth of the lower bound, in units of the instance's mean shortest
            duration.
        """
        advantage = self.advantage(candidates).squeeze(1)
        total = torch.zeros(states.shape[0]).index_add(0, sample, advantage)
        count = torch.zeros(states.shape[0]).index_add(0, sample, torch.ones_like(advantage))
        baseline = self.value(states).squeeze(1) - total / count
        result: Tensor = advantage + baseline[sample]
        return result

    def to_arrays(self) -> Network:
        """Copies of the weights for compiled code."""
        a, v = self.advantage, self.value

        def array(tensor: Any, *, transpose: bool = False) -> Any:
            values = tensor.detach().numpy()
            return np.array(values.T if transpose else values, dtype=np.float32, order="C")

        return Network(
            w1=array(a[0].weight, transpose=True),
            b1=array(a[0].bias),
            w2=array(a[2].weight, transpose=True),
            b2=array(a[2].bias),
            w3=array(a[4].weight)[0],
            u1=array(v[0].weight, transpose=True),
            c1=array(v[0].bias),
            u2=array(v[2].weight)[0],
            c2=array(v[2].bias),
        )


@dataclass(frozen=True)
class Checkpoint:
    """The content of a weights file."""

    network: QNetwork
    signature: dict[str, Any]
    training: dict[str, Any]  # plain values: configuration, seed, steps, measured makespans

    def to_weights(self) -> Weights:
        """The same content without torch."""
        return Weights(self.network.to_arrays(), self.signature, self.training)


def signature_of(network: QNetwork) -> dict[str, Any]:
    """The signature of a file with `network` (see `signature_of_sizes`); JSON values."""
    return signature_of_sizes(network.hidden)


def save_checkpoint(path: Path, network: QNetwork, training: Mapping[str, Any]) -> None:
    """Write weights, signature and `training` to `path`, atomically; readable with `torch.load(weights_only=True)`."""
    save_atomically({**signature_of(network), "training": dict(training), "state_dict": network.state_dict()}, path)


def save_atomically(content: Mapping[str, Any], path: Path) -> None:
    """`torch.save` to a temporary file in the same folder, which then replaces `path`."""
    temporary = path.with_name(f".{path.name}.tmp")
    torch.save(content, temporary)
    os.replace(temporary, path)


def read_checkpoint(file: Path | BinaryIO) -> Checkpoint:
    """The network in a weights file, after validation.

    It never executes code from the file: `torch.load(weights_only=True)`, without a fallback.

    Raises:
        InvalidCheckpoint: the file is unreadable, or its format, features or shapes differ, or a weight is not finite.
    """
    try:
        content = torch.load(file, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, ValueError, EOFError, OSError, KeyError, zipfile.BadZipFile) as err:
        reason = str(err).splitlines()[0] if str(err) else type(err).__name__
        raise InvalidCheckpoint("checkpoint_unreadable", reason=reason[:MAX_REASON]) from err
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        found = _shown(content.get("format")) if isinstance(content, dict) else _shown(content)
        raise InvalidCheckpoint("checkpoint_format", found=found, expected=FORMAT)
    for name, expected in (("candidate_features", CANDIDATE_FEATURES), ("state_features", STATE_FEATURES)):
        claimed = content.get(name)
        is_text = isinstance(claimed, list) and all(isinstance(item, str) for item in claimed)
        names: list[str] = claimed if is_text and claimed else []
        if tuple(names) != expected:
            differing = [_shown(item) for item in sorted(set(names) ^ set(expected))] if names else []
            if differing:
                raise InvalidCheckpoint("checkpoint_features_differ", features=name, differing=differing[:8])
            raise InvalidCheckpoint("checkpoint_features", features=name)
    hidden = content.get("hidden")
    if (
        not isinstance(hidden, list)
        or len(hidden) != 3
        or not all(type(size) is int and 1 <= size <= MAX_HIDDEN for size in hidden)
    ):
        raise InvalidCheckpoint("checkpoint_hidden", limit=MAX_HIDDEN)
    network = QNetwork((hidden[0], hidden[1], hidden[2]))
    state_dict = content.get("state_dict")
    if not isinstance(state_dict, dict) or not all(isinstance(value, Tensor) for value in state_dict.values()):
        raise InvalidCheckpoint("checkpoint_without_tensors")
    try:
        network.load_state_dict(state_dict)
    except RuntimeError as err:
        reason = str(err).splitlines()[-1].strip()
        raise InvalidCheckpoint("checkpoint_misfit", reason=reason[:MAX_REASON]) from err
    for name, tensor in network.state_dict().items():
        if not bool(torch.isfinite(tensor).all()):
            raise InvalidCheckpoint("checkpoint_not_finite", name=name)
    training = content.get("training")
    return Checkpoint(network, signature_of(network), training if isinstance(training, dict) else {})


def _shown(value: object) -> str:
    """`value` for a message: a short text, otherwise its type, because the repr of nested values can exhaust memory."""
    return repr(value[:60]) if isinstance(value, str) else type(value).__name__

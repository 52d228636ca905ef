"""A cache of checkpoints as plain arrays, beside the compiled kernel: serving does not need torch.

Importing torch takes 1.5 s and 190 MB, and it is not needed once the weights are arrays. The arrays of a validated
checkpoint are cached under a digest of the checkpoint's bytes and of the code that validated them. The cache is in the
folder of the compiled machine code and is trusted as much; it is validated nevertheless, because compiled code does not
check shapes.
"""

import hashlib
import json
import math
import os
import secrets
import time
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numba
import numpy as np

from scheduler_env.errors import InvalidCheckpoint
from scheduler_env.observation import CANDIDATE_FEATURES, N_CANDIDATE, N_STATE, STATE_FEATURES, Network

FORMAT = "ddqn-scheduler/1"
MAX_HIDDEN = 1_024
MAX_FILES = 256
"""Number of cached checkpoints; the least recently used ones are deleted."""
_STORED = np.dtype("<f4")


@dataclass(frozen=True, slots=True)
class Weights:
    """The content of a checkpoint without torch."""

    network: Network
    signature: dict[str, Any]
    training: dict[str, Any]  # configuration, seed, steps, measured makespans


def signature_of_sizes(hidden: tuple[int, int, int]) -> dict[str, Any]:
    """The part of a checkpoint that must match this version: format, feature names, sizes (H1, H2, HV); JSON."""
    return {
        "format": FORMAT,
        "candidate_features": list(CANDIDATE_FEATURES),
        "state_features": list(STATE_FEATURES),
        "hidden": list(hidden),
    }


def shapes_of(hidden: tuple[int, int, int]) -> tuple[tuple[int, ...], ...]:
    """The shapes of the arrays of a `Network` with hidden layers of these sizes (H1, H2, HV)."""
    h1, h2, hv = hidden
    return (N_CANDIDATE, h1), (h1,), (h1, h2), (h2,), (h2,), (N_STATE, hv), (hv,), (hv,), (1,)


def pack(weights: Weights) -> bytes:
    """`weights` as bytes: the SHA-256 of the rest, a line of JSON, and the arrays one after the other.

    Raises:
        InvalidCheckpoint: `training` cannot be represented as JSON.
    """
    try:
        about = json.dumps({"signature": weights.signature, "training": weights.training}, allow_nan=False)
        is_same = json.loads(about)["training"] == weights.training
    except (TypeError, ValueError, RecursionError):
        is_same = False
    if not is_same:
        raise InvalidCheckpoint("training_not_json")
    content = about.encode() + b"\n" + b"".join(array.astype(_STORED).tobytes() for array in weights.network)
    return hashlib.sha256(content).digest() + content


def unpack(packed: bytes) -> Weights:
    """The weights in `packed`, which `pack` made.

    Raises:
        InvalidCheckpoint: `packed` is damaged, or was made by another version.
    """
    digest, content = packed[:32], packed[32:]
    if hashlib.sha256(content).digest() != digest:
        raise InvalidCheckpoint("packed_damaged")
    line, _, arrays = content.partition(b"\n")
    try:
        about = json.loads(line)
        h1, h2, hv = about["signature"]["hidden"]
        training = dict(about["training"])
        are_sizes = all(type(size) is int and 1 <= size <= MAX_HIDDEN for size in (h1, h2, hv))
        is_ours = are_sizes and about["signature"] == signature_of_sizes((h1, h2, hv))
    except (KeyError, TypeError, ValueError, RecursionError):
        is_ours = False
    if not is_ours:
        raise InvalidCheckpoint("packed_version")
    shapes = shapes_of((h1, h2, hv))
    sizes = [math.prod(shape) for shape in shapes]
    values = np.frombuffer(arrays, dtype=_STORED) if len(arrays) == 4 * sum(sizes) else np.array([np.nan])
    if not np.isfinite(values).all():
        raise InvalidCheckpoint("packed_sizes")
    parts = np.split(values, np.cumsum(sizes)[:-1])
    network = Network(*(part.reshape(shape).astype(np.float32) for part, shape in zip(parts, shapes, strict=True)))
    return Weights(network, about["signature"], training)


def load_cached(checkpoint: bytes) -> Weights | None:
    """The cached weights of a checkpoint file with this content; None if there are none or they are invalid."""
    place = _place_of(checkpoint)
    try:
        weights = unpack(place.read_bytes())
    except (OSError, InvalidCheckpoint):
        return None
    with suppress(OSError):
        _note_use(place)
    return weights


def store_cached(checkpoint: bytes, packed: bytes) -> None:
    """Cache the packed weights of a checkpoint file with this content, if the folder can be written to.

    Raises:
        InvalidCheckpoint: see `unpack`.
    """
    unpack(packed)
    place = _place_of(checkpoint)
    incoming = place.with_name(f"{secrets.token_hex(8)}.tmp")
    with suppress(OSError):
        place.parent.mkdir(parents=True, exist_ok=True)
        try:
            with open(incoming, "xb") as file:
                file.write(packed)
                file.flush()
                os.fsync(file.fileno())
            _note_use(incoming)
            os.replace(incoming, place)
        finally:
            incoming.unlink(missing_ok=True)
        for unused in sorted(place.parent.iterdir(), key=lambda path: path.stat().st_mtime_ns)[:-MAX_FILES]:
            unused.unlink(missing_ok=True)


def _note_use(path: Path) -> None:
    now_ns = time.time_ns()  # the file system's own time stamp would be some milliseconds old
    os.utime(path, ns=(now_ns, now_ns))


def _place_of(checkpoint: bytes) -> Path:
    digest = hashlib.sha256(_readers())
    digest.update(checkpoint)
    return Path(numba.config.CACHE_DIR) / "weights" / f"{digest.hexdigest()}.weights"  # type: ignore[attr-defined]


@cache
def _readers() -> bytes:
    """The source of the code that validates checkpoints; when it changes, cached files are not used."""
    folder = Path(__file__).parent
    return b"".join((folder / name).read_bytes() for name in ("weights.py", "network.py", "observation.py"))

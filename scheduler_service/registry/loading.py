"""The cache of loaded models."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Literal, TypedDict

from cachetools import LRUCache

from scheduler_env.batch import input_file, keep
from scheduler_service.errors import InvalidModel
from scheduler_service.registry.records import ModelRecord
from scheduler_service.registry.weights import load, sha256_of

if TYPE_CHECKING:
    from scheduler_env.solver import Solver

Lookup = Literal["hit", "miss", "failed"]
"""Result of a lookup: in memory; read from the file; or failed, because the file cannot be used."""


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A model ready to build schedules."""

    key: str
    algorithm: str
    version: str
    agent: "Solver"
    weights: Path
    sha256: str  # of `weights`


class SharedModel(TypedDict):
    """A model in a chunk of batch work; JSON. `digest` is an input of the batch."""

    key: str
    algorithm: str
    version: str
    digest: str


class LoadedModels:
    """The `capacity` most recently used models; thread-safe."""

    def __init__(self, capacity: int) -> None:
        self._loaded: LRUCache[tuple[str, str], LoadedModel] = LRUCache(capacity)
        self._mutex = Lock()
        self._verified: dict[tuple[str, str], tuple[int, int, int]] = {}  # stat of the file when its checksum was right
        self._callback: Callable[[Lookup], None] = lambda _: None

    def on_lookup(self, callback: Callable[[Lookup], None]) -> None:
        """Call `callback` with the result of each `get`, on the calling thread; it must be fast."""
        self._callback = callback

    def forget(self) -> None:
        """Empty the cache; every model is read from its file again."""
        with self._mutex:
            self._loaded.clear()

    def get(self, record: ModelRecord, weights: Path) -> LoadedModel:
        """The model of `record`, from memory or from the file `weights`.

        Raises:
            InvalidModel: the weights are missing, are not those that were registered, or cannot be used.
        """
        slot = (record.model_key, record.sha256)
        with self._mutex:
            if (found := self._loaded.get(slot)) is not None:
                self._callback("hit")
                return found
        # Outside the lock, so that lookups of other models do not wait for this file.
        try:
            check_weights(record, weights)
            agent = load(record.algorithm, weights)
        except Exception:
            self._callback("failed")
            raise
        loaded = LoadedModel(record.model_key, record.algorithm, record.version, agent, weights, record.sha256)
        self._callback("miss")
        with self._mutex:
            self._loaded[slot] = loaded
        return loaded

    def check_file(self, record: ModelRecord, weights: Path) -> None:
        """Check that the file of a model is unchanged; without it, the model answers only while it is in memory.

        The file is hashed only if its stat has changed since the last successful check.

        Raises:
            InvalidModel: as `check_weights`.
        """
        slot = (record.model_key, record.sha256)
        try:
            info = weights.stat()
        except OSError as err:
            raise InvalidModel("model_weights_unreadable", model=record.model_key, reason=str(err)) from err
        stat = (info.st_mtime_ns, info.st_size, info.st_ino)
        if self._verified.get(slot) != stat:
            check_weights(record, weights)
            self._verified[slot] = stat


def check_weights(record: ModelRecord, weights: Path) -> None:
    """Check that the file is the registered one.

    Raises:
        InvalidModel: missing, unreadable, or with a different SHA-256.
    """
    try:
        digest = sha256_of(weights)
    except OSError as err:
        raise InvalidModel("model_weights_unreadable", model=record.model_key, reason=str(err)) from err
    if digest != record.sha256:
        raise InvalidModel("model_weights_changed", model=record.model_key, found=digest, expected=record.sha256)


def share(model: LoadedModel) -> SharedModel:
    """The model for the workers of a batch, which load it with `shared_model`.

    Raises:
        InvalidModel: its weights were changed since they were loaded.
    """
    try:
        digest = keep(model.weights.read_bytes())
    except OSError as err:
        raise InvalidModel("model_weights_unreadable", model=model.key, reason=str(err)) from err
    if digest != model.sha256:
        raise InvalidModel("model_weights_changed", model=model.key, found=digest, expected=model.sha256)
    return SharedModel(key=model.key, algorithm=model.algorithm, version=model.version, digest=digest)


def shared_model(model: SharedModel) -> LoadedModel:
    """In a worker: the model, ready for measurements of its time.

    Raises:
        InvalidModel: the weights cannot be used.
    """
    return _shared_model(model["key"], model["algorithm"], model["version"], model["digest"])


@lru_cache
def _shared_model(key: str, algorithm: str, version: str, digest: str) -> LoadedModel:
    from scheduler_env.standard_cycle import SAMPLE_PARAMS, standard_instance

    path = input_file(digest)
    agent = load(algorithm, path)
    # The first schedule loads compiled code, which would take most of a time budget.
    agent.solve(standard_instance(SAMPLE_PARAMS), time_budget_ms=1.0)
    return LoadedModel(key, algorithm, version, agent, path, digest)

"""Models in memory: loaded once, and few of them."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Literal

from cachetools import LRUCache

from scheduler_service.errors import InvalidModel
from scheduler_service.registry.records import ModelRecord
from scheduler_service.registry.weights import load, sha256_of

if TYPE_CHECKING:
    from scheduler_env.solver import Solver

Lookup = Literal["hit", "miss", "failed"]
"""What became of a look into memory: there; read from its file; or neither, since the file cannot be used."""


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A model ready to build schedules."""

    key: str
    algorithm: str
    version: str
    agent: "Solver"


class LoadedModels:
    """The `capacity` models used last; safe to share between threads."""

    def __init__(self, capacity: int) -> None:
        self._loaded: LRUCache[tuple[str, str], LoadedModel] = LRUCache(capacity)
        self._mutex = Lock()
        self._sound: dict[tuple[str, str], tuple[int, int, int]] = {}  # signs of a file that was as registered
        self._told: Callable[[Lookup], None] = lambda _: None

    def tell(self, told: Callable[[Lookup], None]) -> None:
        """From now on `told` learns what becomes of each `get`, in the thread that asked; it must be quick."""
        self._told = told

    def forget(self) -> None:
        """From now on every model is read from its file again."""
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
                self._told("hit")
                return found
        # Outside the lock: who needs another model must not wait for this file.
        try:
            check_weights(record, weights)
            loaded = LoadedModel(record.model_key, record.algorithm, record.version, load(record.algorithm, weights))
        except Exception:
            self._told("failed")
            raise
        self._told("miss")
        with self._mutex:
            self._loaded[slot] = loaded
        return loaded

    def check_file(self, record: ModelRecord, weights: Path) -> None:
        """Nothing, if the file of a model is as it was registered: one in memory answers without it, but only there.

        Read as a whole only when the file has changed since it was found to be sound.

        Raises:
            InvalidModel: as `check_weights`.
        """
        slot = (record.model_key, record.sha256)
        try:
            info = weights.stat()
        except OSError as err:
            raise InvalidModel("model_weights_unreadable", model=record.model_key, reason=str(err)) from err
        signs = (info.st_mtime_ns, info.st_size, info.st_ino)
        if self._sound.get(slot) != signs:
            check_weights(record, weights)
            self._sound[slot] = signs


def check_weights(record: ModelRecord, weights: Path) -> None:
    """Refuses a file that is not the one that was registered.

    Raises:
        InvalidModel: missing, unreadable, or with another SHA-256.
    """
    try:
        digest = sha256_of(weights)
    except OSError as err:
        raise InvalidModel("model_weights_unreadable", model=record.model_key, reason=str(err)) from err
    if digest != record.sha256:
        raise InvalidModel("model_weights_changed", model=record.model_key, found=digest, expected=record.sha256)

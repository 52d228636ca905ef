"""Which store a process uses."""

import os
from functools import cache
from pathlib import Path

from scheduler_service.database_url import DatabaseUrl, parse_path
from scheduler_service.settings import Settings, settings_from_environment
from scheduler_service.store.change import Store
from scheduler_service.store.folder import FolderStore


def store_of(settings: Settings) -> Store:
    """The store of `settings.home`: the folder, or the database of SCHED_DATABASE_URL."""
    return store_at(settings.records, settings.home)


def store_at(place: Path | DatabaseUrl, home: Path) -> Store:
    """The store beside the records at `place`: the folder `home`, or the same database."""
    return FolderStore(home) if isinstance(place, Path) else _database(place, home, os.getpid())


@cache
def _database(url: DatabaseUrl, home: Path, _process: int) -> Store:
    """One store for each process, because it holds connections and has a thread."""
    from scheduler_service.store.database import DatabaseStore

    return DatabaseStore(url, home)


def store_for(path: str | Path | None, store: Store | None = None) -> Store:
    """`store` if it is given; else the folder that contains `path`; without a path, that of the environment."""
    if store is not None:
        return store
    return store_of(settings_from_environment()) if path is None else FolderStore(parse_path(path).absolute().parent)

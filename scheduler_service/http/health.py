"""Three questions to a service: is it healthy, does it live, is it ready (docs/decisions/health-three-questions.md).

Each check answers what it found, in words, and raises what is wrong; all of them may have to wait for a disk.
"""

import os
import shutil
from collections.abc import Callable, Mapping

from scheduler_service.errors import Overloaded, ServiceError, StorageUnavailable
from scheduler_service.http.services import Services

MIN_FREE_BYTES = 50 * 2**20
"""Below this the disk counts as full: the database and the logs still want to write their last lines."""

Told = Mapping[str, Mapping[str, str]]  # part -> its status, `ok` or `failing`, and detail


def health(parts: Services) -> Told:
    """Whether every part works, as clients have always been told."""
    return _told(parts, {"database": _database, "models": _models, "experiments": _experiments, "disk": _disk})


def readiness(parts: Services) -> Told:
    """Whether this process should be sent runs now: `health`, and that it is warm and has room for more."""
    return {**health(parts), **_told(parts, {"folders": _folders, "queues": _queues, "warm_up": _warm_up})}


def failing(told: Told) -> list[str]:
    """The names of the parts that do not work."""
    return [name for name, part in told.items() if part["status"] != "ok"]


def _told(parts: Services, checks: Mapping[str, Callable[[Services], str]]) -> Told:
    return {name: _checked(check, parts) for name, check in checks.items()}


def _checked(check: Callable[[Services], str], parts: Services) -> dict[str, str]:
    try:
        return {"status": "ok", "detail": check(parts)}
    except (ServiceError, OSError) as err:
        return {"status": "failing", "detail": str(err)}


def _database(parts: Services) -> str:
    parts.monitor.check_writable()
    return "runs can be recorded"


def _models(parts: Services) -> str:
    key = parts.models.resolve(parts.experiments.default_model, standing=True)
    parts.models.load_model(key)  # from memory, once it was read; a missing or changed file says so here
    return f"the default model is {key}"


def _experiments(parts: Services) -> str:
    problem = parts.experiments.config_problem
    if problem is not None:
        raise StorageUnavailable(problem)
    return "the configuration is valid"


def _disk(parts: Services) -> str:
    free = shutil.disk_usage(parts.settings.home).free
    if free < MIN_FREE_BYTES:
        raise StorageUnavailable(f"{free / 2**20:.0f} MiB are free; at least {MIN_FREE_BYTES / 2**20:.0f} are needed")
    return f"{free / 2**20:.0f} MiB are free"


def _folders(parts: Services) -> str:
    for folder in (parts.settings.models_dir, parts.settings.logs_dir, parts.settings.reports_dir):
        if not folder.is_dir() or not os.access(folder, os.W_OK | os.X_OK):
            raise StorageUnavailable(f"{folder} is not a folder that can be written")
    return "models, logs and reports can be written"


def _queues(parts: Services) -> str:
    queues = {"compute": parts.compute, "large": parts.large, "improving": parts.improving, "storage": parts.storage}
    for kind, threads in queues.items():
        if threads.is_full:
            raise Overloaded(f"the queue {kind} is full: {threads.load}")
    return ", ".join(f"{kind}: {threads.load}" for kind, threads in queues.items())


def _warm_up(parts: Services) -> str:
    if not parts.warmed_up.is_set():
        raise Overloaded("the default model is being loaded and warmed up")
    return "the warm-up is over"

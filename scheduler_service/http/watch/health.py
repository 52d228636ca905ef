"""Three questions to a service: is it healthy, does it live, is it ready (docs/decisions/health-three-questions.md)."""

import os
import shutil
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

from scheduler_service.errors import Overloaded, StorageUnavailable, cannot_write
from scheduler_service.http.services import Services
from scheduler_service.http.watch.checks import Check, Told, checked

MIN_FREE_BYTES = 50 * 2**20
"""Below this the disk counts as full: the database and the logs still want to write their last lines."""
HIDDEN = "an API key with the scope read shows more"


def health(parts: Services) -> Told:
    """Whether every part works, as clients have always been told."""
    disks = {
        "database": _database,
        "models": _models,
        "experiments": _experiments,
        "thresholds": _thresholds,
        "disk": _disk,
        "folders": _folders,
    }
    return {**parts.checks.ask(_bound(parts, disks)), **_now(parts, {"clock": _clock})}


def readiness(parts: Services) -> Told:
    """Whether this process should be sent runs now: `health`, and that it is warm and has room for more."""
    return {**health(parts), **_now(parts, {"queues": _queues, "warm_up": _warm_up})}


def without_details(told: Told) -> Told:
    """For who may not read: the parts, and which of them do not work."""
    return {name: {"status": part["status"], "detail": HIDDEN} for name, part in told.items()}


def failing(told: Told) -> list[str]:
    """The names of the parts that do not work."""
    return [name for name, part in told.items() if part["status"] != "ok"]


def _bound(parts: Services, checks: Mapping[str, Callable[[Services], str]]) -> dict[str, Check]:
    return {name: partial(check, parts) for name, check in checks.items()}


def _now(parts: Services, checks: Mapping[str, Callable[[Services], str]]) -> Told:
    return {name: checked(check) for name, check in _bound(parts, checks).items()}


def _database(parts: Services) -> str:
    note = parts.monitor.check_writable()
    return f"runs can be recorded; {note}" if note else "runs can be recorded"


def _models(parts: Services) -> str:
    detail = _default_model(parts)
    for experiment in parts.experiments.active_experiments():
        for name in experiment.models.values():
            _check_file(parts.models.resolve(name, standing=True), parts)
    if (fault := parts.models.fault) is not None:
        raise fault
    return detail


def _default_model(parts: Services) -> str:
    key = parts.models.resolve(parts.experiments.default_model, standing=True)
    parts.models.load_model(key)  # from memory, once it was read
    _check_file(key, parts)
    return f"the default model is {key}"


def _check_file(key: str, parts: Services) -> None:
    """A model in memory answers without its file, until the process ends."""
    record = parts.models.get_model(key)
    parts.models.loaded.check_file(record, parts.settings.models_dir / "models" / f"{key}.pth")


def _experiments(parts: Services) -> str:
    if (fault := parts.experiments.config_fault) is not None:
        raise fault
    return "the configuration is valid"


def _thresholds(parts: Services) -> str:
    file = parts.monitor.limits.file
    if (fault := file.fault) is not None:
        raise fault
    return f"{len(file.thresholds)} thresholds of alerts are set"


def _disk(parts: Services) -> str:
    free = shutil.disk_usage(parts.settings.home).free
    if free < MIN_FREE_BYTES:
        raise StorageUnavailable("disk_nearly_full", free=free, minimum=MIN_FREE_BYTES)
    return f"{free / 2**20:.0f} MiB are free"


def _folders(parts: Services) -> str:
    for folder in (parts.settings.models_dir, parts.settings.logs_dir, parts.settings.reports_dir):
        _check_folder(folder)
    return "models, logs and reports can be written"


def _check_folder(folder: Path) -> None:
    if not folder.is_dir() or not os.access(folder, os.W_OK | os.X_OK):
        raise StorageUnavailable("folder_not_writable", folder=str(folder))
    # What the permissions say is not all: they do not know of a flag that forbids changes, nor bind root.
    probe = folder / f".writable.{os.getpid()}.tmp"
    try:
        probe.touch()
        probe.unlink()
    except OSError as err:
        raise cannot_write(folder, err) from err


def _clock(parts: Services) -> str:
    note = parts.checks.look_at_clock()
    return f"the clock {note}" if note else "the clock has run evenly"


def _queues(parts: Services) -> str:
    queues = {"compute": parts.compute, "large": parts.large, "improving": parts.improving, "storage": parts.storage}
    for kind, threads in queues.items():
        if threads.is_full:
            raise Overloaded("queue_full", queue=kind, load=str(threads.load))
    return ", ".join(f"{kind}: {threads.load}" for kind, threads in queues.items())


def _warm_up(parts: Services) -> str:
    if not parts.warmed_up.is_set():
        raise Overloaded("warming_up")
    return "the warm-up is over"

"""Health, liveness and readiness of the service (docs/decisions/health-three-questions.md)."""

import os
import shutil
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

from scheduler_service.errors import Overloaded, StorageUnavailable, cannot_write
from scheduler_service.http.services import Services
from scheduler_service.http.watch.checks import Check, CheckResults, checked

MIN_FREE_BYTES = 50 * 2**20
"""With less the disk counts as full: the database and the logs need space for their last writes."""
HIDDEN_DETAIL = "an API key with the scope read shows more"


def health(parts: Services) -> CheckResults:
    """The status of every part."""
    with_disk_access = {
        "database": _database,
        "models": _models,
        "experiments": _experiments,
        "thresholds": _thresholds,
        "disk": _disk,
        "folders": _folders,
    }
    return {**parts.checks.ask(_bind(parts, with_disk_access)), **_run_checks(parts, {"clock": _clock})}


def readiness(parts: Services) -> CheckResults:
    """Whether this process can take runs: `health`, free queue places and a finished warm-up."""
    return {**health(parts), **_run_checks(parts, {"queues": _queues, "warm_up": _warm_up})}


def without_details(results: CheckResults) -> CheckResults:
    """The statuses without details, for clients that may not read."""
    return {name: {"status": part["status"], "detail": HIDDEN_DETAIL} for name, part in results.items()}


def failing(results: CheckResults) -> list[str]:
    """The names of the failing parts."""
    return [name for name, part in results.items() if part["status"] != "ok"]


def _bind(parts: Services, checks: Mapping[str, Callable[[Services], str]]) -> dict[str, Check]:
    return {name: partial(check, parts) for name, check in checks.items()}


def _run_checks(parts: Services, checks: Mapping[str, Callable[[Services], str]]) -> CheckResults:
    return {name: checked(check) for name, check in _bind(parts, checks).items()}


def _database(parts: Services) -> str:
    note = parts.monitor.check_writable()
    return f"runs can be recorded; {note}" if note else "runs can be recorded"


def _models(parts: Services) -> str:
    detail = _default_model(parts)
    for experiment in parts.experiments.active_experiments():
        for name in experiment.models.values():
            _check_file(parts.models.resolve(name, oldest=True), parts)
    if (fault := parts.models.fault) is not None:
        raise fault
    return detail


def _default_model(parts: Services) -> str:
    key = parts.models.resolve(parts.experiments.default_model, oldest=True)
    parts.models.load_model(key)  # from memory after the first time
    _check_file(key, parts)
    return f"the default model is {key}"


def _check_file(key: str, parts: Services) -> None:
    """A model in memory answers without its file only until the process ends, so the file is checked."""
    parts.models.check_file(key)


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
    # Permissions are not enough: they do not cover the immutable flag, and root bypasses them.
    probe = folder / f".writable.{os.getpid()}.tmp"
    try:
        probe.touch()
        probe.unlink()
    except OSError as err:
        raise cannot_write(folder, err) from err


def _clock(parts: Services) -> str:
    note = parts.checks.check_clock()
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

"""Several processes: gunicorn's master, and workers that serve as a single process does.

gunicorn's settings are defined only here, for both `python enhanced_flask.py --workers N` and
`gunicorn -c deploy/gunicorn.conf.py`. Code that every worker needs is loaded before the fork: it is in memory once, and
a replacement worker answers immediately.
"""

import fcntl
import gc
import logging
import mmap
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gevent

from scheduler_service.http.server.background import stop_background_work
from scheduler_service.http.server.connections import ConnectionCounts
from scheduler_service.http.server.offload import CORES, pin_to_core
from scheduler_service.http.server.serving import (
    BACKLOG,
    DRAIN_S,
    MAX_CONNECTIONS,
    WarmUp,
    announce,
    exit_now,
)
from scheduler_service.http.watch.spans import flush_spans
from scheduler_service.settings import Settings

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication

HANG_TIMEOUT_S = 30
"""A worker whose event loop does not run for this long is killed and replaced."""
MEMORY_FOLDER = Path("/dev/shm")
METRICS_PREFIX, METRICS_STALE_AFTER_S = "scheduler-metrics-", 60.0
"""Heartbeats and metrics of the workers are files in memory: on a full disk, writing to a mapped file would kill the
process."""

log = logging.getLogger("scheduler.serving")


def serve_with_workers(
    make_app: Callable[[], tuple["WSGIApplication", WarmUp]], settings: Settings, *, load: Callable[[], None]
) -> None:
    """Serve in `settings.workers` processes until SIGTERM or SIGINT.

    Args:
        make_app: called in each process, after the fork.
        load: see `gunicorn_settings`.
    """
    from gunicorn.app.base import BaseApplication

    class Application(BaseApplication):  # type: ignore[misc]
        def load_config(self) -> None:
            for name, value in gunicorn_settings(settings, load=load).items():
                self.cfg.set(name, value)

        def load(self) -> "WSGIApplication":
            app, warm_up = make_app()
            gevent.spawn(warm_up)
            return app

    Application().run()


def gunicorn_settings(settings: Settings, *, load: Callable[[], None]) -> dict[str, object]:
    """gunicorn's settings.

    Args:
        load: called in the master once clients can connect, before the workers are forked. It imports and compiles. It
            must not start threads or open databases, which do not survive a fork.
    """
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    return {
        "bind": f"{host}:{settings.port}",
        "workers": settings.workers,
        "worker_class": "scheduler_service.http.server.worker.Worker",
        "worker_connections": MAX_CONNECTIONS,
        "backlog": BACKLOG,
        "timeout": HANG_TIMEOUT_S,
        # The worker itself cuts requests off after DRAIN_S, and logs them.
        "graceful_timeout": int(DRAIN_S) + 5,
        # No recycling is needed: there is no memory leak, see benchmarks/results/endurance_soak.md.
        "max_requests": 0,
        # It would be a file in $HOME, through which any process of the same user could control the service.
        "control_socket_disable": True,
        "worker_tmp_dir": _memory_folder(),
        "proc_name": "shutdown-scheduler",
        "logger_class": "scheduler_service.http.server.worker.ServiceLog",
        "post_fork": _keep_to_core,
        "on_starting": _make_metrics_folder,
        "when_ready": lambda arbiter: _prepare(arbiter, load),
        "pre_fork": partial(_prepare_worker, _shared_counts(2 * settings.workers)),
        "worker_abort": _log_hang,
        "child_exit": _forget_worker,
        "worker_exit": _end_worker,
        "on_exit": _remove_metrics_folder,
    }


def _shared_counts(places: int) -> memoryview:
    counts = memoryview(mmap.mmap(-1, 4 * places)).cast("i")
    for place in range(places):
        counts[place] = -1
    return counts


def _prepare_worker(counts: memoryview, arbiter: Any, worker: Any) -> None:
    _assign_place(counts, arbiter, worker)
    _choose_core(arbiter, worker)


def _assign_place(counts: memoryview, arbiter: Any, worker: Any) -> None:
    """Give `worker` a free place in `counts`; while workers are being replaced, there are twice as many."""
    taken = {each.connection_counts.place for each in arbiter.WORKERS.values() if each.connection_counts is not None}
    free = [place for place in range(len(counts)) if place not in taken]
    if free:
        worker.connection_counts = ConnectionCounts(counts, free[0])


def _make_metrics_folder(_arbiter: object) -> None:
    """Create the folder of the workers' metrics; has to be set before prometheus_client is imported."""
    parent = Path(_memory_folder() or tempfile.gettempdir())
    for other in parent.glob(f"{METRICS_PREFIX}*"):
        _remove_if_stale(other)
    folder = tempfile.mkdtemp(prefix=METRICS_PREFIX, dir=parent)
    # The lock is held while this process or a worker lives, however they end.
    fcntl.flock(os.open(folder, os.O_RDONLY), fcntl.LOCK_SH)
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = folder


def _remove_if_stale(folder: Path) -> None:
    """Remove the metrics folder of a service that was killed."""
    with suppress(OSError):  # of another user, or removed by another process
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if time.time() - folder.stat().st_mtime > METRICS_STALE_AFTER_S:  # a newer one may not be locked yet
                shutil.rmtree(folder)
        finally:
            os.close(descriptor)


def _remove_metrics_folder(_arbiter: object) -> None:
    shutil.rmtree(os.environ["PROMETHEUS_MULTIPROC_DIR"], ignore_errors=True)


def _memory_folder() -> str | None:
    return str(MEMORY_FOLDER) if os.access(MEMORY_FOLDER, os.W_OK | os.X_OK) else None


def _prepare(arbiter: Any, load: Callable[[], None]) -> None:
    _install_signal_handlers(arbiter)
    announce(arbiter.LISTENERS[0].sock.getsockname())
    load()
    # The garbage collector would touch, and so copy, the pages of loaded objects in every worker.
    gc.collect()
    gc.freeze()


def _install_signal_handlers(arbiter: Any) -> None:
    """SIGTERM and SIGINT finish requests in flight. gunicorn's SIGINT does not, and it ignores a second SIGTERM."""
    is_ending = False

    def end(_number: int, _frame: object) -> None:
        nonlocal is_ending
        if is_ending:
            arbiter.kill_workers(signal.SIGQUIT)
        else:
            is_ending = True
            arbiter.SIG_QUEUE.put_nowait(signal.SIGQUIT)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, end)


def _choose_core(arbiter: Any, worker: Any) -> None:
    """Choose the core with the fewest workers; none if there are more workers than cores."""
    taken = [other.core for other in arbiter.WORKERS.values()]
    cores = sorted(CORES)
    worker.core = min(cores, key=taken.count) if 1 < arbiter.num_workers <= len(cores) else None


def _keep_to_core(_arbiter: object, worker: Any) -> None:
    if worker.core is not None:
        pin_to_core(worker.core)


def _log_hang(_worker: object) -> None:
    log.error("the event loop hung; this worker is replaced", stack_info=True)


def _end_worker(_arbiter: object, _worker: object) -> None:
    flush_spans()
    stop_background_work()
    ending = sys.exc_info()[1]
    if isinstance(ending, SystemExit) and ending.code == 0:
        # Finalising the interpreter while a thread runs compiled code would abort the process (SIGABRT).
        exit_now()


def _forget_worker(_arbiter: object, worker: Any) -> None:
    if worker.connection_counts is not None:
        worker.connection_counts.withdraw()
    from prometheus_client.multiprocess import mark_process_dead

    mark_process_dead(worker.pid)  # type: ignore[no-untyped-call]

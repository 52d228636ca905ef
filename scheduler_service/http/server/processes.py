"""Several processes: a master that keeps workers, each of which serves as one process does.

gunicorn's master; its settings are here and nowhere else, for `python enhanced_flask.py --workers N` as for
`gunicorn -c deploy/gunicorn.conf.py`. What every worker needs is loaded before they are forked: it is in memory once,
and a worker that replaces another answers at once.
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

from scheduler_service.http.server.background import leave
from scheduler_service.http.server.connections import Share
from scheduler_service.http.server.offload import CORES, keep_to
from scheduler_service.http.server.serving import (
    BACKLOG,
    DRAIN_S,
    MAX_CONNECTIONS,
    WarmUp,
    announce,
    end_there_and_then,
)
from scheduler_service.settings import Settings

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication

HUNG_S = 30
"""A worker whose event loop does not turn for so long is killed and replaced."""
MEMORY_FOLDER = Path("/dev/shm")
METRICS_PREFIX, METRICS_LEFT_S = "scheduler-metrics-", 60.0
"""Where the workers' heartbeats and metrics are kept, in memory: a full disk would kill who writes to a mapped file."""

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
    """What gunicorn is told.

    Args:
        load: called in the master once clients can connect, before the workers are forked. It imports and compiles;
            it starts no thread and opens no database, which do not survive a fork.
    """
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    return {
        "bind": f"{host}:{settings.port}",
        "workers": settings.workers,
        "worker_class": "scheduler_service.http.server.worker.Worker",
        "worker_connections": MAX_CONNECTIONS,
        "backlog": BACKLOG,
        "timeout": HUNG_S,
        # The worker itself cuts off after DRAIN_S, and says what.
        "graceful_timeout": int(DRAIN_S) + 5,
        # Nothing leaks that recycling would cure: benchmarks/results/endurance_soak.md.
        "max_requests": 0,
        # It would be a file below $HOME, that anybody with our user could command the service through.
        "control_socket_disable": True,
        "worker_tmp_dir": _memory_folder(),
        "proc_name": "shutdown-scheduler",
        "logger_class": "scheduler_service.http.server.worker.ServiceLog",
        "post_fork": _keep_to_core,
        "on_starting": _make_metrics_folder,
        "when_ready": lambda arbiter: _prepare(arbiter, load),
        "pre_fork": partial(_place_worker, _no_shares(2 * settings.workers)),
        "worker_abort": _tell_where_it_hangs,
        "child_exit": _forget_worker,
        "worker_exit": _end_worker,
        "on_exit": _remove_metrics_folder,
    }


def _no_shares(places: int) -> memoryview:
    counts = memoryview(mmap.mmap(-1, 4 * places)).cast("i")
    for place in range(places):
        counts[place] = -1
    return counts


def _place_worker(counts: memoryview, arbiter: Any, worker: Any) -> None:
    _give_share(counts, arbiter, worker)
    _choose_core(arbiter, worker)


def _give_share(counts: memoryview, arbiter: Any, worker: Any) -> None:
    """For as long as a place in `counts` is free: while workers are replaced there are twice as many."""
    taken = {each.share.place for each in arbiter.WORKERS.values() if each.share is not None}
    free = [place for place in range(len(counts)) if place not in taken]
    if free:
        worker.share = Share(counts, free[0])


def _make_metrics_folder(_arbiter: object) -> None:
    """The workers add their numbers up through files here; has to be known before prometheus_client is imported."""
    parent = Path(_memory_folder() or tempfile.gettempdir())
    for other in parent.glob(f"{METRICS_PREFIX}*"):
        _remove_if_left(other)
    folder = tempfile.mkdtemp(prefix=METRICS_PREFIX, dir=parent)
    # Held as long as this process or a worker lives, whatever ends them.
    fcntl.flock(os.open(folder, os.O_RDONLY), fcntl.LOCK_SH)
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = folder


def _remove_if_left(folder: Path) -> None:
    """Removes a folder of numbers whose service was killed."""
    with suppress(OSError):  # of another user, or another process was quicker
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if time.time() - folder.stat().st_mtime > METRICS_LEFT_S:  # a younger one may not be held yet
                shutil.rmtree(folder)
        finally:
            os.close(descriptor)


def _remove_metrics_folder(_arbiter: object) -> None:
    shutil.rmtree(os.environ["PROMETHEUS_MULTIPROC_DIR"], ignore_errors=True)


def _memory_folder() -> str | None:
    return str(MEMORY_FOLDER) if os.access(MEMORY_FOLDER, os.W_OK | os.X_OK) else None


def _prepare(arbiter: Any, load: Callable[[], None]) -> None:
    _end_decently(arbiter)
    announce(arbiter.LISTENERS[0].sock.getsockname())
    load()
    # What is loaded stays: the collector need not look at it, which would copy its pages into every worker.
    gc.collect()
    gc.freeze()


def _end_decently(arbiter: Any) -> None:
    """SIGTERM and SIGINT finish what is in flight; gunicorn's SIGINT would not, nor hear a second SIGTERM."""
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
    """The core that the fewest of the other workers keep to; none if there are more workers than cores."""
    taken = [other.core for other in arbiter.WORKERS.values()]
    cores = sorted(CORES)
    worker.core = min(cores, key=taken.count) if 1 < arbiter.num_workers <= len(cores) else None


def _keep_to_core(_arbiter: object, worker: Any) -> None:
    if worker.core is not None:
        keep_to(worker.core)


def _tell_where_it_hangs(_worker: object) -> None:
    log.error("the event loop hung; this worker is replaced", stack_info=True)


def _end_worker(_arbiter: object, _worker: object) -> None:
    leave()
    ending = sys.exc_info()[1]
    if isinstance(ending, SystemExit) and ending.code == 0:
        # Not through the interpreter's end: a thread that is in compiled code then aborts the process (SIGABRT).
        end_there_and_then()


def _forget_worker(_arbiter: object, worker: Any) -> None:
    if worker.share is not None:
        worker.share.give_up()
    from prometheus_client.multiprocess import mark_process_dead

    mark_process_dead(worker.pid)  # type: ignore[no-untyped-call]

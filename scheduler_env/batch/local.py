"""The worker processes of this machine.

They are started when they are needed, serve the later calls as well, and end together with this process. They are new
Python processes: the threads of PyTorch, numba and gevent do not survive a fork.
"""

import os
import subprocess
import sys
from collections.abc import Generator, Iterator
from contextlib import suppress
from multiprocessing.connection import Connection, wait
from pathlib import Path
from socket import socketpair

from scheduler_env.batch.inputs import FOLDER, folder
from scheduler_env.batch.work import ATTEMPTS, Task, lost
from scheduler_env.cores import usable_cores

ROOT = Path(__file__).resolve().parent.parent.parent
ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")
"""There is a worker for each core, so that several threads in one of them would only compete."""


class Worker:
    """A worker process and the connection to it."""

    def __init__(self) -> None:
        ours, theirs = socketpair()
        with theirs:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "scheduler_env.batch.worker", str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                env={
                    **os.environ,
                    **dict.fromkeys(ONE_THREAD, "1"),
                    "PYTHONPATH": os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]),
                    "TQDM_DISABLE": "1",
                    FOLDER: str(folder()),
                },
                stdin=subprocess.DEVNULL,
                stdout=2,  # standard output belongs to the command, which may print JSON
                start_new_session=True,  # Ctrl-C reaches only this process, which then kills the workers
            )
        self.connection = Connection(ours.detach())

    def send(self, task: Task) -> None:
        with suppress(OSError):  # it is dead; `reply` reports it
            self.connection.send_bytes(task.to_json().encode())

    def reply(self) -> str | None:
        """The reply to the last task, after a wait; None if the worker is dead."""
        try:
            return self.connection.recv_bytes().decode()
        except (EOFError, OSError):
            return None

    @property
    def is_alive(self) -> bool:
        """Whether an idle worker can be given a task; its connection has nothing to read unless it is closed."""
        return self.process.poll() is None and not self.connection.poll()

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
        self.connection.close()


_idle: list[Worker] = []


def _living() -> Worker:
    """An idle worker, or a new one instead of those that were killed meanwhile."""
    while _idle:
        worker = _idle.pop()
        if worker.is_alive:
            return worker
        worker.kill()
    return Worker()


def run_on_processes(tasks: Iterator[Task]) -> Generator[tuple[Task, str], None, None]:
    """(task, reply) of each task, computed by one process for each usable core.

    Raises:
        BatchFailed: the workers of a task were killed `ATTEMPTS` times.
    """
    limit = usable_cores()
    waiting = ((task, 1) for task in tasks)  # with the number of the attempt
    again: list[tuple[Task, int]] = []
    busy: dict[Connection, tuple[Worker, Task, int]] = {}

    def start() -> None:
        while len(busy) < limit and (work := again.pop() if again else next(waiting, None)):
            worker = _living()
            busy[worker.connection] = (worker, *work)
            worker.send(work[0])

    try:
        start()
        while busy:
            for connection in wait(list(busy)):
                worker, task, attempt = busy.pop(connection)  # type: ignore[call-overload]
                reply = worker.reply()
                if reply is not None:
                    _idle.append(worker)
                    start()  # before the caller takes the result, which may take time
                    yield task, reply
                    continue
                worker.kill()
                if attempt == ATTEMPTS:
                    raise lost(task)
                again.append((task, attempt + 1))
                start()
    finally:
        for worker, _, _ in busy.values():
            worker.kill()

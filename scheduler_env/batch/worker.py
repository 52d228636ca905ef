"""A worker process of `scheduler_env.batch.local`: `python -m scheduler_env.batch.worker <descriptor of a socket>`."""

import os
import select
import sys
import threading
from contextlib import suppress
from multiprocessing.connection import Connection

from scheduler_env.batch.work import Task, compute
from scheduler_env.cores import SOLVER_THREADS

NICENESS = 10
"""Clients of a service on this machine come first. A worker still gets a tenth of a busy core."""


def main(descriptor: int) -> None:
    """Compute one task after the other, until the other process closes the socket or ends."""
    os.setpriority(os.PRIO_PROCESS, 0, max(NICENESS, os.getpriority(os.PRIO_PROCESS, 0)))
    SOLVER_THREADS.limit = 1
    threading.Thread(target=_end_with_the_other_process, args=(descriptor,), daemon=True).start()
    connection = Connection(descriptor)
    with suppress(EOFError, OSError):
        while True:
            task = Task.from_json(connection.recv_bytes())
            connection.send_bytes(compute(task).encode())


def _end_with_the_other_process(descriptor: int) -> None:
    """End this process, also in the middle of a chunk, when the other end of the socket is closed."""
    closed = select.poll()
    closed.register(descriptor, select.POLLRDHUP)
    closed.poll()
    os._exit(0)


if __name__ == "__main__":
    main(int(sys.argv[1]))

"""Plain sockets to a service, for requests that no HTTP library sends."""

import json
import select
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from urllib.parse import urlsplit

from tests.conftest import LiveService
from tests.waiting import HANG_S, until


def connected(service: LiveService) -> socket.socket:
    address = urlsplit(service.url)
    return socket.create_connection((address.hostname, address.port), timeout=HANG_S)


def read_all(client: socket.socket) -> bytes:
    """Everything until the server closes or resets the connection."""
    received = b""
    try:
        while piece := client.recv(65_536):
            received += piece
    except TimeoutError:
        raise
    except OSError:  # closed before everything was read
        pass
    return received


def run_in_progress(service: LiveService, **body: object) -> socket.socket:
    """The connection of a run that was requested."""
    connection = connected(service)
    content = json.dumps(body).encode()
    head = f"POST /run_algorithm HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(content)}\r\n"
    connection.sendall(head.encode() + b"Content-Type: application/json\r\n\r\n" + content)
    return connection


@contextmanager
def computing(service: LiveService, count: int, workpoints: object) -> Iterator[None]:
    """The service computes so many runs during the block, and answers none of them: their clients leave at its end."""
    with ExitStack() as held:
        runs = [run_in_progress(service, workpoints=workpoints, time_budget_ms=60_000) for _ in range(count)]
        for each in runs:
            held.enter_context(each)
        until(lambda: service.queued() == count, f"{count} runs to be computed")
        yield
        assert not select.select(runs, [], [], 0)[0], "answered before the end of the block"
    until(lambda: service.queued() == 0, "the runs of clients that left to end")

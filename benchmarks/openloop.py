"""A client that sends runs at a constant rate, whatever the server does, and knows what came of each of them.

wrk only sends when it has its answer, so an overloaded server slows it down; wrk2 is not in Debian. This is one thread
over raw sockets with bytes made beforehand; it says how much processor time it took, since it shares the cores.
"""

import errno
import json
import os
import resource
import select
import socket
import time
from array import array
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from benchmarks.requests import Body

LOST_CONNECTION = 0
"""Instead of a status, for a request whose connection ended without an answer."""


@dataclass
class Sent:
    """What came of every answered request, in the order of the answers, and of those without."""

    began_s: float
    number: "array[int]" = field(default_factory=lambda: array("q"))  # of the request; its user is <prefix><number>
    status: "array[int]" = field(default_factory=lambda: array("h"))
    answered_s: "array[float]" = field(default_factory=lambda: array("d"))  # since the beginning
    latency_ms: "array[float]" = field(default_factory=lambda: array("d"))  # from when it was due, so no wait is hidden
    without_retry_after: int = 0  # 503s that did not say when to come back
    due: int = 0
    unanswered: int = 0  # when the patience was over
    ended_s: float = 0.0  # since the beginning: when the last one was due
    cpu_s: float = 0.0  # that the client used

    def count(self, status: int) -> int:
        return int((np.frombuffer(self.status, dtype=np.int16) == status).sum())

    def good_numbers(self) -> list[int]:
        """The numbers of the requests that were answered 200."""
        numbers, status = np.frombuffer(self.number, dtype=np.int64), np.frombuffer(self.status, dtype=np.int16)
        return [int(number) for number in numbers[status == 200]]

    def quantiles_ms(self, status: int, quantiles: tuple[float, ...] = (50.0, 99.0)) -> list[float]:
        """Of the latencies of the answers with this status; empty if there are none."""
        found = np.frombuffer(self.latency_ms)[np.frombuffer(self.status, dtype=np.int16) == status]
        return [float(value) for value in np.percentile(found, quantiles)] if len(found) else []


class _Connection:
    __slots__ = ("due_s", "number", "received", "socket", "unsent")

    def __init__(self, port: int, unsent: bytes) -> None:
        """Asks for a connection, and does not wait for it: a full queue of the system would hold up all the others."""
        self.socket = socket.socket()
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.setblocking(False)
        error = self.socket.connect_ex(("127.0.0.1", port))
        if error not in (0, errno.EINPROGRESS):
            raise OSError(error, os.strerror(error))
        self.unsent = unsent  # until it is connected
        self.received = b""
        self.number = -1  # of the request in flight; -1: idle
        self.due_s = 0.0


def send(
    port: int,
    bodies: Sequence[Body],
    prefix: str,
    seconds: float,
    *,
    rate: float | None,
    connections: int,
    path: str = "/run_algorithm",
    patience_s: float = 30.0,
    on_tick: Callable[[float], None] | None = None,
) -> Sent:
    """Send runs for so long, then wait for what is in flight.

    Args:
        bodies: request `number` carries `bodies[number % len(bodies)]` and the user `<prefix><number>`.
        rate: requests a second, evenly spaced; None: closed loop, each connection sends when it has its answer.
        connections: the most that are open at once; when none is free, a request waits here, and that wait counts.
        on_tick: called about every second with the seconds since the beginning.
    """
    # The user comes last in each body, so that its number and '"}' complete the text.
    texts = [json.dumps(body | {"user_id": prefix}).removesuffix('"}') for body in bodies]
    head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: "
    poller = select.epoll()
    open_by_fd: dict[int, _Connection] = {}
    idle: deque[_Connection] = deque()
    used = resource.getrusage(resource.RUSAGE_SELF)
    cpu_before_s = used.ru_utime + used.ru_stime
    began_s = time.perf_counter()
    sent = Sent(began_s)
    next_tick_s, in_flight, due, started = 1.0, 0, 0, 0
    waiting: deque[float] = deque()  # when those were due that have no connection yet

    def close(connection: _Connection) -> None:
        open_by_fd.pop(connection.socket.fileno(), None)
        connection.socket.close()  # epoll forgets it by itself

    def begin(due_s: float) -> bool:
        nonlocal started, in_flight
        while True:
            text = f'{texts[started % len(texts)]}{started}"}}'
            data = f"{head}{len(text)}\r\n\r\n{text}".encode()  # JSON in ASCII
            if idle:
                connection = idle.popleft()
                if connection.socket.fileno() < 0:
                    continue  # the server closed it while it was idle
                try:
                    connection.socket.send(data)
                except OSError:
                    close(connection)  # closed under our hands; nothing of it was read, so another one may carry it
                    continue
            elif len(open_by_fd) < connections:
                connection = _Connection(port, data)
                open_by_fd[connection.socket.fileno()] = connection
                poller.register(connection.socket.fileno(), select.EPOLLOUT)
            else:
                return False
            connection.number, connection.due_s = started, due_s
            started += 1
            in_flight += 1
            return True

    def end(connection: _Connection, status: int, now_s: float) -> None:
        nonlocal in_flight
        sent.number.append(connection.number)
        sent.status.append(status)
        sent.answered_s.append(now_s)
        sent.latency_ms.append(1e3 * (now_s - connection.due_s))
        connection.number = -1
        in_flight -= 1

    def transmit(connection: _Connection) -> None:
        try:
            connection.unsent = connection.unsent[connection.socket.send(connection.unsent) :]
        except BlockingIOError:
            return
        except OSError:  # no connection came of it
            end(connection, LOST_CONNECTION, time.perf_counter() - began_s)
            close(connection)
            return
        if not connection.unsent:
            poller.modify(connection.socket.fileno(), select.EPOLLIN)

    def receive(connection: _Connection) -> None:
        try:
            data = connection.socket.recv(262_144)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        now_s = time.perf_counter() - began_s
        if not data:
            if connection.number >= 0:
                end(connection, LOST_CONNECTION, now_s)
            close(connection)
            return
        connection.received += data
        headers, mark, rest = connection.received.partition(b"\r\n\r\n")
        if not mark:
            return
        lower = headers.lower()
        at = lower.find(b"content-length:")
        if at < 0:
            raise RuntimeError(f"an answer without Content-Length, which this client does not read: {headers[:300]!r}")
        if len(rest) < int(lower[at + 15 :].split(b"\r\n", 1)[0]):
            return
        status = int(headers[9:12])
        if status == 503 and b"\r\nretry-after:" not in lower:
            sent.without_retry_after += 1
        connection.received = b""
        end(connection, status, now_s)
        if b"connection: close" in lower:
            close(connection)
        else:
            idle.append(connection)

    try:
        while True:
            now_s = time.perf_counter() - began_s
            is_over = now_s >= seconds
            if rate is None:
                while not is_over and in_flight < connections and begin(now_s):
                    due += 1
                wait_s = 0.1
            else:
                while due < int(min(now_s, seconds) * rate):
                    waiting.append(due / rate)
                    due += 1
                while waiting and begin(waiting[0]):
                    waiting.popleft()
                wait_s = 0.1 if is_over else max(0.0, (due + 1) / rate - now_s)
            if is_over and ((in_flight == 0 and not waiting) or now_s > seconds + patience_s):
                break
            if on_tick is not None and now_s >= next_tick_s:
                on_tick(now_s)
                next_tick_s += 1.0
            for fd, _ in poller.poll(min(wait_s, 0.1)):
                if connection := open_by_fd.get(fd):
                    (transmit if connection.unsent else receive)(connection)
    finally:
        for connection in list(open_by_fd.values()):
            connection.socket.close()
        poller.close()
    used = resource.getrusage(resource.RUSAGE_SELF)
    sent.cpu_s = used.ru_utime + used.ru_stime - cpu_before_s
    sent.due, sent.unanswered, sent.ended_s = due, in_flight + len(waiting), seconds
    return sent

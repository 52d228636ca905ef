"""Many connections of one attacker, in a process of its own; each a greenlet, all ended by the clock."""

import multiprocessing
import os
import re
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from typing import Any

from benchmarks.attacks.target import ATTACKERS, Target, prefer_this_process

RECONNECT_S = 0.05
_STATUS = re.compile(rb"HTTP/1\.1 (\d{3}) ")
_context = multiprocessing.get_context("spawn")


@dataclass
class Outcome:
    """What an attacker did and was told."""

    opened: int = 0  # connections
    answers: Counter[str] = field(default_factory=Counter)  # by status
    sent_bytes: int = 0
    wrong: list[str] = field(default_factory=list)  # what must not happen, and did
    notes: list[str] = field(default_factory=list)

    def note_wrong(self, what: str) -> None:
        """Once, however often it happens."""
        if what not in self.wrong:
            self.wrong.append(what)


class Crowd:
    """The clients of one attack."""

    def __init__(self, target: Target, seconds: float) -> None:
        self.target = target
        self.until_s = time.monotonic() + seconds
        self.outcome = Outcome()
        self._open: set[Any] = set()

    @property
    def is_on(self) -> bool:
        return time.monotonic() < self.until_s

    def connect(self, *, receive_buffer: int = 0, reads: bool = True) -> Any:
        """A connection; what it is answered is read and counted, unless `reads` is False."""
        import gevent

        client = self.target.connect(receive_buffer=receive_buffer)
        self.outcome.opened += 1
        self._open.add(client)
        if reads:
            gevent.spawn(self._read, client)
        return client

    def send(self, client: Any, data: bytes) -> None:
        client.sendall(data)
        self.outcome.sent_bytes += len(data)

    def persist(self, n_clients: int, attack: Callable[[], None]) -> None:
        """`n_clients` clients do `attack` until the time is over, whatever becomes of their connections."""

        def client() -> None:
            import gevent

            while self.is_on:
                with suppress(OSError):
                    attack()
                gevent.sleep(RECONNECT_S)

        self.together([client] * n_clients)

    def ask(self, n_clients: int, message: bytes) -> None:
        """`n_clients` clients send `message` again and again, each time once the last one was answered."""

        def attack() -> None:
            client = self.connect(reads=False)
            try:
                while self.is_on:
                    self.send(client, message)
                    self.outcome.answers[status_of(client)] += 1
            finally:
                self.close(client)

        self.persist(n_clients, attack)

    def flood(self, n_clients: int, head: bytes, piece: bytes) -> None:
        """`n_clients` connections send `head` and then `piece` again and again; whose connection ends begins anew."""

        def attack() -> None:
            client = self.connect()
            try:
                self.send(client, head)
                while self.is_on:
                    self.send(client, piece)
            finally:
                self.close(client)

        self.persist(n_clients, attack)

    def dribble(self, n_clients: int, head: bytes, pieces: bytes, every_s: float) -> None:
        """`n_clients` connections send `head`, and then one byte of `pieces` (repeated) every so often, once each."""
        import gevent

        def client() -> None:
            connection = self.connect()
            with suppress(OSError):
                self.send(connection, head)
                place = 0
                while self.is_on:
                    gevent.sleep(every_s)
                    self.send(connection, pieces[place % len(pieces) :][:1])
                    place += 1

        self.together([client] * n_clients)

    def together(self, clients: list[Callable[[], None]]) -> None:
        """Run them at once, until each ends or a little after the time is over."""
        import gevent

        jobs = [gevent.spawn(_quietly, client) for client in clients]
        gevent.joinall(jobs, timeout=max(0.0, self.until_s - time.monotonic()) + 1.0)
        gevent.killall(jobs, block=True, timeout=2.0)

    def wait(self) -> None:
        """Until the time is over."""
        import gevent

        gevent.sleep(max(0.0, self.until_s - time.monotonic()))

    def close(self, client: Any) -> None:
        self._open.discard(client)
        client.close()

    def _read(self, client: Any) -> None:
        with suppress(OSError):
            while piece := client.recv(1 << 20):
                self.outcome.answers.update(found.decode() for found in _STATUS.findall(piece))


def status_of(client: Any) -> str:
    """The status of the next answer, which is read to its end.

    Raises:
        ConnectionError: there is none.
    """
    head, _, body = b"", b"", b""
    while b"\r\n\r\n" not in head:
        piece = client.recv(65_536)
        if not piece:
            raise ConnectionError("closed")
        head += piece
    head, _, body = head.partition(b"\r\n\r\n")
    length = next(
        (int(line[15:]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")), len(body)
    )
    missing = length - len(body)
    while missing > 0 and (piece := client.recv(min(missing, 1 << 20))):
        missing -= len(piece)
    return str(head[9:12].decode())


def _quietly(client: Callable[[], None]) -> None:
    with suppress(OSError):
        client()


class Attacking:
    """An attack that goes on, in its own process."""

    def __init__(self, name: str, play: Callable[[Crowd], None], target: Target, seconds: float) -> None:
        self._here, there = _context.Pipe()
        self._process = _context.Process(target=_attack, args=(play, target, seconds, there), name=name)
        self._process.start()
        self._here.recv()

    @property
    def is_over(self) -> bool:
        """Whether it has done what it does; its connections stay open until `end`."""
        return self._here.poll(0)

    def end(self, patience_s: float) -> Outcome:
        outcome = Outcome(wrong=["the attacker did not end"])
        with suppress(EOFError, OSError):
            if self._here.poll(patience_s):
                outcome = self._here.recv()
            self._here.send(None)
        self._process.join(5.0)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()
        return outcome


def _attack(play: Callable[[Crowd], None], target: Target, seconds: float, pipe: Connection) -> None:
    from gevent import monkey

    monkey.patch_socket()
    monkey.patch_time()
    prefer_this_process(ATTACKERS)
    pipe.send(None)
    crowd = Crowd(target, seconds)
    try:
        play(crowd)
    except Exception as err:
        crowd.outcome.wrong.append(f"the attack broke off: {type(err).__name__}: {err}")
    pipe.send(crowd.outcome)
    pipe.recv()
    os._exit(0)  # its connections end with it

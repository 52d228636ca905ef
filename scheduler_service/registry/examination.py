"""The first reading of a weights file: in a child process with little memory and little time.

One helper process per process that asks (and those forked from it) has torch and the compiled kernel loaded; for each
file it forks a child that takes limits upon itself, loads the file and schedules the validation set. So a file that
fills the memory, never ends or crashes the reader ends its child alone, and an examination takes about 0.1 s; only the
first one waits some 4 s for the helper. A helper that nobody asks for `IDLE_S` ends. The child's side is `examiner`.
"""

import base64
import json
import os
import socket
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

from scheduler_service.errors import InvalidModel, StorageUnavailable
from scheduler_service.registry.records import plain_object
from scheduler_service.registry.validation import measure
from scheduler_service.registry.weights import keep, load
from scheduler_service.settings import PROJECT_ROOT

if TYPE_CHECKING:
    from scheduler_env.solver import Solver

MAX_GROWTH_BYTES = 512 * 2**20
"""Address space that an examination may take beyond that of the helper."""
MAX_EXAMINATION_S = 20
START_S = 180.0
"""Longest wait for the helper's start; on a machine where `make setup` never ran it compiles the kernel first."""
IDLE_S = 120.0
MAX_ANSWER_BYTES = 16 * 2**20

STARTED, FINISHED, REFUSED = "started", "finished", "refused"


@dataclass(frozen=True, slots=True)
class Examination:
    """What a weights file turned out to be."""

    signature: Mapping[str, Any]
    training: Mapping[str, Any]  # what the file says of its training; claimed
    verified_metrics: Mapping[str, Any]  # see `validation.measure`


_mutex = Lock()
_helper: socket.socket | None = None


def examine(algorithm: str, path: Path) -> Examination:
    """Loads the weights in a child process, and measures them there.

    Raises:
        InvalidModel: not a usable model, or more than the limits allow; the text says why.
        StorageUnavailable: no child process can be started.
    """
    question = json.dumps({"algorithm": algorithm, "path": str(path.absolute()), "limit_s": MAX_EXAMINATION_S}).encode()
    for _ in range(2):  # the helper may have ended since the last question
        lines = _ask(question)
        if lines:
            break
    else:
        raise StorageUnavailable("examiner_not_started")
    if len(lines) < 2:
        raise InvalidModel(
            "examination_limits", algorithm=algorithm, limit_s=MAX_EXAMINATION_S, limit_bytes=MAX_GROWTH_BYTES
        )
    outcome, content = lines[1]
    if outcome == REFUSED:
        raise InvalidModel(content["code"], **content["params"])
    keep(path, base64.b64decode(content.pop("packed")))
    return Examination(**content)


def examine_here(algorithm: str, path: Path) -> Examination:
    """As `examine`, in this process and without limits: for the child, and for what ships with the project.

    Raises:
        InvalidModel: not a usable model; the text says why.
    """
    return look_at(algorithm, load(algorithm, path))


def look_at(algorithm: str, agent: "Solver") -> Examination:
    """What a model that was loaded turns out to be. Raises as `examine_here`."""
    try:
        measured = measure(agent)
    except Exception as err:  # strange weights may fail anywhere
        raise InvalidModel("validation_failed", algorithm=algorithm, reason=str(err)) from err
    try:
        training = plain_object("training", agent.training)
    except Exception:  # hostile nesting, NaN: nothing that has to be kept
        training = {}
    return Examination(agent.signature, training, measured)


def _ask(question: bytes) -> list[tuple[str, Any]]:
    """The child's answers, [(STARTED, None), (FINISHED or REFUSED, content)]; less if it died; [] if no helper."""
    ours, theirs = socket.socketpair()
    with ours:
        with theirs:
            try:
                socket.send_fds(_running_helper(), [question], [theirs.fileno()])
            except OSError:
                _forget_helper()
                return []
        ours.settimeout(START_S + MAX_EXAMINATION_S)
        answer = b""
        try:
            while (chunk := ours.recv(65_536)) and len(answer) <= MAX_ANSWER_BYTES:
                answer += chunk
        except OSError:
            pass
        if not answer:
            _forget_helper()
        return [tuple(json.loads(line)) for line in answer.splitlines(keepends=True) if line.endswith(b"\n")]


def _running_helper() -> socket.socket:
    """The socket that the helper listens on; it ends when no process has this end any more."""
    global _helper
    with _mutex:
        if _helper is None:
            ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            with theirs:
                subprocess.Popen(
                    [sys.executable, "-m", "scheduler_service.registry.examiner", str(theirs.fileno())],
                    pass_fds=[theirs.fileno()],
                    cwd=PROJECT_ROOT,
                    env={**os.environ, "OMP_NUM_THREADS": "1"},
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    start_new_session=True,  # Ctrl-C is for the service; the helper ends with it
                )
            _helper = ours
        return _helper


def _forget_helper() -> None:
    global _helper
    with _mutex:
        if _helper is not None:
            _helper.close()
            _helper = None

"""The first reading of a weights file, in a child process with limited memory and time.

Each requesting process, together with its forks, has one helper process with torch and the compiled kernel loaded. For
each file the helper forks a child, which limits its own resources, loads the file and schedules the validation set. So
a file that exhausts the memory, runs forever or crashes the reader ends only its child. An examination takes about 0.1
s; only the first one waits some 4 s for the helper. The helper ends after `IDLE_TIMEOUT_S` without requests. Its code
is in `examiner`.
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

from scheduler_env.errors import CodedError
from scheduler_service.errors import InvalidModel, StorageUnavailable
from scheduler_service.registry.records import plain_object
from scheduler_service.registry.validation import measure
from scheduler_service.registry.weights import cache_packed, load
from scheduler_service.settings import PROJECT_ROOT

if TYPE_CHECKING:
    from scheduler_env.solver import Solver

MAX_GROWTH_BYTES = 512 * 2**20
"""Address space of an examination in addition to that of the helper."""
MAX_EXAMINATION_S = 20
START_TIMEOUT_S = 180.0
"""Longest wait for the start of the helper, which compiles the kernel first if `make setup` never ran."""
IDLE_TIMEOUT_S = 120.0
MAX_ANSWER_BYTES = 16 * 2**20

STARTED, FINISHED, REFUSED = "started", "finished", "refused"


@dataclass(frozen=True, slots=True)
class Examination:
    """The result of examining a weights file."""

    signature: Mapping[str, Any]
    training: Mapping[str, Any]  # training data in the file; claimed
    verified_metrics: Mapping[str, Any]  # see `validation.measure`


_mutex = Lock()
_helper: socket.socket | None = None


def examine(algorithm: str, path: Path) -> Examination:
    """Load and measure the weights in a child process.

    Raises:
        InvalidModel: not a usable model, or the limits are exceeded; the text gives the reason.
        StorageUnavailable: no child process can be started.
    """
    question = json.dumps({"algorithm": algorithm, "path": str(path.absolute()), "limit_s": MAX_EXAMINATION_S}).encode()
    for _ in range(2):  # the helper may have ended since the last request
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
    cache_packed(path, base64.b64decode(content.pop("packed")))
    return Examination(**content)


def examine_in_process(algorithm: str, path: Path) -> Examination:
    """As `examine`, in this process and without limits; for the child and for shipped models.

    Raises:
        InvalidModel: not a usable model; the text gives the reason.
    """
    return examine_solver(algorithm, load(algorithm, path))


def examine_solver(algorithm: str, agent: "Solver") -> Examination:
    """Measure a loaded model. Raises as `examine_in_process`."""
    try:
        measured = measure(agent)
    except Exception as err:  # invalid weights may fail anywhere
        reason = err.messages if isinstance(err, CodedError) else str(err)
        raise InvalidModel("validation_failed", algorithm=algorithm, reason=reason) from err
    try:
        training = plain_object("training", agent.training)
    except Exception:  # deep nesting or NaN; this data is optional
        training = {}
    return Examination(agent.signature, training, measured)


def _ask(question: bytes) -> list[tuple[str, Any]]:
    """The child's messages [(STARTED, None), (FINISHED or REFUSED, content)]; fewer if it died; [] without a helper."""
    ours, theirs = socket.socketpair()
    with ours:
        with theirs:
            try:
                socket.send_fds(_running_helper(), [question], [theirs.fileno()])
            except OSError:
                _forget_helper()
                return []
        ours.settimeout(START_TIMEOUT_S + MAX_EXAMINATION_S)
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
    """The socket of the helper, which ends when no process has this end open."""
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
                    start_new_session=True,  # Ctrl-C reaches only the service; the helper ends with it
                )
            _helper = ours
        return _helper


def _forget_helper() -> None:
    global _helper
    with _mutex:
        if _helper is not None:
            _helper.close()
            _helper = None

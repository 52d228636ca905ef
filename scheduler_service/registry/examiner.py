"""The helper process of `examination`: `python -m scheduler_service.registry.examiner <descriptor of a socket>`."""

import base64
import gc
import json
import os
import resource
import signal
import socket
import sys
from dataclasses import asdict
from pathlib import Path

from scheduler_env.agent import Agent
from scheduler_env.baselines import Baseline
from scheduler_env.network import QNetwork, signature_of
from scheduler_env.rules import ALL_RULES
from scheduler_service.errors import InvalidModel
from scheduler_service.registry.examination import (
    FINISHED,
    IDLE_TIMEOUT_S,
    MAX_GROWTH_BYTES,
    REFUSED,
    STARTED,
    examine_solver,
)
from scheduler_service.registry.validation import measure
from scheduler_service.registry.weights import load, pack


def main(descriptor: int) -> None:
    """Fork a child for each request; ends when the socket is closed, or after `IDLE_TIMEOUT_S` without requests."""
    network = QNetwork((4, 4, 4))
    # Load all compiled code before forking: children may not write the files of the compile cache.
    measure(Agent(network.to_arrays(), signature_of(network), {}))
    measure(Baseline({}, ALL_RULES, default_budget_ms=0.0))
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the children are not waited for
    gc.freeze()
    with socket.socket(fileno=descriptor) as questions:
        questions.settimeout(IDLE_TIMEOUT_S)
        while True:
            try:
                question, descriptors, _, _ = socket.recv_fds(questions, 65_536, 1)
            except TimeoutError:
                return
            if not question:
                return
            if os.fork() == 0:
                try:
                    questions.close()
                    _answer(question, descriptors[0])
                finally:
                    os._exit(0)
            os.close(descriptors[0])


def _answer(question: bytes, descriptor: int) -> None:
    with socket.socket(fileno=descriptor) as asker:
        asker.sendall(json.dumps([STARTED, None]).encode() + b"\n")
        asked = json.loads(question)
        _limit_this_process(asked["limit_s"])
        try:
            agent = load(asked["algorithm"], Path(asked["path"]))
            content = asdict(examine_solver(asked["algorithm"], agent))
            content["packed"] = base64.b64encode(pack(agent)).decode()
            answer = json.dumps([FINISHED, content], allow_nan=False)
        except InvalidModel as err:
            answer = _refused(err)
        except Exception as err:  # including MemoryError; a traceback would not be seen
            answer = _refused(InvalidModel("not_examined", reason=type(err).__name__))
        asker.sendall(answer.encode() + b"\n")


def _refused(err: InvalidModel) -> str:
    return json.dumps([REFUSED, err.to_dict()])


def _limit_this_process(limit_s: int) -> None:
    """Limit time and memory, and forbid writing files; the system ends a process that exceeds the limits."""
    # torch alone takes 1 GiB of address space, so the limit is relative to the current size.
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    addresses = pages * resource.getpagesize() + MAX_GROWTH_BYTES
    resource.setrlimit(resource.RLIMIT_AS, (addresses, addresses))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CPU, (limit_s, limit_s))
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.setitimer(signal.ITIMER_REAL, limit_s)


if __name__ == "__main__":
    main(int(sys.argv[1]))

"""Run Python programs without the seconds of imports: `python()` is a program that behaves like `python`.

It sends its arguments, working folder, environment and standard streams to a server process that has the libraries
imported; the server forks a child that runs the program. Signals are passed to the child, and its exit status is
returned. If the program is killed, so is the child.

Differences from a new Python: the program's process id is not the child's, limits (`ulimit`) are the server's, and
modules are already imported. Tests of these use `sys.executable`.
"""

import atexit
import fcntl
import gc
import marshal
import os
import runpy
import select
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import threading
import time
import types
import warnings
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, NoReturn

ROOT = Path(__file__).resolve().parent.parent
OWN_PATH = "PRELOADED_PYTHON"
"""The environment variable with the path of the program."""
MAX_FILES = 64
HEADER = 4
"""Bytes, little-endian: the length of the request that follows; from the server, the exit status."""
PRELOADED = [
    "ab_testing",
    "model_manager",
    "monitoring",
    "enhanced_flask",
    "pandas",
    "scipy.stats",
    "scipy.optimize",
    "scipy.sparse",
    "scipy.special",
    "matplotlib.backends.backend_agg",
    "matplotlib.backends.backend_svg",
    "seaborn",
    "jinja2",
    "fpdf",
    "fontTools.subset",
    "pyarrow.parquet",
    "tqdm",
    "ortools.sat.python.cp_model",
    "scheduler_env.training",
    "scheduler_env.exact",
    "scheduler_env.fonts",
    "scheduler_service.backup",
    "scheduler_service.registry.examiner",
    "scheduler_service.reporting.performance",
    "scheduler_service.reporting.pdf",
    "scheduler_service.experiments.cli",
    "scheduler_service.registry.cli",
    "scheduler_service.telemetry.cli",
]
ALLOCATOR = "jemalloc_bg_thd"
"""The thread of pyarrow's allocator, which starts it again after a fork."""
PROGRAM = """#!{python} -IS
import _signal, _socket, marshal, os, sys
real, argv, environment = {python!r}, sys.argv[1:], dict(os.environ, {own_path}=sys.argv[0])
if argv and argv[0].startswith("-") and argv[0] not in ("-c", "-m", "-") or "PYTHONHASHSEED" in environment:
    os.execv(real, [real, *argv])
def is_passed_on(number):
    try:
        return os.get_inheritable(number)
    except OSError:
        return False
numbers = [0, 1, 2, *filter(is_passed_on, sorted(int(name) for name in os.listdir("/proc/self/fd") if int(name) > 2))]
server = _socket.socket(_socket.AF_UNIX)
server.connect({address!r})
request = marshal.dumps([argv, os.getcwd(), environment, numbers])
fds = b"".join(number.to_bytes(4, sys.byteorder) for number in numbers)
server.sendmsg([len(request).to_bytes({header}, "little")], [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, fds)])
for number in (_signal.SIGTERM, _signal.SIGINT, _signal.SIGHUP, _signal.SIGUSR1, _signal.SIGUSR2):
    _signal.signal(number, lambda number, frame: server.send(bytes([number])))
server.sendall(request)
status = int.from_bytes(server.recv({header}), "little", signed=True)
if status < 0:
    _signal.signal(-status, _signal.SIG_DFL) if -status != 9 else None
    os.kill(os.getpid(), -status)
os._exit(status)
"""


@cache
def python() -> str:
    """The path of the program. The first call starts the server, which ends with this process.

    The processes of pytest-xdist share the server of the process that started them.
    """
    if shared := os.environ.get(OWN_PATH):
        return shared
    folder = Path(tempfile.mkdtemp(prefix="preloaded-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    address = str(folder / "server")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(address)
        listener.listen(64)
        clean = {name: value for name, value in os.environ.items() if not name.startswith(("SCHED_", "PROMETHEUS_"))}
        server = subprocess.Popen(
            [sys.executable, "-m", "tests.preloaded", str(listener.fileno())],
            cwd=ROOT,
            env=clean | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MPLCONFIGDIR": str(folder / "fonts")},
            stdin=subprocess.PIPE,  # the server ends when this is closed
            pass_fds=[listener.fileno()],
        )
    atexit.register(server.communicate)
    program = folder / "python"
    program.write_text(PROGRAM.format(python=sys.executable, address=address, header=HEADER, own_path=OWN_PATH))
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    return str(program)


@dataclass(frozen=True)
class Request:
    """How a program was started."""

    arguments: list[str]
    folder: str
    environment: dict[str, str]
    files: dict[int, int]  # descriptor in the client -> descriptor here


def receive(client: socket.socket) -> Request:
    """Read the request of a connected client. Raises `EOFError` if it is incomplete."""
    head, files, *_ = socket.recv_fds(client, HEADER, MAX_FILES)
    content = b""
    while len(content) < int.from_bytes(head, "little") or not head:
        piece = client.recv(2**16)
        if not piece:
            raise EOFError
        content += piece
    arguments, folder, environment, numbers = marshal.loads(content)
    return Request(arguments, folder, environment, dict(zip(numbers, files, strict=True)))


class Server:
    """Forks one child per client."""

    def __init__(self, listener: socket.socket) -> None:
        self.listener = listener
        self.clients: dict[socket.socket, int] = {}  # -> process id of the child
        self.ended, self.notify = os.pipe()

    def serve(self) -> Request | None:
        """Return the request to run in each child; return None in the server once its standard input is closed."""
        os.set_blocking(self.notify, False)
        signal.set_wakeup_fd(self.notify, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.signal(signal.SIGINT, lambda *_: None)  # Ctrl-C reaches the clients, which pass it on
        while True:
            waited_for: list[int | socket.socket] = [0, self.ended, self.listener, *self.clients]
            ready = select.select(waited_for, [], [])[0]
            if 0 in ready:
                for child in self.clients.values():
                    os.kill(child, signal.SIGKILL)
                return None
            if self.ended in ready:
                os.read(self.ended, 4096)
                self.report_ended()
            for client in [each for each in self.clients if each in ready]:
                self.pass_signals(client)
            if self.listener in ready and (request := self.fork()) is not None:
                return request

    def fork(self) -> Request | None:
        """Fork; return the request in the child, None in the server."""
        client, _ = self.listener.accept()
        try:
            request = receive(client)
        except (EOFError, OSError):
            client.close()
            return None
        child = os.fork()
        if child == 0:
            signal.set_wakeup_fd(-1)
            for each in (client, self.listener, *self.clients):
                each.close()
            os.close(self.ended)
            os.close(self.notify)
            return request
        for file in request.files.values():
            os.close(file)
        self.clients[client] = child
        return None

    def pass_signals(self, client: socket.socket) -> None:
        """Pass the client's signals to its child; SIGKILL if the client is gone."""
        try:
            numbers = client.recv(64)
        except OSError:
            numbers = b""
        for number in numbers or [signal.SIGKILL]:
            os.kill(self.clients[client], number)
        if not numbers:
            os.waitpid(self.clients.pop(client), 0)
            client.close()

    def report_ended(self) -> None:
        """Send the exit status of each finished child to its client."""
        for client, child in list(self.clients.items()):
            ended, status = os.waitpid(child, os.WNOHANG)
            if ended:
                del self.clients[client]
                code = os.waitstatus_to_exitcode(status)
                with suppress(OSError):  # the client was killed at the same moment
                    client.sendall(code.to_bytes(HEADER, "little", signed=True))
                client.close()


def become(request: Request) -> None:
    """Take over the folder, environment and streams of the request, and reset the signal handlers."""
    os.chdir(request.folder)
    os.environ.clear()
    os.environ.update(request.environment)
    time.tzset()
    beyond = max(request.files) + 1  # so that no descriptor is overwritten before it is moved
    files = {number: fcntl.fcntl(file, fcntl.F_DUPFD, beyond) for number, file in request.files.items()}
    for file in request.files.values():
        os.close(file)
    for number, file in files.items():
        os.dup2(file, number)
        os.close(file)
    sys.executable = request.environment.get(OWN_PATH, sys.executable)  # for subprocesses of the program
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.stdout.reconfigure(line_buffering="PYTHONUNBUFFERED" in os.environ)  # type: ignore[union-attr]


def run(arguments: list[str]) -> None:
    """Run `python <arguments>`; supports only the options -c, -m and -."""
    first = arguments[0] if arguments else "-"
    added = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    sys.path[:1] = [str(Path(first).resolve().parent) if not first.startswith("-") else "", *filter(None, added)]
    warnings.filterwarnings("ignore", message=".*found in sys.modules", category=RuntimeWarning)
    if first == "-m":
        sys.argv = arguments[1:]
        runpy.run_module(arguments[1], run_name="__main__", alter_sys=True)
    elif first in ("-c", "-"):
        sys.argv = [first, *arguments[2 if first == "-c" else 1 :]]
        program = arguments[1] if first == "-c" else sys.stdin.read()
        sys.modules["__main__"] = main = types.ModuleType("__main__")
        exec(compile(program, "<string>", "exec"), main.__dict__)
    else:
        sys.argv = arguments
        runpy.run_path(first, run_name="__main__")


def ended(arguments: list[str]) -> int:
    """Run it to the end; return the exit status, negative if this process must end by a signal."""
    try:
        run(arguments)
    except SystemExit as err:
        if err.code is None or isinstance(err.code, int):
            return err.code or 0
        print(err.code, file=sys.stderr)
        return 1
    except BaseException as err:
        sys.excepthook(type(err), err, err.__traceback__)
        return -signal.SIGINT if isinstance(err, KeyboardInterrupt) else 1
    return 0


def leave(status: int) -> NoReturn:
    """End this process like the interpreter, but without freeing the large memory inherited from the server."""
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    with suppress(OSError):
        sys.stdout.flush()
    if status < 0:
        signal.signal(-status, signal.SIG_DFL)
        os.kill(os.getpid(), -status)
    os._exit(status)


def preload() -> None:
    """Import what programs need and load the compiled kernel. Starts no thread, since a fork would not copy it."""
    for name in PRELOADED:
        __import__(name)
    sys.modules["enhanced_flask"].load_before_fork()
    gc.collect()
    gc.freeze()
    threads = {Path(each, "comm").read_text().strip() for each in Path("/proc/self/task").iterdir()}
    assert threads <= {"python", ALLOCATOR}, threads


def main() -> None:
    """`python -m tests.preloaded <file descriptor of the listening socket>`."""
    server = Server(socket.socket(fileno=int(sys.argv[1])))
    stdin_or_listener: list[Any] = [0, server.listener]
    if 0 in select.select(stdin_or_listener, [], [])[0]:
        return  # it was not needed
    preload()
    request = server.serve()
    if request is not None:
        become(request)
        leave(ended(request.arguments))


if __name__ == "__main__":
    main()

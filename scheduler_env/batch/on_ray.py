"""Ray as the executor: `SCHED_BATCH=ray`, with `pip install -r requirements-ray.txt`.

Ray runs the code of everybody who can connect to it, so token authentication is always on. `RAY_ADDRESS` names a
running cluster. Without it Ray is started on this machine, bound to loopback, without its dashboard. A node needs this
version of the code, at the same path or installed.
"""

import hashlib
import os
from collections.abc import Generator, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from scheduler_env.batch.inputs import folder, is_kept, keep
from scheduler_env.batch.work import ATTEMPTS, Task, compute, failed, lost
from scheduler_env.cores import SOLVER_THREADS, usable_cores
from scheduler_env.errors import BatchFailed

OLDEST = (2, 52)
"""The first version with token authentication; older ones also run code of web pages (CVE-2025-62593)."""
AHEAD = 2
"""Tasks per core that are given to Ray, so that no core waits for this process."""


def run_on_ray(tasks: Iterator[Task]) -> Generator[tuple[Task, str], None, None]:
    """(task, reply) of each task.

    Raises:
        BatchFailed: Ray is not installed, too old or cannot be reached; a node has other code; or the workers of a task
            were killed `ATTEMPTS` times.
    """
    ray = _connected()
    remote = ray.remote(num_cpus=1, max_retries=ATTEMPTS - 1)(_compute)
    shared: dict[str, Any] = {}
    pending: dict[Any, Task] = {}

    def start() -> None:
        limit = AHEAD * max(1, int(ray.cluster_resources().get("CPU", 1)))
        while len(pending) < limit and (task := next(tasks, None)):
            for digest in set(task.inputs) - shared.keys():
                shared[digest] = ray.put((folder() / digest).read_bytes())
            contents = {digest: shared[digest] for digest in task.inputs}
            pending[remote.remote(task.to_json(), contents, code_digest())] = task

    try:
        start()
        while pending:
            (finished, *_), _ = ray.wait(list(pending), num_returns=1)
            task = pending.pop(finished)
            start()
            try:
                yield task, ray.get(finished)
            except ray.exceptions.RayError as err:
                raise lost(task) from err
    finally:
        for reference in pending:
            ray.cancel(reference, force=True)


def _compute(task: str, contents: Mapping[str, Any], code: str) -> str:
    """`compute` on a node: the inputs that it does not have come from Ray's object store."""
    try:
        import ray

        if code != code_digest():
            raise BatchFailed("node_has_other_code", node=os.uname().nodename)
        for digest, reference in contents.items():
            if not is_kept(digest):
                keep(ray.get(reference))
    except Exception as err:
        return failed(err)
    SOLVER_THREADS.limit = 1
    return compute(Task.from_json(task))


@cache
def code_digest() -> str:
    """SHA-256 of the sources of both packages, hex digits."""
    root = Path(__file__).resolve().parent.parent.parent
    files = sorted(path for name in ("scheduler_env", "scheduler_service") for path in (root / name).rglob("*.py"))
    return hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()


def _connected() -> Any:
    """The module `ray`, connected."""
    address = os.environ.get("RAY_ADDRESS")
    os.environ |= {"RAY_AUTH_MODE": "token", "RAY_USAGE_STATS_ENABLED": "0"}
    if not address:
        # Otherwise Ray replaces a loopback address by that of the machine, and listens on every interface.
        os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"
    try:
        import ray
    except ImportError as err:
        raise BatchFailed("ray_missing") from err
    if tuple(map(int, ray.__version__.split(".")[:2])) < OLDEST:
        raise BatchFailed("ray_too_old", found=ray.__version__, oldest=".".join(map(str, OLDEST)))
    if not ray.is_initialized():
        try:
            ray.init(**_place(address), log_to_driver=False, logging_level="ERROR")
        except Exception as err:  # of many types
            raise BatchFailed("ray_not_reached", reason=str(err)) from err
    return ray


def _place(address: str | None) -> dict[str, Any]:
    """The arguments of `ray.init` for the cluster at `address`, or for a new one on this machine."""
    if address:
        return {"address": address}
    return {
        "address": "local", "num_cpus": usable_cores(), "include_dashboard": False, "_node_ip_address": "127.0.0.1"
    }  # fmt: skip

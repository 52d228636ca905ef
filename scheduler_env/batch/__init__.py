"""Batch work on several processes or machines: `map_unordered`.

The environment variable `SCHED_BATCH` selects the executor: `local` (the default; worker processes of the lowest
priority on this machine) or `ray` (a Ray cluster). The result of a chunk must depend only on the chunk and its inputs.
Then a chunk whose worker was killed can be computed again, and the results are the same with every executor and any
number of workers.
"""

import os
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing
from typing import Any

from scheduler_env.batch.inputs import input_file, keep
from scheduler_env.batch.work import Task, compute, result_of
from scheduler_env.errors import BatchFailed

__all__ = ["START_S", "input_file", "keep", "map_all", "map_unordered"]

START_S = 2.0
"""Time that a worker needs to start and to import the solver."""
Executor = Callable[[Iterator[Task]], Generator[tuple[Task, str], None, None]]
LOCAL, RAY = "local", "ray"


def map_unordered(
    function: str, chunks: Iterable[Any], *, inputs: Sequence[str] = (), here_s: float = 0.0
) -> Generator[tuple[int, Any], None, None]:
    """(number, result) of each chunk, in the order in which they are finished.

    If the iterator is closed, for example by Ctrl-C, the running workers are killed.

    Args:
        function: "module:function"; it takes a chunk and returns its result.
        chunks: JSON values, numbered from 0; read when a worker is free.
        inputs: what `keep` returned for the files that the function reads with `input_file`.
        here_s: chunks are computed in this process for so many seconds before local workers are started, so that a
            small job does not wait for them. 0.0 if a chunk takes long.

    Raises:
        BatchFailed: a chunk failed, or its workers were killed several times; the text names the chunk. Or the executor
            cannot be used.
    """
    name, run = _executor()
    if name != LOCAL:
        here_s = 0.0
    tasks = (Task(number, function, chunk, tuple(inputs)) for number, chunk in enumerate(chunks))
    began_s = time.monotonic()
    while time.monotonic() - began_s < here_s:
        task = next(tasks, None)
        if task is None:
            return
        yield task.number, result_of(task, compute(task))
    with closing(run(tasks)) as replies:
        for task, reply in replies:
            yield task.number, result_of(task, reply)


def map_all(
    function: str,
    chunks: Sequence[Any],
    *,
    inputs: Sequence[str] = (),
    here_s: float = 0.0,
    progress: Callable[[int, int], None] | None = None,
) -> list[Any]:
    """The results in the order of the chunks; as `map_unordered`.

    Args:
        progress: called with the number of finished chunks and the total; nothing by default.
    """
    found: dict[int, Any] = {}
    report = progress or (lambda *_: None)
    report(0, len(chunks))
    with closing(map_unordered(function, chunks, inputs=inputs, here_s=here_s)) as results:
        for number, result in results:
            found[number] = result
            report(len(found), len(chunks))
    return [found[number] for number in range(len(chunks))]


def _executor() -> tuple[str, Executor]:
    """The name and the function; imported here, because a service does no batch work and starts faster without them."""
    name = os.environ.get("SCHED_BATCH", LOCAL)
    if name == LOCAL:
        from scheduler_env.batch.local import run_on_processes

        return name, run_on_processes
    if name == RAY:
        from scheduler_env.batch.on_ray import run_on_ray

        return name, run_on_ray
    raise BatchFailed("unknown_executor", value=name, known=[LOCAL, RAY])

"""A chunk of batch work on its way to a worker and back: JSON, and a function by its name."""

import importlib
import json
import traceback
from dataclasses import asdict, dataclass
from typing import Any

from scheduler_env.batch.inputs import declared
from scheduler_env.errors import BatchFailed

ATTEMPTS = 3
"""A chunk whose workers were killed so often is given up: it may itself be the cause, for example by its memory."""
MAX_SHOWN = 200
"""Characters of a chunk in an error."""


@dataclass(frozen=True, slots=True)
class Task:
    """A chunk with everything that a worker needs."""

    number: int  # of the chunk, from 0
    function: str  # "module:function"
    chunk: Any  # JSON
    inputs: tuple[str, ...] = ()  # SHA-256 of each input

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str | bytes) -> "Task":
        found = json.loads(text)
        return cls(**found | {"inputs": tuple(found["inputs"])})

    @property
    def shown(self) -> str:
        """The chunk for people."""
        text = json.dumps(self.chunk, ensure_ascii=False)
        return text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}..."


class WorkerError(Exception):
    """The traceback of a worker, as the cause of the error in this process."""


def compute(task: Task) -> str:
    """The reply to a task, JSON: its result, or the error of the function."""
    try:
        module, _, name = task.function.partition(":")
        with declared(task.inputs):
            result = getattr(importlib.import_module(module), name)(task.chunk)
        return json.dumps({"result": result})
    except Exception as err:
        return failed(err)


def failed(err: Exception) -> str:
    """The reply for an error that was just caught."""
    return json.dumps({"error": f"{type(err).__name__}: {err}", "traceback": traceback.format_exc()})


def result_of(task: Task, reply: str) -> Any:
    """The result in a reply.

    Raises:
        BatchFailed: the function failed.
    """
    found = json.loads(reply)
    if "error" in found:
        failed = BatchFailed(
            "chunk_failed", function=task.function, number=task.number, chunk=task.shown, reason=found["error"]
        )
        raise failed from WorkerError(found["traceback"])
    return found["result"]


def lost(task: Task) -> BatchFailed:
    """The error for a chunk that is given up."""
    return BatchFailed("chunk_lost", function=task.function, number=task.number, chunk=task.shown, attempts=ATTEMPTS)

"""The history of all experiments, `logs/experiments.jsonl`: each change with actor, reason and figures; append-only."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from scheduler_service.errors import cannot_write
from scheduler_service.experiments.lifecycle import Transition
from scheduler_service.files import locked
from scheduler_service.jsonlines import JsonLines


class ExperimentHistory:
    """The file; safe for threads and processes."""

    def __init__(self, path: Path) -> None:
        self._file = JsonLines(path, Transition.from_dict)

    def transitions(self, experiment: str | None = None) -> list[Transition]:
        """The changes of one experiment or of all, oldest first."""
        return [each for each in self._file.lines() if experiment in (None, each.experiment)]

    def of(self, experiment: str) -> list[dict[str, Any]]:
        """`transitions` as JSON."""
        return [each.to_dict() for each in self.transitions(experiment)]

    def record(self, transition: Mapping[str, Any]) -> None:
        """Append the transition unless the file has it; it is on disk when this returns.

        Raises:
            StorageUnavailable: the file cannot be written.
        """
        if self._has(transition):
            return
        with locked(self._file.path):
            if not self._has(transition):
                try:
                    self._file.append_once(transition)
                except OSError as err:
                    raise cannot_write(self._file.path, err) from err

    def _has(self, transition: Mapping[str, Any]) -> bool:
        # If the file has it, it is one of the last lines.
        return any(each.id == transition["id"] for each in reversed(self._file.lines()))

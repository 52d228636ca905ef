"""The history of all experiments, `logs/experiments.jsonl`: each change with actor, reason and figures; append-only."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

from scheduler_service.errors import cannot_write
from scheduler_service.experiments.lifecycle import AUTOMATIC, Transition
from scheduler_service.files import locked
from scheduler_service.jsonlines import JsonLines
from scheduler_service.stats.breaker import BREAKER
from scheduler_service.stats.guardrails import GUARDRAILS, harm_of
from scheduler_service.stats.judged import Word
from scheduler_service.words import Message


class ExperimentHistory:
    """The file; safe for threads and processes."""

    def __init__(self, path: Path) -> None:
        self._file = JsonLines(path, Transition.from_dict)

    def transitions(self, experiment: str | None = None) -> list[Transition]:
        """The changes of one experiment or of all, oldest first."""
        return [each for each in self._file.lines() if experiment in (None, each.experiment)]

    def of(self, experiment: str) -> list[dict[str, Any]]:
        """`transitions` as JSON."""
        lines = [each.to_dict() for each in self.transitions(experiment)]
        return [line | {"reason_text": [each.to_dict() for each in reason_of(line)]} for line in lines]

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


def reason_of(line: Mapping[str, Any]) -> list[Message]:
    """The service's reason in a line; empty for a person's, and if the line is not as expected.

    Lines of earlier versions have no messages, so these are made from the figures.
    """
    if line.get("actor") not in AUTOMATIC:
        return []
    try:
        known = [Message(each["code"], each["params"]) for each in line.get("reason_text", ())]
        return known or _from_figures(line["figures"])
    except (KeyError, TypeError, ValueError, AttributeError):
        return []


def _from_figures(figures: Mapping[str, Any]) -> list[Message]:
    breached = [
        harm_of(name, float(found["harm"]))
        for name, found in figures["guardrails"].items()
        if found["state"] == "breached" and name in (*GUARDRAILS, BREAKER)
    ]
    if breached:
        return [Message("experiments.history.why_breached", {"names": breached})]
    if figures["verdict"] not in get_args(Word):
        return []
    samples = [float(count) for count in figures["samples"].values()]
    return [Message("experiments.history.why_verdict", {"verdict": figures["verdict"], "samples": samples})]

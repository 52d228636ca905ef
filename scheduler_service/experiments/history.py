"""The history of all experiments, `logs/experiments.jsonl`: each change with actor, reason and figures; append-only."""

from collections.abc import Mapping
from typing import Any, get_args

from scheduler_service.experiments.lifecycle import AUTOMATIC, Transition
from scheduler_service.stats.breaker import BREAKER
from scheduler_service.stats.guardrails import GUARDRAILS, harm_of
from scheduler_service.stats.judged import Word
from scheduler_service.store.change import Change, Store
from scheduler_service.words import Message

NAME = "logs/experiments.jsonl"


class ExperimentHistory:
    """The log of a store; safe for threads and processes."""

    def __init__(self, store: Store) -> None:
        self._log = store.log(NAME, Transition.from_dict)

    def transitions(self, experiment: str | None = None) -> list[Transition]:
        """The changes of one experiment or of all, oldest first."""
        return [each for each in self._log.lines() if experiment in (None, each.experiment)]

    def of(self, experiment: str) -> list[dict[str, Any]]:
        """`transitions` as JSON."""
        lines = [each.to_dict() for each in self.transitions(experiment)]
        return [line | {"reason_text": [each.to_dict() for each in reason_of(line)]} for line in lines]

    def record(self, transition: Mapping[str, Any], change: Change) -> None:
        """Append the transition in a change of the store."""
        change.append(NAME, transition)


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

"""The history of an experiment for the report: events with actor, time and reason, and the share of the candidate."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, get_args

from scheduler_service.experiments.experiment import Experiment
from scheduler_service.experiments.history import reason_of
from scheduler_service.experiments.lifecycle import AUTOMATIC, EventKind
from scheduler_service.reporting.evolution import Step, ended_by_itself, ramp
from scheduler_service.reporting.formatting import Formatter, letter
from scheduler_service.stats.arms import ARMS
from scheduler_service.words import WORDS

NO_CHANGE = ("described", "completed")
"""Events that do not change the advice: edited texts, and the planned end."""
MAX_REASON = 300


@dataclass(frozen=True, slots=True)
class Event:
    """A row of the table of events."""

    kind: str
    time: datetime
    label: str
    actor: str
    share: float  # of all users on the candidate from then on
    reason: str


def timeline(
    experiment: Experiment, history: Iterable[Mapping[str, Any]], now: datetime, show: Formatter
) -> list[Event]:
    """The events of `experiment` until `now`, oldest first; empty if none is known."""
    steps = [step for step in ramp(experiment, history) if step.time <= now]
    events = [
        Event(step.event, step.time, _label(step, show), _actor(step.line, show), step.share, _reason(step.line, show))
        for step in steps
    ]
    over = ended_by_itself(experiment, steps, now)
    if over is not None and steps:
        why = show.text("experiments.history.why_days_over")
        events.append(Event("completed", over, show.text("experiments.history.completed"), show.none, 0.0, why))
    return events


def last_change(events: list[Event]) -> str | None:
    """The kind of the last event that may change the advice."""
    return next((event.kind for event in reversed(events) if event.kind not in NO_CHANGE), None)


def _label(step: Step, show: Formatter) -> str:
    event = step.event if step.event in get_args(EventKind) else "other"
    label = show.text(f"experiments.history.{event}", arm=_arm(step.line))
    return f"{label} {100.0 * step.share:g} %" if step.event == "advanced" else label


def _arm(line: Mapping[str, Any]) -> str:
    """The letter of the arm that an event is about; "?" if the figures are not as expected."""
    figures = line.get("figures")
    arm = figures.get("arm") if isinstance(figures, Mapping) else None
    return letter(arm) if arm in ARMS else "?"


def _actor(line: Mapping[str, Any], show: Formatter) -> str:
    actor = line.get("actor")
    return show.text(f"experiments.history.{actor}") if actor in AUTOMATIC else show.name(actor)


def _reason(line: Mapping[str, Any], show: Formatter) -> str:
    """The recorded reason; the service's, which is recorded in English, in the language of the report."""
    worded = "" if show.lang == "en" else WORDS.say_known(*reason_of(line), lang=show.lang)
    return worded or show.name(line.get("reason"), MAX_REASON)

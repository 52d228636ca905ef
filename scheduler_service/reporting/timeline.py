"""What was done with an experiment, as the report tells it: the share on the candidate, the events, their reasons."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from scheduler_service.experiments.experiment import Experiment
from scheduler_service.reporting.evolution import Step, ended_by_itself, ramp
from scheduler_service.reporting.page import Formatter
from scheduler_service.reporting.texts import Lang
from scheduler_service.stats.breaker import BREAKER
from scheduler_service.stats.comparison import ARMS
from scheduler_service.stats.guardrails import GUARDRAILS

Words = Mapping[str, str]
Mark = tuple[datetime, str]

AUTOMATIC = ("rollout", "guardrail")
"""Actors of the history that are no people."""

MAX_REASON = 300


@dataclass(frozen=True, slots=True)
class Event:
    """A line of the table of events."""

    number: int
    time: datetime
    label: str
    actor: str
    share: float  # of all users on the candidate from then on
    reason: str


@dataclass(frozen=True, slots=True)
class Timeline:
    """The share on the candidate as steps, and what changed it; all oldest first, empty if nothing is known."""

    times: list[datetime]
    shares: list[float]
    marks: list[Mark]  # every event: its number and name
    stage_marks: list[Mark]  # events that changed the share, named
    events: list[Event]
    last_event: str | None


def timeline(
    experiment: Experiment,
    history: Iterable[Mapping[str, Any]],
    now: datetime,
    words: Words,
    show: Formatter,
    lang: Lang,
) -> Timeline:
    """The timeline of `experiment` until `now`, told in `lang`."""
    steps = [step for step in ramp(experiment, history) if step.time <= now]
    events = [
        Event(
            number=number,
            time=step.time,
            label=_label(step, words),
            actor=_actor(step.line, words, show),
            share=step.share,
            reason=_reason(step.line, words, show, lang),
        )
        for number, step in enumerate(steps, start=1)
    ]
    over = ended_by_itself(experiment, steps, now)
    if over is not None and steps:
        label, reason = words["event_completed"], words["why_days_over"]
        events.append(Event(len(events) + 1, over, label, words["none"], 0.0, reason))
    changed, before = [], None
    for event in events:
        if event.share != before and before is not None:
            changed.append((event.time, event.label))
        before = event.share
    return Timeline(
        times=[event.time for event in events],
        shares=[event.share for event in events],
        marks=[(event.time, f"{event.number} {event.label}") for event in events],
        stage_marks=changed,
        events=events,
        last_event=next((step.event for step in reversed(steps) if step.event != "described"), None),
    )


def _label(step: Step, words: Words) -> str:
    label = words.get(f"event_{step.event}", words["event_other"])
    if step.event == "arm_stopped":
        return label.format(_arm(step.line))
    return f"{label} {100.0 * step.share:g}%" if step.event == "advanced" else label


def _arm(line: Mapping[str, Any]) -> str:
    """The letter of the arm that an event is about; "?" where the figures are not as expected."""
    figures = line.get("figures")
    arm = figures.get("arm") if isinstance(figures, Mapping) else None
    return arm.removeprefix("model_").upper() if arm in ARMS else "?"


def _actor(line: Mapping[str, Any], words: Words, show: Formatter) -> str:
    actor = line.get("actor")
    return words[f"actor_{actor}"] if actor in AUTOMATIC else show.name(actor)


def _reason(line: Mapping[str, Any], words: Words, show: Formatter, lang: Lang) -> str:
    """The reason given; what the service wrote by itself, in English, is told from its figures in other languages."""
    if lang != "en" and line.get("actor") in AUTOMATIC:
        told = _told(line, words, show)
        if told is not None:
            return told
    return show.name(line.get("reason"), MAX_REASON)


def _told(line: Mapping[str, Any], words: Words, show: Formatter) -> str | None:
    """The reason of an automatic event; None where the figures are not as expected."""
    try:
        figures = line["figures"]
        breached = [
            (name, float(found["harm"]))
            for name, found in figures["guardrails"].items()
            if found["state"] == "breached" and name in (*GUARDRAILS, BREAKER)
        ]
        if breached:
            texts = [words[f"harm_{name}"].format(100.0 * harm) for name, harm in breached]
            return words["why_breached"].format(words["list_separator"].join(texts))
        verdict = words[f"word_{figures['verdict']}"]
        samples = " / ".join(show.count(float(count)) for count in figures["samples"].values())
    except (KeyError, TypeError, ValueError, AttributeError):
        return None
    return words["why_verdict"].format(verdict, samples)

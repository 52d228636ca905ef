"""From readings to alerts over time: alerts are confirmed, notified once, and end with hysteresis.

An episode is one period in which the value of a rule is beyond its threshold for a subject. It is `pending` until that
has lasted for `confirm_s`; then it fires and is notified. It ends when the value is clear of the threshold (hysteresis,
see `rules`), which is notified as well. If the same alert fires again within `cool_down_s` of its last notice, it is
notified only after that time. Nothing is notified during a silence; what still fires at its end then is.
"""

from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Literal

from scheduler_service.alerts.rules import EVENTS, Reading

NoticeState = Literal["firing", "reminder", "resolved"]
Key = tuple[str, str]
"""(rule, subject)."""

FORGET_AFTER = timedelta(hours=24)
"""An alert without data ends after this time: without data it is not known whether the cause is gone."""


@dataclass(frozen=True, slots=True)
class Policy:
    """When alerts are notified."""

    confirm_s: float  # time beyond the threshold before an alert fires
    cool_down_s: float  # minimum time between two firings of one rule and subject
    remind_s: float  # from the last notice to a reminder, unless the alert is acknowledged


@dataclass(frozen=True, slots=True)
class Episode:
    """A period in which a rule is beyond its threshold for a subject."""

    name: str
    subject: str
    severity: str
    state: Literal["pending", "firing", "resolved"]
    began: datetime
    last_beyond: datetime
    message: str
    advice: str
    value: float | None = None
    threshold: float | None = None
    fired: datetime | None = None
    ended: datetime | None = None
    notified: datetime | None = None  # the last notice
    notices: int = 0
    acknowledged: datetime | None = None
    acknowledged_by: str | None = None
    note: str | None = None
    id: int | None = None  # None: not stored yet
    params: Mapping[str, object] | None = None  # of the texts with the code `name`; None: not recorded

    @property
    def key(self) -> Key:
        return self.name, self.subject


@dataclass(frozen=True, slots=True)
class Silence:
    """Suppresses the notices of a rule (None: of all rules) and subject (None: of all subjects) until a time."""

    name: str | None
    subject: str | None
    began: datetime
    until: datetime
    actor: str
    reason: str
    id: int | None = None

    def covers(self, key: Key, now: datetime) -> bool:
        return self.until > now and self.name in (None, key[0]) and self.subject in (None, key[1])


@dataclass(frozen=True, slots=True)
class Step:
    """The result of an evaluation: episodes to store, and notices to send."""

    changed: tuple[Episode, ...]
    notices: tuple[tuple[Episode, NoticeState], ...]


def step(
    readings: Iterable[Reading],
    unended: Sequence[Episode],
    last_notified: Mapping[Key, datetime],
    silences: Sequence[Silence],
    now: datetime,
    policy: Policy,
    *,
    looked: Set[str],
) -> Step:
    """Update the episodes that have not ended from `readings`.

    Args:
        last_notified: time of the last notice of each rule and subject, in any episode.
        looked: names of the evaluated rules. Their subjects without a reading are clear: a model that has stopped
            failing has none. Episodes of other rules do not change.
    """
    # If the clock was set back, stored times are in the future; waiting for them would suppress alerts.
    last_notified = {key: at for key, at in last_notified.items() if at <= now}
    stored = {episode.key: episode for episode in unended}
    by_key = {key: _not_later(episode, now) for key, episode in stored.items()}
    seen: dict[Key, Reading] = {(reading.name, reading.subject): reading for reading in readings}
    after = {key: _seen(by_key.get(key), reading, now, policy) for key, reading in seen.items()}
    after |= {key: _ended(each, None, now) for key, each in by_key.items() if key not in seen and each.name in looked}
    changed: list[Episode] = []
    notices: list[tuple[Episode, NoticeState]] = []
    for key, episode in after.items():
        if episode is None:
            continue
        is_event = seen[key].is_event if key in seen else episode.name in EVENTS
        notice = _notice(episode, is_event, last_notified.get(key), silences, now, policy)
        if notice is not None:
            episode = replace(episode, notified=now, notices=episode.notices + 1)
            notices.append((episode, notice))
        if episode != stored.get(key):
            changed.append(episode)
    return Step(tuple(changed), tuple(notices))


def _seen(before: Episode | None, reading: Reading, now: datetime, policy: Policy) -> Episode | None:
    """The episode after `reading`; None if there is none."""
    if reading.state == "beyond":
        return _beyond(before, reading, now, policy)
    if before is None:
        return None
    if reading.state == "within" or before.state == "pending":
        return _ended(before, reading.value, now)
    if reading.state == "unknown" and now - before.last_beyond > FORGET_AFTER:
        return _ended(before, None, now)
    return before


def _not_later(episode: Episode, now: datetime) -> Episode:
    return replace(
        episode,
        began=min(episode.began, now),
        last_beyond=min(episode.last_beyond, now),
        notified=None if episode.notified is None else min(episode.notified, now),
    )


def _beyond(before: Episode | None, reading: Reading, now: datetime, policy: Policy) -> Episode:
    figures = {
        name: getattr(reading, name) for name in ("severity", "message", "advice", "value", "threshold", "params")
    }
    if before is None:
        after = Episode(
            name=reading.name, subject=reading.subject, state="pending", began=now, last_beyond=now, **figures
        )
    else:
        after = replace(before, last_beyond=now, **figures)
    is_confirmed = reading.is_event or now - after.began >= timedelta(seconds=policy.confirm_s)
    return replace(after, state="firing", fired=now) if after.state == "pending" and is_confirmed else after


def _ended(before: Episode, value: float | None, now: datetime) -> Episode:
    return replace(before, state="resolved", ended=now, value=before.value if value is None else value)


def _notice(
    episode: Episode,
    is_event: bool,
    last_notified: datetime | None,
    silences: Sequence[Silence],
    now: datetime,
    policy: Policy,
) -> NoticeState | None:
    """The notice to send about the episode now."""
    if any(silence.covers(episode.key, now) for silence in silences):
        return None
    if episode.state == "resolved":
        return "resolved" if episode.notified is not None and not is_event else None
    if episode.state != "firing" or episode.acknowledged is not None:
        return None
    if episode.notified is None:
        is_cool = last_notified is None or now - last_notified >= timedelta(seconds=policy.cool_down_s)
        return "firing" if is_cool or is_event else None
    if is_event or now - episode.notified < timedelta(seconds=policy.remind_s):
        return None
    return "reminder"

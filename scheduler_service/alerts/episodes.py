"""From readings to alerts, over time: confirmed before they are told, told once, ended only when it is clear.

An episode is one time that a rule was beyond its threshold for a subject. It is `pending` until the rule has been
beyond for `confirm_s`, then it fires and is told; it ends when the figure is clear of the threshold (hysteresis, see
`rules`), and that is told, too. What ends and comes back within `cool_down_s` of the last notice is not told again
before that is over. While an episode is silenced nothing is told of it; what still fires afterwards then is.
"""

from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Literal

from scheduler_service.alerts.rules import EVENTS, Reading

NoticeState = Literal["firing", "reminder", "resolved"]
Key = tuple[str, str]
"""Name of the rule, and subject."""

FORGET_AFTER = timedelta(hours=24)
"""How long an alert outlives the last figure that it could be judged by: without data nothing is known to be well."""


@dataclass(frozen=True, slots=True)
class Policy:
    """When alerts are told."""

    confirm_s: float  # beyond for so long, before an alert fires
    cool_down_s: float  # between the notices of one rule and subject, but for the end
    remind_s: float  # after the last notice, if nobody has acknowledged it


@dataclass(frozen=True, slots=True)
class Episode:
    """One time that something was wrong, from its first sign to its end."""

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
    params: Mapping[str, object] | None = None  # of the texts that `name` is the code of; None: not recorded

    @property
    def key(self) -> Key:
        return self.name, self.subject


@dataclass(frozen=True, slots=True)
class Silence:
    """Nothing is told of a rule (None: of any), or of one subject of it (None: of any), until then."""

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
    """What a look changes: episodes to store, and which of them are to be told as what."""

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
    """What `readings` make of the episodes that have not ended.

    Args:
        looked: names of the rules that were looked at. A subject of theirs without a reading is clear: a model that
            fails no more has none. Episodes of other rules stay as they are.
        last_notified: of each rule and subject, when it was told of last, in any episode.
    """
    changed: list[Episode] = []
    notices: list[tuple[Episode, NoticeState]] = []
    # A clock that was set back leaves moments in the future; waiting for them would leave alerts untold.
    last_notified = {key: at for key, at in last_notified.items() if at <= now}
    stored = {episode.key: episode for episode in unended}
    by_key = {key: _not_later(episode, now) for key, episode in stored.items()}
    seen: set[Key] = set()
    for reading in readings:
        key = (reading.name, reading.subject)
        seen.add(key)
        before = by_key.get(key)
        if reading.state == "beyond":
            after = _beyond(before, reading, now, policy)
        elif before is None:
            continue
        elif reading.state == "within" or before.state == "pending":
            after = _ended(before, reading.value, now)
        elif reading.state == "unknown" and now - before.last_beyond > FORGET_AFTER:
            after = _ended(before, None, now)
        else:
            after = before
        told = _told(after, reading.is_event, last_notified.get(key), silences, now, policy)
        _add(stored.get(key), after, told, now, changed, notices)
    for key, before in by_key.items():
        if key not in seen and before.name in looked:
            after = _ended(before, None, now)
            is_event = before.name in EVENTS
            told = _told(after, is_event, last_notified.get(key), silences, now, policy)
            _add(stored.get(key), after, told, now, changed, notices)
    return Step(tuple(changed), tuple(notices))


def _not_later(episode: Episode, now: datetime) -> Episode:
    return replace(
        episode,
        began=min(episode.began, now),
        last_beyond=min(episode.last_beyond, now),
        notified=None if episode.notified is None else min(episode.notified, now),
    )


def _beyond(before: Episode | None, reading: Reading, now: datetime, policy: Policy) -> Episode:
    if before is None:
        before = Episode(
            name=reading.name, subject=reading.subject, severity=reading.severity, state="pending",
            began=now, last_beyond=now, message=reading.message, advice=reading.advice, params=reading.params,
        )  # fmt: skip
    after = replace(
        before, last_beyond=now, value=reading.value, threshold=reading.threshold, severity=reading.severity,
        message=reading.message, advice=reading.advice, params=reading.params,
    )  # fmt: skip
    is_confirmed = reading.is_event or now - after.began >= timedelta(seconds=policy.confirm_s)
    return replace(after, state="firing", fired=now) if after.state == "pending" and is_confirmed else after


def _ended(before: Episode, value: float | None, now: datetime) -> Episode:
    return replace(before, state="resolved", ended=now, value=before.value if value is None else value)


def _told(
    episode: Episode,
    is_event: bool,
    last_notified: datetime | None,
    silences: Sequence[Silence],
    now: datetime,
    policy: Policy,
) -> NoticeState | None:
    """What is to be said of the episode now."""
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


def _add(
    before: Episode | None,
    after: Episode,
    told: NoticeState | None,
    now: datetime,
    changed: list[Episode],
    notices: list[tuple[Episode, NoticeState]],
) -> None:
    if told is not None:
        after = replace(after, notified=now, notices=after.notices + 1)
        notices.append((after, told))
    if after != before:
        changed.append(after)

"""Turns readings into alerts and notices: it stores, logs and delivers them.

Each notice is written to the outbox in the database before it is sent, so it is not lost by a crash or if a mail server
is down. Only one process at a time evaluates, and only one sends a notice.
"""

import logging
import random
from collections.abc import Iterable, Mapping, Sequence, Set
from contextlib import ExitStack
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from traceback import format_tb

from scheduler_service.alerts.episodes import Episode, Key, NoticeState, Policy, Silence, Step, step
from scheduler_service.alerts.notice import Channel, Notice
from scheduler_service.alerts.rules import Reading
from scheduler_service.alerts.wording import figure
from scheduler_service.clock import Clock, to_iso
from scheduler_service.errors import DeliveryFailed, StorageUnavailable
from scheduler_service.lease import Lease
from scheduler_service.telemetry.alerts import AlertLog, Letter
from scheduler_service.words import WORDS, Lang

FIRST_RETRY_S, MAX_RETRY_S = 30.0, 3_600.0
GIVE_UP_AFTER = timedelta(hours=24)
"""A notice that could not be delivered for so long is dropped."""
LOCK_TIMEOUT_S = 30.0
SERVICE_LEASE, EVALUATION_LEASE = "alerts.lease", "alerts"
"""Of the service that evaluates periodically, for its life; and of one evaluation."""
EVERYTHING = Silence(None, None, datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC), "", "")
LOG_LEVELS = {"critical": logging.ERROR, "warning": logging.WARNING, "info": logging.INFO}

log = logging.getLogger("scheduler.alerts")


class AlertDesk:
    """The alerts of one database.

    Args:
        channels: where notices are sent; they are also logged.
        is_service: whether it belongs to a service that evaluates periodically, and holds the lease `SERVICE_LEASE`.
    """

    def __init__(
        self,
        alerts: AlertLog,
        channels: Sequence[Channel],
        clock: Clock,
        *,
        policy: Policy,
        lang: Lang,
        is_service: bool = False,
    ) -> None:
        self.alerts = alerts
        self.channels = {channel.name: channel for channel in channels}
        self._clock = clock
        self._is_service = is_service
        self._policy = policy
        self._lang: Lang = lang
        self._jitter = random.Random()

    def look(self, readings: Iterable[Reading], looked: Set[str]) -> list[Episode]:
        """Update the alerts from `readings`, and log and post their notices; returns the episodes that fire.

        While a service evaluates periodically, this changes nothing and only returns the result: the service may have
        other thresholds, and the two would end each other's alerts. New episodes then have no id.

        Args:
            looked: names of the evaluated rules, see `episodes.step`.

        Raises:
            StorageUnavailable: the database cannot be used, or another process evaluates for too long.
        """
        alerts = self.alerts
        with ExitStack() as held:
            readings = list(readings)
            requests = {(reading.name, reading.subject): reading.requests for reading in readings}
            may_store = self._is_service or self._takes_the_place_of_a_service(held)
            lease = held.enter_context(alerts.hold(EVALUATION_LEASE, LOCK_TIMEOUT_S))
            unended, silences = alerts.unended(), alerts.silences()
            if not self._is_service and not self.channels:
                # Without channels nothing must be recorded as notified: the service may have channels.
                silences.append(EVERYTHING)
            known = unended, alerts.last_notified(), silences
            made = step(readings, *known, self._clock(), self._policy, looked=looked)
            if may_store:
                self._keep(made, requests, lease)
                return [episode for episode in alerts.unended() if episode.state == "firing"]
        seen = {episode.key: episode for episode in (*unended, *made.changed)}
        return [episode for episode in seen.values() if episode.state == "firing"]

    def tell(self, message: str, *, severity: str = "warning") -> bool:
        """Send a message; False, and nothing is sent, if the same was sent less than a cool-down ago."""
        title = self._word(severity if severity in LOG_LEVELS else "info")
        first, _, rest = message.strip().partition("\n")
        text = f"{first}\n{rest}".strip()
        notice = Notice(f"{title} {first}", text, severity, "message", {"message": message})
        since = self._clock() - timedelta(seconds=self._policy.cool_down_s)
        if not self.alerts.post(tuple(self.channels), notice, unless_since=since):
            log.debug("sent already: %s", message)
            return False
        _write_to_log(notice)
        return True

    def deliver(self) -> int:
        """Send the notices that are due; returns how many were delivered. The others are retried later or dropped.

        After a failure, a channel is not used again in this call, so that it does not delay the others. Notices for
        channels that this process does not have are left to other processes.

        Raises:
            StorageUnavailable: the database cannot be used.
        """
        self.alerts.give_up(self._clock() - GIVE_UP_AFTER)
        delivered, failed = 0, set[str]()
        for letter in self.alerts.due(self.channels):
            # The attempt is recorded first. If that fails, nothing is sent; otherwise the notice would be sent again
            # and again. After a crash the notice is sent a second time with the same key, because a duplicate is better
            # than none.
            if letter.channel in failed or not self.alerts.attempt(letter, self._clock() + self._wait(letter)):
                continue
            if self._send(letter):
                delivered += 1
            else:
                failed.add(letter.channel)
        return delivered

    def test(self) -> dict[str, str | None]:
        """Send a test message through each channel now; returns channel -> error, None if it was delivered."""
        word = self._word
        notice = Notice(f"{word('test')} {word('test_title')}", word("test_text"), "info", "test")
        errors: dict[str, str | None] = dict.fromkeys(self.channels)
        for name, channel in self.channels.items():
            try:
                channel.send(notice)
            except Exception as err:  # as in `_send`
                errors[name] = _public_text(err)
        return errors

    def _takes_the_place_of_a_service(self, held: ExitStack) -> bool:
        try:
            held.enter_context(self.alerts.hold(SERVICE_LEASE, 0.0))
        except StorageUnavailable:  # a service holds it
            return False
        return True

    def _keep(self, made: Step, requests: Mapping[Key, Sequence[str]], lease: Lease) -> None:
        states = {episode.key: state for episode, state in made.notices}
        notices: dict[Key, Notice] = {}

        def letters(episode: Episode) -> list[tuple[str, Notice]]:
            if episode.key not in states:
                return []
            notice = self._notice(episode, states[episode.key], requests.get(episode.key, ()))
            notices[episode.key] = notice  # once, also if the change is applied twice
            return [(name, notice) for name in self.channels]

        self.alerts.store(made.changed, letters, lease)
        for notice in notices.values():
            _write_to_log(notice)

    def _send(self, letter: Letter) -> bool:
        try:
            self.channels[letter.channel].send(letter.notice, key=letter.key)
        except Exception as err:  # the answer of one channel must not stop the others
            due = self._try_again_at(letter, err)
            how, text = "dropped" if due is None else f"next attempt at {to_iso(due)}", _public_text(err)
            log.warning("alert %r was not delivered to %s (%s): %s", letter.notice.title, letter.channel, how, text)
            if not isinstance(err, DeliveryFailed):  # without its text, which may contain secrets
                log.warning("traceback of that error:\n%s", "".join(format_tb(err.__traceback__)))
            self.alerts.failed(letter, text, due)
            return False
        self.alerts.delivered(letter)
        return True

    def _try_again_at(self, letter: Letter, err: Exception) -> datetime | None:
        asked_s = (err.retry_after_s or 0.0) if isinstance(err, DeliveryFailed) else 0.0
        is_final = isinstance(err, DeliveryFailed) and err.is_final
        wait = max(self._wait(letter), timedelta(seconds=min(asked_s, GIVE_UP_AFTER.total_seconds())))
        due = self._clock() + wait
        return None if is_final or due - letter.written > GIVE_UP_AFTER else due

    def _wait(self, letter: Letter) -> timedelta:
        """Exponential back-off with jitter: half to the whole of it."""
        longest_s = min(FIRST_RETRY_S * 2.0 ** min(letter.attempts, 20), MAX_RETRY_S)
        return timedelta(seconds=longest_s * self._jitter.uniform(0.5, 1.0))

    def _notice(self, episode: Episode, state: NoticeState, requests: Sequence[str]) -> Notice:
        word, lines = self._word, [episode.message]
        if episode.value is not None and episode.threshold is not None:
            shown = (figure(episode.name, each, self._lang) for each in (episode.value, episode.threshold))
            lines.append(word("figures", **dict(zip(("value", "threshold"), shown, strict=True))))
        times = {"time": _local(episode.began), "end": _local(episode.ended)}
        lines.append(word("lasted" if episode.ended else "since", **times))
        if state != "resolved":
            lines.append(word("advice", advice=episode.advice))
            if requests:
                lines.append(word("requests", ids=", ".join(requests)))
            lines.append(word("handle", id=episode.id))
        title = f"{word(episode.severity if state == 'firing' else state)} {episode.message}"
        severity = "info" if state == "resolved" else episode.severity
        return Notice(title, "\n".join(lines), severity, state, as_json(episode) | {"requests": list(requests)})

    def _word(self, key: str, **params: object) -> str:
        return WORDS.text(f"notices.{key}", params, self._lang)


def _public_text(err: Exception) -> str:
    """The text of `err`; of errors other than DeliveryFailed only the type, as their texts may contain secrets."""
    return str(err) if isinstance(err, DeliveryFailed) else type(err).__name__


def as_json(episode: Episode) -> dict[str, object]:
    """The fields of an episode and its code; times in ISO-8601, UTC."""
    values = asdict(episode) | {"code": episode.name}
    return {name: to_iso(value) if isinstance(value, datetime) else value for name, value in values.items()}


def _write_to_log(notice: Notice) -> None:
    level = logging.INFO if notice.state == "resolved" else LOG_LEVELS.get(notice.severity, logging.WARNING)
    log.log(level, "%s", notice.text.replace("\n", "; ") if notice.state == "message" else notice.title)


def _local(moment: datetime | None) -> str:
    return "" if moment is None else moment.astimezone().strftime("%Y-%m-%d %H:%M:%S")

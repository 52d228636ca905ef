"""Where readings become alerts that people get: stored, logged, posted to the outbox, delivered.

A notice is in the outbox, in the database, before anybody tries to send it, so neither a crash nor a dead mail server
loses it. Of several processes one looks and one delivers at a time.
"""

import logging
import random
from collections.abc import Iterable, Mapping, Sequence, Set
from contextlib import ExitStack
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from traceback import format_tb

from scheduler_service.alerts.episodes import Episode, Key, NoticeState, Policy, Silence, Step, step
from scheduler_service.alerts.notice import Channel, Notice
from scheduler_service.alerts.rules import Reading
from scheduler_service.alerts.wording import figure
from scheduler_service.clock import Clock, to_iso
from scheduler_service.errors import DeliveryFailed, StorageUnavailable
from scheduler_service.files import locked
from scheduler_service.telemetry.alerts import AlertLog, Letter
from scheduler_service.words import WORDS, Lang

FIRST_WAIT_S, LONGEST_WAIT_S = 30.0, 3_600.0
GIVE_UP_AFTER = timedelta(hours=24)
"""After so long a notice is old news."""
LOCK_TIMEOUT_S = 30.0
EVERYTHING = Silence(None, None, datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC), "", "")
LOG_LEVELS = {"critical": logging.ERROR, "warning": logging.WARNING, "info": logging.INFO}

log = logging.getLogger("scheduler.alerts")


class AlertDesk:
    """The alerts of one database.

    Args:
        lock: file whose lock is held while this looks or delivers.
        channels: where notices go, besides the log.
        lease: held by a service that looks by itself; None: this is that service.
    """

    def __init__(
        self,
        alerts: AlertLog,
        channels: Sequence[Channel],
        clock: Clock,
        lock: Path,
        *,
        policy: Policy,
        lang: Lang,
        lease: Path | None = None,
    ) -> None:
        self.alerts = alerts
        self.channels = {channel.name: channel for channel in channels}
        self._clock = clock
        self._lock = lock
        self._lease = lease
        self._policy = policy
        self._lang: Lang = lang
        self._jitter = random.Random()

    def look(self, readings: Iterable[Reading], looked: Set[str]) -> list[Episode]:
        """The episodes that fire after this look; what is to be told of them is logged and in the outbox.

        While a service looks by itself, this only tells what it sees, and changes nothing: that service may know other
        thresholds, and two that disagree would end each other's alerts. What it sees first has no id yet.

        Args:
            looked: names of the rules that were looked at, see `episodes.step`.

        Raises:
            StorageUnavailable: the database cannot be used, or another process looks for too long.
        """
        alerts = self.alerts
        with ExitStack() as held:
            readings = list(readings)
            requests = {(reading.name, reading.subject): reading.requests for reading in readings}
            is_in_charge = self._lease is None or _got(held, self._lease)
            held.enter_context(locked(self._lock, LOCK_TIMEOUT_S))
            unended, silences = alerts.unended(), alerts.silences()
            if self._lease is not None and not self.channels:
                # Whoever can tell nobody must not note that it did: the service may know channels.
                silences.append(EVERYTHING)
            known = unended, alerts.last_notified(), silences
            made = step(readings, *known, self._clock(), self._policy, looked=looked)
            if is_in_charge:
                self._keep(made, requests)
                return [episode for episode in alerts.unended() if episode.state == "firing"]
        seen = {episode.key: episode for episode in (*unended, *made.changed)}
        return [episode for episode in seen.values() if episode.state == "firing"]

    def tell(self, message: str, *, severity: str = "warning") -> bool:
        """Tells people something; False if the same was told less than a cool-down ago, and nothing was done."""
        title = self._word(severity if severity in LOG_LEVELS else "info")
        first, _, rest = message.strip().partition("\n")
        text = f"{first}\n{rest}".strip()
        notice = Notice(f"{title} {first}", text, severity, "message", {"message": message})
        since = self._clock() - timedelta(seconds=self._policy.cool_down_s)
        if not self.alerts.post(tuple(self.channels), notice, unless_since=since):
            log.debug("told already: %s", message)
            return False
        _write_to_log(notice)
        return True

    def deliver(self) -> int:
        """How many notices arrived that were due; the others are tried again later, or given up.

        A channel that fails is left alone until the next time, so that it does not keep the others waiting. What is
        for channels that this process does not know is left to those that do. Nothing happens while another process
        delivers.

        Raises:
            StorageUnavailable: the database cannot be used.
        """
        with ExitStack() as held:
            if not _got(held, self._lock.with_name(f"{self._lock.name}.delivery")):
                return 0
            self.alerts.give_up(self._clock() - GIVE_UP_AFTER)
            arrived, troubled = 0, set[str]()
            for letter in self.alerts.due(self.channels):
                if letter.channel not in troubled:
                    if self._send(letter):
                        arrived += 1
                    else:
                        troubled.add(letter.channel)
            return arrived

    def test(self) -> dict[str, str | None]:
        """Sends a test message through each channel, now; the channel's name -> what went wrong, None: nothing."""
        word = self._word
        notice = Notice(f"{word('test')} {word('test_title')}", word("test_text"), "info", "test")
        told: dict[str, str | None] = {}
        for name, channel in self.channels.items():
            try:
                channel.send(notice)
                told[name] = None
            except Exception as err:  # as in `_send`
                told[name] = _said(err)
        return told

    def _keep(self, made: Step, requests: Mapping[Key, Sequence[str]]) -> None:
        told = {episode.key: state for episode, state in made.notices}
        notices: list[Notice] = []

        def letters(episode: Episode) -> list[tuple[str, Notice]]:
            if episode.key not in told:
                return []
            notices.append(self._notice(episode, told[episode.key], requests.get(episode.key, ())))
            return [(name, notices[-1]) for name in self.channels]

        self.alerts.store(made.changed, letters)
        for notice in notices:
            _write_to_log(notice)

    def _send(self, letter: Letter) -> bool:
        # Noted first: if that is impossible, nothing is sent, or it would be sent again with every look. A crash
        # after the sending sends it once more: better told twice than never.
        self.alerts.attempt(letter, self._clock() + self._wait(letter))
        try:
            self.channels[letter.channel].send(letter.notice)
        except Exception as err:  # whatever one channel's answer does to us, the others are told
            due = self._try_again_at(letter, err)
            how = "given up" if due is None else f"tried again at {to_iso(due)}"
            log.warning("alert %r did not reach %s (%s): %s", letter.notice.title, letter.channel, how, _said(err))
            if not isinstance(err, DeliveryFailed):
                log.warning("the places of that error:\n%s", "".join(format_tb(err.__traceback__)))
            self.alerts.failed(letter, _said(err), due)
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
        """Exponential back-off with jitter, half at least."""
        longest_s = min(FIRST_WAIT_S * 2.0 ** min(letter.attempts, 20), LONGEST_WAIT_S)
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


def _said(err: Exception) -> str:
    """What people may read of an error; the text of one that no channel made may hold an address or a password."""
    return str(err) if isinstance(err, DeliveryFailed) else type(err).__name__


def _got(held: ExitStack, path: Path) -> bool:
    """Whether the lock of `path` is ours until `held` is closed."""
    try:
        held.enter_context(locked(path, timeout_s=0.0))
    except StorageUnavailable:  # another process has it
        return False
    return True


def as_json(episode: Episode) -> dict[str, object]:
    """The fields of an episode, and its code; times are ISO-8601 in UTC."""
    values = asdict(episode) | {"code": episode.name}
    return {name: to_iso(value) if isinstance(value, datetime) else value for name, value in values.items()}


def _write_to_log(notice: Notice) -> None:
    level = logging.INFO if notice.state == "resolved" else LOG_LEVELS.get(notice.severity, logging.WARNING)
    log.log(level, "%s", notice.text.replace("\n", "; ") if notice.state == "message" else notice.title)


def _local(moment: datetime | None) -> str:
    return "" if moment is None else moment.astimezone().strftime("%Y-%m-%d %H:%M:%S")

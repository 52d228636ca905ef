"""What is kept of alerts: their episodes, silences, and the notices that are on their way."""

import hashlib
import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from datetime import datetime
from typing import Any, Literal

from sqlalchemy import Connection, Engine, Row, delete, exists, func, insert, literal, select, update

from scheduler_service.alerts.episodes import Episode, Key, Silence
from scheduler_service.alerts.notice import Notice
from scheduler_service.clock import Clock, parse_time, to_iso
from scheduler_service.errors import AlertNotFound
from scheduler_service.telemetry import queries
from scheduler_service.telemetry.schema import alerts, outbox, silences
from scheduler_service.telemetry.writer import Writer, storable_text

_MOMENTS = frozenset({"began", "last_beyond", "fired", "ended", "notified", "acknowledged", "until", "written", "due"})


@dataclass(frozen=True, slots=True)
class Letter:
    """A notice on its way to one channel."""

    id: int
    channel: str
    notice: Notice
    attempts: int
    written: datetime


@dataclass(frozen=True, slots=True)
class Delivery:
    """What became of the last notice of an alert by one channel."""

    channel: str
    state: Literal["delivered", "waiting", "failed"]
    at: datetime  # of its arrival, or of when it was written
    error: str | None  # of the last attempt


LOG = "log"
"""Stands for no channel."""


class AlertLog:
    """The alerts of one database; every method raises StorageUnavailable."""

    def __init__(self, engine: Engine, writer: Writer, clock: Clock) -> None:
        self._engine = engine
        self._writer = writer
        self._clock = clock

    def unended(self) -> list[Episode]:
        """The episodes that are pending or firing, oldest first."""
        query = select(alerts).where(alerts.c.state != "resolved").order_by(alerts.c.id)
        return [_episode(row) for row in queries.fetch(self._engine, query)]

    def between(self, start: datetime, end: datetime) -> list[Episode]:
        """The episodes that fired and were under way at some moment from `start` to `end`, oldest first."""
        query = select(alerts).where(alerts.c.fired.is_not(None), alerts.c.began <= to_iso(end))
        query = query.where(alerts.c.ended.is_(None) | (alerts.c.ended >= to_iso(start)))
        return [_episode(row) for row in queries.fetch(self._engine, query.order_by(alerts.c.began, alerts.c.id))]

    def find(self, alert: int) -> Episode:
        """The episode of this id, also one that has ended.

        Raises:
            AlertNotFound: there is none.
        """
        found = queries.fetch(self._engine, select(alerts).where(alerts.c.id == alert)) if 0 <= alert < 2**63 else ()
        if not found:
            raise AlertNotFound("alert_not_found", id=alert)
        return _episode(found[0])

    def last_notified(self) -> dict[Key, datetime]:
        """Of each rule and subject that was ever told of, when it last was."""
        query = select(alerts.c.name, alerts.c.subject, func.max(alerts.c.notified).label("last"))
        query = query.group_by(alerts.c.name, alerts.c.subject)
        return {(row.name, row.subject): parse_time(row.last) for row in queries.fetch(self._engine, query) if row.last}

    def store(self, episodes: Sequence[Episode], letters: Callable[[Episode], Sequence[tuple[str, Notice]]]) -> None:
        """Stores what a look has changed, and the notices that it calls for, in one commit.

        What ends without having fired was none, and is forgotten.

        Args:
            letters: of an episode, which has its id by then, the notices to send: (channel, notice).
        """
        now = to_iso(self._clock())

        def change(connection: Connection) -> None:
            for episode in episodes:
                stored = _put(connection, episode)
                for channel, notice in letters(stored):
                    connection.execute(insert(outbox), _letter(channel, notice, now))

        if episodes:
            self._writer.write(change)

    def acknowledge(self, alert: int, actor: str, note: str | None) -> Episode:
        """The episode, acknowledged: nobody is reminded of it any more, and its end is still told.

        Raises:
            AlertNotFound: none has this id, or it has ended.
        """
        if not 0 <= alert < 2**63:  # of SQLite
            raise AlertNotFound("alert_not_found", id=alert)
        said = {"acknowledged_by": storable_text(actor), "note": None if note is None else storable_text(note)}
        values = {"acknowledged": to_iso(self._clock()), **said}

        def change(connection: Connection) -> None:
            is_open = (alerts.c.id == alert) & (alerts.c.state != "resolved")
            if connection.execute(update(alerts).where(is_open).values(values)).rowcount == 0:
                raise AlertNotFound("alert_not_open", id=alert)

        self._writer.write(change)
        return _episode(queries.fetch(self._engine, select(alerts).where(alerts.c.id == alert))[0])

    def silences(self) -> list[Silence]:
        """Those in force, the next to end first."""
        query = select(silences).where(silences.c.until > to_iso(self._clock())).order_by(silences.c.until)
        return [Silence(**_moments(row)) for row in queries.fetch(self._engine, query)]

    def silence(self, wanted: Silence) -> Silence:
        """Stores a silence; it as stored."""
        row = {name: _column(name, value) for name, value in asdict(wanted).items() if name != "id"}
        ids: list[int] = []

        def change(connection: Connection) -> None:
            key = connection.execute(insert(silences), row).inserted_primary_key
            ids[:] = () if key is None else (int(key[0]),)  # a change may be made again

        self._writer.write(change)
        return replace(wanted, id=ids[0])

    def end_silence(self, silence: int) -> None:
        """Ends a silence now.

        Raises:
            AlertNotFound: none with this id is in force.
        """
        now = to_iso(self._clock())

        def change(connection: Connection) -> None:
            in_force = (silences.c.id == silence) & (silences.c.until > now)
            if connection.execute(update(silences).where(in_force).values(until=now)).rowcount == 0:
                raise AlertNotFound("silence_not_found", id=silence)

        self._writer.write(change)

    # --- the outbox ---

    def post(self, channels: Sequence[str], notice: Notice, *, unless_since: datetime) -> bool:
        """Puts a notice into the outbox for each channel, unless the same was written since; whether it was put."""
        now = to_iso(self._clock())
        # Without a channel the log was all; the row still says that it was told.
        rows = [_letter(channel, notice, now) for channel in channels or (LOG,)]
        told: list[int] = []

        def change(connection: Connection) -> None:
            told.clear()
            for row in rows:
                known = exists(
                    select(outbox.c.id).where(
                        outbox.c.digest == row["digest"],
                        outbox.c.channel == row["channel"],
                        outbox.c.written > to_iso(unless_since),
                        outbox.c.written <= now,  # a clock that was set back leaves later ones
                    )
                )
                values = [literal(value, outbox.c[name].type) for name, value in row.items()]
                told.append(
                    connection.execute(insert(outbox).from_select(list(row), select(*values).where(~known))).rowcount
                )

        self._writer.write(change)
        return sum(told) > 0

    def due(self, channels: Collection[str], limit: int = 100) -> list[Letter]:
        """The notices for these channels that are to be sent now, oldest first."""
        now = to_iso(self._clock())
        is_due = (outbox.c.due <= now) | (outbox.c.written > now)  # written before the clock was set back
        query = select(outbox).where(outbox.c.due.is_not(None), is_due, outbox.c.channel.in_(list(channels)))
        return [
            Letter(row.id, row.channel, Notice(**json.loads(row.notice)), row.attempts, parse_time(row.written))
            for row in queries.fetch(self._engine, query.order_by(outbox.c.id).limit(limit))
        ]

    def attempt(self, letter: Letter, due: datetime) -> None:
        """Notes, before it is sent, that it is; `due`: when to try again if nothing more is heard of it."""
        self._after(letter, {"attempts": letter.attempts + 1, "due": to_iso(due)})

    def delivered(self, letter: Letter) -> None:
        """Notes that a notice has arrived."""
        self._after(letter, {"delivered": to_iso(self._clock()), "due": None, "error": None})

    def failed(self, letter: Letter, error: str, due: datetime | None) -> None:
        """Notes what went wrong; `due`: when to try again, None: never."""
        self._after(letter, {"error": error, "due": None if due is None else to_iso(due)})

    def give_up(self, before: datetime) -> None:
        """Gives up what was written before then: for channels that are no longer configured nobody tries."""
        old = outbox.c.due.is_not(None) & (outbox.c.written < to_iso(before))
        lost = func.coalesce(outbox.c.error, "nobody could send it in time")
        if queries.fetch(self._engine, select(outbox.c.id).where(old).limit(1)):
            change = update(outbox).where(old).values(due=None, error=lost)
            self._writer.write(lambda connection: connection.execute(change))

    def deliveries(self, alert_ids: Collection[int], since: datetime) -> dict[int, list[Delivery]]:
        """Of each of these alerts, what became of its last notice written since then, channel by channel."""
        query = select(outbox).where(outbox.c.written >= to_iso(since)).order_by(outbox.c.id)
        found: dict[int, dict[str, Delivery]] = {}
        for row in queries.fetch(self._engine, query) if alert_ids else ():
            alert = json.loads(row.notice)["payload"].get("id")
            if alert in alert_ids:
                found.setdefault(alert, {})[row.channel] = _delivery(row)
        return {alert: list(by_channel.values()) for alert, by_channel in found.items()}

    def outbox(self) -> dict[str, int]:
        """How many notices wait, and how many were given up."""
        waiting = select(func.count()).select_from(outbox).where(outbox.c.due.is_not(None))
        lost = select(func.count()).select_from(outbox)
        lost = lost.where(outbox.c.due.is_(None), outbox.c.delivered.is_(None), outbox.c.error.is_not(None))
        counts = {"waiting": waiting, "given_up": lost}
        return {name: int(queries.fetch(self._engine, query)[0][0]) for name, query in counts.items()}

    def forget(self, before: datetime) -> None:
        """Removes what was settled before then: notices, silences and alerts that have ended."""
        limit = to_iso(before)

        def change(connection: Connection) -> None:
            connection.execute(delete(outbox).where(outbox.c.due.is_(None), outbox.c.written < limit))
            connection.execute(delete(silences).where(silences.c.until < limit))
            connection.execute(delete(alerts).where(alerts.c.ended < limit))

        self._writer.write(change)

    def _after(self, letter: Letter, values: Mapping[str, object]) -> None:
        change = update(outbox).where(outbox.c.id == letter.id).values(**values)
        self._writer.write(lambda connection: connection.execute(change))


def _delivery(row: Row[Any]) -> Delivery:
    state: Literal["delivered", "waiting", "failed"] = "waiting" if row.due is not None else "failed"
    if row.delivered is not None:
        state = "delivered"
    return Delivery(row.channel, state, parse_time(row.delivered or row.written), row.error)


def _put(connection: Connection, episode: Episode) -> Episode:
    """The episode as stored."""
    row = _row(episode)
    if episode.id is None:
        key = connection.execute(insert(alerts), row).inserted_primary_key
        return replace(episode, id=None if key is None else int(key[0]))
    mine = alerts.c.id == episode.id
    if episode.state == "resolved" and episode.fired is None:
        connection.execute(delete(alerts).where(mine))
    else:
        # Somebody may have acknowledged it since it was read.
        for theirs in ("acknowledged", "acknowledged_by", "note"):
            del row[theirs]
        connection.execute(update(alerts).where(mine).values(row))
    return episode


def _letter(channel: str, notice: Notice, now: str) -> dict[str, Any]:
    due = None if channel == LOG else now
    content = {"digest": digest(notice), "notice": _to_json(notice)}
    return {"written": now, "channel": channel, "attempts": 0, "due": due, **content}


def digest(notice: Notice) -> str:
    """Of what is said: the same for a repetition."""
    return hashlib.sha256(
        f"{notice.state}\n{notice.severity}\n{notice.title}\n{notice.text}".encode("utf-8", "replace")
    ).hexdigest()


def _to_json(notice: Notice) -> str:
    return storable_text(json.dumps(asdict(notice), ensure_ascii=False, default=str))


def _row(episode: Episode) -> dict[str, Any]:
    return {each.name: _column(each.name, getattr(episode, each.name)) for each in fields(episode) if each.name != "id"}


def _column(name: str, value: Any) -> Any:
    if value is None:
        return None
    if name == "params":
        return storable_text(json.dumps(dict(value), ensure_ascii=False, default=str))
    return to_iso(value) if name in _MOMENTS else storable_text(value) if isinstance(value, str) else value


def _episode(row: Row[Any]) -> Episode:
    values = _moments(row)
    return Episode(**values | {"params": None if values["params"] is None else json.loads(values["params"])})


def _moments(row: Row[Any]) -> dict[str, Any]:
    values = row._asdict()
    return {
        name: parse_time(value) if name in _MOMENTS and value is not None else value for name, value in values.items()
    }

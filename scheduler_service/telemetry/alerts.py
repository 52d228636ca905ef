"""The stored alerts: episodes, silences, and the outbox of notices to deliver."""

import hashlib
import json
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, fields, replace
from datetime import datetime, timedelta
from typing import Any, Literal

from sqlalchemy import Connection, Engine, Row, Table, delete, exists, func, insert, literal, select, update

from scheduler_service.alerts.episodes import Episode, Key, Silence
from scheduler_service.alerts.notice import Notice
from scheduler_service.clock import Clock, parse_time, to_iso
from scheduler_service.errors import AlertNotFound
from scheduler_service.lease import Lease
from scheduler_service.telemetry import queries
from scheduler_service.telemetry.database import changed, database_of
from scheduler_service.telemetry.schema import alerts, outbox, silences
from scheduler_service.telemetry.writer import Writer, storable_text

_TIMES = frozenset({"began", "last_beyond", "fired", "ended", "notified", "acknowledged", "until", "written", "due"})
MAX_ID = 2**63 - 1
"""The greatest whole number of a database."""


@dataclass(frozen=True, slots=True)
class Letter:
    """A notice to deliver by one channel."""

    id: int
    channel: str
    notice: Notice
    attempts: int
    written: datetime

    @property
    def key(self) -> str:
        """The same at each attempt, and different for each letter of any database."""
        return hashlib.sha256(f"{self.id} {to_iso(self.written)} {self.channel}".encode()).hexdigest()[:32]


@dataclass(frozen=True, slots=True)
class Delivery:
    """The state of an alert's last notice in one channel."""

    channel: str
    state: Literal["delivered", "waiting", "failed"]
    at: datetime  # time of delivery, otherwise of writing
    error: str | None  # of the last attempt


CLOCK_TOLERANCE = timedelta(minutes=1)
"""The clocks of machines that share a database may differ by this much."""
LOG = "log"
"""The channel of notices that are only logged, since no channel is configured."""


class AlertLog:
    """The alerts of one database; every method raises StorageUnavailable."""

    def __init__(self, engine: Engine, writer: Writer, clock: Clock) -> None:
        self._engine = engine
        self._database = database_of(engine)
        self._writer = writer
        self._clock = clock

    def unended(self) -> list[Episode]:
        """The episodes that are pending or firing, oldest first."""
        query = select(alerts).where(alerts.c.state != "resolved").order_by(alerts.c.id)
        return [_episode(row) for row in queries.fetch(self._engine, query)]

    def between(self, start: datetime, end: datetime) -> list[Episode]:
        """The episodes that fired and overlap the period from `start` to `end`, oldest first."""
        query = select(alerts).where(alerts.c.fired.is_not(None), alerts.c.began <= to_iso(end))
        query = query.where(alerts.c.ended.is_(None) | (alerts.c.ended >= to_iso(start)))
        return [_episode(row) for row in queries.fetch(self._engine, query.order_by(alerts.c.began, alerts.c.id))]

    def find(self, alert: int) -> Episode:
        """The episode with this id, also if it has ended.

        Raises:
            AlertNotFound: there is none.
        """
        found = queries.fetch(self._engine, select(alerts).where(alerts.c.id == alert)) if 0 <= alert <= MAX_ID else ()
        if not found:
            raise AlertNotFound("alert_not_found", id=alert)
        return _episode(found[0])

    def last_notified(self) -> dict[Key, datetime]:
        """Rule and subject -> time of the last notice."""
        query = select(alerts.c.name, alerts.c.subject, func.max(alerts.c.notified).label("last"))
        query = query.group_by(alerts.c.name, alerts.c.subject)
        return {(row.name, row.subject): parse_time(row.last) for row in queries.fetch(self._engine, query) if row.last}

    def hold(self, name: str, timeout_s: float) -> AbstractContextManager[Lease]:
        """A lease among all processes that use the database; see `Database.hold`."""
        return self._database.hold(name, timeout_s)

    def store(
        self,
        episodes: Sequence[Episode],
        letters: Callable[[Episode], Sequence[tuple[str, Notice]]],
        lease: Lease | None = None,
    ) -> None:
        """Store changed episodes and their notices in one commit; episodes that ended without firing are deleted.

        Args:
            letters: returns the notices to send for an episode with its id: (channel, notice).
            lease: nothing is stored if it is lost.
        """
        now = to_iso(self._clock())

        def change(connection: Connection) -> None:
            if lease is not None:
                lease.confirm(connection)
            for episode in episodes:
                stored = _put(connection, episode)
                for channel, notice in letters(stored):
                    connection.execute(insert(outbox), _letter(channel, notice, now))

        if episodes:
            self._writer.write(change)

    def acknowledge(self, alert: int, actor: str, note: str | None) -> Episode:
        """Acknowledge an alert: no more reminders are sent, only the notice of its end. Returns the episode.

        Raises:
            AlertNotFound: none has this id, or it has ended.
        """
        if not 0 <= alert <= MAX_ID:
            raise AlertNotFound("alert_not_found", id=alert)
        values = {
            "acknowledged": to_iso(self._clock()),
            "acknowledged_by": storable_text(actor),
            "note": None if note is None else storable_text(note),
        }

        def change(connection: Connection) -> None:
            is_open = (alerts.c.id == alert) & (alerts.c.state != "resolved")
            if changed(connection, update(alerts).where(is_open).values(values)) == 0:
                raise AlertNotFound("alert_not_open", id=alert)

        self._writer.write(change)
        return self.find(alert)

    def silences(self) -> list[Silence]:
        """The current silences, ordered by their end."""
        query = select(silences).where(silences.c.until > to_iso(self._clock())).order_by(silences.c.until)
        return [Silence(**_values(row)) for row in queries.fetch(self._engine, query)]

    def silence(self, wanted: Silence) -> Silence:
        """Store a silence; returns it with its id."""
        ids: list[int | None] = []
        # The writer may apply a change twice; the last id counts.
        self._writer.write(lambda connection: ids.append(_insert(connection, silences, _row(wanted))))
        return replace(wanted, id=ids[-1])

    def end_silence(self, silence: int) -> None:
        """End a silence.

        Raises:
            AlertNotFound: none with this id is in force.
        """
        now = to_iso(self._clock())

        def change(connection: Connection) -> None:
            in_force = (silences.c.id == silence) & (silences.c.until > now)
            if changed(connection, update(silences).where(in_force).values(until=now)) == 0:
                raise AlertNotFound("silence_not_found", id=silence)

        self._writer.write(change)

    # --- the outbox ---

    def post(self, channels: Sequence[str], notice: Notice, *, unless_since: datetime) -> bool:
        """Put a notice into the outbox for each channel, unless the same was written after `unless_since`.

        Returns whether it was added for any channel.
        """
        now, latest = to_iso(self._clock()), to_iso(self._clock() + CLOCK_TOLERANCE)
        rows = [_letter(channel, notice, now) for channel in channels or (LOG,)]
        n_added = 0

        def change(connection: Connection) -> None:
            nonlocal n_added
            n_added = 0  # the writer may apply a change twice
            for row in rows:
                self._database.serialise(connection, row["digest"])  # others may post the same at the same time
                same = (outbox.c.digest == row["digest"]) & (outbox.c.channel == row["channel"])
                # Rows from the future were written before the clock was set back.
                known = same & (outbox.c.written > to_iso(unless_since)) & (outbox.c.written <= latest)
                values = [literal(value, outbox.c[name].type) for name, value in row.items()]
                if_new = select(*values).where(~exists(select(outbox.c.id).where(known)))
                n_added += changed(connection, insert(outbox).from_select(list(row), if_new))

        self._writer.write(change)
        return n_added > 0

    def due(self, channels: Collection[str], limit: int = 100) -> list[Letter]:
        """The notices to send by these channels, oldest first."""
        now, latest = to_iso(self._clock()), to_iso(self._clock() + CLOCK_TOLERANCE)
        is_due = (outbox.c.due <= now) | (outbox.c.written > latest)  # or written before the clock was set back
        query = select(outbox).where(outbox.c.due.is_not(None), is_due, outbox.c.channel.in_(list(channels)))
        return [
            Letter(row.id, row.channel, Notice(**json.loads(row.notice)), row.attempts, parse_time(row.written))
            for row in queries.fetch(self._engine, query.order_by(outbox.c.id).limit(limit))
        ]

    def attempt(self, letter: Letter, due: datetime) -> bool:
        """Record an attempt before it is made; False: another process makes it, or has made it.

        Args:
            due: time of the next attempt if the process ends during this one.
        """
        mine = (outbox.c.id == letter.id) & (outbox.c.attempts == letter.attempts) & outbox.c.due.is_not(None)
        taken = update(outbox).where(mine).values(attempts=letter.attempts + 1, due=to_iso(due))
        n_taken: list[int] = []
        # The writer may apply a change twice; the last number counts.
        self._writer.write(lambda connection: n_taken.append(changed(connection, taken)))
        return n_taken[-1] > 0

    def delivered(self, letter: Letter) -> None:
        """Record the delivery of a notice."""
        self._update(letter, delivered=to_iso(self._clock()), due=None, error=None)

    def failed(self, letter: Letter, error: str, due: datetime | None) -> None:
        """Record the error of an attempt; `due`: time of the next attempt, None: never."""
        self._update(letter, error=error, due=None if due is None else to_iso(due))

    def give_up(self, before: datetime) -> None:
        """Give up notices written before then, as those for channels that are not configured any more."""
        old = outbox.c.due.is_not(None) & (outbox.c.written < to_iso(before))
        lost = func.coalesce(outbox.c.error, "nobody could send it in time")
        if queries.fetch(self._engine, select(outbox.c.id).where(old).limit(1)):
            change = update(outbox).where(old).values(due=None, error=lost)
            self._writer.write(lambda connection: connection.execute(change))

    def deliveries(self, alert_ids: Collection[int], since: datetime) -> dict[int, list[Delivery]]:
        """Alert -> the delivery of its last notice written since then, for each channel."""
        query = select(outbox).where(outbox.c.written >= to_iso(since)).order_by(outbox.c.id)
        found: dict[int, dict[str, Delivery]] = {}
        for row in queries.fetch(self._engine, query) if alert_ids else ():
            alert = json.loads(row.notice)["payload"].get("id")
            if alert in alert_ids:
                found.setdefault(alert, {})[row.channel] = _delivery(row)
        return {alert: list(by_channel.values()) for alert, by_channel in found.items()}

    def outbox(self) -> dict[str, int]:
        """The number of notices that are waiting, and that were given up."""
        lost = outbox.c.due.is_(None) & outbox.c.delivered.is_(None) & outbox.c.error.is_not(None)
        conditions = {"waiting": outbox.c.due.is_not(None), "given_up": lost}
        count = select(func.count()).select_from(outbox)
        return {name: int(queries.fetch(self._engine, count.where(each))[0][0]) for name, each in conditions.items()}

    def forget(self, before: datetime) -> None:
        """Delete notices that were settled, and silences and alerts that ended, before then."""
        limit = to_iso(before)

        def change(connection: Connection) -> None:
            connection.execute(delete(outbox).where(outbox.c.due.is_(None), outbox.c.written < limit))
            connection.execute(delete(silences).where(silences.c.until < limit))
            connection.execute(delete(alerts).where(alerts.c.ended < limit))

        self._writer.write(change)

    def _update(self, letter: Letter, **values: object) -> None:
        change = update(outbox).where(outbox.c.id == letter.id).values(**values)
        self._writer.write(lambda connection: connection.execute(change))


def _delivery(row: Row[Any]) -> Delivery:
    at = parse_time(row.delivered or row.written)
    return Delivery(row.channel, "delivered" if row.delivered else "waiting" if row.due else "failed", at, row.error)


def _put(connection: Connection, episode: Episode) -> Episode:
    """Store an episode; returns it with its id."""
    row = _row(episode)
    if episode.id is None:
        return replace(episode, id=_insert(connection, alerts, row))
    mine = alerts.c.id == episode.id
    if episode.state == "resolved" and episode.fired is None:
        connection.execute(delete(alerts).where(mine))
    else:
        # Not these columns: a user may have acknowledged it since it was read.
        for name in ("acknowledged", "acknowledged_by", "note"):
            del row[name]
        connection.execute(update(alerts).where(mine).values(row))
    return episode


def _insert(connection: Connection, table: Table, row: Mapping[str, Any]) -> int | None:
    """Insert a row; returns its id."""
    key = connection.execute(insert(table), row).inserted_primary_key
    return None if key is None else int(key[0])


def _letter(channel: str, notice: Notice, now: str) -> dict[str, Any]:
    due = None if channel == LOG else now
    content = {"digest": digest(notice), "notice": _json(asdict(notice))}
    return {"written": now, "channel": channel, "attempts": 0, "due": due, **content}


def digest(notice: Notice) -> str:
    """A digest of the content, by which repetitions are recognised."""
    return hashlib.sha256(
        f"{notice.state}\n{notice.severity}\n{notice.title}\n{notice.text}".encode("utf-8", "replace")
    ).hexdigest()


def _json(value: Mapping[str, Any]) -> str:
    return storable_text(json.dumps(dict(value), ensure_ascii=False, default=str))


def _row(stored: Episode | Silence) -> dict[str, Any]:
    """The columns of an episode or a silence, without the id."""
    return {each.name: _column(each.name, getattr(stored, each.name)) for each in fields(stored) if each.name != "id"}


def _column(name: str, value: Any) -> Any:
    if value is None:
        return None
    if name == "params":
        return _json(value)
    return to_iso(value) if name in _TIMES else storable_text(value) if isinstance(value, str) else value


def _episode(row: Row[Any]) -> Episode:
    values = _values(row)
    return Episode(**values | {"params": None if values["params"] is None else json.loads(values["params"])})


def _values(row: Row[Any]) -> dict[str, Any]:
    return {
        name: parse_time(value) if name in _TIMES and value is not None else value
        for name, value in row._asdict().items()
    }

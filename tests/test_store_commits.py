"""The store in PostgreSQL: a change under a lease that is lost, and a commit without an answer."""

import selectors
import socket
import threading
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from ab_testing import ABTestManager
from model_manager import ModelVersionManager
from monitoring import PerformanceMonitor
from scheduler_service.errors import LeaseLost, StorageUnavailable
from scheduler_service.store.database import DatabaseStore
from scheduler_service.words import Message
from tests.clocks import Clock
from tests.codes import coded
from tests.test_registry_trust import deployed_at, level_of, runs, two_deployed
from tests.waiting import until

V1, V2 = "DDQN_v1.0", "DDQN_v2.0"
COMMIT = b"COMMIT\x00"
WHY = [Message("rollout.none")]


@pytest.fixture
def url(postgresql):
    with postgresql.schema() as url:
        yield url


@pytest.fixture
def open_store(tmp_path):
    opened = []

    def open_one(url):
        opened.append(DatabaseStore(url, tmp_path / f"replica{len(opened)}"))
        return opened[-1]

    yield open_one
    for each in opened:
        each.close()


# --- leases ---


@pytest.fixture
def monitor(url, tmp_path):
    monitor = PerformanceMonitor(url, reports_dir=tmp_path)
    yield monitor
    monitor.close()


@pytest.fixture
def deposed(monitor, monkeypatch):
    """A lease whose holder does not know yet that another process has taken it over."""
    monkeypatch.setattr("scheduler_service.postgresql.leases.RENEW_S", 600.0)
    with monitor.alerts.hold("job", 0.0) as lease:
        with monitor.engine.begin() as connection:
            connection.exec_driver_sql("UPDATE leases SET expires = now() - interval '1 hour' WHERE name = 'job'")
        with monitor.alerts.hold("job", 0.0):
            yield lease


def test_a_change_under_a_lease_that_another_process_has_taken_changes_nothing(url, open_store, deposed):
    store = open_store(url)
    before = store.stamp()
    with pytest.raises(LeaseLost, check=coded("lease_lost")), store.changing(lease=deposed) as change:
        change.put("a.json", b"1")
    store.refresh()
    assert (store.read("a.json").content, store.stamp()) == (None, before)


def test_a_lease_is_not_taken_over_between_its_check_and_the_commit(url, open_store, monitor, monkeypatch, postgresql):
    for name in ("LEASE_S", "RENEW_S"):  # it is not renewed meanwhile
        monkeypatch.setattr(f"scheduler_service.postgresql.leases.{name}", 600.0)
    store, taken = open_store(url), []
    expire = "UPDATE leases SET expires = now() - interval '1 hour' WHERE name = 'job'"

    def take_over():
        with monitor.engine.begin() as connection:  # waits for the end of the change
            connection.exec_driver_sql("SET LOCAL lock_timeout = 0")
            connection.exec_driver_sql(expire)
        taken.append(True)

    with monitor.alerts.hold("job", 0.0) as lease:
        other = threading.Thread(target=take_over)
        with store.changing(lease=lease) as change:
            other.start()
            waiting = f"SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query = $${expire}$$"
            until(lambda: postgresql.execute(waiting) == [(1,)], "the other one to wait")
            assert not taken
            change.put("a.json", b"1")
        other.join()
    assert taken
    assert store.read("a.json").content == b"1"


@pytest.mark.parametrize("kind", ["advance", "promote", "abort", "stop_arm"])
def test_a_deposed_holder_moves_no_experiment(url, open_store, deposed, monkeypatch, kind):
    from scheduler_service.experiments import automatic
    from scheduler_service.experiments.rollout import Decision

    store = open_store(url)
    experiments = ABTestManager(store=store)
    more = {"model_c": "DDQN_v3.0"} if kind == "stop_arm" else {"rollout": {}}
    made = experiments.create_experiment("ramp", V2, V1, **more)
    monkeypatch.setattr(automatic, "decide", lambda *_: Decision(kind, WHY, arm="model_b"))
    before = (experiments.history.transitions(), store.read("ab_test_config.json").content)
    with pytest.raises(LeaseLost):
        automatic.act(experiments._changes, made, None, made.start_time, deposed)
    other = ABTestManager(store=open_store(url))
    assert (other.history.transitions(), store.read("ab_test_config.json").content) == before
    assert automatic.act(experiments._changes, made, None, made.start_time) is not None, "without the lease it is made"


def test_a_deposed_holder_rolls_no_live_model_back(url, open_store, deposed, tmp_path):
    clock = Clock(datetime(2026, 6, 1, tzinfo=UTC))
    manager = ModelVersionManager(store=open_store(url), clock=clock)
    previous, key = two_deployed(manager, clock, tmp_path)
    clock.now -= timedelta(days=9.5)  # half a day after the second one was deployed
    worse = runs(key, deployed_at(manager), 300, gap=level_of(manager, key) + 0.3)
    before = manager.history()
    with pytest.raises(LeaseLost):
        manager.roll_back_if_degraded("DDQN", worse, lease=deposed)
    assert ModelVersionManager(store=open_store(url)).history() == before
    assert manager.roll_back_if_degraded("DDQN", worse).model_key == previous, "without the lease it is made"


# --- commits without an answer ---


class Severing:
    """A proxy before PostgreSQL that can cut a connection at its COMMIT; used by a `with` block.

    Attributes:
        cut: what happens at the next COMMIT. "before": the server does not get it; "during": it does; "after": it has
            also answered, which the client does not learn; "forever": as "after", and no connection works any more.
    """

    def __init__(self, port):
        self.cut, self.n_cut, self._target, self._open = None, 0, port, []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]

    def __enter__(self):
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_):
        for each in (self._listener, *self._open):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def _accept(self):
        with suppress(OSError):  # closed
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._pass_on, args=(client,), daemon=True).start()

    def _pass_on(self, client):
        with suppress(OSError), client, socket.create_connection(("127.0.0.1", self._target)) as server:
            self._open += [client, server]
            selector = selectors.DefaultSelector()
            for one, other in ((client, server), (server, client)):
                selector.register(one, selectors.EVENT_READ, other)
            while True:
                for key, _ in selector.select():
                    data = key.fileobj.recv(65_536)
                    if not data or (key.fileobj is client and self._cuts(data, server)):
                        return
                    key.data.sendall(data)

    def _cuts(self, data, server):
        if self.cut is None or COMMIT not in data:
            return False
        how, self.cut = self.cut, None
        if how != "before":
            server.sendall(data)
        if how in ("after", "forever"):
            server.recv(65_536)
        if how == "forever":
            self.__exit__()
        self.n_cut += 1
        return True


@pytest.fixture
def severed(url, postgresql):
    """A proxy, and the URL through it."""
    with Severing(postgresql.port) as proxy:
        yield proxy, replace(url, hosts=((url.hosts[0][0], proxy.port),))


def test_a_change_whose_commit_got_no_answer_succeeds_if_it_was_committed(severed, url, open_store):
    proxy, through = severed
    store, called = open_store(through), []
    proxy.cut = "after"
    with store.changing() as change:
        change.put("a.json", b"1")
        change.append("logs/events.jsonl", {"event": 1})
        change.after.append(lambda: called.append(store.read("a.json").content))
    assert proxy.n_cut == 1
    assert called == [b"1"]
    assert open_store(url).log("logs/events.jsonl", dict).lines() == [{"event": 1}], "it is made once"


def test_a_change_whose_commit_was_lost_fails_and_can_be_repeated(severed, url, open_store):
    proxy, through = severed
    store = open_store(through)

    def add():
        with store.changing() as change:
            change.append("logs/events.jsonl", {"event": 1})

    proxy.cut = "before"
    with pytest.raises(StorageUnavailable, check=coded("database_unreachable")):
        add()
    assert proxy.n_cut == 1
    assert open_store(url).log("logs/events.jsonl", dict).lines() == []
    add()
    assert open_store(url).log("logs/events.jsonl", dict).lines() == [{"event": 1}]


def test_the_outcome_of_a_commit_in_progress_is_waited_for(severed, url, open_store, postgresql):
    """The connection is lost while the server still commits: the change is looked for when that is over."""
    proxy, through = severed
    store = open_store(through)
    name = url.parameters["options"].rpartition("=")[2]
    postgresql.execute(
        f"CREATE FUNCTION {name}.slow() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN PERFORM pg_sleep(2); RETURN NULL; END $$"
    )
    postgresql.execute(
        f"CREATE CONSTRAINT TRIGGER slow AFTER INSERT ON {name}.store_lines DEFERRABLE INITIALLY DEFERRED"
        f" FOR EACH ROW EXECUTE FUNCTION {name}.slow()"
    )
    proxy.cut = "during"
    with store.changing() as change:
        change.append("logs/events.jsonl", {"event": 1})
    assert proxy.n_cut == 1
    assert open_store(url).log("logs/events.jsonl", dict).lines() == [{"event": 1}]


def test_an_outcome_that_stays_unknown_is_told_as_such(severed, open_store, monkeypatch):
    proxy, through = severed
    store = open_store(through)
    monkeypatch.setattr("scheduler_service.store.database.OUTCOME_TIMEOUT_S", 0.5)
    proxy.cut = "forever"
    with pytest.raises(StorageUnavailable, check=coded("change_outcome_unknown")), store.changing() as change:
        change.put("a.json", b"1")
    assert proxy.n_cut == 1

"""Records in PostgreSQL: what differs from a file, what goes wrong, and what several replicas do at once."""

import ast
import itertools
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from contextlib import nullcontext, suppress
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest
from pydantic import ValidationError
from sqlalchemy import PoolProxiedConnection, text

from monitoring import PerformanceMonitor, PerformanceRecord, alert_desk
from scheduler_service.alerts.notice import Notice
from scheduler_service.database_url import parse_database_url
from scheduler_service.errors import RunNotFound, StorageUnavailable
from scheduler_service.postgresql.attempts import FORGET
from scheduler_service.settings import Settings, settings_from_environment
from scheduler_service.telemetry.engines.sqlite import FileLease
from scheduler_service.telemetry.queries import Seen, experiments_since
from scheduler_service.telemetry.schema import prepare_at_once
from tests.codes import coded
from tests.conftest import ROOT, live_service
from tests.postgresql import NoServer, Server, lock_timeout, new_folder, new_server, owner
from tests.programs import run_python, start_python
from tests.receiver import Receiver
from tests.waiting import HANG_S, in_threads, until

NOW = datetime(2026, 11, 25, 12, 0, tzinfo=UTC)
ENGINES = ("postgresql",)
SECRET = "p@ss:w/rd"


def record(request_id: str = "r1", **fields: object) -> PerformanceRecord:
    return PerformanceRecord(**({"request_id": request_id, "makespan": 50.0} | fields))


# --- the address ---


@pytest.mark.parametrize(
    ("url", "hosts", "shown"),
    [
        ("postgresql+psycopg://u:p@h:5433/d", (("h", 5433),), "postgresql://u@h:5433/d"),
        ("postgresql://u:p@a:1,b:2,c/d", (("a", 1), ("b", 2), ("c", None)), "postgresql://u@a:1,b:2,c/d"),
        ("postgresql://[::1]:7/d?sslmode=verify-full", (("[::1]", 7),), "postgresql://[::1]:7/d"),
        ("postgresql:///d?host=/run/postgresql&user=x&password=y", (("/run/postgresql", None),),
         "postgresql://x@/run/postgresql/d"),
    ],
)  # fmt: skip
def test_an_address_names_hosts_and_shows_no_password(url, hosts, shown):
    found = parse_database_url(url)
    assert (found.hosts, found.shown) == (hosts, shown)
    assert "p" not in found.arguments().get("password", "p").replace("p", "", 1)
    assert "password" not in repr(found).replace("password_file", "")


@pytest.mark.parametrize(
    ("url", "code"),
    [
        ("mysql://u:hidden@h/d", "database_url_scheme"),
        ("postgresql://u:hid@den@h/d", "database_url_escape"),
        ("postgresql://u:hid:den@h/d", "database_url_escape"),
        ("postgresql://u:hid/den@h/d", "database_url_escape"),
        ("postgresql://u:hid#den@h/d", "database_url_escape"),
        ("postgresql://u:hidden@h:port/d", "database_url_host"),
        ("postgresql://u:hidden@h/d?sslmode", "database_url_shape"),
    ],
)
def test_an_invalid_address_is_refused_without_its_password(monkeypatch, url, code):
    monkeypatch.setenv("SCHED_DATABASE_URL", url)
    settings_from_environment.cache_clear()
    with pytest.raises(ValidationError) as refused:
        Settings()
    (error,) = refused.value.errors(include_url=False, include_input=False)
    assert error["type"] == code
    with pytest.raises(SystemExit) as ended:
        settings_from_environment()
    settings_from_environment.cache_clear()
    assert "SCHED_DATABASE_URL" in str(ended.value)
    assert "hid" not in str(ended.value) + str(refused.value)


def test_the_password_may_be_in_a_file(postgresql, tmp_path):
    file = tmp_path / "password"
    file.write_text(f"{SECRET}\n")
    url = f"postgresql://postgres@127.0.0.1:{postgresql.port}/postgres"
    settings = Settings(home=tmp_path, database_url=url, database_password_file=file)
    monitor = PerformanceMonitor(settings.records, reports_dir=tmp_path)
    monitor.check_writable()
    monitor.close()
    file.write_text("another")  # read again for the next connection
    with pytest.raises(StorageUnavailable, check=coded("database_login_refused")):
        monitor.check_writable()


def test_the_password_may_be_in_the_usual_file_of_libpq(postgresql, tmp_path, monkeypatch):
    file = tmp_path / "pgpass"
    file.write_text(f"127.0.0.1:*:*:postgres:{SECRET.replace(':', chr(92) + ':')}\n")
    file.chmod(0o600)
    url = parse_database_url(f"postgresql://postgres@127.0.0.1:{postgresql.port}/postgres")
    with pytest.raises(StorageUnavailable, check=coded("database_login_refused")):
        PerformanceMonitor(url, reports_dir=tmp_path)
    monkeypatch.setenv("PGPASSFILE", str(file))
    PerformanceMonitor(url, reports_dir=tmp_path).close()


def test_alerts_are_shown_on_a_machine_without_folders(postgresql, records, tmp_path):
    """For example by cron, where no service has run."""
    address = f"{postgresql.address}?options={records.parameters['options'].replace('=', '%3D')}"
    environment = os.environ | {"SCHED_DATABASE_URL": address, "SCHED_HOME": str(tmp_path / "home")}
    done = run_python("monitoring.py", "alerts", env=environment)
    assert (done.returncode, done.stdout) == (0, "nothing is wrong\n"), done.stderr


# --- what goes wrong ---


def test_a_wrong_login_or_database_is_named_and_the_password_is_not(postgresql, tmp_path):
    port = postgresql.port
    cases = {
        f"postgres:{'x' * 9}@127.0.0.1:{port}/postgres": "database_login_refused",
        f"postgres:p%40ss%3Aw%2Frd@127.0.0.1:{port}/nothing": "database_missing",
        "postgres:p%40ss%3Aw%2Frd@127.0.0.1:1/postgres": "database_unreachable",
    }
    for rest, code in cases.items():
        with pytest.raises(StorageUnavailable) as refused:
            PerformanceMonitor(parse_database_url(f"postgresql://{rest}"), reports_dir=tmp_path)
        assert refused.value.code == code
        for lang in ("en", "zh"):
            assert not any(secret in refused.value.text(lang) for secret in (SECRET, "p%40ss", "xxxxxxxxx"))


def test_an_old_server_a_missing_privilege_and_a_weak_commit_are_refused(postgresql, tmp_path, monkeypatch):
    with postgresql.schema() as url:
        schema = url.parameters["options"].rpartition("=")[2]
        postgresql.execute("DROP ROLE IF EXISTS guest")
        postgresql.execute("CREATE ROLE guest LOGIN PASSWORD 'guest'")
        guest = f"postgresql://guest:guest@127.0.0.1:{postgresql.port}/postgres?options=-csearch_path%3D{schema}"
        with pytest.raises(StorageUnavailable, check=coded("database_privilege")):
            PerformanceMonitor(parse_database_url(guest), reports_dir=tmp_path)
        weak = parse_database_url(f"{postgresql.address}?options=-csynchronous_commit%3Doff")
        with pytest.raises(StorageUnavailable, check=coded("database_not_durable", value="off")):
            PerformanceMonitor(weak, reports_dir=tmp_path)
        monkeypatch.setattr("scheduler_service.postgresql.connecting.MIN_VERSION", 99)
        with pytest.raises(StorageUnavailable, check=coded("database_too_old", needed="99")):
            PerformanceMonitor(url, reports_dir=tmp_path)
        monkeypatch.undo()
        PerformanceMonitor(url, reports_dir=tmp_path).close()
        postgresql.execute(f"GRANT USAGE ON SCHEMA {schema} TO guest")
        postgresql.execute(f"GRANT ALL ON ALL TABLES IN SCHEMA {schema} TO guest")
        postgresql.execute(f"GRANT ALL ON ALL SEQUENCES IN SCHEMA {schema} TO guest")
        allowed = PerformanceMonitor(parse_database_url(guest), reports_dir=tmp_path)
        allowed.record_performance(record())
        allowed.close()


def test_a_database_of_a_newer_version_is_refused(monitor, open_monitor):
    with monitor.engine.begin() as connection:
        connection.exec_driver_sql("UPDATE schema_version SET version = 99, oldest_program = 99")
    with pytest.raises(StorageUnavailable, check=coded("schema_version", found=99)):
        open_monitor()


def test_columns_that_are_missing_are_added(monitor, open_monitor):
    with monitor.engine.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE runs DROP COLUMN split")
        connection.exec_driver_sql("DROP TABLE replay_runs")
        connection.exec_driver_sql("UPDATE schema_version SET version = 4")
    again = open_monitor()
    again.record_performance(record(split="0.9/0.1"))
    assert list(again.get_performance_data()["split"]) == ["0.9/0.1"]


def test_replicas_that_start_together_share_a_new_database(records, open_monitor):
    monitors: list[PerformanceMonitor] = []
    in_threads(lambda: monitors.append(open_monitor()), [()] * 4)
    assert len(monitors) == 4
    in_threads(lambda each: each.record_performance(record()), [(each,) for each in monitors])
    assert monitors[0].count_runs() == 4


def test_tables_that_are_gone_are_created_again(monitor):
    """The database was exchanged for an empty one under the same address."""
    monitor.record_performance(record("before"))
    with monitor.engine.begin() as connection:
        for table in ("runs", "feedback", "attempts", "schema_version"):
            connection.exec_driver_sql(f"DROP TABLE {table}")
    monitor.record_performance(record("after"))
    assert list(monitor.get_performance_data()["request_id"]) == ["after"]


def test_tables_are_created_without_a_limit_of_time(records, open_monitor, monkeypatch):
    shown = []

    def prepare(connection, *rest):
        shown.append(connection.exec_driver_sql("SHOW statement_timeout").scalar())
        prepare_at_once(connection, *rest)

    monkeypatch.setattr("scheduler_service.telemetry.engines.postgresql.prepare_at_once", prepare)
    monitor = open_monitor()
    assert shown == ["0"]
    with monitor.engine.connect() as connection:
        assert connection.exec_driver_sql("SHOW statement_timeout").scalar() == "1min"


def test_old_ids_of_attempts_are_deleted_from_the_first_commit_on(monitor, open_monitor, monkeypatch):
    monkeypatch.setattr("scheduler_service.postgresql.attempts.FORGET_LIMIT", 10)
    with monitor.engine.begin() as connection:
        connection.exec_driver_sql(
            "INSERT INTO attempts (id, at) SELECT 'old' || n, now() - interval '2 hours' FROM generate_series(1, 25) n"
        )
    left = []
    for _ in range(3):
        open_monitor().record_performance(record())
        with monitor.engine.connect() as connection:
            query = "SELECT count(*) FROM attempts WHERE id LIKE 'old%%'"
            left.append(connection.exec_driver_sql(query).scalar())
    assert left == [15, 5, 0]
    with monitor.engine.connect() as connection:
        connection.exec_driver_sql("SET enable_seqscan = off")
        plan = str(connection.execute(text(f"EXPLAIN {FORGET.text}"), {"most": 10}).all())
        connection.invalidate()
    assert "attempts_by_time" in plan


# --- the connection is lost ---


def end_connections(monitor: PerformanceMonitor) -> None:
    """As an administrator, or a failover."""
    with monitor.engine.connect() as connection:
        connection.exec_driver_sql(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE application_name = 'scheduler' AND pid <> pg_backend_pid()"
        )


def test_a_lost_connection_costs_no_request(monitor):
    monitor.record_performance(record("before"))
    end_connections(monitor)
    monitor.record_performance(record("after"))
    end_connections(monitor)
    assert monitor.count_runs() == 2


@pytest.mark.parametrize("is_committed", [True, False])
def test_a_commit_of_unknown_outcome_is_there_once(monitor, is_committed):
    """The connection is lost after, or before, the server has executed the commit."""
    import psycopg

    dialect = monitor.engine.dialect
    monitor.record_performance(record("before"))
    losses = []

    def commit(pooled: PoolProxiedConnection) -> None:
        del dialect.do_commit  # only once
        connection = pooled.dbapi_connection
        if is_committed:
            connection.commit()
        connection.close()
        losses.append(connection)
        raise psycopg.OperationalError("server closed the connection unexpectedly")

    dialect.do_commit = commit
    monitor.record_performance(record("a"), record("b"))
    monitor.record_performance(record("c"))
    assert len(losses) == 1
    assert sorted(monitor.get_performance_data()["request_id"]) == ["a", "b", "before", "c"]


def test_a_commit_that_waits_for_a_standby_ends_and_is_not_doubled(own_server, tmp_path, monkeypatch):
    monitor = PerformanceMonitor(parse_database_url(own_server.address), reports_dir=tmp_path)
    monitor.record_performance(record("before"))
    own_server.execute("ALTER SYSTEM SET synchronous_standby_names = 'FIRST 1 (gone)'")
    own_server.execute("SELECT pg_reload_conf()")
    until(lambda: own_server.execute("SHOW synchronous_standby_names") == [("FIRST 1 (gone)",)])
    until(lambda: _is_refused(monitor, "database_standby_missing"))
    monkeypatch.setattr("scheduler_service.postgresql.connecting.COMMIT_TIMEOUT_S", 0.5)
    monkeypatch.setattr("scheduler_service.postgresql.connecting.CONFIGURE", lock_timeout("500ms"))
    with pytest.raises(StorageUnavailable, check=coded("database_busy")):  # the first outcome is still open
        monitor.record_performance(record("waits"))
    own_server.execute("ALTER SYSTEM RESET synchronous_standby_names")
    own_server.execute("SELECT pg_reload_conf()")
    until(lambda: not _is_refused(monitor, "database_standby_missing"))
    monitor.record_performance(record("after"))
    counts = Counter(monitor.get_performance_data()["request_id"])
    assert counts["before"] == counts["after"] == 1
    assert counts["waits"] <= 1


def test_the_service_is_back_when_the_server_is(own_server, tmp_path):
    monitor = PerformanceMonitor(parse_database_url(own_server.address), reports_dir=tmp_path)
    monitor.record_performance(record("before"))
    own_server.stop()
    for ask in (monitor.count_runs, monitor.check_writable, lambda: monitor.record_performance(record("lost"))):
        with pytest.raises(StorageUnavailable, check=coded("database_unreachable")):
            ask()
    own_server.start()
    monitor.record_performance(record("after"))
    monitor.check_writable()
    assert sorted(monitor.get_performance_data()["request_id"]) == ["after", "before"]


def test_of_several_hosts_the_one_that_accepts_writes_is_used(own_server, postgresql, tmp_path):
    own_server.execute("ALTER SYSTEM SET default_transaction_read_only = on")
    own_server.execute("SELECT pg_reload_conf()")
    until(lambda: own_server.execute("SHOW default_transaction_read_only") == [("on",)])
    login, database = "postgres:p%40ss%3Aw%2Frd", "postgres"
    alone = parse_database_url(f"postgresql://{login}@127.0.0.1:{own_server.port}/{database}")
    with pytest.raises(StorageUnavailable, check=coded("database_read_only")):
        PerformanceMonitor(alone, reports_dir=tmp_path)
    with postgresql.schema() as url:
        options = f"options={url.parameters['options'].replace('=', '%3D')}"
        hosts = f"127.0.0.1:{own_server.port},127.0.0.1:{postgresql.port}"
        both = PerformanceMonitor(parse_database_url(f"postgresql://{login}@{hosts}/{database}?{options}"))
        both.record_performance(record())
        assert both.count_runs() == 1
        both.close()


def test_a_server_that_comes_later_gets_its_tables_with_the_first_run(own_server, tmp_path):
    own_server.stop()
    monitor = PerformanceMonitor(parse_database_url(own_server.address), reports_dir=tmp_path, must_open=False)
    with pytest.raises(StorageUnavailable, check=coded("database_unreachable")):
        monitor.record_performance(record("lost"))
    own_server.start()
    monitor.record_performance(record("first"))
    assert monitor.count_runs() == 1
    monitor.close()


def test_a_killed_primary_loses_no_answered_run_and_doubles_none(own_server, tmp_path):
    """Its synchronous standby is promoted while runs are recorded."""
    with new_folder() as folder:
        standby = Server(folder)
        own_server.copy_to(standby)
        hosts = f"127.0.0.1:{own_server.port},127.0.0.1:{standby.port}"
        url = parse_database_url(f"postgresql://postgres:p%40ss%3Aw%2Frd@{hosts}/postgres")
        monitor = PerformanceMonitor(url, reports_dir=tmp_path)
        monitor.check_writable()
        answered: list[str] = []
        is_over = threading.Event()

        def write(thread: int) -> None:
            for number in itertools.count():
                if is_over.is_set():
                    return
                with suppress(StorageUnavailable):  # a client would try again with another id
                    monitor.record_performance(record(f"{thread}-{number}"))
                    answered.append(f"{thread}-{number}")

        threads = [threading.Thread(target=write, args=(number,)) for number in range(4)]
        try:
            for thread in threads:
                thread.start()
            until(lambda: len(answered) > 50)
            own_server.stop(signal.SIGKILL)
            standby.execute("ALTER SYSTEM RESET synchronous_standby_names")
            standby.execute("SELECT pg_promote()")
            before = len(answered)
            until(lambda: len(answered) > before + 50)
        finally:
            is_over.set()
            for thread in threads:
                thread.join()
            counts = Counter(monitor.get_performance_data()["request_id"])
            monitor.close()
            standby.stop()
    assert set(answered) <= set(counts)
    assert max(counts.values()) == 1


def test_a_full_disk_is_named(monitor):
    """The server's error, raised by a trigger."""
    with monitor.engine.begin() as connection:
        connection.exec_driver_sql(
            "CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS"
            " $$ BEGIN RAISE 'could not extend file' USING ERRCODE = 'disk_full'; END $$"
        )
        connection.exec_driver_sql("CREATE TRIGGER fail BEFORE INSERT ON runs EXECUTE FUNCTION fail()")
    with pytest.raises(StorageUnavailable, check=coded("database_full")):
        monitor.record_performance(record())


@pytest.mark.skipif(shutil.which("openssl") is None, reason="there is no openssl")
def test_a_connection_can_require_a_trusted_certificate(own_server, tmp_path):
    for name in ("server", "other"):
        subprocess.run(
            [*["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"],
             "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", f"{name}.key", "-out", f"{name}.crt"],
            cwd=own_server.folder, check=True, capture_output=True,
        )  # fmt: skip
    key = own_server.folder / "server.key"
    key.chmod(0o600)
    if (user := owner()) is not None:
        shutil.chown(key, user)
    own_server.options = ("--ssl=on", f"--ssl_cert_file={own_server.folder}/server.crt", f"--ssl_key_file={key}")
    own_server.stop()
    own_server.start()
    address = f"{own_server.address}?sslmode=verify-full&sslrootcert={own_server.folder}"
    monitor = PerformanceMonitor(parse_database_url(f"{address}/server.crt"), reports_dir=tmp_path)
    with monitor.engine.connect() as connection:
        found = connection.exec_driver_sql("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()")
        assert found.scalar() is True
    with pytest.raises(StorageUnavailable, check=coded("database_unreachable")):
        PerformanceMonitor(parse_database_url(f"{address}/other.crt"), reports_dir=tmp_path)


def _is_refused(monitor: PerformanceMonitor, code: str) -> bool:
    try:
        monitor.check_writable()
    except StorageUnavailable as err:
        return err.code == code
    return False


@pytest.fixture
def own_server():
    """A server that the test may stop and configure."""
    try:
        with new_server() as server:
            yield server
    except NoServer as err:
        pytest.skip(str(err))


def test_a_clock_that_differs_from_the_databases_is_told_and_stops_nothing(monitor, monkeypatch):
    assert monitor.check_writable() == ""
    for ahead_s, told in ((90.0, "90 s ahead of the database's"), (-90.0, "90 s behind the database's"), (0.0, "")):
        shifted = SimpleNamespace(time=lambda by_s=ahead_s: time.time() + by_s)
        monkeypatch.setattr("scheduler_service.postgresql.connecting.time", shifted)
        assert monitor.check_writable().endswith(told)
        assert bool(monitor.check_writable()) == bool(told)


# --- several replicas ---


def test_an_experiment_of_a_run_that_is_committed_late_is_noticed(monitor, open_monitor):
    monitor.record_performance(record(experiment="first"))
    names, *seen = experiments_since(monitor.engine, Seen(), Seen())
    assert names == {"first"}
    with open_monitor().engine.connect() as late:
        late.exec_driver_sql(
            "INSERT INTO runs (request_id, timestamp, success, experiment) VALUES ('late', %(now)s, true, 'late')",
            {"now": NOW.isoformat()},
        )
        monitor.record_performance(record(experiment="second"))
        names, *seen = experiments_since(monitor.engine, *seen)
        assert names == {"second"}
        late.commit()
    names, *seen = experiments_since(monitor.engine, *seen)
    assert names == {"late"}
    assert experiments_since(monitor.engine, *seen)[0] == frozenset()


def test_each_notice_is_sent_once_by_many_senders(monitor, open_monitor, tmp_path):
    with Receiver() as receiver:
        settings = Settings(home=tmp_path, alert_webhooks=f"json={receiver.url}")
        desks = [alert_desk(open_monitor(clock=monitor.clock), settings) for _ in range(4)]
        for number in range(40):
            assert desks[number % 4].tell(f"message {number}")
        in_threads(lambda desk: desk.deliver(), [(desk,) for desk in desks])
        assert sorted(each["message"] for each in receiver.got) == sorted(f"message {n}" for n in range(40))
        assert monitor.alerts.outbox() == {"waiting": 0, "given_up": 0}


def test_the_same_notice_from_many_replicas_is_posted_once(monitor, open_monitor):
    logs = [open_monitor().alerts for _ in range(4)]
    added: list[bool] = []
    notice = Notice("title", "text", "warning", "message")
    in_threads(
        lambda log: added.append(log.post(("x",), notice, unless_since=datetime.now(UTC) - timedelta(hours=1))),
        [(log,) for log in logs * 4],
    )
    assert sorted(added) == [False] * 15 + [True]


def test_a_rating_of_an_unknown_run_is_refused_and_simultaneous_ratings_leave_one(monitor, open_monitor):
    with pytest.raises(RunNotFound):
        monitor.record_feedback("unknown\x00", 3)
    monitor.record_performance(record())
    others = [open_monitor() for _ in range(4)]
    in_threads(lambda each, rating: each.record_feedback("r1", rating), [(o, n) for o in others for n in range(1, 6)])
    assert len(monitor.get_performance_data()) == 1
    assert monitor.get_performance_data()["user_satisfaction"][0] in range(1, 6)


def test_replicas_that_compact_at_once_count_each_run_once(monitor, open_monitor, monkeypatch):
    """Also without the lease, which may end unnoticed."""
    monkeypatch.setattr("scheduler_service.telemetry.upkeep.BATCH_SIZE", 7)
    old = datetime(2020, 1, 1, tzinfo=UTC)
    monitor.record_performance(*(record(f"r{n}", timestamp=old + timedelta(hours=n)) for n in range(200)))
    others = [open_monitor() for _ in range(3)]
    for each in others:
        monkeypatch.setattr(each.upkeep._database, "hold", lambda *_: nullcontext(FileLease("compaction")))
    in_threads(lambda each: each.upkeep.compact(NOW), [(each,) for each in others])
    with monitor.engine.connect() as connection:
        sums = connection.exec_driver_sql("SELECT sum(runs), sum(makespan_sum) FROM days").one()
    assert (int(sums[0]), float(sums[1])) == (199, 199 * 50.0)
    assert monitor.count_runs() == 1


def test_a_lease_has_one_holder_and_passes_on(monitor, open_monitor):
    other = open_monitor()
    with monitor.alerts.hold("job", 0.0) as lease:
        assert lease.is_held
        with pytest.raises(StorageUnavailable, check=coded("locked_by_others")), other.alerts.hold("job", 0.0):
            pass
        with monitor.engine.begin() as connection:
            lease.confirm(connection)
        with monitor.engine.begin() as connection:  # as if it had not been renewed in time
            connection.exec_driver_sql("UPDATE leases SET expires = now() - interval '1 hour' WHERE name = 'job'")
        with other.alerts.hold("job", 5.0) as taken:
            assert taken.is_held
            with monitor.engine.begin() as connection, pytest.raises(StorageUnavailable, check=coded("lease_lost")):
                lease.confirm(connection)
            until(lambda: not lease.is_held, "the former holder to notice")
            assert taken.is_held, "the former holder renews nothing"


def test_the_lease_of_a_killed_replica_expires(records, monitor, postgresql):
    code = (
        "import sys, time\n"
        "from monitoring import PerformanceMonitor\n"
        "with PerformanceMonitor(reports_dir='x').alerts.hold('job', 0.0):\n"
        "    print('held', flush=True)\n"
        "    time.sleep(600)\n"
    )
    url = f"{postgresql.address}?options={records.parameters['options'].replace('=', '%3D')}"
    holder = start_python("-c", code, env=os.environ | {"SCHED_DATABASE_URL": url}, stdout=-1)
    assert holder.stdout.readline().strip() == "held"
    os.kill(holder.pid, signal.SIGKILL)
    holder.wait(timeout=HANG_S)
    with monitor.alerts.hold("job", HANG_S) as lease:
        assert lease.is_held


# --- the whole service ---


def test_two_replicas_answer_with_the_same_runs(postgresql, tmp_path):
    with postgresql.schema() as url:
        address = f"{postgresql.address}?options={url.parameters['options'].replace('=', '%3D')}"
        environment = {"SCHED_DATABASE_URL": address, "PYTHONPATH": os.pathsep.join(sys.path)}
        with (
            live_service(tmp_path / "a", environment=environment) as first,
            live_service(tmp_path / "b", environment=environment) as second,
        ):
            answers = [each.run(params=[10.0] * 15) for each in (first, second) for _ in range(3)]
            ids = {each["request_id"] for each in answers}
            seen = [{run["request_id"] for run in each.get("/runs").json()["runs"]} for each in (first, second)]
            assert seen == [ids, ids]
            rated = second.post("/feedback", json={"request_id": answers[0]["request_id"], "user_satisfaction": 4})
            assert rated.status_code == 200
            assert first.get("/health").json()["parts"]["database"]["status"] == "ok"
            for log in (first.log(), second.log(), first.output.read_text(), second.output.read_text()):
                assert SECRET not in log
                assert "p%40ss" not in log
        assert not (tmp_path / "a" / "logs" / "performance.db").exists()


# --- the code ---


def test_without_an_address_nothing_of_postgresql_is_imported(tmp_path):
    code = (
        "import sys\n"
        "from monitoring import PerformanceMonitor, PerformanceRecord\n"
        "PerformanceMonitor(sys.argv[1]).record_performance(PerformanceRecord(request_id='a'))\n"
        "print([name for name in sys.modules if 'psycopg' in name or 'postgresql' in name])\n"
    )
    done = run_python("-c", code, str(tmp_path / "performance.db"))
    assert done.stdout.strip() == "[]", done.stderr


def test_no_code_reads_rowcount_unguarded():
    """Under psycopg it is -1 unless it is asked for; `database.changed` does."""
    allowed = {
        "scheduler_service/telemetry/database.py",
        "scheduler_service/telemetry/repair.py",
    }  # the latter: sqlite3
    found = {
        str(path.relative_to(ROOT))
        for path in [*ROOT.glob("*.py"), *(ROOT / "scheduler_service").rglob("*.py")]
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Attribute) and node.attr == "rowcount"
    }
    assert found <= allowed

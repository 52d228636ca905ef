"""Alerts: found by rules, sent once, resolved when the cause is gone, and never lost before delivery."""

import json
import os
import sqlite3
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import monitoring
from monitoring import (
    GAP_THRESHOLDS,
    PERFORMANCE_THRESHOLDS,
    PerformanceMonitor,
    PerformanceRecord,
    alert_desk,
    check_performance_alerts,
    send_alert,
)
from scheduler_service.alert_rules import RULES, AlertRule
from scheduler_service.alerts import about, rules
from scheduler_service.alerts.desk import AlertDesk, as_json
from scheduler_service.alerts.episodes import Episode, Policy, Silence, step
from scheduler_service.alerts.rules import RULES_OF_RUNS, Reading
from scheduler_service.alerts.wording import advice, figure, message, params_of, sizes_of
from scheduler_service.clock import to_iso
from scheduler_service.errors import AlertNotFound, StorageUnavailable
from scheduler_service.reporting.facts import AlertRow
from scheduler_service.settings import Settings
from scheduler_service.telemetry import queries
from scheduler_service.words import LANGS, WORDS, Message
from tests.clocks import Clock
from tests.codes import coded
from tests.conftest import NEW_PROCESS, live_service
from tests.programs import run_python
from tests.receiver import Receiver
from tests.waiting import in_threads

NOON = datetime(2026, 11, 25, 12, 0, tzinfo=UTC)
ENGINES = ("sqlite", "postgresql")
SAMPLE = [10, 5, 8, 6, 7, 9, 6, 7, 6, 7, 7, 7, 4, 7, 5]


# --- rules ---


def frame(**columns) -> pd.DataFrame:
    return pd.DataFrame(columns)


def names(readings: list[Reading]) -> list[str]:
    return [reading.name for reading in rules.beyond(readings)]


def test_each_performance_rule_compares_with_its_threshold():
    good = frame(
        success=[True] * 20, makespan=[55.0] * 20, execution_time=[0.1] * 20, model_key="DDQN_x_v1.0.0",
        error_message="the weights are gone",
    )  # fmt: skip
    limits = dict(PERFORMANCE_THRESHOLDS)
    assert names(rules.performance(good, limits)) == []
    assert names(rules.performance(good.iloc[:0], limits)) == []
    (slow,) = rules.beyond(rules.performance(good.assign(makespan=[55.0] * 10 + [70.0] * 10), limits))
    assert (slow.name, slow.value, slow.threshold) == ("max_makespan", 62.5, 60.0)
    failing, broken = rules.beyond(rules.performance(good.assign(success=[True] * 18 + [False] * 2), limits))
    assert (failing.name, failing.value) == ("min_success_rate", 0.9)
    assert (broken.name, broken.value) == ("model_failures", 2.0)
    assert "DDQN_x_v1.0.0" in broken.message
    assert "the weights are gone" in broken.message
    assert names(rules.performance(good.assign(execution_time=11.0), limits)) == ["max_execution_time"]
    assert names(rules.performance(good.assign(success=False), limits)) == ["min_success_rate", "model_failures"]
    assert names(rules.performance(good.assign(makespan=np.nan, execution_time=np.nan), limits)) == []


@pytest.mark.parametrize(
    ("mean", "state"), [(60.1, "beyond"), (60.0, "near"), (57.5, "near"), (57.0, "within"), (10.0, "within")]
)
def test_a_metric_just_inside_its_threshold_is_near(mean, state):
    runs = frame(success=[True], makespan=[mean], execution_time=[0.1], model_key="m", error_message=None)
    assert rules.performance(runs, PERFORMANCE_THRESHOLDS)[0].state == state


@pytest.mark.parametrize(("share", "state"), [(0.94, "beyond"), (0.951, "near"), (0.96, "within"), (1.0, "within")])
def test_a_success_rate_above_its_threshold_is_within(share, state):
    runs = frame(success=[True] * int(share * 1000) + [False] * (1000 - int(share * 1000)), makespan=1.0,
                 execution_time=0.1, model_key="m", error_message="x")  # fmt: skip
    assert rules.performance(runs, PERFORMANCE_THRESHOLDS)[2].state == state


def test_gaps_are_compared_with_the_threshold_of_their_size():
    runs = frame(
        success=True, gap=[0.05] * 20 + [0.05] * 19 + [0.05] * 30, n_workpoints=[1] * 20 + [15] * 19 + [60] * 30
    )
    found = rules.beyond(rules.gaps(runs, GAP_THRESHOLDS))
    assert [(each.subject, round(each.value or 0, 6)) for each in found] == [("N<=1", 0.05)], (
        "19 runs are too few, 60 work points too many"
    )
    sizes = about.sizes(pd.DataFrame({"n_workpoints": [1, 2, 3, 5, 6, 50, 51]}), GAP_THRESHOLDS)
    assert sizes.tolist() == [1, 2, 5, 5, 10, 50, about.FOR_EVER]


def test_drift_is_reported_for_changed_inputs_and_rarely_for_unchanged_ones():
    rng = np.random.default_rng(1)
    false_alarms = 0
    for _ in range(300):
        recent, before = (pd.Series(rng.lognormal(3.0, 0.5, size)) for size in (150, 1_000))
        false_alarms += rules.drift("lower_bound", recent, before).state == "beyond"
    assert false_alarms <= 3, "0.1 % are expected"
    assert rules.drift("n_workpoints", pd.Series([1.0] * 300), pd.Series([10.0] * 300)).state == "beyond", "a decrease"
    shifted = pd.Series(rng.lognormal(3.5, 0.5, 150))
    assert rules.drift("lower_bound", shifted, before).state == "beyond"
    assert rules.drift("lower_bound", shifted[:99], before).state == "unknown"
    ones = pd.Series([1] * 500)
    assert rules.drift("n_workpoints", ones, ones).state == "within", "with one size all deciles are equal"
    assert rules.drift("n_workpoints", pd.Series([7] * 500), ones).state == "beyond"


def test_psi_matches_its_definition():
    reference, recent = pd.Series([0.0] * 500 + [1.0] * 500), pd.Series([0.0] * 200 + [1.0] * 800)
    psi = rules.drift("x", recent, reference).value
    assert psi == pytest.approx((0.2 - 0.5) * np.log(0.2 / 0.5) + (0.8 - 0.5) * np.log(0.8 / 0.5), abs=0.02)


def test_a_silence_is_an_alert_only_if_no_earlier_week_had_one():
    day = timedelta(days=1)
    assert rules.silence(2 * day, [11, 40, 25]).state == "beyond"
    assert rules.silence(2 * day, [40, 0, 25]).state == "within", "an earlier week had such a silence"
    assert rules.silence(timedelta(minutes=59), []).state == "within"
    assert rules.silence(2 * day, [40]).state == "unknown", "one week is too little"


def test_silence_of_a_plant_that_runs_on_working_days(tmp_path):
    """Runs every ten minutes, Monday to Friday from 8 to 18 h, for five weeks; none after Tuesday noon."""
    monitor = PerformanceMonitor(tmp_path / "p.db", reports_dir=tmp_path)
    monday, dies = datetime(2026, 10, 19, tzinfo=UTC), datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
    moments = [monday + timedelta(minutes=10 * n) for n in range(6 * 24 * 42)]
    busy = [at for at in moments if at.weekday() < 5 and 8 <= at.hour < 18 and at < dies]
    with sqlite3.connect(monitor.db_path) as connection:
        connection.executemany(
            "INSERT INTO runs (request_id, timestamp, success) VALUES ('r', ?, 1)", [(to_iso(at),) for at in busy]
        )

    def states(begin: datetime, end: datetime) -> list[str]:
        states = []
        while begin < end:
            with sqlite3.connect(monitor.db_path) as connection:  # hide the runs that come later
                connection.execute("CREATE TEMP TABLE later AS SELECT * FROM runs WHERE timestamp > ?", [to_iso(begin)])
                connection.execute("DELETE FROM runs WHERE timestamp > ?", [to_iso(begin)])
                connection.commit()
                silent = queries.runs_of_weeks_before(monitor.engine, begin, at_least=rules.SILENCE_AT_LEAST)
                states.append(rules.silence(*silent).state)
                connection.execute("INSERT INTO runs SELECT * FROM later")
            begin += timedelta(hours=6, minutes=20)
        return states

    assert set(states(monday + timedelta(days=21), dies)) == {"within"}, "nights and weekends are quiet"
    dead = states(dies + timedelta(hours=3), dies + timedelta(days=20))
    assert set(dead) == {"beyond"}, "from three hours on, for the whole silence"


SUBJECTS = {
    "none": "", "size": "N<=10", "column": "n_workpoints", "model": "DDQN_x_v1.0.0", "experiment": "e",
    "arm": "e/model_c", "algorithm": "DDQN@2026-01-01T00:00:00+00:00",
}  # fmt: skip


@pytest.mark.parametrize("rule", RULES.values(), ids=lambda rule: rule.name)
@pytest.mark.parametrize("lang", LANGS)
def test_each_rule_has_texts_with_all_parameters(lang: str, rule: AlertRule):
    params = params_of(rule.name, SUBJECTS[rule.about])
    assert WORDS.text(f"alerts.{rule.name}.title", {}, lang)
    assert message(rule.name, {**params, "reason": "it fails"}, lang).endswith("it fails")
    assert advice(rule.name, params, lang)
    assert WORDS.text(f"alerts.subject.{rule.about}", params, lang) or rule.about == "none"
    if rule.worse is not None:
        assert WORDS.text(f"alerts.{rule.name}.threshold", params, lang)


def test_the_reason_of_an_event_is_worded_in_the_language_of_the_alert_and_kept_as_a_code():
    seen = Message("guardrails.no_request")
    reasons = [Message("rollout.breached", {"arm": "model_b", "seen": seen}), Message("rollout.none")]
    found = rules.experiment_aborted("e", reasons, "2026-01-01T00:00:00+00:00", "zh")
    assert found.message.endswith("护栏被突破：候选组还没有请求。没有灰度发布。")
    assert [each["code"] for each in found.params["reason"]] == ["rollout.breached", "rollout.none"]
    assert json.loads(json.dumps(found.params)) == found.params


def test_a_size_class_is_named_by_its_range_of_work_points():
    assert [sizes_of(f"N<={most}", (1, 2, 5, 10)) for most in (1, 2, 5, 10)] == ["1", "2", "3–5", "6–10"]
    assert sizes_of("N>50") == ">50"


def test_values_are_formatted_in_their_unit():
    assert (figure("max_gap", 0.03584, "en"), figure("max_makespan", 64.25, "zh")) == ("3.58 %", "64.25 小时")


# --- episodes ---


def reading(state: Any = "beyond", name: str = "max_makespan", subject: str = "", is_event: bool = False) -> Reading:
    return Reading(name, state, 70.0, 60.0, "too long", "do something", subject, is_event=is_event)


class Course:
    """A sequence of evaluations, as the desk makes them."""

    def __init__(self, policy: Policy | None = None) -> None:
        self.policy = policy or Policy(confirm_s=60.0, cool_down_s=1_800.0, remind_s=86_400.0)
        self.unended: list[Episode] = []
        self.last: dict[tuple[str, str], datetime] = {}
        self.silences: list[Silence] = []
        self.at = NOON

    def look(self, *readings: Reading, after_s: float = 30.0) -> list[str]:
        """Evaluate the readings; returns the states of the notices to be sent."""
        self.at += timedelta(seconds=after_s)
        changes = step(readings, self.unended, self.last, self.silences, self.at, self.policy, looked=frozenset(RULES))
        by_key = {each.key: each for each in self.unended} | {each.key: each for each in changes.changed}
        self.unended = [each for each in by_key.values() if each.state != "resolved"]
        self.last |= {each.key: self.at for each, _ in changes.notices}
        return [state for _, state in changes.notices]


def test_an_alert_is_sent_once_when_confirmed_and_once_when_resolved():
    course = Course()
    assert [course.look(reading()) for _ in range(5)] == [[], [], ["firing"], [], []]
    assert course.look(reading("near")) == []
    assert course.look(reading("within")) == ["resolved"]
    assert course.look(reading("within")) == []
    assert course.unended == []


def test_an_alert_that_ends_before_it_is_confirmed_is_not_sent():
    course = Course()
    results = [course.look(reading(state)) for state in ("beyond", "within", "beyond", "near", "beyond", "within")]
    assert results == [[]] * 6


def test_a_metric_that_oscillates_around_its_threshold_is_one_alert():
    course = Course()
    results = [course.look(reading("beyond" if n % 2 == 0 else "near")) for n in range(2)]
    results += [course.look(reading()) for _ in range(4)]
    results += [course.look(reading("near" if n % 2 else "beyond")) for n in range(200)]
    assert sum(map(len, results)) == 1


def test_an_alert_that_returns_within_the_cool_down_is_sent_after_it():
    course = Course()
    for _ in range(3):
        course.look(reading())
    assert course.look(reading("within")) == ["resolved"]
    again = [course.look(reading()) for _ in range(70)]  # 35 minutes
    assert [n for n, result in enumerate(again) if result] == [59]
    assert again[59] == ["firing"]


def test_reminders_stop_after_an_acknowledgement():
    course = Course()
    for _ in range(3):
        course.look(reading())
    assert course.look(reading(), after_s=86_400) == ["reminder"]
    course.unended = [replace(each, acknowledged=course.at) for each in course.unended]
    assert course.look(reading(), after_s=200_000) == []
    assert course.look(reading("within")) == ["resolved"], "its end is still sent"


def test_a_silenced_alert_is_sent_after_the_silence_if_it_still_fires():
    course = Course()
    course.silences = [Silence("max_makespan", None, NOON, NOON + timedelta(hours=1), "me", "tests")]
    assert [course.look(reading(), after_s=600) for _ in range(5)] == [[]] * 5
    assert course.look(reading(name="max_gap", subject="N<=1")) == []
    assert course.look(reading(), reading(name="max_gap", subject="N<=1"), after_s=120) == ["firing"], "the other rule"
    assert course.look(reading(), after_s=3_600) == ["firing", "resolved"]


def test_without_data_an_alert_stays_open_for_a_day():
    course = Course()
    for _ in range(3):
        course.look(reading())
    assert course.look(reading("unknown"), after_s=3_600) == []
    assert course.look(reading("unknown"), after_s=3_600 * 24) == ["resolved"]


def test_an_unconfirmed_alert_starts_again_after_a_gap_in_the_data():
    course = Course()
    assert course.look(reading()) == []
    assert course.look(reading("unknown"), after_s=72_000) == []
    assert course.look(reading()) == []


def test_alerts_are_sent_after_the_clock_was_set_back():
    course = Course()
    course.at += timedelta(days=365)
    course.look(reading())
    course.at = NOON
    assert [course.look(reading()) for _ in range(3)] == [[], [], ["firing"]]
    course.last = {("max_gap", ""): NOON + timedelta(days=365)}
    results = [course.look(reading(), reading(name="max_gap")) for _ in range(70)]
    assert ["firing"] in results


def test_an_event_is_sent_at_once_and_its_end_is_not_sent():
    course = Course()
    event = reading(name="experiment_aborted", subject="exp", is_event=True)
    assert course.look(event) == ["firing"]
    assert course.look(event, after_s=90_000) == []
    assert course.look() == []


def test_an_alert_is_resolved_when_its_subject_has_no_reading():
    course = Course()
    broken = reading(name="model_failures", subject="DDQN_x")
    assert [course.look(broken) for _ in range(3)] == [[], [], ["firing"]]
    assert course.look() == ["resolved"]


def test_alerts_of_rules_that_were_not_evaluated_are_kept():
    course = Course()
    event = reading(name="experiment_aborted", subject="exp", is_event=True)
    course.look(event)
    changes = step([], course.unended, course.last, [], course.at, course.policy, looked=RULES_OF_RUNS)
    assert changes.changed == ()


# --- the desk, with a real database and real receivers ---


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as server:
        yield server


@pytest.fixture
def now() -> Clock:
    return Clock(NOON)


@pytest.fixture
def monitor(open_monitor, tmp_path, now) -> PerformanceMonitor:
    return open_monitor(reports_dir=tmp_path, thresholds={"min_free_disk_gib": 0}, clock=now)


def settings_for(tmp_path: Path, *receivers: Receiver, **options: Any) -> Settings:
    return Settings(home=tmp_path, alert_webhooks=",".join(f"json={each.url}" for each in receivers), **options)


@pytest.fixture
def desk(monitor, tmp_path, receiver) -> AlertDesk:
    return alert_desk(monitor, settings_for(tmp_path, receiver))


def bad_runs(monitor: PerformanceMonitor, count: int = 3) -> None:
    for number in range(count):
        monitor.record_performance(PerformanceRecord(request_id=f"bad{number}", makespan=99.0, execution_time=0.1))


def test_a_webhook_receives_an_alert_once_and_its_end_once(monitor, receiver, tmp_path, now):
    desk = alert_desk(monitor, settings_for(tmp_path, receiver), confirm_s=60.0)
    bad_runs(monitor)
    for _ in range(5):
        desk.look(monitor.alert_readings(), RULES_OF_RUNS)
        desk.deliver()
        now.now += timedelta(seconds=30)
    (notice,) = receiver.got
    assert notice["title"] == "[告警] 平均总工期高于阈值"
    assert notice["value"] == 99.0
    assert notice["threshold"] == 60.0
    assert notice["state"] == "firing"
    assert f"POST /alerts/{notice['id']}/acknowledge" in notice["text"]
    now.now += timedelta(hours=2)
    for number in range(30):
        monitor.record_performance(PerformanceRecord(request_id=f"good{number}", makespan=50.0, execution_time=0.1))
    assert desk.look(monitor.alert_readings(), RULES_OF_RUNS) == []
    desk.deliver()
    assert [each["title"] for each in receiver.got[1:]] == ["[已恢复] 平均总工期高于阈值"]
    (episode,) = monitor.alerts.between(NOON, now.now)
    assert (episode.state, episode.notices) == ("resolved", 2)


def test_alerts_are_sent_in_english_if_configured(monitor, receiver, tmp_path):
    desk = alert_desk(monitor, settings_for(tmp_path, receiver, alert_lang="en"))
    bad_runs(monitor)
    desk.look(monitor.alert_readings("en"), RULES_OF_RUNS)
    desk.deliver()
    assert receiver.got[0]["title"] == "[Warning] The mean makespan is above its threshold"
    assert receiver.got[0]["text"].isascii()


def test_a_failing_receiver_is_retried_with_growing_pauses_and_others_are_not(monitor, tmp_path, now, receiver):
    other = Receiver()
    desk = alert_desk(monitor, settings_for(tmp_path, receiver, other))
    receiver.status = 503
    bad_runs(monitor)
    desk.look(monitor.alert_readings(), RULES_OF_RUNS)
    assert desk.deliver() == 1
    waits, last = [], now.now
    for _ in range(200):
        now.now += timedelta(seconds=15)
        (before,) = _letters(monitor)
        desk.deliver()
        (after,) = _letters(monitor)
        if after["attempts"] > before["attempts"]:
            waits.append((now.now - last).total_seconds())
            last = now.now
    assert len(waits) >= 5
    assert all(later > 0.7 * earlier for earlier, later in pairwise(waits)), waits
    assert waits[-1] > 4 * waits[0]
    receiver.status = 200
    now.now += timedelta(hours=1)
    assert desk.deliver() == 1
    assert len(receiver.got) == len(other.got) == 1
    assert monitor.alerts.outbox() == {"waiting": 0, "given_up": 0}
    other.server_close()


def test_the_delivery_state_of_the_last_notice_is_known_per_channel(monitor, tmp_path, now, receiver):
    other = Receiver()
    desk = alert_desk(monitor, settings_for(tmp_path, receiver, other))
    receiver.status, began = 404, now.now
    bad_runs(monitor)
    (alert,) = desk.look(monitor.alert_readings(), RULES_OF_RUNS)

    def states() -> list[str]:
        return [each.state for each in monitor.alerts.deliveries({alert.id}, began).get(alert.id, [])]

    assert states() == ["waiting", "waiting"]
    desk.deliver()
    refused, arrived = monitor.alerts.deliveries({alert.id}, began)[alert.id]
    assert (refused.state, arrived.state, arrived.error) == ("failed", "delivered", None)
    assert "404" in refused.error
    assert monitor.alerts.deliveries({alert.id + 1}, began) == monitor.alerts.deliveries(set(), began) == {}
    receiver.status = 200
    now.now += timedelta(days=2)
    bad_runs(monitor)
    desk.look(monitor.alert_readings(), RULES_OF_RUNS)  # sends a reminder
    assert states() == ["waiting", "waiting"]
    desk.deliver()
    assert states() == ["delivered", "delivered"]
    other.server_close()


def test_without_channels_the_delivery_is_none(monitor, tmp_path, now):
    desk = alert_desk(monitor, settings_for(tmp_path), is_service=True)
    bad_runs(monitor)
    (alert,) = desk.look(monitor.alert_readings(), RULES_OF_RUNS)
    assert alert.notified is not None
    assert monitor.alerts.deliveries({alert.id}, now.now - timedelta(days=1)) == {}


def _letters(monitor: PerformanceMonitor) -> list[dict[str, Any]]:
    with monitor.engine.connect() as connection:
        return [
            dict(row) for row in connection.exec_driver_sql("SELECT * FROM outbox WHERE due IS NOT NULL").mappings()
        ]


def test_a_permanent_refusal_and_a_day_of_failures_end_the_retries(monitor, desk, now, receiver):
    receiver.status = 404
    assert desk.tell("first")
    assert desk.deliver() == 0
    assert monitor.alerts.outbox() == {"waiting": 0, "given_up": 1}
    receiver.status = 500
    desk.tell("second")
    for _ in range(30):
        now.now += timedelta(hours=1)
        desk.deliver()
    assert monitor.alerts.outbox() == {"waiting": 0, "given_up": 2}
    assert receiver.got == []


def test_a_process_without_channels_leaves_notices_for_others(monitor, tmp_path, now, receiver):
    """An operator's shell rarely has the service's settings."""
    service = alert_desk(monitor, settings_for(tmp_path, receiver), is_service=True)
    shell = alert_desk(monitor, settings_for(tmp_path))
    receiver.status = 503
    bad_runs(monitor)
    service.look(monitor.alert_readings(), RULES_OF_RUNS)
    service.deliver()
    now.now += timedelta(hours=1)
    assert shell.deliver() == 0
    receiver.status = 200
    assert service.deliver() == 1

    monitor.record_performance(PerformanceRecord(request_id="x", timestamp=now.now, success=False))
    assert {each.name for each in shell.look(monitor.alert_readings(), RULES_OF_RUNS)} >= {"min_success_rate"}
    service.look(monitor.alert_readings(), RULES_OF_RUNS)
    service.deliver()
    firing = [each["name"] for each in receiver.got if each["state"] == "firing"]
    assert firing == ["max_makespan", "min_success_rate"]


class Odd:
    """A channel that raises unexpected errors."""

    name = "odd"

    def __init__(self) -> None:
        self.calls = 0

    def send(self, notice: object, *, key: str = "") -> None:
        self.calls += 1
        raise OverflowError("date value out of range")


def test_an_unexpected_error_of_one_channel_does_not_affect_the_others(monitor, tmp_path, receiver):
    desk, odd = alert_desk(monitor, settings_for(tmp_path, receiver)), Odd()
    desk.channels = {"odd": odd, **desk.channels}
    for number in range(8):
        desk.tell(f"message {number}")
    assert desk.deliver() == 8 == len(receiver.got)
    assert odd.calls == 1, "no further attempt until the next delivery"
    assert desk.deliver() == 0
    assert odd.calls == 2
    assert desk.test() == {"odd": "OverflowError", list(desk.channels)[1]: None}


@pytest.mark.only_sqlite
def test_nothing_is_sent_while_the_outbox_cannot_be_written(monitor, desk, receiver, monkeypatch):
    desk.tell("message")
    with sqlite3.connect(monitor.db_path, isolation_level=None) as other:
        other.execute("BEGIN IMMEDIATE")
        monkeypatch.setattr("scheduler_service.telemetry.engines.sqlite.BUSY_TIMEOUT_S", 0.1)
        monitor.close()
        with pytest.raises(StorageUnavailable):
            desk.deliver()
        other.execute("ROLLBACK")
    assert receiver.got == []
    assert desk.deliver() == 1


def test_the_same_text_from_many_threads_is_sent_once(desk):
    in_threads(desk.tell, [("the same",)] * 8)
    assert desk.deliver() == 1


def test_texts_that_a_database_cannot_store_are_sent_escaped(monitor, desk):
    assert desk.tell("half a \ud800 pair")
    assert desk.deliver() == 1
    bad_runs(monitor)
    (firing,) = desk.look(monitor.alert_readings(), RULES_OF_RUNS)
    assert monitor.alerts.acknowledge(firing.id, "\ud800", None).acknowledged_by == "?"
    with pytest.raises(AlertNotFound):
        monitor.alerts.acknowledge(10**30, "x", None)


def test_alert_ids_are_never_reused(monitor, tmp_path, receiver):
    desk = alert_desk(monitor, settings_for(tmp_path, receiver), confirm_s=60.0)
    bad_runs(monitor)
    desk.look(monitor.alert_readings(), RULES_OF_RUNS)
    (pending,) = monitor.alerts.unended()
    desk.look([], RULES_OF_RUNS)
    assert monitor.alerts.unended() == []
    desk.look(monitor.alert_readings(), RULES_OF_RUNS)
    assert monitor.alerts.unended()[0].id > pending.id


def test_the_outbox_survives_a_kill(receiver, tmp_path):
    """Killed after the alert was recorded and before it was sent; the next process sends it."""
    code = (
        "import os, signal, sys\n"
        "from monitoring import PerformanceMonitor, PerformanceRecord, alert_desk\n"
        "from scheduler_service.alerts.rules import RULES_OF_RUNS\n"
        "monitor = PerformanceMonitor(sys.argv[1], thresholds={'min_free_disk_gib': 0})\n"
        "monitor.record_performance(PerformanceRecord(request_id='r', makespan=99.0))\n"
        "alert_desk(monitor).look(monitor.alert_readings(), RULES_OF_RUNS)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    path, hook = tmp_path / "p.db", f"json={receiver.url}"
    killed = run_python("-c", code, str(path), env=os.environ | {"SCHED_ALERT_WEBHOOKS": hook})
    assert killed.returncode == -9
    assert receiver.got == []
    monitor = PerformanceMonitor(path, reports_dir=tmp_path)
    assert alert_desk(monitor, settings_for(tmp_path, receiver)).deliver() == 1
    assert receiver.got[0]["name"] == "max_makespan"
    check_performance_alerts(monitor)
    assert len(monitor.alerts.unended()) >= 1
    assert len(receiver.got) == 1, "the same episode is not sent again"


def test_a_notice_sent_again_after_a_crash_has_the_key_of_the_first_attempt(receiver, tmp_path):
    """The sender is killed after the receiver has the notice and before the delivery is recorded."""
    path = tmp_path / "killed.db"
    code = (
        "import os, signal, sys\n"
        "from monitoring import PerformanceMonitor, alert_desk\n"
        "desk = alert_desk(PerformanceMonitor(sys.argv[1]))\n"
        "desk.tell('a drill', severity='info')\n"
        "desk.tell('another one', severity='info')\n"
        "desk.alerts.delivered = lambda letter: os.kill(os.getpid(), signal.SIGKILL)\n"
        "desk.deliver()\n"
    )
    killed = run_python("-c", code, str(path), env=os.environ | {"SCHED_ALERT_WEBHOOKS": f"json={receiver.url}"})
    assert killed.returncode == -9
    later = PerformanceMonitor(path, reports_dir=tmp_path, clock=lambda: datetime.now(UTC) + timedelta(hours=1))
    assert alert_desk(later, settings_for(tmp_path, receiver)).deliver() == 2
    assert [each["message"] for each in receiver.got] == ["a drill", "a drill", "another one"]
    first, again, other = (each["idempotency-key"] for each in receiver.headers)
    assert first == again != other
    later.close()


def test_send_alert_sends_once(monitor, receiver, tmp_path, now, monkeypatch):
    monkeypatch.setattr(monitoring, "settings_from_environment", lambda: settings_for(tmp_path, receiver))
    assert send_alert("性能告警: 平均完工时间超过阈值", monitor=monitor) is True
    assert send_alert("性能告警: 平均完工时间超过阈值", monitor=monitor) is False, "a repeated check sends nothing"
    assert send_alert("可用性告警: 成功率低于阈值", monitor=monitor, severity="critical") is True
    now.now += timedelta(hours=1)
    assert send_alert("性能告警: 平均完工时间超过阈值", monitor=monitor) is True
    assert [each["message"] for each in receiver.got] == [
        "性能告警: 平均完工时间超过阈值", "可用性告警: 成功率低于阈值", "性能告警: 平均完工时间超过阈值",
    ]  # fmt: skip
    with pytest.raises(monitoring.InvalidInput, check=coded("missing")):
        send_alert("  \n", monitor=monitor)


def test_two_processes_that_check_at_once_send_once(monitor, open_monitor, receiver, tmp_path):
    bad_runs(monitor)
    desks = [alert_desk(open_monitor(clock=monitor.clock), settings_for(tmp_path, receiver)) for _ in range(4)]
    readings = monitor.alert_readings()
    in_threads(lambda desk: (desk.look(readings, RULES_OF_RUNS), desk.deliver()), [(desk,) for desk in desks])
    desks[0].deliver()
    assert len(receiver.got) == 1
    assert len([each for each in monitor.alerts.unended() if each.name == "max_makespan"]) == 1


def test_an_acknowledged_alert_keeps_its_comment(monitor, desk, now):
    bad_runs(monitor)
    (firing,) = desk.look(monitor.alert_readings(), RULES_OF_RUNS)
    monitor.alerts.acknowledge(firing.id, "李工", "正在处理")
    now.now += timedelta(minutes=1)
    (firing,) = desk.look(monitor.alert_readings(), RULES_OF_RUNS)
    assert (firing.acknowledged_by, firing.note) == ("李工", "正在处理")
    with pytest.raises(AlertNotFound, check=coded("alert_not_open", id=999)):
        monitor.alerts.acknowledge(999, "x", None)


def test_the_test_message_reports_which_channel_fails(desk, receiver):
    assert list(desk.test().values()) == [None]
    receiver.status = 500
    (error,) = desk.test().values()
    assert "500" in error


# --- over HTTP ---


def test_the_service_sends_alerts_that_can_be_acknowledged(tmp_path, receiver):
    environment = {
        "SCHED_ALERT_WEBHOOKS": f"json={receiver.url}", "SCHED_ALERT_EVERY_S": "0.5", "SCHED_ALERT_CONFIRM_S": "0.5",
        "SCHED_ALERT_THRESHOLDS": '{"max_makespan": 10, "min_free_disk_gib": 0}', "SCHED_ALERT_COOL_DOWN_S": "0",
    }  # fmt: skip
    with live_service(tmp_path, environment=environment, command=NEW_PROCESS) as service:
        service.run(params=SAMPLE)
        (received,) = receiver.wait_for(1)
        assert (received["name"], received["threshold"]) == ("max_makespan", 10.0)
        answer = service.get("/alerts").json()
        (alert,) = answer["alerts"]
        assert (
            alert.items()
            >= {"name": "max_makespan", "id": received["id"], "state": "firing", "silenced": False}.items()
        )
        assert [(each["state"], each["error"]) for each in alert["deliveries"]] in (
            [("delivered", None)],
            [("waiting", None)],
        )
        assert answer["thresholds"]["max_makespan"] == 10.0
        assert 'alerts_firing{name="max_makespan",severity="warning"} 1.0' in service.get("/metrics").text
        response = service.post(f"/alerts/{alert['id']}/acknowledge", json={"actor": "李工", "note": "计划内"})
        assert response.json()["alert"]["acknowledged_by"] == "李工"
        response = service.post("/alerts/silences", json={"name": "max_makespan", "hours": 2, "reason": "大修"})
        assert response.status_code == 201, response.text
        assert service.get("/alerts").json()["alerts"][0]["silenced"] is True
        number = response.json()["silence"]["id"]
        assert service.delete(f"/alerts/silences/{number}").status_code == 200
        assert service.delete(f"/alerts/silences/{number}").status_code == 404
        assert service.post("/alerts/test").json()["channels"][0]["delivered"] is True
        assert service.get("/alerts/history?days=1").json()["total"] == 1
        service.wait_for_log("[告警] 平均总工期高于阈值")
        service.process.kill()
        service.process.wait()
    full = environment | {"SCHED_ALERT_THRESHOLDS": '{"max_makespan": 10, "min_free_disk_gib": 1000000}'}
    with live_service(tmp_path, environment=full) as service:
        receiver.wait_for(3)  # a notice about a new alert: the other rules have been evaluated as well
        found = {each["name"]: each for each in service.get("/alerts").json()["alerts"]}
        assert found["max_makespan"]["acknowledged_by"] == "李工"
    received = [(each["state"], each.get("name")) for each in receiver.got]
    assert received[0] == ("firing", "max_makespan")
    assert received[1][0] == "test"
    assert received[2:] == [("firing", "min_free_disk_gib")], "a restart sends nothing twice"


@pytest.mark.parametrize(
    ("path", "body", "status", "code"),
    [
        ("/alerts/silences", {"name": "no_rule", "hours": 1, "reason": "x"}, 422, "unknown_alert_rule"),
        ("/alerts/silences", {"name": "max_gap", "hours": 0, "reason": "x"}, 422, "greater_than"),
        ("/alerts/silences", {"name": "max_gap", "hours": 1}, 422, "missing"),
        ("/alerts/1000000/acknowledge", {}, 404, "alert_not_open"),
        ("/alerts/x/acknowledge", {}, 404, "alert_not_found"),
        (f"/alerts/{2**70}/acknowledge", {}, 404, "alert_not_found"),
    ],
)
def test_invalid_changes_of_alerts_are_refused(service, path, body, status, code):
    answer = service.post(path, json=body)
    assert (answer.status_code, answer.json()["code"]) == (status, code)


@pytest.mark.parametrize("days", ["0", "x", "nan", "-1", "1e9"])
def test_a_history_of_an_invalid_number_of_days_is_refused(service, days):
    assert service.get(f"/alerts/history?days={days}").status_code == 422


def test_only_one_process_at_a_time_changes_alerts(monitor, receiver, tmp_path):
    """Another process may have other thresholds: two that disagree would end each other's alerts."""
    desk = alert_desk(monitor, settings_for(tmp_path, receiver))
    bad_runs(monitor)
    with monitor.alerts.hold("alerts.lease", 0.0):
        (seen,) = desk.look(monitor.alert_readings(), RULES_OF_RUNS)
        assert (seen.name, seen.id) == ("max_makespan", None)
        assert monitor.alerts.unended() == []
        service = alert_desk(monitor, settings_for(tmp_path, receiver), is_service=True)
        (kept,) = service.look(monitor.alert_readings(), RULES_OF_RUNS)
        generous = [replace(reading, state="within") for reading in monitor.alert_readings()]
        assert desk.look(generous, RULES_OF_RUNS) == []
        assert [episode.id for episode in monitor.alerts.unended()] == [kept.id]
    assert desk.look(generous, RULES_OF_RUNS) == []
    assert monitor.alerts.unended() == []


def test_a_report_lists_the_alerts_in_its_language(mostly_words, monitor, tmp_path, receiver, now):
    bad_runs(monitor)
    alert_desk(monitor, settings_for(tmp_path, receiver)).look(monitor.alert_readings(), RULES_OF_RUNS)
    now.now += timedelta(minutes=1)
    english, chinese = (
        Path(monitor.generate_performance_report(lang=lang)).read_text("utf-8") for lang in ("en", "zh")
    )
    assert "The mean makespan is above its threshold" in english
    assert "平均总工期高于阈值" not in english
    assert "平均总工期高于阈值" in chinese


def test_an_alert_keeps_its_code_and_parameters(monitor, tmp_path):
    bad_runs(monitor)
    for number in range(30):
        wide = {"makespan": 90.0, "lower_bound": 60.0, "gap": 0.5, "n_workpoints": 4, "n_steps": 60}
        monitor.record_performance(PerformanceRecord(request_id=f"wide{number}", execution_time=0.1, **wide))
    alert_desk(monitor, Settings(home=tmp_path)).look(monitor.alert_readings(), RULES_OF_RUNS)
    kept = {episode.name: episode for episode in monitor.alerts.unended()}
    assert kept["max_gap"].params == {"sizes": "3–5"}
    assert kept["max_gap"].message == message("max_gap", kept["max_gap"].params, "zh")
    assert as_json(kept["max_gap"])["code"] == "max_gap"
    assert kept["max_makespan"].params == {}


def test_an_alert_recorded_without_parameters_shows_its_original_text(monitor, tmp_path):
    bad_runs(monitor)
    alert_desk(monitor, Settings(home=tmp_path)).look(monitor.alert_readings(), RULES_OF_RUNS)
    with monitor.engine.begin() as connection:
        connection.exec_driver_sql("UPDATE alerts SET params = NULL, message = '以前的话'")
    old = next(each for each in monitor.alerts.unended() if each.name == "max_makespan")
    assert old.params is None
    assert AlertRow.of(old, "en").message == "以前的话"

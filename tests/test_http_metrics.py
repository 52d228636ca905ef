"""/metrics: its counters and gauges in one process and in two, and what a scrape costs."""

import builtins
import os
import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
from prometheus_client.parser import text_string_to_metric_families

from enhanced_flask import create_app
from monitoring import PerformanceRecord, alert_desk
from scheduler_env import SAMPLE_PARAMS
from scheduler_service.http.services import EXTENSION
from scheduler_service.settings import N_CORES, PROJECT_ROOT, Settings
from tests.checkpoints import write_checkpoint
from tests.conftest import LiveService, live_service
from tests.waiting import HANG_S, until

BEGUN_S = time.time()
SAMPLE = list(SAMPLE_PARAMS)

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


def samples_of(text: str) -> Samples:
    """(name, labels) -> value, read by prometheus_client's own parser."""
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def value(samples: Samples, metric: str, /, **labels: str) -> float:
    """The sum of the series of `name` that have `labels`."""
    found = [
        number for (each, its), number in samples.items() if each == metric and labels.items() <= dict(its).items()
    ]
    assert found, f"{metric} {labels} is not shown"
    return sum(found)


def labels_of(samples: Samples, name: str) -> list[dict[str, str]]:
    return [dict(labels) for each, labels in samples if each == name]


@pytest.fixture
def app(tmp_path):
    return create_app(Settings(home=tmp_path))


@pytest.fixture(scope="module", params=[1, 2], ids=["one worker", "two workers"])
def busy(request, tmp_path_factory) -> Iterator[LiveService]:
    """A service after ten runs, a verdict, an experiment with a rollout, and a paused one."""
    with live_service(tmp_path_factory.mktemp("metrics"), arguments=["--workers", str(request.param)]) as running:
        both = {"model_a": "DDQN_v1.0", "model_b": "DDQN_v2.0"}
        swapped = {"model_a": "DDQN_v2.0", "model_b": "DDQN_v1.0"}  # a rollout starts from the default model
        ramp = {"experiment_name": "ramp", **swapped, "rollout": {"stages": [0.1, 0.3, 1.0]}}
        split = {"experiment_name": "split", **both, "traffic_split": {"model_a": 0.7, "model_b": 0.3}}
        for body in (ramp, split, {"experiment_name": "halted", **both}):
            answer = running.post("/experiments", json=body)
            assert answer.status_code == 201, answer.text
        assert running.post("/experiments/halted/pause", json={}).status_code == 200
        for number in range(10):  # separate connections, so that both workers get some
            body = {"params": SAMPLE, "experiment": "split", "user_id": f"u{number}"}
            answer = requests.post(f"{running.url}/run_algorithm", json=body, timeout=HANG_S)
            assert answer.status_code == 200, answer.text
        verdict = {"request_id": answer.json()["request_id"], "user_satisfaction": 4}
        assert running.post("/feedback", json=verdict).status_code == 200
        yield running


def scraped(service: LiveService) -> Samples:
    return samples_of(requests.get(f"{service.url}/metrics", timeout=HANG_S).text)


def test_runs_are_counted_with_their_gap_by_model_and_variant(busy):
    samples = scraped(busy)
    assert value(samples, "schedule_runs_total", success="true") == 10
    assert value(samples, "schedule_gap_ratio_count") == 10
    arms = {(each["variant"], each["model"]) for each in labels_of(samples, "schedule_gap_ratio_count")}
    assert {arm for arm, _ in arms} <= {"model_a", "model_b"}
    assert all("_v1." in model if arm == "model_a" else "_v2." in model for arm, model in arms)
    low, high = (value(samples, "schedule_gap_ratio_bucket", le=limit) for limit in ("0.0", "+Inf"))
    assert low <= high == 10
    assert value(samples, "run_records_total", result="written") == 10
    assert value(samples, "run_records_total", result="failed") == 0
    assert (value(samples, "feedback_verdict_count"), value(samples, "feedback_verdict_sum")) == (1, 4)


def test_models_are_read_once_per_process_and_then_served_from_memory(busy):
    samples = scraped(busy)
    workers = value(samples, "service_workers")
    assert 1 <= value(samples, "model_cache_lookups_total", result="miss") <= 2 * workers
    assert value(samples, "model_cache_lookups_total", result="hit") >= 10 - 2 * workers


def test_every_queue_shows_its_depth_and_capacity_summed_over_the_workers(busy):
    until(lambda: value(scraped(busy), "queue_depth", kind="compute") == 0)  # updated once per event loop iteration
    samples = scraped(busy)
    kinds = {"compute", "large", "improving", "storage", "examining", "reading", "probing", "drawing", "reporting"}
    assert {each["kind"] for each in labels_of(samples, "queue_depth")} == kinds
    assert value(samples, "queue_depth", kind="probing") >= 1, "the scrape itself is in progress"
    workers = int(value(samples, "service_workers"))
    assert value(samples, "queue_capacity", kind="compute") == workers * (256 + max(1, N_CORES // workers))
    assert value(samples, "queue_refused_total") == 0


def test_experiments_show_status_stage_and_the_share_of_each_arm(busy):
    samples = scraped(busy)
    status = {each["experiment"]: each["status"] for each in labels_of(samples, "experiment_status")}
    assert status == {"ramp": "active", "split": "active", "halted": "paused"}
    assert value(samples, "experiment_stage", experiment="ramp") == 0
    assert value(samples, "experiment_share_ratio", experiment="ramp", arm="model_b") == pytest.approx(0.1)
    assert value(samples, "experiment_share_ratio", experiment="split", arm="model_b") == pytest.approx(0.3)
    assert value(samples, "experiment_share_ratio", experiment="halted") == 0, "everyone gets the default model"
    assert value(samples, "experiment_aborted") == 0
    assert value(samples, "experiments_config_valid") == 1


def test_models_show_status_tags_and_the_default(busy):
    samples = scraped(busy)
    keys = {each["model"] for each in labels_of(samples, "model_info")}
    assert keys == {each["model_key"] for each in busy.get("/models").json()["models"]}
    (default,) = (key for key in keys if value(samples, "model_default", model=key) == 1)
    assert "_v2.0.0" in default
    assert {"model": default, "algorithm": "DDQN", "tag": "latest"} in labels_of(samples, "model_tag")


def test_the_process_shows_its_version_and_start_time(busy):
    samples = scraped(busy)
    assert value(samples, "service_build_info") == 1
    assert BEGUN_S <= value(samples, "service_start_time_seconds") <= time.time()
    parts = {each["part"] for each in labels_of(samples, "scrape_part_up")}
    assert parts == {"service", "models", "experiments", "alerts"}
    assert value(samples, "scrape_part_up") == 4


def test_every_series_is_unique_and_no_label_is_a_clients_text(busy):
    busy.run(params=SAMPLE, experiment="no-such-experiment-of-a-client", user_id="name-of-a-client")
    busy.get("/reports/path-of-a-client")
    text = requests.get(f"{busy.url}/metrics", timeout=HANG_S).text
    series = [line.rpartition(" ")[0] for line in text.splitlines() if not line.startswith("#")]
    assert len(series) == len(set(series))
    assert "of-a-client" not in text


def test_a_failing_door_removes_only_its_own_metrics(app, monkeypatch, caplog):
    def fail() -> None:
        raise ZeroDivisionError("out of order")

    monkeypatch.setattr(app.extensions[EXTENSION].models, "list_models", fail)
    client = app.test_client()
    for _ in range(3):
        answer = client.get("/metrics")
        assert answer.status_code == 200
        output = samples_of(answer.text)
        assert value(output, "scrape_part_up", part="models") == 0
        assert value(output, "scrape_part_up", part="experiments") == 1
        assert not labels_of(output, "model_info")
    assert caplog.text.count("out of order") == 1, "logged once, not per scrape"


def test_the_services_alerts_are_shown(app):
    parts, client = app.extensions[EXTENSION], app.test_client()
    assert labels_of(samples_of(client.get("/metrics").text), "alerts_firing") == []
    parts.monitor.record_performance(PerformanceRecord(request_id="r", makespan=99.0))
    alert_desk(parts.monitor).look(parts.monitor.alert_readings(), frozenset({"max_makespan"}))
    answer = samples_of(client.get("/metrics").text)
    assert value(answer, "alerts_firing", name="max_makespan", severity="warning") == 1
    assert value(answer, "scrape_part_up", part="alerts") == 1


def test_a_refused_job_and_a_lost_record_are_counted(app, monkeypatch):
    from scheduler_service.errors import StorageUnavailable

    parts, client = app.extensions[EXTENSION], app.test_client()

    def fail(record: object) -> None:
        raise StorageUnavailable("disk_nearly_full", free=0, minimum=1)

    with monkeypatch.context() as broken:
        broken.setattr(parts.monitor, "record_performance", fail)
        assert client.post("/run_algorithm", json={"params": SAMPLE}).status_code == 503
    with monkeypatch.context() as full:
        full.setattr(parts.compute, "_capacity", 0)
        assert client.post("/run_algorithm", json={"params": SAMPLE}).status_code == 503
    answer = samples_of(client.get("/metrics").text)
    assert value(answer, "run_records_total", result="failed") == 1
    assert value(answer, "queue_refused_total", kind="compute") == 1


def test_a_scrape_rereads_neither_models_nor_experiments(app, tmp_path, monkeypatch):
    parts, client = app.extensions[EXTENSION], app.test_client()
    for number in range(4):
        write_checkpoint(tmp_path / f"{number}.pth", number)
        parts.models.register_model(tmp_path / f"{number}.pth", "DDQN", {"n": number}, {})
    for number in range(3):
        parts.experiments.create_experiment(f"e{number}", "DDQN_v1.0", "DDQN_v2.0")
    long_ago_s = time.time() - 60.0
    os.utime(parts.settings.ab_config_file, (long_ago_s, long_ago_s))  # old enough for its time stamp to be trusted
    client.get("/metrics")
    read = []
    monkeypatch.setattr(Path, "read_bytes", lambda path, real=Path.read_bytes: read.append(path) or real(path))
    monkeypatch.setattr(
        builtins, "open", lambda name, *rest, real=open, **options: read.append(name) or real(name, *rest, **options)
    )
    text = client.get("/metrics").text
    assert len(re.findall(r"^model_info\{", text, re.MULTILINE)) == 6
    assert [each for each in read if Path(str(each)).is_relative_to(tmp_path)] == []


# --- the documentation ---


def test_the_documented_metrics_are_those_of_the_exposition(busy):
    text = (PROJECT_ROOT / "docs" / "operations.md").read_text("utf-8")
    table = text.partition("\n## Metrics\n")[2].partition("\n## ")[0]
    written = {
        name: (kind, set(re.findall(r"`(\w+)`", labels)))
        for name, kind, labels in re.findall(r"^\| `(\w+)` \| (\w+) \|([^|]*)\|", table, re.MULTILINE)
    }
    text = requests.get(f"{busy.url}/metrics", timeout=HANG_S).text
    served = {}
    for family in text_string_to_metric_families(text):
        name = family.name + ("_total" if family.type == "counter" else "")
        labels = {label for sample in family.samples for label in sample.labels} - {"le"}
        served[name] = (family.type, labels)
    seldom = {"shadow_pairs_total", "shadow_dropped_total", "alerts_firing"}
    missing = {name: found for name, found in served.items() if name not in seldom and written.get(name) != found}
    assert not missing, f"docs/operations.md does not say so: {missing}"
    assert written.keys() - served.keys() <= seldom

"""Operations: health names what fails, metrics count, reports are found only by name, the documentation is complete."""

import re

import pandas as pd
import pytest

from enhanced_flask import create_app
from monitoring import PERFORMANCE_THRESHOLDS, PerformanceMonitor, PerformanceRecord
from scheduler_service.settings import Settings

SAMPLE = [10, 5, 8, 6, 7, 9, 6, 7, 6, 7, 7, 7, 4, 7, 5]


@pytest.fixture
def app(tmp_path):
    return create_app(Settings(home=tmp_path))


# --- health ---


def test_a_healthy_service_reports_every_part(app):
    answer = app.test_client().get("/health")
    assert answer.status_code == 200
    assert answer.json["status"] == "healthy"
    assert {name: part["status"] for name, part in answer.json["parts"].items()} == dict.fromkeys(
        ("database", "models", "experiments", "thresholds", "disk", "folders", "clock"), "ok"
    )


def test_a_full_disk_is_named(app, monkeypatch):
    monkeypatch.setattr("scheduler_service.http.watch.health.MIN_FREE_BYTES", 2**80)
    assert app.test_client().get("/health").json["failing"] == ["disk"]


# --- fallback ---


def test_a_model_that_cannot_be_loaded_is_replaced_and_its_failure_recorded(app, tmp_path):
    client = app.test_client()
    body = {"experiment_name": "gone", "model_a": "DDQN_v1.0", "model_b": "DDQN_v2.0"}
    split = {"traffic_split": {"model_a": 1.0, "model_b": 0.0}}
    assert client.post("/experiments", json=body | split).status_code == 201
    for weights in (tmp_path / "models" / "models").glob("*_v1.0.0*"):
        weights.unlink()
    answer = client.post("/run_algorithm", json={"params": SAMPLE, "experiment": "gone", "user_id": "u"})
    assert answer.status_code == 200
    data = answer.json["experiment_info"]
    assert (data["reason"], data["variant"]) == ("fallback", "model_a")
    assert "_v2.0.0" in data["model_used"]
    runs = PerformanceMonitor(tmp_path / "logs" / "performance.db").get_performance_data(experiment="gone")
    assert runs["success"].tolist() == [False, True]
    assert runs["reason"].tolist() == ["assigned", "fallback"]
    assert runs["variant"].iloc[0] == "model_a"
    assert pd.isna(runs["variant"].iloc[1]), "figures of the fallback do not count for the arm"
    pinned = client.post("/run_algorithm", json={"params": SAMPLE, "model": "DDQN_v1.0"})
    assert pinned.status_code == 503, "a pinned model has no fallback"


def test_without_any_model_the_answer_is_503_and_the_failure_is_recorded(app, tmp_path):
    for weights in (tmp_path / "models" / "models").iterdir():
        weights.unlink()
    answer = app.test_client().post("/run_algorithm", json={"params": SAMPLE})
    assert answer.status_code == 503
    assert answer.headers["Retry-After"]
    runs = PerformanceMonitor(tmp_path / "logs" / "performance.db").get_performance_data()
    assert len(runs) == 2, "each model was tried"
    assert not runs["success"].any()


def test_an_unwritable_database_is_503_and_not_a_lost_record(app, monkeypatch):
    from scheduler_service.errors import StorageUnavailable
    from scheduler_service.http.services import EXTENSION

    def fail(record):
        raise StorageUnavailable("disk_nearly_full", free=0, minimum=1)

    monkeypatch.setattr(app.extensions[EXTENSION].monitor, "record_performance", fail)
    answer = app.test_client().post("/run_algorithm", json={"params": SAMPLE})
    assert answer.status_code == 503
    assert answer.json["code"] == "disk_nearly_full"


def test_an_unexpected_error_is_a_500_without_a_traceback(app, monkeypatch, caplog):
    from scheduler_service.http.services import EXTENSION

    def fail():
        raise ZeroDivisionError("secret detail")

    monkeypatch.setattr(app.extensions[EXTENSION].experiments, "list_experiments", fail)
    answer = app.test_client().get("/experiments")
    assert answer.status_code == 500
    assert answer.mimetype == "application/problem+json"
    assert "secret" not in answer.text
    assert "secret detail" in caplog.text


# --- metrics and alerts ---


def test_metrics_count_requests_by_route_and_runs_by_model(app):
    client = app.test_client()
    client.post("/run_algorithm", json={"params": SAMPLE})
    client.get("/models/some-name-of-a-client")
    client.get("/a-path-of-a-client")
    answer = client.get("/metrics").text
    assert 'http_requests_total{method="POST",route="/run_algorithm",status="200"} 1.0' in answer
    assert 'route="/models/<name>",status="404"} 1.0' in answer
    assert 'route="unmatched",status="404"} 1.0' in answer
    assert "of-a-client" not in answer
    assert re.search(
        r'schedule_runs_total\{model="DDQN_\w+_v2\.0\.0",reason="default",success="true",variant=""\} 1\.0', answer
    )
    assert "schedule_makespan_hours_count" in answer


def test_alerts_check_the_last_hour(app, tmp_path):
    client = app.test_client()
    assert client.get("/alerts").json["alerts"] == []
    monitor = PerformanceMonitor(tmp_path / "logs" / "performance.db")
    for number in range(3):
        monitor.record_performance(PerformanceRecord(request_id=str(number), makespan=99.0, execution_time=0.1))
    body = client.get("/alerts").json
    assert body["runs"] == 3
    assert [alert["name"] for alert in body["alerts"]] == ["max_makespan"]
    assert body["thresholds"].items() >= PERFORMANCE_THRESHOLDS.items()


# --- reports ---


def test_a_report_is_created_and_found_by_its_name(service):
    service.run(params=SAMPLE)
    answer = service.post("/reports/performance")
    assert answer.status_code == 201, "every field has a default"
    page = service.get(answer.json()["url"])
    assert page.status_code == 200
    assert page.headers["Content-Type"] == "text/html; charset=utf-8"
    assert "default-src 'none'" in page.headers["Content-Security-Policy"]
    assert (service.home / "reports" / answer.json()["report"]).read_text("utf-8") == page.text


def test_a_report_is_available_as_pdf(service):
    service.run(params=SAMPLE)
    answer = service.post("/reports/performance", json={"format": "pdf", "lang": "en", "days": 7})
    assert answer.status_code == 201, answer.text
    printed = service.get(answer.json()["url"])
    assert printed.headers["Content-Type"] == "application/pdf"
    assert printed.content.startswith(b"%PDF-")
    page = service.get(answer.json()["url"].removesuffix("pdf") + "html")
    assert page.headers["Content-Type"] == "text/html; charset=utf-8"
    assert service.post("/reports/performance", json={"format": "docx"}).status_code == 422


def test_an_ab_report_is_created(service):
    body = {"experiment_name": "reported", "model_a": "DDQN_v1.0", "model_b": "DDQN_v2.0"}
    assert service.post("/experiments", json=body).status_code == 201
    for number in range(6):
        service.run(params=SAMPLE, experiment="reported", user_id=f"u{number}")
    answer = service.post("/reports/ab_test", json={"experiment_name": "reported", "format": "pdf", "days": 7})
    assert answer.status_code == 201, answer.text
    assert service.get(answer.json()["url"]).content.startswith(b"%PDF-")
    assert "reported" in service.get(answer.json()["url"].removesuffix("pdf") + "html").text


def test_no_other_file_is_served_as_a_report(app, tmp_path):
    (tmp_path / "secret.html").write_text("secret")
    (tmp_path / "reports" / "link.html").symlink_to(tmp_path / "secret.html")
    (tmp_path / "reports" / "link.pdf").symlink_to(tmp_path / "secret.html")
    (tmp_path / "reports" / "notes.txt").write_text("secret")
    client = app.test_client()
    outside = ("../secret.html", "..%2fsecret.html", "%2e%2e%2fsecret.html", "..")
    for name in ("link.html", "link.pdf", "notes.txt", *outside):
        assert client.get(f"/reports/{name}").status_code == 404, name

"""Traces: the caller's headers, log lines, answers and calls of the service; spans that are sent to a collector."""

import json
import logging
import os
import re
import socket
import subprocess
import sys
from contextlib import closing
from types import SimpleNamespace
from unittest.mock import patch

import pytest
import requests
from hypothesis import given
from hypothesis import strategies as st

from enhanced_flask import create_app
from scheduler_env import SAMPLE_PARAMS
from scheduler_service.errors import ServiceError
from scheduler_service.http.contract.openapi import TRACEPARENT
from scheduler_service.http.server.offload import NativeThreads
from scheduler_service.http.watch import spans as spans_module
from scheduler_service.http.watch.spans import check_spans, flush_spans, spans_from
from scheduler_service.logs import RUN_MARKER, JsonFormatter, LineFormatter
from scheduler_service.settings import Settings
from scheduler_service.trace_context import (
    MAX_STATE_LENGTH,
    MAX_STATE_MEMBERS,
    RANDOM,
    SAMPLED,
    Trace,
    new_trace,
    outgoing_headers,
    read_headers,
    span,
    trace_var,
)
from tests.collector import Collector
from tests.conftest import NEW_PROCESS, ROOT, live_service
from tests.receiver import Receiver
from tests.waiting import HANG_S, until

SAMPLE = list(SAMPLE_PARAMS)
TRACE_ID, SPAN_ID = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
CALLER = f"00-{TRACE_ID}-{SPAN_ID}-01"
ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"

trace_ids = st.text("0123456789abcdef", min_size=32, max_size=32).filter(lambda text: int(text, 16))
span_ids = st.text("0123456789abcdef", min_size=16, max_size=16).filter(lambda text: int(text, 16))


def answered_trace(answer: requests.Response) -> str:
    """The traceparent in an answer."""
    (found,) = re.findall(f'^traceparent;desc="({TRACEPARENT})"$', answer.headers["Server-Timing"])
    return found


def a_caller(flags: str = "01") -> str:
    """A traceparent that no other test sends."""
    return f"{new_trace().traceparent[:-2]}{flags}"


# --- traceparent ---


@given(trace_id=trace_ids, span_id=span_ids, flags=st.integers(0, 255))
def test_the_ids_and_the_known_flags_of_version_00_are_read(trace_id, span_id, flags):
    expected = Trace(trace_id, span_id, flags & (SAMPLED | RANDOM))
    assert read_headers(f"00-{trace_id}-{span_id}-{flags:02x}") == expected


@given(version=st.integers(1, 254), flags=st.integers(0, 255), more=st.none() | st.text(max_size=20))
def test_a_later_version_is_read_by_the_beginning_that_it_shares_with_version_00(version, flags, more):
    header = f"{version:02x}-{TRACE_ID}-{SPAN_ID}-{flags:02x}" + ("" if more is None else f"-{more}")
    assert read_headers(header) == Trace(TRACE_ID, SPAN_ID, flags & SAMPLED)


@pytest.mark.parametrize(
    "header",
    [
        "",
        "00",
        CALLER.upper(),
        CALLER.replace("4bf", "4BF"),
        f"ff{CALLER[2:]}",
        f"0{CALLER}",
        f"{CALLER[1:]}",
        f" {CALLER}",
        f"{CALLER} ",
        f"{CALLER}\n",
        f"{CALLER}-",
        f"{CALLER}-more",
        f"{CALLER},{CALLER}",
        f"{CALLER}0",
        CALLER[:-1],
        CALLER.replace("-", "_"),
        CALLER.replace("-", "", 1),
        f"01{CALLER[2:]}more",
        f"01{CALLER[2:-1]}",
        f"00-{'0' * 32}-{SPAN_ID}-01",
        f"00-{TRACE_ID}-{'0' * 16}-01",
        f"00-{TRACE_ID[1:]}-{SPAN_ID}-01",
        f"00-{TRACE_ID}-{SPAN_ID[1:]}-01",
        f"00-{TRACE_ID}-{SPAN_ID}-0g",
        f"0x-{TRACE_ID}-{SPAN_ID}-01",
        CALLER.replace("4", "\u0664"),  # a digit, but not a hexadecimal one
    ],
)
def test_an_invalid_traceparent_is_no_trace(header):
    assert read_headers(header, "a=1") is None


@given(traceparent=st.text(max_size=80) | st.from_regex(TRACEPARENT, fullmatch=True), tracestate=st.text(max_size=80))
def test_what_is_read_from_any_text_is_read_again_from_what_is_sent(traceparent, tracestate):
    trace = read_headers(traceparent, tracestate)
    if trace is not None:
        assert read_headers(trace.traceparent, trace.state) == trace


def test_a_new_trace_is_valid_is_not_sampled_and_is_not_the_one_before():
    first, second = new_trace(), new_trace()
    assert read_headers(first.traceparent) == first
    assert (first.flags, first.state) == (0, "")
    assert first.trace_id != second.trace_id


# --- tracestate ---

keys = st.from_regex(r"[a-z0-9][a-z0-9_*/@-]{0,30}", fullmatch=True)
values = st.from_regex(r"[\x20-\x2b\x2d-\x3c\x3e-\x7e]{0,200}[\x21-\x2b\x2d-\x3c\x3e-\x7e]", fullmatch=True)
members = st.dictionaries(keys, values, min_size=1, max_size=40)
separators = st.sampled_from([",", ", ", " ,", ",\t", ",,", ", ,"])


@given(members=members, separator=separators)
def test_a_valid_tracestate_is_passed_on_unchanged_or_cut_at_whole_members(members, separator):
    written = [f"{key}={value}" for key, value in members.items()]
    header = separator.join(written)
    state = read_headers(CALLER, header).state
    assert len(state) <= MAX_STATE_LENGTH
    if len(members) > MAX_STATE_MEMBERS:
        assert state == ""
    elif len(header) <= MAX_STATE_LENGTH:
        assert state == header
    else:
        kept = iter(written)
        assert all(member in kept for member in state.split(",") if member), "other members, or another order"


def test_of_a_long_tracestate_the_long_members_go_first_and_then_the_last_ones():
    short = [f"k{number:02}={'v' * 56}" for number in range(9)]  # 60 characters each
    long = f"long={'v' * 200}"
    assert read_headers(CALLER, ",".join([long, *short[:4]])).state == ",".join([long, *short[:4]])
    assert read_headers(CALLER, ",".join([long, *short])).state == ",".join(short[:8])


@pytest.mark.parametrize(
    "state",
    [
        *("a", "a=", "=1", "A=1", "a=1,a=2", "a=1;b=2=3", "a b=1", "_a=1", "a=\x7f", "a=é", "a=1\x00", "a\t=1"),
        *(f"{'k' * 257}=1", f"a={'v' * 257}", ",".join(f"k{number}=1" for number in range(MAX_STATE_MEMBERS + 1))),
    ],
)
def test_an_invalid_tracestate_is_dropped_and_the_trace_is_kept(state):
    assert read_headers(CALLER, state) == Trace(TRACE_ID, SPAN_ID, SAMPLED)


# --- log lines ---


@pytest.fixture
def in_trace():
    token = trace_var.set(read_headers(CALLER))
    yield
    trace_var.reset(token)


def line_of(formatter, message: str, name: str = "x") -> str:
    return formatter.format(logging.LogRecord(name, logging.INFO, "", 1, message, (), None))


@pytest.mark.usefixtures("in_trace")
def test_a_line_ends_with_its_trace_and_the_line_of_a_run_still_with_its_seconds():
    assert line_of(LineFormatter(), "done").endswith(f"x: done trace_id={TRACE_ID}")
    run = line_of(LineFormatter(), f"{RUN_MARKER} run=1 0.250000", "scheduler.runs")
    assert run.endswith(f"scheduler.runs: {RUN_MARKER} run=1 trace_id={TRACE_ID} 0.250000")
    assert line_of(LineFormatter(), "a" * 9_000).endswith(f"more characters) trace_id={TRACE_ID}")


@pytest.mark.usefixtures("in_trace")
def test_a_json_line_has_its_trace_as_a_member():
    entry = json.loads(line_of(JsonFormatter(), "done"))
    assert entry["trace_id"] == TRACE_ID
    assert "span_id" not in entry  # it would be the caller's


def test_a_line_outside_of_requests_has_no_trace():
    assert "trace_id" not in line_of(LineFormatter(), "done") + line_of(JsonFormatter(), "done")


# --- the service ---


def test_a_request_is_in_the_callers_trace_in_the_answer_and_in_each_of_its_log_lines(service):
    caller = a_caller()
    answer = service.post("/run_algorithm", json={"params": SAMPLE}, headers={"traceparent": caller})
    assert answered_trace(answer) == caller
    trace_id, own_id = caller.split("-")[1], answer.headers["X-Request-ID"]
    service.wait_for_log(own_id)
    lines = [line for line in service.log().splitlines() if f"[{own_id}]" in line]
    assert any(RUN_MARKER in line for line in lines)
    assert all(f" trace_id={trace_id}" in line for line in lines)


def test_a_request_without_a_valid_caller_begins_a_trace_of_its_own(service):
    sent = [{}, {"traceparent": CALLER.upper()}, {"tracestate": "a=1"}, {"traceparent": f"{CALLER}-more"}]
    found = [answered_trace(service.get("/models", headers=headers)) for headers in sent]
    assert len({each.split("-")[1] for each in found} - {TRACE_ID}) == len(sent)
    assert all(each.endswith("-00") for each in found)


@pytest.mark.parametrize(
    ("method", "path", "status"), [("GET", "/nope", 404), ("DELETE", "/models", 405), ("POST", "/run_algorithm", 400)]
)
def test_an_error_tells_its_trace_too(service, method, path, status):
    caller = a_caller()
    headers = {"traceparent": caller, "Content-Type": "application/json"}
    answer = service.session.request(method, service.url + path, headers=headers, data=b"", timeout=HANG_S)
    assert (answer.status_code, answered_trace(answer)) == (status, caller)


def test_a_traceparent_that_is_sent_twice_is_invalid(service):
    host, port = service.url.removeprefix("http://").split(":")
    with closing(socket.create_connection((host, int(port)))) as connection:
        head = f"GET /health/live HTTP/1.1\r\nHost: localhost\r\ntraceparent: {CALLER}\r\ntraceparent: {CALLER}\r\n"
        connection.sendall(f"{head}Connection: close\r\n\r\n".encode())
        received = connection.makefile("rb").read()
    assert b"Server-Timing: traceparent;desc=" in received
    assert TRACE_ID.encode() not in received


def test_a_refusal_before_the_body_is_read_tells_its_trace(tmp_path):
    client = create_app(Settings(home=tmp_path)).test_client()
    with patch.object(NativeThreads, "is_full", True):
        answer = client.post("/run_algorithm", data=b"{", headers={"traceparent": CALLER})
    assert answer.status_code == 503
    assert answered_trace(answer) == CALLER


def test_web_pages_may_send_a_trace_and_read_the_answers(service):
    page = {"Origin": "http://localhost:8080"}
    asked = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "traceparent,tracestate"}
    allowed = service.session.options(f"{service.url}/run_algorithm", headers=page | asked, timeout=HANG_S)
    assert {"traceparent", "tracestate"} <= set(allowed.headers["Access-Control-Allow-Headers"].split(", "))
    assert "Server-Timing" in service.get("/models", headers=page).headers["Access-Control-Expose-Headers"]


def test_a_webhook_that_is_called_for_a_request_gets_its_trace(tmp_path):
    with Receiver() as receiver:
        environment = {"SCHED_ALERT_WEBHOOKS": f"json={receiver.url}", "SCHED_ALERT_EVERY_S": "0"}
        with live_service(tmp_path, environment=environment) as service:
            for headers in ({"traceparent": CALLER, "tracestate": "a=1, b=2"}, {}):
                told = service.post("/alerts/test", headers=headers).json()
                assert told["channels"][0]["delivered"] is True
        first, second = receiver.headers
    assert (first["traceparent"], first["tracestate"]) == (CALLER, "a=1, b=2")
    assert read_headers(second["traceparent"]).trace_id != TRACE_ID
    assert "tracestate" not in second


def test_a_call_outside_of_requests_has_no_trace():
    assert outgoing_headers() == {}


# --- spans ---


@pytest.fixture(scope="module")
def collector():
    pytest.importorskip(spans_module.PACKAGE, reason="pip install -r requirements-otlp.txt")
    with Collector() as running:
        yield running


def environment_for(collector: Collector, **more: str) -> dict[str, str]:
    return {ENDPOINT: collector.url, "OTEL_BSP_SCHEDULE_DELAY": "50"} | more


@pytest.fixture(scope="module")
def traced(collector, tmp_path_factory):
    """A service that sends its spans to `collector`, with a cache."""
    environment = environment_for(collector, SCHED_ANSWER_CACHE_MIB="8", SCHED_LOG_FORMAT="json")
    with live_service(tmp_path_factory.mktemp("traced"), environment=environment) as running:
        yield running


def test_the_spans_of_a_run_are_parts_of_the_callers(traced, collector):
    caller = a_caller()
    headers = {"traceparent": caller, "tracestate": "a=1", "X-Request-ID": "shown"}
    answer = traced.post("/run_algorithm", json={"params": SAMPLE}, headers=headers)
    _, trace_id, parent_id, _ = caller.split("-")
    spans = collector.wait_for("POST /run_algorithm", "queue", "compute", "cache", "record", trace_id=trace_id)
    server, body = spans["POST /run_algorithm"], answer.json()
    assert (server.kind, server.parent_id, server.state) == (2, parent_id, "a=1")
    assert server.attributes == {
        "http.request.method": "POST",
        "http.route": "/run_algorithm",
        "http.response.status_code": 200,
        "url.scheme": "http",
        "scheduler.request_id": "shown",
    }
    assert answered_trace(answer)[:-2] == f"00-{trace_id}-{server.span_id}-"
    assert {spans[name].parent_id for name in ("queue", "compute", "record")} == {server.span_id}
    assert spans["cache"].parent_id == spans["compute"].span_id
    assert spans["compute"].attributes == {
        "scheduler.model_key": body["result"]["model_info"]["model_key"],
        "scheduler.reason": "default",
        "scheduler.steps": len(body["result"]["schedule_details"]),
        "scheduler.makespan_h": body["result"]["makespan"],
    }
    assert not any(each.is_failed for each in spans.values())


def test_the_parts_of_a_run_are_within_it_and_in_its_order(traced, collector):
    caller = a_caller()
    traced.post("/run_algorithm", json={"params": SAMPLE}, headers={"traceparent": caller})
    names = ("POST /run_algorithm", "queue", "compute", "record")
    spans = collector.wait_for(*names, trace_id=caller.split("-")[1])
    server, queue, compute, record = (spans[name] for name in names)
    # The beginning of the queue is computed from another clock, so it may be before that of the request.
    assert queue.start_ns < queue.end_ns
    moments = [server.start_ns, queue.end_ns, compute.start_ns, compute.end_ns, record.start_ns, record.end_ns]
    assert [*moments, server.end_ns] == sorted([*moments, server.end_ns])


def test_the_cache_says_whether_it_had_the_schedule(traced, collector):
    params = [7.25, *SAMPLE[1:]]
    for expected in (False, True):
        caller = a_caller()
        traced.post("/run_algorithm", json={"params": params}, headers={"traceparent": caller})
        found = collector.wait_for("cache", trace_id=caller.split("-")[1])["cache"]
        assert found.attributes == {"scheduler.cache_hit": expected}


def test_charts_have_a_span(traced, collector):
    caller = a_caller()
    traced.post("/run_algorithm", json={"params": SAMPLE, "charts": ["team"]}, headers={"traceparent": caller})
    assert collector.wait_for("draw", trace_id=caller.split("-")[1])


def test_a_request_without_a_caller_is_a_trace_that_begins_here(traced, collector):
    trace_id = answered_trace(traced.get("/models")).split("-")[1]
    server = collector.wait_for("GET /models", trace_id=trace_id)["GET /models"]
    assert server.parent_id == ""
    assert server.resource["service.name"] == "shutdown-scheduler"


def test_a_log_line_has_the_span_that_wrote_it(traced, collector):
    caller = a_caller()
    answer = traced.post("/run_algorithm", json={"params": SAMPLE}, headers={"traceparent": caller})
    record = collector.wait_for("record", trace_id=caller.split("-")[1])["record"]
    own_id = answer.json()["request_id"]
    traced.wait_for_log(own_id)
    (entry,) = [each for each in map(json.loads, traced.log().splitlines()) if own_id in each["message"]]
    assert (entry["trace_id"], entry["span_id"]) == (record.trace_id, record.span_id)


def test_a_mistake_of_the_client_is_no_failure_of_the_service(traced, collector):
    caller = a_caller()
    body = {"params": SAMPLE, "model": "no-such-model"}
    assert traced.post("/run_algorithm", json=body, headers={"traceparent": caller}).status_code == 404
    server = collector.wait_for("POST /run_algorithm", trace_id=caller.split("-")[1])["POST /run_algorithm"]
    assert (server.attributes["http.response.status_code"], server.is_failed) == (404, False)


QUIET = ("/health/live", "/metrics", "/", "/console/app.js", "/docs", "/openapi.json")


def test_what_the_caller_does_not_sample_and_probes_are_not_sent(traced, collector):
    unsampled, sampled = a_caller("00"), a_caller()
    answer = traced.get("/models", headers={"traceparent": unsampled})
    assert answered_trace(answer).split("-")[1::2] == [unsampled.split("-")[1], "00"]
    probed = [answered_trace(traced.get(path)).split("-")[1] for path in QUIET]
    traced.get("/models", headers={"traceparent": sampled})
    collector.wait_for("GET /models", trace_id=sampled.split("-")[1])
    assert {each.trace_id for each in collector.spans} & {unsampled.split("-")[1], *probed} == set()


def test_spans_contain_no_key_no_user_no_query_and_no_path(traced, collector):
    caller = a_caller()
    headers = {"traceparent": caller, "X-API-Key": "hush-key", "Authorization": "Bearer hush-bearer"}
    traced.post("/run_algorithm", json={"params": SAMPLE, "user_id": "hush-user"}, headers=headers)
    traced.post(
        "/run_algorithm", json={"params": SAMPLE, "experiment": "hush-name", "user_id": "hush"}, headers=headers
    )
    traced.get("/runs?search=hush-search", headers=headers)
    traced.get("/runs/hush-run", headers=headers)
    traced.get("/hush-path", headers=headers)
    names = ("POST /run_algorithm", "GET /runs", "GET /runs/<request_id>", "GET")
    collector.wait_for(*names, trace_id=caller.split("-")[1])
    assert b"hush" not in collector.bytes


def test_a_failing_part_has_the_class_of_its_error_and_not_its_text(collector, monkeypatch):
    for name, value in environment_for(collector).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(spans_module, "_in_use", [])
    spans = spans_from(os.environ)
    trace = spans.of_request("POST", "/x", "http", None)
    token = trace_var.set(trace)
    with pytest.raises(ServiceError), span("compute"):
        raise ServiceError("overloaded", n_waiting=77123)
    trace_var.reset(token)
    trace.recorded.end({"http.response.status_code": 500, "error.type": "500"})
    flush_spans()
    found = collector.wait_for("POST /x", "compute", trace_id=trace.trace_id)
    assert found["compute"].attributes == {"error.type": "ServiceError"}
    assert (found["compute"].is_failed, found["POST /x"].is_failed) == (True, True)
    assert b"77123" not in collector.bytes


def test_the_standard_variables_choose_the_sampler_and_the_name(collector, monkeypatch):
    names = {"OTEL_TRACES_SAMPLER": "parentbased_always_off", "OTEL_SERVICE_NAME": "planning"}
    for name, value in environment_for(collector, **names).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(spans_module, "_in_use", [])
    spans = spans_from(os.environ)
    assert spans.of_request("GET", "/x", "http", None).recorded is None
    caller = read_headers(a_caller())
    trace = spans.of_request("GET", "/x", "http", caller)
    trace.recorded.end({})
    flush_spans()
    assert collector.wait_for("GET /x", trace_id=caller.trace_id)["GET /x"].resource["service.name"] == "planning"


def test_an_unknown_method_is_not_part_of_the_name_of_a_span(collector, monkeypatch):
    monkeypatch.setenv(ENDPOINT, collector.url)
    monkeypatch.setattr(spans_module, "_in_use", [])
    spans = spans_from(os.environ)
    trace = spans.of_request("HUSH", None, "http", None)
    trace.recorded.end({})
    flush_spans()
    found = collector.wait_for("HTTP", trace_id=trace.trace_id)["HTTP"]
    assert found.attributes["http.request.method"] == "_OTHER"


# --- collectors that fail ---


def test_while_the_collector_fails_runs_are_answered_and_one_line_says_so(collector, tmp_path):
    small = {"OTEL_BSP_MAX_QUEUE_SIZE": "8", "OTEL_BSP_MAX_EXPORT_BATCH_SIZE": "4"}
    with Collector() as failing:
        failing.status = 500
        with live_service(tmp_path, environment=environment_for(failing, **small)) as service:

            def failures() -> bool:
                service.run(params=SAMPLE)
                return failing.requests >= 4

            until(failures)
            log = service.wait_for_log("spans cannot be sent to")
            assert re.search(r"spans cannot be sent to 127\.0\.0\.1:\d+ \([^)]*500[^)]*\)", log)
            failing.status = 200
            until(lambda: service.run(params=SAMPLE) and failing.spans)
            service.wait_for_log("again")
            assert service.log().count("spans cannot be sent to") == 1
            assert "opentelemetry" not in service.log()


def test_a_collector_that_fails_now_and_then_is_reported_once_a_minute(collector, monkeypatch, caplog):
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url)
    otlp = pytest.importorskip("scheduler_service.http.watch.otlp")
    now_s = [1_000.0]
    monkeypatch.setattr(otlp, "time", SimpleNamespace(monotonic=lambda: now_s[0]))
    caplog.set_level(logging.INFO)
    delivery = otlp._Delivery("collector")

    def batch(status: int) -> None:
        collector.status = status
        delivery.export([])

    for _ in range(10):
        batch(400)
        batch(200)
    assert [each.levelname for each in caplog.records] == ["WARNING", "INFO"]
    now_s[0] += 61
    batch(400)
    batch(400)
    assert [each.levelname for each in caplog.records] == ["WARNING", "INFO", "WARNING"]
    monkeypatch.setattr(otlp.OTLPSpanExporter, "export", lambda *_: 1 / 0)
    batch(200)
    assert len(caplog.records) == 3
    delivery.shutdown()


def test_a_collector_that_does_not_answer_stops_neither_runs_nor_the_end_of_the_service(collector, tmp_path):
    with closing(socket.create_server(("127.0.0.1", 0))) as deaf:  # connections wait in its backlog for ever
        url = f"http://127.0.0.1:{deaf.getsockname()[1]}"
        with live_service(tmp_path, environment={ENDPOINT: url, "OTEL_BSP_SCHEDULE_DELAY": "50"}) as service:
            assert len({service.run(params=SAMPLE)["request_id"] for _ in range(20)}) == 20
            assert service.stop() == 0


def test_waiting_spans_are_sent_at_the_end_of_the_service(collector, tmp_path):
    caller, environment = a_caller(), environment_for(collector, OTEL_BSP_SCHEDULE_DELAY="3600000")
    with live_service(tmp_path, environment=environment) as service:
        service.get("/models", headers={"traceparent": caller})
        assert service.stop() == 0
    assert collector.wait_for("GET /models", trace_id=caller.split("-")[1])


def test_each_worker_sends_its_spans(collector, tmp_path):
    with live_service(tmp_path, arguments=("--workers", "2"), environment=environment_for(collector)) as service:
        seen: set[int] = set()

        def from_both() -> bool:
            with requests.Session() as client:  # a new connection: any worker
                caller = a_caller()
                client.get(f"{service.url}/models", headers={"traceparent": caller}, timeout=HANG_S)
            collector.wait_for("GET /models", trace_id=caller.split("-")[1])
            seen.update(each.resource["service.instance.id"] for each in collector.spans if each.trace_id in caller)
            return len(seen) == 2

        until(from_both)


# --- the start ---


@pytest.mark.parametrize(
    "environ",
    [
        {},
        {ENDPOINT: ""},
        {ENDPOINT: "http://localhost:4318", "OTEL_SDK_DISABLED": "true"},
        {ENDPOINT: "http://localhost:4318", "OTEL_TRACES_EXPORTER": "none"},
        {"OTEL_SERVICE_NAME": "x", "OTEL_TRACES_SAMPLER": "always_on"},
    ],
)
def test_spans_are_off_unless_there_is_a_collector(environ):
    assert check_spans(environ) is None
    assert spans_from(environ) is None


@pytest.mark.parametrize(
    ("environ", "code"),
    [
        ({ENDPOINT: "localhost:4318"}, "otlp_address"),
        ({ENDPOINT: "grpc://hush@host:4317"}, "otlp_address"),
        ({ENDPOINT: "http://hush:hush@host:99999"}, "otlp_address"),
        ({ENDPOINT: "http://host:4317", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, "otlp_protocol"),
    ],
)
@pytest.mark.usefixtures("collector")
def test_a_variable_that_cannot_be_used_is_refused_without_its_secrets(environ, code):
    with pytest.raises(ServiceError) as refused:
        check_spans(environ)
    assert refused.value.code == code
    assert "hush" not in str(refused.value)


def test_without_the_packages_the_start_ends_with_the_remedy(tmp_path):
    hidden = "import runpy, sys; sys.modules['opentelemetry'] = None; sys.argv[0] = sys.argv[1]; del sys.argv[1]; "
    code = f"{hidden}runpy.run_path(sys.argv[0], run_name='__main__')"
    ended = subprocess.run(
        [sys.executable, "-c", code, NEW_PROCESS[1], "--port", "0", "--home", str(tmp_path)],
        cwd=ROOT,
        env=os.environ | {ENDPOINT: "http://localhost:4318", "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])},
        capture_output=True,
        text=True,
        timeout=HANG_S,
    )
    assert ended.returncode == 1
    assert "cannot start" in ended.stderr
    assert "pip install -r requirements-otlp.txt" in ended.stderr


def test_a_service_without_spans_does_not_import_the_packages():
    code = "import enhanced_flask, sys; print([name for name in sys.modules if name.startswith('opentelemetry')])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"

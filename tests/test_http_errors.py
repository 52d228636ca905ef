"""Every invalid input gets a 4xx answer that names the problem, in one format, and the service keeps working."""

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from scheduler_service.words import WORDS

SAMPLE = [10, 5, 8, 6, 7, 9, 6, 7, 6, 7, 7, 7, 4, 7, 5]
JSON = {"Content-Type": "application/json"}


def refused(answer, status: int) -> dict:
    """The problem details in `answer`, which must be well-formed."""
    assert answer.status_code == status, f"{answer.status_code} {answer.text[:500]}"
    assert answer.headers["Content-Type"] == "application/problem+json"
    body = answer.json()
    assert body["status"] == status
    assert body["error"] == body["detail"]
    assert body["title"]
    assert body["type"]
    assert "Traceback" not in answer.text
    if status == 422:
        assert all({"loc", "msg"} <= set(error) for error in body["errors"])
        assert body["errors"]
    return body


def still_serves(service) -> None:
    assert service.run(params=SAMPLE)["status"] == "success"


def params(**at) -> list:
    """The sample request with other values at some positions, e.g. `params(p3="x")`."""
    return [at.get(f"p{index}", value) for index, value in enumerate(SAMPLE)]


def step(**options) -> dict:
    return {"name": "A", "order": 1, "team": "team3", "duration": 4} | options


BAD_RUNS = {
    "14 numbers": {"params": SAMPLE[:14]},
    "16 numbers": {"params": [*SAMPLE, 1]},
    "a string": {"params": "10,5,8"},
    "a string among the numbers": {"params": params(p3="6")},
    "a boolean": {"params": params(p3=True)},
    "null": {"params": params(p3=None)},
    "negative": {"params": params(p3=-1)},
    "zero": {"params": params(p3=0)},
    "10^12": {"params": params(p3=10**12)},
    "beyond 64 bits": {"params": params(p3=10**40)},
    "nested lists": {"params": [SAMPLE]},
    "a list in the list": {"params": params(p3=[6])},
    "an object": {"params": {"0": 10}},
    "nothing to schedule": {},
    "both": {"params": SAMPLE, "workpoints": [{}]},
    "a list as body": [SAMPLE],
    "a number as body": 5,
    "an unknown field": {"params": SAMPLE, "expirement": "x"},
    "no work point": {"workpoints": []},
    "unknown team": {"workpoints": [{"steps": [step(team="team9")]}]},
    "cycle": {"workpoints": [{"steps": [step(predecessors=["B"]), step(name="B", predecessors=["A"])]}]},
    "unknown predecessor": {"workpoints": [{"steps": [step(predecessors=["Z"])]}]},
    "crew over headcount": {"workpoints": [{"steps": [step(min_crew=99)]}]},
    "too many work points": {"workpoints": [{}] * 201},
    "user id": {"params": SAMPLE, "user_id": ["u"]},
    "long user id": {"params": SAMPLE, "user_id": "u" * 201},
    "experiment": {"params": SAMPLE, "experiment": 5},
    "chart": {"params": SAMPLE, "charts": ["pie"]},
    "negative budget": {"params": SAMPLE, "time_budget_ms": -1},
    "endless budget": {"params": SAMPLE, "time_budget_ms": 10**9},
    "fractional budget": {"params": SAMPLE, "time_budget_ms": 1.5},
    "curve": {"params": SAMPLE, "crew_efficiency": "magic"},
}


@pytest.mark.parametrize("name", BAD_RUNS)
def test_an_invalid_run_is_refused(service, name):
    refused(service.post("/run_algorithm", json=BAD_RUNS[name]), 422)


@pytest.mark.parametrize("value", ["NaN", "Infinity", "-Infinity", "1e999", "-1e999"])
def test_non_finite_numbers_are_refused_and_named(service, value):
    body = json.dumps({"params": SAMPLE}).replace("[10,", f"[{value},").encode()
    problem = refused(service.post("/run_algorithm", data=body, headers=JSON), 422)
    assert problem["errors"][0]["loc"] == ["params", 0]


@pytest.mark.parametrize(
    "body", [b"{", b"{'params': 1}", b"\xff\xfe", b"params=1", b'{"params": [1,]}', b'"\\ud800"', b"[" * 5_000, b"\x00"]
)
def test_invalid_json_is_400(service, body):
    refused(service.post("/run_algorithm", data=body, headers=JSON), 400)


@pytest.mark.parametrize(
    "path", ["/run_algorithm", "/feedback", "/models/register", "/experiments", "/reports/ab_test"]
)
def test_an_empty_body_is_400(service, path):
    refused(service.post(path), 400)
    refused(service.post(path, data=b"", headers=JSON), 400)


@pytest.mark.parametrize(
    "headers",
    [
        {},
        *({"Content-Type": kind} for kind in ("text/plain", "application/x-www-form-urlencoded", "application/xml")),
        *({"Content-Type": kind} for kind in ("application/json; charset=utf-16", "nonsense")),
        {**JSON, "Content-Encoding": "gzip"},
    ],
)
def test_another_content_type_is_415(service, headers):
    refused(service.post("/run_algorithm", data=json.dumps({"params": SAMPLE}).encode(), headers=headers), 415)


@pytest.mark.parametrize(
    "kind",
    ["application/json", "application/json;charset=UTF-8", "application/json; charset=utf-8", "application/ld+json"],
)
def test_the_content_types_of_axios_and_rest_template_are_accepted(service, kind):
    answer = service.post(
        "/run_algorithm", data=json.dumps({"params": SAMPLE}).encode(), headers={"Content-Type": kind}
    )
    assert answer.status_code == 200


def test_a_duplicate_key_is_refused(service):
    body = f'{{"params": {SAMPLE}, "params": {SAMPLE}}}'.encode()
    refused(service.post("/run_algorithm", data=body, headers=JSON), 422)


@pytest.mark.parametrize("is_chunked", [False, True])
def test_a_body_that_is_too_large_is_413(service, is_chunked):
    data = iter([b" " * 2**20] * 9) if is_chunked else b" " * (9 * 2**20)
    refused(service.post("/run_algorithm", data=data, headers=JSON), 413)
    still_serves(service)


@pytest.mark.parametrize("path", ["/nope", "/models/a/b/c", "/reports/", "/run_algorithm/x", "/%00", "/static/x"])
def test_an_unknown_path_is_404(service, path):
    refused(service.get(path), 404)


@pytest.mark.parametrize(
    "path",
    [
        *("/models/DDQN_v99.0", "/models/nothing", "/experiments/nothing", "/experiments/nothing/results"),
        *("/reports/nothing.html", "/reports/..%2f..%2fetc%2fpasswd", "/reports/%2e%2e", "/reports/performance.db"),
        "/console/nothing.js",
    ],
)
def test_an_unknown_name_is_404(service, path):
    refused(service.get(path), 404)


def test_a_wrong_method_is_405_with_the_allowed_methods(service):
    answer = service.get("/run_algorithm")
    refused(answer, 405)
    assert set(answer.headers["Allow"].split(", ")) == {"POST", "OPTIONS"}
    refused(service.post("/health"), 405)


EXPERIMENT = {"experiment_name": "bad", "model_a": "DDQN_v1.0", "model_b": "DDQN_v2.0"}


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"traffic_split": {"model_a": 0.7, "model_b": 0.4}}, 422),
        ({"model_b": "DDQN_v99.0"}, 404),
        ({"rollout": {"steps": [10, 30]}}, 422),
        ({"guardrails": {"max_makespan": 60}}, 422),
        ({"guardrails": {"makespan": -0.05}}, 422),
        ({"guardrails": "all"}, 422),
        ({"shadow": 2}, 422),
        ({"shadow": "yes"}, 422),
        ({"coverage": 0}, 422),
        ({"margin": 1}, 422),
        ({"model_d": "DDQN_v1.0"}, 422),
        ({"forced_variants": {"tester": "model_c"}}, 422),
        ({"excluded_users": "tester"}, 422),
        ({"rollout": {"min_hours": -1}}, 422),
        ({"rollout": {"promote_on": "hope"}}, 422),
    ],
)
def test_an_invalid_experiment_is_refused(service, change, status):
    refused(service.post("/experiments", json=EXPERIMENT | change), status)
    refused(service.get("/experiments/bad"), 404)


def test_the_same_experiment_twice_is_a_conflict(service):
    body = EXPERIMENT | {"experiment_name": "twice"}
    assert service.post("/experiments", json=body).status_code == 201
    refused(service.post("/experiments", json=body), 409)


@pytest.mark.parametrize("query", ["start_time=yesterday", "end_time=2024-13-01", "start_time=%00"])
def test_an_invalid_time_is_refused(service, query):
    refused(service.get(f"/performance?{query}"), 422)


@pytest.mark.parametrize("body", [{"days": 0}, {"days": 10**6}, {"days": "7"}, {"lang": "de"}, {"path": "/etc/passwd"}])
def test_an_invalid_report_request_is_refused(service, body):
    refused(service.post("/reports/performance", json=body), 422)


def test_a_report_of_an_unknown_experiment_is_404(service):
    refused(service.post("/reports/ab_test", json={"experiment_name": "nothing"}), 404)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**25), 10**25) | st.floats() | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=6), inner, max_size=5),
    max_leaves=15,
)
near_runs = st.fixed_dictionaries(
    {},
    optional=dict.fromkeys(
        ("params", "workpoints", "teams", "experiment", "user_id", "model", "algorithm", "charts"), json_values
    ),
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    body=near_runs | json_values,
    path=st.sampled_from(["/run_algorithm", "/experiments", "/feedback", "/models/register"]),
)
def test_no_json_causes_a_500(service, body, path):
    text = json.dumps(body).encode("utf-8", "surrogatepass")
    answer = service.post(path, data=text, headers=JSON)
    assert 400 <= answer.status_code < 500, answer.text


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(body=st.binary(min_size=1, max_size=60))
def test_no_bytes_cause_a_500(service, body):
    refused_with = service.post("/run_algorithm", data=body, headers=JSON).status_code
    assert refused_with in (400, 422)


def test_the_service_still_answers_afterwards(service):
    still_serves(service)
    assert service.get("/health").status_code == 200


@pytest.mark.parametrize(
    ("method", "path", "code"),
    [
        ("GET", "/nothing", "no_such_path"),
        ("PUT", "/health", "method_not_allowed"),
        ("GET", "/runs/x", "run_not_found"),
    ],
)
def test_a_refusal_has_a_code_whose_text_is_the_detail(service, method, path, code):
    body = service.session.request(method, service.url + path).json()
    assert body["code"] == code
    assert body["detail"] == body["error"] == WORDS.text(f"errors.{code}", body["params"])

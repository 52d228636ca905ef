"""Who may change state: this machine; from elsewhere, whoever has a key; never a foreign web page."""

import hashlib

import pytest

from enhanced_flask import create_app
from scheduler_service.http.auth import OPEN_ENDPOINTS, READING_METHODS, knows_key
from scheduler_service.settings import Settings, is_loopback

KEY = "correct horse battery staple"
DIGEST = hashlib.sha256(KEY.encode()).hexdigest()


@pytest.fixture(scope="module")
def exposed(tmp_path_factory):
    """A service that is bound beyond loopback."""
    return create_app(Settings(home=tmp_path_factory.mktemp("exposed"), host="0.0.0.0", api_keys=(DIGEST,)))


def paths(app):
    """Every (method, path) that changes state, with something in place of the path's names."""
    return sorted(
        (method, rule.rule.replace("<name>", "x").replace("<tag>", "x"))
        for rule in app.url_map.iter_rules()
        for method in rule.methods - READING_METHODS
        if rule.endpoint not in OPEN_ENDPOINTS
    )


def test_every_route_that_changes_state_wants_a_key(exposed):
    routes = paths(exposed)
    assert ("POST", "/models/register") in routes
    assert ("DELETE", "/models/x") in routes
    assert len(routes) >= 12
    for method, path in routes:
        for headers in ({}, {"X-API-Key": "wrong"}, {"Authorization": "Bearer "}, {"Authorization": f"Basic {KEY}"}):
            answer = exposed.test_client().open(path, method=method, headers=headers, json={})
            assert answer.status_code == 401, (method, path, headers)
            assert answer.headers["WWW-Authenticate"] == "Bearer"
            assert answer.mimetype == "application/problem+json"


def test_only_the_front_ends_own_routes_are_open():
    assert {"runs.run_algorithm", "runs.give_feedback"} == OPEN_ENDPOINTS


@pytest.mark.parametrize(
    "headers", [{"Authorization": f"Bearer {KEY}"}, {"X-API-Key": KEY}, {"Authorization": f"bearer {KEY}"}]
)
def test_a_key_opens_them(exposed, headers):
    for method, path in paths(exposed):
        answer = exposed.test_client().open(path, method=method, headers=headers, json={"unknown": 1})
        assert answer.status_code in (200, 404, 422), (method, path, answer.status_code)


def test_reading_and_running_want_no_key(exposed):
    client = exposed.test_client()
    for path in ("/health", "/models", "/experiments", "/metrics", "/openapi.json", "/docs"):
        assert client.get(path).status_code == 200, path
    assert client.post("/run_algorithm", json={}).status_code == 422


def test_without_any_key_configured_nothing_can_be_changed_from_elsewhere(tmp_path):
    app = create_app(Settings(home=tmp_path, host="0.0.0.0"))
    answer = app.test_client().post("/experiments", json={}, headers={"X-API-Key": ""})
    assert answer.status_code == 401
    assert "SCHED_API_KEYS" in answer.json["error"]


def test_on_loopback_no_key_is_wanted(tmp_path):
    app = create_app(Settings(home=tmp_path))
    assert app.test_client().post("/experiments", json={}).status_code == 422


@pytest.mark.parametrize(
    "origin", ["https://evil.example", "null", "http://localhost.evil.example", "http://localhost:80x"]
)
def test_a_foreign_page_changes_nothing_even_where_browsers_ask_no_leave(tmp_path, origin):
    client = create_app(Settings(home=tmp_path)).test_client()
    assert client.post("/reports/performance", headers={"Origin": origin}).status_code == 403
    assert client.post("/models/register", data={"file": "x"}, headers={"Origin": origin}).status_code == 403


def test_our_own_pages_may(tmp_path):
    client = create_app(Settings(home=tmp_path)).test_client()
    for origin in ("http://localhost:8080", "http://127.0.0.1:3000", "http://localhost"):
        answer = client.post("/experiments/x/stop", headers={"Origin": origin})
        assert answer.status_code == 404, origin


def test_cors_answers_preflights_of_listed_origins_only(tmp_path):
    client = create_app(
        Settings(home=tmp_path, cors_origins=("https://plant.example", "http://localhost:*"))
    ).test_client()

    def allowed(origin):
        headers = {
            "Origin": origin,
            "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": "content-type",
        }
        answer = client.options("/api/algorithm/run", headers=headers)
        assert answer.status_code == 200
        return answer.headers.get("Access-Control-Allow-Origin")

    for origin in ("https://plant.example", "http://localhost:8080"):
        assert allowed(origin) == origin
    for origin in ("https://evil.example", "https://plant.example.evil.example", "http://localhost:8080.evil.example"):
        assert allowed(origin) is None


@pytest.mark.parametrize(
    ("host", "is_it"),
    [
        *((host, True) for host in ("127.0.0.1", "127.1.2.3", "::1", "localhost")),
        *((host, False) for host in ("0.0.0.0", "::", "10.1.2.3", "plant", "")),
    ],
)
def test_loopback_is_known(host, is_it):
    assert is_loopback(host) is is_it


def test_a_key_is_known_by_its_digest():
    assert knows_key(KEY, [DIGEST])
    assert knows_key(KEY, ["0" * 64, DIGEST])
    assert not knows_key(KEY + " ", [DIGEST])
    assert not knows_key("", [hashlib.sha256(b"").hexdigest()])
    assert not knows_key(DIGEST, [DIGEST])


# --- what every answer carries ---


def test_a_sane_request_id_is_kept_and_others_are_replaced(exposed):
    client = exposed.test_client()
    assert client.get("/health", headers={"X-Request-ID": "abc-123"}).headers["X-Request-ID"] == "abc-123"
    for bad in ("", "a b", "x" * 101, "算法", "<script>"):
        given = client.get("/health", headers={"X-Request-ID": bad.encode("utf-8").decode("latin-1")}).headers[
            "X-Request-ID"
        ]
        assert len(given) == 36
        assert given != bad
    assert client.get("/nope", headers={"X-Request-ID": "also-on-errors"}).headers["X-Request-ID"] == "also-on-errors"


def test_every_answer_has_the_security_headers(exposed):
    for path in ("/health", "/nope", "/docs", "/metrics"):
        headers = exposed.test_client().get(path).headers
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["X-Frame-Options"] == "DENY"
        assert "default-src 'none'" in headers["Content-Security-Policy"]

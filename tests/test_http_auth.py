"""Who may do what: this machine anything; from elsewhere, whoever has a key for it; never a foreign web page."""

import pytest

from enhanced_flask import create_app
from scheduler_service.http.auth import required_scope
from scheduler_service.http.services import EXTENSION
from scheduler_service.keys import SCOPES, digest_of, find_key, parse_keys
from scheduler_service.settings import Settings, is_loopback

KEY = "correct horse battery staple"
DIGEST = digest_of(KEY)

OPEN = {("GET", path) for path in ("/health", "/health/live", "/health/ready", "/openapi.json", "/docs")}
"""Written once more, and by path, so that a slip in the rule is seen here."""
RUN = {("POST", "/run_algorithm"), ("POST", "/api/algorithm/run"), ("POST", "/feedback")}


@pytest.fixture(scope="module")
def exposed(tmp_path_factory):
    """A service that is bound beyond loopback; the key of a scope is its name."""
    keys = (DIGEST, *(f"{scope}-key:{scope}:{digest_of(scope)}" for scope in SCOPES))
    home = tmp_path_factory.mktemp("exposed")
    app = create_app(Settings(home=home, host="0.0.0.0", api_keys=keys, rate_limit=0))
    app.extensions[EXTENSION].warmed_up.set()
    return app


def paths(app):
    """Every (method, path), with something in place of the path's names."""
    return sorted(
        (
            method,
            rule.rule.replace("<name>", "x").replace("<tag>", "x").replace("<alert>", "x").replace("<number>", "1"),
        )
        for rule in app.url_map.iter_rules()
        for method in rule.methods
    )


def scope_by_hand(method, path):
    if method == "OPTIONS" or ("GET" if method == "HEAD" else method, path) in OPEN:
        return None
    return "run" if (method, path) in RUN else "read" if method in ("GET", "HEAD") else "admin"


def _opens(key, scope):
    return scope is None or key in (scope, "admin")


def test_the_url_map_is_walked(exposed):
    routes = paths(exposed)
    assert {("POST", "/models/register"), ("DELETE", "/models/x"), ("GET", "/metrics"), *RUN, *OPEN} <= set(routes)
    assert len(routes) >= 80
    assert not any("<" in path for _, path in routes)


def test_every_route_wants_its_scope_and_denies_the_others(exposed):
    client = exposed.test_client()
    for method, path in paths(exposed):
        scope = scope_by_hand(method, path)
        for key in SCOPES:
            body = {} if method in ("GET", "HEAD", "OPTIONS") else {"json": {"unknown": 1}}
            status = client.open(path, method=method, headers={"X-API-Key": key}, **body).status_code
            if _opens(key, scope):
                assert status in (200, 404, 409, 422), (method, path, key, status)
            else:
                assert status == 403, (method, path, key, status)


def test_without_a_valid_key_every_route_that_wants_one_is_denied(exposed, tmp_path):
    limited = []
    for method, path in paths(exposed):
        if scope_by_hand(method, path) is None:
            assert exposed.test_client().open(path, method=method).status_code == 200, (method, path)
            continue
        for headers in ({}, {"Authorization": "Bearer "}, {"Authorization": f"Basic {KEY}"}):
            answer = exposed.test_client().open(path, method=method, headers=headers)
            assert answer.status_code == 401, (method, path, headers)
            assert answer.headers["WWW-Authenticate"] == "Bearer"
            assert answer.mimetype == "application/problem+json"
        limited.append(exposed.test_client().open(path, method=method, headers={"X-API-Key": "wrong"}).status_code)
    assert set(limited) == {401, 429}, "a wrong key is refused; many of them are slowed down"


def test_a_route_that_nobody_thought_of_is_for_admins():
    assert required_scope("POST", "models.something_new") == "admin"
    assert required_scope("PATCH", "runs.something_new") == "admin"
    assert required_scope("GET", "models.something_new") == "read"


@pytest.mark.parametrize(
    "headers", [{"Authorization": f"Bearer {KEY}"}, {"X-API-Key": KEY}, {"Authorization": f"bearer {KEY}"}]
)
def test_a_digest_alone_is_a_key_for_everything(exposed, headers):
    client = exposed.test_client()
    assert client.post("/experiments", json={"unknown": 1}, headers=headers).status_code == 422
    assert client.get("/metrics", headers=headers).status_code == 200


def test_a_key_without_the_scope_is_told_which_it_needs(exposed):
    answer = exposed.test_client().post("/experiments", json={}, headers={"X-API-Key": "read"})
    assert answer.status_code == 403
    assert "'admin'" in answer.json["error"]
    assert "'read-key'" in answer.json["error"]


def test_what_is_open_to_all_can_be_said(tmp_path):
    settings = Settings(home=tmp_path, host="0.0.0.0", anonymous_scopes="run,read")
    client = create_app(settings).test_client()
    assert client.get("/models").status_code == 200
    assert client.post("/run_algorithm", json={}).status_code == 422
    assert client.post("/experiments", json={}).status_code == 401


def test_the_history_tells_the_name_of_the_key_whatever_the_body_says(exposed):
    client, headers = exposed.test_client(), {"X-API-Key": "admin"}
    client.put("/models/tags/canary", json={"model_key": "DDQN_v1.0", "actor": "boss"}, headers=headers)
    client.put("/models/tags/canary", json={"model_key": "DDQN_v2.0"}, headers=headers)
    events = client.get("/models/history", headers=headers).json["events"]
    assert [event["actor"] for event in events[:2]] == ["admin-key", "boss (key admin-key)"]


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
    keys = parse_keys([f"one:run:{'0' * 64}", DIGEST])
    assert find_key(KEY, keys) is keys[1]
    assert find_key(KEY + " ", keys) is None
    assert find_key("", parse_keys([digest_of("")])) is None
    assert find_key(DIGEST, keys) is None


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
    for path in ("/health", "/nope", "/docs", "/metrics"):  # 200, 404, 200, 401
        headers = exposed.test_client().get(path).headers
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["X-Frame-Options"] == "DENY"
        assert "default-src 'none'" in headers["Content-Security-Policy"]

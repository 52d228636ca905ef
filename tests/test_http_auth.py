"""Authorisation: local clients, remote clients with keys and scopes, and pages of foreign origins."""

import hashlib
import re

import pytest
from pydantic import ValidationError

from enhanced_flask import create_app
from scheduler_service.errors import StorageUnavailable
from scheduler_service.http.contract.contract import required_scope
from scheduler_service.http.guards.auth import find_key
from scheduler_service.http.guards.limits import FAILED_KEYS_BURST, FAILED_LOCAL_BURST
from scheduler_service.http.watch.health import HIDDEN_DETAIL
from scheduler_service.keys import main as keys_tool
from scheduler_service.keys import parse_keys
from scheduler_service.settings import Settings, is_loopback, settings_from_environment

ELSEWHERE = {"REMOTE_ADDR": "192.0.2.1"}
KEY = "correct horse battery staple"
DIGEST = hashlib.sha256(KEY.encode()).hexdigest()
SCOPED = {scope: f"the {scope} key of the plant" for scope in ("run", "read", "admin")}
ENTRIES = tuple(f"{scope}-er:{scope}:{hashlib.sha256(key.encode()).hexdigest()}" for scope, key in SCOPED.items())
OPEN, RUN, READ, ADMIN = None, "run", "read", "admin"
MOVES = (
    "start", "pause", "stop", "stop_arm", "conclude", "archive", "advance", "promote", "revert", "describe", "replay"
)  # fmt: skip
EXPECTED = {
    ("GET", "/access"): OPEN,
    ("GET", "/health"): OPEN,
    ("GET", "/health/live"): OPEN,
    ("GET", "/health/ready"): OPEN,
    ("GET", "/openapi.json"): OPEN,
    ("GET", "/docs"): OPEN,
    ("GET", "/"): OPEN,
    ("GET", "/console/<path:name>"): OPEN,
    ("GET", "/runs"): READ,
    ("GET", "/runs/<request_id>"): READ,
    ("GET", "/plans"): READ,
    ("GET", "/plans/<name>"): READ,
    ("GET", "/plans/<name>/versions"): READ,
    ("GET", "/plans/<name>/compare"): READ,
    ("GET", "/plans/<name>/progress"): READ,
    ("GET", "/plans/<name>/explain"): READ,
    ("GET", "/plans/<name>/advice"): READ,
    ("POST", "/plans/<name>/risk"): READ,
    ("POST", "/plans"): RUN,
    ("POST", "/plans/<name>/progress"): RUN,
    ("POST", "/plans/<name>/replan"): RUN,
    ("POST", "/plans/<name>/publish"): RUN,
    ("POST", "/run_algorithm"): RUN,
    ("POST", "/api/algorithm/run"): RUN,
    ("POST", "/requests/read"): RUN,
    ("POST", "/feedback"): RUN,
    ("PUT", "/runs/<request_id>/name"): RUN,
    ("GET", "/metrics"): READ,
    ("GET", "/performance"): READ,
    ("GET", "/performance/trends"): READ,
    ("GET", "/reports"): READ,
    ("GET", "/models"): READ,
    ("GET", "/models/history"): READ,
    ("GET", "/models/<name>"): READ,
    ("GET", "/models/<name>/outlook"): READ,
    ("GET", "/experiments"): READ,
    ("GET", "/experiments/<name>"): READ,
    ("GET", "/experiments/<name>/assignment"): READ,
    ("GET", "/experiments/<name>/history"): READ,
    ("GET", "/experiments/<name>/results"): READ,
    ("GET", "/experiments/<name>/outlook"): READ,
    ("GET", "/experiments/<name>/replay"): READ,
    ("GET", "/experiments/<name>/course"): READ,
    ("POST", "/experiments/plan"): READ,
    ("GET", "/reports/<name>"): READ,
    ("GET", "/alerts"): READ,
    ("GET", "/alerts/history"): READ,
    ("GET", "/alerts/<alert>"): READ,
    ("GET", "/runs/<request_id>/log"): ADMIN,
    ("GET", "/alerts/thresholds"): READ,
    ("PUT", "/alerts/thresholds/<threshold>"): ADMIN,
    ("DELETE", "/alerts/thresholds/<threshold>"): ADMIN,
    ("POST", "/models/register"): ADMIN,
    ("POST", "/models/<name>/promote"): ADMIN,
    ("POST", "/models/rollback"): ADMIN,
    ("PUT", "/models/default"): ADMIN,
    ("PUT", "/models/tags/<tag>"): ADMIN,
    ("DELETE", "/models/tags/<tag>"): ADMIN,
    ("DELETE", "/models/<name>"): ADMIN,
    ("POST", "/experiments"): ADMIN,
    **{("POST", f"/experiments/<name>/{move}"): ADMIN for move in MOVES},
    ("POST", "/reports/performance"): ADMIN,
    ("POST", "/reports/ab_test"): ADMIN,
    ("POST", "/alerts/<alert>/acknowledge"): ADMIN,
    ("POST", "/alerts/silences"): ADMIN,
    ("DELETE", "/alerts/silences/<number>"): ADMIN,
    ("POST", "/alerts/test"): ADMIN,
}
"""Written by hand, as the expectation for the guard."""


def app_over(home, **options):
    return create_app(Settings(home=home, **({"host": "0.0.0.0", "api_keys": (*ENTRIES, DIGEST)} | options)))


@pytest.fixture(scope="module")
def exposed(tmp_path_factory):
    """A service bound beyond loopback, with a key for each scope and one with all scopes."""
    return app_over(tmp_path_factory.mktemp("exposed"))


@pytest.fixture(scope="module")
def on_loopback(tmp_path_factory):
    return app_over(tmp_path_factory.mktemp("loopback"), host="127.0.0.1", api_keys=())


def routes(app):
    """Every (method, rule) of the URL map; HEAD and OPTIONS have their own tests."""
    rules = app.url_map.iter_rules()
    return sorted((method, rule.rule) for rule in rules for method in rule.methods - {"HEAD", "OPTIONS"})


def called(app, method, rule, **options):
    """The answer to a request that does nothing on any route: its body and names are invalid."""
    sent = {"json": {"unknown": 1}} if method != "GET" else {}
    return app.test_client().open(re.sub("<[^>]+>", "x", rule), method=method, **(sent | options))


def bearer(key):
    return {"Authorization": f"Bearer {key}"}


def test_answers_state_the_scopes_of_the_key_where_keys_are_required(exposed, on_loopback, tmp_path):
    answer = {
        scope: exposed.test_client().get("/models", headers=bearer(key)).headers["X-API-Scopes"]
        for scope, key in SCOPED.items()
    }
    assert answer == {"run": "run", "read": "read", "admin": "admin read run"}
    assert exposed.test_client().get("/models").headers["X-API-Scopes"] == ""  # also in a 401
    assert "X-API-Scopes" not in exposed.test_client().get("/health").headers
    assert "X-API-Scopes" not in on_loopback.test_client().get("/models").headers
    open_to_readers = app_over(tmp_path, anonymous_scopes=("run", "read"))
    assert open_to_readers.test_client().get("/models").headers["X-API-Scopes"] == "read run"


def test_the_table_names_every_route(exposed):
    assert set(routes(exposed)) == set(EXPECTED)


def test_each_route_requires_exactly_its_scope(exposed):
    presented = [(None, {}), ("wrong", bearer("wrong")), *((scope, bearer(key)) for scope, key in SCOPED.items())]
    for method, rule in routes(exposed):
        wanted = EXPECTED[method, rule]
        for who, headers in presented:
            answer = called(exposed, method, rule, headers=headers)
            place = (method, rule, who, answer.status_code)
            if (rule, who) == ("/access", "wrong"):  # open to all, and reports that a key is unknown
                assert answer.status_code == 401, place
            elif wanted is OPEN or who in (wanted, "admin"):
                assert answer.status_code not in (401, 403, 429, 500), place
            elif who in (None, "wrong"):
                assert answer.status_code == 401, place
                assert answer.headers["WWW-Authenticate"] == "Bearer"
                assert answer.mimetype == "application/problem+json"
            else:
                assert answer.status_code == 403, place
                assert (answer.json["code"], answer.json["params"]["wanted"]) == ("missing_scope", wanted)
                assert answer.mimetype == "application/problem+json"


def test_head_requires_the_scope_of_get(exposed):
    for method, rule in routes(exposed):
        if method == "GET":
            answer = called(exposed, "HEAD", rule, json=None)
            assert (answer.status_code == 401) == (EXPECTED[method, rule] in (READ, ADMIN)), rule


def test_a_route_missing_in_the_table_requires_admin(tmp_path):
    app = app_over(tmp_path)
    app.add_url_rule("/new", "new.thing", dict, methods=["POST", "PATCH"])
    app.add_url_rule("/seen", "new.seen", dict)
    for method in ("POST", "PATCH"):
        assert called(app, method, "/new").status_code == 401
        assert called(app, method, "/new", headers=bearer(SCOPED["run"])).status_code == 403
        assert called(app, method, "/new", headers=bearer(SCOPED["admin"])).status_code == 200
    assert called(app, "GET", "/seen").status_code == 401
    with app.app_context():
        assert required_scope("BREW", "whatever") == "admin"


def test_preflights_are_answered_on_every_route_without_a_key(exposed):
    for method, rule in routes(exposed):
        headers = {"Origin": "http://localhost:8080", "Access-Control-Request-Method": method}
        answer = called(exposed, "OPTIONS", rule, headers=headers, json=None)
        assert answer.status_code == 200, rule
        assert answer.headers["Access-Control-Allow-Origin"] == "http://localhost:8080"
        assert method in answer.headers["Access-Control-Allow-Methods"]


@pytest.mark.parametrize(
    "headers", [{"Authorization": f"Bearer {KEY}"}, {"X-API-Key": KEY}, {"Authorization": f"bearer {KEY}"}]
)
def test_a_key_without_listed_scopes_has_every_scope(exposed, headers):
    for method, rule in (("POST", "/run_algorithm"), ("GET", "/models"), ("POST", "/experiments")):
        assert called(exposed, method, rule, headers=headers).status_code in (200, 422)


@pytest.mark.parametrize(
    "headers", [{"Authorization": "Bearer "}, {"Authorization": f"Basic {KEY}"}, {"X-API-Key": ""}]
)
def test_invalid_keys_are_refused(exposed, headers):
    assert called(exposed, "POST", "/experiments", headers=headers).status_code == 401


def test_without_a_key_the_configured_scopes_apply(tmp_path):
    app = app_over(tmp_path, api_keys=(), anonymous_scopes=("run", "read"))
    assert called(app, "POST", "/run_algorithm").status_code == 422
    assert called(app, "GET", "/models").status_code == 200
    refused = called(app, "POST", "/experiments")
    assert (refused.status_code, refused.json["code"]) == (401, "missing_key")


@pytest.mark.parametrize("path", ["/health", "/health/ready"])
def test_health_without_the_read_scope_shows_only_the_state_of_the_parts(exposed, on_loopback, path, tmp_path):
    def parts(app, headers=None):
        answer = app.test_client().get(path, headers=headers)
        assert answer.status_code in (200, 503)
        return answer.json["parts"]

    whole = parts(on_loopback)
    assert "DDQN" in whole["models"]["detail"]
    hidden = {name: {"status": part["status"], "detail": HIDDEN_DETAIL} for name, part in whole.items()}
    assert parts(exposed) == hidden
    assert parts(exposed, bearer(SCOPED["run"])) == hidden
    assert parts(exposed, bearer("wrong")) == hidden
    assert "DDQN" in parts(exposed, bearer(SCOPED["read"]))["models"]["detail"]
    assert "DDQN" in parts(app_over(tmp_path, anonymous_scopes=("read",)))["models"]["detail"]


def test_health_counts_failed_keys_too(tmp_path):
    client = app_over(tmp_path).test_client()
    for _ in range(FAILED_KEYS_BURST):
        assert client.get("/health/ready", headers=bearer("wrong"), environ_base=ELSEWHERE).status_code in (200, 503)
    right = client.get("/health/ready", headers=bearer(SCOPED["read"]), environ_base=ELSEWHERE)
    assert right.json["parts"]["models"]["detail"] == HIDDEN_DETAIL
    assert client.get("/models", headers=bearer(SCOPED["read"]), environ_base=ELSEWHERE).status_code == 429


def test_paths_are_not_shown_without_the_read_scope(tmp_path):
    app = app_over(tmp_path)

    def fail():
        folder = str(tmp_path / "models")
        raise StorageUnavailable("home_not_written", folder=folder, reason=f"{folder} is full", folders=[folder])

    endpoint = "runs.post_run_algorithm"
    fail.contract = app.view_functions[endpoint].contract
    app.view_functions[endpoint] = fail
    for scope in ("run", "admin"):
        answer = app.test_client().post("/run_algorithm", json={"params": [5.0] * 15}, headers=bearer(SCOPED[scope]))
        assert answer.status_code == 503, answer.text
        assert (str(tmp_path) in answer.text) == (scope == "admin")


def test_unknown_keys_from_loopback_share_one_limit_and_valid_keys_still_work(tmp_path):
    client = app_over(tmp_path).test_client()
    wrong = [bearer(f"wrong {number}") for number in range(FAILED_LOCAL_BURST + 50)]
    answer = [client.get("/models", headers=headers).status_code for headers in wrong]
    assert answer[:FAILED_LOCAL_BURST] == [401] * FAILED_LOCAL_BURST
    assert 429 in answer[FAILED_LOCAL_BURST:]
    assert client.get("/models", headers=bearer(SCOPED["read"])).status_code == 200


def test_on_loopback_no_key_is_required_and_a_proxys_token_is_ignored(on_loopback):
    for headers in ({}, bearer("the token of a session elsewhere")):
        assert called(on_loopback, "POST", "/experiments", headers=headers).status_code == 422


def test_on_loopback_a_given_key_is_still_checked(tmp_path):
    app = app_over(tmp_path, host="127.0.0.1")
    assert called(app, "POST", "/experiments").status_code == 422
    assert called(app, "POST", "/experiments", headers=bearer("wrong")).status_code == 401
    assert called(app, "POST", "/experiments", headers=bearer(SCOPED["read"])).status_code == 403
    assert called(app, "GET", "/health", headers=bearer("wrong")).status_code == 200


# --- histories and log ---


def test_histories_record_the_key_and_the_claimed_name(exposed):
    client = exposed.test_client()
    for name, actor in (("a", None), ("b", "Li Wei"), ("c", "Li Wei (key: boss)"), ("d", "x" * 200)):
        body = {"experiment_name": name, "model_a": "DDQN_v1.0", "model_b": "DDQN_v2.0"}
        sent = body if actor is None else body | {"actor": actor}
        assert client.post("/experiments", json=sent, headers=bearer(SCOPED["admin"])).status_code == 201

    def recorded(name):
        return client.get(f"/experiments/{name}/history", headers=bearer(KEY)).json["history"][0]["actor"]

    assert recorded("a") == "admin-er"
    assert recorded("b") == "Li Wei (key: admin-er)"
    assert recorded("c") == "Li Wei (not a key: boss) (key: admin-er)"
    assert recorded("d").endswith("x (key: admin-er)")
    assert len(recorded("d")) == 200


def test_without_a_key_the_claimed_name_is_recorded_unchanged(on_loopback):
    body = {"experiment_name": "e", "model_a": "DDQN_v1.0", "model_b": "DDQN_v2.0", "actor": "Li Wei"}
    assert on_loopback.test_client().post("/experiments", json=body).status_code == 201
    history = on_loopback.test_client().get("/experiments/e/history").json["history"]
    assert history[0]["actor"] == "Li Wei"


def test_the_log_names_the_key_of_every_change_and_contains_no_key(exposed, caplog):
    with caplog.at_level("INFO"):
        called(exposed, "DELETE", "/alerts/silences/<number>", headers=bearer(SCOPED["admin"]))
        called(exposed, "DELETE", "/alerts/silences/<number>", headers={"X-API-Key": "a wrong key"})
    assert "DELETE /alerts/silences/x by key admin-er from 127.0.0.1: 404" in caplog.text
    assert "an unknown API key from 127.0.0.1" in caplog.text
    assert SCOPED["admin"] not in caplog.text
    assert "a wrong key" not in caplog.text


# --- foreign pages ---


@pytest.mark.parametrize(
    "origin", ["https://evil.example", "null", "http://localhost.evil.example", "http://localhost:80x"]
)
def test_a_foreign_page_can_neither_change_nor_run_nor_read(tmp_path, origin):
    client = create_app(Settings(home=tmp_path)).test_client()
    for method, path in (("POST", "/reports/performance"), ("POST", "/run_algorithm"), ("GET", "/models")):
        assert client.open(path, method=method, headers={"Origin": origin}).status_code == 403, path
    assert client.post("/models/register", data={"file": "x"}, headers={"Origin": origin}).status_code == 403


@pytest.mark.parametrize(
    ("settings", "host", "is_ours"),
    [
        ({}, "localhost:5001", True),
        ({}, "127.0.0.1", True),
        ({}, "[::1]:5001", True),
        ({}, "10.1.2.3", False),
        ({}, "scheduler", False),
        ({}, "[::1", False),
        ({}, "evil.example", False),
        ({"allowed_hosts": "plant.example, Other.example"}, "OTHER.example:443", True),
        ({"host": "0.0.0.0"}, "10.1.2.3:5001", True),
        ({"host": "0.0.0.0"}, "[fd00::1]:5001", True),
        ({"host": "0.0.0.0"}, "scheduler:5001", True),
        ({"host": "0.0.0.0"}, "evil.example:5001", False),
        ({"host": "0.0.0.0", "allowed_hosts": "plant.example"}, "plant.example", True),
        ({"host": "0.0.0.0", "allowed_hosts": "plant.example"}, "plant.example.evil.example", False),
    ],
)
def test_only_the_services_own_host_names_are_accepted(tmp_path, settings, host, is_ours):
    client = create_app(Settings(home=tmp_path, anonymous_scopes="read", **settings)).test_client()
    answer = client.get("/models", headers={"Host": host})
    assert answer.status_code == (200 if is_ours else 403), answer.text
    if not is_ours:
        assert answer.json["code"] == "unknown_host"


def test_the_services_own_pages_are_allowed(tmp_path):
    client = create_app(Settings(home=tmp_path)).test_client()
    for origin in ("http://localhost:8080", "http://127.0.0.1:3000", "http://localhost"):
        answer = client.post("/experiments/x/stop", headers={"Origin": origin})
        assert answer.status_code == 404, origin


def test_cors_allows_listed_origins_only(tmp_path):
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
def test_loopback_addresses_are_recognised(host, is_it):
    assert is_loopback(host) is is_it


def test_a_key_is_recognised_by_its_digest():
    keys = parse_keys(("0" * 64, DIGEST))
    assert find_key(KEY, keys) == 1
    assert find_key(KEY + " ", keys) is None
    assert find_key(DIGEST, keys) is None
    assert find_key("", parse_keys((hashlib.sha256(b"").hexdigest(),))) is None


@pytest.mark.parametrize(
    ("entries", "expected"),
    [
        ("my-secret-key", "entry 1 must be"),
        (f"{DIGEST},vue:run:my-secret-key", "entry 2: the digest"),
        (f"vue:root:{DIGEST}", "entry 1: 1 unknown scope"),
        (f"vue::{DIGEST}", "entry 1: 1 unknown scope"),
        (f"a b:run:{DIGEST}", "entry 1: a name"),
        (f"{'x' * 33}:run:{DIGEST}", "entry 1: a name"),
        (f"key2:run:{'0' * 64},{DIGEST}", "entry 2 has the name of entry 1"),
        (f"a:run:{DIGEST},b:read:{DIGEST.upper()}", "entry 2 has the digest of entry 1"),
    ],
)
def test_an_invalid_entry_is_named_by_its_number_and_not_shown(monkeypatch, entries, expected):
    monkeypatch.setenv("SCHED_API_KEYS", entries)
    settings_from_environment.cache_clear()
    with pytest.raises(SystemExit) as refused:
        settings_from_environment()
    assert expected in str(refused.value)
    assert "my-secret-key" not in str(refused.value)
    assert DIGEST not in str(refused.value)


def test_admin_cannot_be_granted_without_a_key():
    with pytest.raises(ValidationError, match="run, read"):
        Settings(anonymous_scopes="run,admin")


def test_the_tool_creates_a_key_with_the_given_scopes(tmp_path, capsys):
    assert keys_tool(["--name", "vue", "--scopes", "run,read"]) == 0
    key, entry = re.fullmatch(r"key:   (\S+)\nentry: (\S+)\n", capsys.readouterr().out).groups()
    assert entry.startswith("vue:run+read:")
    assert key not in entry
    app = app_over(tmp_path, api_keys=(entry,))
    assert called(app, "GET", "/models", headers=bearer(key)).status_code == 200
    assert called(app, "POST", "/experiments", headers=bearer(key)).status_code == 403


@pytest.mark.parametrize("arguments", [["--name", "a b"], ["--name", "x", "--scopes", "root"], []])
def test_the_tool_refuses_invalid_entries(arguments):
    with pytest.raises(SystemExit):
        keys_tool(arguments)


# --- headers of all answers ---


def test_a_valid_request_id_is_kept_and_others_are_replaced(exposed):
    client = exposed.test_client()
    assert client.get("/health", headers={"X-Request-ID": "abc-123"}).headers["X-Request-ID"] == "abc-123"
    for bad in ("", "a b", "x" * 101, "算法", "<script>"):
        given = client.get("/health", headers={"X-Request-ID": bad.encode("utf-8").decode("latin-1")}).headers[
            "X-Request-ID"
        ]
        assert len(given) == 36
        assert given != bad
    assert client.get("/nope", headers={"X-Request-ID": "also-on-errors"}).headers["X-Request-ID"] == "also-on-errors"


def test_every_kind_of_answer_has_the_security_headers(tmp_path):
    app = app_over(tmp_path, rate_limit=1)

    def broken():
        raise RuntimeError("a defect")

    app.add_url_rule("/broken", "broken", broken)
    seen = set()

    def check(method, path, **options):
        answer = app.test_client().open(path, method=method, **options)
        seen.add(answer.status_code)
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["X-Frame-Options"] == "DENY"
        assert answer.headers["Cache-Control"] == "no-store"
        assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
        assert answer.headers["X-Request-ID"]

    admin = bearer(SCOPED["admin"])
    for path in ("/health", "/docs", "/nope", "/static/x.js", "/models"):  # 200, 404, 401
        check("GET", path)
    check("GET", "/run_algorithm")  # 405 is answered before the body is read
    check("GET", "/broken", headers=admin)  # 500
    check("POST", "/experiments", headers=admin | {"Origin": "https://evil.example"}, json={})  # 403
    check("POST", "/experiments", headers=admin, data="{", content_type="application/json")  # 400
    check("POST", "/experiments", headers=admin, data="{}", content_type="text/plain")  # 415
    check("POST", "/experiments", headers=admin, json={})  # 422
    check("POST", "/experiments", headers=admin, data=b"x" * 9_000_000, content_type="application/json")  # 413
    for _ in range(25):
        check("GET", "/models", headers=admin)
    assert {200, 400, 401, 403, 404, 405, 413, 415, 422, 429, 500} <= seen


# --- querying the scopes of a key ---


def granted(app, headers=None):
    answer = app.test_client().get("/access", headers=headers or {}, environ_base=ELSEWHERE)
    return answer.status_code, answer.get_json()


@pytest.mark.parametrize(
    ("scope", "scopes"), [("run", ["run"]), ("read", ["read"]), ("admin", ["admin", "read", "run"])]
)
def test_a_key_can_query_its_scopes(exposed, scope, scopes):
    status, result = granted(exposed, bearer(SCOPED[scope]))
    assert status == 200
    assert result.items() >= {"key": f"{scope}-er", "scopes": scopes, "without_key": [], "needs_key": True}.items()


def test_an_unknown_key_is_refused_and_counted_here_as_well(tmp_path):
    app = app_over(tmp_path)
    guesses = [granted(app, bearer(f"guess {n}"))[0] for n in range(FAILED_KEYS_BURST + 2)]
    assert (guesses[0], guesses[-1]) == (401, 429)
    assert granted(app, bearer(KEY))[0] == 429, "the address stays blocked even with a valid key"


def test_a_client_without_a_key_can_query_the_open_scopes(exposed, on_loopback, tmp_path):
    assert granted(exposed)[1].items() >= {"key": None, "scopes": [], "needs_key": True}.items()
    reading = app_over(tmp_path, anonymous_scopes=("read",))
    assert granted(reading)[1].items() >= {"scopes": ["read"], "without_key": ["read"], "needs_key": True}.items()
    alone = {"key": None, "scopes": ["admin", "read", "run"], "needs_key": False, "knows_keys": False}
    assert granted(on_loopback)[1].items() >= alone.items()
    assert granted(on_loopback, bearer("a key of another service"))[1].items() >= alone.items()

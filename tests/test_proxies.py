"""SCHED_TRUSTED_PROXIES: the client's address with and without a trusted proxy. With a real proxy: test_front.py."""

import hashlib

import pytest
from pydantic import ValidationError

from enhanced_flask import create_app
from scheduler_service.http.guards.limits import FAILED_KEYS_BURST
from scheduler_service.settings import Settings

KEY = "the key of a client behind a proxy"
ENTRY = f"ops:admin:{hashlib.sha256(KEY.encode()).hexdigest()}"
PROXY, OTHER = "10.1.2.3", "192.0.2.7"


@pytest.fixture
def client(tmp_path):
    settings = Settings(
        home=tmp_path, api_keys=ENTRY, trusted_proxies="10.0.0.0/8, fd00::/8", allowed_hosts="a.example"
    )
    return create_app(settings).test_client()


def status_of(client, forwarded, *, by=PROXY, key=KEY, **headers):
    sent = {"X-Forwarded-For": forwarded, "X-API-Key": key, **headers}
    return client.get("/models", environ_base={"REMOTE_ADDR": by}, headers=sent).status_code


def guess(client, forwarded, *, by=PROXY):
    assert {status_of(client, forwarded, by=by, key="a guess") for _ in range(FAILED_KEYS_BURST)} == {401}


@pytest.mark.parametrize("by", [PROXY, "fd00::1", f"::ffff:{PROXY}"])
def test_a_guesser_behind_a_proxy_blocks_only_itself(client, by):
    guess(client, "203.0.113.1", by=by)
    assert status_of(client, "203.0.113.1", by=by) == 429
    assert status_of(client, "203.0.113.2", by=by) == 200


def test_forged_entries_before_that_of_the_proxy_are_ignored(client):
    for number in range(FAILED_KEYS_BURST):
        assert status_of(client, f"198.51.100.{number}, 203.0.113.1", key="a guess") == 401
    assert status_of(client, "198.51.100.99, 203.0.113.1") == 429


def test_an_untrusted_proxy_is_ignored(client):
    guess(client, "203.0.113.1", by=OTHER)
    assert status_of(client, "203.0.113.2", by=OTHER) == 429
    assert status_of(client, "203.0.113.1") == 200


def test_with_a_tls_proxy_the_pages_are_https(client):
    page = {"Host": "a.example", "Origin": "https://a.example"}
    assert status_of(client, "203.0.113.1", **page, **{"X-Forwarded-Proto": "https"}) == 200
    assert status_of(client, "203.0.113.1", **page) == 403
    assert status_of(client, "203.0.113.1", by=OTHER, **page, **{"X-Forwarded-Proto": "https"}) == 403


def test_behind_a_proxy_loopback_needs_a_key(tmp_path):
    client = create_app(Settings(home=tmp_path, trusted_proxies="127.0.0.1")).test_client()
    assert client.get("/models").status_code == 401
    assert client.get("/health/live").status_code == 200


def test_an_invalid_network_is_refused(tmp_path):
    with pytest.raises(ValidationError, match="trusted_proxies"):
        Settings(home=tmp_path, trusted_proxies="everybody")

"""How often a client may ask, and what an API key is."""

import subprocess
import sys

import pytest
from pydantic import ValidationError

from enhanced_flask import create_app
from scheduler_service.errors import TooManyRequests
from scheduler_service.http.limits import RateLimit
from scheduler_service.keys import digest_of, find_key, parse_keys
from scheduler_service.settings import Settings
from tests.conftest import ROOT


class Clock:
    now_s = 1_000.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def limit(request):
    """60 a minute, 5 at once; and its clock."""
    clock = Clock()
    return RateLimit("test", 60, 5, salt=request.node.name, clock=clock), clock


def _taken(limit: RateLimit, client: str, tries: int) -> int:
    taken = 0
    for _ in range(tries):
        try:
            limit.take(client)
        except TooManyRequests:
            continue
        taken += 1
    return taken


def test_a_burst_is_let_through_and_then_one_for_each_interval(limit):
    limited, clock = limit
    assert _taken(limited, "a", 20) == 5
    clock.now_s += 3.0
    assert _taken(limited, "a", 20) == 3
    clock.now_s += 3_600.0
    assert _taken(limited, "a", 20) == 5, "what was not used is not saved up"


def test_one_client_does_not_use_up_what_another_may(limit):
    limited, _ = limit
    assert _taken(limited, "a", 20) == 5
    assert _taken(limited, "b", 20) == 5


def test_who_comes_when_told_is_let_in(limit):
    limited, clock = limit
    _taken(limited, "a", 5)
    with pytest.raises(TooManyRequests) as caught:
        limited.take("a")
    clock.now_s += caught.value.retry_after_s
    limited.take("a")


def test_the_long_run_rate_is_the_limit(limit):
    limited, clock = limit
    taken = 0
    for _ in range(6_000):  # ten minutes, ten requests a second
        clock.now_s += 0.1
        taken += _taken(limited, "a", 1)
    assert taken == pytest.approx(600, abs=6)


def test_processes_share_a_limit():
    """As forked workers do: what a child takes, its parent cannot."""
    code = """
import os
from scheduler_service.http.limits import RateLimit
from scheduler_service.errors import TooManyRequests
def taken():
    n = 0
    for _ in range(10):
        try:
            RateLimit("shared", 6, 10).take("a"); n += 1
        except TooManyRequests:
            pass
    return n
read, write = os.pipe()
if os.fork() == 0:
    os.write(write, bytes([taken() - 4])); os._exit(0)
os.wait()
print(os.read(read, 1)[0], taken())
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["6", "0"]


@pytest.fixture
def strict(tmp_path):
    """A service beyond loopback that lets a key ask sixty times a minute, two at once."""
    entries = [f"vue:run+read:{digest_of('a')}", f"spring:run:{digest_of('b')}"]
    return create_app(Settings(home=tmp_path, host="0.0.0.0", api_keys=",".join(entries), rate_limit=60)).test_client()


def test_over_the_limit_a_key_gets_429_and_is_told_when_to_come_back(strict):
    answers = [strict.get("/models", headers={"X-API-Key": "a"}) for _ in range(5)]
    assert [answer.status_code for answer in answers] == [200, 200, 429, 429, 429]
    assert answers[0].headers["RateLimit"].startswith('"requests";r=1;')
    refused = answers[-1]
    assert refused.mimetype == "application/problem+json"
    assert int(refused.headers["Retry-After"]) >= 1
    assert refused.headers["RateLimit-Policy"] == '"requests";q=60;w=60'
    other = strict.post("/run_algorithm", json={}, headers={"X-API-Key": "b"})
    assert other.status_code == 422, "another key has its own allowance"


def test_probes_are_never_limited(strict):
    assert {strict.get("/health/live").status_code for _ in range(50)} == {200}


def test_who_guesses_keys_is_slowed_down_and_the_right_key_still_works(tmp_path):
    settings = Settings(home=tmp_path, host="0.0.0.0", api_keys=(digest_of("right"),), rate_limit=0)
    client = create_app(settings).test_client()
    statuses = [client.get("/models", headers={"X-API-Key": f"guess {number}"}).status_code for number in range(60)]
    assert statuses[:20] == [401] * 20
    assert set(statuses[20:]) == {429}
    assert client.get("/models", headers={"X-API-Key": "right"}).status_code == 200


def test_on_loopback_nobody_is_limited(tmp_path):
    client = create_app(Settings(home=tmp_path, rate_limit=1)).test_client()
    assert {client.get("/models").status_code for _ in range(20)} == {200}


# --- keys ---


def test_a_key_has_its_name_and_scopes():
    (key, full) = parse_keys([f"vue:run+read:{digest_of('a').upper()}", digest_of("b")])
    assert (key.name, key.scopes) == ("vue", {"run", "read"})
    assert key.may("run")
    assert not key.may("admin")
    assert full.name == "key2"
    assert all(full.may(scope) for scope in ("run", "read", "admin"))


@pytest.mark.parametrize(
    ("entry", "told"),
    [
        ("my-plain-key", "entry 2 must be"),
        ("vue:run:my-plain-key", "entry 2 must be"),
        (f"vue:root:{digest_of('x')}", "entry 2: the scopes"),
        (f"vue::{digest_of('x')}", "entry 2: the scopes"),
        (f"a b:run:{digest_of('x')}", "entry 2: the name"),
        (f"first:run:{digest_of('x')}", "used twice"),
    ],
)
def test_an_entry_that_is_none_is_refused_without_being_shown(tmp_path, entry, told):
    good = f"first:run:{digest_of('a')}"
    with pytest.raises(ValidationError) as caught:
        Settings(home=tmp_path, api_keys=f"{good},{entry}")
    assert told in str(caught.value)
    assert "my-plain-key" not in str(caught.value)


def test_a_plain_key_by_mistake_is_not_shown_when_the_start_fails(tmp_path):
    done = subprocess.run(
        [sys.executable, ROOT / "enhanced_flask.py"],
        env={"SCHED_HOME": str(tmp_path), "SCHED_API_KEYS": "my-plain-key", "PATH": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode != 0
    assert "SCHED_API_KEYS" in done.stderr
    assert "my-plain-key" not in done.stderr + done.stdout


def test_the_tool_makes_a_key_that_its_entry_knows():
    command = [sys.executable, "-m", "scheduler_service.keys", "--name", "vue", "--scopes", "run,read"]
    told = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()
    key, entry = told[1].strip(), told[3].strip()
    found = find_key(key, parse_keys([entry]))
    assert found is not None
    assert found.scopes == {"run", "read"}
    assert find_key(key + " ", parse_keys([entry])) is None


def test_the_tool_names_what_is_wrong():
    command = [sys.executable, "-m", "scheduler_service.keys", "--name", "vue", "--scopes", "everything"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "run, read, admin" in done.stderr

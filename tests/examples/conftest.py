"""The service used by the example clients."""

import hashlib
from collections.abc import Iterator

import pytest

from tests.conftest import LiveService, live_service
from tests.examples.field import KEYS, PER_MINUTE, experiment


@pytest.fixture(scope="module")
def plant(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveService]:
    """A service whose keys allow two requests a second; the tests themselves use none and are not limited."""
    entries = [f"{name}:{scope}:{hashlib.sha256(name.encode()).hexdigest()}" for name, scope in KEYS.items()]
    environment = {
        "SCHED_API_KEYS": ",".join(entries),
        "SCHED_RATE_LIMIT": str(PER_MINUTE),
        "SCHED_ALERT_THRESHOLDS": '{"max_makespan": 1}',
    }
    with live_service(tmp_path_factory.mktemp("plant"), environment=environment) as running:
        experiment(running, "ddqn_v1_vs_v2")
        yield running

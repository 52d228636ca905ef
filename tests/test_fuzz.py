"""For any bytes a reader returns a value or raises one of its errors, quickly."""

import json
from contextlib import suppress

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from scheduler_env.errors import InvalidInstance
from scheduler_service.errors import InvalidInput, ServiceError
from scheduler_service.http.bodies import parse_json, validated
from scheduler_service.http.contract.runs import RunRequest
from tests.fuzz.parsers import READERS, SEEDS, one_input

MOST_ERRORS = 100
"""An answer lists at most this many mistakes."""
BOUNDED = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True)

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=10), inner, max_size=5),
    max_leaves=20,
)


def outcome(reader, data: bytes) -> None:
    with suppress(ServiceError, InvalidInstance):
        reader(data)


@pytest.mark.parametrize("reader", READERS, ids=lambda reader: reader.__name__)
def test_the_seeds_are_read_without_error(reader):
    for seed in SEEDS[reader]:
        reader(seed)


@pytest.mark.parametrize("number", range(len(READERS)), ids=lambda number: READERS[number].__name__)
@BOUNDED
@given(data=st.binary(max_size=200))
def test_any_bytes_give_a_value_or_a_known_error(number, data):
    one_input(bytes([number]) + data)


@pytest.mark.parametrize("reader", READERS[:4], ids=lambda reader: reader.__name__)
@BOUNDED
@given(data=st.data())
def test_a_valid_document_with_one_member_replaced_gives_a_value_or_a_known_error(reader, data):
    document = json.loads(SEEDS[reader][-1])
    place = document
    while True:
        key = data.draw(st.sampled_from(list(place) if isinstance(place, dict) else list(range(len(place)))))
        inner = place[key]
        if not inner or not isinstance(inner, dict | list) or data.draw(st.booleans()):
            break
        place = inner
    place[key] = data.draw(json_values)
    outcome(reader, json.dumps(document).encode())


@pytest.mark.parametrize(
    "body",
    [
        {"params": [1] * 15, "charts": ["x"] * 200_000},
        {"params": [1] * 15, "charts": {"x": 1}},
        {f"k{number}": 1 for number in range(100_000)},
    ],
    ids=["charts", "an object for charts", "fields"],
)
def test_many_mistakes_are_refused_with_a_short_message(body):
    with pytest.raises(InvalidInput) as refused:
        validated(RunRequest, parse_json(json.dumps(body).encode()))
    # 600,000 messages about 200,000 charts took 25 s.
    assert 1 <= len(refused.value.errors) <= MOST_ERRORS
    assert len(str(refused.value)) < 10_000

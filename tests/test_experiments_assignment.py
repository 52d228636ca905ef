"""Assignment of users to arms: the published test vectors, and the guarantees of a split."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scheduler_service.experiments.assignment import bucket, bucket_ranges, choose
from scheduler_service.settings import PROJECT_ROOT, Settings
from tests.properties import examples

VECTORS = Settings().data / "growthbook_hash_cases.json"
BUCKETS = [number / 10_000 for number in range(10_000)]


@pytest.fixture(scope="module")
def vectors():
    if not VECTORS.is_file():
        pytest.skip(f"the public vectors are not at {VECTORS}; set SCHED_DATA")
    return json.loads(VECTORS.read_text(encoding="utf-8"))


def test_the_public_hash_vectors_pass(vectors):
    for seed, value, version, expected in vectors["hash"]:
        if expected is None:
            with pytest.raises(ValueError, match="no hash version"):
                bucket(seed, value, version)
        else:
            assert bucket(seed, value, version) == expected, (seed, value, version)


def test_the_public_bucket_range_vectors_pass(vectors):
    for name, (arms, coverage, weights), expected in vectors["getBucketRange"]:
        ranges = bucket_ranges(arms, coverage, weights)
        assert [list(limits) for limits in ranges] == [pytest.approx(limits, abs=1e-9) for limits in expected], name


def test_the_public_choice_vectors_pass(vectors):
    for name, unit_bucket, ranges, expected in vectors["chooseVariation"]:
        chosen = choose(unit_bucket, [tuple(limits) for limits in ranges])
        assert (-1 if chosen is None else chosen) == expected, name


def test_the_public_namespace_vectors_follow_from_hash_and_choice(vectors):
    for name, user_id, (namespace, low, high), expected in vectors["inNamespace"]:
        is_inside = choose(bucket(f"__{namespace}", user_id, version=1), [(low, high)]) == 0
        assert is_inside is expected, name


@given(seed=st.text(), unit_id=st.text(alphabet=st.characters(exclude_categories=())))
@settings(deadline=None)
def test_every_text_has_one_bucket_between_0_and_1(seed, unit_id):
    first = bucket(seed, unit_id)
    assert first in BUCKETS
    assert bucket(seed, unit_id) == first


def test_ids_are_hashed_as_utf_8():
    # FNV-1a of the bytes, implemented independently of the code under test.
    def fnv(data):
        value = 2166136261
        for byte in data:
            value = (value ^ byte) * 16777619 % 2**32
        return value

    inner = fnv("实验用户_张三".encode())
    assert bucket("实验", "用户_张三") == fnv(str(inner).encode("ascii")) % 10_000 / 10_000


def test_another_process_computes_the_same_buckets():
    code = (
        "from scheduler_service.experiments.assignment import bucket\n"
        "print([bucket('exp', f'用户{n}') for n in range(50)])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=PROJECT_ROOT,
        env={"PYTHONHASHSEED": "12345", "PATH": str(Path(sys.executable).parent)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == str([bucket("exp", f"用户{n}") for n in range(50)])


@st.composite
def _rebalanced(draw):
    """(weights, arm, weights in which only that arm has grown), in thousandths."""
    parts = draw(st.lists(st.integers(0, 300), min_size=2, max_size=5).filter(lambda found: 0 < sum(found) <= 1000))
    parts[draw(st.integers(0, len(parts) - 1))] += 1000 - sum(parts)
    grown = draw(st.integers(0, len(parts) - 1))
    after = [draw(st.integers(0, part)) if arm != grown else 0 for arm, part in enumerate(parts)]
    after[grown] = 1000 - sum(after)
    return [part / 1000 for part in parts], grown, [part / 1000 for part in after]


@given(_rebalanced())
@examples(60)
def test_raising_a_share_moves_no_unit_out_of_that_arm(case):
    before, grown, after = case
    old, new = bucket_ranges(len(before), 1.0, before), bucket_ranges(len(after), 1.0, after)
    moved = [place for place in BUCKETS if choose(place, old) == grown and choose(place, new) != grown]
    assert moved == []


@given(
    weights=st.sampled_from([[0.5, 0.5], [0.7, 0.3], [0.1, 0.2, 0.7], [0.25] * 4]),
    low=st.integers(0, 100),
    high=st.integers(0, 100),
)
@examples(60)
def test_raising_the_coverage_moves_no_unit_out_of_its_arm(weights, low, high):
    low, high = sorted((low, high))
    before = bucket_ranges(len(weights), low / 100, weights)
    after = bucket_ranges(len(weights), high / 100, weights)
    assert all(choose(place, before) in (None, choose(place, after)) for place in BUCKETS)


def test_shares_whose_floating_point_sum_is_not_1_cover_every_bucket():
    ranges = bucket_ranges(3, 1.0, [0.1, 0.2, 0.7])  # 0.1 + 0.2 = 0.30000000000000004
    assert [choose(place, ranges) for place in (0.0999, 0.1, 0.2999, 0.3, 0.9999)] == [0, 1, 1, 2, 2]


@pytest.mark.parametrize("weights", [[0.7, 0.3], [0.9, 0.1], [0.2, 0.3, 0.5]])
def test_the_shares_of_many_users_match_the_split(weights):
    from scipy import stats

    ranges = bucket_ranges(len(weights), 1.0, weights)
    chosen = [choose(bucket("share_test", f"user_{number}"), ranges) for number in range(20_000)]
    counts = [chosen.count(arm) for arm in range(len(weights))]
    assert stats.chisquare(counts, [20_000 * weight for weight in weights]).pvalue > 1e-3


@pytest.mark.parametrize(
    ("first", "second"), [("exp1", "exp2"), ("ddqn_v1_vs_v2", "ddqn_v1_vs_v3"), ("a", "b"), ("production_test", "x")]
)
def test_the_splits_of_two_experiments_are_independent(first, second):
    from scipy import stats

    ranges = bucket_ranges(2)
    table = [[0, 0], [0, 0]]
    for number in range(20_000):
        user_id = f"user_{number}"
        table[choose(bucket(first, user_id), ranges)][choose(bucket(second, user_id), ranges)] += 1
    assert stats.chi2_contingency(table).pvalue > 1e-3

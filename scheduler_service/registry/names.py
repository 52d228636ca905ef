"""Names of models: keys, short names, versions and tags. Pure.

    key          DDQN_1a2b3c4d_v2.0.0    algorithm, first 8 hex digits of the configuration's SHA-256, version
    short name   DDQN_v2.0, DDQN_1a2b3c4d_v2    the version may be partial; it matches all that start with it
    tag          DDQN:stable, or stable if only one algorithm has that tag

The three are unambiguous: only keys and short names end in `_v<numbers>`, only tags contain a colon.
"""

import hashlib
import json
import re
from collections.abc import Collection
from typing import Literal, NamedTuple

from scheduler_env.values import shortened
from scheduler_service.errors import InvalidInput, ModelConflict

Bump = Literal["major", "minor", "patch"]

LATEST = "latest"
"""The tag that each registration moves to the new model."""
STABLE = "stable"
"""The tag that each deployment moves, and a rollback moves back."""

MAX_NUMBER = 999_999
"""Limit of each number of a version."""

_ALGORITHM = r"[A-Za-z][A-Za-z0-9_-]{0,31}"
_NUMBER = r"(?:0|[1-9][0-9]{0,5})"
_VERSIONED = re.compile(rf"({_ALGORITHM}?)(?:_([0-9a-f]{{8}}))?_v({_NUMBER}(?:\.{_NUMBER}){{0,2}})")
_TAG = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,63}")


class Version(NamedTuple):
    """A semantic version; sorts by its numbers."""

    major: int
    minor: int
    patch: int

    def __str__(self) -> str:
        return f"{self.major}.{self.minor}.{self.patch}"


class ShortName(NamedTuple):
    """The parts of a key or a short name; `numbers` are the first one to three of the version."""

    algorithm: str
    config_hash: str | None
    numbers: tuple[int, ...]


def parse_versioned(name: str) -> ShortName | None:
    """The parts of `name`, if it has the form of a key or a short name; else None."""
    match = _VERSIONED.fullmatch(name)
    if match is None:
        return None
    algorithm, config_hash, numbers = match.groups()
    return ShortName(algorithm, config_hash, tuple(int(number) for number in numbers.split(".")))


def parse_version(text: str) -> Version:
    """The version in `text`; missing numbers are 0, a leading v is allowed.

    Raises:
        InvalidInput: it is not one to three numbers, each below 1,000,000.
    """
    numbers = text.removeprefix("v")
    if not re.fullmatch(rf"{_NUMBER}(?:\.{_NUMBER}){{0,2}}", numbers):
        raise InvalidInput("version_form", ("version",), version=shortened(text), limit=MAX_NUMBER)
    parts = [int(number) for number in numbers.split(".")]
    return Version(*parts, *[0] * (3 - len(parts)))


def check_algorithm(name: str, known: Collection[str]) -> None:
    """Check that the algorithm is known.

    Raises:
        InvalidInput: `name` is not in `known`; the text lists those.
    """
    if name not in known:
        raise InvalidInput("unknown_algorithm", ("algorithm_name",), algorithm=shortened(name), known=sorted(known))
    # This guards the table of known algorithms, so that keys remain unambiguous.
    if not re.fullmatch(_ALGORITHM, name) or re.fullmatch(r".*_(?:[0-9a-f]{8}|v[0-9]+)", name):
        raise InvalidInput("algorithm_form", ("algorithm_name",), algorithm=shortened(name))


def split_tag(text: str) -> tuple[str | None, str]:
    """(algorithm, tag) of `DDQN:stable`, or (None, tag) of `stable`.

    Raises:
        InvalidInput: not a tag, or it has the form of a key or a short name.
    """
    algorithm, colon, tag = text.rpartition(":")
    if not _TAG.fullmatch(tag) or (colon and not re.fullmatch(_ALGORITHM, algorithm)):
        raise InvalidInput("tag_form", ("tags",), tag=shortened(text))
    if parse_versioned(tag) is not None:
        raise InvalidInput("tag_like_a_model", ("tags",), tag=shortened(tag))
    return (algorithm if colon else None), tag


def hash_of_config(training_params: object) -> str:
    """The first 8 hex digits of the SHA-256 of the parameters as JSON with sorted keys and no spaces.

    Equal numbers give equal hashes: 1000.0 counts as 1000, as in RFC 8785, because JSON clients write both.
    """
    plain = json.loads(json.dumps(training_params, allow_nan=False), parse_float=_shortest)
    text = json.dumps(plain, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def _shortest(text: str) -> int | float:
    number = float(text)
    return int(number) if number.is_integer() and abs(number) < 2**53 else number


def key_of(algorithm: str, config_hash: str, version: Version) -> str:
    return f"{algorithm}_{config_hash}_v{version}"


def choose_version(
    used: Collection[tuple[str, Version]], config_hash: str, explicit: Version | None, bump: Bump | None
) -> Version:
    """The version of a new model of one algorithm.

    Args:
        used: (hash of the configuration, version) of every model that the algorithm ever had, including deleted ones:
            a version is never reused for other weights.
        explicit: the requested version.
        bump: which number to raise above the algorithm's highest version. Without it a new configuration raises major,
            and new weights of a known configuration raise minor within the series of that configuration.
            A version whose number is at its limit is skipped: the next lower version is raised instead, or else major.

    Raises:
        ModelConflict: `explicit` was used before, or every major version is used.
    """
    taken = {version for _, version in used}
    if explicit is not None:
        if explicit in taken:
            raise ModelConflict("version_taken", version=str(explicit), highest=str(max(taken)))
        return explicit
    if not taken:
        return Version(1, 0, 0)
    same_config = [version for other_hash, version in used if other_hash == config_hash]
    step: Bump = bump or ("minor" if same_config else "major")
    series = sorted(taken if bump or not same_config else same_config, reverse=True)
    bases: list[tuple[Version, Bump]] = [(base, step) for base in series]
    bases += [(base, "major") for base in (*sorted(taken, reverse=True), Version(0, 0, 0))]
    for base, step in bases:
        version = _raised(base, step)
        while version in taken:  # the next number may be used by an explicit version
            version = _raised(version, step)
        if max(version) <= MAX_NUMBER:
            return version
    raise ModelConflict("versions_exhausted", limit=MAX_NUMBER)


def _raised(version: Version, step: Bump) -> Version:
    match step:
        case "major":
            return Version(version.major + 1, 0, 0)
        case "minor":
            return Version(version.major, version.minor + 1, 0)
        case "patch":
            return Version(version.major, version.minor, version.patch + 1)

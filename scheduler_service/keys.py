"""API keys: entries of `SCHED_API_KEYS`, and `python -m scheduler_service.keys`, which creates a key.

The service stores only digests, so its environment contains no usable key.
"""

import argparse
import hashlib
import re
import secrets
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, cast, get_args

from scheduler_service.errors import invalid

Scope = Literal["run", "read", "admin"]
SCOPES: tuple[Scope, ...] = get_args(Scope)
ANONYMOUS_SCOPES = ("run", "read")
"""Scopes that may be granted to requests without a key."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,31}")
_DIGEST = re.compile(r"[0-9a-fA-F]{64}")
SHAPE = "<name>:<scope>[+<scope>]:<sha256 hex>, or the 64 hex digits alone"


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A known key, identified by its digest."""

    name: str
    scopes: frozenset[Scope]
    digest: str  # SHA-256 of the key, lower-case hex

    def allows(self, scope: Scope) -> bool:
        """Whether the key has `scope`; admin includes all scopes."""
        return scope in self.scopes or "admin" in self.scopes


def parse_keys(entries: Sequence[str]) -> tuple[ApiKey, ...]:
    """The keys in `SCHED_API_KEYS`.

    A digest alone has every scope and is named `key1`, `key2`... by its position.

    Raises:
        ValueError: an entry is invalid. The text gives its number but never its content, which may be a key.
    """
    keys = [_parse(number, entry) for number, entry in enumerate(entries, start=1)]
    for number, key in enumerate(keys, start=1):
        for other, former in enumerate(keys[: number - 1], start=1):
            if former.name == key.name:
                raise invalid("key_name_twice", entry=number, other=other)
            if former.digest == key.digest:
                raise invalid("key_digest_twice", entry=number, other=other)
    return tuple(keys)


def digest_of(key: str) -> str:
    """The digest of a key."""
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).hexdigest()


def is_name(text: str) -> bool:
    """Whether `text` is a valid name of a key."""
    return _NAME.fullmatch(text) is not None


def _parse(number: int, entry: str) -> ApiKey:
    if _DIGEST.fullmatch(entry):
        return ApiKey(f"key{number}", frozenset(SCOPES), entry.lower())
    parts = entry.split(":")
    if len(parts) != 3:
        raise invalid("key_shape", entry=number, shape=SHAPE)
    name, scopes, digest = parts
    if not is_name(name):
        raise invalid("key_name", entry=number)
    if unknown := set(scopes.split("+")) - set(SCOPES):
        raise invalid("key_scope", entry=number, n=len(unknown), known=list(SCOPES))
    if not _DIGEST.fullmatch(digest):
        raise invalid("key_digest", entry=number)
    return ApiKey(name, frozenset(cast(list[Scope], scopes.split("+"))), digest.lower())


def main(arguments: Sequence[str] | None = None) -> int:
    """Print a new key and its entry for `SCHED_API_KEYS`."""
    parser = argparse.ArgumentParser(
        prog="python -m scheduler_service.keys",
        description="Generate a random API key. It is printed once and not stored; the entry contains only its digest.",
        epilog=(
            "scopes: run allows schedules, plans and feedback; read allows models, experiments, figures, reports, "
            "alerts and metrics; admin allows everything. Example: --name vue --scopes run,read. Put the entry into "
            "SCHED_API_KEYS (comma-separated with others) and restart the service; clients send the key as "
            "'Authorization: Bearer <key>' or 'X-API-Key: <key>'. To revoke a key, remove its entry and restart."
        ),
    )
    parser.add_argument("--name", required=True, help="name of the client, for the log and the histories")
    parser.add_argument("--scopes", default="run,read", help="comma-separated, of run, read, admin (default: run,read)")
    given = parser.parse_args(arguments)
    wanted = [scope.strip() for scope in re.split(r"[,+]", given.scopes)]
    if not is_name(given.name):
        parser.error("--name: 1 to 32 of A-Z a-z 0-9 _ . - that begin with a letter or digit")
    if not set(wanted) <= set(SCOPES):
        parser.error(f"--scopes: there are {', '.join(SCOPES)}")
    key = secrets.token_urlsafe(32)
    scopes = "+".join(scope for scope in SCOPES if scope in wanted)
    print(f"key:   {key}\nentry: {given.name}:{scopes}:{digest_of(key)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""API keys: what a deployment keeps of them, and a tool that makes one.

    python -m scheduler_service.keys --name spring --scopes run,read

A key is a long random text that only its owner has; the service knows its SHA-256. (A slow hash would protect what
people choose; nobody guesses 32 random bytes.)
"""

import argparse
import hashlib
import hmac
import re
import secrets
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

Scope = Literal["run", "read", "admin"]
SCOPES: tuple[Scope, ...] = get_args(Scope)
ABOUT: dict[Scope, str] = {
    "run": "build schedules and give verdicts on them",
    "read": "see models, experiments, figures, reports, alerts and metrics",
    "admin": "everything, changes of models and experiments included",
}
MAX_NAME_LENGTH = 40

_NAME = re.compile(r"[A-Za-z0-9_.-]{1,40}")
_DIGEST = re.compile(r"[0-9a-fA-F]{64}")


@dataclass(frozen=True, slots=True)
class ApiKey:
    """What is known of a key."""

    name: str
    scopes: frozenset[Scope]
    digest: str  # SHA-256, lower-case hex

    def may(self, scope: Scope) -> bool:
        """Whether the key opens what needs `scope`; `admin` opens everything."""
        return scope in self.scopes or "admin" in self.scopes


def parse_keys(entries: Sequence[str]) -> tuple[ApiKey, ...]:
    """The keys that `<name>:<scope>+<scope>:<SHA-256>` describe; a digest alone may do everything.

    Raises:
        ValueError: an entry is none; the text names its number and never repeats it, as it may be a key by mistake.
    """
    keys = tuple(_parse(entry, number) for number, entry in enumerate(entries, start=1))
    names = [key.name for key in keys]
    for number, name in enumerate(names, start=1):
        if name in names[: number - 1]:
            raise ValueError(f"entry {number}: the name {name!r} is used twice")
    return keys


def find_key(presented: str, keys: Sequence[ApiKey]) -> ApiKey | None:
    """The key that `presented` is; takes as long for a near miss as for a far one."""
    digest = digest_of(presented)
    found = None
    for key in keys:
        if hmac.compare_digest(digest, key.digest):
            found = key
    return found if presented else None


def digest_of(key: str) -> str:
    """SHA-256 in hex."""
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).hexdigest()


def _parse(entry: str, number: int) -> ApiKey:
    if _DIGEST.fullmatch(entry):
        return ApiKey(f"key{number}", frozenset({"admin"}), entry.lower())
    parts = entry.split(":")
    if len(parts) != 3 or not _DIGEST.fullmatch(parts[2]):
        raise ValueError(
            f"entry {number} must be <name>:<scopes>:<SHA-256 of the key in hex>, as "
            "`python -m scheduler_service.keys` prints it"
        )
    name, scopes, digest = parts
    if not _NAME.fullmatch(name):
        raise ValueError(f"entry {number}: the name must be 1 to {MAX_NAME_LENGTH} of A-Z a-z 0-9 _ . -")
    return ApiKey(name, _scopes(scopes.split("+"), f"entry {number}"), digest.lower())


def _scopes(written: Sequence[str], where: str) -> frozenset[Scope]:
    found = frozenset(scope for scope in SCOPES if scope in written)
    if not found or len(found) < len(set(written)):
        raise ValueError(f"{where}: the scopes must be some of {', '.join(SCOPES)}, joined by +")
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Print a new key and what the service has to know of it."""
    scopes = "\n".join(f"  {scope:<6} {about}" for scope, about in ABOUT.items())
    parser = argparse.ArgumentParser(
        prog="python -m scheduler_service.keys",
        description="Make an API key. It is shown once and stored nowhere; the service keeps its SHA-256.",
        epilog=f"scopes:\n{scopes}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--name", required=True, help="who uses it; appears in logs and histories")
    parser.add_argument("--scopes", default="run,read", help="comma-separated: run, read, admin (default: run,read)")
    given = parser.parse_args(arguments)
    key = secrets.token_urlsafe(32)
    entry = f"{given.name}:{given.scopes.replace(',', '+')}:{digest_of(key)}"
    try:
        parse_keys([entry])
    except ValueError as err:
        parser.error(str(err).replace("entry 1: ", "").replace("entry 1 ", "it "))
    print(f"key for the client (Authorization: Bearer <key>):\n  {key}\nentry for SCHED_API_KEYS:\n  {entry}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

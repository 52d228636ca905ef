"""Who may change state: anybody on this machine; from elsewhere, whoever has an API key.

A route is guarded unless it only reads or is named in `OPEN_ENDPOINTS`, so a new one is guarded by default.
"""

import hashlib
import hmac
import re
from collections.abc import Sequence
from urllib.parse import urlsplit

from flask import Flask, request

from scheduler_service.errors import ServiceError
from scheduler_service.settings import Settings, is_loopback

READING_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
OPEN_ENDPOINTS = frozenset({"runs.run_algorithm", "runs.give_feedback"})
"""What every user of the front end does: they add records of their own and change nobody else's."""


class MissingKey(ServiceError):
    """A guarded route was called without a valid API key."""


class ForeignOrigin(ServiceError):
    """A web page that is not ours asks the browser to change state here."""


def guard(app: Flask, settings: Settings) -> None:
    """Refuse guarded requests without a key, when bound beyond loopback, and always those of foreign web pages."""
    needs_key = not is_loopback(settings.host)
    digests = tuple(digest.lower() for digest in settings.api_keys)
    origins = [re.compile(pattern) for pattern in origin_patterns(settings.cors_origins)]

    def refuse() -> None:
        if not is_guarded(request.method, request.endpoint):
            return
        # A page of another site can have its own name point here (DNS rebinding); its requests carry that name.
        if not needs_key and not is_loopback(_host_name()):
            raise ForeignOrigin(f"the host {_host_name()[:100]!r} is not this machine's loopback; use localhost")
        # Some state-changing requests need no preflight (an upload, an empty body), so CORS alone lets them pass.
        origin = request.headers.get("Origin")
        if origin and origin != request.host_url.rstrip("/") and not any(known.match(origin) for known in origins):
            raise ForeignOrigin(f"pages of {origin[:100]!r} may not change anything here; see SCHED_CORS_ORIGINS")
        if needs_key and not knows_key(_presented_key(), digests):
            raise MissingKey(
                "this changes state and needs an API key (Authorization: Bearer <key>, or X-API-Key); the service "
                f"knows {len(digests)} keys, see SCHED_API_KEYS"
            )

    app.before_request(refuse)


def is_guarded(method: str, endpoint: str | None) -> bool:
    """Whether a request needs a right; an unknown path (no endpoint) is answered 404 anyway."""
    return method not in READING_METHODS and endpoint is not None and endpoint not in OPEN_ENDPOINTS


def knows_key(key: str, digests: Sequence[str]) -> bool:
    """Whether the SHA-256 of `key` is among `digests`; takes as long for a near miss as for a far one."""
    digest = hashlib.sha256(key.encode("utf-8", "surrogateescape")).hexdigest()
    found = False
    for known in digests:
        found |= hmac.compare_digest(digest, known)
    return found and bool(key)


def origin_patterns(origins: Sequence[str]) -> list[str]:
    """Regular expressions, matching to the end, of origins in which `*` stands for a port."""
    return [f"^{re.escape(origin).replace(re.escape('*'), '[0-9]+')}$" for origin in origins]


def _host_name() -> str:
    """The name that the client used for this service, without the port."""
    return urlsplit(request.host_url).hostname or ""


def _presented_key() -> str:
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else request.headers.get("X-API-Key", "")

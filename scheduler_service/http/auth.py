"""Who may do what: on this machine anybody; from elsewhere, whoever has an API key with the scope that a route needs.

`required_scope` is the rule; a route that nobody thought of needs `admin`.
"""

import logging
import re
from collections.abc import Sequence
from urllib.parse import urlsplit

from flask import Flask, g, request

from scheduler_service.errors import ServiceError
from scheduler_service.http.limits import RateLimit
from scheduler_service.keys import ApiKey, Scope, find_key, parse_keys
from scheduler_service.settings import Settings, is_loopback

READING_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
OPEN_ENDPOINTS = frozenset(
    f"operations.{name}" for name in ("get_health", "get_liveness", "get_readiness", "get_openapi", "get_docs")
)
"""For supervisors, load balancers and whoever wants to learn how to ask; they tell nothing of plants or people."""
RUN_ENDPOINTS = frozenset({"runs.run_algorithm", "runs.give_feedback"})
"""What every user of the front end does: they add records of their own and change nobody else's."""
WRONG_KEYS_PER_MINUTE, WRONG_KEYS_AT_ONCE = 10, 20

log = logging.getLogger(__name__)


class MissingKey(ServiceError):
    """A guarded route was called without a valid API key."""


class MissingScope(ServiceError):
    """The API key is valid, but not for this."""


class ForeignOrigin(ServiceError):
    """A web page that is not ours asks the browser to change state here."""


def guard(app: Flask, settings: Settings) -> None:
    """Refuse what nobody may do without a key or its scope, beyond loopback; and changes by foreign web pages always.

    Beyond loopback each key, and each address without one, may ask `SCHED_RATE_LIMIT` times a minute.
    """
    is_exposed = not is_loopback(settings.host)
    keys = parse_keys(settings.api_keys)
    origins = [re.compile(pattern) for pattern in origin_patterns(settings.cors_origins)]
    salt, per_minute = str(settings.home), settings.rate_limit
    asking = RateLimit("requests", per_minute, max(1, per_minute // 30), salt=salt) if per_minute else None
    guessing = RateLimit("wrong-keys", WRONG_KEYS_PER_MINUTE, WRONG_KEYS_AT_ONCE, salt=salt)

    def refuse() -> None:
        scope = required_scope(request.method, request.endpoint)
        if scope == "admin":
            _refuse_foreign_pages(origins, needs_loopback_name=not is_exposed)
        presented = _presented_key()
        key = find_key(presented, keys) if presented else None
        g.key_name = None if key is None else key.name
        if not is_exposed or scope is None:
            return
        if presented and key is None:
            guessing.take(request.remote_addr or "")
        if asking is not None:
            g.allowance = asking.take(f"key {key.name}" if key else f"address {request.remote_addr}")
        _refuse_strangers(scope, key, settings.anonymous_scopes, len(keys))
        if key is not None and scope == "admin":
            log.info("%s %s by the key %s", request.method, request.path, key.name)

    app.before_request(refuse)


def required_scope(method: str, endpoint: str | None) -> Scope | None:
    """What a key must be good for; None: nothing is needed (an unknown path, no endpoint, is answered 404 anyway)."""
    if endpoint is None or endpoint in OPEN_ENDPOINTS or method == "OPTIONS":
        return None
    if endpoint in RUN_ENDPOINTS:
        return "run"
    return "read" if method in READING_METHODS else "admin"


def _refuse_strangers(scope: Scope, key: ApiKey | None, anonymous: Sequence[Scope], n_keys: int) -> None:
    if scope in anonymous or (key is not None and key.may(scope)):
        return
    if key is not None:
        may = ", ".join(sorted(key.scopes))
        raise MissingScope(f"this needs a key with the scope {scope!r}; the key {key.name!r} has {may}")
    raise MissingKey(
        f"this needs an API key with the scope {scope!r} (Authorization: Bearer <key>, or X-API-Key: <key>); the "
        f"service knows {n_keys} keys, see SCHED_API_KEYS"
    )


def _refuse_foreign_pages(origins: Sequence[re.Pattern[str]], *, needs_loopback_name: bool) -> None:
    # A page of another site can have its own name point here (DNS rebinding); its requests carry that name.
    if needs_loopback_name and not is_loopback(_host_name()):
        raise ForeignOrigin(f"the host {_host_name()[:100]!r} is not this machine's loopback; use localhost")
    # Some state-changing requests need no preflight (an upload, an empty body), so CORS alone lets them pass.
    origin = request.headers.get("Origin")
    if origin and origin != request.host_url.rstrip("/") and not any(known.match(origin) for known in origins):
        raise ForeignOrigin(f"pages of {origin[:100]!r} may not change anything here; see SCHED_CORS_ORIGINS")


def origin_patterns(origins: Sequence[str]) -> list[str]:
    """Regular expressions, matching to the end, of origins in which `*` stands for a port."""
    return [f"^{re.escape(origin).replace(re.escape('*'), '[0-9]+')}$" for origin in origins]


def _host_name() -> str:
    """The name that the client used for this service, without the port."""
    return urlsplit(request.host_url).hostname or ""


def _presented_key() -> str:
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else request.headers.get("X-API-Key", "")

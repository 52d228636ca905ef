"""Authorisation: every local client may do everything; others need an API key with the scope of the route.

A route's contract states its scope (`contract.required_scope`).
"""

import hmac
import logging
import re
from collections.abc import Collection, Sequence
from contextlib import suppress
from functools import lru_cache
from ipaddress import ip_address
from socket import gethostname
from typing import TypeVar, get_args
from urllib.parse import urlsplit

from flask import Flask, Response, g, has_request_context, request
from pydantic import BaseModel

from scheduler_service.errors import ServiceError
from scheduler_service.http.contract.contract import READING_METHODS, UNCOUNTED, contract_of, required_scope
from scheduler_service.http.guards.limits import Limits, RateDecision, RateExceeded
from scheduler_service.keys import ApiKey, Scope, digest_of, parse_keys
from scheduler_service.settings import Settings, is_loopback

Body = TypeVar("Body", bound=BaseModel)

AUTHOR_FIELDS = ("actor", "by", "created_by")
"""Fields of bodies that name the author of a change."""
MAX_AUTHOR_CHARS = 200
SCOPES_HEADER = "X-API-Scopes"
"""The client's scopes; sent with answers of routes that need a scope, if keys or the bound address restrict access."""

log = logging.getLogger("scheduler.changes")


class MissingKey(ServiceError):
    """The route needs an API key, and the request has none or an unknown one."""


class MissingScope(ServiceError):
    """The API key lacks the scope of the route."""


class ForeignOrigin(ServiceError):
    """The request comes from a web page of another site."""


def guard(app: Flask, settings: Settings, limits: Limits) -> None:
    """Refuse requests without the required scope, above the rate limit, or from web pages of other sites."""
    is_exposed = settings.is_exposed
    keys = parse_keys(settings.api_keys)
    origins = [re.compile(pattern) for pattern in origin_patterns(settings.cors_origins)]
    hosts = frozenset(name.lower() for name in (*settings.allowed_hosts, gethostname()))
    without_key = _scope_list(settings.anonymous_scopes if is_exposed else {"admin"})
    with_key = {key.name: _scope_list(key.scopes) for key in keys}
    keyless_may_read = not is_exposed or "read" in settings.anonymous_scopes

    def known_key(address: str) -> int | None:
        presented = _presented_key()
        # Front ends send their own session token with every request. It is ignored if the service has no keys.
        if not presented or not (keys or is_exposed):
            return None
        limits.refuse_guessers(address)
        found = find_key(presented, keys)
        if found is None:
            limits.count_failed_key(address)
            log.warning("an unknown API key from %s", address)
            raise MissingKey("unknown_key")
        return found

    def may_see_details(address: str) -> bool:
        with suppress(MissingKey, RateExceeded):  # probes are never refused
            found = known_key(address)
            return keyless_may_read if found is None else keys[found].allows("read")
        return False

    def refuse() -> None:
        g.api_key, g.rate_decision, g.may_read = None, None, False
        wanted, contract = required_scope(request.method, request.endpoint), contract_of(request.endpoint)
        g.wanted_scope = wanted
        admission = contract.admission if contract is not None else "keyed"
        if admission != "liveness":
            _refuse_foreign_pages(origins, hosts, is_exposed=is_exposed)
        address = request.remote_addr or ""
        if request.method == "OPTIONS" or admission in UNCOUNTED:
            g.may_read = admission == "probe" and may_see_details(address)
            return
        found = known_key(address) if wanted is not None or admission == "identifying" else None
        if found is None:
            g.rate_decision, g.may_read = limits.decide_for_address(address), keyless_may_read
        else:
            g.api_key, g.rate_decision = keys[found], limits.decide_for_key(found)
            g.may_read = keys[found].allows("read")
        _enforce_rate(g.rate_decision)
        if wanted is not None:
            if g.api_key is not None:
                _require_scope(g.api_key, wanted)
            elif is_exposed and wanted not in settings.anonymous_scopes:
                raise MissingKey("missing_key", scope=wanted, n_keys=len(keys))

    def finish(answer: Response) -> Response:
        rate_decision: RateDecision | None = g.get("rate_decision")
        if rate_decision is not None and limits.addresses is not None:
            answer.headers["RateLimit-Policy"] = limits.addresses.policy
            reset_s = max(0, round(rate_decision.wait_s + 0.5))
            answer.headers["RateLimit"] = f'"requests";r={rate_decision.remaining};t={reset_s}'
        wanted, name = g.get("wanted_scope"), key_name()
        if wanted is not None and (keys or is_exposed):
            answer.headers[SCOPES_HEADER] = without_key if name is None else with_key[name]
        if wanted == "admin" and request.method not in READING_METHODS:
            who = f"key {name}" if name else "no key"
            log.info(
                "%s %s by %s from %s: %d", request.method, request.path, who, request.remote_addr, answer.status_code
            )
        return answer

    app.before_request(refuse)
    app.after_request(finish)


def key_name() -> str | None:
    """The name of this request's key; None without a key, and outside of requests."""
    key: ApiKey | None = g.get("api_key") if has_request_context() else None
    return None if key is None else key.name


def access(settings: Settings) -> dict[str, object]:
    """The scopes of this request, and those of requests without a key."""
    key: ApiKey | None = g.api_key
    without = _scope_list(settings.anonymous_scopes if settings.is_exposed else {"admin"}).split()
    return {
        "key": None if key is None else key.name,
        "scopes": without if key is None else _scope_list(key.scopes).split(),
        "without_key": without,
        "needs_key": settings.is_exposed,
        "knows_keys": bool(settings.api_keys),
    }


def may_read() -> bool:
    """Whether this request may read the service's data and paths."""
    return bool(g.get("may_read", False))


def attributed(body: Body) -> Body:
    """`body` with the key's name in its author fields: alone, or after the name that the body claims.

    So histories and logs contain the verified key, and not only the claimed name.
    """
    name = key_name()
    claimed = {field: str(getattr(body, field)) for field in AUTHOR_FIELDS if field in type(body).model_fields}
    verified = {field: author(claim, name) for field, claim in claimed.items()}
    return body if verified == claimed else body.model_copy(update=verified)


def author(claim: str, name: str | None) -> str:
    """The author for histories, at most 200 characters: "claimed (key: name)". A claim cannot imitate a key."""
    claim = claim.replace("(key:", "(not a key:")[:MAX_AUTHOR_CHARS]
    if name is None:
        return claim
    suffix = f"(key: {name})"
    return f"{claim[: MAX_AUTHOR_CHARS - len(suffix) - 1]} {suffix}" if claim.strip() else name


def _scope_list(scopes: Collection[str]) -> str:
    """The value of `SCOPES_HEADER`; `admin` is expanded to all scopes."""
    return " ".join(sorted(get_args(Scope) if "admin" in scopes else scopes))


def find_key(presented: str, keys: Sequence[ApiKey]) -> int | None:
    """The index of the presented key in `keys`, or None. Takes constant time: it compares with every key."""
    digest = digest_of(presented)
    found = None
    for place, key in enumerate(keys):
        if hmac.compare_digest(digest, key.digest):
            found = place
    return found if presented else None


def origin_patterns(origins: Sequence[str]) -> list[str]:
    """Anchored regular expressions for `origins`, in which `*` stands for a port."""
    return [f"^{re.escape(origin).replace(re.escape('*'), '[0-9]+')}$" for origin in origins]


def _refuse_foreign_pages(origins: Sequence[re.Pattern[str]], hosts: Collection[str], *, is_exposed: bool) -> None:
    """Refuse requests of web pages of other sites.

    A page's domain can resolve to this service (DNS rebinding). The browser then treats the service as the page's own,
    and the requests carry that domain. Addresses and names without a dot are not domains of the Internet.
    """
    name = _host_name()
    is_ours = is_loopback(name) or name in hosts or (is_exposed and ("." not in name or _is_address(name)))
    if not is_ours:
        raise ForeignOrigin("unknown_host", host=name[:100])
    # CORS is not enough: some requests need no preflight (an upload, an empty body). Preflights themselves are allowed.
    origin = None if request.method == "OPTIONS" else request.headers.get("Origin")
    if origin and origin != request.host_url.rstrip("/") and not any(known.match(origin) for known in origins):
        raise ForeignOrigin("foreign_origin", origin=origin[:100])


def _require_scope(key: ApiKey, wanted: Scope) -> None:
    if not key.allows(wanted):
        raise MissingScope("missing_scope", key=key.name, wanted=wanted, held=sorted(key.scopes))


def _enforce_rate(rate_decision: RateDecision | None) -> None:
    if rate_decision is not None and not rate_decision.is_allowed:
        raise RateExceeded("rate_exceeded", retry_after_s=rate_decision.wait_s)


def _host_name() -> str:
    """The host name of the request, in lower case and without the port."""
    return _name_in(request.host)


@lru_cache(maxsize=256)
def _name_in(host: str) -> str:
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:  # an incomplete IPv6 address
        return host


def _is_address(name: str) -> bool:
    try:
        ip_address(name)
    except ValueError:
        return False
    return True


def _presented_key() -> str:
    headers: dict[str, str] = request.environ
    scheme, _, token = headers.get("HTTP_AUTHORIZATION", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else headers.get("HTTP_X_API_KEY", "")

"""Who may do what: anybody on this machine; from elsewhere, whoever has an API key with the scope that the route wants.

Its contract says what a route wants (`contract.required_scope`).
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
from scheduler_service.http.guards.limits import Limits, RateExceeded, Standing
from scheduler_service.keys import ApiKey, Scope, digest_of, parse_keys
from scheduler_service.settings import Settings, is_loopback

Body = TypeVar("Body", bound=BaseModel)

AUTHOR_FIELDS = ("actor", "created_by")
"""Fields of bodies that say who does something."""
MAX_AUTHOR = 200
SCOPES_HEADER = "X-API-Scopes"
"""What the client may do: on every answer of a route that wants a scope, where keys or the binding limit anybody."""

log = logging.getLogger("scheduler.changes")


class MissingKey(ServiceError):
    """A route was called that needs an API key, without one or with one that is unknown."""


class MissingScope(ServiceError):
    """The API key is known, but may not do this."""


class ForeignOrigin(ServiceError):
    """A web page that is not ours asks the browser for something here."""


def guard(app: Flask, settings: Settings, limits: Limits) -> None:
    """Refuse what a client may not do, what it does too often, and what foreign web pages ask for."""
    is_exposed = settings.is_exposed
    keys = parse_keys(settings.api_keys)
    origins = [re.compile(pattern) for pattern in origin_patterns(settings.cors_origins)]
    hosts = frozenset(name.lower() for name in (*settings.allowed_hosts, gethostname()))
    without_key = _told_scopes(settings.anonymous_scopes if is_exposed else {"admin"})
    with_key = {key.name: _told_scopes(key.scopes) for key in keys}
    keyless_may_read = not is_exposed or "read" in settings.anonymous_scopes

    def known_key(address: str) -> int | None:
        presented = _presented_key()
        # Front ends send the token of their own session to everything. Where no key exists it means nothing here.
        if not presented or not (keys or is_exposed):
            return None
        limits.refuse_guessers(address)
        found = find_key(presented, keys)
        if found is None:
            limits.count_failed_key(address)
            log.warning("an unknown API key from %s", address)
            raise MissingKey("unknown_key")
        return found

    def sees_details(address: str) -> bool:
        with suppress(MissingKey, RateExceeded):  # probes are never refused
            found = known_key(address)
            return keyless_may_read if found is None else keys[found].allows("read")
        return False

    def refuse() -> None:
        g.api_key, g.standing, g.may_read = None, None, False
        wanted, contract = required_scope(request.method, request.endpoint), contract_of(request.endpoint)
        admission = contract.admission if contract is not None else "keyed"
        if admission != "liveness":
            _refuse_foreign_pages(origins, hosts, is_exposed=is_exposed)
        address = request.remote_addr or ""
        if request.method == "OPTIONS" or admission in UNCOUNTED:
            g.may_read = admission == "probe" and sees_details(address)
            return
        found = known_key(address) if wanted is not None or admission == "identifying" else None
        if found is None:
            g.standing, g.may_read = limits.take_for_address(address), keyless_may_read
        else:
            g.api_key, g.standing = keys[found], limits.take_for_key(found)
            g.may_read = keys[found].allows("read")
        _refuse_excess(g.standing)
        if wanted is not None:
            if g.api_key is not None:
                _refuse_other_scopes(g.api_key, wanted)
            elif is_exposed and wanted not in settings.anonymous_scopes:
                raise MissingKey("missing_key", scope=wanted, n_keys=len(keys))

    def finish(answer: Response) -> Response:
        standing: Standing | None = g.get("standing")
        if standing is not None and limits.addresses is not None:
            answer.headers["RateLimit-Policy"] = limits.addresses.policy
            answer.headers["RateLimit"] = f'"requests";r={standing.remaining};t={max(0, round(standing.wait_s + 0.5))}'
        wanted, name = required_scope(request.method, request.endpoint), key_name()
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
    """The name of the key that this request came with; None without one, and outside of requests."""
    key: ApiKey | None = g.get("api_key") if has_request_context() else None
    return None if key is None else key.name


def access(settings: Settings) -> dict[str, object]:
    """What this request may do, by its key or without one, and what anybody may do without."""
    key: ApiKey | None = g.api_key
    without = _told_scopes(settings.anonymous_scopes if settings.is_exposed else {"admin"}).split()
    return {
        "key": None if key is None else key.name,
        "scopes": without if key is None else _told_scopes(key.scopes).split(),
        "without_key": without,
        "needs_key": settings.is_exposed,
        "knows_keys": bool(settings.api_keys),
    }


def may_read() -> bool:
    """Whether this request may see what the service holds, and where."""
    return bool(g.get("may_read", False))


def attributed(body: Body) -> Body:
    """`body` with the key's name where it says who does something: alone, or beside the name that the body claims.

    Histories and logs so tell who it was, and not only who they say they are.
    """
    name = key_name()
    said = {field: str(getattr(body, field)) for field in AUTHOR_FIELDS if field in type(body).model_fields}
    told = {field: author(claim, name) for field, claim in said.items()}
    return body if told == said else body.model_copy(update=told)


def author(claim: str, name: str | None) -> str:
    """Who did it, as histories tell it, at most 200 characters: "claimed (key: name)"; nobody claims a key in words."""
    claim = claim.replace("(key:", "(not a key:")[:MAX_AUTHOR]
    if name is None:
        return claim
    suffix = f"(key: {name})"
    return f"{claim[: MAX_AUTHOR - len(suffix) - 1]} {suffix}" if claim.strip() else name


def _told_scopes(scopes: Collection[str]) -> str:
    """For `SCOPES_HEADER`: `admin` stands for all, so that who reads it need not know that."""
    return " ".join(sorted(get_args(Scope) if "admin" in scopes else scopes))


def find_key(presented: str, keys: Sequence[ApiKey]) -> int | None:
    """The place of the key that was presented; takes as long for a near miss as for a far one, and looks at all."""
    digest = digest_of(presented)
    found = None
    for place, key in enumerate(keys):
        if hmac.compare_digest(digest, key.digest):
            found = place
    return found if presented else None


def origin_patterns(origins: Sequence[str]) -> list[str]:
    """Regular expressions, matching to the end, of origins in which `*` stands for a port."""
    return [f"^{re.escape(origin).replace(re.escape('*'), '[0-9]+')}$" for origin in origins]


def _refuse_foreign_pages(origins: Sequence[re.Pattern[str]], hosts: Collection[str], *, is_exposed: bool) -> None:
    """Pages of other sites, which the browser of somebody here shows.

    A page can have its own name point here (DNS rebinding); the browser then takes this service for the page's own, and
    its requests carry that name. An address, or a name without a dot, is nobody's on the Internet.
    """
    name = _host_name()
    is_ours = is_loopback(name) or name in hosts or (is_exposed and ("." not in name or _is_address(name)))
    if not is_ours:
        raise ForeignOrigin("unknown_host", host=name[:100])
    # Some requests need no preflight (an upload, an empty body), so CORS alone lets them pass; preflights it answers.
    origin = None if request.method == "OPTIONS" else request.headers.get("Origin")
    if origin and origin != request.host_url.rstrip("/") and not any(known.match(origin) for known in origins):
        raise ForeignOrigin("foreign_origin", origin=origin[:100])


def _refuse_other_scopes(key: ApiKey, wanted: Scope) -> None:
    if not key.allows(wanted):
        raise MissingScope("missing_scope", key=key.name, wanted=wanted, held=sorted(key.scopes))


def _refuse_excess(standing: Standing | None) -> None:
    if standing is not None and not standing.is_taken:
        raise RateExceeded("rate_exceeded", retry_after_s=standing.wait_s)


def _host_name() -> str:
    """The name that the client used for this service, in small letters and without the port."""
    return _name_in(request.host)


@lru_cache(maxsize=256)
def _name_in(host: str) -> str:
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:  # half an IPv6 address
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

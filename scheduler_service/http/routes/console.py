"""The console: one page at `/`, and the files that it loads. No outside resource, no build step."""

import base64
import gzip
import hashlib
import re
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cache, lru_cache
from pathlib import Path
from typing import NoReturn

from flask import Response, request

from scheduler_service import alert_rules
from scheduler_service.errors import NotFound
from scheduler_service.http.bodies import json_bytes
from scheduler_service.http.contract.api import Api
from scheduler_service.http.services import Services
from scheduler_service.stats.definitions import definitions
from scheduler_service.words import LANGS, WORDS

api = Api("console")

FOLDER = Path(__file__).resolve().parents[2] / "console"
TYPES = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
}
"""Endings of the files that are served; the licences can be read in the repository."""
VERSION = "{version}"
"""In the page, the place of the version in the paths of the console's own files."""
_VERSIONED = re.compile(r"v-([0-9a-f]{32})/(.+)")
LIBRARIES = "vendor/"
LEAST_TO_PACK = 1_000


class ConsoleFileNotFound(NotFound):
    """The console has no such file."""


@dataclass(frozen=True, slots=True)
class Asset:
    """A file of the console, ready to be sent."""

    content: bytes
    packed: bytes | None  # gzip
    etag: str
    type: str
    is_immutable: bool  # its path names its version


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The console's own files at one moment, so that a page and its files belong together."""

    version: str  # digest of all files
    assets: Mapping[str, Asset]  # by name
    page: Asset
    policy: str  # of the page


@api.get("/", lane=None, admission="page", media=("text/html",))
def get_console(parts: Services) -> Response:  # noqa: ARG001
    """The page for people: schedules, models, experiments, monitoring."""
    snapshot = current()
    answer = _response(snapshot.page)
    answer.headers["Content-Security-Policy"] = snapshot.policy
    return answer


@api.get("/console/{path:name}", lane=None, admission="page", media=("text/javascript",))
def get_console_file(parts: Services, name: str) -> Response:  # noqa: ARG001
    """A script, a style or a picture of the console."""
    snapshot, versioned = current(), _VERSIONED.fullmatch(name)
    if versioned is None:
        return _response(snapshot.assets.get(name) or _library(name))
    version, name = versioned.groups()
    if version != snapshot.version:
        # During a rolling upgrade. The present file may not fit the other files of that page, which loads itself again.
        raise ConsoleFileNotFound("console_version_gone", name=name[:200])
    return _response(replace(snapshot.assets.get(name) or _missing(name), is_immutable=True))


def current() -> Snapshot:
    """The present files. Called before serving: the first call takes some 25 ms."""
    return _snapshot(_stamps(int(time.monotonic())))


@lru_cache(maxsize=1)
def _stamps(_second: int) -> tuple[tuple[str, int], ...]:
    """Name and time of each file: who works on the console only reloads the page."""
    found = []
    for name in sorted(name for name in _files() if not name.startswith(LIBRARIES)):
        with suppress(FileNotFoundError):
            found.append((name, _files()[name].stat().st_mtime_ns))
    return tuple(found)


@lru_cache(maxsize=1)
def _snapshot(stamps: tuple[tuple[str, int], ...]) -> Snapshot:
    """The files, sorted by name: the version is the same on each machine."""
    read = {name: _made(name, _files()[name].read_bytes(), TYPES[_files()[name].suffix]) for name, _ in stamps}
    assets = dict(sorted({**read, **_words()}.items()))
    version = hashlib.sha256("".join(f"{name} {each.etag}\n" for name, each in assets.items()).encode()).hexdigest()[
        :32
    ]
    template = assets["index.html"]
    page = _made("index.html", template.content.replace(VERSION.encode(), f"v-{version}".encode()), template.type)
    return Snapshot(version, assets, page, _policy(page.content))


@cache
def _files() -> dict[str, Path]:
    # Looked up among the files that are there: no path is ever made of a client's text.
    return {
        path.relative_to(FOLDER).as_posix(): path
        for path in FOLDER.rglob("*")
        if path.is_file() and path.suffix in TYPES
    }


@cache
def _words() -> Mapping[str, Asset]:
    """The catalogue in each language, and what the texts are of, as files of the console."""
    files: dict[str, object] = {lang: WORDS.texts(lang) for lang in LANGS}
    files["definitions"] = {**definitions(), "alert_rules": alert_rules.definitions()}
    named = {f"words/{name}.json": json_bytes(content) for name, content in files.items()}
    return {name: _made(name, content, "application/json") for name, content in named.items()}


@lru_cache(maxsize=64)
def _library(name: str) -> Asset:
    """A file of a library; its path has the library's version, so that it never changes."""
    path = _files().get(name) if name.startswith(LIBRARIES) else None
    return _missing(name) if path is None else _made(name, path.read_bytes(), TYPES[path.suffix])


def _missing(name: str) -> NoReturn:
    raise ConsoleFileNotFound("console_file_not_found", name=name[:200])


def _made(name: str, content: bytes, media_type: str) -> Asset:
    packed = gzip.compress(content, 6, mtime=0) if len(content) >= LEAST_TO_PACK else None
    etag = hashlib.sha256(content).hexdigest()[:32]
    return Asset(content, packed, etag, media_type, name.startswith(LIBRARIES))


def _response(asset: Asset) -> Response:
    packed = asset.packed if request.accept_encodings.quality("gzip") > 0 else None
    answer = Response(packed or asset.content, content_type=asset.type)
    if packed:
        answer.headers["Content-Encoding"] = "gzip"
    answer.headers["Vary"] = "Accept-Encoding"
    answer.headers["Cache-Control"] = "public, max-age=31536000, immutable" if asset.is_immutable else "no-cache"
    answer.set_etag(asset.etag, weak=True)
    answer.make_conditional(request)
    return answer


def _policy(page: bytes) -> str:
    """What the page may load: its own files, and the one inline script that says where the libraries are.

    Vue compiles the pages' templates in the browser ('unsafe-eval'), and ECharts writes style attributes. A report that
    is shown from memory has this policy, too, and brings its font along.
    """
    import_map = re.search(rb'<script type="importmap">(.*?)</script>', page, re.DOTALL)
    assert import_map is not None
    digest = base64.b64encode(hashlib.sha256(import_map[1]).digest()).decode()
    return (
        f"default-src 'none'; script-src 'self' 'unsafe-eval' 'sha256-{digest}'; style-src 'self' 'unsafe-inline'; "
        "img-src 'self' data: blob:; font-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'"
    )

"""`ab_test_config.json`: read when it changes, changed by several processes, and trusted only when it is valid.

Every access looks at the file's stamp (1.6 us), so what another process or an editor wrote counts from the next request
on. A file that cannot be read leaves the last good one in force, and `problem` says what is wrong with it.
"""

import copy
import logging
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from pydantic import Field, ValidationError, field_validator

from scheduler_env.values import strict_json
from scheduler_service.errors import InvalidExperiment, MustBeMended
from scheduler_service.experiments.definition import Definition
from scheduler_service.experiments.experiment import Experiment, ModelName, invalid_experiment, problems
from scheduler_service.files import json_text, locked, write_atomically

logger = logging.getLogger(__name__)

DEFAULT_MODEL = "DDQN_v2.0"
"""The better seed model: answers until a file says otherwise."""

RACY_NS = 50_000_000
"""A file changed this shortly before it was read may change again within one tick of the file system's clock."""

MAX_BYTES = 16 * 2**20
"""A larger file is refused unread, and none is written: everybody would wait while it is parsed."""

Document = dict[str, Any]
Stamp = tuple[int, int, int]  # (mtime in ns, size, inode)


_CHANGE = frozenset({"id", "time", "before", "after", "actor", "reason"})


class _Schema(Definition):
    experiments: dict[str, Experiment] = Field(default_factory=dict)
    default_model: ModelName = DEFAULT_MODEL
    default_change: dict[str, str] | None = None  # the last that was made through the service

    @field_validator("default_change")
    @classmethod
    def _whole(cls, change: dict[str, str] | None) -> dict[str, str] | None:
        if change is not None and set(change) != _CHANGE:
            raise ValueError(f"its members must be {', '.join(sorted(_CHANGE))}; leave it out rather than edit it")
        return change

    @field_validator("experiments", mode="before")
    @classmethod
    def _named_by_key(cls, value: object) -> object:
        if not isinstance(value, dict):
            return value
        for key, entry in value.items():
            if isinstance(entry, dict) and entry.get("name", key) != key:
                raise ValueError(f"the experiment {key!r} names itself {entry['name']!r}")
            if isinstance(entry, dict) and "archived_at" in entry:
                raise ValueError(
                    f"the experiment {key!r} has archived_at; to take it back from the archive, leave it out"
                )
        return {key: {"name": key, **entry} if isinstance(entry, dict) else entry for key, entry in value.items()}


@dataclass(frozen=True)
class Snapshot:
    """One valid state of the file. `document` is its JSON with everything that was written there; never changed."""

    document: Document
    experiments: Mapping[str, Experiment]
    default_model: str
    default_change: Mapping[str, str] | None = None


@dataclass(frozen=True)
class _Reading:
    stamp: Stamp | None  # of the file that was read; None: read it again next time
    content: bytes | None  # None: there was no file; b"" also stands for one that could not be opened
    snapshot: Snapshot  # the last good one
    problem: str | None  # why `content` is not what `snapshot` holds


class ConfigFile:
    """The file at `path`, through which every process sees the same experiments.

    Safe to use from several threads, greenlets and processes. A missing file stands for no experiments and
    `DEFAULT_MODEL`; it is written with the first change. Comment lines (`// ...`) at its head are read, and lost when
    the service changes the file; remarks (`_...`) are kept.
    """

    def __init__(self, path: Path, *, approve: Callable[[Snapshot, Snapshot], None] | None = None) -> None:
        """`approve(before, after)` is called under the lock before a change is written, and raises to refuse it."""
        self._path = path
        self._approve = approve
        self._mutex = threading.Lock()
        self._initial = validate({"experiments": {}, "default_model": DEFAULT_MODEL})
        self._reading = _Reading(stamp=None, content=None, snapshot=self._initial, problem=None)
        self.current()

    @property
    def path(self) -> Path:
        return self._path

    def current(self) -> Snapshot:
        """The state of the file now; the last good one while it is broken."""
        reading = self._reading
        if reading.stamp is None or reading.stamp != _stamp(self._path):
            reading = self._read()
        return reading.snapshot

    def known(self) -> Snapshot:
        """As `current`.

        Raises:
            StorageUnavailable: the file is broken, and nothing good was read of it since the start.
        """
        found = self.current()
        if found is self._initial:
            self.check()
        return found

    def check(self) -> None:
        """Raises StorageUnavailable with the remedy if there is a `problem`."""
        if (problem := self.problem) is not None:
            raise MustBeMended(f"{problem}; repair the file, then try again")

    @property
    def problem(self) -> str | None:
        """What is wrong with the file as it is now; None when all is well."""
        self.current()
        return self._reading.problem

    def update(self, change: Callable[[Document], None]) -> Snapshot:
        """Applies `change` to the file's JSON as it is on the disk now, and answers the new state.

        Raises:
            InvalidExperiment: the result would not be valid, or too large to be read again; nothing is written.
            StorageUnavailable: the file is broken (it is not overwritten), locked by others, or cannot be written.
        """
        with locked(self._path):
            reading = self._read()  # whatever the stamp says: a lost change would be worse than a slow one
            if reading.problem is not None and reading.content is not None:
                raise MustBeMended(f"{reading.problem}; repair the file, then try again")
            before = reading.snapshot
            document = copy.deepcopy(before.document)
            change(document)
            after = validate(document)
            if self._approve is not None:
                self._approve(before, after)
            content = json_text(document).encode()
            if len(content) > MAX_BYTES:
                raise InvalidExperiment(
                    f"{self._path.name} would have {len(content) / 2**20:.1f} MiB with this; at most "
                    f"{MAX_BYTES / 2**20:.0f} are read. List fewer users, or archive experiments that are over"
                )
            write_atomically(self._path, content)
            return self.current()

    def _read(self) -> _Reading:
        with self._mutex:
            last = self._reading
            try:
                with open(self._path, "rb") as file:
                    status = os.fstat(file.fileno())
                    content = file.read(MAX_BYTES + 1)
            except FileNotFoundError:
                problem = last.problem if last.content is None else f"{self._path} has vanished"
                return self._adopt(_Reading(stamp=None, content=None, snapshot=last.snapshot, problem=problem))
            except OSError as err:
                problem = f"{self._path} cannot be read: {err.strerror or err}"
                return self._adopt(_Reading(None, b"", last.snapshot, problem))
            is_settled = time.time_ns() - status.st_mtime_ns > RACY_NS
            stamp = (status.st_mtime_ns, status.st_size, status.st_ino) if is_settled else None
            if content == last.content:
                return self._adopt(_Reading(stamp, content, last.snapshot, last.problem))
            try:
                if len(content) > MAX_BYTES:
                    raise ValueError(f"it has more than {MAX_BYTES / 2**20:.0f} MiB")
                snapshot = validate(parse(content))
            except (InvalidExperiment, ValueError, RecursionError) as err:
                return self._adopt(_Reading(stamp, content, last.snapshot, f"{self._path} is not valid: {err}"))
            return self._adopt(_Reading(stamp, content, snapshot, None))

    def _adopt(self, reading: _Reading) -> _Reading:
        if reading.problem is not None and reading.problem != self._reading.problem:
            logger.warning("%s; the last good configuration stays in force", reading.problem)
        self._reading = reading
        return reading


class ConfigView(MutableMapping[str, Any]):
    """The file's JSON as a mapping: assigning or deleting a key, on any level, changes the file at once.

    Reads show the file as it is now. Objects are views themselves; lists are copies.

    Raises (on assignment and deletion):
        InvalidExperiment: the file would not be valid any more.
    """

    def __init__(self, file: ConfigFile, path: tuple[str, ...] = ()) -> None:
        self._file = file
        self._path = path

    def __getitem__(self, key: str) -> Any:
        value = self._node(self._file.current().document)[key]
        return ConfigView(self._file, (*self._path, key)) if isinstance(value, dict) else copy.deepcopy(value)

    def __setitem__(self, key: str, value: Any) -> None:
        plain = _plain(value)
        self._file.update(lambda document: self._node(document).__setitem__(key, plain))

    def __delitem__(self, key: str) -> None:
        self._file.update(lambda document: self._node(document).__delitem__(key))

    def __iter__(self) -> Iterator[str]:
        return iter(list(self._node(self._file.current().document)))

    def __len__(self) -> int:
        return len(self._node(self._file.current().document))

    def __repr__(self) -> str:
        return repr(_plain(self))

    def _node(self, document: Document) -> Document:
        node: Any = document
        for key in self._path:
            node = node[key]
        return cast(Document, node)


def parse(content: bytes) -> object:
    """The JSON of the file's bytes; `//` lines at its head, a byte-order mark and nothing else are forgiven.

    Raises:
        ValueError: it is not JSON, or a key is written twice.
    """
    lines = content.decode("utf-8-sig").splitlines(keepends=True)
    head = 0
    while head < len(lines) and (not lines[head].strip() or lines[head].lstrip().startswith("//")):
        head += 1
    # Blank lines in place of the comments keep the line numbers of error messages right.
    text = "\n" * head + "".join(lines[head:])
    return strict_json(text)


def validate(document: object) -> Snapshot:
    """The state that the file's JSON describes.

    Raises:
        InvalidExperiment: it is not what the guide describes; `errors` says where.
    """
    if not isinstance(document, dict):
        raise InvalidExperiment("the configuration must be an object with `experiments` and `default_model`")
    try:
        schema = _Schema.model_validate(document)
    except ValidationError as err:
        raise invalid_experiment(problems(err)) from err
    return Snapshot(document, schema.experiments, schema.default_model, schema.default_change)


def _stamp(path: Path) -> Stamp | None:
    try:
        status = os.stat(path)
    except OSError:
        return None
    return (status.st_mtime_ns, status.st_size, status.st_ino)


def _plain(value: Any) -> Any:
    return {key: _plain(item) for key, item in value.items()} if isinstance(value, Mapping) else value

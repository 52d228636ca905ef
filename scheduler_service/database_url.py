"""Where a database is: the path of a file, or `postgresql+psycopg://user:password@host:5432,other:5432/name?sslmode=verify-full`.

No text that this module makes contains the password.
"""

import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import parse_qsl, quote, unquote, urlsplit

from pydantic_core import PydanticCustomError

from scheduler_service.errors import InvalidInput, StorageUnavailable, invalid

SCHEMES = ("postgresql+psycopg", "postgresql")
SECRETS = frozenset({"password", "sslpassword", "passfile"})
"""Parameters that are not shown; `passfile` because a mistyped one may be the password."""
MIN_SCRUBBED = 3
"""A shorter password is not searched for in texts of others: it would match by chance."""
_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:/")  # `Path` makes one slash of two
_PARAMETER = re.compile(r"[a-z_]+")
_HOST = re.compile(r"(?P<name>\[[0-9A-Fa-f:.%]+\]|[A-Za-z0-9._-]+)(?::(?P<port>[0-9]{1,5}))?")


@dataclass(frozen=True, slots=True)
class DatabaseUrl:
    """Where a PostgreSQL database is, and how to log in."""

    hosts: tuple[tuple[str, int | None], ...]  # tried in this order; none: the local socket or PGHOST
    name: str  # of the database; "": as the user
    user: str  # "": PGUSER, or the user of the process
    password: str = field(default="", repr=False)
    parameters: Mapping[str, str] = field(default_factory=dict, repr=False, hash=False)  # of libpq
    password_file: Path | None = None  # read for each connection

    @property
    def shown(self) -> str:
        """The address without secrets, for texts and logs."""
        hosts = ",".join(host if port is None else f"{host}:{port}" for host, port in self.hosts)
        user = f"{quote(self.user)}@" if self.user else ""
        return f"postgresql://{user}{hosts}/{quote(self.name)}"

    def arguments(self) -> dict[str, str]:
        """The parameters of libpq for one connection, with the password.

        Raises:
            StorageUnavailable: the password's file cannot be read, or contains no password.
        """
        given = {"dbname": self.name, "user": self.user, "password": self._password()}
        if self.hosts:
            given["host"] = ",".join(host.strip("[]") for host, _ in self.hosts)
            given["port"] = ",".join("" if port is None else str(port) for _, port in self.hosts)
        return {name: value for name, value in given.items() if value.strip(",")} | dict(self.parameters)

    def scrubbed(self, text: str) -> str:
        """`text`, in which every secret of this address is replaced by `***`."""
        for secret in self._secrets():
            text = text.replace(secret, "***")
        return text

    def _password(self) -> str:
        return self.password if self.password_file is None else _read_password(self.password_file)

    def _secrets(self) -> Iterator[str]:
        known = [self.password, *(self.parameters[name] for name in SECRETS & set(self.parameters))]
        if self.password_file is not None:
            with suppress(StorageUnavailable):  # then no text can contain it
                known.append(self._password())
        for secret in (each for each in known if len(each) >= MIN_SCRUBBED):
            yield from (secret, quote(secret, safe=""))


def is_address(value: str | Path) -> bool:
    """Whether it begins with a scheme. A folder with that name would show the password in it."""
    return _ADDRESS.match(str(value)) is not None


def parse_path(value: str | Path) -> Path:
    """The path.

    Raises:
        InvalidInput: it is an address, such as that of a database; the text does not repeat it.
    """
    if is_address(value):
        raise InvalidInput("address_as_path")
    return Path(value)


def parse_place(value: str | Path, password_file: Path | None = None) -> Path | DatabaseUrl:
    """The path of a database file, or an address, which is a text with `://`.

    Raises:
        InvalidInput: it is an invalid address, or the address is given as a path; or a path has a password.
    """
    if not isinstance(value, str) or "://" not in value:
        path = parse_path(value)
        if password_file is not None:
            raise InvalidInput("password_without_url")
        return path
    try:
        return parse_database_url(value, password_file)
    except PydanticCustomError as err:
        raise InvalidInput(err.type, **(err.context or {})) from err


def parse_database_url(text: str, password_file: Path | None = None) -> DatabaseUrl:
    """The address in `text`.

    Raises:
        ValueError: it is invalid; the text does not repeat it.
    """
    try:
        parts = urlsplit(text.strip())
        given = dict(parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query)))
    except ValueError:
        raise invalid("database_url_shape") from None
    if parts.scheme not in SCHEMES:
        raise invalid("database_url_scheme", known=list(SCHEMES))
    login, _, hosts = parts.netloc.rpartition("@")
    user, _, password = login.partition(":")
    # An unescaped @, :, / or # of a password ends up in another part; none of it may be shown.
    if "@" in login or ":" in password or parts.fragment or "/" in parts.path.removeprefix("/") or "@" in parts.path:
        raise invalid("database_url_escape")
    if not all(map(_PARAMETER.fullmatch, given)):
        raise invalid("database_url_shape")
    where = tuple(_host(each) for each in (hosts or given.pop("host", "")).split(",") if each)
    return DatabaseUrl(
        hosts=where,
        name=unquote(parts.path.removeprefix("/")) or given.pop("dbname", ""),
        user=unquote(user) or given.pop("user", ""),
        password=unquote(password) or given.pop("password", ""),
        parameters=given,
        password_file=password_file,
    )


def _read_password(file: Path) -> str:
    """The password, without the end of its line. Nothing of the file is shown: it may be the wrong one."""
    try:
        password = file.read_text("utf-8-sig").rstrip("\r\n")
    except OSError as err:
        raise StorageUnavailable("password_file_unreadable", path=str(file), reason=err.strerror or str(err)) from err
    except ValueError:
        raise StorageUnavailable("password_file_encoding", path=str(file)) from None
    if not password:
        raise StorageUnavailable("password_file_empty", path=str(file))
    return password


def _host(text: str) -> tuple[str, int | None]:
    """A host name, an address, or the folder of a local socket (`%2Fvar%2Frun%2Fpostgresql`), with its port."""
    folder, _, port = unquote(text).rpartition(":")
    if unquote(text).startswith("/"):
        return (folder, int(port)) if folder and port.isdecimal() else (unquote(text), None)
    found = _HOST.fullmatch(text)
    if found is None:
        raise invalid("database_url_host")
    return found["name"], None if found["port"] is None else int(found["port"])

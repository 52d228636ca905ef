"""Every setting, in one place: from `SCHED_*` environment variables or the flags of `enhanced_flask.py`.

`python -m scheduler_service.settings` prints their table, which docs/operations.md shows.
"""

import ipaddress
import re
from collections.abc import Iterable
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, Self, get_args, get_origin
from urllib.parse import SplitResult, urlsplit

from pydantic import Field, IPvAnyNetwork, SecretStr, ValidationError, field_validator, model_validator
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from scheduler_env.cores import usable_cores
from scheduler_service.alert_rules import check
from scheduler_service.database_url import DatabaseUrl, is_address, parse_database_url
from scheduler_service.errors import ServiceError, invalid
from scheduler_service.keys import ANONYMOUS_SCOPES, parse_keys
from scheduler_service.words import Message

PROJECT_ROOT = Path(__file__).resolve().parent.parent
N_CORES = usable_cores()
WEBHOOK_KINDS = ("json", "dingtalk", "wecom", "feishu")
SMTP_PORTS = {"smtp": 25, "smtp+starttls": 587, "smtps": 465}
"""The schemes of SCHED_ALERT_SMTP_URL, with the port where none is said."""
_MAIL_ADDRESS = re.compile(r"[!-?A-~]+@[!-?A-~]+")


class Settings(BaseSettings):
    """Where the service keeps things and how it behaves; each field is the variable `SCHED_<NAME>`."""

    model_config = SettingsConfigDict(env_prefix="SCHED_", frozen=True, hide_input_in_errors=True)

    home: Path = Field(
        default=PROJECT_ROOT,
        description="Folder for models/, logs/, reports/ and ab_test_config.json; the service writes nowhere else.",
    )
    host: str = Field(default="127.0.0.1", description="Address to listen on; the default is loopback.")
    port: int = Field(default=5001, ge=0, le=65535, description="TCP port; 0 selects a free one.")
    workers: int = Field(default=1, ge=1, le=64, description="Worker processes.")
    database_url: SecretStr | None = Field(
        default=None,
        description="PostgreSQL for the records instead of a file: postgresql+psycopg://user:password@host:5432/name; "
        "hosts comma-separated, parameters of libpq such as ?sslmode=verify-full.",
    )
    database_password_file: Path | None = Field(
        default=None, description="File with the password for SCHED_DATABASE_URL; read for each connection."
    )
    replicas: int = Field(
        default=1,
        ge=1,
        le=1_000,
        description="Replicas behind one load balancer. Each allows this part of SCHED_RATE_LIMIT and of unknown keys.",
    )
    data: Path = Field(
        default=PROJECT_ROOT.parent / "shared" / "data",
        description="Reference data (PSPLIB, hash vectors) for tests and benchmarks; not needed for serving.",
    )
    batch: Literal["local", "ray"] = Field(
        default="local",
        description="Executor of batch work on the command line: processes of this machine, or the Ray cluster in "
        "RAY_ADDRESS.",
    )
    api_keys: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(),
        description="API keys, comma-separated: <name>:<scope>[+<scope>]:<sha256 hex>, scopes run, read, admin.",
    )
    anonymous_scopes: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(), description="Scopes of clients without a key on other machines, comma-separated: run, read."
    )
    rate_limit: int = Field(
        default=6_000,
        ge=0,
        le=1_000_000,
        description="Requests a minute per key, or per keyless address; 0: no limit. Keyless loopback is not limited.",
    )
    model_sources: Annotated[tuple[Path, ...], NoDecode] = Field(
        default=(),
        description="Folders, comma-separated, from which POST /models/register may read weights; SCHED_HOME if empty.",
    )
    cors_origins: Annotated[tuple[str, ...], NoDecode] = Field(
        default=("http://localhost:*", "http://127.0.0.1:*"),
        description="Allowed CORS origins, comma-separated; * stands for any port.",
    )
    allowed_hosts: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(),
        description="Host names of this service in DNS or at a proxy, comma-separated. Always allowed: loopback; if "
        "other machines can connect, also addresses and names without a dot.",
    )
    trusted_proxies: Annotated[tuple[IPvAnyNetwork, ...], NoDecode] = Field(
        default=(),
        description="Networks of proxies whose X-Forwarded-For and X-Forwarded-Proto are trusted, comma-separated. If "
        "set, clients need keys on loopback, too.",
    )
    compute_threads: int = Field(
        default=0,
        ge=0,
        le=64,
        description="Native threads per worker that compute schedules; 0: number of cores divided by workers.",
    )
    max_waiting: int = Field(
        default=256,
        ge=0,
        le=100_000,
        description="Requests per worker that may wait for a thread of one kind; more get 503 with Retry-After.",
    )
    answer_cache_mib: int = Field(
        default=0, ge=0, le=65_536, description="Cache size per worker for schedules of repeated requests; 0: no cache."
    )
    max_body_bytes: int = Field(default=8 * 2**20, ge=1024, description="Largest request body; larger ones get 413.")
    max_time_budget_ms: int = Field(default=60_000, ge=0, description="Longest time budget that a request may set.")
    auto_rollback: bool = Field(
        default=False, description="Roll back automatically if the live model performs worse than in its validation."
    )
    auto_rollback_cool_down_h: float = Field(
        default=24.0, ge=0.0, le=8760.0, description="Hours between two automatic rollbacks."
    )
    retention_days: float = Field(
        default=0.0, ge=0.0, le=3660.0, description="Days after which runs are replaced by daily sums; 0: never."
    )
    report_retention_days: float = Field(
        default=0.0, ge=0.0, le=3660.0, description="Days after which reports are deleted; 0: never."
    )
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        default="INFO", description="Lowest level that is logged."
    )
    log_format: Literal["text", "json"] = Field(
        default="text", description="Log format: text, or json with one JSON object per line."
    )
    log_to: Literal["file", "stdout"] = Field(
        default="file",
        description="Target of the log: logs/flask_service.log and stderr, or only stdout, for containers.",
    )
    log_max_bytes: int = Field(default=20 * 2**20, ge=4096, description="Size at which the log file is rotated.")
    log_backups: int = Field(default=30, ge=0, description="Number of rotated log files to keep.")

    alert_webhooks: Annotated[tuple[SecretStr, ...], NoDecode] = Field(
        default=(),
        description="Webhooks for alerts, comma-separated: <kind>=<url>, kind json, dingtalk, wecom or feishu.",
    )
    alert_dingtalk_secret: SecretStr | None = Field(
        default=None, description="Secret (SEC...) that signs the messages to DingTalk robots."
    )
    alert_feishu_secret: SecretStr | None = Field(
        default=None, description="Secret that signs the messages to Feishu robots."
    )
    alert_smtp_url: SecretStr | None = Field(
        default=None,
        description="Mail server for alerts: smtp+starttls://user:password@host:587, smtps://... or smtp://host.",
    )
    alert_mail_from: str | None = Field(default=None, description="Sender address of alert mails.")
    alert_mail_to: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(), description="Recipients of alert mails, comma-separated."
    )

    alert_every_s: float = Field(
        default=30.0,
        ge=0.0,
        le=3600.0,
        description="Seconds between two checks for alerts; 0: no checks, deliveries or cleanup.",
    )
    alert_confirm_s: float = Field(
        default=60.0, ge=0.0, le=86400.0, description="Seconds that a condition must hold before its alert fires."
    )
    alert_cool_down_s: float = Field(
        default=1800.0,
        ge=0.0,
        le=604800.0,
        description="Shortest time in seconds between two notifications of the same alert.",
    )
    alert_remind_h: float = Field(
        default=24.0, gt=0.0, le=8760.0, description="Hours until the reminder of an unacknowledged alert."
    )
    alert_thresholds: dict[str, float] = Field(
        default_factory=dict,
        description='Thresholds that replace the defaults, as JSON: {"max_makespan": 80, "max_gap_10": 0.05}.',
    )
    alert_lang: Literal["zh", "en"] = Field(default="zh", description="Language of alerts: zh or en.")

    @field_validator(
        *(
            "api_keys",
            "anonymous_scopes",
            "model_sources",
            "cors_origins",
            "allowed_hosts",
            "trusted_proxies",
            "alert_webhooks",
            "alert_mail_to",
        ),
        mode="before",
    )
    @classmethod
    def _split_commas(cls, value: object) -> object:
        return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value

    @field_validator("log_level", mode="before")
    @classmethod
    def _upper(cls, value: object) -> object:
        return value.upper() if isinstance(value, str) else value

    @field_validator("alert_thresholds")
    @classmethod
    def _known_thresholds(cls, value: dict[str, float]) -> dict[str, float]:
        for name, limit in value.items():
            try:
                check(name, limit)
            except ServiceError as err:
                problem = Message(f"errors.{err.code}", err.params)
                raise invalid("threshold_refused", name=name, problem=problem) from err
        return value

    @field_validator("home", "data", "model_sources", "database_password_file")
    @classmethod
    def _paths(cls, value: Path | tuple[Path, ...] | None) -> Path | tuple[Path, ...] | None:
        for path in (value,) if isinstance(value, Path) else value or ():
            if is_address(path):
                raise invalid("address_as_path")
        return value

    @field_validator("home", "data")
    @classmethod
    def _absolute(cls, value: Path) -> Path:
        return value.expanduser().resolve()

    @field_validator(
        *("alert_dingtalk_secret", "alert_feishu_secret", "alert_smtp_url", "alert_mail_from"),
        *("database_url", "database_password_file"),
        mode="before",
    )
    @classmethod
    def _empty_is_unset(cls, value: object) -> object:
        return value.strip() or None if isinstance(value, str) else value

    # The texts below never repeat the value: it holds a token or a password.

    @field_validator("api_keys")
    @classmethod
    def _usable_keys(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        parse_keys(value)
        return value

    @field_validator("anonymous_scopes")
    @classmethod
    def _harmless_scopes(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if not set(value) <= set(ANONYMOUS_SCOPES):
            raise invalid("scopes_need_key", known=list(ANONYMOUS_SCOPES))
        return value

    @field_validator("database_url")
    @classmethod
    def _usable_database(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None:
            parse_database_url(value.get_secret_value())
        return value

    @field_validator("alert_webhooks")
    @classmethod
    def _usable_webhooks(cls, value: tuple[SecretStr, ...]) -> tuple[SecretStr, ...]:
        for number, entry in enumerate(value, start=1):
            kind, _, url = entry.get_secret_value().partition("=")
            if kind not in WEBHOOK_KINDS:
                raise invalid("webhook_shape", entry=number, kinds=list(WEBHOOK_KINDS))
            parts = _split_url(url)
            if parts is None or parts.scheme not in ("http", "https"):
                raise invalid("webhook_address", entry=number, kind=kind)
            if parts.username is not None or parts.fragment:
                raise invalid("webhook_address_parts", entry=number, kind=kind)
            if parts.scheme == "http" and kind != "json" and not is_loopback(parts.hostname or ""):
                raise invalid("webhook_needs_https", entry=number, kind=kind)
        return value

    @field_validator("alert_smtp_url")
    @classmethod
    def _usable_mail_server(cls, value: SecretStr | None) -> SecretStr | None:
        if value is None:
            return None
        parts = _split_url(value.get_secret_value())
        if parts is None or parts.scheme not in SMTP_PORTS or parts.path.strip("/") or parts.query or parts.fragment:
            raise invalid("mail_address_of_server")
        if (parts.username is None) != (not parts.password):
            raise invalid("mail_login")
        if parts.scheme == "smtp" and parts.username is not None and not is_loopback(parts.hostname or ""):
            raise invalid("mail_needs_tls")
        return value

    @field_validator("alert_mail_from", "alert_mail_to")
    @classmethod
    def _mail_addresses(cls, value: str | tuple[str, ...] | None) -> str | tuple[str, ...] | None:
        for address in (value,) if isinstance(value, str) else value or ():
            if not _MAIL_ADDRESS.fullmatch(address) or set(address) & set('<>(),;:"\\[]'):
                raise invalid("mail_address", address=repr(address))
        return value

    @model_validator(mode="after")
    def _mail_is_complete(self) -> Self:
        said = [self.alert_smtp_url is not None, self.alert_mail_from is not None, bool(self.alert_mail_to)]
        if any(said) and not all(said):
            raise invalid("mail_incomplete")
        return self

    @model_validator(mode="after")
    def _password_has_a_use(self) -> Self:
        if self.database_password_file is not None and self.database_url is None:
            raise invalid("password_file_without_url")
        return self

    @property
    def is_exposed(self) -> bool:
        """Whether other machines reach the service, directly or through a proxy."""
        return not is_loopback(self.host) or bool(self.trusted_proxies)

    @property
    def threads_of_worker(self) -> int:
        """Native threads of one worker that compute schedules, >= 1."""
        return self.compute_threads or max(1, N_CORES // self.workers)

    @property
    def models_dir(self) -> Path:
        return self.home / "models"

    @property
    def logs_dir(self) -> Path:
        return self.home / "logs"

    @property
    def reports_dir(self) -> Path:
        return self.home / "reports"

    @property
    def ab_config_file(self) -> Path:
        return self.home / "ab_test_config.json"

    @property
    def thresholds_file(self) -> Path:
        return self.home / "alert_thresholds.json"

    @property
    def database_file(self) -> Path:
        return self.logs_dir / "performance.db"

    @property
    def records(self) -> Path | DatabaseUrl:
        """Where the records are: in a file, or in PostgreSQL."""
        if self.database_url is None:
            return self.database_file
        return parse_database_url(self.database_url.get_secret_value(), self.database_password_file)

    @property
    def seed_models_dir(self) -> Path:
        """The trained models that the project ships; read, never written."""
        return PROJECT_ROOT / "models" / "seed"


def is_loopback(host: str) -> bool:
    """Whether `host`, a name or an address, is this machine."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _split_url(url: str) -> SplitResult | None:
    """The parts of an address that has a host and only printable ASCII; None for another."""
    if not re.fullmatch(r"[!-~]+", url):
        return None
    try:
        parts = urlsplit(url)
        # To look at the port is to check it.
        return parts if parts.hostname and parts.port != 0 else None
    except ValueError:
        return None


@cache
def settings_from_environment(home: Path | None = None) -> Settings:
    """The settings of this process; read once.

    Args:
        home: replaces that of the environment.

    Raises:
        SystemExit: a variable has an impossible value; the text names it.
    """
    if home is not None:
        return settings_from_environment().model_copy(update={"home": home.expanduser().resolve()})
    try:
        return Settings()
    except ValidationError as err:
        raise SystemExit("; ".join(map(_told, err.errors()))) from None


def _told(error: ErrorDetails) -> str:
    if not error["loc"]:  # of several settings together; the message names them
        return error["msg"]
    # Settings of alerts and of the database hold tokens and passwords, which must not reach the log of whoever starts
    # us; and somebody may have pasted a key where its digest belongs, or an address where a path belongs.
    name = str(error["loc"][0])
    is_secret = name.startswith(("alert_", "api_keys", "database_")) or error["type"] == "address_as_path"
    shown = "" if is_secret else f"={error['input']!r}"
    return f"SCHED_{name.upper()}{shown}: {error['msg']}"


def unknown_variables(names: Iterable[str]) -> list[str]:
    """A line for each of `names` of environment variables that looks like a setting and is none."""
    known = [f"SCHED_{name.upper()}" for name in Settings.model_fields]
    found = sorted(name for name in names if name.upper().startswith("SCHED_") and name.upper() not in known)
    return [f"the variable {name} is no setting of this service{_meant(name.upper(), known)}" for name in found]


def _meant(name: str, known: list[str]) -> str:
    close = get_close_matches(name, known, n=1, cutoff=0.7)
    return f"; did you mean {close[0]}?" if close else "; `python enhanced_flask.py --help` names them"


def settings_table() -> str:
    """Markdown: each setting's variable, default, limits and meaning."""
    rows = ["| variable | default | limits | meaning |", "|---|---|---|---|"]
    for name, field in Settings.model_fields.items():
        default = _DEFAULTS_IN_WORDS.get(name) or _as_code(field.get_default(call_default_factory=True))
        meaning = str(field.description).replace("<", "\\<")  # Markdown would take <name> for HTML
        rows.append(f"| `SCHED_{name.upper()}` | {default} | {_limits(field)} | {meaning} |")
    return "\n".join(rows)


_DEFAULTS_IN_WORDS = {"home": "the project's folder", "data": "`../shared/data`"}


def _as_code(value: object) -> str:
    """A default as the variable would say it; nothing, where it would be empty."""
    if isinstance(value, tuple):
        return ", ".join(f"`{each}`" for each in value)
    if isinstance(value, bool | float):
        return f"`{value:g}`" if isinstance(value, float) else f"`{value}`".lower()
    return "" if value is None or value == {} else f"`{value}`"


def _limits(field: FieldInfo) -> str:
    if field.annotation is bool:
        return "true, false"
    if get_origin(field.annotation) is Literal:
        return ", ".join(get_args(field.annotation))
    said: dict[str, Any] = {
        sign: getattr(limit, sign) for limit in field.metadata for sign in ("gt", "ge", "le") if hasattr(limit, sign)
    }
    least = f"above {said['gt']:,g}" if "gt" in said else f"at least {said['ge']:,}" if "ge" in said else ""
    if "le" not in said:
        return least
    beginning = f"{least}, to" if "gt" in said else f"{said['ge']:,g} to"
    return f"{beginning} {said['le']:,.0f}"


if __name__ == "__main__":
    print(settings_table())

"""Every setting, in one place: from `SCHED_*` environment variables or the flags of `enhanced_flask.py`."""

from functools import cache
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, ValidationError, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

PROJECT_ROOT = Path(__file__).resolve().parent.parent


class Settings(BaseSettings):
    """Where the service keeps things and how it behaves; each field is the variable `SCHED_<NAME>`."""

    model_config = SettingsConfigDict(env_prefix="SCHED_", frozen=True)

    home: Path = Field(
        default=PROJECT_ROOT,
        description="Folder with models/, logs/, reports/ and ab_test_config.json; nothing is written elsewhere.",
    )
    host: str = Field(default="127.0.0.1", description="Address to listen on; loopback by default.")
    port: int = Field(default=5001, ge=0, le=65535, description="TCP port; 0 picks a free one.")
    workers: int = Field(default=1, ge=1, le=64, description="Worker processes.")
    data: Path = Field(
        default=PROJECT_ROOT.parent / "shared" / "data",
        description="Reference data (PSPLIB, hash vectors) for tests and benchmarks; never needed to serve.",
    )
    api_keys: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(),
        description="SHA-256 hex digests of the API keys, comma-separated; needed for changes once not on loopback.",
    )
    model_sources: Annotated[tuple[Path, ...], NoDecode] = Field(
        default=(),
        description="Folders, comma-separated, that POST /models/register may read weights from; SCHED_HOME if empty.",
    )
    cors_origins: Annotated[tuple[str, ...], NoDecode] = Field(
        default=("http://localhost:*", "http://127.0.0.1:*"),
        description="Origins, comma-separated, that browsers may call from; * inside stands for a port.",
    )
    compute_threads: int = Field(default=2, ge=1, le=64, description="Native threads that compute schedules.")
    max_body_bytes: int = Field(default=8 * 2**20, ge=1024, description="Largest request body; above it 413.")
    max_time_budget_ms: int = Field(default=60_000, ge=0, description="Longest improvement a request may ask for.")
    auto_rollback: bool = Field(
        default=False, description="Roll back by itself when the live model does worse than it was validated for."
    )
    auto_rollback_cool_down_h: float = Field(
        default=24.0, ge=0.0, le=8760.0, description="Hours after such a rollback before another one."
    )
    log_level: str = Field(default="INFO", description="DEBUG, INFO, WARNING or ERROR.")
    log_format: Literal["text", "json"] = Field(
        default="text", description="text, or json: one JSON object on each line of the log."
    )
    log_max_bytes: int = Field(default=20 * 2**20, ge=4096, description="Size at which the log file is rotated.")
    log_backups: int = Field(default=30, ge=0, description="Rotated log files kept.")

    @field_validator("api_keys", "model_sources", "cors_origins", mode="before")
    @classmethod
    def _split_commas(cls, value: object) -> object:
        return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value

    @field_validator("home", "data")
    @classmethod
    def _absolute(cls, value: Path) -> Path:
        return value.expanduser().resolve()

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
    def database_file(self) -> Path:
        return self.logs_dir / "performance.db"

    @property
    def seed_models_dir(self) -> Path:
        """The trained models that the project ships; read, never written."""
        return PROJECT_ROOT / "models" / "seed"


@cache
def settings_from_environment() -> Settings:
    """The settings of this process; read once.

    Raises:
        SystemExit: a variable has an impossible value; the text names it.
    """
    try:
        return Settings()
    except ValidationError as err:
        told = [f"SCHED_{str(item['loc'][0]).upper()}={item['input']!r}: {item['msg']}" for item in err.errors()]
        raise SystemExit("; ".join(told)) from None

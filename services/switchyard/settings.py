"""The environment in, one frozen object out. Nothing else reads `os.environ`."""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, Literal, Self, TypeVar
from urllib.parse import quote, urlsplit
from zoneinfo import ZoneInfo

from dotenv import dotenv_values
from pydantic import Field, SecretStr, ValidationError, ValidationInfo, field_validator
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, SettingsError

from switchyard.errors import ConfigError, refusal

ROOT = Path(__file__).resolve().parents[2]
#: URLs of one Redis or Valkey server, for which our transports are made.
_ONE_SERVER = ("redis://", "rediss://", "redis+socket://")

S = TypeVar("S", bound="EnvironmentSettings")


def environment() -> dict[str, str]:
    """All of it; for handing on to a child, not for looking a setting up."""
    return dict(os.environ)


def add_to_environment(values: Mapping[str, str]) -> None:
    """For somebody else's program that goes on in this process and reads its options there."""
    os.environ.update(values)


class SecretFiles(PydanticBaseSettingsSource):
    """`<NAME>_FILE` for every secret: a file keeps it out of `docker inspect`, of `ps` and of shell histories."""

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        del field
        return None, field_name, False  # a whole-dict source: pydantic-settings calls __call__

    def __call__(self) -> dict[str, Any]:
        given = {**dotenv_values(self.config.get("env_file")), **os.environ}  # type: ignore[arg-type]
        return {
            name: _read_secret(name, given)
            for name in secret_names(self.settings_cls)
            if given.get(f"{name.upper()}_FILE")
        }


def secret_names(cls: type[BaseSettings]) -> list[str]:
    """The settings that are secrets; each may be given as a file."""
    return [name for name, field in cls.model_fields.items() if "SecretStr" in str(field.annotation)]


def _read_secret(name: str, given: dict[str, str | None]) -> str:
    variable = f"{name.upper()}_FILE"
    if given.get(name.upper()):
        raise ConfigError(f"{name.upper()} and {variable} are both set; keep one of them.")
    try:
        secret = Path(given[variable] or "").read_text().strip()
    except OSError as exc:
        raise ConfigError(f"{variable}: cannot read {given[variable]!r} ({exc.strerror}).") from exc
    except UnicodeDecodeError:  # whose message, and its chain, would show the secret
        raise ConfigError(f"{variable}: {given[variable]!r} is no text file.") from None
    if not secret:
        raise ConfigError(f"{variable}: {given[variable]!r} is empty; expected the secret in it.")
    return secret


class EnvironmentSettings(BaseSettings):
    """Frozen settings from the environment, then `.env`; `<NAME>_FILE` names a file that holds a secret."""

    model_config = SettingsConfigDict(
        env_file=ROOT / ".env", env_nested_delimiter="__", env_ignore_empty=True, extra="ignore", frozen=True
    )

    @classmethod
    def settings_customise_sources(
        cls, settings_cls: type[BaseSettings], init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource, dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:  # fmt: skip
        del file_secret_settings
        return init_settings, SecretFiles(settings_cls), env_settings, dotenv_settings

    @classmethod
    def load(cls) -> Self:
        """Read the environment once. Raises ConfigError naming each variable and what was expected of it."""
        try:
            return cls()
        except ValidationError as exc:
            # A default that is made of other settings is not wrong by itself when one of those is.
            errors = [error for error in exc.errors() if error["type"] != "default_factory_not_called"]
            raise ConfigError("\n".join(_sentence(cls, error) for error in errors)) from None
        except SettingsError as exc:  # pydantic-settings' own, for a table that is not JSON; it names the field
            name = next((name for name in cls.model_fields if f'"{name}"' in str(exc)), "a setting")
            raise ConfigError(f'{name.upper()}: expected a JSON object, such as {{"name": "value"}}.') from None


def _sentence(cls: type[EnvironmentSettings], error: Any) -> str:
    name, *path = (str(part) for part in error["loc"])
    secret = name in secret_names(cls)
    return f"{'__'.join([name, *path]).upper()}: {refusal(error, secret=secret)}."


def known_zone(value: str) -> str:
    """The name of a time zone. Raises ValueError for what is none."""
    try:
        ZoneInfo(value)
    except (KeyError, ValueError, OSError) as exc:
        raise ValueError("expected the name of a time zone, such as Europe/Berlin") from exc
    return value


class Settings(EnvironmentSettings):
    """The core's settings. `.env.example` explains each; a test keeps the two in step."""

    api_hosts: str = Field(
        "localhost,127.0.0.1,[::1]", description="Names under which the HTTP door is called; others are refused"
    )
    api_port: int = Field(8000, ge=1, le=65535, description="The HTTP door's port on 127.0.0.1")
    broker_lease: float = Field(
        30, ge=5, le=3600, description="Seconds after which a dead worker's messages go to another; living ones renew"
    )
    broker_transport: Literal["leased", "stock"] = Field(
        "leased", description="leased: ours, where a dead worker's messages are back in seconds; stock: kombu's rules"
    )
    celery_app: str | None = Field(None, description="The Celery app the workers run, as module:attribute")
    celery_broker_url: SecretStr | None = Field(None, description="The broker; empty: the Redis that `make up` starts")
    celery_result_backend: SecretStr | None = Field(
        None, description="Results and workflow records; empty: where the broker is"
    )
    compose_file: str = Field("docker-compose.yml", description="Compose's files, with : between them")
    compose_profiles: str = Field("", description="Compose's profiles besides demo, with commas between them")
    config_dir: Path = Field(ROOT / "config", description="The folder of queues.toml and events.toml")
    dead_letters_days: float = Field(
        30, gt=0, le=3650, description="Days a dead letter is kept, unless it is replayed or dropped before"
    )
    dead_letters_max: int = Field(
        10_000,
        ge=1,
        le=1_000_000,
        description="Dead letters beyond which the oldest are dropped, each with a line in the log",
    )
    demo: bool = Field(default=False, description="Supplier, seed data and the demo's programs: 1 or 0")
    flower_basic_auth: SecretStr | None = Field(None, description="user:password of Flower; empty: generated")
    flower_port: int = Field(5555, ge=1, le=65535, description="Flower's port on 127.0.0.1")
    force: bool = Field(default=False, description="Do what is refused because work would be lost: 1 or 0")
    log_format: Literal["auto", "console", "json"] = Field("auto", description="auto: colour on a terminal, else JSON")
    max_deliveries: int = Field(
        5, ge=1, le=1000, description="Times a message may be lost with its worker before it is set aside"
    )
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"] = Field("INFO", description="Of our processes")
    python_image: str = Field("python:3.13-slim-trixie", description="The image that ours are made from")
    redacted_arguments: str = Field(
        "password,secret,token,authorization,api_key",
        description="Names, with commas between them: a dead letter is shown without the values of keys that contain one",
    )
    queue: str | None = Field(None, description="The queue this worker process consumes; set by the supervisor")
    queues: dict[str, dict[str, str]] = Field(default_factory=dict, description="QUEUES__<QUEUE>__<KEY> overrides")
    redis_image: str = Field("redis:8-trixie", description="The image of Redis, in containers")
    redis_port: int = Field(6380, ge=1, le=65535, description="The port of the Redis that `make up` starts")
    state_dir: Path = Field(ROOT / ".switchyard", description="Everything a running local deployment writes")
    listen_address: str = Field("127.0.0.1", description="The address on which our servers listen; containers set it")
    node_host: str | None = Field(None, description="What follows the @ in a worker's name; empty: the machine's name")
    runtime: Literal["docker", "local"] | None = Field(
        None, description="docker or local; empty: Docker where an engine answers"
    )
    build_ca: Path | None = Field(
        None, description="The certificates with which images are built; empty: those that pip uses, or this machine"
    )
    artefacts_dir: Path = Field(
        default_factory=lambda given: given["state_dir"] / "artefacts", description="Where reports' files are kept"
    )
    artefacts_host_dir: Path | None = Field(None, description="Where that is for whoever reads it; set for containers")
    api_tokens_file: Path = Field(
        default_factory=lambda given: given["state_dir"] / "secrets" / "api_tokens",
        description="Who may call the HTTP door: a line `name:token` each",
    )
    task_routes: dict[str, str] = Field(default_factory=dict, description='{"task": "queue"}: re-routes single tasks')
    timezone: str = Field("UTC", description="The time zone of the schedules in events.toml")
    workflow_expires: int = Field(604800, ge=3600, description="Seconds a workflow's record outlives its last progress")

    @field_validator("state_dir", "config_dir", "artefacts_dir", "api_tokens_file", "build_ca")
    @classmethod
    def _absolute(cls, value: Path | None) -> Path | None:
        return ROOT / value if value else None

    @field_validator("celery_broker_url", "celery_result_backend")
    @classmethod
    def _url(cls, value: SecretStr | None) -> SecretStr | None:
        try:
            urlsplit(value.get_secret_value() if value else "")
        except ValueError:  # whose message may show the password
            raise ValueError("expected a URL, in whose password [ ] / @ # are %5B %5D %2F %40 %23") from None
        return value

    @field_validator("celery_broker_url")
    @classmethod
    def _leased_from_one_server(cls, value: SecretStr | None, given: ValidationInfo) -> SecretStr | None:
        urls = value.get_secret_value().split(";") if value else []  # several to fail over between
        if given.data.get("broker_transport") == "leased" and not all(url.startswith(_ONE_SERVER) for url in urls):
            raise ValueError(
                "expected redis:// or rediss://, since leases need one server with all keys, no cluster and no sentinels; "
                "or set BROKER_TRANSPORT=stock, with kombu's own rules of delivery"
            )
        return value

    @field_validator("timezone")
    @classmethod
    def _zone(cls, value: str) -> str:
        return known_zone(value)

    def secret_file(self, name: str) -> Path:
        """Where `make up` keeps the generated secret `name` (mode 0600)."""
        return self.state_dir / "secrets" / name

    def broker_url(self) -> str:
        """The broker's URL with its password. Raises ConfigError while no deployment has been brought up."""
        return self._redis_url(self.celery_broker_url, database=0)

    def broker_is_one_server(self) -> bool:
        """Whether the broker has our transports; another kind, such as sentinel://, has kombu's own."""
        return self.broker_url().startswith(_ONE_SERVER)

    def result_backend_url(self) -> str:
        """The URL of results and workflow records, with its password. Raises as `broker_url` does."""
        return self._redis_url(self.celery_result_backend or self.celery_broker_url, database=1)

    def _redis_url(self, given: SecretStr | None, database: int) -> str:
        if given is not None:
            return given.get_secret_value()
        try:
            password = self.secret_file("redis_password").read_text().strip()
        except FileNotFoundError:
            raise ConfigError("There is no deployment here yet: run `make up`, or set CELERY_BROKER_URL.") from None
        return f"redis://:{quote(password, safe='')}@127.0.0.1:{self.redis_port}/{database}"


@cache
def settings() -> Settings:
    """The core's settings, read once per process."""
    return Settings.load()


def pip_authorities() -> Path | None:
    """The certificates that pip is told to use on this machine."""
    given = os.environ.get("PIP_CERT") or os.environ.get("SSL_CERT_FILE")
    return Path(given) if given else None


def is_ours(variable: str) -> bool:
    """Whether an environment variable is one of the core's settings."""
    name = variable.lower()
    return bool({name, name.removesuffix("_file")} & Settings.model_fields.keys()) or name.startswith("queues__")


def given_settings() -> dict[str, str]:
    """The settings this process was given by its environment, and not by `.env`."""
    return {variable: value for variable, value in os.environ.items() if is_ours(variable)}

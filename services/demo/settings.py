"""The demo's settings: the environment comes in, one frozen object goes out to the store and the supplier."""

from functools import cache
from typing import Annotated, Any

from pydantic import AfterValidator, Field, SecretStr

from switchyard.settings import EnvironmentSettings
from switchyard.settings import settings as core_settings


def _default_database_url() -> SecretStr:
    return SecretStr(f"sqlite:///{core_settings().state_dir / 'store' / 'products.db'}")


def _default_supplier_url(fields: dict[str, Any]) -> str:
    return stand_in(fields["supplier_host"], fields["supplier_port"])


def stand_in(host: str, port: int) -> str:
    """The address of the demo's own supplier."""
    return f"http://{host}:{port}"


def _http_url(url: str) -> str:
    if not url.startswith(("http://", "https://")):
        raise ValueError(f"{url!r} is not an http:// or https:// address")
    return url.rstrip("/")


class DemoSettings(EnvironmentSettings):
    """Where the demo keeps its products and whom it asks about them."""

    database_url: SecretStr = Field(
        default_factory=_default_database_url,
        description="The product store, sqlite:///path or postgresql://user:password@host/database; "
        "by default the file store/products.db in the state folder.",
    )
    supplier_host: str = Field(
        default="127.0.0.1", description="The host the demo's supplier runs on; containers set it."
    )
    supplier_port: int = Field(default=8001, ge=1, le=65535, description="The port the demo's supplier listens on.")
    supplier_url: Annotated[str, AfterValidator(_http_url)] = Field(
        default_factory=_default_supplier_url,
        description="Where the supplier answers; by default the demo's own on SUPPLIER_PORT.",
    )
    supplier_latency_ms: int = Field(
        default=50, ge=0, le=60_000, description="Milliseconds the supplier takes to answer for a product."
    )
    supplier_failure_rate: float = Field(
        default=0.0,
        ge=0.0,
        le=1.0,
        allow_inf_nan=False,
        description="The share of product requests the supplier fails with 503: 0 none, 0.01 one in a hundred, 1 all.",
    )


@cache
def demo_settings() -> DemoSettings:
    """The demo's settings, read once per process. Raises ConfigError naming each bad value."""
    return DemoSettings.load()

"""The demo's settings and their defaults."""

import pytest

from demo.settings import DemoSettings, demo_settings
from switchyard.errors import ConfigError


def test_the_store_is_a_file_in_the_state_folder_and_the_supplier_is_our_own(state_dir, monkeypatch):
    """With nothing set, both defaults follow the state folder and the port."""
    monkeypatch.setenv("DATABASE_URL", "")
    monkeypatch.setenv("SUPPLIER_PORT", "8123")
    chosen = demo_settings()
    assert chosen.database_url.get_secret_value() == f"sqlite:///{state_dir / 'store' / 'products.db'}"
    assert chosen.supplier_url == "http://127.0.0.1:8123"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SUPPLIER_PORT", "0"),
        ("SUPPLIER_PORT", "http"),
        ("SUPPLIER_URL", "supplier:8001"),
        ("SUPPLIER_LATENCY_MS", "-1"),
        ("SUPPLIER_FAILURE_RATE", "1.5"),
        ("SUPPLIER_FAILURE_RATE", "nan"),
    ],
)
def test_a_bad_value_is_refused_by_name(name, value, monkeypatch):
    """The sentence names the variable."""
    monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError, match=name):
        DemoSettings.load()


def test_every_setting_is_described():
    """`.env.example` is written from these descriptions."""
    assert all(field.description for field in DemoSettings.model_fields.values())


def test_the_database_url_is_never_shown(monkeypatch):
    """A URL may hold a password, so no representation of the settings has it."""
    monkeypatch.setenv("DATABASE_URL", "postgresql://u:hunter2@h/d")
    assert "hunter2" not in repr(DemoSettings.load())

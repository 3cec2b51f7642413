"""Every test of the demo gets a state folder, a store and settings of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from demo.settings import demo_settings
from demo.store import Store, _store_of
from demo.supplier_client import _client_of
from switchyard.settings import settings

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CACHED = (settings, demo_settings, _store_of, _client_of)


@pytest.fixture(autouse=True)
def state_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("STATE_DIR", str(tmp_path))
    monkeypatch.setenv("DATABASE_URL", f"sqlite:///{tmp_path / 'products.db'}")
    monkeypatch.setenv("SUPPLIER_PORT", "1")  # nothing listens there
    monkeypatch.delenv("SUPPLIER_URL", raising=False)
    for cached in CACHED:
        cached.cache_clear()
    yield tmp_path
    if _store_of.cache_info().currsize:
        from demo.store import store

        store().close()
    for cached in CACHED:
        cached.cache_clear()


@pytest.fixture
def own_store(state_dir: Path) -> Iterator[Store]:
    opened = Store(f"sqlite:///{state_dir / 'products.db'}")
    yield opened
    opened.close()

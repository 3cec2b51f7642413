"""Generates the deployment's secrets at the first `make up`; they live in files of mode 0600 and nowhere else."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from switchyard.settings import Settings

API_TOKENS_HEAD = "# Who may call the HTTP door, `name:token` each. A line added lets in, a line deleted locks out; both at once, with containers at `make up`."


def ensure(config: Settings) -> None:
    """Write what is missing. A secret that exists is never changed."""
    folder = config.state_dir / "secrets"
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o700)
    write_once(folder / "redis_password", secrets.token_urlsafe(32))
    given = config.flower_basic_auth
    _write(folder / "flower_basic_auth", given.get_secret_value()) if given else write_once(
        folder / "flower_basic_auth", f"admin:{secrets.token_urlsafe(16)}"
    )
    _write(folder / "broker_url", config.broker_url())
    # Emptying it locks everybody out, so it is not taken for one that is missing.
    if config.api_tokens_file == folder / "api_tokens" and not config.api_tokens_file.exists():
        _write(config.api_tokens_file, f"{API_TOKENS_HEAD}\nlocal:{secrets.token_urlsafe(32)}")


def write_once(path: Path, secret: str) -> None:
    """Write a secret (mode 0600) unless there is one."""
    if not path.exists() or not path.read_text().strip():
        _write(path, secret)


def _write(path: Path, secret: str) -> None:
    draft = path.with_suffix(".draft")
    with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:  # noqa: PTH123  a mode from birth
        file.write(secret + "\n")
    draft.replace(path)

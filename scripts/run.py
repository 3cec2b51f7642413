#!/usr/bin/env python3
"""Runs a Python module in the project's own environment, which it makes first if need be: `run.py [--dev] [--browser] [--peers] MODULE [ARGUMENT …]`.

Only the standard library, because this is what runs before anything is installed. The environments hold what
requirements/*.txt lock, hash by hash; a lock that changes is installed again, a Python that changes makes them anew.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import takewhile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
OLDEST = (3, 11)
#: Locks of which only the named packages are wanted, not what they depend on.
ALONE = ("data",)
#: What may be asked for before the module: a lock of its name.
EXTRAS = ("--dev", "--browser", "--peers")


def main(arguments: list[str]) -> int:  # noqa: RET503  execve does not return
    """Install what is missing and become the module. Returns an exit code only when that fails."""
    if sys.version_info < OLDEST:
        return refuse(
            f"Python {OLDEST[0]}.{OLDEST[1]} or later is needed, this is {sys.version.split()[0]}; say make PYTHON=python3.12."
        )
    if not (ROOT / ".env").exists():
        shutil.copyfile(ROOT / ".env.example", ROOT / ".env")
        print("  wrote .env from .env.example; every setting is explained there", flush=True)
    extras = [argument.removeprefix("--") for argument in takewhile(lambda a: a in EXTRAS, arguments)]
    demo = ["demo", "data"] if extras or wants_demo() else []
    wanted = {".venv": ["core", *demo, *(extra for extra in extras if extra != "peers")]}
    if "peers" in extras:  # what others need is nobody else's business
        wanted[".venv-peers"] = ["peers"]
    if {"dev", "browser"} & {*extras} or not runs_in_docker():
        wanted[".venv-flower"] = ["flower"]
    with alone(), ThreadPoolExecutor() as pool:
        if not all(list(pool.map(install, *zip(*wanted.items(), strict=True)))):
            return refuse("the packages could not be installed; the reason is above. Run this again when it is mended.")
    python = ROOT / ".venv" / "bin" / "python"
    path = os.pathsep.join(filter(None, [str(ROOT / "services"), os.environ.get("PYTHONPATH")]))
    os.execve(python, [str(python), "-m", *arguments[len(extras) :]], {**os.environ, "PYTHONPATH": path})  # noqa: S606  no shell


@contextmanager
def alone() -> Iterator[None]:
    """One installation at a time: a second `make` waits for the first one's packages instead of removing them."""
    with Path(__file__).open() as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print("  another make is installing; waiting for it", flush=True)
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def wants_demo() -> bool:
    """Whether DEMO is set."""
    return setting("DEMO").lower() in ("1", "true", "t", "yes", "y", "on")


def runs_in_docker() -> bool:
    """Whether the deployment runs in containers, where Flower has an image of its own."""
    sys.path.insert(0, str(ROOT / "services"))
    from switchyard.runtime import choice  # noqa: PLC0415  the one module of ours that needs nothing installed

    state_dir = ROOT / (setting("STATE_DIR") or ".switchyard")
    return choice.used(state_dir, setting("RUNTIME") or None) == choice.DOCKER


def setting(name: str) -> str:
    """A setting of the environment, else of .env; nothing that parses it better is installed yet."""
    lines = re.findall(
        rf"""^\s*(?:export\s+)?{name}\s*=\s*["']?([^\s"'#]*)""", (ROOT / ".env").read_text(), re.MULTILINE
    )
    return (os.environ.get(name) or (lines[-1] if lines else "")).strip()


def install(folder: str, locks: list[str]) -> bool:
    """Bring an environment to the locks it must hold; a lock that a fork has deleted is not missed."""
    path = ROOT / folder
    stamp = path / "installed"
    files = {name: ROOT / "requirements" / f"{name}.txt" for name in locks}
    digests = {
        name: hashlib.sha256(sys.version.encode() + f.read_bytes()).hexdigest()
        for name, f in files.items()
        if f.exists()
    }
    held = dict(line.split() for line in stamp.read_text().splitlines()) if stamp.exists() else {}
    missing = [name for name in digests if held.get(name) != digests[name]]
    if not missing:
        return True
    print(f"  installing {', '.join(missing)} into {folder} (a first time takes a minute or two)", flush=True)
    began = time.monotonic()
    if (not stamp.exists() or held.get("python") != sys.version.split()[0]) and path.exists():
        shutil.rmtree(path)  # another Python's, or half an installation
        held, missing = {}, list(digests)
    if not path.exists() and not run([sys.executable, "-m", "venv", str(path)]):
        print(
            "error: Python's venv does not work here; on Debian and Ubuntu: apt install python3-venv", file=sys.stderr
        )
        return False
    pip = [
        str(path / "bin" / "python"),
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
        "--require-hashes",
    ]
    together = [part for name in missing if name not in ALONE for part in ("-r", str(files[name]))]
    alone = [["--no-deps", "-r", str(files[name])] for name in missing if name in ALONE]
    if not all(run([*pip, *what]) for what in [*([together] if together else []), *alone]):
        return False
    lines = {**held, "python": sys.version.split()[0], **{name: digests[name] for name in missing}}
    stamp.write_text("".join(f"{name} {digest}\n" for name, digest in lines.items()))
    print(f"  {folder} is ready after {time.monotonic() - began:.0f} s", flush=True)
    return True


def run(command: list[str]) -> bool:
    """Run a command; its own words are shown only if it fails."""
    done = subprocess.run(command, check=False, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    if done.returncode != 0:
        print(done.stdout + done.stderr, file=sys.stderr)
    return done.returncode == 0


def refuse(message: str) -> int:
    """Say why nothing was run."""
    print(f"error: {message}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""The supervisord of this deployment: its configuration, and a client of its socket."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
import xmlrpc.client
from collections.abc import Callable, Sequence
from configparser import RawConfigParser
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from supervisor.xmlrpc import Faults, SupervisorTransport

from switchyard.errors import SwitchyardError
from switchyard.settings import ROOT, Settings, environment, is_ours

#: The programs that take events in. They are the first to stop, so that nothing new begins while the rest ends.
DOORS = ("producer", "consumer", "clock")

#: Bytes of a Unix socket's path: macOS takes 103, and supervisord first binds it with ".<pid>" at its end.
_LONGEST_SOCKET = 95

HEAD = """\
; Written by `make up` from config/supervisor/*.conf; edits here are lost.
[supervisord]
logfile=%(ENV_STATE_DIR)s/logs/supervisord.log
logfile_maxbytes=5MB
pidfile=%(ENV_STATE_DIR)s/run/supervisord.pid
directory={root}

[unix_http_server]
file={socket}
chmod=0700

[rpcinterface:supervisor]
supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface

"""


@dataclass(frozen=True)
class Program:
    """A supervised program as supervisord sees it. `since` is seconds since the epoch."""

    name: str
    state: str
    pid: int
    since: int
    exit_code: int


class Supervisor:
    """Starts supervisord and talks to it. Methods raise OSError or xmlrpc Faults when it is away."""

    def __init__(self, config: Settings) -> None:
        self.config = config
        self.conf = config.state_dir / "run" / "supervisord.conf"
        self.socket = socket_path(config.state_dir)

    @property
    def rpc(self) -> Any:
        """Supervisord's own interface, http://supervisord.org/api.html; a new one each time, for a transport that has
        failed once stays broken.
        """
        transport = SupervisorTransport(None, None, f"unix://{self.socket}")
        return xmlrpc.client.ServerProxy("http://localhost", transport=transport).supervisor

    def running(self) -> bool:
        """Whether a supervisord of this deployment answers."""
        try:
            return bool(self.rpc.getState()["statename"] in ("RUNNING", "RESTARTING"))
        except (OSError, xmlrpc.client.Error):
            return False

    def programs(self) -> list[Program]:
        """Every program, in the order of their priority."""
        return [
            Program(p["name"], p["statename"], p["pid"], p["start"], p["exitstatus"])
            for p in self.rpc.getAllProcessInfo()
        ]

    def write_conf(self, parts: list[str], extra: Callable[[str], dict[str, str]]) -> None:
        """Compose supervisord's one file (mode 0600) from parts of config/supervisor.

        `extra` is what goes into a program's environment besides; supervisord restarts a program when that has changed.
        """
        conf = RawConfigParser(strict=False)
        for part in parts:
            conf.read_string((self.config.config_dir / "supervisor" / f"{part}.conf").read_text())
        for section in conf.sections():
            given = [conf.get(section, "environment")] if conf.has_option(section, "environment") else []
            added = [f"{key}={_quoted(key, value)}" for key, value in extra(section.removeprefix("program:")).items()]
            conf.set(section, "environment", ",".join([*given, *added]))
        self.conf.touch(mode=0o600)
        with self.conf.open("w") as file:
            file.write(HEAD.format(root=_escaped(ROOT), socket=_escaped(self.socket)))
            conf.write(file)

    def start(self) -> None:
        """Start supervisord in the background. Raises SwitchyardError with its own words if it does not come up."""
        for folder in ("logs", "run"):
            (self.config.state_dir / folder).mkdir(parents=True, exist_ok=True)
        path = os.pathsep.join(filter(None, [str(ROOT / "services"), environment().get("PYTHONPATH", "")]))
        # Without our settings: a program gets those of the latest `make up` from its section, not of the first one.
        env = {
            **{k: v for k, v in environment().items() if not is_ours(k)},
            "PYTHON": sys.executable,
            "STATE_DIR": str(self.config.state_dir),
            "PYTHONPATH": path,
        }
        command = [sys.executable, "-m", "supervisor.supervisord", "-c", str(self.conf)]
        done = subprocess.run(command, env=env, cwd=ROOT, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise SwitchyardError(f"supervisord did not start: {(done.stderr or done.stdout).strip()}")
        wait_until(self.running, 20, "supervisord did not answer on its socket; see .switchyard/logs/supervisord.log")

    def apply_conf(self, say: Callable[[str], None]) -> None:
        """Start what was added, stop what was removed, restart what changed; the rest is not touched."""
        ((added, changed, removed),) = self.rpc.reloadConfig()
        for name in changed:
            say(f"restarting {name}: its settings have changed")
        going = [*changed, *removed]
        # The doors by themselves: they are open again before the slowest worker has finished its tasks.
        for names in ([name for name in going if name in DOORS], [name for name in going if name not in DOORS]):
            self.stop([name for name in names if name != "redis"])
            for name in names:
                self.rpc.stopProcessGroup(name)
                self.rpc.removeProcessGroup(name)
            for name in names:
                if name in changed:
                    self.rpc.addProcessGroup(name)
        for name in added:
            self.rpc.addProcessGroup(name)

    def restart(self, name: str) -> None:
        """Stop one program, waiting as long as its stop may take, and start it again."""
        self.stop([name])
        try:
            self.rpc.startProcess(name, False)
        except xmlrpc.client.Fault as exc:
            raise SwitchyardError(
                f"supervisord does not start {name}: {exc.faultString}; see `make logs Q={name}`."
            ) from exc

    def stop(self, names: Sequence[str]) -> None:
        """Stop programs side by side and wait for all of them."""
        going = {p.name for p in self.programs() if p.state in ("RUNNING", "STARTING", "BACKOFF")}
        for name in names:
            if name in going:
                try:
                    self.rpc.stopProcess(name, False)
                except xmlrpc.client.Fault as exc:
                    if exc.faultCode != Faults.NOT_RUNNING:  # it has just ended by itself
                        raise
        while any(p.name in names and p.state in ("RUNNING", "STARTING", "STOPPING") for p in self.programs()):
            time.sleep(0.1)

    def shutdown(self) -> None:
        """Stop whatever still runs, Redis last, and supervisord itself."""
        pid = int(self.rpc.getPID())
        # Supervisord by itself takes a second for each program that is there, stopped or not.
        self.stop([program.name for program in self.programs() if program.name != "redis"])
        self.stop(["redis"])
        self.rpc.shutdown()
        wait_until(
            lambda: not _alive(pid), 120, f"supervisord (pid {pid}) does not exit; see .switchyard/logs/supervisord.log"
        )


def wait_until(condition: Any, timeout_s: float, otherwise: str) -> None:
    """Return once `condition()` holds. Raises SwitchyardError(otherwise) after `timeout_s` seconds."""
    end = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > end:
            raise SwitchyardError(otherwise)
        time.sleep(0.05)


def socket_path(state_dir: Path) -> Path:
    """Supervisord's socket: in the state folder, or where its path is too long for a socket, in a folder of the user's."""
    path = state_dir / "run" / "supervisor.sock"
    if len(os.fsencode(path)) <= _LONGEST_SOCKET:
        return path
    folder = Path(tempfile.gettempdir()) / f"switchyard-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    if folder.stat().st_uid != os.getuid():
        raise SwitchyardError(
            f"{folder} belongs to somebody else; set TMPDIR, or move this checkout to a shorter path."
        )
    return folder / f"{sha256(str(state_dir).encode()).hexdigest()[:12]}.sock"


def _escaped(path: Path) -> str:
    return str(path).replace("%", "%%")


def _quoted(key: str, value: str) -> str:
    """A value as supervisord reads it in `environment=`: in either quotes, and without any way to escape them."""
    mark = next((mark for mark in "\"'" if mark not in value), None)
    if mark is None or value != value.strip("\"'") or "\n" in value:
        raise SwitchyardError(f"{key}: supervisord cannot carry both kinds of quotes; put it into .env instead.")
    return f"{mark}{value.replace('%', '%%')}{mark}"


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True

"""python -m switchyard.check: what must hold before anything is tested; all of it runs, whatever fails first."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from switchyard.settings import ROOT

PYTHON = (sys.executable, "-m")
CHECKS = (
    (*PYTHON, "ruff", "check", "."),
    (*PYTHON, "ruff", "format", "--check", "."),
    (*PYTHON, "mypy"),
    (str(Path(sys.executable).parent / "hadolint"), "compose/Dockerfile"),
    (*PYTHON, "switchyard", "render", "--check"),
)


def main() -> int:
    """Run every check; 1 if any failed."""
    failed = [check for check in CHECKS if subprocess.run(check, cwd=ROOT, check=False).returncode]
    for check in failed:
        print(f"failed: {' '.join(check)}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())

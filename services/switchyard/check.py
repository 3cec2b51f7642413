"""python -m switchyard.check: what must hold before anything is tested; all of it runs, whatever fails first."""

from __future__ import annotations

import subprocess
import sys

from switchyard.settings import ROOT

CHECKS = (
    ("ruff", "check", "."),
    ("ruff", "format", "--check", "."),
    ("mypy",),
    ("switchyard", "render", "--check"),
)


def main() -> int:
    """Run every check; 1 if any failed."""
    failed = [
        check for check in CHECKS if subprocess.run([sys.executable, "-m", *check], cwd=ROOT, check=False).returncode
    ]
    for check in failed:
        print(f"failed: {' '.join(check)}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())

"""Build what is missing of the base images from Debian's packages, as `make base-images` does."""

import os
import sys
from pathlib import Path

if __name__ == "__main__":
    # By way of run.py, which makes the environment first if need be.
    run = Path(__file__).with_name("run.py")
    os.execv(sys.executable, [sys.executable, str(run), "switchyard", "base-images"])  # noqa: S606  no shell

"""Build what is missing of the base images from Debian's packages, as `make base-images` does."""

import sys
from pathlib import Path

# Runs from a bare checkout, where nothing has put services/ on the path.
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "services"))

from switchyard.errors import SwitchyardError
from switchyard.runtime.docker import base_images


def main() -> int:
    """Build them and say so; 1 and a sentence if that is impossible."""
    try:
        base_images.build(print)
    except SwitchyardError as exc:
        print(f"error: {exc}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

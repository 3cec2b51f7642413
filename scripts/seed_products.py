"""Put products into the demo's store: `python scripts/seed_products.py [--limit N] [--file products.csv]`."""

import sys
from pathlib import Path

# Runs from a bare checkout, where nothing has put services/ on the path.
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "services"))

from demo.seed import main

if __name__ == "__main__":
    sys.exit(main())

"""python -m switchyard"""

import sys

from switchyard.cli import main

if __name__ == "__main__":
    sys.exit(main())

"""python -m switchyard"""

import sys

from switchyard.cli import main

if __name__ == "__main__":  # a worker's task may start a process that imports this anew
    sys.exit(main())

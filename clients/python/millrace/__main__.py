"""python -m millrace: publishes and tails from a shell."""

import sys

from ._cli import main

if __name__ == "__main__":
    sys.exit(main())

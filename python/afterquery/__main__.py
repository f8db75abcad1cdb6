"""`python -m afterquery` is the `afterquery` command."""

import sys

from afterquery.cli import main

if __name__ == "__main__":
    sys.exit(main())

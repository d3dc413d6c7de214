"""`python -m socketprogress` is the console script `socketprogress`."""

from __future__ import annotations

import sys

from socketprogress.cli.main import main

__all__ = ["main"]

if __name__ == "__main__":
    sys.exit(main())

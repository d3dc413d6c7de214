"""`python -m socketprogress` is the console script `socketprogress`."""

from __future__ import annotations

import os
import sys

if __name__ == "__main__" and not sys.flags.safe_path:
    # `-m` looks for modules in the current folder first: a `code.py` that lies there is not meant for us.
    try:
        here = os.getcwd()  # noqa: PTH109 - as Python itself wrote it
    except OSError:  # the folder is gone
        here = ""
    if sys.path[0] == here:
        del sys.path[0]

from socketprogress.cli.main import main

__all__ = ["main"]

if __name__ == "__main__":
    sys.exit(main())

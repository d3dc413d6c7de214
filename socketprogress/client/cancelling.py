"""How a cancellation is raised where raising it could break what runs the work.

A pool's own threads end for ever by a `BaseException` that a callback raises, and a worker of
`multiprocessing.Pool` takes the result that its pool waits for with it.
"""

from __future__ import annotations

import sys
from types import FrameType

from socketprogress.core.errors import Cancelled
from socketprogress.core.reporter import Reporter

__all__ = ["CancelledInPool", "cancellation"]

CALLBACKS = {
    ("concurrent.futures._base", "_invoke_callbacks"),
    ("multiprocessing.pool", "_handle_results"),
}
WORKER = ("multiprocessing.pool", "worker")


class CancelledInPool(Cancelled, Exception):
    """The work's cancellation, as a worker of `multiprocessing.Pool` hands it to its pool."""


def cancellation(reporter: Reporter) -> Cancelled | None:
    """Return what to raise in the work that asks, or None if it is to go on.

    It goes on if nobody has asked for the end of the reporter's task, and in a callback that a
    pool's thread has to survive.
    """
    try:
        reporter.check()
    except Cancelled as cancelled:
        places = _callers(sys._getframe(1))  # noqa: SLF001 - who called is the question
        if places & CALLBACKS:
            return None
        return CancelledInPool(*cancelled.args) if WORKER in places else cancelled
    return None


def _callers(frame: FrameType | None) -> set[tuple[str, str]]:
    found = set()
    while frame is not None:
        found.add((frame.f_globals.get("__name__", ""), frame.f_code.co_name))
        frame = frame.f_back
    return found

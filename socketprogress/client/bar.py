"""What a tqdm bar has on a server: looked at from the sender's thread, ended with the bar.

Nothing here runs in the bar's loop. Its items are counted in C, and a cancellation reaches it in
the place of a number that it compares its count with anyway.
"""

from __future__ import annotations

import os
import sys
import threading
import weakref
from collections.abc import Iterable, Iterator
from concurrent import futures
from itertools import compress, repeat
from pathlib import Path
from types import FrameType, GeneratorType
from typing import Any

from socketprogress.client import notice
from socketprogress.client.cancelling import cancellation
from socketprogress.client.endings import Ending, Left, left_at
from socketprogress.client.origin import origin_of
from socketprogress.client.pools import pending_of_map
from socketprogress.client.reporter import Reporter
from socketprogress.core.errors import Cancelled

__all__ = ["RemoteBar", "opened"]

UNSCALED = (None, False, True, 1)
EXHAUSTED = (StopIteration, StopAsyncIteration)
NO_PROGRAM = ("", "-", "-c", "-m")
AMBIGUOUS = (Exception, SystemExit)


def opened(bar: Any) -> RemoteBar | None:
    """Return what a new bar has on the server, or None where nothing is reported."""
    try:
        if origin_of() is None:
            return None
        return RemoteBar(bar)
    except Exception as exc:  # noqa: BLE001 - whatever it is, the work goes on without a remote bar
        notice.warn_once("a bar is not reported: %r", exc)
        return None


class RemoteBar:
    """The task of one bar.

    It has the bar's attributes, not the bar: whoever drops the bar closes it, as ever.

    Attributes:
        reporter: the task's.
    """

    def __init__(self, bar: Any) -> None:
        state = vars(bar)
        leave = state["leave"]
        self._state: dict[str, Any] | None = state
        self._owner = id(state)
        self._pid = os.getpid()
        self._lock = threading.RLock()
        self._start: Any = 0
        self._flags: Any = None
        self._loop: Any = None
        self._handled = id(sys.exception())
        self._pending = pending_of_map()
        self.reporter = Reporter(
            "tqdm",
            title=_title(state["desc"]),
            unit=state["unit"],
            leave=state["pos"] == 0 if leave is None else bool(leave),
        )
        self.reporter.attach(self.sample, self.stop)

    def __reduce__(self) -> tuple[type[None], tuple[()]]:
        """Be nothing in a copy of the bar: that is not the task's."""
        return type(None), ()

    def is_of(self, bar: Any) -> bool:
        """Return whether this is the bar's own, opened in this process."""
        return self._owner == id(vars(bar)) and self._pid == os.getpid()

    # -- the loop --------------------------------------------------------------------------------

    def counted(self, items: Iterable[Any]) -> Iterable[Any]:
        """Return the same items; how many of them are fetched is counted in C."""
        return _Counted(self, items)

    def begin(self, items: Iterable[Any]) -> Iterator[Any]:
        """Return an iterator over the items, and count from the bar's present count on."""
        flags = repeat(True, sys.maxsize)
        loop = compress(items, flags)
        self._start, self._flags = (self._state or {}).get("n", 0), flags
        return loop

    def runs_in(self, loop: Iterator[Any]) -> None:
        """Take the generator that hands out the items."""
        if isinstance(loop, GeneratorType):
            self._loop = weakref.ref(loop)

    def sample(self) -> None:
        """Set the reporter's attributes to the bar's; called from the sender's thread."""
        with self._lock:
            state, reporter = self._state, self.reporter
            if state is None:
                return
            scale = _scale(state.get("unit_scale"))
            total = state.get("total")
            reporter.total = None if total is None else total * scale
            if self._pending is None or not self._pending.cancelled:
                # tqdm counts what was taken from the pool as done.
                reporter.current = self._done(state.get("n", 0)) * scale
            reporter.unit = state.get("unit", "it")
            reporter.title = _title(state.get("desc"))
            postfix = state.get("postfix")
            reporter.message = "" if postfix is None else postfix
            if reporter.cancel_requested:
                self.stop()

    def stop(self) -> None:
        """Have the bar's next comparison of its count raise `Cancelled`, or its map end."""
        if self._pending is not None:
            self._pending.cancel()
            return
        state = self._state
        if state is not None and not isinstance(state.get("miniters"), _Stop):
            state["miniters"] = _Stop(self, state.get("miniters", 0))

    def reset(self) -> None:
        """Start the count and the percent again.

        Raises:
            Cancelled: somebody has asked for the task's end.
        """
        with self._lock:
            self._flags = None
            self.sample()
            self.reporter.reset()

    # -- the end ---------------------------------------------------------------------------------

    def finish(self, ending: Ending, *, exact: bool = False) -> None:
        """End the task; `exact` says that the bar's own count is the true one.

        What looked like an end without an error may still turn out to be one with it.
        """
        with self._lock:
            if self.reporter.ended and ending.status == "completed":
                return
            if exact:
                self._flags = None
            self.reporter.finish(ending)
            self._state = self._flags = self._loop = None

    def failed(self, error: BaseException) -> None:
        """End the task by what has left the bar's block."""
        if isinstance(error, futures.CancelledError) and self._pending is not None:
            error = Cancelled() if self._pending.cancelled else error
        self.finish(Ending.by(error, cancel_requested=self.reporter.cancel_requested))

    def dropped(self) -> None:
        """End the task of a bar that nobody has any more; called by its `__del__`."""
        frame = sys._getframe(1).f_back  # noqa: SLF001 - where the loop stands
        self.finish(Ending("completed", left=left_at(frame)))

    def ending_in(self, frame: FrameType, error: BaseException | None) -> Ending:
        """Return how a bar ends that is closed in this frame while this exception is handled.

        The exception counts if the frame itself has met it, and not already before the bar was
        opened. tqdm's own code passes it on; others may well have caught it, so that it decides
        only if the process ends by it.
        """
        trace = None if error is None else error.__traceback__
        if error is None or trace is None or trace.tb_frame is not frame:
            return Ending("completed")
        if isinstance(error, EXHAUSTED) or id(error) == self._handled:
            return Ending("completed")
        if isinstance(error, GeneratorExit):
            return Ending("completed", left=left_at(_outside(frame)))
        if isinstance(error, AMBIGUOUS) and not _is_tqdms(frame) and not _cancels(error):
            place = Left(id(trace.tb_frame), trace.tb_frame.f_code, trace.tb_lasti)
            return Ending("completed", left=place)
        return Ending.by(error, cancel_requested=self.reporter.cancel_requested)

    # -- inside ----------------------------------------------------------------------------------

    def _done(self, told: Any) -> Any:
        """Return the items done: not the one that the loop is busy with."""
        flags, loop = self._flags, self._loop
        if flags is None:
            return told
        fetched = sys.maxsize - flags.__length_hint__()
        loop = None if loop is None else loop()
        busy = loop is not None and loop.gi_suspended
        return max(told, self._start + fetched - bool(busy and fetched))


class _Counted:
    """Items that are counted from the moment that the bar's loop asks for their iterator."""

    __slots__ = ("_bar", "_items")

    def __init__(self, bar: RemoteBar, items: Iterable[Any]) -> None:
        self._bar = bar
        self._items = items

    def __iter__(self) -> Iterator[Any]:
        return self._bar.begin(self._items)


class _Stop:
    """Takes the place of a bar's `miniters`: ``n >= miniters`` asks it, and it raises."""

    __slots__ = ("_bar", "_miniters", "_pid")

    def __init__(self, bar: RemoteBar, miniters: Any) -> None:
        self._bar = bar
        self._miniters = miniters
        self._pid = os.getpid()

    def __le__(self, n: Any) -> bool:
        if self._pid == os.getpid():
            cancelled = cancellation(self._bar.reporter)
            if cancelled is not None:
                self._bar.failed(cancelled)  # the bar may not be closed by whoever catches it
                raise cancelled.with_traceback(None)
        return bool(self._miniters <= n)

    def __lt__(self, n: Any) -> bool:
        return False

    def __gt__(self, n: Any) -> bool:
        return False

    def __reduce__(self) -> Any:
        return type(self._miniters), (self._miniters,)


def _title(desc: Any) -> str:
    """Return a bar's description, or the name of the program where it has none."""
    text = str(desc or "").rstrip().removesuffix(":")
    program = Path(sys.argv[0]).name if sys.argv else ""
    return text or (program if program not in NO_PROGRAM else "tqdm")


def _scale(unit_scale: Any) -> Any:
    return 1 if unit_scale in UNSCALED or not unit_scale else unit_scale


def _cancels(error: BaseException) -> bool:
    return isinstance(error, Cancelled)


def _is_tqdms(frame: FrameType) -> bool:
    return str(frame.f_globals.get("__name__", "")).partition(".")[0] == "tqdm"


def _outside(frame: FrameType | None) -> FrameType | None:
    """Return the nearest caller that is not of tqdm itself: the one with the loop."""
    while frame is not None and _is_tqdms(frame):
        frame = frame.f_back
    return frame

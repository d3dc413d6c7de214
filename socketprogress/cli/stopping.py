"""Signals that stop a server: gently, in time, and by force if that does not help."""

from __future__ import annotations

import logging
import os
import signal
import threading
from collections.abc import Callable
from types import FrameType

__all__ = ["Stopper"]

log = logging.getLogger(__name__)

WITHIN_S = 4.5
INTERRUPTED = 130


class Stopper:
    """Turns SIGINT, SIGTERM and SIGHUP into a clean stop, and that into an exit code.

    A second SIGINT ends the process at once, and so does a stop that takes longer than `within_s`.

    Args:
        within_s: seconds that a clean stop may take.
        last_words: called before the process is ended by force; must not block.
    """

    def __init__(self, *, within_s: float = WITHIN_S, last_words: Callable[[], None]) -> None:
        self.code: int | None = None
        self._within_s = within_s
        self._last_words = last_words
        self._stop: Callable[[], None] | None = None
        self._asked = threading.Event()

    def install(self) -> None:
        """Take the signals over; a SIGHUP that is ignored, as under nohup, stays so."""
        signal.signal(signal.SIGINT, self._on_signal)
        signal.signal(signal.SIGTERM, self._on_signal)
        if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
            signal.signal(signal.SIGHUP, self._on_signal)
        threading.Thread(target=self._guard, name="socketprogress-stop", daemon=True).start()

    def attach(self, stop: Callable[[], None]) -> None:
        """Say how the server is stopped; before that a signal just ends the process."""
        self._stop = stop

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        # Nothing is logged in here: the signal may have come in the middle of a write to the log.
        if self.code is not None:
            if number == signal.SIGINT:
                self._force(INTERRUPTED)
            return
        self.code = INTERRUPTED if number == signal.SIGINT else 0
        self._asked.set()
        if self._stop is None:
            raise SystemExit(self.code)
        self._stop()

    def _guard(self) -> None:
        self._asked.wait()
        log.info("stopping; Ctrl-C again to stop at once")
        threading.Event().wait(self._within_s)
        log.warning("stopping took longer than %s s: ended by force", self._within_s)
        self._force(self.code or 0)

    def _force(self, code: int) -> None:
        self._last_words()
        os._exit(code)

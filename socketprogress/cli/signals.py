"""Signals as events: who waits for several things at once takes them from here."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterable

__all__ = ["Arrived", "SignalQueue", "stop_ourselves"]

SI_KERNEL = 128

Arrived = tuple[signal.Signals, bool]
"""A signal, and whether it is the terminal's doing, which the whole job has got as well."""


class SignalQueue:
    """Takes signals in a thread of its own; those that were ignored at our start stay so.

    Made before any other thread, since what it takes must be blocked in all of them.

    Args:
        wanted: what to take.
    """

    def __init__(self, wanted: Iterable[signal.Signals]) -> None:
        self.signals = frozenset(n for n in wanted if signal.getsignal(n) is not signal.SIG_IGN)
        self._arrived: deque[Arrived] = deque()
        signal.pthread_sigmask(signal.SIG_BLOCK, self.signals)

    def start(self, on_signal: Callable[[], None]) -> None:
        """Call `on_signal` from another thread whenever one has arrived."""
        thread = threading.Thread(
            target=self._run, args=(on_signal,), name="socketprogress-signals", daemon=True
        )
        thread.start()

    def pending(self) -> Iterable[Arrived]:
        """Yield what has arrived, each once."""
        while self._arrived:
            yield self._arrived.popleft()

    def _run(self, on_signal: Callable[[], None]) -> None:
        while True:
            self._arrived.append(self._next())
            on_signal()

    def _next(self) -> Arrived:
        if sys.platform == "darwin":  # does not say who has sent it: mostly the terminal
            return signal.Signals(signal.sigwait(self.signals)), True
        info = signal.sigwaitinfo(self.signals)
        return signal.Signals(info.si_signo), info.si_code == SI_KERNEL


def stop_ourselves(*, group: bool) -> None:
    """Stop as Ctrl-Z does, until somebody continues us; an orphaned job goes on at once."""
    handler = signal.signal(signal.SIGTSTP, signal.SIG_DFL)
    try:
        if group:
            os.killpg(os.getpgrp(), signal.SIGTSTP)
        else:
            os.kill(os.getpid(), signal.SIGTSTP)
    finally:
        signal.signal(signal.SIGTSTP, handler)

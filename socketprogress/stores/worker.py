"""A native thread that carries out calls in order."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable
from typing import Any, TypeVar

from socketprogress.core.errors import StoreError
from socketprogress.core.ports import Threading

__all__ = ["Worker", "call_safely"]

log = logging.getLogger(__name__)

T = TypeVar("T")


def call_safely(callback: Callable[[], None]) -> None:
    """Call back; an exception is logged, because the store's thread has others to serve."""
    try:
        callback()
    except Exception:  # somebody else's code
        log.exception("a callback of the store failed: %r", callback)


class _Question:
    __slots__ = ("answer", "answered", "error")

    def __init__(self, threading: Threading) -> None:
        self.answered = threading.Event()
        self.answer: Any = None
        self.error: BaseException | None = None


class Worker:
    """Carries out calls in order, on one native thread that starts with the first of them."""

    def __init__(self, name: str, *, threading: Threading) -> None:
        self._name = name
        self._threading = threading
        self._changed = threading.Condition()
        self._calls: deque[Callable[[], None]] = deque()
        self._thread: Any = None
        self._closed = False

    def submit(self, call: Callable[[], None]) -> None:
        """Carry out this call after those before it.

        Raises:
            StoreError: the worker is closed.
        """
        with self._changed:
            if self._closed:
                raise StoreError("the store is closed")
            if self._thread is None:
                self._thread = self._threading.Thread(
                    target=self._run, name=self._name, daemon=True
                )
                self._thread.start()
            self._calls.append(call)
            self._changed.notify()

    def ask(self, question: Callable[[], T], *, timeout_s: float) -> T:
        """Return what the call returns, or raise what it raises.

        Raises:
            TimeoutError: no answer within `timeout_s` seconds; a call that still waits is dropped.
            StoreError: the worker is closed.
        """
        asked = _Question(self._threading)

        def answer() -> None:
            try:
                asked.answer = question()
            except BaseException as error:  # noqa: BLE001 - raised again where it was asked
                asked.error = error
            finally:
                asked.answered.set()

        self.submit(answer)
        if not asked.answered.wait(timeout_s):
            with self._changed:
                if answer in self._calls:
                    self._calls.remove(answer)
            raise TimeoutError(f"no answer for {timeout_s:g} s")
        if asked.error is not None:
            raise asked.error
        return asked.answer  # type: ignore[no-any-return]  # what the question returned

    def close(self, timeout_s: float) -> None:
        """Carry out what waits and end the thread, as far as `timeout_s` seconds go."""
        with self._changed:
            self._closed = True
            self._changed.notify()
            thread = self._thread
        if thread is not None and thread is not self._threading.current_thread():
            thread.join(timeout_s)

    def _run(self) -> None:
        while True:
            with self._changed:
                while not self._calls and not self._closed:
                    self._changed.wait()
                if not self._calls:
                    return
                call = self._calls.popleft()
            call_safely(call)

"""tqdm's `thread_map` and `process_map`, ended by a cancellation of their bar's task.

Nothing can be raised in the one who waits for a map's results. But what the map has not begun can
be taken from its pool, and that is what the waiting ends by.
"""

from __future__ import annotations

import operator
import os
import threading
import warnings
from collections.abc import Callable, Iterable
from concurrent import futures
from contextvars import ContextVar
from typing import Any

from socketprogress.core.errors import Cancelled

__all__ = ["Pending", "pending_of_map", "process_map", "thread_map"]

MANY = 1_000


class Pending:
    """What a map has handed to its pool."""

    def __init__(self) -> None:
        self.cancelled = False
        self._futures: list[futures.Future[Any]] = []
        self._pid = os.getpid()

    def pool(self, kind: type[futures.Executor]) -> type[futures.Executor]:
        """Return a pool of this kind whose futures are kept in mind."""
        pending = self

        class Pool(kind):  # type: ignore[misc, valid-type]
            def submit(self, *args: Any, **kwargs: Any) -> Any:
                future = super().submit(*args, **kwargs)
                pending._futures.append(future)
                if pending.cancelled:
                    future.cancel()
                return future

        return Pool

    def cancel(self) -> None:
        """Have nothing more begun, without waiting for what that calls."""
        if not self.cancelled:
            self.cancelled = True
            threading.Thread(target=self._cancel, name="socketprogress-cancel", daemon=True).start()

    def is_here(self) -> bool:
        """Return whether the map is of this process, not of the one that it was forked from."""
        return self._pid == os.getpid()

    def _cancel(self) -> None:
        for future in reversed(self._futures):
            future.cancel()


_next: ContextVar[Pending | None] = ContextVar("socketprogress_map", default=None)


def pending_of_map() -> Pending | None:
    """Return what belongs to the bar that is being opened, if it is a map's; once."""
    pending = _next.get()
    if pending is None or not pending.is_here():
        return None
    _next.set(None)
    return pending


def thread_map(fn: Callable[..., Any], *iterables: Iterable[Any], **options: Any) -> list[Any]:
    """Return ``list(map(fn, *iterables))``, computed by threads; the options are tqdm's.

    Raises:
        Cancelled: somebody has asked for the end of the bar's task.
    """
    return _mapped(futures.ThreadPoolExecutor, fn, *iterables, **options)


def process_map(fn: Callable[..., Any], *iterables: Iterable[Any], **options: Any) -> list[Any]:
    """Return ``list(map(fn, *iterables))``, computed by processes; the options are tqdm's.

    Raises:
        Cancelled: somebody has asked for the end of the bar's task.
    """
    hints = [operator.length_hint(items, -1) for items in iterables]
    shortest = min((hint for hint in hints if hint >= 0), default=0)
    if shortest > MANY and "chunksize" not in options:
        from tqdm import TqdmWarning  # noqa: PLC0415 - as below

        warnings.warn(
            f"{shortest:,} items go to the processes one by one, which may take longer than the "
            "work; set `chunksize`",
            TqdmWarning,
            stacklevel=3,
        )
    return _mapped(
        futures.ProcessPoolExecutor, fn, *iterables, **{"lock_name": "mp_lock", **options}
    )


def _mapped(
    kind: type[futures.Executor], fn: Callable[..., Any], *iterables: Iterable[Any], **options: Any
) -> list[Any]:
    from tqdm.contrib import concurrent  # noqa: PLC0415 - bars that are no map's need none of it

    pending = Pending()
    token = _next.set(pending)
    try:
        results: list[Any] = concurrent._executor_map(  # noqa: SLF001 - takes the pool; tested
            pending.pool(kind), fn, *iterables, **options
        )
    except futures.CancelledError:
        if pending.cancelled:
            raise Cancelled("the map was cancelled") from None
        raise
    finally:
        _next.reset(token)
    return results

"""`track`: a loop whose progress is seen live, at the price of a generator around it."""

from __future__ import annotations

import contextlib
import operator
import sys
import weakref
from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    AsyncIterator,
    Awaitable,
    Generator,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
)
from itertools import chain, compress
from typing import Any, Generic, TypeVar

from socketprogress.client.endings import Ending
from socketprogress.client.reporter import Reporter
from socketprogress.core import reporter as core
from socketprogress.core.errors import Cancelled

__all__ = ["Tracked", "track"]

T = TypeVar("T")

WINDOW = 1_024


def track(  # noqa: PLR0913 - the public signature
    items: Iterable[T] | AsyncIterable[T],
    *,
    title: str | None = None,
    total: float | None = None,
    unit: str = "it",
    steps: Sequence[str] | Mapping[str, float] = (),
    name: str = "track",
    url: str | None = None,
    token: str | None = None,
    task_id: str | None = None,
    parent: core.Reporter | str | None = None,
    tags: Sequence[str] = (),
    lease_s: float | None = None,
    cancellable: bool = True,
) -> Tracked[T]:
    """Have a loop over the items seen live: ``for row in track(rows): …``, or ``async for``.

    The task begins with the loop and ends with it: as completed when the loop has run through or is
    left by `break`, as failed or cancelled by an exception, as far as that can be seen.

    Args:
        items: what is iterated over, in the same order.
        title: one line for people.
        total: how many there are; their length by default, where they have one.
        unit: what is counted.
        steps, url, token, task_id, parent, tags, lease_s, cancellable: as `Reporter`'s.
        name: what runs.

    Returns:
        An iterable and asynchronous iterable of the items; `reporter` of it is the loop's.

    Raises:
        Cancelled: inside the loop, once somebody has asked for its end.
    """
    return Tracked(
        items, name=name, title=title, total=total, unit=unit, steps=steps, url=url, token=token,
        task_id=task_id, parent=parent, tags=tags, lease_s=lease_s, cancellable=cancellable,
    )  # fmt: skip


class Tracked(Generic[T]):
    """An iterable whose loops are tasks: each time that it is iterated over is one.

    Attributes:
        reporter: the newest loop's; None before the first.
    """

    def __init__(self, items: Iterable[T] | AsyncIterable[T], **options: Any) -> None:
        self.reporter: Reporter | None = None
        self._items: Any = items
        self._options = options
        self._iterator: Iterator[T] | None = None

    def __len__(self) -> int:
        return len(self._items)

    def __iter__(self) -> Iterator[T]:
        iterator = iter(self._items)  # what cannot be iterated over opens no task
        return counted(iterator, self._begin())

    def __next__(self) -> T:
        if self._iterator is None:
            self._iterator = iter(self)
        return next(self._iterator)

    def __aiter__(self) -> AsyncIterator[T]:
        if hasattr(self._items, "__aiter__"):
            return _AsyncLoop(aiter(self._items), self._begin())
        return _AsyncLoop(_as_async(iter(self._items)), self._begin())

    def _begin(self) -> Reporter:
        options = dict(self._options)
        if options.get("total") is None:
            options["total"] = core.length_of(self._items)
        self.reporter = Reporter(**options)
        return self.reporter


def counted(items: Iterator[T], reporter: Reporter) -> Iterator[T]:
    """Return an iterator over the items that counts on the reporter, and ends it with the loop."""
    meter = _Meter(reporter)
    loop = _loop(items, reporter, meter)
    meter.loop = weakref.ref(loop)
    reporter.attach(meter.sample, meter.stop)
    return loop


class _Meter:
    """Counts in C how many items a loop has fetched, and stops it from another thread.

    `compress` takes a flag from a list for every item: where its iterator stands in the list is the
    count, and a flag that is no longer `True` but this object raises when it is looked at.
    """

    __slots__ = ("_at", "_flags", "_reporter", "loop", "undone")

    def __init__(self, reporter: Reporter) -> None:
        self.loop: Any = None
        self.undone = 0
        self._reporter = reporter
        self._flags: list[Any] = [True] * WINDOW
        self._at: tuple[float, Any] = (reporter.current - WINDOW, None)

    def windows(self) -> Iterator[Iterator[Any]]:
        """Yield iterators over the flags, for ever."""
        base = self._reporter.current
        while True:
            window = iter(self._flags)
            self._at = (base, window)
            yield window
            base += WINDOW

    def sample(self) -> None:
        """Set the reporter's count to the items done: not the one that the loop is busy with."""
        loop = self.loop()
        busy = loop is not None and loop.gi_suspended
        base, window = self._at
        fetched = base + WINDOW - (operator.length_hint(window) if window is not None else 0)
        self._reporter.current = fetched - (1 if busy else self.undone)

    def stop(self) -> None:
        """Have the loop raise `Cancelled` at its next item."""
        self._flags[:] = [self] * WINDOW

    def __bool__(self) -> bool:
        try:
            self._reporter.check()
        except Cancelled:
            self.undone = 1
            raise
        return True


def _loop(items: Iterator[T], reporter: Reporter, meter: _Meter) -> Generator[T, None, None]:
    # Nothing is counted or checked here: that would double the price of an iteration.
    try:
        reporter.check()
        yield from compress(items, chain.from_iterable(meter.windows()))
    except GeneratorExit:
        meter.undone = 1
        reporter.left(sys._getframe(1))  # noqa: SLF001 - where the loop stands
        raise
    except BaseException as exc:
        reporter.finish(Ending.by(exc))
        raise
    reporter.close()


class _AsyncLoop(AsyncIterator[T]):
    """An asynchronous loop over the items, counted and ended like `_loop`."""

    def __init__(self, items: AsyncIterator[T], reporter: Reporter) -> None:
        self._items = items
        self._reporter = reporter
        self._busy = False
        self._task: Any = None
        self._event_loop: Any = None
        reporter.attach(None, weakref.WeakMethod(self.stop))

    async def __anext__(self) -> T:
        reporter = self._reporter
        if self._busy:
            reporter.current += 1
            self._busy = False
        try:
            reporter.check()
            item = await self._waited_for(anext(self._items))
            reporter.check()
        except StopAsyncIteration:
            reporter.close()
            raise
        except BaseException as exc:
            reporter.finish(Ending.by(exc, cancel_requested=reporter.cancel_requested))
            raise
        self._busy = True
        return item

    async def _waited_for(self, awaitable: Awaitable[T]) -> T:
        """Wait for the next item; a cancellation of the task ends that, too."""
        asyncio = sys.modules.get("asyncio")
        if asyncio is None:
            return await awaitable
        try:
            self._event_loop = asyncio.get_running_loop()
            self._task = asyncio.current_task()
        except RuntimeError:  # another library's event loop
            return await awaitable
        try:
            return await awaitable
        except asyncio.CancelledError:
            if not (self._reporter.cancel_requested and self._reporter.cancellable):
                raise
            self._task.uncancel()
            self._reporter.check()
            raise
        finally:
            self._task = None

    def stop(self) -> None:
        """Have the loop stop waiting for its next item, from any thread."""
        event_loop = self._event_loop
        if event_loop is not None:
            with contextlib.suppress(RuntimeError):  # it has just been closed
                event_loop.call_soon_threadsafe(self._interrupt)

    def _interrupt(self) -> None:
        if self._task is not None:
            self._task.cancel()

    def __del__(self) -> None:
        if not self._reporter.ended:
            self._reporter.left(sys._getframe(1))  # noqa: SLF001 - where the loop stands


async def _as_async(items: Iterator[T]) -> AsyncGenerator[T, None]:
    for item in items:
        yield item

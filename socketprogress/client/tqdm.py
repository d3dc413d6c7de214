"""tqdm's own bars, each of them a task on a server too: ``from socketprogress import tqdm``.

Where to: `SOCKETPROGRESS_URL`, or a server of this user on this host; without either, or with
``disable=True``, it is tqdm's bar and nothing else. The arguments are tqdm's: `desc` is the task's
title, `unit` its unit, `postfix` its message; a number as `unit_scale` scales the counts. Once
somebody has asked for the task's end, the bar's loop and `update` raise `Cancelled`.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Iterable, Iterator
from types import FrameType, TracebackType
from typing import TYPE_CHECKING, Any

from tqdm import std

if TYPE_CHECKING:
    from socketprogress.client.bar import RemoteBar

__all__ = ["tqdm", "trange"]

LOOP = std.tqdm.__iter__.__code__


class tqdm(std.tqdm):  # type: ignore[misc]  # noqa: N801 - its name is what this is about
    __doc__ = std.tqdm.__doc__  # tqdm's command line reads its options from here

    _remote: RemoteBar | None = None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if not self.disable:
            # Loads nothing more for bars that are disabled.
            from socketprogress.client.bar import opened  # noqa: PLC0415

            remote = opened(self)
            if remote is not None:
                self._remote = remote

    functools.update_wrapper(__init__, std.tqdm.__init__)

    @property
    def iterable(self) -> Any:
        """What is iterated over; the loop of tqdm itself gets it with a count around it."""
        try:
            items = self.__dict__["iterable"]
        except KeyError:
            raise AttributeError("iterable") from None
        remote = self._reported()
        if remote is not None and not self.disable and _caller().f_code is LOOP:
            return remote.counted(items)
        return items

    @iterable.setter
    def iterable(self, items: Iterable[Any] | None) -> None:
        self.__dict__["iterable"] = items

    def __iter__(self) -> Iterator[Any]:
        loop: Iterator[Any] = super().__iter__()
        remote = self._reported()
        if remote is not None:
            remote.runs_in(loop)
        return loop

    def reset(self, total: float | None = None) -> None:
        """Start at 0 again, with a new total if one is given."""
        super().reset(total)
        remote = self._reported()
        if remote is not None:
            remote.reset()

    def close(self) -> None:
        """Close the bar; its task is completed, unless it is an exception that closes it."""
        remote = self._reported()
        if remote is None:
            super().close()
            return
        caller = _caller()
        ending = remote.ending_in(caller, sys.exception())
        try:
            super().close()
        finally:
            remote.finish(ending, exact=caller.f_code is LOOP)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        remote = self._reported()
        if remote is not None and error is not None:
            remote.failed(error)
        super().__exit__(kind, error, trace)

    def __del__(self) -> None:
        remote = self._reported()
        if remote is not None:
            remote.dropped()
        super().__del__()

    def _reported(self) -> RemoteBar | None:
        """Return what this bar has on the server; a copy of it, or a forked child's, has nothing."""
        remote = self._remote
        return remote if remote is not None and remote.is_of(self) else None


def trange(*args: Any, **kwargs: Any) -> tqdm:
    """Return ``tqdm(range(*args), **kwargs)``."""
    bar: tqdm = tqdm(range(*args), **kwargs)
    return bar


def _caller() -> FrameType:
    """Return the frame that called the one which asks."""
    return sys._getframe(2)  # noqa: SLF001 - whether tqdm's own code asks is told by nothing else

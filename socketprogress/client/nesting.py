"""Which open bar a new one belongs to, in this process and in the one that started it."""

from __future__ import annotations

import os
import re
import weakref
from collections.abc import Iterable
from contextvars import ContextVar
from typing import Any

__all__ = ["PARENT", "announce", "forked", "parent_of"]

PARENT = "SOCKETPROGRESS_PARENT"
TASK_ID = re.compile(r"[A-Za-z0-9_-]{1,64}\Z")

# Reporters opened in this thread or asyncio task, or in what it was started from; newest last.
_opened: ContextVar[tuple[Any, ...]] = ContextVar("socketprogress_opened", default=())


class _Announced:
    """What started programs are told, and what this one was told itself."""

    def __init__(self) -> None:
        told = os.environ.get(PARENT, "")
        self.own = told if TASK_ID.match(told) else None
        self.said: str | None = None


_announced = _Announced()


def parent_of(reporter: Any, elsewhere: Iterable[Any] = ()) -> str | None:
    """Return the id of the task that a new reporter is a part of, and note that it is open.

    It is the newest one open in this thread or asyncio task, or in what this was started from,
    which may be the process that this one was forked from; else the oldest one that is open
    anywhere in this process; else the one that the process was told of by its environment.
    """
    chain = tuple(ref for ref in _opened.get() if (one := ref()) is not None and not one.ended)
    _opened.set((*chain, weakref.ref(reporter)))
    found = chain[-1]() if chain else next(iter(elsewhere), None)
    if found is not None:
        return str(found.task_id)
    return _announced.own


def forked() -> None:
    """Take what the parent process announced for one's own."""
    _announced.own = _announced.said or _announced.own


def announce(task_id: str | None) -> None:
    """Tell programs that are started from now on which task is theirs; None for what it was."""
    value = _announced.own if task_id is None else task_id
    if value == _announced.said:
        return
    _announced.said = value
    if value is None:
        os.environ.pop(PARENT, None)
    else:
        os.environ[PARENT] = value

"""Having tasks that wait not begin, and what is certain then."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any

from celery import Celery

__all__ = ["REPLY_S", "Revoker", "revoke_waiting"]

REPLY_S = 1.5

log = logging.getLogger(__name__)


def revoke_waiting(app: Celery, task_ids: Collection[str], *, reply_s: float = REPLY_S) -> set[str]:
    """Have the workers not begin tasks.

    The answers come over a connection of its own: one of the application's pool would be held while
    what asks needs another, and with a dozen of that kind nobody could send anything any more.

    Args:
        app: the application.
        task_ids: the tasks.
        reply_s: how long to wait for what workers answer, twice.

    Returns:
        Those of them that at least one worker has noted, and that none runs already.
    """
    with app.connection_for_write() as connection:
        noted = app.control.revoke(
            list(task_ids), reply=True, timeout=reply_s, connection=connection
        )
        if not any("ok" in said for said in _answers(noted)):
            return set()
        inspect = app.control.inspect(timeout=reply_s, connection=connection)
        seen = inspect.query_task(*task_ids) or {}
    active = {
        task_id
        for tasks in seen.values()
        for task_id, told in tasks.items()
        if told and told[0] == "active"
    }
    return set(task_ids) - active


class Revoker:
    """Revokes tasks in a thread of its own: those that come while it is at work together, after that.

    Args:
        app: the application.
        revoked: called with the name and the id of each that will certainly not begin.
    """

    def __init__(self, app: Celery, revoked: Callable[[str, str], object]) -> None:
        self._app, self._revoked = app, revoked
        self._begin()

    def _begin(self) -> None:
        """Begin with nothing: at first, and in a forked child, which has none of these threads."""
        self._pid = os.getpid()
        self._lock = threading.Lock()
        self._waiting: dict[str, str] = {}
        self._at_work = False

    def revoke(self, name: str, task_id: str) -> None:
        """Have a task of this name not begin; returns at once."""
        if self._pid != os.getpid():
            self._begin()
        with self._lock:
            self._waiting[task_id] = name
            if self._at_work:
                return
            self._at_work = True
        threading.Thread(target=self._run, name="socketprogress-revoker", daemon=True).start()

    def _run(self) -> None:
        while names := self._next():
            try:
                for task_id in revoke_waiting(self._app, names):
                    self._revoked(names[task_id], task_id)
            except Exception:  # the broker's driver may raise anything; workers will hear of it
                log.exception("%d tasks could not be revoked", len(names))

    def _next(self) -> dict[str, str]:
        with self._lock:
            names, self._waiting = self._waiting, {}
            self._at_work = bool(names)
            return names


def _answers(replies: Any) -> Iterator[Mapping[str, Any]]:
    for reply in replies or ():
        yield from (said for said in reply.values() if isinstance(said, Mapping))

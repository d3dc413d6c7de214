"""A reporter's line straight into the store that servers share: no server is needed.

It answers as a server does, since it is made of the same parts: a hub that makes states of reports, and
the store. So this process is one more of those that share the store, and speaks for its tasks itself.
"""

from __future__ import annotations

import contextlib
import logging
import os
import secrets
import socket
import threading
import time
from collections import deque
from collections.abc import Iterator
from typing import Any

from socketprogress.client.forks import import_whole
from socketprogress.client.link import Broken, Refused
from socketprogress.core.desk import Desk
from socketprogress.core.errors import (
    ConfigurationError,
    StoreError,
    TaskEnded,
    Unavailable,
    WireError,
)
from socketprogress.core.fields import Bounds
from socketprogress.core.hub import Hub
from socketprogress.core.mirror import DIRECT
from socketprogress.core.reports import open_request, report_request
from socketprogress.core.state import TaskState
from socketprogress.stores.redis import RedisStore
from socketprogress.stores.redis_member import Member

__all__ = ["Direct"]

log = logging.getLogger(__name__)

BOUNDS = Bounds()
SILENCE_S = 5.0
CLOSE_S = 0.2
PACKAGES = ("redis", "redis.backoff", "redis.retry", "redis.exceptions")

OTHERS = Unavailable("another process speaks for this task: say it again")

Answer = dict[str, Any]


class _Clock:
    """The machine's own clocks."""

    def wall(self) -> float:
        return time.time()

    def monotonic(self) -> float:
        return time.monotonic()


class Direct:
    """A line that is open when it is made; what it acknowledges is stored.

    Args:
        url: the store's.

    Raises:
        Refused: the URL, or the package for it, cannot be used.
        Broken: no Redis answers there.
    """

    def __init__(self, url: str) -> None:
        try:
            for package in PACKAGES:
                import_whole(package)
            self._store = RedisStore(url)
        except (ConfigurationError, ImportError) as exc:
            raise Refused(str(exc), None) from exc
        except StoreError as exc:
            raise Broken(str(exc)) from exc
        self._pid = os.getpid()
        self._hub = Hub(store=self._store, clock=_Clock(), epoch=DIRECT + secrets.token_urlsafe(9))
        self._desk = Desk(self._hub)
        self._member = Member(self._store, self._hub, on_command=self._asked)
        self._answers: deque[tuple[int | None, Any]] = deque()
        self._calls = 0
        self._well_at = time.monotonic()
        self._wake_in, self._wake_out = socket.socketpair()
        self._wake_in.setblocking(False)
        self._wake_out.setblocking(False)
        self._member.start()

    def fileno(self) -> int:
        """Return the descriptor to wait on."""
        return self._wake_in.fileno()

    @property
    def pending(self) -> bool:
        """Whether there are answers that the descriptor does not tell of: never."""
        return False

    def call(self, event: str, payload: Any) -> int:
        """Take an event, and return the number of its acknowledgement.

        Raises:
            Broken: the store does not answer.
        """
        self._calls += 1
        number = self._calls
        try:
            if event == "open_task":
                answer = self._open(payload)
                # Only once it is stored is it safe to forget here.
                self._store.when_written(lambda: self._tell(number, answer))
            else:
                self._report(number, payload)
        except WireError as exc:
            self._tell(number, {"ok": False, "error": exc.to_wire()})
        except StoreError as exc:
            raise Broken(str(exc)) from exc
        self._hub.drain()
        return number

    def read(self) -> Iterator[tuple[int | None, Any]]:
        """Yield what has come: ``(number, ack)``, or ``(None, [event, payload])``."""
        with contextlib.suppress(BlockingIOError):
            self._wake_in.recv(4_096)
        while self._answers:
            yield self._answers.popleft()

    def is_silent(self) -> bool:
        """Return whether the store has not done its part for too long."""
        now = time.monotonic()
        if self._store.problem() is None:
            self._well_at = now
        return now - self._well_at > SILENCE_S

    def close(self) -> None:
        """Tell the others that this process has gone, without waiting for long."""
        try:
            self._store.leave(self._hub.epoch)
        except StoreError as exc:
            log.debug("nobody is told that this process ends: %s", exc)
        self.abandon()

    def abandon(self) -> None:
        """Let go without a word; in a forked child all but the descriptors is the parent's."""
        for sock in (self._wake_in, self._wake_out):
            sock.close()
        if self._pid == os.getpid():
            threading.Thread(target=self._stop, daemon=True).start()

    # -- inside ----------------------------------------------------------------------------------

    def _open(self, payload: Answer) -> Answer:
        wanted = open_request(payload, BOUNDS)
        if wanted.task_id is not None:
            self._seek(wanted.task_id)
        state, _ = self._desk.open(wanted)
        task = {"epoch": state.epoch, "cancel_requested": state.cancel_requested}
        beside = {"task_id": state.task_id, "reporter_seq": max(state.reporter_seq, 0)}
        return {"ok": True, "task": task, **beside}

    def _report(self, number: int, payload: Any, *, again: bool = True) -> None:
        refused: list[tuple[str | None, WireError]] = []
        ending, heard = [], []
        for report in report_request(payload, BOUNDS):
            if isinstance(report, tuple):
                refused.append(report)
                continue
            task_id = report["task_id"]
            try:
                self._seek(task_id)
                if self._desk.take(report):
                    ending.append(task_id)
                heard.append(task_id)
            except WireError as exc:
                refused.append((task_id, exc))

        def written() -> None:
            states = {i: state for i in heard if (state := self._hub.find(i)) is not None}
            if again and any(i in states and not states[i].ended for i in ending):
                # While this process was frozen another took over: now it is known, and taken back.
                self._report(number, payload, again=False)
            else:
                self._tell(number, self._reported(states, ending, refused))

        self._store.when_written(written)

    def _reported(
        self,
        states: dict[str, TaskState],
        ending: list[str],
        refused: list[tuple[str | None, WireError]],
    ) -> Answer:
        """Return the ack once all is written: only then is it known what the store has refused."""
        refused += [(i, OTHERS) for i in ending if i in states and not states[i].ended]
        over = [i for i in states.keys() - set(ending) if states[i].ended]
        refused += [(i, TaskEnded(f"task {i} was ended by another process")) for i in over]
        self._hub.let_go([task_id for task_id, state in states.items() if state.ended])
        return {
            "ok": True,
            "cancel": [i for i, state in states.items() if _is_to_end(state)],
            "errors": [{"task_id": i, "error": error.to_wire()} for i, error in refused],
        }

    def _seek(self, task_id: str) -> None:
        """Take a task in that this process does not know, from the store."""
        if self._hub.find(task_id) is None:
            found = self._store.find(task_id)
            if found is not None:
                self._hub.mirror([found])

    def _asked(self, kind: str, task_id: str) -> None:
        """Hear from the member's thread what somebody wants of a task."""
        if kind != "cancel" or self._hub.find(task_id) is None:
            return
        try:
            state = self._hub.request_cancel(task_id)
        except WireError as exc:
            log.debug("task %s is not cancelled: %s", task_id, exc)
            return
        if _is_to_end(state):
            self._answers.append((None, ["cancel_requested", {"task_id": task_id}]))
            self._wake()

    def _tell(self, number: int, answer: Answer) -> None:
        self._answers.append((number, answer))
        self._wake()

    def _wake(self) -> None:
        with contextlib.suppress(OSError):  # full, which is wake-up enough, or closed
            self._wake_out.send(b"\0")

    def _stop(self) -> None:
        self._member.close(CLOSE_S)
        self._store.close(CLOSE_S)


def _is_to_end(state: TaskState) -> bool:
    return state.cancel_requested and not state.ended

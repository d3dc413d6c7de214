"""What is said to a server and what it answers: one list of reports on its way at a time."""

from __future__ import annotations

import logging
import random
import select
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from socketprogress.client import notice
from socketprogress.client.backlog import Backlog
from socketprogress.client.forks import import_whole
from socketprogress.client.link import Broken, Line, Link, Refused, whereabouts_of
from socketprogress.client.origin import Origin
from socketprogress.client.outbox import BARRED, Batch, Outbox
from socketprogress.client.whereabouts import Whereabouts, usual
from socketprogress.core.ports import Lock

__all__ = ["Exchange"]

log = logging.getLogger(__name__)

BATCH_BYTES = 56_000
OPENINGS = 50
EVENTS_PER_S = 80.0
EVENTS_AT_ONCE = 200.0
ANSWER_S = 10.0
DOUBT_S = 2.0
LAST_DOUBT_S = 0.3
LONGEST_ANSWER_S = 60.0
FIRST_DELAY_S = 0.2
LONGEST_DELAY_S = 10.0
REFUSED_DELAY_S = 30.0
RETRY_S = 1.0
RETRY = frozenset({"unavailable", "rate_limited"})


class Exchange:
    """The talk with one server, for the thread that leads it.

    Args:
        origin: the server.
        outbox: what there is to say.
        lock: held while the outbox is touched; never while anything waits.
        backlog: what earlier processes have left.
        clock: monotonic seconds.
        on_cancel: called with the ids of tasks that are to end.
    """

    def __init__(
        self,
        origin: Origin,
        outbox: Outbox,
        *,
        lock: Lock,
        backlog: Backlog,
        clock: Callable[[], float],
        on_cancel: Callable[[list[Any]], None] = lambda _: None,
    ) -> None:
        self._origin, self._outbox, self._lock = origin, outbox, lock
        self._backlog, self._clock, self._on_cancel = backlog, clock, on_cancel
        self._link: Line | None = None
        self._batch: tuple[int, Batch] | None = None
        self._asked: dict[int, str] = {}
        self._probing: int | None = None
        self._epoch: str | None = None
        self._answer_by = self._pause_until = self._next_try = 0.0
        self._answer_s, self._delay_s = ANSWER_S, FIRST_DELAY_S
        # Whether it is known that who is there is one of us.
        self._sure = origin.found or origin.store is not None
        self._doubt_s, self._open_since = DOUBT_S, 0.0
        self._place: Whereabouts | None = None
        self._events, self._events_at = EVENTS_AT_ONCE, clock()
        self.attempts = 0

    @property
    def is_open(self) -> bool:
        """Whether there is a connection."""
        return self._link is not None

    def may_connect(self) -> bool:
        """Return whether it is time for an attempt."""
        return self._clock() >= self._next_try

    def connect(self) -> None:
        """Open a connection, and find out whether the server is still the same.

        Raises:
            Broken, Refused: there is none.
        """
        self.attempts += 1
        try:
            self._link = self._open()
        except Broken:
            self.attempts += 1  # also where this one had begun before somebody began to count
            raise
        self._delay_s = FIRST_DELAY_S
        self._open_since = self._clock()
        self._events, self._events_at = EVENTS_AT_ONCE, self._clock()
        with self._lock:
            known = self._outbox.any_opened()
        if known is not None:
            self._probing = self._ask(known)

    def say(self) -> None:
        """Send what there is to say and may be said now.

        Raises:
            Broken: the connection is lost.
        """
        now = self._clock()
        if self._link is None or now < self._pause_until:
            return
        self._events = min(
            self._events + (now - self._events_at) * EVENTS_PER_S, EVENTS_AT_ONCE
        )  # fmt: skip
        self._events_at = now
        room = min(OPENINGS - len(self._asked), int(self._events) - 1)
        with self._lock:
            openings = self._outbox.openings(room) if room > 0 else []
            batch = None
            if self._batch is None and self._probing is None and self._events >= 1:
                batch = self._outbox.take(now=now, budget=BATCH_BYTES)
        for payload in openings:
            self._ask(payload)
        if batch is not None:
            self._events -= 1
            self._batch = (self._link.call("report", batch.reports), batch)
            self._answer_by = now + self._answer_s

    def wait(self, others: Sequence[Any], timeout_s: float) -> list[Any]:
        """Wait for the server or for others, and take what the server says.

        Args:
            others: sockets or pipes that are readable when there is something to do.
            timeout_s: seconds to wait at most.

        Returns:
            Those of `others` that are readable.

        Raises:
            Broken: the connection is lost, or the server is silent for too long.
        """
        watched = list(others) if self._link is None else [*others, self._link]
        ready = _ready(watched, timeout_s)
        if self._link is not None and self._link in ready:
            for number, payload in self._link.read():
                self._answer(number, payload)
        if not self._sure and (self._batch or self._asked):
            self._make_sure()
        if (self._batch or self._asked) and self._clock() > self._answer_by:
            self._answer_s = min(2 * self._answer_s, LONGEST_ANSWER_S)
            raise Broken("the server does not answer")
        if self._link is not None and self._link.is_silent():
            raise Broken("the server's heartbeat has stopped")
        return [one for one in others if one in ready]

    def lose(self, exc: Exception) -> None:
        """Give the connection up: all that was not answered has to be said again."""
        link, self._link = self._link, None
        if link is not None:
            link.abandon()
        self._batch = self._probing = None
        self._asked.clear()
        with self._lock:
            self._outbox.lose()
            self._outbox.reconnected(restarted=False)
        delay = REFUSED_DELAY_S if isinstance(exc, Refused) else self._delay_s
        self._delay_s = min(2 * self._delay_s, LONGEST_DELAY_S)
        self._next_try = self._clock() + delay * random.uniform(0.5, 1.0)  # noqa: S311 - jitter

    def hurry(self) -> None:
        """Find out soon what stands in the way: the process is about to end."""
        self.attempts, self._doubt_s = 0, LAST_DOUBT_S

    def close(self) -> None:
        """Take leave of the server."""
        if self._link is not None:
            self._link.close()
            self._link = None

    def abandon(self) -> None:
        """Let go of the connection without a word: it is another process's."""
        if self._link is not None:
            self._link.abandon()

    # -- inside ----------------------------------------------------------------------------------

    def _open(self) -> Line:
        """Connect to where the server's events are, or most likely are.

        Inside of another application that may be anywhere, also where a neighbour's are, so it is asked.
        """
        if self._origin.store is not None:
            direct = import_whole("socketprogress.client.direct")
            line: Line = direct.Direct(self._origin.store)
            return line
        url, token = self._origin.address()
        if self._place is None:
            embedded = usual(url) != usual("")
            self._place = whereabouts_of(url) if embedded else usual(url)
        try:
            return Link(url, token, self._place)
        except Broken as exc:
            place, self._place = self._place, None
            if not exc.doubtful:
                raise
            self._place = whereabouts_of(url)
            if place == self._place:
                raise
            return Link(url, token, self._place)

    def _make_sure(self) -> None:
        """Ask who is there: another application's Socket.IO does not answer what it does not know."""
        if self._clock() - self._open_since <= self._doubt_s:
            return
        place, self._place = self._place, whereabouts_of(self._origin.url)
        if place != self._place:
            raise Broken(f"the events of {self._origin.url} are elsewhere")
        self._sure = True

    def _ask(self, opening: dict[str, Any]) -> int:
        if self._link is None:
            raise Broken("there is no connection")
        number = self._link.call("open_task", opening)
        self._asked[number] = opening["task_id"]
        self._events -= 1
        self._answer_by = self._clock() + self._answer_s
        return number

    def _answer(self, number: int | None, payload: Any) -> None:
        if number is None:
            event, *values = payload
            if event == "cancel_requested" and values and isinstance(values[0], dict):
                self._on_cancel([values[0].get("task_id")])
            return
        self._sure = True
        ack = payload if isinstance(payload, dict) else {}
        error = None if ack.get("ok") else ack.get("error") or {"code": "unavailable"}
        if error is not None and error.get("code") in RETRY:
            self._pause(float(error.get("retry_after_s") or RETRY_S))
        if number in self._asked:
            self._probing = None if number == self._probing else self._probing
            self._opened(self._asked.pop(number), ack, error)
        elif self._batch is not None and number == self._batch[0]:
            self._reported(self._batch[1], ack, error)
        self._answer_s = ANSWER_S
        self._answer_by = self._clock() + self._answer_s

    def _opened(self, task_id: str, ack: Mapping[str, Any], error: Any) -> None:
        task = ack.get("task") or {}
        with self._lock:
            if self._outbox.opened(task_id, error, number=int(ack.get("reporter_seq") or 0)):
                self._tell(task_id, error)
            epoch = task.get("epoch")
            if epoch and epoch != self._epoch:
                self._outbox.reconnected(restarted=self._epoch is not None)
                self._epoch = epoch
        if task.get("cancel_requested"):
            self._on_cancel([task_id])

    def _reported(self, batch: Batch, ack: Mapping[str, Any], error: Any) -> None:
        self._batch = None
        errors = ack.get("errors") or []
        if error is not None:
            errors = [{"task_id": task_id, "error": error} for task_id in batch.counts]
        with self._lock:
            final = self._outbox.acknowledge(batch, errors, now=self._clock())
            self._backlog.settle(self._outbox)
        for task_id, reason in final.items():
            self._tell(task_id, reason)
        if any((refused.get("error") or {}).get("code") in RETRY for refused in errors):
            self._pause(RETRY_S)
        self._on_cancel(ack.get("cancel") or [])

    def _tell(self, task_id: str, error: Mapping[str, Any]) -> None:
        if error.get("code") == "task_ended":
            log.debug("task %s is over at the server", task_id)
            return
        reason = error.get("message") or error.get("code")
        if error.get("code") in BARRED and self._origin.token is None:
            reason = f"{reason}, without a token"
        kept = "; its reports are kept" if task_id in self._outbox else ""
        notice.warn_once("the server refuses a report of task %s: %s%s", task_id, reason, kept)

    def _pause(self, seconds: float) -> None:
        until = self._clock() + min(seconds, LONGEST_DELAY_S)
        self._pause_until = max(self._pause_until, until)


def _ready(watched: list[Any], timeout_s: float) -> list[Any]:
    if any(getattr(one, "pending", False) for one in watched):
        timeout_s = 0.0
    if hasattr(select, "poll"):  # no bound on descriptors, but missing where eventlet patches
        poll = select.poll()
        by_number = {one.fileno(): one for one in watched}
        for number in by_number:
            poll.register(number, select.POLLIN)
        found = [by_number[number] for number, _ in poll.poll(timeout_s * 1_000)]
    else:
        found = list(select.select(watched, [], [], timeout_s)[0])
    return [one for one in watched if one in found or getattr(one, "pending", False)]

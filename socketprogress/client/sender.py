"""The one daemon thread that looks at a process's reporters and tells the server of them.

The work never waits for it: reporters are handed over through a deque, and looked at from here.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import random
import select
import socket
import threading
import time
import weakref
from collections import deque
from collections.abc import Mapping
from typing import Any, Protocol

from socketprogress.client import notice
from socketprogress.client.forks import import_whole
from socketprogress.client.link import Broken, Link, Refused
from socketprogress.client.origin import Origin
from socketprogress.client.outbox import Batch, Outbox
from socketprogress.core.ports import Report

__all__ = ["Reporting", "Sender"]

log = logging.getLogger(__name__)

LOOK_S = 0.1
IDLE_S = 20.0
BATCH_BYTES = 56_000
OPENINGS = 50
OPENINGS_A_LOOK = 6
OPENINGS_BURST = 150
ANSWER_S = 10.0
LONGEST_ANSWER_S = 60.0
FIRST_DELAY_S = 0.2
LONGEST_DELAY_S = 10.0
REFUSED_DELAY_S = 30.0
MOST_ENDED = 10_000
SPOOL_EVERY_S = 30.0
LOCK_S = 0.3
RETRY = frozenset({"unavailable", "rate_limited"})


class Reporting(Protocol):
    """What the sender asks of a reporter."""

    task_id: str

    def opening(self) -> dict[str, Any]:
        """Return the payload of `open_task`."""

    def collect(self) -> list[Report]:
        """Return what changed since the last call."""

    def ending(self) -> Report | None:
        """Return how it ended, once that is certain."""

    def request_cancel(self) -> None:
        """Have the work stop."""


class Sender:
    """Tells one server of all reporters of this process that report to it.

    Args:
        origin: the server.
        clock: monotonic seconds.
    """

    def __init__(self, origin: Origin, *, clock: Any = time.monotonic) -> None:
        self.origin = origin
        self._clock = clock
        self._outbox = Outbox(itertools.count(time.time_ns() // 1_000))
        self._inbox: deque[tuple[str, Reporting]] = deque()
        self._live: dict[str, weakref.ref[Reporting]] = {}
        self._held: list[Reporting] = []
        self._lock = threading.Lock()
        self._wake_in, self._wake_out = socket.socketpair()
        self._wake_in.setblocking(False)
        self._wake_out.setblocking(False)
        self._thread: threading.Thread | None = None
        self._done = threading.Event()
        self._closing = self._abandoned = False
        self._link: Link | None = None
        self._batch: tuple[int, Batch] | None = None
        self._asked: dict[int, str] = {}
        self._answer_by = 0.0
        self._answer_s = ANSWER_S
        self._delay_s = FIRST_DELAY_S
        self._next_try = self._next_look = 0.0
        self._pause_until = 0.0
        self._openings_left = float(OPENINGS_BURST)
        self._attempts = 0
        self._epoch: str | None = None
        self._probing: int | None = None
        self._claim: Any = None
        self._claimed: set[str] = set()
        self._next_claim = 0.0
        self.delivered = 0

    # -- from the work's threads: no lock, no waiting ---------------------------------------------

    def open(self, reporter: Reporting) -> None:
        """Look at this reporter from now on."""
        self._inbox.append(("open", reporter))
        self.start()
        self._wake()

    def end(self, reporter: Reporting) -> None:
        """Take a reporter that has ended."""
        self._inbox.append(("end", reporter))

    def start(self) -> None:
        """Start the thread, unless it runs."""
        if self._thread is None and not self._abandoned:
            self._thread = threading.Thread(
                target=self._run, name="socketprogress-sender", daemon=True
            )
            try:
                self._thread.start()
            except RuntimeError as exc:  # no more threads, or the interpreter is ending
                notice.warn_once("nothing is reported for now: %s", exc)

    def hurry(self) -> None:
        """Begin to deliver all that is left, and to end."""
        self._attempts = 0
        self._closing = True
        self._wake()

    def close(self, grace_s: float) -> None:
        """Deliver what is left within `grace_s` seconds; the rest goes to the spool."""
        deadline = self._clock() + grace_s
        self.hurry()
        if self._thread is not None and self._thread.is_alive() and not self.origin.offline:
            self._done.wait(max(grace_s, 0.0))
        self._abandoned = True
        self._wake()
        if self._lock.acquire(timeout=max(deadline - self._clock(), LOCK_S)):
            try:
                self._take_in(final=True)
                self._spool(self._outbox.rest())
            finally:
                self._lock.release()
        if self._thread is None or not self._thread.is_alive():
            self._let_go()

    def forked(self) -> None:
        """Let go of everything in a forked child: all this is the parent's."""
        self._abandoned = True
        self._let_go()
        if self._link is not None:
            self._link.abandon()
        if self._claim is not None:
            self._claim.release()

    def held(self) -> list[Any]:
        """Return the reporters whose end is not certain, or not taken yet."""
        return [*self._held, *(reporter for kind, reporter in list(self._inbox) if kind == "end")]

    def _let_go(self) -> None:
        for sock in (self._wake_in, self._wake_out):
            with contextlib.suppress(OSError):
                sock.close()

    def _wake(self) -> None:
        with contextlib.suppress(OSError):
            self._wake_out.send(b"\0")

    # -- the thread ------------------------------------------------------------------------------

    def _run(self) -> None:
        while not self._abandoned:
            try:
                self._pass()
            except (Refused, Broken) as exc:
                self._lose(exc)
            except Exception as exc:  # a bug here must not take the other reports with it
                log.debug("the sender failed", exc_info=True)
                notice.warn_once("reporting has failed and goes on: %r", exc)
                self._lose(exc)
            if self._closing and self._is_over():
                break
        if self._link is not None:
            self._link.close()
        self._done.set()
        self._let_go()

    def _pass(self) -> None:
        with self._lock:
            if self._abandoned:
                return
            self._take_in(final=self._closing)
            if self._outbox.ended > MOST_ENDED:
                self._spool(self._outbox.rest(ended_only=True))
        if self.origin.offline:
            self._wait(self._patience(self._clock()))
            return
        now = self._clock()
        if self._link is None:
            if (len(self._outbox) and now >= self._next_try) or (
                self._closing and not self._attempts
            ):
                self._connect()
            else:
                self._wait(self._patience(now))
            return
        self._say(now)
        self._wait(self._patience(now))
        self._check_time()

    def _take_in(self, *, final: bool) -> None:
        """Take what the work has handed over, and look at every reporter."""
        now = self._clock()
        endings = [*self._held]
        while self._inbox:
            kind, reporter = self._inbox.popleft()
            if kind == "open":
                self._outbox.open(reporter.opening(), at=now)
                self._live[reporter.task_id] = weakref.ref(reporter)
            else:
                endings.append(reporter)
        if final or now >= self._next_look:
            self._next_look = now + LOOK_S
            self._look()
        self._held = []
        for reporter in endings:
            self._outbox.merge(reporter.collect())
            end = reporter.ending()
            if end is None and not final:
                self._held.append(reporter)
            else:
                self._outbox.merge(reporter.collect())
                self._outbox.finish(reporter.task_id, end or {"status": "completed"})
                self._live.pop(reporter.task_id, None)

    def _look(self) -> None:
        for task_id, ref in list(self._live.items()):
            looked_at = ref()
            if looked_at is None:
                del self._live[task_id]
            else:
                self._outbox.merge(looked_at.collect())

    def _connect(self) -> None:
        self._attempts += 1
        url, token = self.origin.address()
        try:
            self._link = Link(url, token)
        except Broken:
            self._attempts += 1
            raise
        self._delay_s = FIRST_DELAY_S
        self._openings_left = OPENINGS_BURST
        self._probe()

    def _probe(self) -> None:
        """Ask for a task that the server knows: its epoch tells whether the server was restarted."""
        with self._lock:
            known = self._outbox.any_opened()
        if known is not None and self._link is not None:
            self._probing = self._link.call("open_task", known)
            self._asked[self._probing] = known["task_id"]
            self._await_answer()

    def _say(self, now: float) -> None:
        if self._link is None or now < self._pause_until:
            return
        self._openings_left = min(self._openings_left + OPENINGS_A_LOOK, OPENINGS_BURST)
        with self._lock:
            self._claim_next(now)
            room = min(OPENINGS - len(self._asked), int(self._openings_left))
            openings = self._outbox.openings(room) if room > 0 else []
            batch = None
            if self._batch is None and self._probing is None:
                batch = self._outbox.take(now=now, budget=BATCH_BYTES)
        self._openings_left -= len(openings)
        for payload in openings:
            self._asked[self._link.call("open_task", payload)] = payload["task_id"]
        if batch is not None:
            self._batch = (self._link.call("report", batch.reports), batch)
        if openings or batch is not None:
            self._await_answer()

    def _await_answer(self) -> None:
        self._answer_by = self._clock() + self._answer_s

    def _patience(self, now: float) -> float:
        if self._closing:
            return 0.02
        if self._live or self._held or self._inbox or not self._outbox.settled:
            return max(self._next_look - now, 0.001)
        return IDLE_S

    def _wait(self, timeout_s: float) -> None:
        """Wait for the server or for a wake-up, `timeout_s` seconds at most; take what came."""
        watched: list[Any] = [self._wake_in]
        if self._link is not None:
            watched.append(self._link)
        for ready in _ready(watched, timeout_s):
            if ready is self._wake_in:
                with contextlib.suppress(OSError):
                    self._wake_in.recv(4_096)
            elif self._link is not None:
                for number, payload in self._link.read():
                    self._answer(number, payload)

    def _check_time(self) -> None:
        if (self._batch or self._asked) and self._clock() > self._answer_by:
            self._answer_s = min(2 * self._answer_s, LONGEST_ANSWER_S)
            raise Broken("the server does not answer")
        if self._link is not None and self._link.is_silent():
            raise Broken("the server's heartbeat has stopped")

    # -- what the server says --------------------------------------------------------------------

    def _answer(self, number: int | None, payload: Any) -> None:
        if number is None:
            event, *values = payload
            if event == "cancel_requested" and values and isinstance(values[0], dict):
                self._cancel([values[0].get("task_id")])
            return
        ack = payload if isinstance(payload, dict) else {}
        error = None if ack.get("ok") else ack.get("error") or {"code": "unavailable"}
        if error is not None:
            retry_s = error.get("retry_after_s") or (1.0 if error.get("code") in RETRY else 0.0)
            self._pause_until = self._clock() + min(float(retry_s), LONGEST_DELAY_S)
        if number in self._asked:
            self._probing = None if number == self._probing else self._probing
            self._opened(self._asked.pop(number), ack, error)
        elif self._batch is not None and number == self._batch[0]:
            self._reported(self._batch[1], ack, error)
        self._answer_s = ANSWER_S
        self._await_answer()

    def _opened(self, task_id: str, ack: Mapping[str, Any], error: Any) -> None:
        task = ack.get("task") or {}
        with self._lock:
            if self._outbox.opened(task_id, error):
                self._refused(task_id, error)
            epoch = task.get("epoch")
            if epoch and epoch != self._epoch:
                self._outbox.reconnected(restarted=self._epoch is not None)
                self._epoch = epoch
        if task.get("cancel_requested"):
            self._cancel([task_id])

    def _reported(self, batch: Batch, ack: Mapping[str, Any], error: Any) -> None:
        self._batch = None
        errors = ack.get("errors") or []
        if error is not None:
            errors = [{"task_id": task_id, "error": error} for task_id in batch.counts]
        with self._lock:
            final = self._outbox.acknowledge(batch, errors, now=self._clock())
            for task_id, reason in final.items():
                self._refused(task_id, reason)
            self._settle_claim()
        if any((e.get("error") or {}).get("code") in RETRY for e in errors):
            self._pause_until = max(self._pause_until, self._clock() + 1.0)
        self._cancel(ack.get("cancel") or [])

    def _refused(self, task_id: str, error: Mapping[str, Any]) -> None:
        if error.get("code") == "task_ended":
            log.debug("task %s is over at the server", task_id)
            return
        notice.warn_once(
            "the server refuses a report of task %s: %s",
            task_id,
            error.get("message") or error.get("code"),
        )

    def _cancel(self, task_ids: list[Any]) -> None:
        for task_id in task_ids:
            ref = self._live.get(task_id)
            reporter = None if ref is None else ref()
            if reporter is not None:
                reporter.request_cancel()

    def _lose(self, exc: Exception) -> None:
        link, self._link = self._link, None
        if link is not None:
            link.abandon()
        self._batch = self._probing = None
        self._asked.clear()
        with self._lock:
            self._outbox.lose()
            self._outbox.reconnected(restarted=False)
        if not self._closing:
            url = self.origin.url
            if isinstance(exc, Refused):
                notice.warn_once("%s refuses reports: %s; they are kept", url, exc)
            else:
                notice.warn_once("%s; reports are kept and delivered later", exc)
        delay = REFUSED_DELAY_S if isinstance(exc, Refused) else self._delay_s
        self._delay_s = min(2 * self._delay_s, LONGEST_DELAY_S)
        self._next_try = self._clock() + delay * random.uniform(0.5, 1.0)  # noqa: S311 - jitter

    def _is_over(self) -> bool:
        with self._lock:
            if self._outbox.settled and not self._inbox and not self._held:
                return True
        return self._link is None and self._attempts > 0

    # -- the spool -------------------------------------------------------------------------------

    def _spool(self, records: list[dict[str, Any]]) -> None:
        if not records:
            return
        spool = import_whole("socketprogress.client.spool")
        try:
            spool.Spool(self.origin.url).put(records)
        except OSError as exc:
            notice.warn_once("%d tasks' last reports are lost: %s", len(records), exc)

    def _claim_next(self, now: float) -> None:
        """Begin to deliver what an earlier process has left."""
        if self._claim is not None or now < self._next_claim or self._closing:
            return
        self._next_claim = now + SPOOL_EVERY_S
        spool = import_whole("socketprogress.client.spool")
        for url in (self.origin.url, spool.ANY):
            self._claim = spool.Spool(url).claim()
            if self._claim is not None:
                adopted = [r for r in self._claim.records if self._outbox.adopt(r)]
                self._claimed = {record["open"]["task_id"] for record in adopted}
                self._next_claim = now
                return

    def _settle_claim(self) -> None:
        if self._claim is None:
            return
        arrived = {task_id for task_id in self._claimed if task_id not in self._outbox}
        self._claimed -= arrived
        self.delivered += len(arrived)
        if not self._claimed:
            self._claim.delivered()
            self._claim = None


def _ready(watched: list[Any], timeout_s: float) -> list[Any]:
    if len(watched) > 1 and watched[1].pending:
        return [watched[1]]
    if hasattr(select, "poll"):  # no bound on descriptors, but missing where eventlet patches
        poll = select.poll()
        by_number = {one.fileno(): one for one in watched}
        for number in by_number:
            poll.register(number, select.POLLIN)
        return [by_number[number] for number, _ in poll.poll(timeout_s * 1_000)]
    return list(select.select(watched, [], [], timeout_s)[0])

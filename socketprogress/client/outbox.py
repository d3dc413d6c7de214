"""What is still to be said of each task: pure state, without a clock, a thread or a socket.

What waits is merged: the newest state of a task, its steps in order, its log lines within a bound,
its end. What was sent stays as it was sent until it is acknowledged, and is said again word for
word after a loss: its number tells the server that it has it already.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from socketprogress.client.entry import Entry, size_of
from socketprogress.client.rising import Rising
from socketprogress.core.ports import Report

__all__ = ["BARRED", "Batch", "Outbox"]

LINES = 5_000
LINE_CHARS = 4_000_000
RECENT_BYTES = 1_000_000
RECENT_S = 10.0
AGAIN = frozenset({"unavailable", "rate_limited"})
BARRED = frozenset({"forbidden", "unauthorized"})
"""Errors of who asks, not of what is asked: with another token the same task may be opened."""


@dataclass(slots=True)
class Batch:
    """Reports that go out in one list; what an acknowledgement is compared with.

    Attributes:
        reports: in the order in which they are said.
        counts: how many of them are each task's.
    """

    reports: list[Report] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)


class Outbox:
    """Everything that this process has still to say to one server.

    Args:
        number: numbers that rise, also from one process to the next.
        beat_s: seconds after which a task without news gives a sign of life, unless its own lease
            asks for more.
    """

    def __init__(self, number: Iterator[int], *, beat_s: float = 10.0) -> None:
        self._number = Rising(number)
        self._beat_s = beat_s
        self._entries: OrderedDict[str, Entry] = OrderedDict()
        self._recent: deque[tuple[float, int, Report]] = deque()
        self._recent_bytes = 0
        self._chars = 0
        self.ended = 0

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, task_id: object) -> bool:
        return task_id in self._entries

    @property
    def settled(self) -> bool:
        """Whether everything that is in no spool file was said and acknowledged."""
        return not any(
            not (entry.stored or entry.barred)
            and (not entry.opened or entry.queue or entry.has_news())
            for entry in self._entries.values()
        )

    @property
    def barred(self) -> str:
        """Why the server does not let this client open some task; "" where it does."""
        return next((entry.barred for entry in self._entries.values() if entry.barred), "")

    @property
    def in_flight(self) -> bool:
        """Whether something was said that is not acknowledged."""
        return any(entry.sent or entry.asked for entry in self._entries.values())

    # -- what the work says ----------------------------------------------------------------------

    def open(self, opening: Mapping[str, Any], *, at: float = 0.0, only: bool = False) -> None:
        """Take a new task, by the payload of its `open_task`.

        Args:
            opening: the payload.
            at: monotonic seconds.
            only: others report on it; it is forgotten once the server knows it.
        """
        task_id = opening["task_id"]
        known = self._entries.get(task_id)
        if known is not None and known.rests and not only:
            self._drop(task_id)
        entry = self._entries.setdefault(task_id, Entry(opening, only=only))
        if entry.only and not only:  # it runs in the very process that has announced it
            entry.only, entry.opened, entry.opening = False, False, dict(opening)
        entry.said_at = at

    def rest_from(self, task_id: str) -> None:
        """Only give signs of life of this task, without numbers: another may go on with it."""
        entry = self._entries.get(task_id)
        if entry is not None:
            entry.rests = True

    def merge(self, reports: Iterable[Report]) -> None:
        """Take what reporters collected; what comes after a task's end is dropped."""
        for report in reports:
            entry = self._entries.get(report["task_id"])
            if entry is None or entry.ended:
                continue
            self._chars += entry.merge(report)
            self._chars -= entry.drop_lines(LINES)
            if self._chars > LINE_CHARS:
                self._chars -= entry.drop_lines(len(entry.lines) // 2)

    def finish(self, task_id: str, end: Report) -> None:
        """Take a task's end: ``{status, result?, error?}``."""
        entry = self._entries.get(task_id)
        if entry is not None and not entry.ended:
            entry.ended, entry.end = True, end
            self.ended += 1

    def adopt(self, record: Mapping[str, Any]) -> bool:
        """Take a task from a spool file, unless this process speaks of it itself."""
        task_id = record["open"]["task_id"]
        if task_id in self._entries or not record["reports"]:
            return False
        entry = Entry(record["open"], stored=True)
        entry.queue.extend(record["reports"])
        entry.known = cast("Report", record.get("known") or {})
        entry.step = record.get("step")
        entry.ended = any("status" in report for report in entry.queue)
        self.ended += entry.ended
        self._entries[task_id] = entry
        return True

    # -- what the server is told -----------------------------------------------------------------

    def any_opened(self) -> dict[str, Any] | None:
        """Return the payload of some task's opening that the server knows, or None."""
        return next((e.opening for e in self._entries.values() if e.opened), None)

    def openings(self, most: int) -> list[dict[str, Any]]:
        """Return the payloads of up to `most` tasks that the server has to be told of."""
        found: list[dict[str, Any]] = []
        for entry in self._entries.values():
            if len(found) >= most:
                break
            if not (entry.opened or entry.asked or entry.barred):
                entry.asked = True
                found.append(entry.opening)
        return found

    def opened(
        self, task_id: str, error: Mapping[str, Any] | None = None, *, number: int = 0
    ) -> bool:
        """Take the answer to an opening; return whether the task is refused.

        A task that somebody else might open is kept: with the next connection, or from the spool.

        Args:
            task_id: the task.
            error: why it is refused, or None.
            number: of the last report that the server has of it, from whomever.
        """
        self._number.above(number)
        entry = self._entries.get(task_id)
        if entry is None:
            return False
        entry.asked = False
        if error is None:
            entry.opened = True
            if entry.only:
                self._drop(task_id)
        elif error.get("code") in BARRED:
            entry.barred = str(error.get("message") or error["code"])
            return True
        elif error.get("code") not in AGAIN:
            self._drop(task_id)
            return True
        return False

    def take(self, *, now: float, budget: int, most: int = 1_000) -> Batch | None:
        """Return what fits into one list, or None if there is nothing to say.

        Args:
            now: monotonic seconds.
            budget: bytes of JSON that the list may have.
            most: reports that it may have.
        """
        batch, last = Batch(), ""
        for task_id, entry in self._entries.items():
            if not entry.opened or entry.sent:
                continue
            if not entry.queue:
                self._compose(entry, now)
            for report in entry.queue:
                size = size_of(report) + 1
                if batch.reports and (size > budget or len(batch.reports) >= most):
                    break
                budget -= size
                batch.reports.append(report)
                entry.sent += 1
                entry.said_at = now
            if entry.sent:
                batch.counts[task_id] = entry.sent
                last = task_id
            if budget <= 0 or len(batch.reports) >= most:
                break
        if not batch.reports:
            return None
        self._turn(last)
        return batch

    def acknowledge(
        self, batch: Batch, errors: Sequence[Mapping[str, Any]] = (), *, now: float
    ) -> dict[str, Mapping[str, Any]]:
        """Take the answer to a list of reports.

        Args:
            batch: what was said.
            errors: ``[{task_id, error: {code, message}}]`` for what was refused.
            now: monotonic seconds.

        Returns:
            By task id, the errors after which that much is not said again.
        """
        refused = {str(item.get("task_id")): item.get("error") or {} for item in errors}
        final: dict[str, Mapping[str, Any]] = {}
        for task_id, count in batch.counts.items():
            entry = self._entries.get(task_id)
            if entry is None:
                continue
            error = refused.get(task_id)
            code = None if error is None else error.get("code")
            if code in AGAIN:
                entry.sent = 0
            elif code == "unknown_task":
                entry.opened = False
                entry.forgotten()
            elif code == "task_ended":
                self._drop(task_id)
                final[task_id] = error or {}
            else:
                self._accept(task_id, entry, count, now=now, refused=error is not None)
                if error is not None:
                    final[task_id] = error
        return final

    def lose(self) -> None:
        """Take that the connection is gone, and with it every answer that was waited for."""
        for entry in self._entries.values():
            entry.sent, entry.asked = 0, False

    def reconnected(self, *, restarted: bool) -> None:
        """Say the newest state of every task again.

        Args:
            restarted: the server is another process than before, whose store may be behind: what it
                acknowledged just before its end may be lost.
        """
        for entry in self._entries.values():
            entry.barred = ""
            if entry.opened and not entry.stored and not entry.rests:
                entry.renew = entry.renew or "state"
        if restarted:
            self._say_recent_again()

    def rest(self, *, ended_only: bool = False) -> list[dict[str, Any]]:
        """Return what a spool has to keep, ``[{open, reports}]``, and forget it.

        Args:
            ended_only: leave the tasks here that go on.
        """
        records = []
        for task_id, entry in list(self._entries.items()):
            if entry.stored or (ended_only and (not entry.ended or entry.sent or entry.asked)):
                continue
            while not entry.queue or entry.lines or entry.end or entry.segments:
                before = len(entry.queue)
                self._chars -= entry.compose(self._number)
                if len(entry.queue) == before:
                    break
            if entry.queue or not (entry.opened or entry.only):
                records.append(entry.record())
            self._drop(task_id)
        return records

    # -- inside ----------------------------------------------------------------------------------

    def _compose(self, entry: Entry, now: float) -> None:
        if entry.has_news() or entry.renew:
            self._chars -= entry.compose(self._number)
        if entry.queue or entry.ended:
            return
        lease_s = entry.opening.get("lease_s")
        beat_s = min(self._beat_s, lease_s / 3) if lease_s else self._beat_s
        if now - entry.said_at >= beat_s:
            alive: Report = {"task_id": entry.opening["task_id"]}
            if not entry.rests:
                alive["reporter_seq"] = next(self._number)
            entry.queue.append(alive)

    def _accept(self, task_id: str, entry: Entry, count: int, *, now: float, refused: bool) -> None:
        ends = False
        for _ in range(min(count, len(entry.queue))):
            report = entry.queue.popleft()
            ends = ends or "status" in report
            if refused and report.get("result") is not None:
                # The result may be what is refused; the end itself has to arrive.
                entry.end = {"status": report["status"], "error": report.get("error")}
                entry.lines.append("The result is left out: the server refused it")
                ends = False
            self._remember(report, now)
        entry.sent = 0
        if ends or (entry.stored and not entry.queue and entry.end is None):
            self._drop(task_id)

    def _say_recent_again(self) -> None:
        """Repeat the latest word for word: what the server has stored of it, it knows by number."""
        while self._recent:
            report = self._recent.pop()[2]
            entry = self._entries.get(report["task_id"])
            if entry is not None:
                entry.queue.appendleft(report)
        self._recent_bytes = 0

    def _remember(self, report: Report, now: float) -> None:
        """Keep for a while what a server that is killed now may not have stored yet.

        The newest state is known anyway; log lines and the way that led there are not.
        """
        if not report.keys() & {"log", "step", "reset"}:
            return
        size = size_of(report)
        self._recent.append((now, size, report))
        self._recent_bytes += size
        while self._recent and (
            self._recent_bytes > RECENT_BYTES or now - self._recent[0][0] > RECENT_S
        ):
            self._recent_bytes -= self._recent.popleft()[1]

    def _drop(self, task_id: str) -> None:
        entry = self._entries.pop(task_id)
        self._chars -= sum(map(len, entry.lines))
        self.ended -= entry.ended

    def _turn(self, last: str) -> None:
        """Let those go first next time who did not get to speak."""
        for task_id in list(self._entries):
            self._entries.move_to_end(task_id)
            if task_id == last:
                break

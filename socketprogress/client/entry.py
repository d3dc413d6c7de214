"""One task's news: what waits is merged, what was sent stays as it was until it has arrived."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterator, Mapping
from typing import Any

from socketprogress.core.ports import Report

__all__ = ["Entry", "size_of"]

SEGMENTS = 100
LOG_BYTES = 16_000
LOG_LINES = 1_000
STATE = ("current", "total", "message", "unit", "title")


class Entry:
    """One task's news.

    Attributes:
        opening: the payload of `open_task`.
        opened: whether the server knows the task.
        asked: whether `open_task` is on its way.
        stored: whether a spool file holds all this, too.
        ended: whether the end is among it.
        only: whether the server is only to know the task, on which others report.
        rests: whether another process may report on it by now.
        barred: why the server does not let this client open the task; "" while it does.
    """

    __slots__ = (
        "asked", "barred", "end", "ended", "known", "left_out", "lines", "only", "opened", "opening",
        "queue", "renew", "rests", "said_at", "segments", "sent", "step", "stored", "was_reset",
    )  # fmt: skip

    def __init__(
        self, opening: Mapping[str, Any], *, stored: bool = False, only: bool = False
    ) -> None:
        self.opening = dict(opening)
        self.opened = self.asked = self.ended = self.was_reset = False
        self.stored, self.only = stored, only
        self.rests, self.barred = False, ""
        self.queue: deque[Report] = deque()
        self.sent = 0
        self.segments: deque[Report] = deque()
        self.lines: deque[str] = deque()
        self.left_out = 0
        self.end: Report | None = None
        self.known: Report = {}
        self.step: str | None = None
        self.renew: str = ""
        self.said_at = 0.0

    def has_news(self) -> bool:
        """Return whether anything is to be said that is not on its way already."""
        return len(self.queue) > self.sent or (not self.queue and self._has_raw())

    def merge(self, report: Report) -> int:
        """Take a report; return how many characters of log lines it adds."""
        lines = report.get("log", ())
        self.lines.extend(lines)
        state: Report = {k: v for k, v in report.items() if k not in {"task_id", "log"}}  # type: ignore[assignment]
        if not state:
            return sum(map(len, lines))
        self.known.update({k: state[k] for k in STATE if k in state})  # type: ignore[literal-required, typeddict-item]
        self.step = state.get("step", self.step)
        self.was_reset = self.was_reset or "reset" in state
        opens = "step" in state or "reset" in state
        if opens or not self.segments:
            self.segments.append(state)
        else:
            self.segments[-1].update(state)
        if len(self.segments) > SEGMENTS:
            # The next one was said after it: entering a later step completes those before.
            oldest = self.segments.popleft()
            merged: Report = {**oldest, **self.segments[0]}
            self.segments[0] = merged
        return sum(map(len, lines))

    def drop_lines(self, most: int) -> int:
        """Keep the newest `most` lines; return how many characters went."""
        gone = 0
        while len(self.lines) > most:
            gone += len(self.lines.popleft())
            self.left_out += 1
        return gone

    def compose(self, number: Iterator[int]) -> int:
        """Make the next reports of what waits; return how many characters of lines went in."""
        if self.renew:
            self._renew()
        made = [*self.segments]
        self.segments.clear()
        lines, chars = self._take_lines()
        if lines:
            made.append({"log": lines})
        if self.end is not None and not self.lines:
            made.append(self.end)
            self.end = None
        for report in made:
            report["task_id"] = self.opening["task_id"]
            report["reporter_seq"] = next(number)
        self.queue.extend(made)
        return chars

    def forgotten(self) -> None:
        """Say everything again: the server knows nothing of the task, or an older state only."""
        lines = [line for report in self.queue for line in report.get("log", ())]
        self.lines.extendleft(reversed(lines))
        for report in self.queue:
            if "status" in report:
                self.end = report
        self.queue.clear()
        self.segments.clear()
        self.sent = 0
        self.renew = "all"

    def record(self) -> dict[str, Any]:
        """Return what a spool file keeps of the task."""
        return {
            "open": self.opening,
            "reports": list(self.queue),
            "known": self.known,
            "step": self.step,
        }

    def _has_raw(self) -> bool:
        return bool(self.segments or self.lines or self.left_out or self.end)

    def _renew(self) -> None:
        """Put the whole state in front, since the server may have lost what it acknowledged."""
        stepped = any("step" in segment for segment in self.segments)
        if stepped:
            words = {k: v for k, v in self.known.items() if k in {"title", "unit"}}
            first: Report = {**words, **self.segments[0]}  # type: ignore[typeddict-item]
            self.segments[0] = first
        elif self.known or self.step is not None:
            whole: Report = {**self.known}
            again = self.renew == "all"
            if again and self.step is not None:
                whole["step"] = self.step
            if (again and self.was_reset) or any("reset" in s for s in self.segments):
                whole["reset"] = True
            self.segments = deque([whole])
        self.renew = ""

    def _take_lines(self) -> tuple[list[str], int]:
        taken: list[str] = []
        if self.left_out:
            taken.append(f"… {self.left_out:,} lines left out: more than is kept until delivery")
            self.left_out = 0
        size = chars = 0
        while self.lines and len(taken) < LOG_LINES:
            size += size_of(self.lines[0]) + 1
            if size > LOG_BYTES and taken:
                break
            line = self.lines.popleft()
            chars += len(line)
            taken.append(line)
        return taken, chars


def size_of(value: Any) -> int:
    """Return the bytes of a value as JSON in ASCII, as it is sent."""
    return len(json.dumps(value, separators=(",", ":")))

"""Following one task in a terminal, or in a log where there is none."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Protocol, TextIO

from socketprogress.cli.terminal import bar, columns_of, duration, headline, is_live, paint, plain

if TYPE_CHECKING:
    from socketprogress.client.watcher import Task

__all__ = ["EXIT_CODES", "Bar", "Milestones", "follow"]

State = Mapping[str, Any]
EXIT_CODES = {"completed": 0, "failed": 1, "cancelled": 3, "lost": 4}
REDRAW_S = 0.1
MILESTONE = 25.0


class View(Protocol):
    """Shows a task's states as they come."""

    def show(self, state: State) -> None:
        """Show the newest state."""

    def say(self, text: str) -> None:
        """Show a line that stays."""

    def close(self) -> None:
        """Leave the cursor at the start of a line."""


class Bar:
    """One line, drawn over and over.

    Args:
        stream: a terminal.
        clock: monotonic seconds.
    """

    def __init__(self, stream: TextIO, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._stream, self._clock = stream, clock
        self._unicode = "utf" in (stream.encoding or "").lower()
        self._drawn_at: float | None = None

    def show(self, state: State) -> None:
        """Draw the state, unless the last was drawn just now."""
        now = self._clock()
        if self._drawn_at is None or now - self._drawn_at >= REDRAW_S:
            self._drawn_at = now
            line = bar(state, columns_of(self._stream), unicode=self._unicode)
            self._stream.write(f"\r\x1b[K{line}")
            self._stream.flush()

    def say(self, text: str) -> None:
        """Replace the bar by a line that stays."""
        self.close()
        self._stream.write(f"{text}\n")
        self._stream.flush()

    def close(self) -> None:
        """Wipe the bar."""
        if self._drawn_at is not None:
            self._stream.write("\r\x1b[K")
            self._stream.flush()
            self._drawn_at = None


class Milestones:
    """A line where something is worth a line: another status, or another quarter."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._last: tuple[str, int] | None = None

    def show(self, state: State) -> None:
        """Write a line if this state is past another milestone."""
        quarter = int((state.get("progress") or 0.0) // MILESTONE)
        if (state["status"], quarter) != self._last:
            self._last = (state["status"], quarter)
            word = state["status"].replace("_", " ")
            self.say("  ".join(part for part in (word, headline(state)) if part))

    def say(self, text: str) -> None:
        """Write a line."""
        self._stream.write(f"{text}\n")
        self._stream.flush()

    def close(self) -> None:
        """Do nothing: every line is whole."""


def follow(task: Task, *, stream: TextIO | None = None) -> State:
    """Show a task on stderr until it ends or is lost; return its last state.

    Args:
        task: of a connected client.
        stream: where to show it; stderr by default.

    Raises:
        UnknownTask: there is no such task.
        Unavailable: the server is gone, and did not come back.
    """
    stream = stream or sys.stderr
    view: View = Bar(stream) if is_live(stream) else Milestones(stream)

    def on_outage(error: Exception | None) -> None:
        view.say("connected again" if error is None else f"disconnected, reconnecting: {error}")

    state: State = {}
    try:
        for state in task.watch(on_outage=on_outage):
            if state["status"] in EXIT_CODES:
                break
            view.show(state)
    finally:
        view.close()
    view.say(_last_line(state, stream))
    return state


def _last_line(state: State, stream: TextIO) -> str:
    parts = [paint(state["status"], state["status"], stream=stream)]
    parts.append(plain(state.get("title") or state.get("name") or state["task_id"]))
    if state.get("elapsed_s") is not None:
        parts.append(f"after {duration(state['elapsed_s'])}")
    error = state.get("error")
    if error:
        parts.append(f"{plain(error['message'])} ({plain(error['code'])})")
    elif state["status"] == "lost":
        parts.append("its worker is silent; it may return")
    return "  ".join(parts)

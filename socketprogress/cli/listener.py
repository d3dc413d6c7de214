"""What a command writes, as the log, the message and the progress of its task."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence

from socketprogress.cli.pump import Tap
from socketprogress.core.errors import Cancelled
from socketprogress.core.reporter import Reporter
from socketprogress.tasks.meter import Meter
from socketprogress.tasks.terminal import TerminalText

__all__ = ["Listener"]

PIECE_BYTES = 2_048
LOOK_S = 0.004  # of every tenth of a second: passing the output on must not wait for it
LAST_LOOK_S = 0.3
LINES_A_LOOK = 500
IDLE_LOOKS = 5
LAST_LINES = 4_000  # what a reporter takes at once
LEFT_OUT = "… {:,} bytes of output left out: more than can be kept"
LINES_LEFT_OUT = "… {:,} lines of output left out: more than can be kept"


class Listener:
    """Reads along at the side, as far as there is time for it.

    Args:
        taps: where to read, one for each of the command's streams.
    """

    def __init__(self, taps: Sequence[Tap]) -> None:
        self._streams = [(tap, TerminalText()) for tap in taps]
        self._meter = Meter()
        self._quiet = 0

    def look(self, reporter: Reporter) -> None:
        """Read for a few milliseconds what was written since the last look."""
        until = time.monotonic() + LOOK_S
        told = 0
        heard = False
        while told < LINES_A_LOOK and time.monotonic() < until:
            busy = [stream for stream in self._streams if stream[0]]
            if not busy:
                break
            heard = True
            for tap, text in busy:
                lines = _read(tap, text)
                self._tell(reporter, text, lines)
                told += len(lines)
        self._quiet = 0 if heard else self._quiet + 1
        if self._quiet == IDLE_LOOKS:  # a prompt, most likely
            for _, text in self._streams:
                self._tell(reporter, text, text.idle())

    def finish(self, reporter: Reporter) -> None:
        """Read what is left, or its end if all of it would take too long."""
        until = time.monotonic() + LAST_LOOK_S
        for tap, text in self._streams:
            lines: list[str] = []
            while tap:
                if time.monotonic() > until:
                    tap.skip()
                lines += _read(tap, text)
            lines += text.feed(b"", final=True)
            self._move(reporter, lines, text)
            if len(lines) > LAST_LINES:
                left_out = LINES_LEFT_OUT.format(len(lines) - LAST_LINES)
                lines = [left_out, *lines[-LAST_LINES:]]
            _log(reporter, lines, text)

    def _tell(self, reporter: Reporter, text: TerminalText, lines: list[str]) -> None:
        _log(reporter, lines, text)
        self._move(reporter, lines, text)

    def _move(self, reporter: Reporter, lines: Sequence[str], text: TerminalText) -> None:
        move = self._meter.see(lines, text.rows, pinned=text.pinned)
        if move is None:
            return
        if move.reset:
            with contextlib.suppress(Cancelled):
                reporter.reset(move.count.total)
        reporter.unit = move.unit
        reporter.total, reporter.current = move.count.total, move.count.current


def _log(reporter: Reporter, lines: list[str], text: TerminalText) -> None:
    if lines:
        with contextlib.suppress(Cancelled):  # the lines are in the log nevertheless
            reporter.log("\n".join(lines))
    newest = text.line.strip() or next((s for line in lines[::-1] if (s := line.strip())), "")
    if newest:
        reporter.message = newest


def _read(tap: Tap, text: TerminalText) -> list[str]:
    """Return the lines that the next piece finishes, with a note in front if some was lost."""
    lost, data = tap.take()
    if len(data) > PIECE_BYTES:
        tap.put_back(data[PIECE_BYTES:])
        data = data[:PIECE_BYTES]
    lines = text.feed(data)
    if lost:
        lines.insert(0, LEFT_OUT.format(lost))
    return lines

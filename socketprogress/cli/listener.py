"""What a command writes, as the log, the message and the progress of its task."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence

from socketprogress.cli.pump import Tap
from socketprogress.core.errors import Cancelled
from socketprogress.core.reporter import Reporter
from socketprogress.tasks.meter import Meter, Move
from socketprogress.tasks.terminal import TerminalText

__all__ = ["Listener"]

PIECE_BYTES = 4_096
LOOK_S = 0.004  # of every tenth of a second: passing the output on must not wait for it
LINES_A_LOOK = 500
IDLE_LOOKS = 5
LEFT_OUT = "… {:,} bytes of output left out: more than can be kept"


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
        lines = 0
        heard = False
        while lines < LINES_A_LOOK and time.monotonic() < until:
            busy = [stream for stream in self._streams if stream[0]]
            if not busy:
                break
            heard = True
            lines += sum(self._read(reporter, tap, text) for tap, text in busy)
        self._quiet = 0 if heard else self._quiet + 1
        if self._quiet == IDLE_LOOKS:  # a prompt, most likely
            for _, text in self._streams:
                self._tell(reporter, text, text.idle())

    def finish(self, reporter: Reporter) -> None:
        """Read all that is left."""
        for tap, text in self._streams:
            while tap:
                self._read(reporter, tap, text, piece_bytes=1 << 16)
            self._tell(reporter, text, text.feed(b"", final=True))

    def _read(
        self, reporter: Reporter, tap: Tap, text: TerminalText, *, piece_bytes: int = PIECE_BYTES
    ) -> int:
        lost, data = tap.take()
        if len(data) > piece_bytes:
            tap.put_back(data[piece_bytes:])
            data = data[:piece_bytes]
        lines = text.feed(data)
        if lost:
            lines.insert(0, LEFT_OUT.format(lost))
        self._tell(reporter, text, lines)
        return len(lines)

    def _tell(self, reporter: Reporter, text: TerminalText, lines: list[str]) -> None:
        if lines:
            with contextlib.suppress(Cancelled):  # the line is in the log nevertheless
                reporter.log("\n".join(lines))
        newest = text.line.strip() or next((s for line in lines[::-1] if (s := line.strip())), "")
        if newest:
            reporter.message = newest
        move = self._meter.see(lines, text.rows, pinned=text.pinned)
        if move is not None:
            _drive(reporter, move)


def _drive(reporter: Reporter, move: Move) -> None:
    if move.reset:
        with contextlib.suppress(Cancelled):
            reporter.reset(move.count.total)
    reporter.unit = move.unit
    reporter.total, reporter.current = move.count.total, move.count.current

"""A command while it runs: its streams, its signals, its end."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from types import FrameType

from socketprogress.cli.console import Console, suspends
from socketprogress.cli.launch import Launched, copy_size
from socketprogress.cli.pump import Pump, Tap
from socketprogress.cli.signals import SignalQueue, stop_ourselves
from socketprogress.tasks.processes import end_tree

__all__ = ["PASSED_ON", "TAKEN", "Session"]

PASSED_ON = (
    signal.SIGINT,
    signal.SIGTERM,
    signal.SIGHUP,
    signal.SIGQUIT,
    signal.SIGUSR1,
    signal.SIGUSR2,
)
TAKEN = (*PASSED_ON, signal.SIGWINCH, signal.SIGCONT, signal.SIGCHLD)
ENDING = frozenset({signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT})
FROM_TERMINAL = frozenset({signal.SIGINT, signal.SIGQUIT, signal.SIGHUP})
LOOK_S = 0.1
QUIET_S = 0.25  # a busy kernel hands on late what was written to a terminal
LINGER_S = 1.0
GRACE_S = 5.0
INPUT_BYTES = 256  # what a terminal takes without making us wait


class Session:
    """Passes everything on between a command and the world until both have ended.

    Args:
        launched: the command.
        mark: ``NAME=value`` in its environment, by which its descendants are known.
        signals: where ours arrive.
        look: called ten times a second.

    Attributes:
        taps: what the command has written, for who reads along.
        interrupted: a signal that ends things was passed on to it.
        cancelled: it was ended by `cancel`.
    """

    def __init__(
        self, launched: Launched, mark: str, signals: SignalQueue, *, look: Callable[[], None]
    ) -> None:
        self.process: subprocess.Popen[bytes] = launched.process
        self.interrupted = self.cancelled = False
        self._launched = launched
        self._mark = mark.encode()
        self._signals = signals
        self._look = look
        self._waker, self._wake_end = os.pipe()
        os.set_blocking(self._waker, False)
        os.set_blocking(self._wake_end, False)
        self.taps = [Tap() for _ in launched.routes]
        self._pumps = [
            Pump(source, target, tap, on_end=self.wake)
            for (source, target), tap in zip(launched.routes, self.taps, strict=True)
        ]
        self._console = Console(0) if launched.master is not None else None
        self._typed = b""
        self._ender: threading.Thread | None = None
        self._hurried = False

    def wake(self) -> None:
        """Have the loop look around; from any thread."""
        with contextlib.suppress(OSError):
            os.write(self._wake_end, b".")

    def cancel(self) -> None:
        """End everything that the command has started: SIGTERM, and SIGKILL after a while."""
        if self._ender is None and self.process.poll() is None:
            self.cancelled = True
            self._ender = threading.Thread(
                target=end_tree,
                args=(self.process, self._mark),
                kwargs={"grace_s": GRACE_S, "drain": lambda: None},
                name="socketprogress-end",
                daemon=True,
            )
            self._ender.start()

    def run(self) -> int:
        """Pass on until the end; return the command's status, negative for a signal."""
        self._signals.start(self.wake)
        if signal.getsignal(signal.SIGTSTP) is not signal.SIG_IGN:
            signal.signal(signal.SIGTSTP, self._on_stop)
        with self._console or contextlib.nullcontext():
            for pump in self._pumps:
                pump.start()
            while self.process.poll() is None:
                self._turn()
            self._drain()
            while self._ender is not None and self._ender.is_alive():
                self._turn()
        return self.process.wait()

    def _turn(self) -> None:
        """Wait for something to do, at most until the next look, and do it."""
        poll = select.poll()
        poll.register(self._waker, select.POLLIN)
        console, master = self._console, self._launched.master
        if console is not None and master is not None:
            console.take()
            if self._typed:
                poll.register(master, select.POLLOUT)
            elif console.active and self.process.returncode is None:
                poll.register(console.descriptor, select.POLLIN)
        ready = {descriptor for descriptor, _ in poll.poll(LOOK_S * 1_000)}
        if self._waker in ready:
            with contextlib.suppress(BlockingIOError):
                os.read(self._waker, 4_096)
        for number, by_terminal in self._signals.pending():
            self._on_signal(number, by_terminal=by_terminal)
        if master is not None and master in ready:
            self._pass_input(master)
        elif console is not None and console.descriptor in ready:
            self._typed = console.read()
        self._drop_broken()
        self._look()

    def _pass_input(self, master: int) -> None:
        typed, self._typed = self._typed[:INPUT_BYTES], self._typed[INPUT_BYTES:]
        stops = suspends(typed, master, self.process.pid)
        try:
            done = os.write(master, typed)
        except OSError:  # the command has closed its terminal
            self._typed = b""
            return
        self._typed = typed[done:] + self._typed
        if stops:
            # In a session of its own it has no shell to wake it, so that the kernel would not
            # stop it: whatever it wanted to do first it does on the signal that it has just got.
            self._suspend(group=True)

    def _drop_broken(self) -> None:
        """Close what nobody takes any more, so that the command hears of it as it would."""
        for pump in self._pumps:
            if pump.broken:
                pump.broken = False
                os.close(pump.source)
                if pump.source == self._launched.master:
                    self._launched.master = None

    def _on_signal(self, number: signal.Signals, *, by_terminal: bool) -> None:
        if number is signal.SIGWINCH:
            for master in self._launched.sizes:
                copy_size(_terminal_of(master, self._launched), master)
        elif number is signal.SIGCONT:
            self._resume()
        elif number is not signal.SIGCHLD:
            self.interrupted = self.interrupted or number in ENDING
            if self.process.poll() is not None:
                self._hurried = not by_terminal
            elif self._has_own_group or not (by_terminal and number in FROM_TERMINAL):
                self._send(number)

    @property
    def _has_own_group(self) -> bool:
        return self._console is not None

    def _send(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            if self._has_own_group:
                os.killpg(self.process.pid, number)
            else:
                self.process.send_signal(number)

    def _on_stop(self, _number: int, _frame: FrameType | None) -> None:
        self._suspend(group=False)

    def _suspend(self, *, group: bool) -> None:
        if self._console is not None:
            self._console.give_back()
        self._send(signal.SIGSTOP if self._has_own_group else signal.SIGTSTP)
        stop_ourselves(group=group)
        self._resume()

    def _resume(self) -> None:
        if self._console is not None:
            self._console.take()
        for master in self._launched.sizes:
            copy_size(_terminal_of(master, self._launched), master)
        self._send(signal.SIGCONT)

    def _drain(self) -> None:
        """Pass on what the command has left in its streams.

        What it has left running may hold them for good: that is not waited for. Whoever reads our
        output is, however slow, unless a signal or a cancellation says that it has taken long
        enough.
        """
        for pump in self._pumps:
            pump.owe()
        ends_at = time.monotonic() + LINGER_S
        seen, quiet_at = -1, 0.0
        while not all(pump.ended for pump in self._pumps):
            self._turn()
            now, taken = time.monotonic(), sum(pump.taken for pump in self._pumps)
            if taken != seen:
                seen, quiet_at = taken, now + QUIET_S
            if all(pump.is_idle() for pump in self._pumps) and now >= quiet_at:
                break
            settled = all(pump.has_settled() for pump in self._pumps)
            if now >= ends_at and (settled or self._hurried or self.cancelled):
                break


def _terminal_of(master: int, launched: Launched) -> int:
    return next(target for source, target in launched.routes if source == master)

"""What all reporters of a process share: its senders, and how the process ends.

A forked child begins anew: what the parent has opened stays the parent's.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import signal
import sys
import threading
import time
import weakref
from collections.abc import Iterable
from types import FrameType, TracebackType
from typing import TYPE_CHECKING, Any

from socketprogress.client import nesting, notice
from socketprogress.client.endings import Ending, Left

if TYPE_CHECKING:
    from socketprogress.client.origin import Origin
    from socketprogress.client.reporter import Reporter
    from socketprogress.client.sender import Sender

__all__ = ["ended", "flush", "lease_s", "open_reporters", "opened", "sender_for", "signal_pipe"]

GRACE_S = 0.9  # of the second that an exit may take, some is the interpreter's
SIGNAL_GRACE_S = 0.8


class _Process:
    """The state of this process; a forked child has its own."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.senders: dict[Origin, Sender] = {}
        self.open: dict[int, weakref.ref[Reporter]] = {}
        self.prepared = self.is_terminating = self.is_flushing = False
        self.deadly: int | None = None
        self.signals: SignalPipe | None = None

    def reporters(self) -> list[Reporter]:
        found = (ref() for ref in list(self.open.values()))
        return [reporter for reporter in found if reporter is not None]


_process = _Process()


def sender_for(origin: Origin) -> Sender:
    """Return this process's sender for a server."""
    with _process.lock:
        sender = _process.senders.get(origin)
        if sender is None:
            from socketprogress.client.sender import Sender  # noqa: PLC0415 - sockets

            sender = _process.senders[origin] = Sender(origin)
            _prepare()
        return sender


def opened(reporter: Reporter) -> None:
    """Note that a reporter is open."""
    _process.open[id(reporter)] = weakref.ref(reporter)
    nesting.announce(reporter.task_id)


def ended(reporter: Reporter) -> None:
    """Note that a reporter has ended."""
    _process.open.pop(id(reporter), None)
    left = _process.reporters()
    nesting.announce(left[-1].task_id if left else None)


def open_reporters() -> list[Reporter]:
    """Return the reporters that are open in this process, oldest first."""
    return _process.reporters()


def lease_s() -> float | None:
    """Return the lease of `SOCKETPROGRESS_LEASE` in seconds, or None."""
    text = os.environ.get("SOCKETPROGRESS_LEASE", "")
    try:
        return max(float(text), 0.0) or None if text else None
    except ValueError:
        notice.warn_once("SOCKETPROGRESS_LEASE=%s is no number of seconds", text[:40])
        return None


def flush(grace_s: float = GRACE_S) -> None:
    """End what is open as completed and deliver all, within `grace_s` seconds for all servers.

    What cannot be delivered in time goes to the spool.
    """
    _process.is_flushing = True
    for reporter in _process.reporters():
        reporter.close()
    senders = list(_process.senders.values())
    _process.senders = {}
    deadline = time.monotonic() + grace_s
    for sender in senders:
        sender.hurry()
    for sender in senders:
        sender.close(deadline - time.monotonic())
    _process.is_flushing = False
    if _process.deadly is not None:
        _die_of(_process.deadly)


# -- the process's end -------------------------------------------------------------------------------


def _prepare() -> None:
    """See to the end of this process, once; and to its forked children."""
    if not _hooks.installed:
        _hooks.install()
    if not _process.prepared:
        _process.prepared = True
        util = sys.modules.get("multiprocessing.util")
        if util is not None:
            # Processes of multiprocessing do not end through atexit.
            util.Finalize(None, _at_exit, exitpriority=100)
        _take_sigterm()


class _Hooks:
    """What is hooked into the interpreter, once and for forked children too."""

    def __init__(self) -> None:
        self.installed = False
        self.last_value: Any = None
        self.ends_by: BaseException | None = None
        self.excepthook: Any = None
        self.thread_hook: Any = None

    def install(self) -> None:
        self.installed = True
        self.last_value = getattr(sys, "last_value", None)
        self.excepthook, sys.excepthook = sys.excepthook, _on_exception
        self.thread_hook, threading.excepthook = threading.excepthook, _on_thread_exception
        atexit.register(_at_exit)


_hooks = _Hooks()


def _at_exit() -> None:
    error = getattr(sys, "last_value", None)
    if isinstance(error, BaseException) and error is not _hooks.last_value:
        _fail_all(error)
    flush()
    if isinstance(error, KeyboardInterrupt) and error is _hooks.ends_by:
        _end_by_sigint()


def _end_by_sigint() -> None:
    """Have Python end by SIGINT, as it does after an interrupt that nobody has caught.

    It forgets that when code is run from a text meanwhile, as many an import does; this reminds it.
    """
    with contextlib.suppress(KeyboardInterrupt):
        exec("raise KeyboardInterrupt")  # noqa: S102 - nothing else tells the interpreter


def _on_exception(
    kind: type[BaseException], error: BaseException, trace: TracebackType | None
) -> None:
    interactive = hasattr(sys, "ps1") or bool(sys.flags.interactive)
    if interactive:  # the process goes on
        _fail(_left_by(error), error)
    else:
        _hooks.ends_by = error
        _fail_all(error)
    _hooks.excepthook(kind, error, trace)


def _on_thread_exception(args: Any) -> None:
    if args.exc_value is not None:
        own = [r for r in _process.reporters() if r.opened_in(threading.get_ident())]
        _fail([*own, *_left_by(args.exc_value)], args.exc_value)
    _hooks.thread_hook(args)


def _fail_all(error: BaseException) -> None:
    _fail([*_process.reporters(), *_left_by(error)], error)


def _fail(reporters: Iterable[Reporter], error: BaseException) -> None:
    reporters = list(reporters)
    if reporters and not isinstance(error, SystemExit):
        ending = Ending.by(error)
        for reporter in reporters:
            reporter.finish(ending)


def _left_by(error: BaseException) -> list[Reporter]:
    """Return the reporters whose loops this exception has left."""
    places = set(_places(error))
    held = [r for sender in list(_process.senders.values()) for r in sender.held()]
    return [r for r in held if r.left_at is not None and r.left_at in places]


def _places(error: BaseException) -> Iterable[Any]:
    waiting: list[BaseException | None] = [error]
    seen: set[int] = set()
    while waiting:
        one = waiting.pop()
        if one is None or id(one) in seen:
            continue
        seen.add(id(one))
        trace = one.__traceback__
        while trace is not None:
            yield Left(id(trace.tb_frame), trace.tb_frame.f_code, trace.tb_lasti)
            trace = trace.tb_next
        waiting += [one.__cause__, one.__context__]


def _take_sigterm() -> None:
    if threading.current_thread() is not threading.main_thread():
        return
    with contextlib.suppress(ValueError):  # another interpreter than the main one
        if signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
            signal.signal(signal.SIGTERM, _on_sigterm)
        if signal.getsignal(signal.SIGTERM) is _on_sigterm and _is_pool_worker():
            _process.signals = SignalPipe.installed()


def _is_pool_worker() -> bool:
    process = sys.modules.get("multiprocessing.process")
    return process is not None and process.parent_process() is not None


def _on_sigterm(number: int, _frame: FrameType | None) -> None:
    if _process.is_terminating:
        return
    _process.is_terminating = True
    if _process.is_flushing:
        # What the signal has interrupted goes on first: it is delivering already.
        _process.deadly = number
        return
    try:
        for reporter in _process.reporters():
            reporter.finish(Ending.interrupted("the process was ended by SIGTERM"))
        flush(SIGNAL_GRACE_S)
    finally:
        _die_of(number)


def _die_of(number: int) -> None:
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)


class SignalPipe:
    """Makes sure that a process of multiprocessing dies of the SIGTERM by which a pool ends it.

    A signal that comes just before the main thread waits for a semaphore is noticed only when the
    next one interrupts that wait. So the sender's thread, told through this pipe, sends it again.
    """

    def __init__(self, reading: int, writing: int) -> None:
        self._reading, self._writing = reading, writing
        self._came = False

    @classmethod
    def installed(cls) -> SignalPipe | None:
        """Return a pipe into which the numbers of signals are written; None if another has it."""
        reading, writing = os.pipe()
        os.set_blocking(reading, False)
        os.set_blocking(writing, False)
        before = signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
        if before == -1:
            return cls(reading, writing)
        signal.set_wakeup_fd(before)
        os.close(reading)
        os.close(writing)
        return None

    def fileno(self) -> int:
        """Return the descriptor that is readable once a signal has come."""
        return self._reading

    def nudge(self) -> bool:
        """Interrupt the main thread if it does not notice its SIGTERM; return whether one came."""
        with contextlib.suppress(BlockingIOError):
            self._came = self._came or signal.SIGTERM in os.read(self._reading, 4_096)
        if self._came and signal.getsignal(signal.SIGTERM) is _on_sigterm:
            main = threading.main_thread().ident
            if main is not None and not _process.is_terminating:
                signal.pthread_kill(main, signal.SIGTERM)
        return self._came

    def forget(self) -> None:
        """Let go of the pipe in a forked child, whose signals are its own."""
        signal.set_wakeup_fd(-1)
        os.close(self._reading)
        os.close(self._writing)


def signal_pipe() -> SignalPipe | None:
    """Return the pipe of this process, where it has one."""
    return _process.signals


# -- forks -------------------------------------------------------------------------------------------


def _after_fork() -> None:
    global _process
    before, _process = _process, _Process()
    nesting.forked()
    if before.signals is not None:
        before.signals.forget()
    for reporter in before.reporters():
        reporter.forked()
    for sender in before.senders.values():
        sender.forked()


os.register_at_fork(after_in_child=_after_fork)

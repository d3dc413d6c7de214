"""Starting a command with streams like our own: terminals for terminals, pipes for the rest."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import pty
import signal
import struct
import subprocess
import termios
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

__all__ = ["Launched", "copy_size", "exit_code", "launch", "reason"]

STDIN, STDOUT, STDERR = 0, 1, 2
NOT_FOUND, NOT_EXECUTABLE = 127, 126
SIGNAL_BASE = 128
NO_SIZE = struct.pack("HHHH", 24, 80, 0, 0)


@dataclass(slots=True)
class Launched:
    """A command that runs.

    Attributes:
        process: the command.
        routes: descriptors to read what it writes from, and where that goes.
        master: our end of the terminal that it has as its stdin, or None.
        sizes: our ends of all terminals it was given.
    """

    process: subprocess.Popen[bytes]
    routes: list[tuple[int, int]]
    master: int | None = None
    sizes: list[int] = field(default_factory=list)


class _Channels:
    """The pipes and terminals between a command and us."""

    def __init__(self, *, interactive: bool) -> None:
        self._interactive = interactive
        self.routes: list[tuple[int, int]] = []
        self.masters: list[int] = []
        self.theirs: list[int] = []

    def open(self, target: int) -> int:
        """Return the end that the command gets, for what we pass on to `target`."""
        ours, theirs = self._terminal(target) if os.isatty(target) else os.pipe()
        self.routes.append((ours, target))
        self.theirs.append(theirs)
        return theirs

    def _terminal(self, target: int) -> tuple[int, int]:
        try:
            ours, theirs = pty.openpty()
        except OSError:  # the system has no terminal left
            return os.pipe()
        modes = termios.tcgetattr(target)
        if not self._interactive:
            modes[1] &= ~termios.OPOST  # ours makes the line ends
        termios.tcsetattr(theirs, termios.TCSANOW, modes)
        copy_size(target, ours)
        self.masters.append(ours)
        return ours, theirs

    def close(self, descriptors: Iterable[int]) -> None:
        for descriptor in descriptors:
            os.close(descriptor)


def launch(
    argv: Sequence[str], env: Mapping[str, str], *, signals: Iterable[signal.Signals]
) -> Launched:
    """Start a command.

    If our stdin and stdout are terminals, it gets one of its own, in a session of its own, for
    both. Otherwise it shares our session, process group and stdin, so that a Ctrl-C or a prompt
    reaches it as if we were not there; what of stdout and stderr is no terminal is a pipe.

    Args:
        argv: the program and its arguments.
        env: its environment.
        signals: those that are blocked here and must not be so there.

    Raises:
        OSError: it cannot be run.
    """
    _open_missing()
    interactive = os.isatty(STDIN) and os.isatty(STDOUT)
    channels = _Channels(interactive=interactive)
    try:
        stdout = channels.open(STDOUT)
        stderr = stdout if _same(STDOUT, STDERR) else channels.open(STDERR)
        controls = interactive and bool(channels.masters)

        def prepare() -> None:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, signals)
            if controls:
                fcntl.ioctl(STDIN, termios.TIOCSCTTY, 0)

        process = subprocess.Popen(  # noqa: S603 - the user's own command
            argv,
            env=env,
            stdin=stdout if controls else None,
            stdout=stdout,
            stderr=stderr,
            close_fds=False,  # `run -- diff <(a) <(b)`; none of our own is inheritable
            start_new_session=controls,
            preexec_fn=prepare,  # noqa: PLW1509 - there is no other thread yet
        )
    except BaseException:
        channels.close(route[0] for route in channels.routes)
        raise
    finally:
        channels.close(channels.theirs)
    master = channels.masters[0] if controls else None
    return Launched(process, channels.routes, master, channels.masters)


def copy_size(source: int, target: int) -> None:
    """Give one terminal the size of another."""
    with contextlib.suppress(OSError):
        size = fcntl.ioctl(source, termios.TIOCGWINSZ, NO_SIZE)
        fcntl.ioctl(target, termios.TIOCSWINSZ, size)


def reason(program: str, exc: OSError) -> tuple[int, str]:
    """Return the exit code and the words for a command that cannot be run."""
    if isinstance(exc, FileNotFoundError):
        return NOT_FOUND, f"{program}: command not found"
    return NOT_EXECUTABLE, f"{program}: {exc.strerror or os.strerror(exc.errno or errno.ENOEXEC)}"


def exit_code(status: int) -> int:
    """Return a `Popen.returncode` as a shell's exit code."""
    return status if status >= 0 else SIGNAL_BASE - status


def _same(one: int, other: int) -> bool:
    """Return whether both go to the same place, where their order must be kept."""
    first, second = os.fstat(one), os.fstat(other)
    return (first.st_dev, first.st_ino) == (second.st_dev, second.st_ino)


def _open_missing() -> None:
    """Give closed standard streams to nobody, lest a pipe of ours takes their place."""
    for descriptor in (STDIN, STDOUT, STDERR):
        try:
            os.fstat(descriptor)
        except OSError:
            opened = os.open(os.devnull, os.O_RDWR)
            if opened != descriptor:
                os.dup2(opened, descriptor)
                os.close(opened)
            os.set_inheritable(descriptor, True)

"""Our own terminal while a command has one of its own: raw, and put back whatever happens."""

from __future__ import annotations

import contextlib
import os
import termios
import tty
from typing import Any, Self

__all__ = ["Console", "suspends"]

READ_BYTES = 4_096
CONTROL_CHARS, LOCAL_FLAGS = 6, 3


class Console:
    """Reads our terminal raw, as long as we are its foreground job.

    Args:
        descriptor: the terminal.

    Attributes:
        active: whether it is raw, and ours to read.
    """

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self.active = False
        self._modes: list[Any] | None = None
        self._ended = False

    def take(self) -> None:
        """Make the terminal raw if it is ours now; give up on it if it is not."""
        if self._ended or self._is_foreground() == self.active:
            return
        if self.active:  # the shell has put its own modes in
            self.active = False
            return
        try:
            self._modes = termios.tcgetattr(self.descriptor)
            tty.setraw(self.descriptor, termios.TCSANOW)
        except termios.error:
            self._ended = True
        else:
            self.active = True

    def give_back(self) -> None:
        """Put the terminal's modes back."""
        if self.active and self._modes is not None:
            self.active = False
            with contextlib.suppress(termios.error):
                termios.tcsetattr(self.descriptor, termios.TCSANOW, self._modes)

    def read(self) -> bytes:
        """Return what was typed; nothing if the terminal is gone."""
        with contextlib.suppress(OSError):
            data = os.read(self.descriptor, READ_BYTES)
            if data:
                return data
        self._ended, self.active = True, False
        return b""

    def _is_foreground(self) -> bool:
        try:
            return os.tcgetpgrp(self.descriptor) == os.getpgrp()
        except OSError:
            return True  # not our session's terminal, so that nobody can take it from us

    def __enter__(self) -> Self:
        self.take()
        return self

    def __exit__(self, *exc: object) -> None:
        self.give_back()


def suspends(typed: bytes, master: int, leader: int) -> bool:
    """Return whether what was typed suspends the command `leader`.

    A shell within it, or a program that reads keys, has its own use of Ctrl-Z.
    """
    try:
        modes = termios.tcgetattr(master)
        foreground = os.tcgetpgrp(master)
    except (OSError, termios.error):
        return False
    key = modes[CONTROL_CHARS][termios.VSUSP]
    return bool(modes[LOCAL_FLAGS] & termios.ISIG) and foreground == leader and key in typed

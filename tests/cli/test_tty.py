"""What a person at a terminal sees, and what a browser is told."""

from __future__ import annotations

import fcntl
import os
import pty
import struct
import subprocess
import sys
import termios
from collections.abc import Callable
from pathlib import Path
from typing import Any

from socketprogress.cli.terminal import width

COLUMNS = 72


def _in_terminal(
    running: Any, *args: str, once_drawn: Callable[[], None] | None = None, **env: str
) -> tuple[int, str]:
    """Run a command whose stdout and stderr are a terminal; return its code and what it drew.

    `once_drawn` is called when the first bar is there.
    """
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, COLUMNS, 0, 0))
    with subprocess.Popen(
        [sys.executable, "-m", "socketprogress", *args, "--server", running.url],
        stdin=subprocess.DEVNULL,
        stdout=theirs,
        stderr=theirs,
        cwd=running.runtime,
        env={**running.env, "TERM": "xterm", "PYTHONIOENCODING": "utf-8", **env},
    ) as process:
        os.close(theirs)
        drawn = b""
        try:
            while piece := os.read(ours, 65536):
                drawn += piece
                if once_drawn is not None and ("█".encode() in drawn or "░".encode() in drawn):
                    once_drawn()
                    once_drawn = None
        except OSError:
            os.close(ours)  # the kernel's way to say that the other side has closed its end
        return process.wait(timeout=30), drawn.decode("utf-8")


def test_a_terminal_gets_a_bar_that_is_drawn_over_and_then_wiped(
    server: Callable[..., Any], gated_tasks: str, tmp_path: Path
) -> None:
    running = server("--tasks", gated_tasks, root=tmp_path)
    gate = tmp_path / "gate"

    command = ("start", "gated", f"gate={gate}", "--title", "w" * 300, "--watch")
    code, drawn = _in_terminal(running, *command, once_drawn=gate.touch)

    assert code == 0
    bars = [line for line in drawn.split("\r\x1b[K") if "░" in line or "█" in line]
    assert bars
    assert all(width(line) < COLUMNS for line in bars)
    assert drawn.rpartition("\r\x1b[K")[2].startswith("\x1b[32mcompleted\x1b[0m  www")


def test_no_color_and_a_dumb_terminal_are_respected(
    server: Callable[..., Any], gated_tasks: str, tmp_path: Path
) -> None:
    running = server("--tasks", gated_tasks, root=tmp_path)
    (tmp_path / "gate").touch()
    _in_terminal(running, "start", "gated", f"gate={tmp_path / 'gate'}", "--watch")

    coloured = _in_terminal(running, "ls")[1]
    plain = _in_terminal(running, "ls", NO_COLOR="1")[1]
    dumb = _in_terminal(
        running, "start", "gated", f"gate={tmp_path / 'gate'}", "--watch", TERM="dumb"
    )

    assert "\x1b[32m" in coloured
    assert "\x1b" not in plain
    assert "\x1b" not in dumb[1]
    assert "completed" in dumb[1]
    assert all(width(line) < COLUMNS for line in plain.splitlines())


def test_open_shows_the_page_in_the_users_browser(
    server: Callable[..., Any], tmp_path: Path
) -> None:
    # Given a browser that notes down what it is told to open
    told = tmp_path / "told"
    os.mkfifo(told)
    script = tmp_path / "browser"
    script.write_text(f'#!/bin/sh\nprintf %s "$1" > {told}\n', encoding="utf-8")
    script.chmod(0o755)

    # When the server is started with --open and a token
    running = server("--open", "--token", "t0ken", env={"BROWSER": f"{script} %s"})

    # Then the page opens, with what it takes to get in
    assert told.read_text(encoding="utf-8") == f"{running.url}/?token=t0ken"

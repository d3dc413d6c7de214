"""`socketprogress run` at a terminal: programs that talk to people work as they do without it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import termios
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from runners import Runner, environment_without_server, eventually


@pytest.fixture
def alone(tmp_path: Path) -> Iterator[Runner]:
    """Commands where there is no server at all."""
    (tmp_path / "runtime").mkdir(mode=0o700)
    runner = Runner(environment_without_server(tmp_path / "runtime"), tmp_path)
    yield runner
    runner.close()


def is_raw(terminal: Any) -> bool:
    """Return whether keys go to the program one by one."""
    return not termios.tcgetattr(terminal.slave)[3] & termios.ICANON


def test_a_command_at_a_terminal_has_one_of_its_own(alone: Runner) -> None:
    script = "test -t 0 && test -t 1 && test -t 2 && stty size && tty > name && echo > /dev/tty"

    with alone.terminal("sh", "-c", script) as terminal:
        assert terminal.wait() == 0
        assert terminal.output == b"30 90\r\n\r\n"
        assert (alone.folder / "name").read_text().strip() != os.ttyname(terminal.slave)


def test_the_windows_size_is_followed(alone: Runner) -> None:
    script = "trap 'stty size; exit' WINCH; echo ready; while :; do sleep 0.02; done"

    with alone.terminal("sh", "-c", script) as terminal:
        terminal.expect("ready")
        terminal.resize(40, 111)
        terminal.expect("40 111")
        assert terminal.wait() == 0


def test_an_interactive_program_works(alone: Runner) -> None:
    with alone.terminal(sys.executable, "-q", "-i") as terminal:
        terminal.expect(">>> ")
        terminal.type("6 * 7\r")
        terminal.expect("42")
        terminal.expect(">>> ")
        terminal.type("import os; os.get_terminal_size()\r")
        terminal.expect("columns=90, lines=30")
        terminal.expect(">>> ")
        terminal.type("\x04")
        assert terminal.wait() == 0


def test_the_end_of_input_is_typed_as_ever(alone: Runner) -> None:
    with alone.terminal("cat") as terminal:
        terminal.type("abc\r")
        terminal.expect("abc\r\nabc\r\n")
        terminal.type("\x04")
        assert terminal.wait() == 0


def test_much_that_is_pasted_all_arrives(alone: Runner) -> None:
    with alone.terminal("sh", "-c", "stty -echo; echo ready; head -n 400 | wc -c") as terminal:
        terminal.expect("ready")
        for _ in range(400):
            terminal.type("x" * 99 + "\r")
        terminal.expect("40000")
        assert terminal.wait() == 0


def test_ctrl_c_reaches_the_command_and_not_us(alone: Runner) -> None:
    with alone.terminal(
        "sh", "-c", "trap 'echo caught; exit 5' INT; echo ready; read x"
    ) as terminal:
        terminal.expect("ready")
        terminal.type("\x03")
        terminal.expect("caught")
        assert terminal.wait() == 5


def test_a_command_that_ctrl_c_ends_is_130_and_cancelled(server: Any, tmp_path: Path) -> None:
    running = server()
    runner = Runner(running.env, tmp_path, running.url)
    with runner.terminal("sleep", "302") as terminal:
        runner.task("sleep 302", "in_progress")
        terminal.type("\x03")
        assert terminal.wait() == 130

    assert runner.task("sleep 302", "cancelled")["error"]["code"] == "interrupted"


@pytest.mark.parametrize("ending", ["exit 3", "kill -9 $$", "stty raw -echo; exit 1"])
def test_the_terminal_is_put_back_however_the_command_ends(alone: Runner, ending: str) -> None:
    with alone.terminal("sh", "-c", f"echo ready; read x; {ending}") as terminal:
        terminal.expect("ready")
        assert is_raw(terminal)
        terminal.type("\r")
        terminal.wait()

        assert termios.tcgetattr(terminal.slave) == terminal.modes


@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP", "SIGINT"])
def test_the_terminal_is_put_back_when_we_are_ended(alone: Runner, name: str) -> None:
    with alone.terminal("sh", "-c", "echo ready; sleep 303") as terminal:
        terminal.expect("ready")
        terminal.process.send_signal(getattr(signal, name))

        assert terminal.wait() == 128 + getattr(signal, name)
        assert termios.tcgetattr(terminal.slave) == terminal.modes


def test_colours_bars_and_bytes_reach_the_terminal_unchanged(alone: Runner) -> None:
    written = b"\x1b[1;31mred\x1b[0m 10%\r20%\x1b[K\x1b[2A\xff\xfe\x00end"
    (alone.folder / "written").write_bytes(written)

    with alone.terminal("cat", "written") as terminal:
        assert terminal.wait() == 0
        assert terminal.output == written


def test_output_into_a_file_is_clean_and_errors_still_have_the_terminal(alone: Runner) -> None:
    script = "test -t 1 || echo file; test -t 2 && echo terminal >&2; exit 4"
    with (
        (alone.folder / "out").open("wb") as out,
        alone.terminal("sh", "-c", script, stdout=out) as terminal,
    ):
        assert terminal.wait() == 4

        assert terminal.output == b"terminal\r\n"
        assert (alone.folder / "out").read_bytes() == b"file\n"
        assert termios.tcgetattr(terminal.slave) == terminal.modes


def test_input_from_a_file_and_output_to_the_terminal(alone: Runner) -> None:
    with alone.terminal("sh", "-c", "test -t 1 && wc -c", stdin=subprocess.DEVNULL) as terminal:
        assert terminal.wait() == 0
        assert terminal.output.strip() == b"0"


def test_ctrl_c_reaches_a_command_whose_output_is_piped(alone: Runner) -> None:
    with alone.terminal(
        "sh", "-c", "trap 'exit 6' INT; echo ready >&2; sleep 304", stdout=subprocess.DEVNULL
    ) as terminal:
        terminal.expect("ready")
        terminal.type("\x03")
        assert terminal.wait() == 6


def test_what_is_left_running_is_not_waited_for_at_a_terminal_either(alone: Runner) -> None:
    with alone.terminal("sh", "-c", "nohup sleep 305 & echo pid $! end") as terminal:
        assert terminal.wait() == 0
        pid = int(terminal.output.partition(b"pid ")[2].split()[0])
        psutil.Process(pid).kill()


def test_a_shells_job_control_works_within(alone: Runner) -> None:
    with alone.terminal("bash", "--norc", "-i") as terminal:
        terminal.type("PS1=; echo begin\r")
        terminal.expect("begin\r\n")
        terminal.type("sh -c 'echo going; exec sleep 306'\r")
        terminal.expect("going\r\n")
        terminal.type("\x1a")
        terminal.expect("Stopped")
        # A line that is typed is echoed: its quotes tell that from what it prints.
        terminal.type("kill -9 %1; while jobs %1; do sleep 0.05; done; echo o''ver\r")
        terminal.expect("over\r\n")
        terminal.type("exit 3\r")
        assert terminal.wait() == 3


def test_ctrl_z_stops_us_both_and_fg_goes_on(alone: Runner) -> None:
    # Given a shell whose foreground job is a run
    shell = ["bash", "--norc", "-i"]
    from terminals import Terminal

    with Terminal(shell, env={**alone.env, "PS1": "shell> "}, cwd=alone.folder) as terminal:
        command = " ".join(alone.command("sh", "-c", "'echo ready; read x; echo got $x; exit 4'"))
        terminal.type(f"{command}\r")
        terminal.expect("ready\r\n")

        # When it is suspended
        terminal.type("\x1a")
        terminal.expect("Stopped")
        terminal.type("echo $((40 + 2)) in the shell\r")
        terminal.expect("42 in the shell\r\n")

        # Then it goes on when it is asked to
        terminal.type("fg\r")
        terminal.expect("read x")
        eventually(lambda: is_raw(terminal))
        terminal.type("hello\r")
        terminal.expect("got hello\r\n")
        terminal.expect("shell> ")
        terminal.type("echo code $?\r")
        terminal.expect("code 4\r\n")
        terminal.type("exit\r")
        terminal.wait()


def test_a_run_in_the_background_leaves_the_terminal_to_others(alone: Runner) -> None:
    from terminals import Terminal

    with Terminal(
        ["bash", "--norc", "-i"], env={**alone.env, "PS1": "shell> "}, cwd=alone.folder
    ) as terminal:
        command = " ".join(alone.command("sh", "-c", "'sleep 0.3; echo from behind'"))
        terminal.type(f"{command} & wait; echo all done\r")
        terminal.expect("] ")
        terminal.expect("from behind")
        terminal.expect("all done\r\n")
        terminal.type("exit\r")
        assert terminal.wait() == 0

"""Commands as tasks: real processes, real terminals, real signals."""

from __future__ import annotations

import os
import pty
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from socketprogress.core.errors import Cancelled, ConfigurationError, TaskFailure
from socketprogress.core.reporter import Reporter
from socketprogress.tasks import processes
from socketprogress.tasks.command import parse_command, run_command

DEADLINE_S = 20.0


def eventually(condition: Callable[[], object]) -> bool:
    """Return whether the condition comes true while one may still hope for it."""
    deadline = time.monotonic() + DEADLINE_S
    pause = threading.Event()
    while not condition():
        if time.monotonic() > deadline:
            return False
        pause.wait(0.01)
    return True


def python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


def test_output_becomes_the_log_and_the_last_line_the_message(watch: Any) -> None:
    run = watch(run_command)

    assert run.run(argv=["sh", "-c", "echo one; echo two >&2; printf three"]) == {"exit_code": 0}
    assert run.log == ["one", "two", "three"]
    assert run.reporter.message == "three"


def test_a_command_believes_that_it_writes_to_a_terminal(watch: Any) -> None:
    run = watch(run_command)

    run.run(argv=["sh", "-c", "test -t 1 && test -t 2 && ! test -t 0 && stty size <&1"])

    assert run.log == ["40 120"]


def test_a_bar_drives_the_progress_and_is_one_line_of_the_log(watch: Any) -> None:
    code = "for i in range(0, 101, 10): print(f'\\r{i}%', end='', flush=True)\nprint()"
    run = watch(run_command)

    run.run(argv=python(code))

    assert (run.reporter.current, run.reporter.total) == (100, 100)
    assert run.log == ["100%"]


def test_a_fraction_is_a_count(watch: Any) -> None:
    run = watch(run_command)

    run.run(argv=["printf", r"[1/8] a\n[7/8] b\n"])

    assert (run.reporter.current, run.reporter.total) == (7, 8)


def test_counts_go_back_only_for_a_bar_that_begins_again(watch: Any) -> None:
    run = watch(run_command)

    run.run(argv=["printf", r"60%%\n20%%\n"])
    assert run.reporter.current == 60
    assert not any("reset" in report for report in run.reports)

    run.run(argv=["printf", r"100%%\n5%%\n"])
    assert run.reporter.current == 5
    assert any("reset" in report for report in run.reports)


def test_a_prompt_without_a_line_end_is_seen_while_the_command_waits(
    watch: Any, tmp_path: Path
) -> None:
    # Given a command that goes on only when somebody has seen its words
    go_on = tmp_path / "go on"
    code = (
        "import pathlib, time\nprint('Working: ', end='', flush=True)\n"
        f"while not pathlib.Path({str(go_on)!r}).exists(): time.sleep(0.01)\nprint('done')"
    )
    run = watch(run_command)
    seen = threading.Thread(
        target=lambda: eventually(lambda: "Working: " in run.log) and go_on.touch()
    )

    seen.start()
    run.run(argv=python(code))
    seen.join()

    assert run.log == ["Working: ", "done"]


def test_thousands_of_lines_at_once_all_reach_the_log(watch: Any) -> None:
    run = watch(run_command)

    run.run(argv=["seq", "1500"])

    assert run.log == [str(number) for number in range(1, 1_501)]


def test_where_there_is_no_terminal_a_pipe_does(
    watch: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse() -> tuple[int, int]:
        raise OSError("out of pty devices")

    monkeypatch.setattr(pty, "openpty", refuse)
    run = watch(run_command)

    assert run.run(argv=["sh", "-c", "echo piped; test -t 1 || exit 0; exit 1"]) == {"exit_code": 0}
    assert run.log == ["piped"]


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["sh", "-c", "exit 3"], "exit status 3"),
        (["sh", "-c", "kill -SEGV $$"], "killed by SIGSEGV"),
        (["sh", "-c", "kill -KILL $$"], "killed by SIGKILL"),
        (["no-such-program"], "command not found: 'no-such-program' (exit status 127)"),
        (["/"], "command cannot be run: '/': Permission denied (exit status 126)"),
    ],
)
def test_a_command_that_fails_says_how(watch: Any, argv: list[str], message: str) -> None:
    with pytest.raises(TaskFailure) as failure:
        watch(run_command).run(argv=argv)

    assert (failure.value.code, str(failure.value)) == ("exit_status", message)


def test_a_command_runs_in_the_folder_that_it_was_given(watch: Any, tmp_path: Path) -> None:
    run = watch(run_command)
    run.run(argv=["pwd", "-P"], cwd=str(tmp_path.resolve()))
    assert run.log == [str(tmp_path.resolve())]

    with pytest.raises(TaskFailure, match="the folder '/no/such' to run in does not exist"):
        watch(run_command).run(argv=["true"], cwd="/no/such")


def test_arguments_reach_the_command_without_a_shell(watch: Any) -> None:
    run = watch(run_command)

    run.run(argv=["printf", r"%s\n", "$HOME; `id` *", "-x"])

    assert run.log == ["$HOME; `id` *", "-x"]


def test_what_a_command_leaves_running_does_not_hold_its_task(watch: Any) -> None:
    run = watch(run_command)

    result = run.run(argv=["sh", "-c", "sleep 300 & echo $!"])

    assert result == {"exit_code": 0}
    psutil.Process(int(run.log[0])).kill()


def test_a_command_that_closes_its_output_is_waited_for(watch: Any) -> None:
    with pytest.raises(TaskFailure, match="exit status 7"):
        watch(run_command).run(argv=["sh", "-c", "exec >&- 2>&-; sleep 0.3; exit 7"])


STUBBORN = """
import os, signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
child = [sys.executable, "-c", "import time; time.sleep(300)"]
subprocess.Popen(child)                               # of the same session
subprocess.Popen(child, start_new_session=True)       # of its own
if os.fork() == 0:                                    # a daemon: another session, no parent
    os.setsid()
    if os.fork() == 0:
        os.execv(sys.executable, child)
    os._exit(0)
os.wait()
print("ready", flush=True)
time.sleep(300)
"""


def of_the_same_mark(run: Any) -> list[int]:
    """Return the living processes that this test's own command has started."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get("TEST_TREE") == str(run.output_dir):
                found.append(process.pid)
        except (psutil.AccessDenied, psutil.NoSuchProcess, psutil.ZombieProcess):
            continue
    return found


def test_a_cancellation_ends_the_whole_tree(watch: Any) -> None:
    # Given a command that ignores SIGTERM, with a child, a child of another session and a daemon
    run = watch(run_command)
    run.cancel_at(lambda reporter: reporter.message == "ready" and len(of_the_same_mark(run)) == 4)

    # When its task is cancelled
    argv = ["env", f"TEST_TREE={run.output_dir}", *python(STUBBORN)]
    with pytest.raises(Cancelled):
        run.run(argv=argv)

    # Then nothing of it is left
    assert eventually(lambda: of_the_same_mark(run) == [])


def test_a_command_that_listens_may_tidy_up(watch: Any, tmp_path: Path) -> None:
    tidied = tmp_path / "tidied"
    run = watch(run_command)
    run.cancel_at(lambda reporter: reporter.message == "ready")

    with pytest.raises(Cancelled):
        run.run(
            argv=["sh", "-c", f"trap 'echo x > {tidied}; exit' TERM; echo ready; sleep 300 & wait"]
        )

    assert tidied.exists()


def test_a_command_that_never_stops_writing_can_be_cancelled(watch: Any) -> None:
    run = watch(run_command)
    run.cancel_at(lambda reporter: reporter.message == "y")

    with pytest.raises(Cancelled):
        run.run(argv=["yes"])


def test_an_interruption_from_outside_ends_the_tree_too(watch: Any) -> None:
    # Given a worker process that is told to stop while it waits, as the process pool does
    run = watch(run_command)

    class Interrupted(Reporter):
        def check(self) -> None:
            if self.message == "ready":
                raise Cancelled("SIGTERM")

    run.reporter.__class__ = Interrupted
    argv = ["env", f"TEST_TREE={run.output_dir}", "sh", "-c", "echo ready; sleep 300"]

    with pytest.raises(Cancelled):
        run.run(argv=argv)

    assert eventually(lambda: of_the_same_mark(run) == [])


def test_without_proc_the_command_itself_is_still_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "PROC", tmp_path / "missing")

    assert processes.members(os.getpid(), b"X=1") == {os.getpid()}
    assert processes.members(2**22 + 1, b"X=1") == set()


@pytest.mark.parametrize(
    ("text", "parsed"),
    [
        ("backup=rsync -a 'my files' /mnt", ("backup", ["rsync", "-a", "my files", "/mnt"])),
        ("x = make A=1", ("x", ["make", "A=1"])),
        ("x=sh -c 'echo \"$1\" | wc' --", ("x", ["sh", "-c", 'echo "$1" | wc', "--"])),
    ],
)
def test_a_command_is_split_as_a_shell_would(text: str, parsed: tuple[str, list[str]]) -> None:
    assert parse_command(text) == parsed


@pytest.mark.parametrize(
    "text", ["", "rsync -a", "=ls", "a b=ls", "x=", "x=''", "x='open", "x=  ", "x=a\0b", "é=ls"]
)
def test_what_is_no_command_is_refused_with_its_text(text: str) -> None:
    with pytest.raises(ConfigurationError) as refusal:
        parse_command(text)

    assert repr(text) in str(refusal.value)

"""`socketprogress run`: real commands, real pipes and signals, a real server."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
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


@pytest.fixture(scope="module")
def shared(lasting_server: Any) -> Any:
    """A server for all tests of this module."""
    return lasting_server()


@pytest.fixture
def served(shared: Any, tmp_path: Path) -> Iterator[Runner]:
    """Commands where a server runs on this host."""
    runner = Runner(shared.env, tmp_path, shared.url)
    yield runner
    runner.close()


def python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


EVERY_BYTE = bytes(range(256)) * 300


# -- what the command writes and reads ----------------------------------------------------------------


def test_both_streams_come_out_byte_for_byte_and_apart(alone: Runner) -> None:
    code = (
        "import sys; b = bytes(range(256)) * 300; sys.stdout.buffer.write(b); "
        "sys.stderr.buffer.write(b[::-1])"
    )

    done = alone.run(*python(code))

    assert (done.returncode, done.stdout, done.stderr) == (0, EVERY_BYTE, EVERY_BYTE[::-1])


@pytest.mark.parametrize(
    "written", [b"", b"no end", b"\n\n", b"\xff\xfe\r\x1b[31m", b"a" * 300_000]
)
def test_nothing_is_added_to_the_output_and_nothing_lost(alone: Runner, written: bytes) -> None:
    (alone.folder / "written").write_bytes(written)

    done = alone.run("cat", "written")

    assert (done.stdout, done.stderr) == (written, b"")


def test_streams_that_go_to_one_place_keep_their_order(alone: Runner) -> None:
    script = "for i in 1 2 3 4 5 6 7 8 9; do echo out; echo err >&2; done"

    done = alone.run("sh", "-c", script, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                     capture_output=False)  # fmt: skip

    assert done.stdout == b"out\nerr\n" * 9


def test_output_comes_out_before_the_line_ends(alone: Runner) -> None:
    # Given a command that waits for an answer after a prompt without a line end
    child = alone.start(
        "sh", "-c", "printf 'name? '; read name; echo hello $name", stdin=subprocess.PIPE
    )
    assert child.stdout is not None
    assert os.read(child.stdout.fileno(), 100) == b"name? "

    # When it is answered
    out, _ = child.communicate(b"world\n", timeout=20)

    assert (child.returncode, out) == (0, b"hello world\n")


@pytest.mark.parametrize("given", [b"", b"abc", EVERY_BYTE])
def test_a_command_reads_our_stdin_to_its_end(alone: Runner, given: bytes) -> None:
    assert alone.run("cat", input=given).stdout == given


def test_a_command_without_a_terminal_has_none(alone: Runner) -> None:
    script = "test -t 0 || test -t 1 || test -t 2 || echo none"

    assert alone.run("sh", "-c", script, stdin=subprocess.DEVNULL).stdout == b"none\n"


def test_closed_streams_hurt_nobody(alone: Runner) -> None:
    command = " ".join(alone.command("sh", "-c", "'exit 4'"))

    done = subprocess.run(
        ["/bin/sh", "-c", f"exec {command} <&- >&- 2>&-"],
        env=alone.env,
        cwd=alone.folder,
        timeout=60,
        check=False,
    )

    assert done.returncode == 4


def test_a_reader_that_has_gone_ends_the_command_as_it_would_without_us(alone: Runner) -> None:
    child = alone.start("sh", "-c", "yes; echo $? >&2")
    assert child.stdout is not None
    child.stdout.read(1_000)
    child.stdout.close()

    assert child.stderr is not None
    assert child.stderr.read() == b"141\n"  # ended by SIGPIPE


def test_what_is_left_running_is_not_waited_for(alone: Runner) -> None:
    done = alone.run("sh", "-c", "sleep 300 & echo $!; exit 5")

    assert done.returncode == 5
    psutil.Process(int(done.stdout)).kill()


def test_all_of_the_output_reaches_a_reader_that_is_slow(alone: Runner) -> None:
    child = alone.start("seq", "100000")
    assert child.stdout is not None
    expected = "".join(f"{number}\n" for number in range(1, 100_001)).encode()

    assert child.stdout.read() == expected
    assert child.wait(20) == 0


# -- how it ends --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("script", "code"),
    [("exit 0", 0), ("exit 3", 3), ("exit 255", 255), ("kill -9 $$", 137), ("kill -TERM $$", 143)],
)
def test_the_exit_code_is_the_commands(alone: Runner, script: str, code: int) -> None:
    assert alone.run("sh", "-c", script).returncode == code


def test_a_command_that_cannot_be_run_has_a_shells_codes(alone: Runner) -> None:
    (alone.folder / "data").write_text("no program")

    missing, folder, data = alone.run("no-such"), alone.run("/"), alone.run("./data")

    assert [done.returncode for done in (missing, folder, data)] == [127, 126, 126]
    assert missing.stderr == b"socketprogress run: no-such: command not found\n"
    assert folder.stderr == b"socketprogress run: /: Permission denied\n"


@pytest.mark.parametrize("flags", [("--server", "ftp://x"), ("--server", "http://[")])
def test_a_server_that_is_no_url_is_a_usage_error(alone: Runner, flags: Any) -> None:
    done = alone.run("echo", "hi", flags=flags)

    assert (done.returncode, done.stdout) == (2, b"")


def test_options_of_the_command_are_its_own(alone: Runner) -> None:
    assert alone.run("echo", "--title", "--help", "-n").stdout == b"--title --help -n\n"


@pytest.mark.parametrize("name", ["INT", "TERM", "HUP", "QUIT", "USR1", "USR2"])
def test_signals_are_passed_on(alone: Runner, name: str) -> None:
    # Given a command that tells which signal it gets
    script = f"trap 'echo got {name}; exit 9' {name}; echo ready; while :; do sleep 0.02; done"
    child = alone.start("sh", "-c", script)
    assert child.stdout is not None
    assert child.stdout.readline() == b"ready\n"

    # When it is sent to us
    child.send_signal(getattr(signal, f"SIG{name}"))

    assert child.stdout.read() == f"got {name}\n".encode()
    assert child.wait(20) == 9


def test_a_command_that_a_signal_ends_is_128_and_its_number(alone: Runner) -> None:
    child = alone.start("sh", "-c", "echo ready; exec sleep 300")
    assert child.stdout is not None
    child.stdout.readline()

    child.send_signal(signal.SIGTERM)

    assert child.wait(20) == 128 + signal.SIGTERM


def test_signals_that_were_ignored_stay_ignored(alone: Runner) -> None:
    # Given a run under nohup
    command = ["nohup", *alone.command("sh", "-c", "echo ready; read line; echo $line")]
    child = subprocess.Popen(
        command, env=alone.env, cwd=alone.folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL, process_group=0,
    )  # fmt: skip
    assert child.stdout is not None
    assert child.stdout.readline() == b"ready\n"

    # When its terminal hangs up
    os.killpg(child.pid, signal.SIGHUP)

    assert child.communicate(b"still here\n", timeout=20)[0] == b"still here\n"
    assert child.returncode == 0


# -- what the browser sees ----------------------------------------------------------------------------


def test_a_command_is_a_task_with_its_log_and_its_exit_code(served: Runner) -> None:
    done = served.run("sh", "-c", "echo one; echo two >&2; exit 3", flags=["--title", "Three"])

    task = served.task("Three", "failed")
    log = served.get(f"/{task['task_id']}/log")["lines"]
    assert (done.stdout, done.stderr) == (b"one\n", b"two\n")
    assert task["error"] == {"code": "exit_status", "message": "exit status 3"}
    assert (task["name"], task["result"], sorted(log)) == ("sh", {"exit_code": 3}, ["one", "two"])


def test_a_percent_in_the_output_is_the_progress(served: Runner) -> None:
    child = served.start(
        "sh", "-c", "printf '10%%\\r37%%'; read line; printf '\\r100%%\\n'", stdin=subprocess.PIPE
    )
    title = "sh -c 'printf '\"'\"'10%%\\r37%%'\"'\"'; read line; printf '\"'\"'\\r100%%\\n'\"'\"''"

    running = eventually(lambda: (t := served.task(title))["progress"] == 37 and t)
    assert (running["status"], running["message"]) == ("in_progress", "37%")

    child.communicate(b"\n", timeout=20)
    ended = served.task(title, "completed")
    assert served.get(f"/{ended['task_id']}/log")["lines"] == ["100%"]


def test_a_command_that_is_not_found_is_a_failed_task(served: Runner) -> None:
    served.run("no-such-program")

    assert served.task("no-such-program", "failed")["error"] == {
        "code": "exit_status",
        "message": "no-such-program: command not found (exit status 127)",
    }


def test_a_command_that_was_killed_says_by_what(served: Runner) -> None:
    served.run("sh", "-c", "kill -SEGV $$", flags=["--title", "Crash"])

    assert served.task("Crash", "failed")["error"]["message"] == "killed by SIGSEGV"


def test_an_interrupted_command_is_cancelled(served: Runner) -> None:
    child = served.start("sleep", "301")
    task = served.task("sleep 301", "in_progress")

    child.send_signal(signal.SIGTERM)

    assert child.wait(20) == 143
    ended = served.task("sleep 301", "cancelled")
    assert (ended["task_id"], ended["error"]["code"]) == (task["task_id"], "interrupted")


def of_tree(mark: str) -> list[int]:
    """Return the living processes that have this in their environment, `run` itself apart."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get("TEST_TREE") == mark:
                found.append(process.pid)
        except (psutil.AccessDenied, psutil.NoSuchProcess, psutil.ZombieProcess):
            continue
    return found


def test_cancelling_ends_the_command_and_its_grandchild(served: Runner) -> None:
    child = served.start("env", "TEST_TREE=grandchild", "sh", "-c", "sleep 100 & wait")
    task = served.task("env TEST_TREE=grandchild sh -c 'sleep 100 & wait'", "in_progress")
    assert eventually(lambda: len(of_tree("grandchild")) == 2)

    served.cancel(task["task_id"])

    # A shell that hears of its child's end before its own signal ends with 0.
    assert child.wait(20) in {0, 143}
    assert of_tree("grandchild") == []
    assert served.task(task["title"], "cancelled")["error"] is None


STUBBORN = """
import os, signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
subprocess.Popen([sys.executable, "-c", "import time; time.sleep(300)"], start_new_session=True)
print("ready", flush=True)
time.sleep(300)
"""


def test_what_ignores_a_cancellation_is_killed_in_every_session(served: Runner) -> None:
    child = served.start("env", "TEST_TREE=stubborn", *python(STUBBORN))
    assert child.stdout is not None
    assert child.stdout.readline() == b"ready\n"
    tasks = eventually(lambda: [t for t in served.get("")["tasks"] if "stubborn" in t["title"]])

    served.cancel(tasks[0]["task_id"])

    assert child.wait(20) == 137
    assert of_tree("stubborn") == []
    assert served.task(tasks[0]["title"], "cancelled")


def test_a_flood_that_nobody_reads_can_be_cancelled(served: Runner) -> None:
    child = served.start("yes", "unread")
    task = served.task("yes unread", "in_progress")

    served.cancel(task["task_id"])

    assert child.wait(20) == 143
    assert served.task("yes unread", "cancelled")


def test_a_childs_own_bars_belong_to_the_runs_task(served: Runner) -> None:
    code = (
        "from socketprogress.client.reporter import Reporter\n"
        "with Reporter('inner', title='Inner bar', total=3) as bar: bar.advance(3)"
    )

    served.run(*python(code), flags=["--title", "Outer run"])

    inner, outer = served.task("Inner bar", "completed"), served.task("Outer run", "completed")
    assert (inner["parent_id"], inner["current"]) == (outer["task_id"], 3)


def test_a_flood_passes_through_and_the_log_keeps_its_newest_lines(served: Runner) -> None:
    done = served.run("seq", "1000000")

    task = served.task("seq 1000000", "completed")
    newest = served.get(f"/{task['task_id']}/log?offset=-1000&limit=1000")["lines"]
    everything = served.get(f"/{task['task_id']}/log?limit=1000")["lines"]
    assert done.stdout == "".join(f"{n}\n" for n in range(1, 1_000_001)).encode()
    assert newest == [str(number) for number in range(999_001, 1_000_001)]
    assert any("left out" in line for line in [*everything, *newest, *middle(served, task)])


def middle(served: Runner, task: dict[str, Any]) -> list[str]:
    """Return all pages of a task's log."""
    lines: list[str] = []
    offset = 0
    while True:
        page = served.get(f"/{task['task_id']}/log?offset={offset}&limit=1000")
        lines += page["lines"]
        if page["next_offset"] == offset or not page["lines"]:
            return lines
        offset = page["next_offset"]


def test_memory_is_bounded_whatever_is_written(served: Runner) -> None:
    # Given a command that writes without end, some of it without line ends
    child = served.start("sh", "-c", "cat /dev/zero & yes", stdout=subprocess.DEVNULL)
    process = psutil.Process(child.pid)
    written = lambda: process.io_counters().write_chars  # noqa: E731
    eventually(lambda: written() > 100_000_000)
    before = process.memory_info().rss

    # When it has written a gigabyte more
    assert eventually(lambda: written() > 1_000_000_000)
    after = process.memory_info().rss
    child.send_signal(signal.SIGTERM)
    for pid in psutil.Process(child.pid).children(recursive=True):
        pid.kill()
    child.wait(20)

    assert after - before < 30_000_000


def test_without_a_server_a_command_runs_and_nobody_says_a_word(alone: Runner) -> None:
    done = alone.run("sh", "-c", "echo 50%; exit 6")

    assert (done.returncode, done.stdout, done.stderr) == (6, b"50%\n", b"")


def test_a_server_that_is_down_gets_it_all_when_it_is_back(server: Any, tmp_path: Path) -> None:
    # Given a server that has gone
    running = server()
    running.stop()
    runner = Runner({**running.env, "SOCKETPROGRESS_URL": running.url}, tmp_path, running.url)

    # When a command runs meanwhile, and another one when the server is back
    done = runner.run("sh", "-c", "echo kept; exit 7", flags=["--title", "Meanwhile"])
    running.start()
    following = runner.start("cat", stdin=subprocess.PIPE)

    # Then it is there
    task = runner.task("Meanwhile", "failed")
    following.communicate(b"", timeout=20)
    runner.close()
    assert (done.returncode, done.stdout) == (7, b"kept\n")
    assert runner.get(f"/{task['task_id']}/log")["lines"] == ["kept"]


def test_a_frozen_server_does_not_hold_the_command(server: Any, tmp_path: Path) -> None:
    running = server()
    runner = Runner(running.env, tmp_path, running.url)
    os.kill(running.pid, signal.SIGSTOP)
    try:
        done = runner.run("sh", "-c", "echo through; exit 8", flags=["--title", "Frozen"])
    finally:
        os.kill(running.pid, signal.SIGCONT)

    assert (done.returncode, done.stdout) == (8, b"through\n")
    following = runner.start("cat", stdin=subprocess.PIPE)
    assert runner.task("Frozen", "failed")["result"] == {"exit_code": 8}
    following.communicate(b"", timeout=20)


def test_the_command_is_told_where_to_report_and_under_what(served: Runner) -> None:
    names = ["URL", "PARENT", "TOKEN"]
    code = f"import os, json; print(json.dumps({{n: os.environ.get('SOCKETPROGRESS_' + n) for n in {names}}}))"

    done = served.run(
        *python(code), flags=["--title", "Told", "--server", served.url, "--token", "t0ken"]
    )

    told = json.loads(done.stdout)
    assert (told["URL"], told["TOKEN"]) == (served.url, "t0ken")
    assert told["PARENT"] == served.task("Told", "completed")["task_id"]


def test_files_that_we_were_given_are_the_commands_too(alone: Runner) -> None:
    command = " ".join(alone.command("cat", "<(echo one)", "<(echo two)"))

    done = subprocess.run(
        ["/bin/bash", "-c", command], env=alone.env, cwd=alone.folder, capture_output=True,
        timeout=60, check=False,
    )  # fmt: skip

    assert done.stdout == b"one\ntwo\n"

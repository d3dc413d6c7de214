"""The server as a process: how it starts, what it says, how it ends."""

from __future__ import annotations

import json
import os
import signal
import socket
import stat
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from socketprogress import Client

Start = Callable[..., Any]


def _get(url: str, token: str | None = None) -> int:
    request = urllib.request.Request(url)  # noqa: S310 - this test's own server
    if token:
        request.add_header("Authorization", f"Bearer {token}")
    try:
        with urllib.request.urlopen(request, timeout=10) as response:  # noqa: S310
            return int(response.status)
    except urllib.error.HTTPError as exc:
        with exc:
            return exc.code


def result_of(process: subprocess.Popen[str], task: str) -> Any:
    """Have a server run a task and stop, and return the task's result."""
    assert process.stdout is not None
    try:
        with Client(process.stdout.readline().split()[-1]) as client:
            return client.start(task).result(timeout=60)
    finally:
        process.terminate()


def test_every_async_mode_starts_answers_and_stops_cleanly(server: Start, any_mode: str) -> None:
    running = server(mode=any_mode)

    assert running.listening == f"Listening on {running.url}"
    assert _get(f"{running.url}/healthz") == 200
    assert _get(f"{running.url}/") == 200
    assert running.stop(signal.SIGTERM) == 0
    assert "Traceback" not in running.stderr
    assert "Warning" not in running.stderr


def test_ctrl_c_is_130_with_a_task_running(
    server: Start, any_mode: str, gated_tasks: str, tmp_path: Path
) -> None:
    # Given a task that would never end by itself
    running = server("--tasks", gated_tasks, mode=any_mode, root=tmp_path)
    started = running.cli("start", "gated", f"gate={tmp_path / 'gate'}")
    assert started.returncode == 0, started.stderr

    # When the server gets Ctrl-C
    code = running.stop(signal.SIGINT)

    # Then it ends in time, and the task is booked as ended with it
    assert code == 130
    assert "by force" not in running.stderr
    running.start()
    (task,) = map(json.loads, running.cli("ls", "--json").stdout.splitlines())
    assert task["task_id"] == started.stdout.strip()
    assert (task["status"], task["error"]["code"]) == ("cancelled", "shutdown")


def test_a_second_ctrl_c_ends_it_at_once(tmp_path: Path) -> None:
    # Given a server whose clean stop never comes to its end
    script = tmp_path / "stuck.py"
    script.write_text(
        "import os, signal\n"
        "from socketprogress.cli.stopping import Stopper\n"
        "stopper = Stopper(within_s=60, last_words=lambda: os.write(1, b'last words\\n'))\n"
        "stopper.install()\n"
        "stopper.attach(lambda: os.write(1, b'stopping\\n'))\n"
        "print('ready', flush=True)\n"
        "while True: signal.pause()\n",
        encoding="utf-8",
    )
    with subprocess.Popen(
        [sys.executable, str(script)], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"

        # When Ctrl-C comes twice
        process.send_signal(signal.SIGINT)
        assert process.stdout.readline() == "stopping\n"
        process.send_signal(signal.SIGINT)

        # Then it ends all the same
        assert process.stdout.readline() == "last words\n"
        assert process.wait(timeout=10) == 130


def test_a_stop_that_hangs_is_ended_by_force(tmp_path: Path) -> None:
    script = tmp_path / "stuck.py"
    script.write_text(
        "import signal\n"
        "from socketprogress.cli.stopping import Stopper\n"
        "stopper = Stopper(within_s=0.1, last_words=lambda: None)\n"
        "stopper.install()\n"
        "stopper.attach(lambda: None)\n"
        "print('ready', flush=True)\n"
        "while True: signal.pause()\n",
        encoding="utf-8",
    )
    with subprocess.Popen(
        [sys.executable, str(script)], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=10) == 0


def test_stdout_is_one_line_and_the_word_serve_may_be_left_out(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir(mode=0o700)
    env = {**os.environ, "XDG_RUNTIME_DIR": str(tmp_path / "run")}
    with subprocess.Popen(
        [sys.executable, "-m", "socketprogress", "--port", "0", "--data", str(tmp_path / "data")],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=env,
        cwd=tmp_path,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("Listening on http://127.0.0.1:")
        process.terminate()
        assert process.stdout.read() == ""
        assert process.wait(timeout=10) == 0


@pytest.mark.parametrize("mode", ["eventlet", "threading"])
def test_modules_in_the_folder_that_it_is_started_in_are_not_its_own(
    mode: str, tmp_path: Path
) -> None:
    folder = tmp_path / "scripts"
    folder.mkdir()
    for name in ("code", "json", "queue", "secrets", "select", "sqlite3", "flask", "msgspec"):
        (folder / f"{name}.py").write_text("raise SystemExit('not meant for the server')\n")
    command = [sys.executable, "-m", "socketprogress", "--port", "0", "--root", str(folder)]
    command += ["--data", str(tmp_path / "data"), "--async-mode", mode, "--no-token"]

    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=folder) as process:
        assert result_of(process, "checksum")["files"] == 8

    assert process.returncode == 0


@pytest.mark.parametrize("script", [False, True], ids=["module", "script"])
@pytest.mark.parametrize("tasks", ["jobs/own.py", "jobs.own"])
def test_tasks_find_modules_in_the_folder_that_the_server_is_started_in(
    tasks: str, script: bool, tmp_path: Path
) -> None:
    (tmp_path / "helpers.py").write_text("ANSWER = 42\n")
    (tmp_path / "jobs").mkdir()
    (tmp_path / "jobs" / "own.py").write_text(
        "import helpers\nfrom socketprogress import task\n"
        "@task\ndef own() -> int:\n    import helpers\n    return helpers.ANSWER\n"
    )
    python = Path(sys.executable)
    command = (
        [str(python.with_name("socketprogress"))]
        if script
        else [str(python), "-m", "socketprogress"]
    )
    command += ["--port", "0", "--no-token", "--data", str(tmp_path / "data"), "--tasks", tasks]

    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=tmp_path) as process:
        assert result_of(process, "own") == 42

    assert process.returncode == 0


def test_a_port_in_use_is_said_in_one_line(server: Start, any_mode: str, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        first = server()
        second = first.cli(
            "--port", str(port), "--data", str(tmp_path / "other"), "--async-mode", any_mode
        )

    assert second.returncode == 1
    assert second.stdout == ""
    assert f"port {port} of 127.0.0.1 is in use" in second.stderr
    assert "Traceback" not in second.stderr


def test_a_data_folder_in_use_names_the_server_that_uses_it(server: Start) -> None:
    running = server()

    second = running.cli("--port", "0", "--data", str(running.data))

    assert second.returncode == 1
    assert f"in use by another server (pid {running.pid})" in second.stderr
    assert "choose another folder with --data" in second.stderr
    assert second.stderr.count("\n") == 1


def test_after_a_kill_the_same_data_and_port_start_again(server: Start, any_mode: str) -> None:
    running = server(mode=any_mode)
    port = running.port
    running.kill()

    running.start()

    assert running.port == port
    assert _get(f"{running.url}/healthz") == 200


def test_bad_tasks_files_and_stores_are_usage_errors(server: Start, tmp_path: Path) -> None:
    running = server()
    data = str(tmp_path / "other")
    for args in (
        ["--tasks", "nowhere.py"],
        ["--store", "mongodb://x"],
        ["--default-task", "nothing"],
        ["--command", "loose"],
    ):
        refused = running.cli("serve", "--port", "0", "--data", data, *args)

        assert refused.returncode == 2, refused.stderr
        assert args[1] in refused.stderr
        assert "Traceback" not in refused.stderr


def test_a_tasks_file_that_raises_is_told_without_a_traceback_of_ours(
    server: Start, tmp_path: Path
) -> None:
    running = server()
    broken = tmp_path / "broken.py"
    broken.write_text("import nothing_of_this_name\n", encoding="utf-8")

    refused = running.cli("--port", "0", "--data", str(tmp_path / "other"), "--tasks", str(broken))

    assert refused.returncode == 2
    assert "nothing_of_this_name" in refused.stderr
    assert "Traceback" not in refused.stderr


def test_the_run_file_is_private_and_gone_after_the_stop(server: Start) -> None:
    running = server("--token", "s3cr3t-of-this-test")
    (file,) = running.runtime.rglob("*.json")

    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    content = json.loads(file.read_text(encoding="utf-8"))
    assert content["url"] == running.url
    assert content["pid"] == running.pid
    assert content["token"] == "s3cr3t-of-this-test"

    running.stop()
    assert not list(running.runtime.rglob("*.json"))


def test_a_token_on_loopback_is_enforced_and_never_printed_or_logged(
    server: Start, tmp_path: Path
) -> None:
    token = "s3cr3t-of-this-test"
    running = server("--token", token, "--log-level", "debug")

    # It is asked for, of every client that cannot read the run file.
    assert _get(f"{running.url}/api/tasks") == 401
    assert _get(f"{running.url}/api/tasks", token) == 200
    _get(f"{running.url}/?token={token}")
    bare = {"XDG_RUNTIME_DIR": str(tmp_path)}
    refused = running.cli("ls", "--server", running.url, env=bare)
    assert refused.returncode == 1
    assert "--token" in refused.stderr
    assert running.cli("ls", "--server", running.url, "--token", token, env=bare).returncode == 0
    assert running.cli("ls", "--server", f"{running.url}/?token={token}", env=bare).returncode == 0
    named = {**bare, "SOCKETPROGRESS_URL": running.url, "SOCKETPROGRESS_TOKEN": token}
    assert running.cli("ls", env=named).returncode == 0
    assert running.cli("ls").returncode == 0

    running.stop()
    assert token not in running.listening
    assert token not in running.stderr


def test_off_loopback_a_token_is_made_and_shown_once(server: Start) -> None:
    running = server("--host", "0.0.0.0")
    token = running.listening.partition("/?token=")[2]

    assert len(token) >= 32
    assert _get(f"{running.url}/api/tasks") == 401
    assert _get(f"{running.url}/api/tasks", token) == 200
    assert running.cli("ls").returncode == 0
    running.stop()
    assert token not in running.stderr


def test_no_token_off_loopback_is_allowed_with_a_loud_warning(server: Start) -> None:
    running = server("--host", "0.0.0.0", "--no-token")

    assert running.listening == f"Listening on http://0.0.0.0:{running.port}"
    assert _get(f"{running.url}/api/tasks") == 200
    assert "WARNING: everybody" in running.stderr


def test_a_log_record_is_one_line_without_secrets(tmp_path: Path) -> None:
    script = (
        "import logging\n"
        "from socketprogress.cli import logs\n"
        "logs.set_up('info', secret='hush')\n"
        "logging.getLogger('x').info('a\\nb %s /?token=abc&x=1', 'hush')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=30
    )

    assert done.stderr.count("\n") == 1
    assert "a\\nb … /?token=…&x=1" in done.stderr

"""Servers that are down, killed, frozen or deaf: the work goes on, and in the end all is true."""

from __future__ import annotations

import json
import re
import signal
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

Run = Callable[..., Any]

WORK = """
with Reporter("work", task_id="work", total=40, steps=["First", "Second"]) as bar:
    bar.step("First", total=20)
    for i in range(20):
        bar.advance(); bar.log(f"line {i}")
    say("half")
    wait_for_go()
    bar.step("Second", total=20)
    bar.message = "nearly"
    for i in range(20, 40):
        bar.advance(); bar.log(f"line {i}")
    bar.result = {"done": 40}
say("over")
"""


def check_work(api: Any) -> None:
    """See that the work of `WORK` is there, whole and once."""
    task = api.ended("work")
    assert (task["status"], task["progress"], task["message"]) == ("completed", 100.0, "nearly")
    assert (task["current"], task["total"], task["result"]) == (20, 20, {"done": 40})
    assert [step["status"] for step in task["steps"]] == ["completed", "completed"]
    assert api.log("work") == [f"line {i}" for i in range(40)]
    assert len(api.tasks(name="work")) == 1


@pytest.fixture
def black_hole() -> Iterator[str]:
    """The URL of somebody who listens, takes connections and never says anything."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"


@pytest.fixture
def nobody() -> str:
    """The URL of a port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return f"http://127.0.0.1:{listening.getsockname()[1]}"


def test_what_was_done_while_the_server_was_down_is_delivered_by_the_next_process(
    api_of: Run, server: Run, script: Run, spooled: Callable[[], list[Path]]
) -> None:
    running = server()
    running.kill()
    run = script(WORK, running.url)
    assert run.hear() == "half"
    run.go()
    assert run.end() == 0
    (file,) = spooled()
    assert file.stat().st_mode & 0o777 == 0o600
    running.start()

    script(
        """
        with Reporter("next") as bar:
            wait_for_go()
        """,
        running.url,
    )

    check_work(api_of(running.url))


def test_a_server_killed_midway_and_started_again_hears_the_rest(
    api_of: Run, server: Run, script: Run, spooled: Callable[[], list[Path]]
) -> None:
    running = server()
    api = api_of(running.url)
    run = script(WORK + "wait_for_go()", running.url)
    assert run.hear() == "half"
    api.wait("work", lambda task: task["current"] == 20)
    running.kill()
    run.go()
    assert run.hear() == "over"

    running.start()

    check_work(api)
    run.go()
    assert run.end() == 0
    assert run.stderr.count("\n") == 1
    assert re.search(r"\w; reports are kept and delivered later$", run.stderr.rstrip())
    assert spooled() == []


def test_a_server_that_has_lost_everything_is_told_everything_it_needs(
    api_of: Run, server: Run, script: Run
) -> None:
    running = server("--store", "memory:")
    api = api_of(running.url)
    run = script(WORK + "wait_for_go()", running.url)
    assert run.hear() == "half"
    api.wait("work", lambda task: task["current"] == 20)
    running.kill()
    running.start()

    again = api.wait("work", lambda task: task["current"] == 20)
    assert (again["steps"][0]["status"], again["total"]) == ("in_progress", 20)
    run.go()

    task = api.ended("work")
    assert (task["status"], task["current"]) == ("completed", 20)
    assert api.log("work")[-20:] == [f"line {i}" for i in range(20, 40)]


def test_a_frozen_server_hears_everything_once_it_thaws(
    api_of: Run, server: Run, script: Run
) -> None:
    running = server()
    api = api_of(running.url)
    run = script(WORK, running.url)
    assert run.hear() == "half"
    api.wait("work", lambda task: task["current"] == 20)
    running.process.send_signal(signal.SIGSTOP)
    run.go()
    assert run.end() == 0

    running.process.send_signal(signal.SIGCONT)
    script("with Reporter('next'): wait_for_go()", running.url)

    check_work(api)


def test_a_port_that_never_answers_does_no_harm(
    script: Run, black_hole: str, spooled: Callable[[], list[Path]]
) -> None:
    run = script(WORK, black_hole)
    assert run.hear() == "half"
    run.go()
    assert run.end() == 0
    assert len(spooled()) == 1


def test_nobody_there_is_said_once(script: Run, nobody: str) -> None:
    run = script(
        """
        for i in range(20):
            for _ in track(range(3)): pass
        time.sleep(0.5)
        """,
        nobody,
    )

    assert run.end() == 0
    assert run.stderr.count("\n") == 1
    assert "no server answers" in run.stderr


def test_what_is_no_server_does_no_harm(script: Run, tmp_path: Path) -> None:
    import http.server
    import threading

    class Answers(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_error(404)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answers) as web:
        threading.Thread(target=web.serve_forever, daemon=True).start()
        run = script("for _ in track([1]): pass", f"http://127.0.0.1:{web.server_port}")
        assert run.end() == 0
        web.shutdown()


def test_a_spool_file_that_is_damaged_is_set_aside_and_its_good_part_delivered(
    api_of: Run, server: Run, script: Run, spooled: Callable[[], list[Path]]
) -> None:
    running = server()
    running.kill()
    for name in ("first", "second", "third"):
        assert script(f"Reporter({name!r}).advance()", running.url).end() == 0
    first, second, third = spooled()
    first.write_bytes(b"\xff\x00 rubbish\n")
    lines = third.read_text().splitlines()
    third.write_text("\n".join([*lines, '{"open": {"task_id": "x"}, "reports": 7}', "{"]))
    running.start()

    run = script("with Reporter('next'): wait_for_go()", running.url)

    api = api_of(running.url)
    api.wait_for_names("second", "third")
    for task in api.wait_for_names("second", "third"):
        assert api.ended(task["task_id"])["status"] == "completed"
    assert len(list(second.parent.glob("*.damaged"))) == 2
    run.go()
    assert run.end() == 0
    assert spooled() == []
    assert run.stderr.count("cannot be read") == 1


def test_offline_everything_goes_to_the_spool(
    api: Any, script: Run, spooled: Callable[[], list[Path]]
) -> None:
    script("for _ in track(range(4), name='offline'): pass", api.url,
           SOCKETPROGRESS_MODE="offline").end()  # fmt: skip
    assert api.tasks(name="offline") == []
    (file,) = spooled()
    head, record = (json.loads(line) for line in file.read_text().splitlines())
    assert head["url"] == api.url
    assert record["reports"][-1]["status"] == "completed"

    run = script("with Reporter('later'): wait_for_go()", api.url)

    (task,) = api.wait_for_names("offline")
    assert api.ended(task["task_id"])["current"] == 4
    run.go()
    assert run.end() == 0
    assert spooled() == []


@pytest.mark.parametrize("env", [{}, {"SOCKETPROGRESS_MODE": "disabled"}])
def test_where_nobody_is_named_nothing_is_reported(
    script: Run, tmp_path: Path, env: dict[str, str]
) -> None:
    run = script(
        """
        for _ in track(range(3)): pass
        with Reporter("none", steps=["a"]) as bar:
            bar.step("a", total=2); bar.advance(); bar.log("x")
            say(f"{bar.url!r} {threading.active_count()} {'websocket' in sys.modules}")
        """,
        "http://127.0.0.1:1" if env else None,
        **env,
    )

    assert run.hear() == "'' 1 False"
    assert run.end() == 0
    assert run.stderr == ""
    assert not (tmp_path / "state").exists()


def test_the_run_file_of_a_server_on_this_host_is_enough(
    api_of: Run, server: Run, script: Run
) -> None:
    running = server("--token", "a-long-secret-token")

    run = script("for _ in track([1, 2], name='found'): pass", XDG_RUNTIME_DIR=str(running.runtime))

    assert run.end() == 0
    (task,) = api_of(running.url, "a-long-secret-token").tasks(name="found")
    assert task["status"] == "completed"


@pytest.mark.parametrize("way", ["password", "query", "environment", "argument"])
def test_a_token_goes_in_every_way_and_never_into_a_log(
    lasting_server: Run, secret: Any, script: Run, way: str
) -> None:
    code = "import logging; logging.basicConfig(level=0)\n"
    host = secret.url.removeprefix("http://")
    url = {
        "password": f"http://:{secret.token}@{host}",
        "query": f"{secret.url}?token={secret.token}",
    }
    env = {"SOCKETPROGRESS_TOKEN": secret.token} if way == "environment" else {}
    given = f", token={secret.token!r}" if way == "argument" else ""

    run = script(f"{code}for _ in track([1], name={way!r}{given}): pass",
                 url.get(way, secret.url), **env)  # fmt: skip

    assert run.end() == 0
    assert secret.token not in run.stderr
    (task,) = secret.tasks(name=way)
    assert task["status"] == "completed"


def test_a_wrong_token_is_said_once_and_the_work_goes_on(secret: Any, script: Run) -> None:
    run = script("for _ in track([1], name='x'): pass\nsay('done')\ntime.sleep(0.3)", secret.url,
                 SOCKETPROGRESS_TOKEN="wrong-and-long-enough")  # fmt: skip

    assert run.hear() == "done"
    assert run.end() == 0
    assert run.stderr.count("\n") == 1
    assert "wrong-and-long" not in run.stderr


def test_what_a_token_may_not_report_is_kept_for_one_that_may(
    server: Run, api_of: Run, script: Run, spooled: Run
) -> None:
    # Given a viewer's token
    token = "a-long-secret-token"
    running = server("--token", token)
    made = running.cli("token", "new", "--role", "viewer")
    viewer = made.stdout.strip()
    deliver = """
        from socketprogress.client.delivery import deliver_spool
        from socketprogress.core.errors import Unauthorized
        try: say(f"{deliver_spool()} delivered")
        except Unauthorized as exc: say(exc)
        """

    # When something reports with it
    run = script(
        "Reporter('n', task_id='kept').advance()", running.url, SOCKETPROGRESS_TOKEN=viewer
    )

    # Then it is told once, and all is kept, whoever tries it with that token again
    assert run.end() == 0
    assert run.stderr == (
        "the server refuses a report of task kept: this needs the role reporter; its reports are kept\n"
    )
    assert len(spooled()) == 1
    again = script(deliver, running.url, SOCKETPROGRESS_TOKEN=viewer)
    assert again.hear() == "this needs the role reporter"
    assert again.end() == 0
    assert len(spooled()) == 1

    # And one that may report delivers it
    assert script(deliver, running.url, SOCKETPROGRESS_TOKEN=token).hear() == "1 delivered"
    task = api_of(running.url, token).ended("kept")
    assert (task["status"], task["current"]) == ("completed", 1)
    assert spooled() == []


@pytest.fixture(scope="module")
def secret(api_of: Run, lasting_server: Run) -> Any:
    """A server that asks for a token."""
    token = "a-long-secret-token"
    return api_of(lasting_server("--token", token).url, token)

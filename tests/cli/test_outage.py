"""Watching goes on when the connection or the server does not."""

from __future__ import annotations

import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from socketprogress.client.connect import Connection, Unreachable, error_from
from socketprogress.client.runfile import ServerAddress
from socketprogress.core import errors

Start = Callable[..., Any]


class Watch:
    """`socketprogress watch` as a process, its stderr line by line."""

    def __init__(self, running: Any, task_id: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "socketprogress", "watch", task_id, "--server", running.url],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            env=running.env,
        )
        self.seen: list[str] = []
        self._lines: queue.Queue[str] = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()

    def until(self, words: str) -> None:
        """Wait for a line that has these words."""
        while not any(words in line for line in self.seen):
            self.seen.append(self._lines.get(timeout=30))

    def _read(self) -> None:
        assert self.process.stderr is not None
        with self.process.stderr as stream:
            for line in stream:
                self._lines.put(line)


@contextmanager
def watching(running: Any, task_id: str) -> Iterator[Watch]:
    """Run `watch` for the time of a block."""
    watch = Watch(running, task_id)
    try:
        yield watch
    finally:
        watch.process.kill()
        watch.process.wait(timeout=10)


@pytest.fixture
def gated(server: Start, gated_tasks: str, tmp_path: Path) -> Callable[[str], Any]:
    """A function that starts a server in a mode, with a task that waits at half."""

    def start(mode: str) -> Any:
        running = server("--tasks", gated_tasks, mode=mode, root=tmp_path)
        gate = tmp_path / "gate"
        done = running.cli("start", "gated", f"gate={gate}", "--task-id", "half")
        assert done.returncode == 0, done.stderr
        return running

    return start


def test_a_watch_follows_a_killed_server_into_its_next_life(
    gated: Callable[[str], Any], any_mode: str
) -> None:
    running = gated(any_mode)
    with watching(running, "half") as watch:
        watch.until("50.0 %")

        running.kill()
        watch.until("disconnected, reconnecting")
        running.start()

        # The worker died with its server: the new one says so, and the watch ends with that.
        watch.until("failed")
        assert watch.process.wait(timeout=30) == 1
        assert any("connected again" in line for line in watch.seen)
        assert any("worker_lost" in line for line in watch.seen)


def test_ctrl_c_ends_a_watch_with_130_and_leaves_the_task(gated: Callable[[str], Any]) -> None:
    running = gated("eventlet")
    with watching(running, "half") as watch:
        watch.until("50.0 %")
        watch.process.send_signal(signal.SIGINT)
        assert watch.process.wait(timeout=30) == 130
    assert '"in_progress"' in running.cli("ls", "--json").stdout


def test_states_come_in_order_and_end_with_the_last(
    gated: Callable[[str], Any], any_mode: str, tmp_path: Path
) -> None:
    running = gated(any_mode)
    states = []
    with Connection(ServerAddress(running.url)) as connection:
        for state in connection.watch("half"):
            states.append(state)
            if state["progress"] == 50:
                (tmp_path / "gate").touch()

    seqs = [state["seq"] for state in states]
    assert seqs == sorted(set(seqs))
    assert len({state["epoch"] for state in states}) == 1
    assert states[-1]["status"] == "completed"
    assert states[-1]["result"] == {"label": "work"}
    assert states[-1]["name"] == "gated"


def test_a_frozen_server_is_waited_for(gated: Callable[[str], Any], tmp_path: Path) -> None:
    # Given a connection that gets no answer for a while
    running = gated("eventlet")
    outages: list[errors.WireError | None] = []
    with Connection(ServerAddress(running.url), timeout_s=0.5) as connection:
        states = connection.watch("half", on_outage=outages.append)
        assert next(states)["task_id"] == "half"
        running.process.send_signal(signal.SIGSTOP)
        with pytest.raises(Unreachable, match=r"no answer|was lost|is lost"):
            connection.call("list_tasks")

        # When the server goes on
        running.process.send_signal(signal.SIGCONT)
        (tmp_path / "gate").touch()

        # Then so does the watch
        assert [state["status"] for state in states][-1] == "completed"


def test_patience_ends(gated: Callable[[str], Any]) -> None:
    running = gated("eventlet")
    with Connection(ServerAddress(running.url)) as connection:
        states = connection.watch("half", patience_s=0.0)
        next(states)
        running.kill()
        with pytest.raises(Unreachable, match="no server answers"):
            list(states)


def test_a_watch_can_be_bounded_in_time(gated: Callable[[str], Any]) -> None:
    running = gated("eventlet")
    with Connection(ServerAddress(running.url)) as connection:
        states = list(connection.watch("half", timeout_s=0.5))

    assert states[-1]["status"] in {"queued", "in_progress"}


def test_a_watch_of_a_silent_reporter_ends_with_4(server: Start) -> None:
    # Given a task whose reporter says nothing after its first word
    running = server()
    with Connection(ServerAddress(running.url)) as reporter:
        opened = reporter.call("open_task", {"name": "far away", "lease_s": 1})
        # When its lease runs out
        done = running.cli("watch", opened["task_id"])

    # Then the watch says that it is lost
    assert done.returncode == 4
    assert done.stderr.splitlines()[-1].startswith("lost  far away")


def test_a_call_raises_the_error_of_its_code(gated: Callable[[str], Any]) -> None:
    running = gated("eventlet")
    with Connection(ServerAddress(running.url)) as connection:
        with pytest.raises(errors.UnknownTask):
            connection.call("watch_task", "nothing")
        with pytest.raises(errors.InvalidPayload) as caught:
            connection.call("watch_task", {"task_id": "a/b"})
        assert caught.value.field == "task_id"
        with pytest.raises(errors.UnknownEvent):
            connection.call("no_such_event")


@pytest.mark.parametrize(
    "kind",
    [kind for kind in errors.WireError.__subclasses__() if kind.__module__ == errors.__name__],
)
def test_every_code_has_its_exception(kind: type[errors.WireError]) -> None:
    ack = {
        "ok": False,
        "error": {"code": kind.code, "message": "m", "field": "f"},
        "running": ["a"],
    }

    error = error_from(ack)

    assert isinstance(error, kind)
    assert (error.message, error.field) == ("m", "f")


def test_an_ack_that_makes_no_sense_is_unavailable() -> None:
    assert isinstance(error_from({"ok": False}), errors.Unavailable)
    assert isinstance(error_from({"error": {"code": "of_the_future"}}), errors.Unavailable)

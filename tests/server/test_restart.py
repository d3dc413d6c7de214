"""Servers that are stopped and killed: what is told, what is kept, how clients go on."""

from __future__ import annotations

import random
import signal
import sqlite3
import time
import urllib.request
from collections.abc import Callable
from contextlib import closing
from typing import Any

import psutil
import pytest
from swarm import Swarm
from watchers import JOBS, TERMINAL, WAIT_S, Client, View, get_json

Start = Callable[..., Any]

modes = pytest.mark.parametrize("mode", ["eventlet", "threading"])


def children(running: Any) -> list[psutil.Process]:
    return psutil.Process(running.pid).children(recursive=True)


def check_database(running: Any) -> None:
    (path,) = running.data.glob("*.sqlite*[!mlk]") or running.data.glob("*.db")
    with closing(sqlite3.connect(path)) as database:
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def snapshot(running: Any, task_id: str) -> Any:
    return get_json(f"{running.url}/api/tasks/{task_id}")


def end_of(client: Client, task_id: str) -> Any:
    """Return a task's end, which is shown a moment after the start: once it is stored."""
    task = client.ok("watch_task", task_id)["task"]
    return task if task["status"] in TERMINAL else client.ended(task_id)


@modes
def test_after_a_kill_everything_is_there_and_the_dead_work_is_failed(
    server: Start, mode: str
) -> None:
    # Given a server with ended tasks, one that runs, one that waits and one of a reporter
    running = server("--tasks", JOBS, "--workers", "1", mode=mode)
    swarm = Swarm(running.url, 1)
    (watcher,) = swarm.watchers
    with Client(running.url, transports=["websocket"]) as client:
        made = client.run("stepped")
        failed = client.run("raise_late")
        held = client.ok("start_task", "hold")["task_id"]
        client.wait_status(held, "in_progress")
        queued = client.ok("start_task", "hold")["task_id"]
        opened = client.ok("open_task", {"name": "backup", "total": 10})["task_id"]
        client.ok("report", {"task_id": opened, "current": 4, "reporter_seq": 1})
        client.run("instant_thread")  # whose end is stored with all that came before it
        before = {i: snapshot(running, i) for i in (made["task_id"], failed["task_id"], held)}
        log = client.ok("get_log", made["task_id"])["lines"]
        views = {i: View(i) for i in (made["task_id"], held, queued, opened)}
        for task_id, view in views.items():
            view.snapshot(swarm.call(watcher, "watch_task", task_id)["task"])
        workers = children(running)
        assert workers

        # When it is killed and started again
        running.kill()
        client.wait(lambda: client.disconnected)
    assert not psutil.wait_procs(workers, timeout=WAIT_S)[1]
    running.start()

    # Then what had ended is as it was: states, files and logs, under a new epoch
    for task_id in (made["task_id"], failed["task_id"]):
        was, now = before[task_id], snapshot(running, task_id)
        assert now["epoch"] != was["epoch"]
        assert {**now, "epoch": was["epoch"]} == was
    url = running.url + made["files"][0]["url"]
    with urllib.request.urlopen(url, timeout=WAIT_S) as answer:  # noqa: S310 - this test's own
        assert answer.read() == b"made"

    # And what this server ran is failed, while the reporter's work goes on under its id
    for task_id in (held, queued):
        lost = snapshot(running, task_id)
        assert (lost["status"], lost["error"]["code"]) == ("failed", "worker_lost")
    with Client(running.url, transports=["websocket"]) as client:
        assert client.ok("get_log", made["task_id"])["lines"] == log
        assert snapshot(running, opened)["status"] == "in_progress"
        client.ok("report", {"task_id": opened, "current": 6, "reporter_seq": 2})
        client.ok("report", {"task_id": opened, "current": 4, "reporter_seq": 1})
        assert snapshot(running, opened)["current"] == 6
        client.ok("report", {"task_id": opened, "status": "completed", "reporter_seq": 3})
        second = client.ok("retry_task", held)["task_id"]
        client.ok("cancel_task", second)

    # And a client that follows the rules converges
    swarm.close()
    swarm = Swarm(running.url, 1)
    for task_id, view in views.items():
        position = {"task_id": task_id, **view.position}
        view.snapshot(swarm.call(swarm.watchers[0], "watch_task", position)["task"])
        assert view.ended
        assert view.state == snapshot(running, task_id)
    swarm.close()
    assert running.stop() == 0
    check_database(running)
    assert "Traceback" not in running.stderr


@modes
def test_no_end_that_was_shown_is_lost_in_a_kill(server: Start, mode: str) -> None:
    chance = random.Random(11)  # noqa: S311 - the same chances every time
    running = server("--tasks", JOBS, "--workers", "2", mode=mode)
    shown: dict[str, Any] = {}
    for _ in range(5):
        # Given tasks that end in quick succession, and reports of ends
        swarm = Swarm(running.url, 1)
        (watcher,) = swarm.watchers
        for number in range(12):
            task = "instant_thread" if number % 3 else "raise_thread"
            swarm.ask(watcher, "start_task", {"task": task})
        opened = swarm.call(watcher, "open_task", "backup")["task_id"]
        ack = swarm.ask(watcher, "report", {"task_id": opened, "status": "completed", "result": 7})
        wanted = chance.randrange(1, 12)

        def ends(watcher: Any = watcher) -> list[Any]:
            updates = (p for _, name, p in watcher.events if name == "progress_update")
            return [u for u in updates if u["status"] in TERMINAL]

        # When the server is killed as soon as some of these ends are seen
        assert swarm.run(lambda n=wanted, ends=ends: len(ends()) >= n, WAIT_S)
        time.sleep(chance.choice([0.0, 0.002, 0.02]))
        running.kill()
        swarm.run(lambda w=watcher: w.closed, WAIT_S)
        shown.update({end["task_id"]: end for end in ends()})
        acked = ack in watcher.acks
        swarm.close()
        running.start()

        # Then each of them, of this round and of those before, is what it was
        for task_id, end in shown.items():
            now = snapshot(running, task_id)
            assert {k: now[k] for k in end if k != "epoch"} == {
                k: v for k, v in end.items() if k != "epoch"
            }
        if acked:
            assert snapshot(running, opened)["result"] == 7
    assert running.stop() == 0
    check_database(running)
    assert "Traceback" not in running.stderr


@modes
@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)], ids=["term", "int"]
)
def test_a_stop_is_told_to_watchers_and_kept(
    server: Start, mode: str, number: int, code: int
) -> None:
    # Given tasks that run, in a process and in a thread, and one that waits
    running = server("--tasks", JOBS, "--workers", "1", mode=mode)
    swarm = Swarm(running.url, 3)
    starter, *others = swarm.watchers
    ids = [
        swarm.call(starter, "start_task", name)["task_id"]
        for name in ("hold", "hold_thread", "hold")
    ]
    for other in others:
        for task_id in ids:
            swarm.call(other, "watch_task", task_id)
        swarm.call(other, "watch_tasks")
    assert swarm.run(
        lambda: {snapshot(running, task_id)["status"] for task_id in ids[:2]} == {"in_progress"},
        WAIT_S,
    )
    workers = children(running)

    # When the server is stopped
    running.process.send_signal(number)
    assert swarm.run(lambda: all(w.closed for w in swarm.watchers), WAIT_S)
    assert running.wait() == code
    assert "by force" not in running.stderr

    # Then every watcher has been told how each task ended before its connection went
    for watcher in swarm.watchers:
        ends = {
            p["task_id"]: (p["status"], (p["error"] or {}).get("code"))
            for _, name, p in watcher.events
            if name == "progress_update" and p["status"] in TERMINAL
        }
        assert ends == dict.fromkeys(ids, ("cancelled", "shutdown"))
    swarm.close()

    # And it is kept, and nothing of the work is left
    assert not psutil.wait_procs(workers, timeout=WAIT_S)[1]
    running.start()
    for task_id in ids:
        ended = snapshot(running, task_id)
        assert (ended["status"], ended["error"]["code"]) == ("cancelled", "shutdown")
    assert snapshot(running, ids[2])["started_at"] is None
    assert running.stop() == 0
    assert "Traceback" not in running.stderr


@pytest.mark.parametrize("transport", ["websocket", "polling"])
def test_a_real_client_goes_on_after_a_restart(server: Start, transport: str) -> None:
    running = server("--tasks", JOBS, mode="eventlet")
    view = View()
    with Client(running.url, transports=[transport]) as client:
        task_id = client.ok("start_task", "hold_thread")["task_id"]
        client.wait_status(task_id, "in_progress")
        view.snapshot(client.ok("watch_task", task_id)["task"])
        client.run("instant_thread")  # whose end is stored with all that came before it
        running.kill()
        client.wait(lambda: client.disconnected)
    running.start()
    with Client(running.url, transports=[transport]) as client:
        view.snapshot(client.ok("watch_task", {"task_id": task_id, **view.position})["task"])
        end = end_of(client, task_id)
        view.snapshot(end)
        assert view.ends == 1
        assert end["error"]["code"] == "worker_lost"
        assert client.ok("list_tasks")["counts"]["failed"] == 1

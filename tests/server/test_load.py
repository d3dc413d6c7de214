"""Hostile work beside many watchers: the server answers, nobody is dropped, each end is right."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from swarm import Swarm
from watchers import JOBS, TERMINAL, WAIT_S, Client, get_json, health_watched

Start = Callable[..., Any]

WATCHERS = 60
HOSTILE: dict[str, tuple[dict[str, Any], str, str | None, str | None]] = {
    # task: arguments, status, error code, what its log says
    "burn": ({"seconds": 2}, "completed", None, None),
    "burn_thread": ({"seconds": 2}, "completed", None, None),
    "digest": ({"seconds": 1}, "completed", None, None),
    "wait": ({}, "completed", None, None),
    "raise_late": ({}, "failed", "exception", "ValueError: no good"),
    "raise_thread": ({}, "failed", "exception", "ValueError: no good"),
    "leave": ({}, "failed", "exception", "SystemExit: 0"),
    "vanish": ({}, "failed", "worker_lost", None),
    "recurse": ({}, "failed", "exception", "RecursionError"),
    "huge": ({}, "completed", None, "left out"),
    "odd": ({}, "completed", None, "left out"),
    "flood": ({}, "completed", None, "line 199999 of"),
    "flood_thread": ({}, "completed", None, "line 199999 of"),
    "storm": ({"seconds": 2}, "completed", None, None),
    "storm_apart": ({"seconds": 2}, "completed", None, None),
}


@pytest.fixture(scope="module", params=["eventlet", "threading"])
def live(request: pytest.FixtureRequest, lasting_server: Start) -> Iterator[Any]:
    running = lasting_server("--tasks", JOBS, "--workers", "4", mode=request.param)
    yield running
    assert get_json(f"{running.url}/healthz")["status"] == "ok"
    assert running.stop() == 0
    assert "Traceback" not in running.stderr
    assert "by force" not in running.stderr


def test_hostile_tasks_end_as_they_should_and_disturb_nobody(live: Any) -> None:
    swarm = Swarm(live.url, WATCHERS)
    starter = swarm.watchers[0]
    with health_watched(live.url):
        # Given many watchers of a calm task
        calm = swarm.call(starter, "start_task", {"task": "count", "args": {"total": 200}})
        for watcher in swarm.watchers[1:]:
            swarm.ask(watcher, "watch_task", calm["task_id"])
            swarm.ask(watcher, "watch_tasks")

        # When all kinds of hostile work run at once
        ids = {
            name: swarm.call(starter, "start_task", {"task": name, "args": args})["task_id"]
            for name, (args, *_) in HOSTILE.items()
        }
        wanted = {calm["task_id"], *ids.values()}

        def ended(watcher: Any) -> set[str]:
            updates = [p for _, name, p in watcher.events if name == "progress_update"]
            return {u["task_id"] for u in updates if u["status"] in TERMINAL}

        assert swarm.run(lambda: ended(starter) == wanted, 2 * WAIT_S)
        assert swarm.run(
            lambda: all(ended(w) == {calm["task_id"]} for w in swarm.watchers[1:]), WAIT_S
        )

    # Then no watcher was dropped, and every task ended in its own right way
    assert not any(watcher.closed for watcher in swarm.watchers)
    for name, (_, status, code, said) in HOSTILE.items():
        task = swarm.call(starter, "watch_task", ids[name])["task"]
        lines = swarm.call(starter, "get_log", {"task_id": ids[name], "offset": -50})["lines"]
        assert (task["status"], (task["error"] or {}).get("code")) == (status, code), name
        assert said is None or any(said in line for line in lines), (name, lines[-3:])
        assert "Traceback" not in str(task["error"]), name
        if code == "exception":
            log = swarm.call(starter, "get_log", ids[name])["lines"]
            assert any(line.startswith("Traceback") for line in log), name
    assert swarm.call(starter, "watch_task", calm["task_id"])["task"]["progress"] == 100
    swarm.close()


@pytest.mark.parametrize("task", ["burn", "burn_thread", "flood", "storm", "storm_apart"])
def test_hostile_tasks_are_cancelled_all_the_same(live: Any, task: str) -> None:
    args = {} if task == "flood" else {"seconds": 60}
    with Client(live.url, transports=["websocket"]) as client, health_watched(live.url):
        task_id = client.ok("start_task", {"task": task, "args": args})["task_id"]
        client.wait_status(task_id, "in_progress")
        client.call("cancel_task", task_id)
        assert client.ended(task_id)["status"] in (
            {"cancelled", "completed"} if task == "flood" else {"cancelled"}
        )


def test_many_tasks_at_once_are_queued_and_all_end(live: Any) -> None:
    swarm = Swarm(live.url, 2)
    starter, lister = swarm.watchers
    swarm.call(lister, "watch_tasks")
    with health_watched(live.url):
        numbers = [swarm.ask(starter, "start_task", {"task": "instant"}) for _ in range(150)]
        assert swarm.run(lambda: all(n in starter.acks for n in numbers), WAIT_S)
        ids = {starter.acks[number]["task_id"] for number in numbers}
        assert swarm.run(lambda: ids <= completed(starter), WAIT_S)

        def all_listed() -> bool:
            rows = [t for _, name, u in lister.events if name == "tasks_update" for t in u["tasks"]]
            return ids <= {row["task_id"] for row in rows if row["status"] == "completed"}

        assert swarm.run(all_listed, WAIT_S)
    swarm.close()


def completed(watcher: Any) -> set[str]:
    updates = [p for _, name, p in watcher.events if name == "progress_update"]
    return {u["task_id"] for u in updates if u["status"] == "completed"}

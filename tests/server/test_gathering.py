"""Tasks that count their parts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from watchers import Client, get_json


def part(client: Client, group: str, name: str, status: str | None = "completed") -> None:
    client.ok("open_task", {"name": "part", "task_id": name, "parent_id": group})
    if status is not None:
        client.ok("report", {"task_id": name, "status": status})


def shown(running: Any, task_id: str) -> dict[str, Any]:
    answer = get_json(f"{running.url}/api/tasks/{task_id}")
    return dict(answer.get("task", answer))


def test_the_last_part_completes_it_and_no_part_counts_twice(server: Callable[..., Any]) -> None:
    running = server("--workers", "1")
    with Client(running.url, transports=["websocket"]) as client:
        # A part may end before anybody has said what it is a part of.
        part(client, "group", "early")
        client.ok(
            "open_task",
            {"name": "group", "task_id": "group", "total": 4, "gathers": True, "queued": True},
        )
        client.ok("watch_task", "group")
        part(client, "group", "second", "failed")
        part(client, "group", "third", None)
        client.wait(lambda: shown(running, "group")["current"] == 2)

    running.restart()

    with Client(running.url, transports=["websocket"]) as client:
        client.ok("watch_task", "group")
        client.ok("report", {"task_id": "third", "status": "completed"})
        part(client, "group", "fourth", "cancelled")
        client.wait(lambda: shown(running, "group")["status"] == "completed")
    task = shown(running, "group")
    assert (task["current"], task["progress"]) == (4, 100)
    assert task["result"] == {"cancelled": 1, "completed": 2, "failed": 1}
    assert task["message"] == "1 failed, 1 cancelled"


def test_what_gathers_needs_its_total(server: Callable[..., Any]) -> None:
    running = server("--workers", "1")
    with Client(running.url, transports=["websocket"]) as client:
        error = client.refused("open_task", {"name": "group", "gathers": True})
    assert (error["code"], error["field"]) == ("invalid_payload", "total")


def test_several_servers_count_together_and_one_of_them_speaks(
    server: Callable[..., Any], redis_server: Callable[..., Any]
) -> None:
    # Given a group that was opened at one of two servers, and watched at both
    redis = redis_server()
    here, there = (server("--store", redis.url, "--workers", "1") for _ in "12")
    parts = [f"part-{number}" for number in range(30)]
    with Client(here.url) as first, Client(there.url) as second:
        opening = {"name": "group", "task_id": "group", "total": len(parts), "gathers": True}
        first.ok("open_task", {**opening, "queued": True})
        for client in (first, second):
            client.ok("watch_task", "group")

        # When its parts end at either of them
        for number, name in enumerate(parts):
            part((first, second)[number % 2], "group", name)

        # Then both come to the same end
        for client in (first, second):
            client.wait(lambda client=client: ended(client) is not None)
        assert ended(first) == ended(second)
        assert ended(first)["result"] == {"completed": len(parts)}

        # And it has changed hands once at most
        for client in (first, second):
            told = [payload for name, payload in client.got if name == "progress_update"]
            assert len({update["epoch"] for update in told}) <= 2


def ended(client: Client) -> Any:
    """Return the group's last state, if it has been told."""
    told = [p for name, p in client.got if name == "progress_update" and p["task_id"] == "group"]
    return next((state for state in told if state["status"] == "completed"), None)

"""Bars that a task's body opens itself."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from watchers import Client

JOBS = Path(__file__).with_name("nested_jobs.py")


def test_a_bar_inside_of_a_task_is_that_tasks_child_on_the_same_server(
    server: Callable[..., Any],
) -> None:
    # Given a server that needs a token, and a task whose body tracks a loop
    running = server("--tasks", str(JOBS), "--token", "s3cret")
    with Client(running.url, auth={"token": "s3cret"}) as client:
        client.ok("watch_tasks", {"search": "inner"})
        # When it runs to its end
        task_id = client.run("outer")["task_id"]

        # Then both loops inside are tasks below it, with their true counts
        def inner() -> list[tuple[str, int, str]]:
            rows = client.ok("list_tasks", {"search": "inner", "status": "completed"})["tasks"]
            return [(row["parent_id"], row["current"], row["source"]) for row in rows]

        client.wait(
            lambda: any(
                update["counts"]["completed"] == 3 for update in client.events("tasks_update")
            ),
            "the ends of both inner bars",
        )
        assert inner() == [(task_id, 5, "report")] * 2

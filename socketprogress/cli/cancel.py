"""`socketprogress cancel`: asks for a task's end."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from socketprogress.cli.remote import connected, server_options
from socketprogress.core.errors import Unavailable
from socketprogress.core.steps import TERMINAL

if TYPE_CHECKING:
    from socketprogress.client.connect import Connection

__all__ = ["command"]

WAIT_S = 10.0


@click.command(name="cancel")
@click.argument("task_id")
@click.option("--wait", is_flag=True, help=f"Wait for the end, {WAIT_S:g} seconds at most.")
@server_options
def command(*, task_id: str, wait: bool, server: str | None, token: str | None) -> None:
    """Ask a task to stop, and print its status."""
    with connected(server, token) as connection:
        state = connection.call("cancel_task", task_id)["task"]
        if wait and state["status"] not in TERMINAL:
            state = _wait(connection, task_id)
    click.echo(state["status"])


def _wait(connection: Connection, task_id: str) -> dict[str, Any]:
    for state in connection.watch(task_id, patience_s=WAIT_S, timeout_s=WAIT_S):
        if state["status"] in TERMINAL:
            return state
    raise Unavailable(f"task {task_id} was asked to stop and has not within {WAIT_S:g} seconds")

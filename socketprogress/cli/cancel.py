"""`socketprogress cancel`: asks for a task's end."""

from __future__ import annotations

import click

from socketprogress.cli.remote import connected, server_options
from socketprogress.core.errors import Unavailable

__all__ = ["command"]

WAIT_S = 10.0


@click.command(name="cancel")
@click.argument("task_id")
@click.option("--wait", is_flag=True, help=f"Wait for the end, {WAIT_S:g} seconds at most.")
@server_options
def command(*, task_id: str, wait: bool, server: str | None, token: str | None) -> None:
    """Ask a task to stop, and print its status."""
    with connected(server, token) as client:
        task = client.task(task_id)
        state = task.cancel()
        if wait and not state.ended:
            for newest in task.watch(timeout=WAIT_S, patience_s=WAIT_S):
                state = newest
            if not state.ended:
                raise Unavailable(
                    f"task {task_id} was asked to stop and has not within {WAIT_S:g} seconds"
                )
    click.echo(state.status)

"""`socketprogress cancel`: asks for a task's end."""

from __future__ import annotations

import click

from socketprogress.cli.remote import connected, server_options
from socketprogress.core.errors import Unavailable

__all__ = ["command"]

WAIT_S = 30.0
"""What is ended by force is given some seconds before: Celery's tasks ten, if their host says nothing else."""


@click.command(name="cancel")
@click.argument("task_id")
@click.option("--wait", is_flag=True, help="Wait for the end.")
@click.option(
    "--timeout",
    type=click.FloatRange(min=0, min_open=True),
    metavar="SECONDS",
    help=f"Wait so long at most; without it, {WAIT_S:g} seconds.",
)
@server_options
def command(
    *, task_id: str, wait: bool, timeout: float | None, server: str | None, token: str | None
) -> None:
    """Ask a task to stop, and print its status."""
    timeout_s = WAIT_S if timeout is None else timeout
    with connected(server, token) as client:
        task = client.task(task_id)
        state = task.cancel()
        if (wait or timeout is not None) and not state.ended:
            for newest in task.watch(timeout=timeout_s, patience_s=timeout_s):
                state = newest
            if not state.ended:
                raise Unavailable(
                    f"task {task_id} was asked to stop and has not within {timeout_s:g} seconds"
                )
    click.echo(state.status)

"""`socketprogress watch`: a task's live bar in this terminal."""

from __future__ import annotations

import json

import click

from socketprogress.cli.follow import EXIT_CODES, follow
from socketprogress.cli.remote import connected, server_options

__all__ = ["command"]


@click.command(name="watch")
@click.argument("task_id")
@click.option("--result", "with_result", is_flag=True, help="Print the result as JSON on stdout.")
@server_options
@click.pass_context
def command(
    ctx: click.Context,
    /,
    *,
    task_id: str,
    with_result: bool,
    server: str | None,
    token: str | None,
) -> None:
    """Watch a task until it ends.

    A lost connection or a restarted server is waited for, up to five minutes. The exit code says how
    the task ended: 0 completed, 1 failed, 3 cancelled, 4 lost (as soon as its worker counts as
    silent, even though it may return).
    """
    with connected(server, token) as client:
        state = follow(client.task(task_id))
    if with_result and state["status"] == "completed":
        click.echo(json.dumps(state.get("result")))
    ctx.exit(EXIT_CODES[state["status"]])

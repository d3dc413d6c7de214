"""`socketprogress start`: starts a task."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from socketprogress.cli.follow import EXIT_CODES, follow
from socketprogress.cli.remote import connected, server_options
from socketprogress.cli.values import arguments
from socketprogress.core.errors import InvalidArguments, InvalidPayload, UnknownDefinition

if TYPE_CHECKING:
    from socketprogress.client.watcher import Client

__all__ = ["command"]


@click.command(name="start")
@click.argument("name", required=False)
@click.argument("pairs", nargs=-1, metavar="[KEY=VALUE]...")
@click.option("--title", metavar="TEXT", help="What people read; default: the definition's.")
@click.option("--task-id", metavar="ID", help="Its id; the same id again is the same task.")
@click.option("--watch", "then_watch", is_flag=True, help="Watch it until it ends.")
@server_options
@click.pass_context
def command(
    ctx: click.Context,
    /,
    *,
    name: str | None,
    pairs: Sequence[str],
    title: str | None,
    task_id: str | None,
    then_watch: bool,
    server: str | None,
    token: str | None,
) -> None:
    """Start a task by its definition's NAME; without one, the default task.

    Values are read as the definition declares them: numbers, true or false, null, lists and objects
    as JSON, and everything else as text. The id of the task goes to stdout.
    """
    if name is not None and "=" in name:
        raise click.UsageError(f"give the name of the task before its arguments ({name})")
    with connected(server, token) as client:
        try:
            args = arguments(pairs, _schema(client, name)) if name is not None else None
            task = client.start(name, title=title, task_id=task_id, args=args)
        except (InvalidArguments, InvalidPayload) as exc:
            raise click.UsageError(str(exc)) from None
        click.echo(task.task_id)
        click.echo(f"watch it at {task.url}", err=True)
        if then_watch:
            ctx.exit(EXIT_CODES[follow(task)["status"]])


def _schema(client: Client, name: str) -> dict[str, Any]:
    definitions = client.definitions()
    for definition in definitions:
        if definition["name"] == name:
            schema: dict[str, Any] = definition["schema"]
            return schema
    known = ", ".join(sorted(definition["name"] for definition in definitions)) or "none"
    raise UnknownDefinition(f"no task is called {name!r}; there are: {known}")

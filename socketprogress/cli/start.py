"""`socketprogress start`: starts a task."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from socketprogress.cli.follow import EXIT_CODES, follow
from socketprogress.cli.remote import connected, page_of, server_options
from socketprogress.cli.values import arguments
from socketprogress.core.errors import InvalidArguments, InvalidPayload, UnknownDefinition

if TYPE_CHECKING:
    from socketprogress.client.connect import Connection

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
    with connected(server, token) as connection:
        try:
            started = _start(connection, name, pairs, title=title, task_id=task_id)
        except (InvalidArguments, InvalidPayload) as exc:
            raise click.UsageError(str(exc)) from None
        click.echo(started)
        click.echo(f"watch it at {page_of(connection, started)}", err=True)
        if then_watch:
            ctx.exit(EXIT_CODES[follow(connection, started)["status"]])


def _start(
    connection: Connection,
    name: str | None,
    pairs: Sequence[str],
    *,
    title: str | None,
    task_id: str | None,
) -> str:
    request: dict[str, Any] = {}
    if name is not None:
        request["task"] = name
        request["args"] = arguments(pairs, _schema(connection, name))
    if title:
        request["title"] = title
    if task_id:
        request["task_id"] = task_id
    return str(connection.call("start_task", request or None)["task_id"])


def _schema(connection: Connection, name: str) -> dict[str, Any]:
    definitions = connection.call("list_definitions")["definitions"]
    for definition in definitions:
        if definition["name"] == name:
            schema: dict[str, Any] = definition["schema"]
            return schema
    known = ", ".join(sorted(definition["name"] for definition in definitions)) or "none"
    raise UnknownDefinition(f"no task is called {name!r}; there are: {known}")

"""`socketprogress ls`: the server's tasks as a table, or as JSON lines."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Any

import click

from socketprogress.cli.remote import connected, server_options
from socketprogress.cli.terminal import (
    columns_of,
    duration,
    fit,
    is_live,
    paint,
    percent,
    plain,
    width,
)
from socketprogress.core.protocol import STATUSES

__all__ = ["command"]

HEADINGS = ("TASK", "STATUS", "DONE", "TIME", "TITLE")
NARROWEST_TITLE = 12


@click.command(name="ls")
@click.option("--status", type=click.Choice(STATUSES), help="Only tasks with this status.")
@click.option("--search", metavar="TEXT", help="Only tasks with this in their name or title.")
@click.option(
    "--limit", type=click.IntRange(min=1), default=200, show_default=True, help="At most so many."
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
@server_options
def command(
    *,
    status: str | None,
    search: str | None,
    limit: int,
    as_json: bool,
    server: str | None,
    token: str | None,
) -> None:
    """List the tasks: those that are active first, then the newest."""
    with connected(server, token) as client:
        tasks = list(islice(client.list(status=status, search=search), limit + 1))
    shown = tasks[:limit]
    if as_json:
        for task in shown:
            click.echo(json.dumps(dict(task)))
    else:
        _print_table(shown)
    if len(tasks) > limit:
        click.echo(f"there are more than {limit} tasks: raise --limit to see them", err=True)
    elif not tasks:
        click.echo("no tasks" + (" like that" if status or search else " yet"), err=True)


def _print_table(tasks: Sequence[Mapping[str, Any]]) -> None:
    rows = [HEADINGS, *(_row(task) for task in tasks)] if tasks else []
    widths = [max(width(row[i]) for row in rows) for i in range(len(HEADINGS))] if rows else []
    # A file or a pipe gets every title whole; only a terminal has an edge.
    room = columns_of(sys.stdout) - sum(widths[:-1]) - 2 * (len(HEADINGS) - 1)
    for number, row in enumerate(rows):
        cells = [cell + " " * (widths[i] - width(cell)) for i, cell in enumerate(row[:-1])]
        if number:
            cells[1] = paint(cells[1], tasks[number - 1]["status"])
        title = fit(row[-1], max(NARROWEST_TITLE, room)) if is_live(sys.stdout) else row[-1]
        click.echo("  ".join([*cells, title]).rstrip())


def _row(task: Mapping[str, Any]) -> tuple[str, ...]:
    return (
        plain(task["task_id"]),
        task["status"].replace("_", " "),
        percent(task["progress"]),
        duration(task["elapsed_s"]),
        plain(task["title"] or task["name"]),
    )

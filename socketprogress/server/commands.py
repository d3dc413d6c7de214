"""`flask socketprogress …`: an application's tasks from its own command line."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import click
from flask import Blueprint

from socketprogress.core.errors import SocketProgressError
from socketprogress.core.protocol import snapshot, summary
from socketprogress.core.registry import Definition
from socketprogress.core.state import TaskState
from socketprogress.server.forms import arguments
from socketprogress.stores import stored_tasks

if TYPE_CHECKING:
    from socketprogress.server.installation import Installation

__all__ = ["add_commands"]

EXIT_CODES = {"completed": 0, "failed": 1, "cancelled": 3}
POLL_S = 0.1


def add_commands(blueprint: Blueprint, installation: Callable[[], Installation]) -> None:
    """Add the commands to the blueprint's group.

    Args:
        blueprint: whose group it is.
        installation: returns the application's SocketProgress.
    """
    blueprint.cli.help = "Look at this application's tasks, and run them."

    @blueprint.cli.command("ls")
    @click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
    def list_tasks(*, as_json: bool) -> None:
        """List the stored tasks, newest first; a running server is left alone."""
        with _told():
            settings = installation().settings
            tasks = stored_tasks(settings.store, data=settings.data)
        for state in sorted(tasks, key=lambda state: -state.created_at):
            click.echo(json.dumps(summary(state)) if as_json else _line(state))

    @blueprint.cli.command("definitions")
    def list_definitions() -> None:
        """List the tasks that can be started, with their arguments."""
        for definition in installation().registry:
            names = " ".join(f"{name}=…" for name in definition.binding.schema()["properties"])
            click.echo(f"{definition.name} {names}".rstrip())

    @blueprint.cli.command("start")
    @click.argument("name")
    @click.argument("pairs", nargs=-1, metavar="KEY=VALUE…")
    def start(name: str, pairs: Sequence[str]) -> None:
        """Run a task here to its end, for cron say, while no server runs.

        Exits with 0 for completed, 1 for failed, 3 for cancelled.
        """
        with _told():
            state = _run(installation(), name, _values(pairs))
        click.echo(json.dumps(snapshot(state, prefix=installation().url_prefix)))
        raise SystemExit(EXIT_CODES.get(state.status.value, 1))


class _told:  # noqa: N801 - read as a word of the `with` statement
    """Tells an error of ours as the command line does."""

    def __enter__(self) -> None:
        """Enter."""

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        if isinstance(error, SocketProgressError):
            raise click.ClickException(str(error)) from error


def _run(installation: Installation, name: str, values: dict[str, str]) -> TaskState:
    engine = installation.started()
    definition: Definition = installation.registry.get(name)
    args = arguments(values, definition.binding.schema())
    state = engine.service.start(name, args, lax=True, trusted=True)
    signal = engine.runtime.signal()
    stop = engine.hub.listen(state.task_id, signal.set)
    try:
        while not engine.hub.get(state.task_id).ended:
            signal.wait(POLL_S)  # a signal handler runs between two waits only
            signal.clear()
    finally:
        stop()
    return engine.hub.get(state.task_id)


def _values(pairs: Sequence[str]) -> dict[str, str]:
    values = {}
    for pair in pairs:
        name, equals, text = pair.partition("=")
        if not equals or not name:
            raise click.UsageError(f"{pair!r} is no argument: write it as name=value")
        values[name] = text
    return values


def _line(state: TaskState) -> str:
    percent = "" if state.progress is None else f"{state.progress:.0f}%"
    status = state.status.value.replace("_", " ")
    return f"{state.task_id}  {status:<11}  {percent:>4}  {state.title}"

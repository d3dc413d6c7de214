"""`socketprogress doctor`: what could keep a server from running, and what is running."""

from __future__ import annotations

import sys
from typing import Any

import click

from socketprogress.cli import serve
from socketprogress.cli.checkup import check_all
from socketprogress.cli.options import ConfiguredCommand
from socketprogress.cli.terminal import paint

__all__ = ["command"]

COLOURS = {"ok": "completed", "warning": "cancelled", "problem": "failed"}


@click.pass_context
def _doctor(ctx: click.Context, /, *, no_token: bool, **given: Any) -> None:
    del given["open_page"]
    settings, _is_new_token = serve.settings_from(ctx, no_token=no_token, **given)
    problems = 0
    for finding in check_all(settings):
        level = paint(f"{finding.level:8}", COLOURS[finding.level], stream=sys.stdout)
        click.echo(f"{level} {finding.text}")
        problems += finding.level == "problem"
    ctx.exit(1 if problems else 0)


command = ConfiguredCommand(
    "doctor",
    params=list(serve.command.params),
    callback=_doctor,
    help=(
        "Check this installation, and the server that runs.\n\nTakes the options of `serve`, from "
        "the same places, and says what a server started with them would run into. The exit code "
        "is 1 if there is a problem."
    ),
)

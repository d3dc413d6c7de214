"""The group of all commands, and the one place where errors become exit codes."""

from __future__ import annotations

import errno
import importlib
import os
import sys
from collections.abc import Sequence

import click

from socketprogress import __version__
from socketprogress.core.errors import SocketProgressError

__all__ = ["DEFAULT", "INTERRUPTED", "main"]

COMMANDS = {
    "serve": "socketprogress.cli.serve",
    "run": "socketprogress.cli.run",
    "start": "socketprogress.cli.start",
    "ls": "socketprogress.cli.ls",
    "watch": "socketprogress.cli.watch",
    "cancel": "socketprogress.cli.cancel",
    "token": "socketprogress.cli.token",
    "doctor": "socketprogress.cli.doctor",
}
DEFAULT = "serve"
INTERRUPTED = 130
HELP_FLAGS = {"--help", "--version"}


class LazyGroup(click.Group):
    """Imports a command's module when the command is asked for; without a word it is `serve`."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the commands in the order in which one meets them."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return a command, or None if there is no such one."""
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = importlib.import_module(COMMANDS[cmd_name]).command
        return command

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Put the default command before options that stand without one."""
        if not args or (args[0].startswith("-") and args[0] not in HELP_FLAGS):
            args = [DEFAULT, *args]
        return super().parse_args(ctx, args)


@click.group(cls=LazyGroup)
@click.version_option(__version__, prog_name="socketprogress")
def group() -> None:
    """See long work move, live, in any browser or terminal.

    Without a command it serves: `socketprogress --port 0` is `socketprogress serve --port 0`.
    """


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code.

    Args:
        argv: the arguments; those of the process by default.

    Returns:
        0 fine, 1 error, 2 usage, 130 interrupted; `watch` has codes of its own.
    """
    _print_anything()
    try:
        code = group.main(
            None if argv is None else list(argv), "socketprogress", standalone_mode=False
        )
    except (KeyboardInterrupt, click.Abort):
        click.echo("interrupted", err=True)
        return INTERRUPTED
    except click.ClickException as exc:
        exc.show()
        return exc.exit_code
    except SocketProgressError as exc:
        click.echo(f"Error: {exc}", err=True)
        return 1
    except OSError as exc:
        if exc.errno != errno.EPIPE:
            raise
        # The reader has gone (`| head`): what is still buffered must not raise at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return code if isinstance(code, int) else 0


def _print_anything() -> None:
    """Let a terminal that cannot show a character show a `?` instead of failing."""
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="replace")

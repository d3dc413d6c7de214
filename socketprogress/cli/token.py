"""`socketprogress token`: gives out tokens beside the server's own, lists them, takes them back."""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import click
from click.core import ParameterSource

from socketprogress.cli.options import Setting, load_config, setting
from socketprogress.cli.terminal import plain, width
from socketprogress.core.errors import InvalidPayload, SocketProgressError
from socketprogress.core.protocol import check_task_id

if TYPE_CHECKING:
    from socketprogress.client.runfile import ServerAddress
    from socketprogress.server.tokens import Token, Tokens

__all__ = ["command"]

UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 7 * 86_400}
HEADINGS = ("ID", "ROLE", "NAME", "TASK", "CREATED", "EXPIRES", "ENDS IN")
OPEN = (
    "NOTE: a server on this host alone that was started without --token asks nobody for one: this "
    "token limits whoever presents it, and keeps nobody out"
)


class Duration(click.ParamType[float | None]):
    """Seconds, written as a number and a unit: 90s, 30m, 12h, 7d, 2w; or `never`."""

    name = "duration"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float | None:
        """Return the seconds, or None for `never`."""
        if value is None or value == "never":
            return None
        found = re.fullmatch(r"([0-9]{1,6})([smhdw])", str(value).strip().lower())
        if found is None or int(found[1]) == 0:
            self.fail(f"{value!r} is no duration such as 90s, 30m, 12h, 7d or never", param, ctx)
        return float(int(found[1]) * UNITS[found[2]])


class _Configured(click.Command):
    """A command that finds the data folder where `serve` does."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Read the configuration file before the flags, which go over it."""
        from socketprogress.cli import serve

        if "--help" not in args:
            load_config(ctx, (p for p in serve.command.params if isinstance(p, Setting)))
        return super().parse_args(ctx, args)


def _on_data(function: Callable[..., Any]) -> Any:
    return setting(
        "--data",
        metavar="DIR",
        help=(
            "The server's data folder; default: that of the server that runs (the one of "
            "SOCKETPROGRESS_URL, or the newest), or the user's."
        ),
    )(function)


@click.group("token")
def command() -> None:
    """Give out tokens that allow less than the server's own, and take them back.

    They hold from the next request on, whether the server runs or is started later.
    """


@command.command("new", cls=_Configured)
@click.option(
    "--role",
    type=click.Choice(("viewer", "reporter", "operator")),
    required=True,
    help="What it allows: to watch; to report as well; everything.",
)
@click.option("--name", default="", metavar="TEXT", help="What you call it.")
@click.option(
    "--expires", type=Duration(), default="never", metavar="7d", help="When; default: never."
)
@_on_data
@click.pass_context
def _new(
    ctx: click.Context, /, *, role: str, name: str, expires: float | None, data: str | None
) -> None:
    """Make a token for a role, and print it once."""
    from socketprogress.server.principals import Role

    tokens, server = _tokens(ctx, data)
    secret, token = tokens.new(Role[role.upper()], name=_name(name), lasts_s=expires)
    _tell(secret, token, tokens.folder, server)


@command.command("watch", cls=_Configured)
@click.argument("task_id")
@click.option("--name", default="", metavar="TEXT", help="What you call it.")
@click.option(
    "--expires", type=Duration(), default="7d", show_default=True, metavar="7d", help="When."
)
@_on_data
@click.pass_context
def _watch(
    ctx: click.Context, /, *, task_id: str, name: str, expires: float | None, data: str | None
) -> None:
    """Make a token that shows one task and allows nothing else, and print it once."""
    from socketprogress.server.principals import Role

    try:
        check_task_id(task_id)
    except InvalidPayload as exc:
        raise click.UsageError(exc.message) from None
    tokens, server = _tokens(ctx, data)
    secret, token = tokens.new(Role.VIEWER, name=_name(name), task_id=task_id, lasts_s=expires)
    _tell(secret, token, tokens.folder, server)
    if server is not None:
        click.echo(f"Watch link: {server.url}/tasks/{task_id}?token={quote(secret)}", err=True)


@command.command("ls", cls=_Configured)
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
@_on_data
@click.pass_context
def _ls(ctx: click.Context, /, *, as_json: bool, data: str | None) -> None:
    """List the tokens that were given out; of each only its last four characters are known."""
    tokens, _ = _tokens(ctx, data)
    known = tokens.all()
    if as_json:
        for token in known:
            click.echo(json.dumps(_public(token)))
    elif known:
        _print_table([HEADINGS, *(_row(token) for token in known)])
    else:
        click.echo(f"no tokens of {tokens.folder} were given out", err=True)


@command.command("revoke", cls=_Configured)
@click.argument("token_id", metavar="ID")
@_on_data
@click.pass_context
def _revoke(ctx: click.Context, /, *, token_id: str, data: str | None) -> None:
    """Make a token worthless; who is connected with it is disconnected."""
    tokens, _ = _tokens(ctx, data)
    if not tokens.revoke(token_id):
        known = ", ".join(token.id for token in tokens.all()) or "none"
        raise SocketProgressError(f"no token has the id {token_id!r}; there are: {known}")
    click.echo(f"token {token_id} is worth nothing any more", err=True)


def _tokens(ctx: click.Context, data: str | None) -> tuple[Tokens, ServerAddress | None]:
    """Return the tokens of the data folder that is meant, and the server that uses it, if one runs."""
    from socketprogress.cli.serve import default_data
    from socketprogress.client.runfile import running_servers
    from socketprogress.server.tokens import Tokens

    servers = sorted(running_servers(), key=lambda server: server.started_at)
    is_given = ctx.get_parameter_source("data") is not ParameterSource.DEFAULT and data
    if is_given:
        folder = Path(str(data)).expanduser().absolute()
    else:
        url = os.environ.get("SOCKETPROGRESS_URL", "").rstrip("/")
        named = [server for server in servers if not url or server.url.rstrip("/") == url]
        running = named[-1].data if named else None
        folder = default_data() if running is None else Path(running)
    its = [server for server in servers if server.data == str(folder)]
    return Tokens(folder), its[-1] if its else None


def _tell(secret: str, token: Token, folder: Path, server: ServerAddress | None) -> None:
    click.echo(secret)
    until = "for ever" if token.expires_at is None else f"until {_time(token.expires_at)}"
    what = token.role.name.lower() if token.task_id is None else f"watcher of {token.task_id}"
    click.echo(f"Token {token.id} ({what}, {until}), shown only now; known in {folder}", err=True)
    if server is None or server.token is None:
        click.echo(OPEN, err=True)


def _public(token: Token) -> dict[str, Any]:
    return {
        "id": token.id,
        "role": token.role.name.lower(),
        "name": token.name,
        "task_id": token.task_id,
        "created_at": token.created_at,
        "expires_at": token.expires_at,
        "tail": token.tail,
    }


def _row(token: Token) -> tuple[str, ...]:
    if token.expires_at is None:
        expires = "never"
    else:
        expires = "expired" if token.expired(time.time()) else _time(token.expires_at)
    return (
        token.id,
        token.role.name.lower(),
        plain(token.name) or "-",
        token.task_id or "-",
        _time(token.created_at),
        expires,
        f"…{token.tail}",
    )


def _print_table(rows: Sequence[tuple[str, ...]]) -> None:
    widths = [max(width(row[i]) for row in rows) for i in range(len(HEADINGS))]
    for row in rows:
        cells = [cell + " " * (widths[i] - width(cell)) for i, cell in enumerate(row)]
        click.echo("  ".join(cells).rstrip())


def _name(text: str) -> str:
    if len(text) > 200:
        raise click.UsageError("a token's name has 200 characters at most")
    return plain(text)


def _time(at: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(at))

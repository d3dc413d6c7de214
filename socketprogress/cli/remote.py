"""How the client commands find the server and say what it answers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit, urlunsplit

import click

from socketprogress.core.errors import Unauthorized, Unavailable

if TYPE_CHECKING:
    from socketprogress.client.connect import Connection
    from socketprogress.client.runfile import ServerAddress

__all__ = ["connected", "locate", "page_of", "server_options"]

NO_SERVER = (
    "no server of yours is running on this host; start one with `socketprogress`, or name one with "
    "--server URL or SOCKETPROGRESS_URL"
)
NO_TOKEN = "{message}; give its token with --token or SOCKETPROGRESS_TOKEN"  # noqa: S105


def server_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that name the server to a command."""
    function = click.option(
        "--token", envvar="SOCKETPROGRESS_TOKEN", metavar="TOKEN", help="The server's token."
    )(function)
    return click.option(
        "--server",
        envvar="SOCKETPROGRESS_URL",
        metavar="URL",
        help="The server; default: the one that runs on this host.",
    )(function)


def locate(server: str | None, token: str | None) -> ServerAddress:
    """Return the address of the server that a command means.

    Args:
        server: a URL, its token in it or not; None for the newest server of this user's.
        token: the token, which goes over all others.

    Raises:
        Unavailable: no server is named and none is running.
    """
    from socketprogress.client.runfile import find_server

    found = find_server() if not server else _named(server)
    if found is None:
        raise Unavailable(NO_SERVER)
    return replace(found, token=token) if token else found


def _named(server: str) -> ServerAddress:
    from socketprogress.client.runfile import ServerAddress, running_servers

    parts = urlsplit(server if "://" in server else f"http://{server}")
    try:
        fits = parts.scheme in {"http", "https"} and parts.hostname and (parts.port or 1)
    except ValueError:
        fits = False
    if not fits:
        raise click.UsageError(
            f"the server {server!r} must be a URL such as http://127.0.0.1:8765 (see --server)"
        )
    url = urlunsplit((parts.scheme, parts.netloc, "", "", ""))
    token = parse_qs(parts.query).get("token", [None])[0]
    if token is None:
        token = next((known.token for known in running_servers() if known.url == url), None)
    return ServerAddress(url=url, token=token)


@contextmanager
def connected(server: str | None, token: str | None) -> Iterator[Connection]:
    """Connect to the server for the time of a `with` block.

    Raises:
        Unavailable: there is none, or it does not answer.
        Unauthorized: it wants a token, or another one.
    """
    from socketprogress.client.connect import Connection

    try:
        with Connection(lambda: locate(server, token)) as connection:
            yield connection
    except Unauthorized as exc:
        raise Unauthorized(NO_TOKEN.format(message=exc.message)) from None


def page_of(connection: Connection, task_id: str) -> str:
    """Return the URL of a task's page."""
    return f"{connection.url}/tasks/{task_id}"

"""How the client commands find the server and say what it answers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from socketprogress.core.errors import ConfigurationError, Forbidden, Unauthorized

if TYPE_CHECKING:
    from socketprogress.client.watcher import Client

__all__ = ["connected", "server_options"]

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


@contextmanager
def connected(server: str | None, token: str | None) -> Iterator[Client]:
    """Connect to the server for the time of a `with` block.

    Args:
        server: a URL, its token in it or not; None for the newest server of this user's.
        token: the token, which goes over all others.

    Raises:
        UsageError: it is no URL of a server.
        Unavailable: there is none, or it does not answer.
        Unauthorized, Forbidden: it wants a token, or another one.
    """
    from socketprogress.client.origin import parse_url
    from socketprogress.client.watcher import Client

    try:
        with Client(server, token=token) as client:
            yield client
    except ConfigurationError as exc:
        raise click.UsageError(str(exc)) from None
    except Forbidden as exc:
        if server is None or token or parse_url(server)[1]:
            raise
        raise Forbidden(NO_TOKEN.format(message=exc.message)) from None
    except Unauthorized as exc:
        raise Unauthorized(NO_TOKEN.format(message=exc.message)) from None

"""Where the server is that somebody asks for, by name or not."""

from __future__ import annotations

import os
from dataclasses import replace

from socketprogress.client.origin import parse_url
from socketprogress.client.runfile import ServerAddress, find_server, running_servers
from socketprogress.core.errors import ConfigurationError, Unavailable

__all__ = ["locate"]

NO_SERVER = (
    "no server of yours is running on this host; start one with `socketprogress`, or name one by its "
    "URL or with SOCKETPROGRESS_URL"
)


def locate(url: str | None = None, token: str | None = None) -> ServerAddress:
    """Return the address of a server as it is at this moment.

    The order is: what is given, `SOCKETPROGRESS_URL`, the newest server of this user on this host.
    One on this host that is named without a token is asked with the one in its run file.

    Args:
        url: a base URL, its token in it or not.
        token: goes over all others; by default `SOCKETPROGRESS_TOKEN`, for a server that is not
            named with its own.

    Raises:
        ConfigurationError: it is no URL of a server.
        Unavailable: none is named and none is running.
    """
    named = url or os.environ.get("SOCKETPROGRESS_URL", "").strip()
    given = token or os.environ.get("SOCKETPROGRESS_TOKEN") or None
    if not named:
        found = find_server()
        if found is None:
            raise Unavailable(NO_SERVER)
        return replace(found, url=found.url.rstrip("/"), token=given or found.token)
    try:
        base, own = parse_url(named)
    except ValueError:
        shown = repr(named) if "@" not in named and "token" not in named else "given"
        raise ConfigurationError(
            f"the server {shown} must be a URL such as http://127.0.0.1:8765"
        ) from None
    if token or (given and not own):
        return ServerAddress(base, token or given)
    return ServerAddress(base, own or _noted(base))


def _noted(url: str) -> str | None:
    servers = (server for server in running_servers() if server.url.rstrip("/") == url)
    return next((server.token for server in servers), None)

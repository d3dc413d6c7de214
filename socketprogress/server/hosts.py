"""The names that a server answers to, and the pages that may talk to it."""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from socketprogress.core.errors import Forbidden
from socketprogress.server.settings import Settings

__all__ = ["Hosts", "is_from_here", "is_loopback"]

DEFAULT_PORTS = {"http": 80, "https": 443}
FORWARDED = ("HTTP_FORWARDED", "HTTP_X_FORWARDED_FOR", "HTTP_X_REAL_IP")
SCHEMES = {"ws": "http", "wss": "https"}
HOST = re.compile(r"(\[[0-9a-f:.]+\]|[a-z0-9._-]+)(?::([0-9]{1,5}))?\Z")


class Hosts:
    """One server's own host names and the origins it trusts.

    Args:
        settings: the host names and the origins.
    """

    def __init__(self, settings: Settings) -> None:
        self._names = _host_names(settings)
        self._any_address = _is_wildcard(settings.host)
        self._origins = {_origin(origin) for origin in settings.origins}

    def check_host(self, environ: Mapping[str, Any]) -> None:
        """Refuse a request for a host name that is not this server's: DNS rebinding.

        An address cannot be rebound, so a server that listens on all of them answers to any.

        Raises:
            Forbidden: the Host header is missing or names somebody else.
        """
        name, _ = _host(environ)
        address = _address(name)
        if name in self._names or "*" in self._names:
            return
        if address is not None and (address.is_loopback or self._any_address):
            return
        raise Forbidden(
            f"this server does not answer to the host {name[:80]!r}; "
            f"if it should, start it with --origin http://{name[:80]}"
        )

    def check_origin(self, environ: Mapping[str, Any], *, strict: bool = False) -> str | None:
        """Refuse what another site's page sends.

        Args:
            environ: the WSGI environment of the request; X-Forwarded headers count for nothing.
            strict: the request changes something or opens a connection: what a browser calls
                cross-site is refused even without an Origin.

        Returns:
            The origin if it is a foreign one that is allowed, else None.

        Raises:
            Forbidden: the origin is neither this server nor an allowed one.
        """
        given = environ.get("HTTP_ORIGIN")
        if given is not None:
            origin = _origin(given)
            if origin in self._origins and origin is not None:
                return str(given)
            scheme = environ.get("wsgi.url_scheme", "http")
            scheme = SCHEMES.get(scheme, scheme)
            name, port = _host(environ)
            if origin is None or origin != (scheme, name, port or DEFAULT_PORTS.get(scheme)):
                raise Forbidden(
                    f"a page of {str(given)[:80]!r} may not talk to this server; "
                    "if it should, start the server with --origin"
                )
        if strict and environ.get("HTTP_SEC_FETCH_SITE", "").lower() == "cross-site":
            raise Forbidden("a page of another site may not do this")
        return None


def is_loopback(host: str) -> bool:
    """Return whether a host name or address reaches this machine only."""
    address = _address(host)
    return host.lower() == "localhost" if address is None else address.is_loopback


def _host(environ: Mapping[str, Any]) -> tuple[str, int | None]:
    """Return the name and the port of the Host header; no name if it is not well-formed."""
    found = HOST.match(str(environ.get("HTTP_HOST", "")).strip().lower())
    if found is None:
        return "", None
    name, port = found.groups()
    return name.rstrip("."), int(port) if port else None


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return None


def is_from_here(environ: Mapping[str, Any]) -> bool:
    """Return whether a request comes from this machine, and by no proxy."""
    if any(environ.get(header) for header in FORWARDED):
        return False
    if "REMOTE_ADDR" not in environ:  # servers say it; a Socket.IO test client has none to say
        return True
    address = _address(str(environ.get("REMOTE_ADDR", "")))
    return address is not None and address.is_loopback


def _is_wildcard(host: str) -> bool:
    address = _address(host)
    return not host or (address is not None and address.is_unspecified)


def _host_names(settings: Settings) -> frozenset[str]:
    names = {"localhost"}
    for host in (settings.host, *settings.hosts):
        found = HOST.match(host.strip().lower())
        names.add(found.group(1).rstrip(".") if found else host.strip().lower())
        names.add(f"[{host.lower()}]")
    names.update(origin[1] for origin in map(_origin, settings.origins) if origin is not None)
    if not is_loopback(settings.host):
        machine = socket.gethostname().lower()
        names.update((machine, f"{machine}.local"))
    return frozenset(names - {"", "[]"})


def _origin(text: str) -> tuple[str, str, int | None] | None:
    """Return an origin as scheme, host and port, or None for `null` and what is none."""
    try:
        parts = urlsplit(text.strip().lower())
        port = parts.port
    except ValueError:
        return None
    if parts.scheme not in DEFAULT_PORTS or not parts.hostname or parts.username is not None:
        return None
    if parts.path not in {"", "/"} or parts.query or parts.fragment:
        return None
    name = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return parts.scheme, name.rstrip("."), port or DEFAULT_PORTS[parts.scheme]

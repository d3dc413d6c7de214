"""Who may do what: tokens and roles, host names, origins, rates."""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import re
import socket
import time
from collections.abc import Callable, Mapping
from enum import IntEnum
from http.cookies import CookieError, SimpleCookie
from typing import Any, TypeVar
from urllib.parse import urlsplit

from socketprogress.core.errors import Forbidden, RateLimited, Unauthorized
from socketprogress.server.settings import Settings

__all__ = ["Access", "Role", "TokenBucket", "is_loopback", "needed_role", "needs"]

COOKIE = "socketprogress"
GUESSES = 20
GUESS_EVERY_S = 3.0
GUESSERS = 1024
DEFAULT_PORTS = {"http": 80, "https": 443}
SCHEMES = {"ws": "http", "wss": "https"}
HOST = re.compile(r"(\[[0-9a-f:.]+\]|[a-z0-9._-]+)(?::([0-9]{1,5}))?\Z")

View = TypeVar("View", bound=Callable[..., Any])


class Role(IntEnum):
    """What somebody may do; a higher role may do all that the lower ones may."""

    VIEWER = 1
    REPORTER = 2
    OPERATOR = 3


def needs(role: Role | None) -> Callable[[View], View]:
    """Mark a view with the role it needs; None opens it to everybody."""

    def mark(view: View) -> View:
        view.__socketprogress_role__ = role  # type: ignore[attr-defined]
        return view

    return mark


def needed_role(view: Any) -> Role | None:
    """Return the role a view needs: the highest one where it does not say."""
    role: Role | None = getattr(view, "__socketprogress_role__", Role.OPERATOR)
    return role


def is_loopback(host: str) -> bool:
    """Return whether a host name or address reaches this machine only."""
    address = _address(host)
    return host.lower() == "localhost" if address is None else address.is_loopback


class TokenBucket:
    """Lets `rate` a second pass on average, and `burst` at once.

    Args:
        rate: a second.
        burst: how many may come at once after a pause.
        clock: monotonic seconds.
    """

    __slots__ = ("_at", "_burst", "_clock", "_left", "_rate")

    def __init__(
        self, rate: float, burst: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._rate, self._burst, self._clock = rate, burst, clock
        self._left, self._at = float(burst), clock()

    def take(self, n: float = 1) -> float:
        """Take `n` and return 0.0, or take nothing and return the seconds until there are `n`."""
        now = self._clock()
        self._left = min(self._left + (now - self._at) * self._rate, self._burst)
        self._at = now
        if self._left >= n:
            self._left -= n
            return 0.0
        return (n - self._left) / self._rate


class Access:
    """One server's answer to who may come in.

    Args:
        settings: the token, the host names and the origins.
        open_to_all: nobody needs a token off loopback either.
        clock: monotonic seconds.

    Attributes:
        port: what the server listens on, once that is known; it is in the cookie's name, since two
            servers on one machine share their cookies.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        open_to_all: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.settings = settings
        self.port = settings.port
        self._clock = clock
        self._open = settings.token is None and (open_to_all or is_loopback(settings.host))
        self._digest = None if settings.token is None else _cookie_digest(settings.token)
        self._names = _host_names(settings)
        self._any_address = _is_wildcard(settings.host)
        self._origins = {_origin(origin) for origin in settings.origins}
        self._guessers: dict[str, TokenBucket] = {}

    # -- tokens ----------------------------------------------------------------------------------

    @property
    def needs_token(self) -> bool:
        """Whether a client has to present a token."""
        return not self._open

    @property
    def cookie_name(self) -> str:
        """The name of the cookie that stands for the token."""
        return f"{COOKIE}_{self.port}"

    @property
    def cookie_value(self) -> str:
        """What the cookie holds: a digest, from which nobody gets the token back."""
        return self._digest or ""

    def role_of(self, token: Any) -> Role | None:
        """Return the role that a token gives, or None if it is not right."""
        if self._digest is None or not isinstance(token, str):
            return None
        right = hmac.compare_digest(_cookie_digest(token), self._digest)
        return Role.OPERATOR if right else None

    def allows(self, environ: Mapping[str, Any], auth: Any = None) -> Role | None:
        """Return the role of whoever sent this, or None.

        A token that is given explicitly counts alone, be it right or wrong; the cookie counts
        where there is none.

        Args:
            environ: the WSGI environment of the request.
            auth: what a Socket.IO client sent as `auth`.

        Raises:
            RateLimited: too many wrong tokens came from this address.
        """
        if self._open:
            return Role.OPERATOR
        token = auth.get("token") if isinstance(auth, dict) else None
        if token is None:
            token = _bearer(environ)
        if token is not None:
            return self.guess(token, environ)
        cookie = self._cookie(environ)
        right = self._digest is not None and hmac.compare_digest(
            cookie.encode("utf-8", "replace"), self._digest.encode()
        )
        return Role.OPERATOR if right else None

    def guess(self, token: Any, environ: Mapping[str, Any]) -> Role | None:
        """Return the role that a token gives; an address that guesses wrong is slowed down.

        Raises:
            RateLimited: too many wrong tokens came from this address.
        """
        role = self.role_of(token)
        if role is not None:
            return role
        address = str(environ.get("REMOTE_ADDR", ""))
        bucket = self._guessers.pop(address, None)
        if bucket is None:
            bucket = TokenBucket(1 / GUESS_EVERY_S, GUESSES, self._clock)
        while len(self._guessers) >= GUESSERS:
            self._guessers.pop(next(iter(self._guessers)), None)
        self._guessers[address] = bucket
        wait_s = bucket.take()
        if wait_s:
            raise RateLimited("too many wrong tokens came from here", retry_after_s=wait_s)
        return None

    def connection(self, environ: Mapping[str, Any], auth: Any = None) -> Role:
        """Return the role of whoever sent this request or opened this connection.

        Raises:
            Unauthorized: no token, or a wrong one.
            RateLimited: too many wrong ones.
        """
        role = self.allows(environ, auth)
        if role is None:
            raise Unauthorized("this server needs its token, and this is not it or there is none")
        return role

    def need(self, role: Role, needed: Role) -> None:
        """Let pass who has the role that is needed.

        Raises:
            Forbidden: it is a lower one.
        """
        if role < needed:
            raise Forbidden(f"this needs the role {needed.name.lower()}")

    def credentials(self, environ: Mapping[str, Any]) -> bytes:
        """Return a digest of who sent this: address and credentials."""
        parts = (
            str(environ.get("REMOTE_ADDR", "")),
            str(environ.get("HTTP_AUTHORIZATION", "")),
            self._cookie(environ),
        )
        return hashlib.sha256("\0".join(parts).encode("utf-8", "replace")).digest()

    def _cookie(self, environ: Mapping[str, Any]) -> str:
        try:
            morsel = SimpleCookie(str(environ.get("HTTP_COOKIE", ""))).get(self.cookie_name)
        except CookieError:
            return ""
        return "" if morsel is None else morsel.value

    # -- hosts and origins -----------------------------------------------------------------------

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


def _cookie_digest(token: str) -> str:
    key = token.encode("utf-8", "surrogatepass")
    return hmac.new(key, b"socketprogress cookie", hashlib.sha256).hexdigest()


def _bearer(environ: Mapping[str, Any]) -> str | None:
    kind, _, token = str(environ.get("HTTP_AUTHORIZATION", "")).partition(" ")
    if kind.lower() != "bearer":
        return None
    # WSGI hands headers over as Latin-1; what is no UTF-8 is no token either.
    return token.strip().encode("latin-1", "replace").decode("utf-8", "replace")


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

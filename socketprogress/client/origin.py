"""Where this process reports to, and whether: arguments, environment, the run file of a server."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, field
from urllib.parse import parse_qs, unquote, urlsplit, urlunsplit

from socketprogress.client import notice
from socketprogress.client.forks import import_whole

__all__ = ["LOOPBACK", "Origin", "origin_of", "parse_url"]

LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
MODES = ("online", "offline", "disabled")
REMEMBERED_S = 5.0


@dataclass(frozen=True, slots=True)
class Origin:
    """A server to report to.

    Attributes:
        url: its base URL without credentials; empty where a process that is offline names none.
        token: what was given for it.
        offline: only write spool files.
        found: it was found by its run file, so it may be another one after a restart.
    """

    url: str
    token: str | None = field(default=None, repr=False)
    offline: bool = False
    found: bool = False

    def address(self) -> tuple[str, str | None]:
        """Return the URL to connect to and its token, as they are at this moment."""
        if self.token is not None and not self.found:
            return self.url, self.token
        if urlsplit(self.url).hostname not in LOOPBACK:
            return self.url, None
        runfile = import_whole("socketprogress.client.runfile")
        running = sorted(runfile.running_servers(), key=lambda server: server.started_at)
        same = [server for server in running if server.url.rstrip("/") == self.url]
        for server in same or (running if self.found else []):
            return server.url.rstrip("/"), self.token or server.token
        return self.url, self.token


class _Found:
    """What the run files said last, so that a thousand bars don't read them a thousand times."""

    def __init__(self) -> None:
        self._at = -REMEMBERED_S
        self._url: str | None = None

    def url(self) -> str | None:
        now = time.monotonic()
        if now - self._at >= REMEMBERED_S:
            runfile = import_whole("socketprogress.client.runfile")  # takes 10 ms
            try:
                server = runfile.find_server()
            except OSError as exc:
                notice.warn_once("no server is looked for: %s", exc)
                server = None
            self._url = None if server is None else server.url.rstrip("/")
            self._at = now
        return self._url


_found = _Found()


def origin_of(url: str | None = None, token: str | None = None) -> Origin | None:
    """Return where to report to, or None where nothing is to be reported.

    The order is: what is given, `SOCKETPROGRESS_URL`, the run file of a server on this host.
    `SOCKETPROGRESS_MODE` is ``online``, ``offline`` (write spool files only) or ``disabled``.

    Args:
        url: a server's base URL; a token may stand in it, ``http://:token@host`` or ``?token=``.
        token: instead of the one in the URL or in `SOCKETPROGRESS_TOKEN`.
    """
    mode = os.environ.get("SOCKETPROGRESS_MODE", "").strip().lower() or "online"
    if mode not in MODES:
        notice.warn_once("SOCKETPROGRESS_MODE=%s is none of: %s", mode[:40], ", ".join(MODES))
        mode = "online"
    if mode == "disabled":
        return None
    given = url or os.environ.get("SOCKETPROGRESS_URL", "").strip()
    token = token or os.environ.get("SOCKETPROGRESS_TOKEN") or None
    offline = mode == "offline"
    if given:
        try:
            base, own = parse_url(given)
        except ValueError as exc:
            notice.warn_once("nothing is reported: %s", exc)
            return None
        if url and own and token == os.environ.get("SOCKETPROGRESS_TOKEN"):
            token = own  # who names a server with its token does not mean the environment's
        return Origin(base, token or own, offline=offline)
    found = _found.url()
    if found is not None:
        return Origin(found, token, offline=offline, found=True)
    return Origin("", token, offline=True) if offline else None


def parse_url(text: str) -> tuple[str, str | None]:
    """Return a server's base URL without credentials, and the token that was in it.

    Raises:
        ValueError: it is no URL of a server; the message does not repeat what may be secret.
    """
    parts = urlsplit(text.strip() if "://" in text else f"http://{text.strip()}")
    if parts.scheme not in {"http", "https", "ws", "wss"} or not parts.hostname:
        raise ValueError("a server's URL is like http://127.0.0.1:8765")
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    netloc = host if parts.port is None else f"{host}:{parts.port}"
    scheme = {"ws": "http", "wss": "https"}.get(parts.scheme, parts.scheme)
    token = unquote(parts.password or parts.username or "")
    token = token or parse_qs(parts.query).get("token", [""])[0]
    return urlunsplit((scheme, netloc, parts.path.rstrip("/"), "", "")), token or None

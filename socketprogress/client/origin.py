"""Where this process reports to, and whether: arguments, environment, the run file of a server."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, field
from typing import Any
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
        found: it was found by its run file, so it may have another port after a restart.
        data: its data folder, where it was found: by this it is known again.
        store: the URL of the store that is reported to without a server, with its password.
    """

    url: str
    token: str | None = field(default=None, repr=False)
    offline: bool = False
    found: bool = False
    store: str | None = field(default=None, repr=False)
    data: str | None = None

    def address(self) -> tuple[str, str | None]:
        """Return the URL to connect to and its token, as they are at this moment.

        A server that has been found and is away is waited for: another knows nothing of its tasks.
        """
        if self.token is not None and not self.found:
            return self.url, self.token
        if urlsplit(self.url).hostname not in LOOPBACK:
            return self.url, None
        runfile = import_whole("socketprogress.client.runfile")
        running = sorted(runfile.running_servers(), key=lambda server: server.started_at)
        same = [server for server in running if self.data and server.data == self.data]
        for server in same or running:
            if same or server.url.rstrip("/") == self.url:
                return server.url.rstrip("/"), self.token or server.token
        return self.url, self.token


class _Found:
    """What the run files said last, so that a thousand bars don't read them a thousand times."""

    def __init__(self) -> None:
        self._at = -REMEMBERED_S
        self._server: Any = None

    def origin(self, token: str | None, *, offline: bool) -> Origin | None:
        """Return the server of this host that was started last, or None."""
        server = self._newest()
        if server is None:
            return None
        url = server.url.rstrip("/")
        return Origin(url, token, offline=offline, found=True, data=server.data)

    def _newest(self) -> Any:
        now = time.monotonic()
        if now - self._at >= REMEMBERED_S:
            runfile = import_whole("socketprogress.client.runfile")  # takes 10 ms
            try:
                server = runfile.find_server()
            except OSError as exc:
                notice.warn_once("no server is looked for: %s", exc)
                server = None
            self._server, self._at = server, now
        return self._server


_found = _Found()


def origin_of(url: str | None = None, token: str | None = None) -> Origin | None:
    """Return where to report to, or None where nothing is to be reported.

    The order is: what is given, `SOCKETPROGRESS_URL`, a Redis named by `SOCKETPROGRESS_STORE`, the run
    file of a server on this host. `SOCKETPROGRESS_MODE` is ``online``, ``offline`` (write spool files only) or ``disabled``.

    Args:
        url: a server's base URL; a token may stand in it, ``http://:token@host`` or ``?token=``. Or the
            store's that servers share, ``redis://…``: then no server is needed.
        token: instead of the one in the URL or in `SOCKETPROGRESS_TOKEN`.
    """
    mode = os.environ.get("SOCKETPROGRESS_MODE", "").strip().lower() or "online"
    if mode not in MODES:
        notice.warn_once("SOCKETPROGRESS_MODE=%s is none of: %s", mode[:40], ", ".join(MODES))
        mode = "online"
    if mode == "disabled":
        return None
    given = url or os.environ.get("SOCKETPROGRESS_URL", "").strip() or _named_store()
    token = token or os.environ.get("SOCKETPROGRESS_TOKEN") or None
    offline = mode == "offline"
    if is_store(given):
        return _store_origin(given, offline=offline)
    if given:
        try:
            base, own = parse_url(given)
        except ValueError as exc:
            notice.warn_once("nothing is reported: %s", exc)
            return None
        if url and own and token == os.environ.get("SOCKETPROGRESS_TOKEN"):
            token = own  # who names a server with its token does not mean the environment's
        return Origin(base, token or own, offline=offline)
    found = _found.origin(token, offline=offline)
    if found is not None:
        return found
    return Origin("", token, offline=True) if offline else None


def is_store(url: str) -> bool:
    """Return whether a URL is that of a store, not of a server."""
    return url.startswith(("redis://", "rediss://"))


def _named_store() -> str:
    named = os.environ.get("SOCKETPROGRESS_STORE", "").strip()
    return named if is_store(named) else ""


def _store_origin(url: str, *, offline: bool) -> Origin | None:
    places = import_whole("socketprogress.stores.redis_place")
    # The package redis imports it, which is too late in a process that is at its end already.
    import_whole("concurrent.futures.thread")
    try:
        name = places.parse_redis_url(url).name
        if name == url:  # as a spool file has it, without the password
            known = (os.environ.get(f"SOCKETPROGRESS_{one}", "") for one in ("URL", "STORE"))
            named = (one for one in known if is_store(one))
            url = next((one for one in named if places.parse_redis_url(one).name == name), url)
    except ValueError as exc:
        notice.warn_once("nothing is reported: %s", exc)
        return None
    return Origin(name, offline=offline, store=url)


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

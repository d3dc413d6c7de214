"""The outermost door: every request passes it first, whatever its route, method or transport."""

from __future__ import annotations

import json
import re
import threading
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable, Mapping
from hmac import compare_digest
from types import MappingProxyType
from typing import Any
from urllib.parse import parse_qs

from socketprogress.core.errors import Forbidden, InvalidPayload, RateLimited, WireError
from socketprogress.server.access import Access

__all__ = ["Gate", "Sessions", "is_below", "refusal"]

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
OPENED = re.compile(rb'sid\\*":\s*\\*"([A-Za-z0-9_-]+)')
SHARED_HEADERS = (
    "Authorization",
    "Content-Type",
    "If-None-Match",
    "Tus-Resumable",
    "Upload-Defer-Length",
    "Upload-Length",
    "Upload-Metadata",
    "Upload-Offset",
    "X-HTTP-Method-Override",
)
TOLD_HEADERS = (
    "ETag",
    "Location",
    "Retry-After",
    "Tus-Extension",
    "Tus-Max-Size",
    "Tus-Resumable",
    "Tus-Version",
    "Upload-Defer-Length",
    "Upload-Expires",
    "Upload-Length",
    "Upload-Metadata",
    "Upload-Offset",
)
RETRY_AFTER_S = 5.0
NO_SESSION = (
    "this server has no such session: it has ended, or it is another server's. Several servers behind one "
    "address need sticky sessions, or clients that connect by WebSocket alone"
)

Environ = dict[str, Any]
StartResponse = Callable[..., Any]
Wsgi = Callable[[Environ, StartResponse], Iterable[bytes]]


class Sessions:
    """The Engine.IO sessions: which credentials opened them, and how many an address has.

    Args:
        sockets: the Engine.IO server's own table of its sessions, which says which ones live.
        most_per_address: how many an address may have at once.
        capacity: how many are remembered; the one longest unused goes first.
    """

    def __init__(
        self, sockets: Mapping[str, Any], *, most_per_address: int, capacity: int = 16_384
    ) -> None:
        self._sockets = sockets
        self._most = most_per_address
        self._capacity = capacity
        self._bound: OrderedDict[str, tuple[str, bytes]] = OrderedDict()
        self._count: Counter[str] = Counter()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._bound)

    def live(self, address: str) -> int:
        """Return how many sessions an address has."""
        return self._count[address]

    def check_room(self, address: str) -> None:
        """Refuse an address that has as many sessions as it may.

        Raises:
            RateLimited: it has.
        """
        with self._lock:
            if self._count[address] >= self._most:
                self._drop_dead()
            if self._count[address] >= self._most:
                raise RateLimited(
                    f"{self._most} connections from one address are the most",
                    retry_after_s=RETRY_AFTER_S,
                )

    def bind(self, sid: str, address: str, credentials: bytes) -> None:
        """Remember who opened a session."""
        with self._lock:
            if len(self._bound) >= self._capacity:
                self._drop_dead()
            while len(self._bound) >= self._capacity:
                self._forget(next(iter(self._bound)))
            self._bound[sid] = (address, credentials)
            self._count[address] += 1

    def check(self, sid: str, credentials: bytes) -> None:
        """Let only those go on with a session who opened it.

        Raises:
            InvalidPayload: no such session was opened by polling.
            Forbidden: somebody else opened it.
        """
        with self._lock:
            known = self._bound.get(sid)
            if known is None:
                raise InvalidPayload(NO_SESSION, field="sid")
            if not compare_digest(known[1], credentials):
                raise Forbidden("this session was opened with other credentials")
            self._bound.move_to_end(sid)

    def ended(self, sid: str) -> None:
        """Forget a session unless it lives on."""
        with self._lock:
            if sid in self._bound and not self._is_live(sid):
                self._forget(sid)

    def enter(self, address: str) -> None:
        """Count a session that was opened as a WebSocket."""
        with self._lock:
            self._count[address] += 1

    def leave(self, address: str) -> None:
        """Take back what `enter` counted."""
        with self._lock:
            self._uncount(address)

    def _is_live(self, sid: str) -> bool:
        known = self._sockets.get(sid)
        return known is not None and not known.closed

    def _drop_dead(self) -> None:
        for sid in [sid for sid in self._bound if not self._is_live(sid)]:
            self._forget(sid)

    def _forget(self, sid: str) -> None:
        self._uncount(self._bound.pop(sid)[0])

    def _uncount(self, address: str) -> None:
        self._count[address] -= 1
        if self._count[address] <= 0:
            del self._count[address]


class Gate:
    """WSGI middleware in front of everything, Socket.IO included.

    Args:
        app: what is behind it.
        access: who may come in.
        sockets: the Engine.IO server's table of sessions, `socketio.server.eio.sockets`.
        socket_path: where Socket.IO is; None where it is the host application's own.
        prefix: where the pages and the API are; in another application only what is below it, and
            Socket.IO, is guarded.
    """

    def __init__(
        self,
        app: Wsgi,
        access: Access,
        *,
        sockets: Mapping[str, Any] = MappingProxyType({}),
        socket_path: str | None = "/socket.io",
        prefix: str = "",
    ) -> None:
        self._app = app
        self._access = access
        self._socket_path = None if socket_path is None else "/" + socket_path.strip("/")
        self._prefix = prefix.rstrip("/")
        most = access.settings.max_connections_per_address
        self.sessions = Sessions(sockets, most_per_address=most)

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """Refuse the request, or hand it on."""
        try:
            origin = self._check(environ)
        except WireError as exc:
            return refusal(exc, start_response)
        if origin is not None:
            if _is_preflight(environ):
                return _preflight(origin, start_response)
            start_response = _sharing(start_response, origin)
        if not self._is_socket(environ):
            return self._app(environ, start_response)
        # Compression costs 92 KiB a client and four times the framing.
        environ.pop("HTTP_SEC_WEBSOCKET_EXTENSIONS", None)
        is_upgrade = environ.get("HTTP_UPGRADE", "").lower() == "websocket"
        if is_upgrade and _asked(environ, "transport") == "websocket":
            return self._websocket(environ, start_response)
        return self._polling(environ, start_response)

    def refuses(self, environ: Environ) -> bool:
        """Return whether a request would be refused; for servers that upgrade before they ask."""
        try:
            self._check(environ)
        except WireError:
            return True
        return False

    def _check(self, environ: Environ) -> str | None:
        path = environ.get("PATH_INFO", "")
        is_socket = self._is_socket(environ)
        is_ours = is_socket or is_below(path, self._prefix)
        if not is_ours or path == f"{self._prefix}/healthz":
            return None
        self._access.check_host(environ)
        strict = is_socket or environ["REQUEST_METHOD"] not in SAFE_METHODS
        origin = self._access.check_origin(environ, strict=strict)
        if is_socket:
            sid = _asked(environ, "sid")
            if sid is None:
                self.sessions.check_room(_address(environ))
            else:
                self.sessions.check(sid, self._access.credentials(environ))
        return origin

    def _is_socket(self, environ: Environ) -> bool:
        path = self._socket_path
        return path is not None and is_below(environ.get("PATH_INFO", ""), path)

    def _websocket(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """Hand a WebSocket on; the call lasts as long as it does, in every async mode."""
        address, sid = _address(environ), _asked(environ, "sid")
        if sid is None:
            self.sessions.enter(address)
        try:
            return self._app(environ, start_response)
        finally:
            if sid is None:
                self.sessions.leave(address)
            else:
                self.sessions.ended(sid)

    def _polling(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        body = self._app(environ, start_response)
        if _asked(environ, "sid") is None and isinstance(body, (list, tuple)) and body:
            opened = OPENED.search(body[0])
            if opened:
                credentials = self._access.credentials(environ)
                self.sessions.bind(opened.group(1).decode(), _address(environ), credentials)
        return body


def is_below(path: str, prefix: str) -> bool:
    """Return whether a path is a prefix, or below it; everything is below the empty one."""
    return not prefix or path == prefix or path.startswith(f"{prefix}/")


def _address(environ: Environ) -> str:
    return str(environ.get("REMOTE_ADDR", ""))


def _asked(environ: Environ, name: str) -> str | None:
    query = parse_qs(environ.get("QUERY_STRING", ""), keep_blank_values=True)
    return query[name][0] if name in query else None


def _is_preflight(environ: Environ) -> bool:
    return (
        environ["REQUEST_METHOD"] == "OPTIONS" and "HTTP_ACCESS_CONTROL_REQUEST_METHOD" in environ
    )


def _preflight(origin: str, start_response: StartResponse) -> Iterable[bytes]:
    headers = [
        ("Access-Control-Allow-Origin", origin),
        ("Access-Control-Allow-Methods", "GET, POST, PUT, PATCH, DELETE, HEAD"),
        ("Access-Control-Allow-Headers", ", ".join(SHARED_HEADERS)),
        ("Access-Control-Max-Age", "600"),
        ("Vary", "Origin"),
        ("Content-Length", "0"),
    ]
    start_response("204 No Content", headers)
    return [b""]


def _sharing(start_response: StartResponse, origin: str) -> StartResponse:
    """Return a start_response that lets an allowed origin's page read the answer."""

    def started(status: str, headers: list[tuple[str, str]], *rest: Any) -> Any:
        if not any(name.lower() == "access-control-allow-origin" for name, _ in headers):
            headers = [
                *headers,
                ("Access-Control-Allow-Origin", origin),
                ("Access-Control-Expose-Headers", ", ".join(TOLD_HEADERS)),
                ("Vary", "Origin"),
            ]
        return start_response(status, headers, *rest)

    return started


def refusal(exc: WireError, start_response: StartResponse) -> Iterable[bytes]:
    """Answer a request with an error, as JSON."""
    reasons = {
        400: "Bad Request",
        403: "Forbidden",
        429: "Too Many Requests",
        503: "Service Unavailable",
    }
    body = json.dumps({"error": exc.to_wire()}).encode()
    headers = [
        ("Content-Type", "application/json"),
        ("Content-Length", str(len(body))),
        ("Cache-Control", "no-store"),
        ("X-Content-Type-Options", "nosniff"),
        ("Cross-Origin-Resource-Policy", "same-origin"),
        ("Vary", "Origin, Sec-Fetch-Site"),
    ]
    if isinstance(exc, RateLimited):
        headers.append(("Retry-After", str(max(int(exc.retry_after_s), 1))))
    start_response(f"{exc.http_status} {reasons.get(exc.http_status, 'Refused')}", headers)
    return [body]

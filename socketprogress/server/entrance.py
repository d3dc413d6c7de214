"""How a Flask application gets us into the way of its requests, and out of it again."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Protocol

from socketprogress.server.packets import packet_class
from socketprogress.server.settings import Settings

if TYPE_CHECKING:
    from flask import Flask
    from flask_socketio import SocketIO

__all__ = ["Entrance", "Extensions", "private_socketio"]

MAX_PACKET_BYTES = 1 << 20
Environ = dict[str, Any]


class Inside(Protocol):
    """What an entrance leads to."""

    def concerns(self, path: str) -> bool:
        """Return whether a request is for us."""

    def answer(self, environ: Environ, start_response: Any) -> Iterable[bytes]:
        """Answer a request that concerns us."""

    def refuses(self, environ: Environ) -> bool:
        """Return whether a request would be refused."""


class Entrance:
    """WSGI middleware that takes the requests that concern us before the application sees them."""

    def __init__(self, inside: Inside, behind: Callable[..., Any]) -> None:
        self._inside, self._behind = inside, behind

    def __call__(self, environ: Environ, start_response: Any) -> Any:
        """Answer the request, or hand it on."""
        if self._inside.concerns(environ.get("PATH_INFO", "")):
            return self._inside.answer(environ, start_response)
        return self._behind(environ, start_response)

    def refuses(self, environ: Environ) -> bool:
        """Return whether a request would be refused; for servers that upgrade before they ask."""
        return self._inside.refuses(environ)


class Extensions(dict[str, Any]):
    """An application's extensions, which tell of a SocketIO that is initialised after us."""

    def __init__(self, extensions: dict[str, Any], arrived: Callable[[Any], None]) -> None:
        super().__init__(extensions)
        self._arrived = arrived

    def __setitem__(self, name: str, extension: Any) -> None:
        super().__setitem__(name, extension)
        if name == "socketio":
            self._arrived(extension)


def private_socketio(app: Flask, settings: Settings, *, behind: Callable[..., Any]) -> SocketIO:
    """Return a Socket.IO server for our events alone, which the application does not get to see.

    Args:
        app: the application.
        settings: async mode, pings and limits.
        behind: what answers all that is not for Socket.IO.
    """
    from flask_socketio import SocketIO  # noqa: PLC0415 - the runtime prepares its import

    entrance = app.wsgi_app
    app.wsgi_app = behind  # type: ignore[method-assign]
    socketio = SocketIO(
        app,
        async_mode=settings.async_mode,
        async_handlers=False,
        serializer=packet_class(settings.max_payload_bytes),
        max_http_buffer_size=MAX_PACKET_BYTES,
        ping_interval=settings.ping_interval_s,
        ping_timeout=settings.ping_timeout_s,
        cors_allowed_origins=[],
        manage_session=False,
    )
    app.extensions.pop("socketio")
    app.wsgi_app = entrance  # type: ignore[method-assign]
    return socketio

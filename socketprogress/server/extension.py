"""`SocketProgress`: the Flask extension, and the root where a server is composed."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from socketprogress.core.errors import ConfigurationError
from socketprogress.core.registry import Registry, definition_of
from socketprogress.core.registry import task as mark
from socketprogress.core.state import TaskState
from socketprogress.server.access import Access
from socketprogress.server.engine import Engine
from socketprogress.server.gate import Gate
from socketprogress.server.packets import packet_class
from socketprogress.server.routes import make_blueprint
from socketprogress.server.runtime import Runtime, choose
from socketprogress.server.settings import Settings

if TYPE_CHECKING:
    from flask import Flask
    from flask_socketio import SocketIO

__all__ = ["SocketProgress"]

MAX_PACKET_BYTES = 1 << 20


class SocketProgress:
    """Adds live tasks to a Flask app.

    Args:
        app: the app; or none, and `init_app` later.
        **options: as for `init_app`.
    """

    def __init__(self, app: Flask | None = None, **options: Any) -> None:
        self.registry = Registry()
        self._engine: Engine | None = None
        if app is not None:
            self.init_app(app, **options)

    def init_app(
        self,
        app: Flask,
        *,
        settings: Settings | None = None,
        runtime: Runtime | None = None,
        url_prefix: str = "/progress",
        namespace: str = "/socketprogress",
    ) -> None:
        """Register the routes and the Socket.IO events with an app.

        Args:
            app: the Flask app; it gets a Socket.IO server at ``/socket.io``.
            settings: everything that can be set; the defaults otherwise.
            runtime: the async mode, if it has been chosen already.
            url_prefix: where the pages and the API are.
            namespace: the Socket.IO namespace of the events.

        Raises:
            ConfigurationError, StoreError: a setting cannot work, or the store does not open.
        """
        settings = settings or Settings()
        runtime = runtime or choose(settings.async_mode)
        access = Access(settings, open_to_all=settings.no_token)
        socketio = _socketio(app, settings, runtime)
        self._engine = Engine(
            settings,
            runtime=runtime,
            registry=self.registry,
            socketio=socketio,
            access=access,
            namespace=namespace,
            prefix=url_prefix,
        )
        app.extensions["socketprogress"] = self
        app.secret_key = app.secret_key or self._engine.secret_key()
        app.register_blueprint(
            make_blueprint(self._engine.service, access, runtime, namespace=namespace),
            url_prefix=url_prefix or None,
        )
        sockets = socketio.server.eio.sockets
        behind = self._started(app.wsgi_app)
        app.wsgi_app = Gate(behind, access, sockets=sockets, prefix=url_prefix)  # type: ignore[method-assign]

    @property
    def engine(self) -> Engine:
        """The composed server.

        Raises:
            ConfigurationError: `init_app` has not been called.
        """
        if self._engine is None:
            raise ConfigurationError("call init_app(app) first")
        return self._engine

    def task(self, function: Any = None, **options: Any) -> Any:
        """Register a task function; options as for `socketprogress.task`."""

        def register(function: Any) -> Any:
            marked = mark(**options)(function)
            definition = definition_of(marked)
            if definition is not None:
                self.registry.add(definition)
            return marked

        return register if function is None else register(function)

    def start(self, name: str, /, **args: Any) -> TaskState:
        """Start a task from a view and return its state; the arguments are by name.

        Raises:
            UnknownDefinition, InvalidArguments, AlreadyRunning, Unavailable.
        """
        self.engine.start()
        return self.engine.service.start(name, args, trusted=True)

    def _started(self, wsgi: Callable[..., Any]) -> Callable[..., Any]:
        """Start the engine with the first request, in the process that serves it."""

        def app(environ: dict[str, Any], start_response: Any) -> Any:
            self.engine.start()
            return wsgi(environ, start_response)

        return app


def _socketio(app: Flask, settings: Settings, runtime: Runtime) -> SocketIO:
    from flask_socketio import SocketIO  # noqa: PLC0415 - the runtime prepares its import

    return SocketIO(
        app,
        async_mode=runtime.mode,
        async_handlers=False,
        serializer=packet_class(settings.max_payload_bytes),
        max_http_buffer_size=MAX_PACKET_BYTES,
        ping_interval=settings.ping_interval_s,
        ping_timeout=settings.ping_timeout_s,
        cors_allowed_origins=[],
        manage_session=False,
    )

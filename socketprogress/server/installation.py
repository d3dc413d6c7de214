"""One application's SocketProgress: settings and routes at once, the rest when it is needed.

Nothing is opened and no thread is started before the first request, connection or task that
concerns it, and then in the process that has it: an application may be imported by a command that
only looks at it, or by a server that forks its workers afterwards.
"""

from __future__ import annotations

import atexit
import logging
import os
import re
import threading
import weakref
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from socketio.exceptions import ConnectionRefusedError as Refused
from werkzeug.local import LocalProxy

from socketprogress.core.errors import ConfigurationError, StoreError, Unavailable, WireError
from socketprogress.core.registry import Registry
from socketprogress.server.access import Access
from socketprogress.server.commands import add_commands
from socketprogress.server.datadir import lock_data
from socketprogress.server.engine import Engine
from socketprogress.server.entrance import Entrance, Extensions, private_socketio
from socketprogress.server.gate import Gate, is_below, refusal
from socketprogress.server.hosting import HostedEvents, on_server, refusing
from socketprogress.server.inline import InlineEngine, InlineProgress
from socketprogress.server.policy import Policy
from socketprogress.server.rates import Rates
from socketprogress.server.routes import make_blueprint
from socketprogress.server.runtime import Runtime, choose
from socketprogress.server.settings import Settings
from socketprogress.server.signalling import Signalling
from socketprogress.server.widgets import add_widgets

if TYPE_CHECKING:
    from flask import Flask
    from flask_socketio import SocketIO

__all__ = ["Installation"]

log = logging.getLogger(__name__)

SOCKET_PATH = "/socket.io"
HOSTS_SETTING = "app.config['SOCKETPROGRESS_DATA']"


class Installation:
    """What `app.extensions["socketprogress"]` holds.

    Args:
        app: the application.
        registry: its definitions.
        settings: everything that can be set.
        policy: what its users may do.
        url_prefix: where the pages and the API are.
        namespace: the Socket.IO namespace of the events.
        socketio: the application's own Socket.IO server, if it has one.
        runtime: the async mode, where the application is our own server's, which then also
            holds the data folder and says when all ends.
    """

    def __init__(
        self,
        app: Flask,
        *,
        registry: Registry,
        settings: Settings,
        policy: Policy,
        url_prefix: str,
        namespace: str,
        socketio: SocketIO | None = None,
        runtime: Runtime | None = None,
    ) -> None:
        self.app, self.registry, self.settings = app, registry, settings
        self.policy = policy
        self.url_prefix, self.namespace = url_prefix, namespace
        self.socketio: Any = None
        self._runtime = runtime
        self._hosted: HostedEvents | None = None
        self._engine: Engine | None = None
        self._gate: Gate | None = None
        self.inlined: InlineProgress | None = None
        self._engine_class: type[Engine] = Engine
        self._pid = 0
        self._composing = threading.RLock()
        self._behind: Callable[..., Any] = app.wsgi_app
        self._mount()
        if socketio is not None:
            self._share(socketio)
        else:
            self.socketio = private_socketio(app, settings, behind=self._behind)
            app.extensions = Extensions(app.extensions, self._share)

    @property
    def engine(self) -> Engine:
        """The composed server of this process.

        Raises:
            ConfigurationError, StoreError: it cannot be composed.
        """
        if self._engine is None or self._pid != os.getpid():
            with self._composing:
                if self._engine is None or self._pid != os.getpid():
                    self._engine, self._gate = self._composed()
                    self._pid = os.getpid()
                    if not self.app.secret_key:  # without one there are no forms
                        self.app.secret_key = self._engine.secret_key()
        return self._engine

    @property
    def composed(self) -> bool:
        """Whether this process has the server already."""
        return self._engine is not None and self._pid == os.getpid()

    @property
    def socket_path(self) -> str:
        """Where Socket.IO is, below the application's root."""
        middleware = getattr(self.socketio, "sockio_mw", None)
        return SOCKET_PATH if middleware is None else middleware.engineio_path.rstrip("/")

    def started(self) -> Engine:
        """Return the server, which has taken over what its store holds.

        Raises:
            ConfigurationError, StoreError: it cannot be composed.
        """
        self.engine.start()
        return self.engine

    def inline(self, folder: Path) -> InlineProgress:
        """Have tasks run where they are started, in memory, from now on and from scratch.

        Args:
            folder: for their files.

        Raises:
            ConfigurationError: this process serves already.
        """
        if self.composed and not isinstance(self._engine, InlineEngine):
            raise ConfigurationError("this application serves already: its tasks cannot run inline")
        self._engine_class, self._engine = InlineEngine, None
        self.settings = self.settings.but(store="memory:", data=folder)
        self.inlined = InlineProgress(self)
        return self.inlined

    def raise_failure(self, task_id: str) -> None:
        """Raise what ended a task, if it ran inline in a test that wants to see it."""
        if isinstance(self._engine, InlineEngine):
            failure = self._engine.failure(task_id)
            if failure is not None and self.inlined is not None and self.inlined.raises:
                raise failure

    def concerns(self, path: str) -> bool:
        """Return whether a request is for us: for the pages, the API, or a Socket.IO of our own."""
        if is_below(path, self.socket_path):
            return self._hosted is None
        return is_below(path, self.url_prefix)

    def answer(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        """Answer a request that concerns us."""
        try:
            self.started()
        except (ConfigurationError, StoreError) as exc:
            return refusal(_unavailable(exc), start_response)
        protection = self.app.extensions.get("csrf")
        if protection is not None:  # our forms have a token of their own
            protection.exempt(self._blueprint)
        return cast("Gate", self._gate)(environ, start_response)

    def refuses(self, environ: dict[str, Any]) -> bool:
        """Return whether a request would be refused; for servers that upgrade before they ask."""
        return self._gate is not None and self._gate.refuses(environ)

    # -- at once ---------------------------------------------------------------------------------

    def _mount(self) -> None:
        blueprint = make_blueprint(
            cast(Any, LocalProxy(lambda: self.engine.service)),
            cast(Any, LocalProxy(lambda: self.engine.access)),
            cast(Any, LocalProxy(lambda: self.engine.runtime)),
            rates=Rates(self.settings.requests_per_s, self.settings.requests_burst),
            namespace=self.namespace,
            socket_path=cast(Any, LocalProxy(lambda: self.socket_path)),
        )
        add_commands(blueprint, lambda: self)
        add_widgets(blueprint, self)
        self.app.register_blueprint(blueprint, url_prefix=self.url_prefix or None)
        self._blueprint = blueprint
        self.app.wsgi_app = Entrance(self, self.app.wsgi_app)  # type: ignore[method-assign]

    def _share(self, socketio: Any) -> None:
        """Go over to the application's own Socket.IO server, be it that it is made only now."""
        if socketio is self.socketio:
            return
        if self.composed:
            raise ConfigurationError(
                "SocketIO was initialised when SocketProgress served already: initialise it before"
            )
        self.socketio = socketio
        on_server(socketio, self._host_events)

    def _host_events(self) -> None:
        server = self.socketio.server
        if server.packet_class.__module__ != "socketio.packet":
            log.warning(
                "the pages' scripts do not speak the serializer %s of the application's SocketIO",
                server.packet_class.__name__,
            )
        self._hosted = HostedEvents(
            server,
            self.namespace,
            self._handlers,
            most_bytes=self.settings.max_payload_bytes,
        )

    # -- when it is needed -----------------------------------------------------------------------

    def _composed(self) -> tuple[Engine, Gate]:
        if self.socketio.server is None:
            raise ConfigurationError(
                "the SocketIO given to SocketProgress has no app yet: call its init_app(app)"
            )
        standalone = self._runtime is not None
        mode = self.socketio.async_mode.partition("_")[0]  # gevent_uwsgi is gevent
        runtime = self._runtime or choose(mode, hosted=self._hosted is not None)
        lock = None
        if not standalone and self.settings.store.partition(":")[0] in {"", "sqlite"}:
            lock = lock_data(self.settings.data, setting=HOSTS_SETTING)
        try:
            engine = self._engine_class(
                self.settings,
                runtime=runtime,
                registry=self.registry,
                socketio=self.socketio,
                access=self._access(standalone=standalone),
                namespace=self.namespace,
                prefix=self.url_prefix,
                hosted=self._hosted,
            )
        except BaseException:
            if lock is not None:
                lock.close()
            raise
        engine.lock = lock
        is_ours = engine.hub.answers_for
        signalling = Signalling(self.app, runtime, prefix=self.url_prefix, is_ours=is_ours)
        engine.on_changes.append(signalling.note)
        if not standalone:
            atexit.register(_close_at_exit, weakref.ref(engine), os.getpid())
        return engine, self._gate_of(engine)

    def _access(self, *, standalone: bool) -> Access:
        settings = self.settings
        if not standalone and not settings.hosts:
            settings = settings.but(hosts=self._host_names())
        access = Access(
            settings,
            open_to_all=settings.no_token,
            policy=self.policy,
            here_only=not standalone,
        )
        if not standalone:
            access.label = re.sub(r"\W+", "_", self.app.name + self.url_prefix, flags=re.ASCII)
        return access

    def _host_names(self) -> tuple[str, ...]:
        """Return what the application answers to; all names where it knows its users itself."""
        trusted = self.app.config.get("TRUSTED_HOSTS") or ()
        server_name = self.app.config.get("SERVER_NAME")
        names = (*trusted, *([server_name] if server_name else ()))
        return names or (("*",) if self.policy.asks else ())

    def _gate_of(self, engine: Engine) -> Gate:
        if self._hosted is not None:
            return Gate(self._behind, engine.access, socket_path=None, prefix=self.url_prefix)
        sockets = self.socketio.server.eio.sockets
        return Gate(self.socketio.sockio_mw, engine.access, sockets=sockets, prefix=self.url_prefix)

    def _handlers(self) -> dict[str, Callable[..., Any]]:
        """Return what answers events in a host's Socket.IO server."""
        try:
            engine = self.started()
        except (ConfigurationError, StoreError) as exc:
            return refusing(_unavailable(exc))
        handlers = engine.events.handlers()

        def connect(sid: str, environ: dict[str, Any], auth: Any = None) -> Any:
            try:
                engine.access.check_host(environ)
                engine.access.check_origin(environ, strict=True)
            except WireError as exc:
                raise Refused(exc.message, exc.to_wire()) from None
            return handlers["connect"](sid, environ, auth)

        return {**handlers, "connect": connect}


def _unavailable(exc: Exception) -> Unavailable:
    log.error("SocketProgress cannot start: %s", exc)
    return Unavailable("this server cannot start; its log says why")


def _close_at_exit(engine: weakref.ref[Engine], pid: int) -> None:
    found = engine()
    if found is not None and pid == os.getpid():  # a forked child ends with its parent's handlers
        found.close()

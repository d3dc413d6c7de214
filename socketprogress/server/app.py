"""The server of `python -m socketprogress`: one Flask app that is all progress."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Callable
from functools import partial
from typing import Any

from werkzeug.middleware.proxy_fix import ProxyFix

from socketprogress.core.errors import ConfigurationError
from socketprogress.core.registry import Registry
from socketprogress.server.bridge import allow_connections, listen
from socketprogress.server.csrf import csrf_library
from socketprogress.server.datadir import lock_data
from socketprogress.server.extension import SocketProgress
from socketprogress.server.loading import load_definitions
from socketprogress.server.runtime import choose
from socketprogress.server.settings import Settings
from socketprogress.server.watchdog import Watchdog

__all__ = ["Server", "create_server"]

log = logging.getLogger(__name__)

OURS = "socketprogress/"
LATER = {
    f"{name}.html" for name in ("cancel", "embed", "error", "frame", "login", "macros", "task")
}
"""The templates that the list, which is asked for first, does without."""


class Server:
    """A server that is ready to listen.

    Args:
        settings: everything that can be set.

    Raises:
        ConfigurationError, StoreError: a setting cannot work, or the data folder is in use.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._listener: socket.socket | None = None
        self._runtime = choose(settings.async_mode)
        self._lock = lock_data(settings.data)
        self.app, self.progress = self._compose()
        _ = self.progress.engine  # composed now: what cannot work is said before anybody listens

    @property
    def url(self) -> str:
        """The base URL that it listens at."""
        if self._listener is None:
            raise ConfigurationError("the server does not listen yet")
        host, port = self._listener.getsockname()[:2]
        return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"

    def listen(self) -> str:
        """Take the address and return the base URL.

        Raises:
            OSError: the port is taken, or the host is not this machine's.
        """
        allow_connections()
        self._listener = listen(self.settings.host, self.settings.port)
        port = int(self._listener.getsockname()[1])
        self.progress.engine.access.port = port
        # Servers on one machine share their cookies, whatever their ports: those of one store shall.
        family = self.progress.engine.family()
        self.progress.engine.access.label = family or ""
        self.app.config["SESSION_COOKIE_NAME"] = f"socketprogress_session_{family or port}"
        return self.url

    def serve(self, on_ready: Callable[[str], None]) -> None:
        """Serve until `stop`, then end what runs within the grace and book it.

        Args:
            on_ready: called with the base URL once requests are answered.
        """
        if self._listener is None:
            self.listen()
        if self._listener is None:
            raise ConfigurationError("the server does not listen")
        engine = self.progress.engine
        self._tell_tasks()
        engine.start()
        watchdog = Watchdog(self._runtime)
        watchdog.start()

        def ready() -> None:
            on_ready(self.url)
            self._runtime.threading.Thread(
                target=self._prepare, name="socketprogress-pages", daemon=True
            ).start()

        try:
            self._runtime.serve(self.app, self._listener, ready)
        finally:
            watchdog.stop()
            engine.close()
            self._listener.close()

    def stop(self) -> None:
        """Make `serve` return; callable from a signal handler."""
        self._runtime.stop()

    def _prepare(self) -> None:
        """Make ready what only pages need, beside the loop, before the first of them is asked for."""
        csrf_library()
        pages = self.app.jinja_env
        names = pages.list_templates(filter_func=lambda name: name.startswith(OURS))
        for name in sorted(names, key=lambda name: name.removeprefix(OURS) in LATER):
            pages.get_template(name)

    def _tell_tasks(self) -> None:
        """Let the bars that tasks open themselves, tqdm's say, report to this very server."""
        if "SOCKETPROGRESS_URL" not in os.environ:
            os.environ["SOCKETPROGRESS_URL"] = self.url
            if self.settings.token is not None:
                os.environ["SOCKETPROGRESS_TOKEN"] = self.settings.token

    def _compose(self) -> tuple[Any, SocketProgress]:
        from flask import Flask  # noqa: PLC0415 - the runtime is chosen before

        progress = SocketProgress()
        settings = self.settings
        progress.registry = Registry(
            bound={"root": settings.root.resolve(), "exclude": settings.data.resolve()}
        )
        load_definitions(progress.registry, settings)
        app = Flask("socketprogress", static_folder=None, template_folder=None)
        app.config["SESSION_COOKIE_SAMESITE"] = "Lax"
        progress.init_app(
            app,
            settings=settings,
            runtime=self._runtime,
            url_prefix="",
            namespace="/",
        )
        if settings.proxies:
            app.wsgi_app = _Proxied(app.wsgi_app, settings.proxies)  # type: ignore[method-assign]
        return app, progress


class _Proxied:
    """Takes the client's address and scheme from so many proxies; the Host they hand on as it is."""

    def __init__(self, gate: Any, proxies: int) -> None:
        behind: Any = partial(ProxyFix, x_for=proxies, x_proto=proxies, x_host=0)
        self._serve = behind(gate)
        self._refuses = behind(lambda environ, _: gate.refuses(environ))

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Any:
        return self._serve(environ, start_response)

    def refuses(self, environ: dict[str, Any]) -> bool:
        """Return whether a request would be refused; for servers that upgrade before they ask."""
        return bool(self._refuses(dict(environ), None))


def create_server(settings: Settings) -> Server:
    """Return a server that is ready to listen.

    Raises:
        ConfigurationError, StoreError: a setting cannot work, or the data folder is in use.
    """
    return Server(settings)

"""The only module that knows the async mode: how to wait, to spawn, to reach the loop, to serve.

eventlet and gevent run the server on one thread; native threads reach it through `call_on_loop`,
and whatever blocks goes through `run_blocking`. In threading mode both are plain calls.
"""

from __future__ import annotations

import errno
import logging
import os
import socket
import sys
import threading
import warnings
from collections.abc import Callable
from types import ModuleType
from typing import Any, Protocol, TypeVar

from socketprogress.core.errors import ConfigurationError
from socketprogress.server.bridge import BACKLOG, Bridge, LoopSignal
from socketprogress.server.frames import bound_eventlet, bound_gevent, bound_simple_websocket
from socketprogress.server.native import green_mode, log_on_loop, original_threading

__all__ = ["Runtime", "Signal", "choose"]

log = logging.getLogger(__name__)

IDLE_REQUEST_S = 60
ACCEPT_PAUSE_S = 0.5
EXHAUSTED = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
T = TypeVar("T")
Wsgi = Callable[..., Any]


class Signal(Protocol):
    """An event that any thread may set and that the loop can wait for without standing still."""

    def set(self) -> None:
        """Wake whoever waits, now or later."""

    def clear(self) -> None:
        """Let the next `wait` wait again."""

    def wait(self, timeout: float | None = None) -> bool:
        """Wait up to `timeout` seconds; return whether it was set."""


class Runtime(Protocol):
    """One async mode.

    Attributes:
        mode: its name for Flask-SocketIO.
        threading: the module that makes native threads.
        patched: whether the application has replaced `threading` itself by greenlets.
        loop_thread: the identity of the thread that the loop has; None where there is no loop.
    """

    mode: str
    threading: ModuleType
    patched: bool
    loop_thread: int | None

    def signal(self) -> Signal:
        """Return a new signal."""

    def spawn(self, function: Callable[..., Any], *args: Any) -> None:
        """Run a function beside the others: a greenlet, or a thread."""

    def sleep(self, seconds: float) -> None:
        """Let the others run for so long."""

    def call_on_loop(self, function: Callable[[], Any]) -> None:
        """Run a function on the loop soon; callable from any thread, never blocks."""

    def run_blocking(self, function: Callable[..., T], *args: Any) -> T:
        """Run a function that blocks in a native thread and return its result."""

    def serve(self, app: Wsgi, listener: socket.socket, ready: Callable[[], None]) -> None:
        """Serve until `stop`; `ready` is called once requests are answered."""

    def stop(self) -> None:
        """Make `serve` return; callable from a signal handler and from any thread."""


def choose(mode: str, *, hosted: bool = False) -> Runtime:
    """Return the runtime of an async mode.

    Args:
        mode: its name.
        hosted: the sockets are another application's, and their drivers stay as they are.

    Raises:
        ConfigurationError: its packages are not installed, or there is no such mode.
    """
    runtimes: dict[str, Callable[..., Runtime]] = {
        "eventlet": EventletRuntime,
        "gevent": GeventRuntime,
        "threading": ThreadingRuntime,
    }
    if mode not in runtimes:
        raise ConfigurationError(f"async mode {mode!r} is none of {', '.join(runtimes)}")
    try:
        return runtimes[mode](hosted=hosted)
    except ImportError as exc:
        raise ConfigurationError(
            f"async mode {mode!r} needs a package that is not installed ({exc}); "
            f"pip install 'socketprogress[{mode}]'"
        ) from exc


class ThreadingRuntime:
    """Native threads for everything, Werkzeug as the server."""

    mode = "threading"
    threading: ModuleType = threading
    patched = False
    loop_thread: int | None = None

    def __init__(self, *, hosted: bool = False) -> None:
        self._server: Any = None
        self._stopped = threading.Event()
        if not hosted:
            bound_simple_websocket()

    def signal(self) -> Signal:
        """Return a new signal."""
        return threading.Event()

    def spawn(self, function: Callable[..., Any], *args: Any) -> None:
        """Run a function in a daemon thread."""
        threading.Thread(target=function, args=args, daemon=True).start()

    def sleep(self, seconds: float) -> None:
        """Sleep."""
        threading.Event().wait(seconds)

    def call_on_loop(self, function: Callable[[], Any]) -> None:
        """Run the function here: every thread is as good as another."""
        function()

    def run_blocking(self, function: Callable[..., T], *args: Any) -> T:
        """Run the function here: only this thread waits for it."""
        return function(*args)

    def serve(self, app: Wsgi, listener: socket.socket, ready: Callable[[], None]) -> None:
        """Serve with Werkzeug's threaded server, HTTP/1.1, without its log."""
        from werkzeug.serving import ThreadedWSGIServer, WSGIRequestHandler  # noqa: PLC0415

        class Handler(WSGIRequestHandler):
            protocol_version = "HTTP/1.1"
            timeout = IDLE_REQUEST_S

            def log_request(self, *args: Any, **kwargs: Any) -> None:
                """Leave requests out of the log: their URLs may carry a token."""

            def log_error(self, format: str, *args: Any) -> None:
                log.debug(format, *args)

            def connection_dropped(self, *_: Any) -> None:
                """Close a WebSocket's connection with it: no further request comes over it."""
                self.close_connection = True

        class Server(ThreadedWSGIServer):
            request_queue_size = BACKLOG

            def handle_error(self, *_: Any) -> None:
                log.debug("a connection broke: %s", sys.exc_info()[1])

        host, port = listener.getsockname()[:2]
        self._server = Server(host, port, app, Handler, fd=listener.fileno())
        threading.Thread(
            target=self._server.serve_forever, name="socketprogress-http", daemon=True
        ).start()
        ready()
        # A signal handler runs between two waits only: a wait without end would delay it.
        while not self._stopped.wait(0.5):
            pass
        self._server.shutdown()

    def stop(self) -> None:
        """Make `serve` return."""
        self._stopped.set()


class EventletRuntime:
    """Greenlets on one thread, eventlet's own WSGI server."""

    mode = "eventlet"

    def __init__(self, *, hosted: bool = False) -> None:
        if not hosted:
            os.environ.setdefault("EVENTLET_NO_GREENDNS", "yes")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import eventlet  # noqa: PLC0415
            import eventlet.green.threading  # noqa: PLC0415
            import eventlet.tpool  # noqa: PLC0415
            import eventlet.wsgi  # noqa: PLC0415
        self._eventlet: Any = eventlet
        self.threading: ModuleType = eventlet.patcher.original("threading")
        self.patched = green_mode("thread") == "eventlet"
        if not hosted:
            bound_eventlet()
        self.loop_thread: int | None = self.threading.get_ident()
        self._bridge = Bridge()
        self._stop_signal = self.signal()
        if self.patched:
            log_on_loop(self._is_loop, self.call_on_loop)
        eventlet.spawn(self._pump)

    def signal(self) -> Signal:
        """Return a new signal."""
        event = self._eventlet.green.threading.Event()
        return LoopSignal(event, self._is_loop, self.call_on_loop)

    def spawn(self, function: Callable[..., Any], *args: Any) -> None:
        """Run a function in a greenlet."""
        self._eventlet.spawn(function, *args)

    def sleep(self, seconds: float) -> None:
        """Let the others run for so long."""
        self._eventlet.sleep(seconds)

    def call_on_loop(self, function: Callable[[], Any]) -> None:
        """Run a function on the loop soon."""
        self._bridge.call(function)

    def run_blocking(self, function: Callable[..., T], *args: Any) -> T:
        """Run a function in one of eventlet's native threads."""
        result: T = self._eventlet.tpool.execute(function, *args)
        return result

    def serve(self, app: Wsgi, listener: socket.socket, ready: Callable[[], None]) -> None:
        """Serve with eventlet's server: no limit of 1,024, no tracebacks to clients."""
        eventlet = self._eventlet
        listener.setblocking(False)
        green = _patient(eventlet)(listener)
        eventlet.spawn(
            eventlet.wsgi.server,
            green,
            app,
            log=logging.getLogger("socketprogress.wsgi"),
            log_output=False,
            debug=False,
            max_size=100_000,
            socket_timeout=IDLE_REQUEST_S,
        )
        eventlet.sleep(0)
        ready()
        self._stop_signal.wait()

    def stop(self) -> None:
        """Make `serve` return."""
        self._bridge.call(self._stop_signal.set)

    def _is_loop(self) -> bool:
        return bool(self.threading.get_ident() == self.loop_thread)

    def _pump(self) -> None:
        from eventlet.hubs import trampoline  # noqa: PLC0415

        while True:
            trampoline(self._bridge.reader, read=True)
            self._bridge.run_all()


def _patient(eventlet: Any) -> Any:
    """Return the class of a listener that waits where descriptors have run out.

    eventlet's server would end for good with the first connection that finds none left.
    """

    class Listener(eventlet.greenio.GreenSocket):  # type: ignore[misc]
        def accept(self) -> Any:
            while True:
                try:
                    return super().accept()
                except OSError as exc:
                    if exc.errno not in EXHAUSTED:
                        raise
                    log.warning("no connection can be taken for now: %s", exc.strerror)
                eventlet.sleep(ACCEPT_PAUSE_S)

    return Listener


class GeventRuntime:
    """Greenlets on one thread, gevent's pywsgi with gevent-websocket."""

    mode = "gevent"

    def __init__(self, *, hosted: bool = False) -> None:
        import gevent  # noqa: PLC0415
        import gevent.event  # noqa: PLC0415
        import gevent.pywsgi  # noqa: PLC0415
        import gevent.socket  # noqa: PLC0415

        if not hosted:
            bound_gevent()
        self._gevent: Any = gevent
        self.threading: ModuleType = original_threading()
        self.patched = green_mode("threading") == "gevent"
        self.loop_thread: int | None = self.threading.get_ident()
        self._bridge = Bridge()
        self._stop_signal = self.signal()
        gevent.spawn(self._pump)

    def signal(self) -> Signal:
        """Return a new signal."""
        return LoopSignal(self._gevent.event.Event(), self._is_loop, self.call_on_loop)

    def spawn(self, function: Callable[..., Any], *args: Any) -> None:
        """Run a function in a greenlet."""
        self._gevent.spawn(function, *args)

    def sleep(self, seconds: float) -> None:
        """Let the others run for so long."""
        self._gevent.sleep(seconds)

    def call_on_loop(self, function: Callable[[], Any]) -> None:
        """Run a function on the loop soon."""
        self._bridge.call(function)

    def run_blocking(self, function: Callable[..., T], *args: Any) -> T:
        """Run a function in gevent's pool of native threads."""
        result: T = self._gevent.get_hub().threadpool.apply(function, args)
        return result

    def serve(self, app: Wsgi, listener: socket.socket, ready: Callable[[], None]) -> None:
        """Serve with pywsgi."""
        from geventwebsocket.handler import WebSocketHandler  # noqa: PLC0415

        gevent = self._gevent
        listener.setblocking(False)
        green = gevent.socket.socket(
            listener.family, listener.type, fileno=os.dup(listener.fileno())
        )
        server = gevent.pywsgi.WSGIServer(
            green, app, log=None, error_log=_Quiet(), handler_class=WebSocketHandler
        )
        # gevent-websocket upgrades before it asks the application; what that would refuse it gets
        # as a plain request, and refuses.
        refuses = getattr(getattr(app, "wsgi_app", app), "refuses", None)
        if refuses is not None:
            server.pre_start_hook = lambda handler: refuses(handler.environ)
        server.start()
        ready()
        self._stop_signal.wait()
        server.stop(timeout=0.2)

    def stop(self) -> None:
        """Make `serve` return."""
        self._bridge.call(self._stop_signal.set)

    def _is_loop(self) -> bool:
        return bool(self.threading.get_ident() == self.loop_thread)

    def _pump(self) -> None:
        while True:
            self._gevent.socket.wait_read(self._bridge.reader.fileno())
            self._bridge.run_all()


class _Quiet:
    """Takes what pywsgi writes about broken connections into the log."""

    def write(self, text: str) -> None:
        if text.strip():
            log.debug("%s", text.rstrip())

    def flush(self) -> None:
        pass

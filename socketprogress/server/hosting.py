"""Our events in a Socket.IO server that is the host application's own.

Its settings, its other namespaces and its own events stay as they are. What our own server does
with strict packets happens here in our handlers, for our events alone.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from socketio.exceptions import ConnectionRefusedError as Refused

from socketprogress.core.errors import ConfigurationError, WireError
from socketprogress.core.protocol import EVENTS
from socketprogress.server.packets import NO_ACK, TOO_DEEP, TOO_LARGE

__all__ = ["HostedEvents", "SharedHandlers", "on_server", "refusing"]

CONNECTION = ("connect", "disconnect")
Handler = Callable[..., Any]


def on_server(socketio: Any, arrived: Callable[[], None]) -> None:
    """Call back once a Flask-SocketIO object has its server, before any handler is registered."""
    if socketio.server is not None:
        arrived()
    else:
        socketio.handlers = _Awaited(socketio.handlers, arrived)


class _Awaited(list[Any]):
    """The handlers of a SocketIO that waits for its app: they are read when the server is there."""

    def __init__(self, handlers: list[Any], arrived: Callable[[], None]) -> None:
        super().__init__(handlers)
        self._arrived: Callable[[], None] | None = arrived

    def __iter__(self) -> Iterator[Any]:
        arrived, self._arrived = self._arrived, None
        if arrived is not None:
            arrived()
        return super().__iter__()


class SharedHandlers(dict[str, Handler]):
    """One namespace's handlers: ours, and the host's whenever they are registered.

    A host's handler of a connection's beginning and end does not replace ours but is called by it.

    Args:
        ours: by event.
        theirs: those that the host has registered already.

    Raises:
        ConfigurationError: the host has, or registers later, one of our events.
    """

    def __init__(self, ours: Mapping[str, Handler], theirs: Mapping[str, Handler]) -> None:
        super().__init__(ours)
        self.theirs: dict[str, Handler] = {}
        for event, handler in theirs.items():
            self[event] = handler

    def __setitem__(self, event: str, handler: Handler) -> None:
        if event in CONNECTION:
            self.theirs[event] = handler
        elif event in EVENTS:
            raise ConfigurationError(
                f"the event {event!r} is SocketProgress's own in this namespace: give it another "
                "one, such as init_app(app, namespace='/socketprogress')"
            )
        else:
            super().__setitem__(event, handler)


class HostedEvents:
    """Takes our events from a host's server.

    Args:
        server: the host's python-socketio server.
        namespace: where our events are.
        handlers: returns what answers them, by event; "*" answers what nobody knows.
        most_bytes: the largest payload.

    In the namespace ``/``, which every client of the host connects to, nobody is refused: who may
    not use our events learns it from each of them.
    """

    def __init__(
        self,
        server: Any,
        namespace: str,
        handlers: Callable[[], Mapping[str, Handler]],
        *,
        most_bytes: int,
    ) -> None:
        self._server, self._namespace = server, namespace
        self._handlers, self._most = handlers, most_bytes
        self._shared = namespace == "/"
        self._refused: dict[str, dict[str, Any]] = {}
        self._table = self._install()

    def close_connection(self, sid: str) -> None:
        """End a connection to our namespace; what else its client has with the host goes on."""
        self._server.disconnect(sid, namespace=self._namespace)

    def _install(self) -> SharedHandlers:
        ours: dict[str, Handler] = {"connect": self._connect, "disconnect": self._disconnect}
        for event in EVENTS:
            ours[event] = self._answering(event)
        if not self._shared:
            ours["*"] = self._unknown
        table = SharedHandlers(ours, self._server.handlers.get(self._namespace, {}))
        self._server.handlers[self._namespace] = table
        self._mark_unacked()
        return table

    def _mark_unacked(self) -> None:
        """Have our handlers know, as our own packets tell them, whether somebody waits for an ack."""
        handle = self._server._handle_event

        def marking(eio_sid: str, namespace: str | None, id: int | None, data: Any) -> Any:
            is_ours = (namespace or "/") == self._namespace and isinstance(data, list)
            if is_ours and id is None and data and self._is_ours(data[0]):
                data = [*data, NO_ACK]
            return handle(eio_sid, namespace, id, data)

        self._server._handle_event = marking

    def _is_ours(self, event: Any) -> bool:
        if not isinstance(event, str) or event in CONNECTION:
            return False
        handler = self._table.get(event, self._table.get("*"))
        return event in EVENTS or handler == self._unknown

    # -- connections -----------------------------------------------------------------------------

    def _connect(self, sid: str, *args: Any) -> Any:
        environ = self._server.get_environ(sid, self._namespace)
        if len(args) not in {1, 2} or args[0] is None or args[0] is not environ:
            return self._named_like("connect", sid, *args)
        if self._shared:
            answer = self._theirs("connect", sid, *args)
            if answer is not False:
                self._let_in(sid, *args)
            return answer
        self._handlers()["connect"](sid, *args)
        answer = False
        try:
            answer = self._theirs("connect", sid, *args)
        finally:
            if answer is False:
                self._handlers()["disconnect"](sid)
        return answer

    def _let_in(self, sid: str, *args: Any) -> None:
        try:
            self._handlers()["connect"](sid, *args)
        except Refused as exc:
            self._refused[sid] = exc.error_args["data"]

    def _named_like(self, event: str, sid: str, *args: Any) -> Any:
        """Answer an event that a client has sent by a name that is the connection's own."""
        if self._shared or event in self._table.theirs:
            return self._theirs(event, sid, *args)
        return self._unknown(event, sid, *args)

    def _disconnect(self, sid: str, *args: Any) -> Any:
        if self._server.manager.is_connected(sid, self._namespace):
            return self._named_like("disconnect", sid, *args)
        self._refused.pop(sid, None)
        self._handlers()["disconnect"](sid, *args[:1])
        return self._theirs("disconnect", sid, *args)

    def _theirs(self, event: str, sid: str, *args: Any) -> Any:
        """Call the host's own handler, as python-socketio would without ours."""
        handler = self._table.theirs.get(event)
        everywhere = self._server.handlers.get("*", {})
        if handler is None and self._shared and event in everywhere:
            handler, args = everywhere[event], (sid, *args)
            sid = self._namespace
        if handler is None:
            return self._of_class(event, sid, *args)
        try:
            return handler(sid, *args)
        except TypeError:
            if not args or (event == "connect" and args[-1]):
                raise
            return handler(sid, *args[:-1])  # the older form: without `auth`, or the reason

    def _of_class(self, event: str, sid: str, *args: Any) -> Any:
        handler = self._server.namespace_handlers.get(self._namespace)
        return None if handler is None else handler.trigger_event(event, sid, *args)

    # -- events ----------------------------------------------------------------------------------

    def _answering(self, event: str) -> Handler:
        def answer(sid: str, *args: Any) -> Any:
            refusal = self._refused.get(sid)
            if refusal is not None:
                return {"ok": False, "error": refusal}
            return self._handlers()["*"](event, sid, *(self._bounded(arg) for arg in args))

        return answer

    def _unknown(self, event: str, sid: str, *args: Any) -> Any:
        theirs = self._server.namespace_handlers.get(self._namespace)
        if theirs is not None:
            return theirs.trigger_event(event, sid, *(a for a in args if a is not NO_ACK))
        return self._answering(event)(sid, *args)

    def _bounded(self, payload: Any) -> Any:
        """Return a payload, or the mark of one that is too much."""
        if payload is NO_ACK or payload is None or isinstance(payload, (bool, int, float)):
            return payload
        try:
            size = len(json.dumps(payload, ensure_ascii=False).encode("utf-8", "replace"))
        except RecursionError:
            return TOO_DEEP
        except (TypeError, ValueError):  # binary parts, which the event itself refuses
            return payload
        return TOO_LARGE if size > self._most else payload


def refusing(error: WireError) -> dict[str, Handler]:
    """Return handlers that answer everything with an error: the server cannot be had."""

    def connect(*_: Any) -> None:
        raise Refused(error.message, error.to_wire())

    return {
        "connect": connect,
        "disconnect": lambda *_: None,
        "*": lambda *_: {"ok": False, "error": error.to_wire()},
    }

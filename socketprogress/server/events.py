"""Socket.IO events → service. Every handler answers, whatever it was sent."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from socketio.exceptions import ConnectionRefusedError as Refused

from socketprogress.core.errors import (
    InvalidPayload,
    RateLimited,
    TooLarge,
    Unavailable,
    UnknownEvent,
    WireError,
)
from socketprogress.core.protocol import one_line, snapshot, summary, task_room
from socketprogress.core.state import TaskState
from socketprogress.server.access import Access, Role, TokenBucket
from socketprogress.server.emitter import Emitter
from socketprogress.server.fanout import Fanout
from socketprogress.server.guard import close_connection
from socketprogress.server.lists import ListWatchers
from socketprogress.server.packets import NO_ACK, RESERVED, TOO_DEEP, TOO_LARGE
from socketprogress.server.payloads import (
    list_request,
    log_request,
    no_request,
    start_request,
    task_request,
    watch_request,
)
from socketprogress.server.reporters import Reporters
from socketprogress.server.runtime import Runtime
from socketprogress.server.service import Service

__all__ = ["Events"]

log = logging.getLogger(__name__)

PATIENCE = 1_000
PATIENCE_A_S = 20.0
BACKLOG_PAUSE_S = 0.02
BACKLOG_PAUSES = 250
Answer = dict[str, Any]


@dataclass(slots=True)
class Session:
    """One connection: who it is, what it watches, how much it may still send.

    `bucket` holds the events that it may send, `patience` how many may yet be refused.
    """

    sid: str
    role: Role
    bucket: TokenBucket
    patience: TokenBucket
    watched: set[str] = field(default_factory=set)


class Events:
    """The handlers of one namespace.

    Args:
        server: the python-socketio server.
        namespace: where the events arrive.
        service: what carries them out.
        access: who may.
        emitter, fanout, lists: how watchers get their news.
        runtime: how to wait.
        prefix: the URL prefix of files.
    """

    def __init__(
        self,
        server: Any,
        namespace: str,
        *,
        service: Service,
        access: Access,
        emitter: Emitter,
        fanout: Fanout,
        lists: ListWatchers,
        runtime: Runtime,
        prefix: str,
    ) -> None:
        self._server, self._namespace, self._prefix = server, namespace, prefix
        self._service, self._access = service, access
        self._emitter, self._fanout, self._lists = emitter, fanout, lists
        self._runtime = runtime
        self._limits = service.settings
        self._sessions: dict[str, Session] = {}
        self._handlers: dict[str, tuple[Role, Callable[[Session, Any], Answer]]] = {
            "start_task": (Role.OPERATOR, self._start_task),
            "watch_task": (Role.VIEWER, self._watch_task),
            "unwatch_task": (Role.VIEWER, self._unwatch_task),
            "watch_tasks": (Role.VIEWER, self._watch_tasks),
            "unwatch_tasks": (Role.VIEWER, self._unwatch_tasks),
            "list_tasks": (Role.VIEWER, self._list_tasks),
            "list_definitions": (Role.VIEWER, self._list_definitions),
            "cancel_task": (Role.OPERATOR, self._cancel_task),
            "retry_task": (Role.OPERATOR, self._retry_task),
            "get_log": (Role.VIEWER, self._get_log),
            "open_task": (Role.REPORTER, self._open_task),
            "report": (Role.REPORTER, self._report),
        }
        self._reporters = Reporters(service, fanout)
        service.on_cancel = self._reporters.tell

    def install(self) -> None:
        """Register the handlers; every name but the connection's own goes through one of them."""
        self._server.on("connect", self._connect, namespace=self._namespace)
        self._server.on("disconnect", self._disconnect, namespace=self._namespace)
        self._server.on("*", self._event, namespace=self._namespace)

    def names(self) -> tuple[str, ...]:
        """Return the names of all events that clients may send."""
        return tuple(self._handlers)

    # -- connections -----------------------------------------------------------------------------

    def _connect(self, sid: str, environ: dict[str, Any], auth: Any = None) -> None:
        try:
            role = self._access.connection(environ, auth)
        except WireError as exc:
            raise Refused(exc.message, exc.to_wire()) from None
        bucket = TokenBucket(self._limits.events_per_s, self._limits.events_burst)
        self._reporters.join(sid)
        self._sessions[sid] = Session(sid, role, bucket, TokenBucket(PATIENCE_A_S, PATIENCE))

    def _disconnect(self, sid: str, reason: Any = None) -> None:
        self._sessions.pop(sid, None)
        self._reporters.leave(sid)
        self._fanout.forget(sid)
        self._lists.leave(sid)

    def _event(self, event: str, sid: str, *args: Any) -> Answer:
        session = self._sessions.get(sid)
        acked = not (args and args[-1] is NO_ACK)
        payloads = args if acked else args[:-1]
        event = event.removeprefix(RESERVED)
        beside: dict[str, Any] = {}
        try:
            if session is None:
                raise Unavailable("this connection is closing")
            self._await_taken(sid)
            return {"ok": True, **self._handle(session, event, payloads)}
        except WireError as exc:
            error, beside = exc.to_wire(), exc.beside()
        except Exception:  # the client must get its ack, and the reason belongs into the log
            log.exception("the event %r failed", event)
            error = Unavailable("the server failed on this event; its log says why").to_wire()
        if not acked:
            told = {"event": one_line(event, 200), "error": error}
            self._fanout.one(sid, "task_error", told)
        return {"ok": False, "error": error, **beside}

    def _await_taken(self, sid: str) -> None:
        """Hear a client more slowly while it leaves its answers lying: they would fill the memory."""
        for pause in range(BACKLOG_PAUSES):
            if self._fanout.free(sid) or sid not in self._sessions:
                return
            # The first one only lets the connection's writer have its turn.
            self._runtime.sleep(BACKLOG_PAUSE_S if pause else 0)

    def _handle(self, session: Session, event: str, payloads: tuple[Any, ...]) -> Answer:
        self._spend(session)
        if event not in self._handlers:
            raise UnknownEvent(f"there is no event {one_line(event, 200)!r}")
        if len(payloads) > 1:
            raise InvalidPayload(f"an event has one payload, not {len(payloads)}")
        payload = payloads[0] if payloads else None
        if payload is TOO_LARGE:
            most = self._limits.max_payload_bytes
            raise TooLarge(f"the payload is over the limit of {most:,} bytes")
        if payload is TOO_DEEP:
            raise InvalidPayload(f"the payload is nested over {self._limits.max_depth} levels")
        role, handler = self._handlers[event]
        self._access.need(session.role, role)
        return handler(session, payload)

    def _spend(self, session: Session) -> None:
        wait_s = session.bucket.take()
        if not wait_s:
            return
        if session.patience.take():
            log.warning("connection %s goes on in spite of its limit: disconnected", session.sid)
            eio_sid = self._server.manager.eio_sid_from_sid(session.sid, self._namespace)
            close_connection(self._server, eio_sid)
        raise RateLimited(
            f"more than {self._limits.events_per_s:g} events a second", retry_after_s=wait_s
        )

    # -- events ----------------------------------------------------------------------------------

    def _start_task(self, session: Session, payload: Any) -> Answer:
        wanted = start_request(payload, self._limits)
        self._room_left(session, wanted.task_id)
        started = self._service.start(
            wanted.task,
            wanted.args,
            title=wanted.title,
            task_id=wanted.task_id,
            tags=wanted.tags,
        )
        with self._emitter.joining():
            task = self._join(session, started.task_id)
            self._fanout.one(session.sid, "task_started", task)
        # A page that knows only updates must see the end of a task that was over before the join.
        self._service.hub.touch(started.task_id)
        return {"task_id": started.task_id, "task": task}

    def _watch_task(self, session: Session, payload: Any) -> Answer:
        wanted = watch_request(payload, self._limits)
        self._service.hub.get(wanted.task_id)
        self._room_left(session, wanted.task_id)
        with self._emitter.joining():
            return {"task": self._join(session, wanted.task_id)}

    def _unwatch_task(self, session: Session, payload: Any) -> Answer:
        task_id = task_request(payload, self._limits)
        session.watched.discard(task_id)
        self._server.leave_room(session.sid, task_room(task_id), namespace=self._namespace)
        self._fanout.forget(session.sid, task_id)
        return {}

    def _watch_tasks(self, session: Session, payload: Any) -> Answer:
        wanted = list_request(payload, self._limits, paged=False)
        with self._emitter.joining():
            self._leave_list(session)
            room = self._lists.join(session.sid, wanted.filter)
            self._enter(session, room)
            return self._list(wanted.filter, None, wanted.limit)

    def _unwatch_tasks(self, session: Session, payload: Any) -> Answer:
        no_request(payload, self._limits)
        self._leave_list(session)
        return {}

    def _list_tasks(self, session: Session, payload: Any) -> Answer:
        wanted = list_request(payload, self._limits)
        return self._list(wanted.filter, wanted.before, wanted.limit)

    def _list_definitions(self, session: Session, payload: Any) -> Answer:
        no_request(payload, self._limits)
        return {"definitions": [definition.to_wire() for definition in self._service.registry]}

    def _cancel_task(self, session: Session, payload: Any) -> Answer:
        return {"task": self._wire(self._service.cancel(task_request(payload, self._limits)))}

    def _retry_task(self, session: Session, payload: Any) -> Answer:
        return {"task_id": self._service.retry(task_request(payload, self._limits)).task_id}

    def _get_log(self, session: Session, payload: Any) -> Answer:
        wanted = log_request(payload, self._limits)
        page = self._service.log_page(wanted.task_id, offset=wanted.offset, limit=wanted.limit)
        return {"offset": page.offset, "lines": list(page.lines), "next_offset": page.next_offset}

    def _open_task(self, session: Session, payload: Any) -> Answer:
        state, beside = self._reporters.open(session.sid, payload)
        return {**beside, "task": self._wire(state)}

    def _report(self, session: Session, payload: Any) -> Answer:
        return self._reporters.report(session.sid, payload)

    # -- rooms -----------------------------------------------------------------------------------

    def _room_left(self, session: Session, task_id: str | None) -> None:
        if task_id in session.watched or len(session.watched) < self._limits.max_watched:
            return
        gone = {i for i in session.watched if self._service.hub.find(i) is None}
        session.watched -= gone
        if len(session.watched) >= self._limits.max_watched:
            raise RateLimited(
                f"this connection watches {len(session.watched)} tasks already: unwatch some",
                retry_after_s=1.0,
            )

    def _join(self, session: Session, task_id: str) -> dict[str, Any]:
        self._enter(session, task_room(task_id))
        session.watched.add(task_id)
        return self._wire(self._service.hub.get(task_id))

    def _enter(self, session: Session, room: str) -> None:
        try:
            self._server.enter_room(session.sid, room, namespace=self._namespace)
        except (KeyError, ValueError):
            # The connection has gone in between; the library may leave an empty room behind.
            if not any(self._server.manager.get_participants(self._namespace, room)):
                self._server.close_room(room, namespace=self._namespace)
            raise Unavailable("this connection is closing") from None

    def _leave_list(self, session: Session) -> None:
        room = self._lists.leave(session.sid)
        if room is not None:
            self._server.leave_room(session.sid, room, namespace=self._namespace)

    def _list(self, wanted: Any, before: str | None, limit: int) -> Answer:
        page = self._service.hub.page(wanted, limit=limit, before=before)
        return {
            "tasks": [summary(state) for state in page.tasks],
            "counts": self._service.hub.counts(),
            "next": page.next,
        }

    def _wire(self, state: TaskState) -> dict[str, Any]:
        return snapshot(state, prefix=self._prefix)

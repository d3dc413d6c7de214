"""Socket.IO events → service. Every handler answers, whatever it was sent."""

from __future__ import annotations

import logging
import time
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
from socketprogress.core.reports import OpenRequest, open_request
from socketprogress.core.state import TaskState
from socketprogress.server.access import Access, TokenBucket
from socketprogress.server.emitter import Emitter
from socketprogress.server.fanout import Fanout
from socketprogress.server.lists import ListWatchers
from socketprogress.server.logpieces import newest_of, oldest_of
from socketprogress.server.packets import NO_ACK, RESERVED, TOO_DEEP, TOO_LARGE
from socketprogress.server.payloads import (
    ListRequest,
    LogRequest,
    StartRequest,
    WatchRequest,
    list_request,
    log_request,
    no_request,
    start_request,
    task_request,
    watch_request,
)
from socketprogress.server.principals import OF_A_TASK, Principal
from socketprogress.server.rates import extra_of_list
from socketprogress.server.reporters import Reporters
from socketprogress.server.runtime import Runtime
from socketprogress.server.service import Service
from socketprogress.server.settings import Settings

__all__ = ["Events"]

log = logging.getLogger(__name__)

PATIENCE = 1_000
PATIENCE_A_S = 20.0
BACKLOG_PAUSE_S = 0.02
BACKLOG_PAUSES = 250
MOST_WAITING = 16
Answer = dict[str, Any]


@dataclass(slots=True)
class Session:
    """One connection: who it is, what it watches, how much it may still send.

    `bucket` holds the events that it may send, `patience` how many may yet be refused; `waiting`
    counts those that wait until it has taken its answers.
    """

    sid: str
    principal: Principal
    bucket: TokenBucket
    patience: TokenBucket
    watched: set[str] = field(default_factory=set)
    waiting: int = 0


@dataclass(frozen=True, slots=True)
class _Handler:
    """An event: the action that it is, None for one on the connection itself; how it is read; what
    answers it."""

    action: str | None
    read: Callable[[Any, Settings], Any]
    run: Callable[[Session, Any], Answer]


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
        close: ends a connection that goes on in spite of its limits.
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
        close: Callable[[str], None],
    ) -> None:
        self._server, self._namespace, self._prefix = server, namespace, prefix
        self._close = close
        self._service, self._access = service, access
        self._emitter, self._fanout, self._lists = emitter, fanout, lists
        self._runtime = runtime
        self._limits = service.settings
        self._sessions: dict[str, Session] = {}
        self._permits = service.permits
        self._handlers = {
            "start_task": _Handler("start", start_request, self._start_task),
            "watch_task": _Handler("view", watch_request, self._watch_task),
            "unwatch_task": _Handler(None, task_request, self._unwatch_task),
            "watch_tasks": _Handler("list", _live_list_request, self._watch_tasks),
            "unwatch_tasks": _Handler(None, no_request, self._unwatch_tasks),
            "list_tasks": _Handler("list", list_request, self._list_tasks),
            "list_definitions": _Handler("definitions", no_request, self._list_definitions),
            "cancel_task": _Handler("cancel", task_request, self._cancel_task),
            "retry_task": _Handler("retry", task_request, self._retry_task),
            "get_log": _Handler("log", log_request, self._get_log),
            "open_task": _Handler("open", open_request, self._open_task),
            "report": _Handler("report", _as_it_is, self._report),
        }
        self._reporters = Reporters(service, fanout)
        service.on_cancel = self._reporters.tell

    def handlers(self) -> dict[str, Callable[..., Any]]:
        """Return the handlers; every name but the connection's own goes through that of "*"."""
        return {"connect": self._connect, "disconnect": self._disconnect, "*": self._event}

    def install(self) -> None:
        """Register the handlers."""
        for event, handler in self.handlers().items():
            self._server.on(event, handler, namespace=self._namespace)

    def names(self) -> tuple[str, ...]:
        """Return the names of all events that clients may send."""
        return tuple(self._handlers)

    def watched(self) -> tuple[int, int]:
        """Return how many connections there are, and how many tasks they watch together."""
        sessions = list(self._sessions.values())
        return len(sessions), sum(len(session.watched) for session in sessions)

    def review(self) -> None:
        """Close the connections that have lost the right to what they watch.

        Their clients come back by themselves, and are told what is the matter.
        """
        for session in list(self._sessions.values()):
            if not self._holds(session):
                log.info("connection %s has lost its rights: disconnected", session.sid)
                self._close(session.sid)

    # -- connections -----------------------------------------------------------------------------

    def _connect(self, sid: str, environ: dict[str, Any], auth: Any = None) -> None:
        try:
            principal = self._access.connection(environ, auth)
        except WireError as exc:
            raise Refused(exc.message, exc.to_wire()) from None
        bucket = TokenBucket(self._limits.events_per_s, self._limits.events_burst)
        if isinstance(auth, dict) and auth.get("confirms") is True:
            self._fanout.confirms(sid)
        if isinstance(auth, dict) and auth.get("batches") is True:
            self._fanout.batches(sid)
        self._reporters.join(sid)
        self._sessions[sid] = Session(sid, principal, bucket, TokenBucket(PATIENCE_A_S, PATIENCE))

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
            self._await_taken(session)
            return {"ok": True, **self._handle(session, event, payloads)}
        except WireError as exc:
            error, beside = exc.to_wire(), exc.beside()
        except Exception:  # the client must get its ack, and the reason belongs into the log
            log.exception("the event %r failed", event)
            error = Unavailable("the server failed on this event; its log says why").to_wire()
        self._service.metrics.refused("socket", error["code"])
        if not acked:
            told = {"event": one_line(event, 200), "error": error}
            self._fanout.one(sid, "task_error", told)
        return {"ok": False, "error": error, **beside}

    def _await_taken(self, session: Session) -> None:
        """Hear a client more slowly while it leaves its answers lying: they would fill the memory."""
        if session.waiting >= MOST_WAITING:  # where each event has a thread of its own
            self._lose_patience(session)
            raise RateLimited("take the answers there are first", retry_after_s=1.0)
        sid = session.sid
        session.waiting += 1
        try:
            for pause in range(BACKLOG_PAUSES):
                if not self._fanout.hoards(sid) or sid not in self._sessions:
                    return
                # The first one only lets the connection's writer have its turn.
                self._runtime.sleep(BACKLOG_PAUSE_S if pause else 0)
        finally:
            session.waiting -= 1

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
        handler = self._handlers[event]
        if handler.action is not None:
            self._permits.need_role(session.principal, handler.action)
        wanted = handler.read(payload, self._limits)
        with self._access.policy.within(session.principal), self._permits.hiding(session.principal):
            self._permit(session.principal, handler.action, wanted)
            return handler.run(session, wanted)

    def _permit(self, principal: Principal, action: str | None, wanted: Any) -> None:
        """Let pass what is allowed; starting, opening and reporting are looked at item by item."""
        if action in OF_A_TASK and action != "report":
            task_id = wanted if isinstance(wanted, str) else wanted.task_id
            self._permits.need(principal, action, task_id)
        elif action in {"list", "definitions"}:
            self._permits.need(principal, action)

    def _spend(self, session: Session) -> None:
        wait_s = session.bucket.take()
        if not wait_s:
            return
        self._lose_patience(session)
        raise RateLimited(
            f"more than {self._limits.events_per_s:g} events a second", retry_after_s=wait_s
        )

    def _holds(self, session: Session) -> bool:
        """Return whether somebody's token still holds, and they may see the tasks they watch."""
        principal = session.principal
        if not principal.asked:
            return self._access.holds(principal)
        watched = [self._service.hub.find(task_id) for task_id in list(session.watched)]
        with self._access.policy.within(principal):
            return all(s is None or self._permits.may(principal, "view", s) for s in watched)

    def _lose_patience(self, session: Session) -> None:
        if session.patience.take():
            log.warning("connection %s goes on in spite of its limit: disconnected", session.sid)
            self._close(session.sid)

    # -- events ----------------------------------------------------------------------------------

    def _start_task(self, session: Session, wanted: StartRequest) -> Answer:
        name = wanted.task if wanted.task is not None else self._limits.default_task
        wanted = self._permits.start(session.principal, wanted, name)
        self._room_left(session, wanted.task_id)
        started = self._service.start(
            wanted.task,
            wanted.args,
            title=wanted.title,
            task_id=wanted.task_id,
            tags=wanted.tags,
        )
        if not self._permits.may(session.principal, "view", started):
            return {"task_id": started.task_id, "task": self._wire(started)}
        with self._emitter.joining():
            task = self._join(session, started.task_id)
            self._fanout.one(session.sid, "task_started", task)
        # A page that knows only updates must see the end of a task that was over before the join.
        self._service.hub.touch(started.task_id)
        return {"task_id": started.task_id, "task": task}

    def _watch_task(self, session: Session, wanted: WatchRequest) -> Answer:
        self._room_left(session, wanted.task_id)
        with self._emitter.joining():
            return {"task": self._join(session, wanted.task_id)}

    def _unwatch_task(self, session: Session, task_id: str) -> Answer:
        session.watched.discard(task_id)
        self._server.leave_room(session.sid, task_room(task_id), namespace=self._namespace)
        self._fanout.forget(session.sid, task_id)
        return {}

    def _watch_tasks(self, session: Session, wanted: ListRequest) -> Answer:
        with self._emitter.joining():
            self._leave_list(session)
            sight = self._permits.sight(session.principal)
            room = self._lists.join(session.sid, wanted.filter, sight)
            self._enter(session, room)
            return self._list(session, wanted)

    def _unwatch_tasks(self, session: Session, _: None) -> Answer:
        self._leave_list(session)
        return {}

    def _list_tasks(self, session: Session, wanted: ListRequest) -> Answer:
        return self._list(session, wanted)

    def _list_definitions(self, session: Session, _: None) -> Answer:
        known = self._permits.definitions(session.principal, self._service.registry)
        return {"definitions": [definition.to_wire() for definition in known]}

    def _cancel_task(self, session: Session, task_id: str) -> Answer:
        return {"task": self._wire(self._service.cancel(task_id))}

    def _retry_task(self, session: Session, task_id: str) -> Answer:
        return {"task_id": self._service.retry(task_id).task_id}

    def _get_log(self, session: Session, wanted: LogRequest) -> Answer:
        page = self._service.log_page(wanted.task_id, offset=wanted.offset, limit=wanted.limit)
        piece = newest_of if wanted.offset < 0 else oldest_of
        page = piece(page, wanted.bytes)
        return {"offset": page.offset, "lines": list(page.lines), "next_offset": page.next_offset}

    def _open_task(self, session: Session, wanted: OpenRequest) -> Answer:
        state, beside = self._reporters.open(session.sid, session.principal, wanted)
        return {**beside, "task": self._wire(state)}

    def _report(self, session: Session, payload: Any) -> Answer:
        return self._reporters.report(session.sid, session.principal, payload)

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

    def _list(self, session: Session, wanted: ListRequest) -> Answer:
        page, counts = self._permits.listing(
            session.principal, wanted.filter, limit=wanted.limit, before=wanted.before
        )
        session.bucket.charge(extra_of_list(len(page.tasks)))
        tasks = [summary(state) for state in page.tasks]
        return {"tasks": tasks, "counts": counts, "next": page.next, "now": time.time()}

    def _wire(self, state: TaskState) -> dict[str, Any]:
        return snapshot(state, prefix=self._prefix)


def _live_list_request(data: Any, limits: Settings) -> ListRequest:
    return list_request(data, limits, paged=False)


def _as_it_is(data: Any, _: Settings) -> Any:
    """Return a report as it came: each of a list is read for itself."""
    return data

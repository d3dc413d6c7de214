"""Brings one encoded event to every watcher of a room, and to each at its own speed.

A watcher has no queue of states: while its connection is busy, a changed task only marks its slot,
and when the connection is free again it gets that task's newest state, first of the task that waits
longest: of those that change all the time none keeps another waiting. So a slow watcher costs some
task ids, and no state that counts, a terminal one, is ever dropped. Of a log that went on
meanwhile it hears how far it is, and asks for what it has missed.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from engineio import packet as engineio_packet
from socketio import packet as socketio_packet

from socketprogress.core.protocol import task_room
from socketprogress.server.batches import Batches, fitting, json_of, message_of
from socketprogress.server.flow import Flow, flow_of

__all__ = ["Fanout"]

log = logging.getLogger(__name__)

Payload = dict[str, Any]


class Fanout:
    """The watchers of one namespace.

    Args:
        server: the python-socketio server.
        namespace: where the watchers are.
        newest: returns a task's newest `progress_update`, or None when it is gone.
        log_end: returns the number that the next line of a task's log will have.

    Attributes:
        sent: events handed to connections.
        conflated: states that waited in a slot, to be replaced by newer ones.
    """

    def __init__(
        self,
        server: Any,
        namespace: str,
        newest: Callable[[str], Payload | None],
        log_end: Callable[[str], int],
    ) -> None:
        self._server = server
        self._namespace = namespace
        self._newest, self._log_end = newest, log_end
        self._slots: dict[str, dict[str, None]] = {}  # in the order in which tasks began to wait
        self._unread: dict[str, set[str]] = {}
        # What was brought in this round and in the last: it may have been newer than the round's news,
        # and is then news again in the next one.
        self._told: dict[tuple[str, str], tuple[str, int]] = {}
        self._told_before: dict[tuple[str, str], tuple[str, int]] = {}
        self._shown: dict[str, tuple[str, int]] = {}
        self._shown_before: dict[str, tuple[str, int]] = {}
        self._batching: set[str] = set()
        self._batches = Batches()
        # Not where a host has a serializer, or a JSON, of its own.
        packets = server.packet_class
        self._takes_text = packets.encode is socketio_packet.Packet.encode
        self._writes_json = self._takes_text and packets.json.dumps is json.dumps
        self._prefix = f"{socketio_packet.EVENT}{'' if namespace == '/' else f'{namespace},'}"
        self.sent = self.conflated = 0

    @property
    def behind(self) -> bool:
        """Whether a watcher waits for a newest state."""
        return bool(self._slots or self._unread)

    def watched(self, room: str) -> bool:
        """Return whether anybody is in a room."""
        return room in self._server.manager.rooms.get(self._namespace, {})

    def state(self, task_id: str) -> None:
        """Bring a task's newest state to its room."""
        room = task_room(task_id)
        if not self.watched(room):
            return
        payload = self._newest(task_id)
        if payload is None:
            return
        number = self._shown[task_id] = _number(payload)
        if self._shown_before.get(task_id) == number:
            return
        text = self._text(payload)
        frame = self._frame("progress_update", payload, text)
        for sid, eio_sid in self._members(room):
            slot, place = self._slots.get(sid), (sid, task_id)
            had = self._told.get(place) or self._told_before.get(place)
            if self._gone(eio_sid) or had == number:
                continue
            if sid in self._batching:
                self._batches.add(sid, eio_sid, task_id, text)
                continue
            if self.busy(eio_sid):
                self._wait(sid, task_id)
                continue
            if slot is not None:
                slot.pop(task_id, None)
            self._send(sid, eio_sid, frame)

    def states(self, task_ids: Iterable[str]) -> None:
        """Bring the newest states of tasks to their rooms, but to nobody what it has just had."""
        for task_id in task_ids:
            self.state(task_id)
        for sid, eio_sid, texts in self._batches.take():
            self._batch(sid, eio_sid, texts)
            for task_id in texts:
                self._wait(sid, task_id)
        self._told_before, self._told = self._told, {}
        self._shown_before, self._shown = self._shown, {}

    def log(self, task_id: str, payload: Payload) -> None:
        """Bring lines of a task's log to its room; whom they do not reach hears how far it is."""
        for sid in self.room(task_room(task_id), "task_log", payload):
            self._unread.setdefault(sid, set()).add(task_id)

    def room(self, room: str, event: str, payload: Payload) -> list[str]:
        """Bring an event to a room; return the ids of those for whom it is too much now."""
        if not self.watched(room):
            return []
        frame = self._frame(event, payload, self._text(payload))
        missed = []
        for sid, eio_sid in self._members(room):
            if self.busy(eio_sid) or len(frame.data) > self._flow(eio_sid).room():
                if not self._gone(eio_sid):
                    missed.append(sid)
            else:
                self._send(sid, eio_sid, frame)
        return missed

    def one(self, sid: str, event: str, payload: Payload) -> None:
        """Bring an event to one connection, whatever its speed."""
        eio_sid = self._eio_sid(sid)
        if eio_sid is not None:
            self._send(sid, eio_sid, self._frame(event, payload, self._text(payload)))

    def free(self, sid: str) -> bool:
        """Return whether a connection is there and takes more."""
        eio_sid = self._eio_sid(sid)
        return eio_sid is not None and not self.busy(eio_sid)

    def room_of(self, sid: str) -> int:
        """Return how many bytes an event to a connection may have that is no state of a task."""
        eio_sid = self._eio_sid(sid)
        if eio_sid is None or self._gone(eio_sid) or self.busy(eio_sid):
            return 0
        return self._flow(eio_sid).room()

    def hoards(self, sid: str) -> bool:
        """Return whether a connection leaves lying so much that it is a matter of memory."""
        eio_sid = self._eio_sid(sid)
        return not (eio_sid is None or self._gone(eio_sid)) and self._flow(eio_sid).hoards()

    def confirms(self, sid: str) -> None:
        """Note that a client confirms what has arrived when it is asked to."""
        eio_sid = self._eio_sid(sid)
        if eio_sid is not None and not self._gone(eio_sid):
            self._flow(eio_sid).confirms = True

    def batches(self, sid: str) -> None:
        """Note that a client takes the states of several tasks in one event."""
        if self._takes_text:
            self._batching.add(sid)

    def left(self, sid: str) -> bool:
        """Return whether a connection has no transport: it is over, or a test client's."""
        eio_sid = self._server.manager.eio_sid_from_sid(sid, self._namespace)
        return eio_sid is None or self._gone(eio_sid)

    def catch_up(self) -> int:
        """Give those whose connections are free again the newest states they have missed.

        Returns:
            How many states they took.
        """
        taken = 0
        for sid, slot in list(self._slots.items()):
            # Copied, as other threads take ids out: who unwatches, or leaves.
            for task_id in list(slot):
                if not self.free(sid):
                    break
                slot.pop(task_id, None)
                taken += 1
                payload = self._newest(task_id)
                if payload is not None:
                    self.one(sid, "progress_update", payload)
                    self._told[sid, task_id] = _number(payload)
            if not slot or self.left(sid):
                self._slots.pop(sid, None)
        for sid in [sid for sid in list(self._unread) if self.room_of(sid) or self.left(sid)]:
            for task_id in self._unread.pop(sid, ()):
                taken += 1
                told = {"task_id": task_id, "offset": self._log_end(task_id), "lines": []}
                self.one(sid, "task_log", told)
        return taken

    def forget(self, sid: str, task_id: str | None = None) -> None:
        """Forget what a connection waits for: of one task, or everything."""
        if task_id is not None:
            self._slots.get(sid, {}).pop(task_id, None)
            self._unread.get(sid, set()).discard(task_id)
            return
        self._slots.pop(sid, None)
        self._unread.pop(sid, None)
        self._batching.discard(sid)

    def busy(self, eio_sid: str) -> bool:
        """Return whether a connection has not taken what it was given."""
        connection = self._server.eio.sockets.get(eio_sid)
        return connection is None or flow_of(connection).busy()

    def _wait(self, sid: str, task_id: str) -> None:
        """Have a connection get a task's newest state when it is free again."""
        self._slots.setdefault(sid, {})[task_id] = None
        self.conflated += 1

    def _batch(self, sid: str, eio_sid: str, texts: dict[str, str]) -> None:
        """Bring states to a connection, taking out of `texts` those that it has got."""
        slot = self._slots.get(sid, {})
        while texts and not self.busy(eio_sid):
            ids = fitting(texts, self._flow(eio_sid).batch_bytes())
            message = message_of(self._prefix, [texts.pop(task_id) for task_id in ids])
            for task_id in ids:
                slot.pop(task_id, None)
            self._send(sid, eio_sid, engineio_packet.Packet(engineio_packet.MESSAGE, message))

    def _eio_sid(self, sid: str) -> str | None:
        found: str | None = self._server.manager.eio_sid_from_sid(sid, self._namespace)
        return found

    def _flow(self, eio_sid: str) -> Flow:
        connection = self._server.eio.sockets.get(eio_sid)
        return Flow() if connection is None else flow_of(connection)

    def _gone(self, eio_sid: str) -> bool:
        """Return whether a connection is over, though its room may not know yet."""
        return eio_sid not in self._server.eio.sockets

    def _members(self, room: str) -> Iterator[tuple[str, str]]:
        return iter(self._server.manager.get_participants(self._namespace, room))

    def _text(self, payload: Payload) -> str:
        """Return a payload's JSON; an empty text where a host's serializer is of another kind."""
        if not self._takes_text:
            return ""
        text = json_of(payload) if self._writes_json else None
        dumps = self._server.packet_class.json.dumps
        return str(dumps(payload, separators=(",", ":"))) if text is None else text

    def _frame(self, event: str, payload: Payload, text: str) -> engineio_packet.Packet:
        message: str | bytes | list[Any] = f'{self._prefix}["{event}",{text}]'
        if not self._takes_text:
            message = self._server.packet_class(
                socketio_packet.EVENT,
                namespace=self._namespace,
                data=[event, payload],
                binary=False,
            ).encode()
        return engineio_packet.Packet(engineio_packet.MESSAGE, message)

    def _send(self, sid: str, eio_sid: str, frame: engineio_packet.Packet) -> None:
        self.sent += 1
        try:
            flow = self._flow(eio_sid)
            if flow.wants_mark():
                frame = self._marked(sid, flow, frame)
            self._server._send_eio_packet(eio_sid, frame)
        except Exception:  # the library raises several kinds for a connection that has just gone
            log.debug("connection %s is gone", eio_sid, exc_info=True)

    def _marked(
        self, sid: str, flow: Flow, frame: engineio_packet.Packet
    ) -> engineio_packet.Packet:
        """Return the frame as one that asks for an acknowledgement: all that differs is its number."""

        def confirmed(*_: Any) -> None:
            arrived()

        number = self._server.manager._generate_ack_id(sid, confirmed)
        text = f"{self._prefix}{number}{frame.data.removeprefix(self._prefix)}"
        arrived = flow.mark(len(text))  # with its number: or all would never have arrived
        return engineio_packet.Packet(engineio_packet.MESSAGE, text)


def _number(payload: Payload) -> tuple[str, int]:
    return payload["epoch"], payload["seq"]

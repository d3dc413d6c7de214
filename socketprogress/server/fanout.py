"""Brings one encoded event to every watcher of a room, and to each at its own speed.

A watcher has no queue of states: while its connection is busy, a changed task only marks its slot,
and when the connection is free again it gets that task's newest state. So a slow watcher costs a
set of task ids, and no state that counts, a terminal one, is ever dropped.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from typing import Any

from engineio import packet as engineio_packet
from socketio import packet as socketio_packet

from socketprogress.core.protocol import task_room

__all__ = ["Fanout"]

log = logging.getLogger(__name__)

BUSY_PACKETS = 8

Payload = dict[str, Any]


class Fanout:
    """The watchers of one namespace.

    Args:
        server: the python-socketio server.
        namespace: where the watchers are.
        newest: returns a task's newest `progress_update`, or None when it is gone.
    """

    def __init__(
        self, server: Any, namespace: str, newest: Callable[[str], Payload | None]
    ) -> None:
        self._server = server
        self._namespace = namespace
        self._newest = newest
        self._slots: dict[str, set[str]] = {}

    @property
    def behind(self) -> bool:
        """Whether a watcher waits for a newest state."""
        return bool(self._slots)

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
        packet = self._packet("progress_update", payload)
        for sid, eio_sid in self._members(room):
            slot = self._slots.get(sid)
            if self._gone(eio_sid):
                continue
            if self.busy(eio_sid):
                self._slots.setdefault(sid, set()).add(task_id)
                continue
            if slot is not None:
                slot.discard(task_id)
            self._send(eio_sid, packet)

    def room(self, room: str, event: str, payload: Payload) -> list[str]:
        """Bring an event to a room; return the ids of those too busy to get it."""
        if not self.watched(room):
            return []
        packet = self._packet(event, payload)
        missed = []
        for sid, eio_sid in self._members(room):
            if self.busy(eio_sid):
                if not self._gone(eio_sid):
                    missed.append(sid)
            else:
                self._send(eio_sid, packet)
        return missed

    def one(self, sid: str, event: str, payload: Payload) -> None:
        """Bring an event to one connection, whatever its speed."""
        eio_sid = self._server.manager.eio_sid_from_sid(sid, self._namespace)
        if eio_sid is not None:
            self._send(eio_sid, self._packet(event, payload))

    def free(self, sid: str) -> bool:
        """Return whether a connection is there and takes more."""
        eio_sid = self._server.manager.eio_sid_from_sid(sid, self._namespace)
        return eio_sid is not None and not self.busy(eio_sid)

    def catch_up(self) -> None:
        """Give those whose connections are free again the newest states they have missed."""
        for sid, slot in list(self._slots.items()):
            # Copied, as other threads take ids out: who unwatches, or leaves.
            for task_id in list(slot):
                if not self.free(sid):
                    break
                slot.discard(task_id)
                payload = self._newest(task_id)
                if payload is not None:
                    self.one(sid, "progress_update", payload)
            eio_sid = self._server.manager.eio_sid_from_sid(sid, self._namespace)
            if not slot or eio_sid is None or self._gone(eio_sid):
                self._slots.pop(sid, None)

    def forget(self, sid: str, task_id: str | None = None) -> None:
        """Forget what a connection waits for: of one task, or everything."""
        slot = self._slots.get(sid)
        if task_id is None:
            self._slots.pop(sid, None)
        elif slot is not None:
            slot.discard(task_id)

    def busy(self, eio_sid: str) -> bool:
        """Return whether a connection has not taken what it was given."""
        connection = self._server.eio.sockets.get(eio_sid)
        return connection is None or connection.queue.qsize() >= BUSY_PACKETS

    def _gone(self, eio_sid: str) -> bool:
        """Return whether a connection is over, though its room may not know yet."""
        return eio_sid not in self._server.eio.sockets

    def _members(self, room: str) -> Iterator[tuple[str, str]]:
        return iter(self._server.manager.get_participants(self._namespace, room))

    def _packet(self, event: str, payload: Payload) -> engineio_packet.Packet:
        packet = self._server.packet_class(
            socketio_packet.EVENT, namespace=self._namespace, data=[event, payload], binary=False
        )
        return engineio_packet.Packet(engineio_packet.MESSAGE, packet.encode())

    def _send(self, eio_sid: str, packet: engineio_packet.Packet) -> None:
        try:
            self._server._send_eio_packet(eio_sid, packet)
        except Exception:  # the library raises several kinds for a connection that has just gone
            log.debug("connection %s is gone", eio_sid, exc_info=True)

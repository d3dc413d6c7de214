"""Connections that never say what they came for: Engine.IO alone, without a Socket.IO CONNECT."""

from __future__ import annotations

import logging
from typing import Any

from socketprogress.core.ports import Clock
from socketprogress.server.guard import close_connection

__all__ = ["Strangers"]

log = logging.getLogger(__name__)


class Strangers:
    """Closes connections that are in no namespace.

    The libraries keep them as long as they answer pings, and each has a place among those that
    its address may have.

    Args:
        server: the python-socketio server.
        patience_s: seconds that they have for it.
        clock: measures them.
    """

    def __init__(self, server: Any, *, patience_s: float, clock: Clock) -> None:
        self._server, self._patience_s, self._clock = server, patience_s, clock
        self._since: dict[str, float] = {}

    def sweep(self) -> None:
        """Close those whose time is over."""
        now, known = self._clock.monotonic(), self._known()
        strangers = [eio_sid for eio_sid in list(self._server.eio.sockets) if eio_sid not in known]
        self._since = {eio_sid: self._since.get(eio_sid, now) for eio_sid in strangers}
        for eio_sid, since in self._since.items():
            if now - since > self._patience_s:
                log.info("closing connection %s: it is in no namespace", eio_sid)
                close_connection(self._server, eio_sid)

    def _known(self) -> set[str]:
        """Return the connections that are in a namespace, whichever."""
        everybody = (rooms.get(None, {}) for rooms in list(self._server.manager.rooms.values()))
        return {eio_sid for members in everybody for eio_sid in list(members.values())}

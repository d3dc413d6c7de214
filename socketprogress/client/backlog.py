"""The delivery of what earlier processes have left in the spool, one file after the other."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from socketprogress.client import notice
from socketprogress.client.forks import import_whole

if TYPE_CHECKING:
    from socketprogress.client.outbox import Outbox
    from socketprogress.client.spool import Claim

__all__ = ["Backlog"]

LOOK_S = 30.0


class Backlog:
    """The spool of one server, as its sender sees it.

    Args:
        url: the server.
        clock: monotonic seconds.

    Attributes:
        delivered: tasks whose news has arrived.
    """

    def __init__(self, url: str, *, clock: Callable[[], float]) -> None:
        self.delivered = 0
        self._url = url
        self._clock = clock
        self._claim: Claim | None = None
        self._left: set[str] = set()
        self._next_look = 0.0

    @property
    def is_delivering(self) -> bool:
        """Whether a file is on its way."""
        return self._claim is not None

    def put(self, records: list[dict[str, Any]]) -> None:
        """Keep what tasks have still to say."""
        if not records:
            return
        try:
            import_whole("socketprogress.client.spool").Spool(self._url).put(records)
        except OSError as exc:
            notice.warn_once("the last reports of %d tasks are lost: %s", len(records), exc)

    def look(self, outbox: Outbox) -> None:
        """Put the next file's tasks into the outbox, unless one is on its way."""
        if self._claim is not None or self._clock() < self._next_look:
            return
        self._next_look = self._clock() + LOOK_S
        spool = import_whole("socketprogress.client.spool")
        for url in (self._url, spool.ANY):
            self._claim = spool.Spool(url).claim()
            if self._claim is not None:
                records = [record for record in self._claim.records if outbox.adopt(record)]
                self._left = {record["open"]["task_id"] for record in records}
                self._next_look = 0.0
                self.settle(outbox)
                return

    def settle(self, outbox: Outbox) -> None:
        """Remove the file once all that was in it has arrived."""
        if self._claim is None:
            return
        arrived = {task_id for task_id in self._left if task_id not in outbox}
        self._left -= arrived
        self.delivered += len(arrived)
        if not self._left:
            self._claim.delivered()
            self._claim = None

    def release(self) -> None:
        """Leave the file to others."""
        if self._claim is not None:
            self._claim.release()

"""Who of those that share a Redis store is alive, and who of them leads.

Each counts up its beat in one hash. Whose beat stands still for longer than the lease, by the clock of
whoever looks and as long as Redis answers, has died: so neither a Redis that hung nor a wrong clock
makes anybody dead.
"""

from __future__ import annotations

import itertools
import logging
import secrets
from collections.abc import Callable
from typing import Any

from socketprogress.core.hub import Hub
from socketprogress.stores.redis import RedisStore
from socketprogress.stores.redis_place import run_id
from socketprogress.stores.redis_scripts import LEAD

__all__ = ["Presence"]

log = logging.getLogger(__name__)

BEATS_A_LEASE = 6
CLAIM_LEASES = 3


class Presence:
    """This process's own beat, and its view of the others.

    Args:
        store: the store that is shared.
        hub: whose tasks may be left by a dead process.
        on_orphans: called with the ids of the tasks of a process that has died; None for a process that
            looks after nobody and never leads.
        monotonic: seconds that never go back.
    """

    def __init__(
        self,
        store: RedisStore,
        hub: Hub,
        *,
        on_orphans: Callable[[list[str]], None] | None,
        monotonic: Callable[[], float],
    ) -> None:
        self._store, self._hub, self._on_orphans = store, hub, on_orphans
        self._monotonic = monotonic
        self._beats = itertools.count(1)
        self._seen: dict[str, tuple[bytes | None, float]] = {}
        self._due = 0.0
        self._data: bytes | None = None

    @property
    def lease_s(self) -> float:
        """The seconds of silence after which a process is taken for dead."""
        return self._store.place.lease_s

    def life(self, client: Any) -> tuple[str, str]:
        """Return what names the data and the run of Redis that holds it."""
        key = self._store.place.key("data")
        client.set(key, secrets.token_urlsafe(9), nx=True)
        self._data = client.get(key)
        return str(self._data), run_id(client)

    def life_changed(self, life: tuple[str, str] | None) -> bool:
        """Return whether the data is other than it was, as the last beat has seen it."""
        return life is not None and life[0] != str(self._data)

    def beat_if_due(self, client: Any) -> None:
        """Beat, and look after the others, where it is time for that."""
        now = self._monotonic()
        if now < self._due:
            return
        key = self._store.place.key
        pipeline = client.pipeline(transaction=False)
        pipeline.hset(key("servers"), self._hub.epoch, next(self._beats))
        pipeline.get(key("data"))
        if self._on_orphans is not None:
            pipeline.hgetall(key("servers"))
            pipeline.eval(LEAD, 1, key("leader"), self._hub.epoch, int(self.lease_s * 1000))
        _, self._data, *more = pipeline.execute()
        self._due = now + self.lease_s / BEATS_A_LEASE
        if more:
            beats, leads = more
            self._hub.retains = bool(leads)
            self._look(client, {one.decode(): beat for one, beat in beats.items()}, now)

    def interrupted(self) -> None:
        """Begin to look anew: while Redis was away nobody could beat."""
        self._seen.clear()
        self._due = 0.0

    def leave(self, client: Any) -> None:
        """Tell the others that this process has gone."""
        client.hdel(self._store.place.key("servers"), self._hub.epoch)

    def _look(self, client: Any, beats: dict[str, bytes], now: float) -> None:
        speakers = self._hub.speakers()
        self._seen = {
            one: seen for one, seen in self._seen.items() if one in beats or one in speakers
        }
        for one in (beats.keys() | speakers.keys()) - {self._hub.epoch}:
            beat, since = self._seen.get(one, (b"", now))
            if beat != beats.get(one):
                self._seen[one] = (beats.get(one), now)
            elif now - since > self.lease_s:
                self._seen[one] = (beat, now)  # whoever takes its tasks may die at that too
                self._bury(client, one, speakers.get(one, []))

    def _bury(self, client: Any, one: str, task_ids: list[str]) -> None:
        """Take over what a dead process has left, unless somebody else does."""
        key = self._store.place.key("orphans", one)
        expires_ms = int(CLAIM_LEASES * self.lease_s * 1000)
        if not client.set(key, self._hub.epoch, nx=True, px=expires_ms):
            return
        if task_ids:
            log.warning("process %s has died: taking over its %d tasks", one, len(task_ids))
        if self._on_orphans is not None:
            self._on_orphans(task_ids)
        client.hdel(self._store.place.key("servers"), one)

"""One process among those that share a Redis store.

A native thread of its own reads the feed, tells the others that this process is alive, hears what they
want of its tasks, and notices which of them has died. Redis away, it tries again, and when it is back
compares everything.
"""

from __future__ import annotations

import json
import logging
import threading as stdlib_threading
import time
from collections.abc import Callable
from typing import Any

from socketprogress.core.hub import Hub
from socketprogress.core.ports import Threading
from socketprogress.core.state import TaskState
from socketprogress.stores import codec
from socketprogress.stores.redis import RedisStore
from socketprogress.stores.redis_place import connect, reason
from socketprogress.stores.redis_presence import Presence
from socketprogress.stores.redis_sync import compare

__all__ = ["Member"]

log = logging.getLogger(__name__)

BLOCK_MS = 250
TIMEOUT_S = 1.0
ENTRIES_AT_ONCE = 64
RETRY_S = (0.1, 1.0)


class _Gap(Exception):
    """The feed has forgotten what this process has not read, or the data is another."""


class Member:
    """Keeps a hub in step with all others that share its store.

    Args:
        store: the store that is shared.
        hub: its tasks are told to the others, and those of the others shown in it.
        on_command: called from the member's thread with what is wanted (``"cancel"``) and a task's id.
        on_orphans: called from the member's thread with the ids of tasks whose process has died; of all
            that notice it, one is called. Without it the hub shows nobody else's tasks, and this process
            only tells of its own.
        threading: where threads and locks come from.
    """

    def __init__(
        self,
        store: RedisStore,
        hub: Hub,
        *,
        on_command: Callable[[str, str], None],
        on_orphans: Callable[[list[str]], None] | None = None,
        threading: Threading = stdlib_threading,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store, self._hub, self._mirrors = store, hub, on_orphans is not None
        self._on_command = on_command
        self._client: Any = connect(store.place, timeout_s=TIMEOUT_S)
        self._presence = Presence(store, hub, on_orphans=on_orphans, monotonic=monotonic)
        self._feed, self._commands = store.place.key("feed"), store.place.key("commands")
        self._read: dict[str, bytes | str] = {}
        self._number = 0
        self._life: tuple[str, str] | None = None
        self._stopped = threading.Event()
        self._thread = threading.Thread(
            target=self._run, name="socketprogress-store-feed", daemon=True
        )
        store.on_refused = lambda state: hub.mirror([state])

    def start(self) -> None:
        """Begin to follow."""
        self._thread.start()

    def close(self, timeout_s: float = 2.0) -> None:
        """Stop, and let the others know that this process has gone."""
        self._stopped.set()
        if self._thread.is_alive():
            self._thread.join(timeout_s)

    # -- the thread ------------------------------------------------------------------------------

    def _run(self) -> None:
        delay = RETRY_S[0]
        while not self._stopped.is_set():
            try:
                self._join()
                self._store.trouble = None
                delay = RETRY_S[0]
                while not self._stopped.is_set():
                    self._presence.beat_if_due(self._client)
                    self._take(self._next())
            except _Gap as gap:
                log.info("reading all of %s again: %s", self._store.place.shown, gap)
            except Exception as error:  # noqa: BLE001 - logged; Redis may be away, the thread goes on
                self._fail(error)
                self._stopped.wait(delay)
                delay = min(2 * delay, RETRY_S[1])
        self._leave()

    def _fail(self, error: Exception) -> None:
        known = self._store.trouble is not None
        place = self._store.place.shown
        self._store.trouble = f"the store {place} is away: {reason(error)}"
        if not known:
            trace = None if isinstance(error, self._store.errors) else error
            log.warning("%s", self._store.trouble, exc_info=trace)
        self._client.close()
        self._presence.interrupted()

    def _join(self) -> None:
        """Note where the feed is, then compare everything: what comes in between comes twice."""
        pipeline = self._client.pipeline(transaction=True)
        pipeline.xrevrange(self._feed, count=1)
        pipeline.get(self._store.place.key("fed"))
        pipeline.xrevrange(self._commands, count=1)
        feed, number, commands = pipeline.execute()
        self._read = {self._commands: _last(commands)}
        if self._mirrors:
            self._read[self._feed] = _last(feed)
        behind, self._number = self._number, int(number or 0)
        life = self._presence.life(self._client)
        has_lost = self._number < behind or (self._life is not None and self._life != life)
        if has_lost:
            log.warning(
                "%s has been started anew: telling it what is known", self._store.place.shown
            )
            self._store.restore_meta(self._client)
        wanted = compare(
            self._store, self._hub, self._client, has_lost=has_lost, mirrors=self._mirrors
        )
        self._life = life
        self._presence.interrupted()
        for task_id in wanted:
            self._on_command("cancel", task_id)

    def _next(self) -> list[Any]:
        answer: list[Any] = self._client.xread(self._read, count=ENTRIES_AT_ONCE, block=BLOCK_MS)
        if self._presence.life_changed(self._life):
            raise _Gap("its data is another")
        return answer

    def _take(self, answer: list[Any]) -> None:
        states: dict[str, TaskState] = {}
        for stream, entries in answer:
            for entry_id, fields in entries:
                if stream.decode() == self._feed:
                    self._take_news(fields, states)
                else:
                    self._on_command(fields[b"kind"].decode(), fields[b"task"].decode())
                self._read[stream.decode()] = entry_id
        if states:
            self._hub.mirror(states.values())

    def _take_news(self, fields: dict[bytes, bytes], states: dict[str, TaskState]) -> None:
        """Take an entry of the feed; of several states of one task the newest is shown."""
        self._number += 1
        if int(fields[b"n"]) != self._number:
            raise _Gap(f"entry {self._number} is missing")
        if fields[b"o"].decode() == self._store.origin:
            return
        news = codec.decode_news(fields[b"s"])
        large = [one for one in news if isinstance(one, str)]
        fetched = self._store.fetch(large, self._client) if large else ()
        for state in (*(one for one in news if not isinstance(one, str)), *fetched):
            states[state.task_id] = state
        lines, gone = json.loads(fields[b"l"]), json.loads(fields[b"d"])
        if lines or gone:
            self._hub.mirror(states.values())
            states.clear()
            for task_id, offset, texts in lines:
                self._hub.mirror_log(task_id, offset, texts)
            self._hub.mirror_deleted(gone)

    def _leave(self) -> None:
        try:
            self._presence.leave(self._client)
        except self._store.errors as error:
            log.debug("nobody is told that this process ends: %s", reason(error))
        self._client.close()


def _last(entries: list[Any]) -> bytes | str:
    """Return the id to read on from."""
    return entries[0][0] if entries else "0-0"

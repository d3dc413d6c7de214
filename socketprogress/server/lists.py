"""Those who watch the list: each filter is a room, and a change is encoded once for each."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from socketprogress.core.hub import Changes, Filter, Hub
from socketprogress.core.protocol import summary
from socketprogress.core.state import TaskState
from socketprogress.server.fanout import Fanout
from socketprogress.server.permits import Sight, tally

__all__ = ["ListWatchers"]

MOST_ROWS = 100
ROW_BYTES = 800

_Key = tuple[Filter, Sight | None]


@dataclass
class _Group:
    """The watchers of one filter, what their lists show, and what changed for them.

    Those who do not see everything have groups of their own, with the statuses of what they see.
    """

    room: str
    key: _Key
    shown: set[str]
    statuses: dict[str, str] = field(default_factory=dict)
    members: set[str] = field(default_factory=set)
    changed: set[str] = field(default_factory=set)
    removed: set[str] = field(default_factory=set)

    def shows(self, state: TaskState) -> bool:
        """Return whether a task is in the list as it is now; note its status if it is seen."""
        wanted, sight = self.key
        if sight is not None:
            if not sight.sees(state):
                self.statuses.pop(state.task_id, None)
                return False
            self.statuses[state.task_id] = state.status.value
        return wanted.matches(state)


class ListWatchers:
    """Keeps what every list shows, and tells its watchers what changed.

    Args:
        hub: the tasks.
        fanout: brings the news.
    """

    def __init__(self, hub: Hub, fanout: Fanout) -> None:
        self._hub = hub
        self._fanout = fanout
        self._groups: dict[_Key, _Group] = {}
        self._of: dict[str, _Group] = {}
        self._behind: dict[str, dict[str, None]] = {}
        self._made = 0
        # Connections come and go on threads of their own, in the middle of a `tell` as well.
        self._lock = threading.RLock()

    @property
    def waiting(self) -> bool:
        """Whether there is something to tell."""
        return any(group.changed or group.removed for group in list(self._groups.values()))

    @property
    def behind(self) -> bool:
        """Whether a watcher waits for what it has missed."""
        return bool(self._behind)

    @property
    def watchers(self) -> int:
        """How many connections watch a list."""
        return len(self._of)

    def join(self, sid: str, wanted: Filter, sight: Sight | None = None) -> str:
        """Add a watcher, who may not see all there is, and return the room to enter."""
        with self._lock:
            self.leave(sid)
            key = (wanted, sight)
            group = self._groups.get(key)
            if group is None:
                self._made += 1
                group = self._groups[key] = _Group(f"tasks:{self._made}", key, set())
                group.shown = {state.task_id for state in self._hub.all() if group.shows(state)}
            group.members.add(sid)
            self._of[sid] = group
        return group.room

    def leave(self, sid: str) -> str | None:
        """Remove a watcher and return the room to leave, if it was in one."""
        with self._lock:
            self._behind.pop(sid, None)
            group = self._of.pop(sid, None)
            if group is None:
                return None
            group.members.discard(sid)
            if not group.members:
                self._groups.pop(group.key, None)
        return group.room

    def note(self, changes: Changes) -> None:
        """Note what changed, for the next `tell`."""
        for group in list(self._groups.values()):
            for task_id, state in changes.tasks.items():
                self._note(group, task_id, state)
            for task_id in changes.removed:
                group.statuses.pop(task_id, None)
            gone = group.shown.intersection(changes.removed)
            group.removed |= gone
            group.shown -= gone
            group.changed -= gone

    def tell(self) -> None:
        """Tell every watcher what changed since the last time."""
        for group in list(self._groups.values()):
            changed = [*group.removed, *group.changed]
            for at in range(0, len(changed), MOST_ROWS):
                self._tell(group, changed[at : at + MOST_ROWS])
            group.changed, group.removed = set(), set()

    def catch_up(self) -> int:
        """Tell those whose connections are free again what they have missed; return how many."""
        free = [sid for sid in list(self._behind) if self._fanout.room_of(sid)]
        for sid in free:
            self._catch_up(sid)
        return len(free)

    def _tell(self, group: _Group, task_ids: list[str]) -> None:
        """Tell a group of some tasks; those for whom it is too much now get the newest of them later."""
        payload = self._payload(group, task_ids)
        busy = self._fanout.room(group.room, "tasks_update", payload)
        with self._lock:
            for sid in group.members.intersection(busy):
                self._behind.setdefault(sid, {}).update(dict.fromkeys(task_ids))

    def _catch_up(self, sid: str) -> None:
        """Tell one watcher of those tasks that wait longest, as many as it takes."""
        with self._lock:
            missed, group = self._behind.get(sid, {}), self._of.get(sid)
            most = min(max(self._fanout.room_of(sid) // ROW_BYTES, 1), MOST_ROWS)
            task_ids = list(missed)[:most]
            for task_id in task_ids:
                del missed[task_id]
            if not missed:
                self._behind.pop(sid, None)
        if task_ids and group is not None:
            self._fanout.one(sid, "tasks_update", self._payload(group, task_ids))

    def _note(self, group: _Group, task_id: str, state: TaskState) -> None:
        if group.shows(state):
            group.shown.add(task_id)
            group.changed.add(task_id)
            group.removed.discard(task_id)
        elif task_id in group.shown:
            group.shown.discard(task_id)
            group.changed.discard(task_id)
            group.removed.add(task_id)

    def _payload(self, group: _Group, task_ids: Sequence[str]) -> dict[str, Any]:
        everything = group.key[1] is None
        states = (self._hub.find(task_id) for task_id in task_ids if task_id in group.shown)
        return {
            "tasks": [summary(state) for state in states if state is not None],
            "removed": sorted(set(task_ids) - group.shown),
            "counts": self._hub.counts() if everything else tally(group.statuses.values()),
        }

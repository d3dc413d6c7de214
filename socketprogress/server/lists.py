"""Those who watch the list: each filter is a room, and a change is encoded once for each."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import Any

from socketprogress.core.hub import Changes, Filter, Hub
from socketprogress.core.protocol import summary
from socketprogress.core.state import TaskState
from socketprogress.server.fanout import Fanout

__all__ = ["ListWatchers"]


@dataclass
class _Group:
    """The watchers of one filter, what their lists show, and what changed for them."""

    room: str
    wanted: Filter
    shown: set[str]
    members: set[str] = field(default_factory=set)
    changed: set[str] = field(default_factory=set)
    removed: set[str] = field(default_factory=set)


class ListWatchers:
    """Keeps what every list shows, and tells its watchers what changed.

    Args:
        hub: the tasks.
        fanout: brings the news.
    """

    def __init__(self, hub: Hub, fanout: Fanout) -> None:
        self._hub = hub
        self._fanout = fanout
        self._groups: dict[Filter, _Group] = {}
        self._of: dict[str, _Group] = {}
        self._behind: dict[str, set[str]] = {}
        self._made = 0
        # Connections come and go on threads of their own, in the middle of a `tell` as well.
        self._lock = threading.RLock()

    @property
    def waiting(self) -> bool:
        """Whether there is something to tell."""
        groups = list(self._groups.values())
        return bool(self._behind) or any(group.changed or group.removed for group in groups)

    def join(self, sid: str, wanted: Filter) -> str:
        """Add a watcher and return the room to enter."""
        with self._lock:
            self.leave(sid)
            group = self._groups.get(wanted)
            if group is None:
                self._made += 1
                shown = {state.task_id for state in self._hub.all() if wanted.matches(state)}
                group = self._groups[wanted] = _Group(f"tasks:{self._made}", wanted, shown)
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
                self._groups.pop(group.wanted, None)
        return group.room

    def note(self, changes: Changes) -> None:
        """Note what changed, for the next `tell`."""
        for group in list(self._groups.values()):
            for task_id, state in changes.tasks.items():
                self._note(group, task_id, state)
            gone = group.shown.intersection(changes.removed)
            group.removed |= gone
            group.shown -= gone
            group.changed -= gone

    def tell(self) -> None:
        """Tell every watcher what changed since the last time."""
        counts = self._hub.counts()
        for sid in [sid for sid in list(self._behind) if self._fanout.free(sid)]:
            missed, group = self._behind.pop(sid, None), self._of.get(sid)
            if missed and group is not None:
                self._fanout.one(
                    sid, "tasks_update", self._payload(missed, missed - group.shown, counts)
                )
        for group in list(self._groups.values()):
            if not group.changed and not group.removed:
                continue
            payload = self._payload(group.changed, group.removed, counts)
            busy = self._fanout.room(group.room, "tasks_update", payload)
            with self._lock:
                for sid in group.members.intersection(busy):
                    self._behind.setdefault(sid, set()).update(group.changed | group.removed)
            group.changed, group.removed = set(), set()

    def _note(self, group: _Group, task_id: str, state: TaskState) -> None:
        if group.wanted.matches(state):
            group.shown.add(task_id)
            group.changed.add(task_id)
            group.removed.discard(task_id)
        elif task_id in group.shown:
            group.shown.discard(task_id)
            group.changed.discard(task_id)
            group.removed.add(task_id)

    def _payload(
        self, changed: set[str], removed: set[str], counts: dict[str, int]
    ) -> dict[str, Any]:
        states = (self._hub.find(task_id) for task_id in changed - removed)
        return {
            "tasks": [summary(state) for state in states if state is not None],
            "removed": sorted(removed),
            "counts": counts,
        }

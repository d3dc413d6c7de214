"""A hub and the store in Redis compared: what one of them lacks, the other one tells it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from socketprogress.core.hub import Hub
from socketprogress.core.state import TaskState
from socketprogress.stores.redis import RedisStore

__all__ = ["Stored", "compare", "stored_versions"]

READ_AT_ONCE = 1_000
FETCH_AT_ONCE = 200


@dataclass(frozen=True, slots=True)
class Stored:
    """What tells one stored state from another; `wish` is what somebody wants of the task."""

    ended: bool
    term: int
    epoch: str
    seq: int
    wish: str | None

    def is_behind(self, state: TaskState) -> bool:
        """Return whether a state is newer than this one."""
        return (self.ended, self.term, self.seq) < (state.ended, state.term, state.seq)

    def is_same(self, state: TaskState) -> bool:
        """Return whether it is this state."""
        return (self.term, self.epoch, self.seq) == (state.term, state.epoch, state.seq)


def stored_versions(store: RedisStore, client: Any, ids: list[str]) -> dict[str, Stored]:
    """Return what is stored of tasks, by their ids."""
    found: dict[str, Stored] = {}
    for first in range(0, len(ids), READ_AT_ONCE):
        some = ids[first : first + READ_AT_ONCE]
        pipeline = client.pipeline(transaction=False)
        for task_id in some:
            key = store.place.key("task", task_id)
            pipeline.hmget(key, "ended", "term", "epoch", "seq", "wish")
        for task_id, row in zip(some, pipeline.execute(), strict=True):
            if row[0] is not None:
                found[task_id] = _stored(row)
    return found


def _stored(row: list[bytes | None]) -> Stored:
    ended, term, epoch, seq, wish = ("" if one is None else one.decode() for one in row)
    return Stored(ended == "1", int(term or 0), epoch, int(seq or 0), wish or None)


def compare(
    store: RedisStore, hub: Hub, client: Any, *, has_lost: bool, mirrors: bool
) -> list[str]:
    """Bring hub and store together, and return the ids of our tasks that are to be cancelled.

    Args:
        store: what is compared.
        hub: with what.
        client: a connection for reading.
        has_lost: the store's data is other than before, so what it lacks it has lost; else somebody
            has deleted that.
    """
    known = {state.task_id: state for state in hub.all()}
    ids = [*known]
    if mirrors:
        ids = [one.decode() for one in client.zrange(store.place.key("tasks"), 0, -1)]
    found = stored_versions(store, client, ids)
    wanted = [task_id for task_id, one in found.items() if _differs(one, known.get(task_id))]
    for states in _fetched(store, client, wanted):
        hub.mirror(states)
    deleted = []
    for task_id, state in known.items():
        one = found.get(task_id)
        ours = state.epoch == hub.epoch
        if one is None and not has_lost and (state.ended or not ours):
            deleted.append(task_id)
        elif one is None or (ours and one.is_behind(state)):
            store.save(state)
    hub.mirror_deleted(deleted)
    return [i for i, one in found.items() if one.wish == "cancel" and one.epoch == hub.epoch]


def _differs(stored: Stored, state: TaskState | None) -> bool:
    return state is None or not (stored.is_same(state) or state.ended)


def _fetched(store: RedisStore, client: Any, task_ids: list[str]) -> Iterator[list[TaskState]]:
    for first in range(0, len(task_ids), FETCH_AT_ONCE):
        yield list(store.fetch(task_ids[first : first + FETCH_AT_ONCE], client))

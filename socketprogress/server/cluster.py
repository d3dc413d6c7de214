"""Several servers on one store: who runs what, and how each of them asks the others."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from msgspec.structs import replace

from socketprogress.core import state as states
from socketprogress.core.errors import AlreadyRunning, StoreError, Unavailable, WireError
from socketprogress.core.hub import Hub
from socketprogress.core.state import TaskError, TaskState
from socketprogress.core.status import Status
from socketprogress.server.runtime import Runtime
from socketprogress.stores.redis_member import Member

if TYPE_CHECKING:
    from socketprogress.server.service import Service
    from socketprogress.stores.redis import RedisStore

__all__ = ["Cluster"]

log = logging.getLogger(__name__)

FRESH_S = 0.3
HEARD_WITHIN_S = 1.0
SHOWN_WITHIN_S = 3.0
DEAD = TaskError("worker_lost", "the server that ran this task has died")


class Cluster:
    """This server among those that share its store.

    Args:
        store: what they share.
        hub: this server's tasks, and those of the others as they tell them.
        service: what carries out what another server asks of this one.
        runtime: how to wait.
    """

    def __init__(self, store: RedisStore, hub: Hub, service: Service, runtime: Runtime) -> None:
        self._store, self._hub, self._service, self._runtime = store, hub, service, runtime
        self._member = Member(
            store,
            hub,
            on_command=self._asked,
            on_orphans=self._bury,
            threading=runtime.threading,
        )
        hub.retains = False  # until it is this one that leads
        hub.on_superseded = self._superseded
        service.permits.on_unknown = self._fetch

    def start(self) -> None:
        """Begin to follow the others."""
        self._member.start()

    def close(self) -> None:
        """Take leave of the others."""
        self._runtime.run_blocking(self._member.close)

    def cancel(self, task_id: str) -> TaskState:
        """Ask the server that runs a task for its end; return the state once it has heard.

        Raises:
            UnknownTask, TaskEnded, NotCancellable: it cannot be cancelled.
            Unavailable: the store does not answer.
        """
        state = self._hub.get(task_id)
        wanted = states.request_cancel(state, at=state.updated_at or state.created_at)
        if wanted is state:
            return state
        try:
            self._runtime.run_blocking(self._store.command, "cancel", task_id)
        except StoreError as exc:
            raise Unavailable(f"the server that runs {task_id} cannot be told now: {exc}") from exc
        self._await(task_id, lambda now: now.cancel_requested or now.ended, HEARD_WITHIN_S)
        newest = self._hub.find(task_id) or state
        return newest if newest.ended else replace(newest, cancel_requested=True)

    def settle(self) -> None:
        """Wait until the others can see what this server has said, or the store is not well."""
        written = self._runtime.signal()
        self._store.when_written(written.set)
        written.wait(HEARD_WITHIN_S)

    def claim(self, task_id: str, name: str, most: int | None) -> TaskState | None:
        """Return None if this server may start a task, or the task that there is already.

        While the store does not answer, this server decides alone.

        Args:
            task_id: the task.
            name: its definition's.
            most: how many of this definition may run on all servers together.

        Raises:
            AlreadyRunning: so many run.
            Unavailable: another server has it, and does not show it in time.
        """
        try:
            verdict, running = self._runtime.run_blocking(self._store.claim, task_id, name, most)
        except StoreError as exc:
            log.warning("task %s is started without asking the other servers: %s", task_id, exc)
            return None
        if verdict == "full":
            for one in running:
                if self._hub.find(one) is None:
                    self._fetch(one, FRESH_S)
            raise AlreadyRunning(
                f"{name} runs {len(running)} times already and {most} is its most", running=running
            )
        if verdict == "free":
            return None
        self._await(task_id, lambda _: True, SHOWN_WITHIN_S)
        found = self._hub.find(task_id)
        if found is None:
            raise Unavailable(f"another server is starting task {task_id}: ask again soon")
        return found

    def release(self, task_id: str, name: str) -> None:
        """Take a claim back: the task was not started. What cannot be taken back lapses after 30 s."""
        try:
            self._runtime.run_blocking(self._store.release, task_id, name)
        except StoreError as exc:
            log.debug("the claim of task %s lapses: %s", task_id, exc)

    def _fetch(self, task_id: str, patience_s: float) -> None:
        """Show a task that another server has started a moment ago, if there is one."""
        if self._store.problem() is not None:
            return
        try:
            found = self._runtime.run_blocking(self._store.find, task_id)
        except StoreError as exc:
            log.debug("task %s is not asked for elsewhere: %s", task_id, exc)
            return
        if found is not None:
            self._hub.mirror([found])
        elif patience_s:
            self._await(task_id, lambda _: True, patience_s)

    def _await(self, task_id: str, is_there: Callable[[TaskState], bool], limit_s: float) -> None:
        """Wait until a task is as it should be, or the time is over."""
        deadline = time.monotonic() + limit_s
        changed = self._runtime.signal()
        stop = self._hub.listen(task_id, changed.set)
        try:
            while True:
                state = self._hub.find(task_id)
                left_s = deadline - time.monotonic()
                if (state is not None and is_there(state)) or left_s <= 0:
                    return
                changed.wait(left_s)
                changed.clear()
        finally:
            stop()

    # -- from the member's thread ----------------------------------------------------------------

    def _asked(self, kind: str, task_id: str) -> None:
        if kind == "cancel" and not self._hub.is_foreign(task_id):
            self._runtime.call_on_loop(lambda: self._cancel(task_id))

    def _cancel(self, task_id: str) -> None:
        try:
            self._service.cancel(task_id)
        except WireError as exc:
            log.debug("task %s is not cancelled: %s", task_id, exc)

    def _bury(self, task_ids: list[str]) -> None:
        """End what a dead server ran; a reporter's task gets its lease anew, and goes on here."""
        for task_id in task_ids:
            state = self._hub.adopt(task_id)
            if state.source == "server":
                self._hub.end(task_id, Status.FAILED, error=DEAD)

    def _superseded(self, task_id: str) -> None:
        self._runtime.call_on_loop(lambda: self._service.abandon(task_id))

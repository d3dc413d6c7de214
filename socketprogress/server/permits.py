"""The one door behind all faces: nobody does or sees anything that has not passed it.

A task that somebody may not see is answered as one that does not exist, so that ids tell nothing.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from socketprogress.core.errors import AlreadyRunning, Forbidden, InvalidPayload, UnknownTask
from socketprogress.core.hub import Filter, Hub, Page
from socketprogress.core.protocol import STATUSES
from socketprogress.core.registry import Definition
from socketprogress.core.reports import OpenRequest
from socketprogress.core.state import TaskState
from socketprogress.server.payloads import StartRequest
from socketprogress.server.policy import OWNER, Policy, owner_tag
from socketprogress.server.principals import ACTIONS, NewTask, Principal, Role

__all__ = ["Permits", "Sight", "tally"]

FRESH_S = 0.3

VERDICT_S = 3.0


@dataclass(frozen=True, slots=True)
class Sight:
    """Which tasks somebody sees who does not see all; equal for those who see the same."""

    key: Any
    sees: Callable[[TaskState], bool] = field(compare=False)


class Permits:
    """Says what is allowed, and shows of the hub what may be seen.

    Args:
        hub: the tasks.
        policy: role, scope and the host application's hook.
        clock: monotonic seconds.
    """

    def __init__(
        self, hub: Hub, policy: Policy, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._hub, self._policy, self._clock = hub, policy, clock
        self.on_unknown: Callable[[str, float], None] = lambda _task_id, _patience_s: None

    def seek(self, task_id: str, *, patience_s: float = 0.0) -> TaskState | None:
        """Return a task, one included that another server has only just started; or None.

        Args:
            task_id: the task.
            patience_s: seconds to wait where it may be on its way to the store.
        """
        if self._hub.find(task_id) is None:
            self.on_unknown(task_id, patience_s)
        return self._hub.find(task_id)

    def may(
        self, principal: Principal, action: str, task: TaskState | NewTask | None = None
    ) -> bool:
        """Return whether somebody may do something."""
        return self._policy.may(principal, action, task)

    def need_role(self, principal: Principal, action: str) -> None:
        """Let pass whose role and scope allow something; the host's hook is asked with the task.

        Raises:
            Forbidden: they do not.
        """
        if not principal.may(action):
            raise _forbidden(principal, action)

    def need(self, principal: Principal, action: str, task_id: str | None = None) -> None:
        """Let pass who may do something, with a task or with none.

        Raises:
            Forbidden: they may not; of a task: they may see it, but not do this.
            UnknownTask: there is no such task for them.
        """
        self.need_role(principal, action)
        if task_id is None:
            if not self.may(principal, action):
                raise _forbidden(principal, action)
            return
        self.seek(task_id, patience_s=FRESH_S)
        state = self._hub.get(task_id)
        if not self.may(principal, "view", state):
            raise UnknownTask.of(task_id)
        if action != "view" and not self.may(principal, action, state):
            raise _forbidden(principal, action)

    def start(self, principal: Principal, wanted: StartRequest, name: str) -> StartRequest:
        """Return what may be started: as it is wanted, with its user's tag.

        Args:
            principal: who wants it.
            wanted: what.
            name: the definition's, also where `wanted` names none.

        Raises:
            Forbidden, InvalidPayload: they may not, or the tags are not theirs to give.
            UnknownTask: the id is that of a task which they may not see.
        """
        tags = self._tags(principal, wanted.tags)
        new = NewTask(name=name, title=wanted.title or "", tags=tags, args=wanted.args)
        if not self.may(principal, "start", new):
            raise _forbidden(principal, "start")
        if wanted.task_id is not None and self.seek(wanted.task_id) is not None:
            self.need(principal, "view", wanted.task_id)
        return replace(wanted, tags=tags)

    def open(self, principal: Principal, wanted: OpenRequest) -> OpenRequest:
        """Return what a reporter may open: as it is wanted, with its user's tag.

        Raises:
            Forbidden, InvalidPayload: they may not, or the tags are not theirs to give.
            UnknownTask: the task, or its parent, is one that they may not see.
        """
        tags = self._tags(principal, wanted.tags)
        new = NewTask(
            name=wanted.name, title=wanted.title or "", tags=tags, parent_id=wanted.parent_id
        )
        if not self.may(principal, "open", new):
            raise _forbidden(principal, "open")
        if wanted.task_id is not None and self.seek(wanted.task_id) is not None:
            self.need(principal, "report", wanted.task_id)
        if wanted.parent_id is not None and principal.asked:
            # Whoever sees all may name a parent that is yet to come; others could probe ids so.
            parent = self._hub.find(wanted.parent_id)
            if parent is None or not self.may(principal, "view", parent):
                raise UnknownTask.of(wanted.parent_id, field="parent_id")
        return replace(wanted, tags=tags)

    # -- what is seen ----------------------------------------------------------------------------

    def sight(self, principal: Principal) -> Sight | None:
        """Return what somebody sees; None for everything.

        The host's hook is asked of each task again after a few seconds, not at every change.
        """
        scope = principal.task_id
        if scope is not None:
            return Sight(scope, lambda state: state.task_id == scope)
        if not principal.asked:
            return None
        verdicts: dict[str, tuple[float, bool]] = {}

        def sees(state: TaskState) -> bool:
            now = self._clock()
            at, verdict = verdicts.get(state.task_id, (-VERDICT_S, False))
            if now - at >= VERDICT_S:
                verdict = self.may(principal, "view", state)
                verdicts[state.task_id] = now, verdict
            if len(verdicts) > 2 * self._hub.size + 100:
                verdicts.clear()
            return verdict

        return Sight(object(), sees)

    def listing(
        self, principal: Principal, wanted: Filter, *, limit: int, before: str | None = None
    ) -> tuple[Page, dict[str, int]]:
        """Return a part of the list that somebody sees, and their counts by status.

        Raises:
            InvalidPayload: `before` is not the `next` of an earlier page.
        """
        sight = self.sight(principal)
        if sight is None:
            return self._hub.page(wanted, limit=limit, before=before), self._hub.counts()
        if principal.asked:
            states = self._policy.visible(principal, self._hub.all())
        else:
            states = [state for state in self._hub.all() if sight.sees(state)]
        seen = {state.task_id: state for state in states}
        page = self._hub.page(wanted, limit=limit, before=before, among=seen.keys())
        return page, tally(state.status.value for state in seen.values())

    def definitions(self, principal: Principal, known: Iterable[Definition]) -> list[Definition]:
        """Return the definitions that somebody gets to see: of the host's users, those they may start."""
        if not principal.asked:
            return list(known)
        return [one for one in known if self.may(principal, "start", NewTask(name=one.name))]

    @contextmanager
    def hiding(self, principal: Principal) -> Iterator[None]:
        """Leave out of errors the tasks that somebody may not see."""
        try:
            yield
        except AlreadyRunning as exc:
            states = [state for i in exc.running if (state := self._hub.find(i)) is not None]
            seen = [state.task_id for state in states if self.may(principal, "view", state)]
            raise AlreadyRunning(exc.message, running=seen, field=exc.field) from None

    def _tags(self, principal: Principal, tags: tuple[str, ...]) -> tuple[str, ...]:
        """Return a new task's tags: the host's users have a tag each, which nobody gives another."""
        if not principal.asked:
            return tags
        own = owner_tag(principal.user)
        for tag in tags:
            if tag.startswith(OWNER) and tag != own:
                raise InvalidPayload(f"tags that begin with {OWNER!r} are users' own", field="tags")
        return tags if own is None or own in tags else (*tags, own)


def tally(statuses: Iterable[str]) -> dict[str, int]:
    """Return the number of tasks of each status."""
    found = Counter(statuses)
    return {status: found[status] for status in STATUSES}


def _forbidden(principal: Principal, action: str) -> Forbidden:
    needed = ACTIONS.get(action, Role.OPERATOR)
    if principal.role < needed:
        return Forbidden(f"this needs the role {needed.name.lower()}")
    if principal.task_id is not None:
        return Forbidden("this token is for watching one task")
    return Forbidden(f"this user may not do this: {action}")

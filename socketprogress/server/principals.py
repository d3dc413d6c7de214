"""Who somebody is: a role, perhaps for one task only, and the host application's user."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from types import MappingProxyType
from typing import Any, TypeVar

__all__ = [
    "ACTIONS",
    "OF_A_TASK",
    "OF_NEW_TASKS",
    "NewTask",
    "Principal",
    "Role",
    "needed_action",
    "needs",
]

View = TypeVar("View", bound=Callable[..., Any])


class Role(IntEnum):
    """What somebody may do; a higher role may do all that the lower ones may."""

    VIEWER = 1
    REPORTER = 2
    OPERATOR = 3


ACTIONS: Mapping[str, Role] = MappingProxyType(
    {
        "list": Role.VIEWER,
        "view": Role.VIEWER,
        "log": Role.VIEWER,
        "files": Role.VIEWER,
        "definitions": Role.VIEWER,
        "health": Role.VIEWER,
        "metrics": Role.VIEWER,
        "open": Role.REPORTER,
        "report": Role.REPORTER,
        "start": Role.OPERATOR,
        "cancel": Role.OPERATOR,
        "retry": Role.OPERATOR,
        "share": Role.OPERATOR,
    }
)
"""Everything that one may be allowed, and the least role for it; what is not here needs the highest."""

OF_A_TASK = frozenset({"view", "log", "files", "report", "cancel", "retry", "share"})
"""The actions on a task that is there; the others are about none, or about a new one."""

OF_NEW_TASKS = frozenset({"start", "open"})
"""The actions on a task that is not there yet: what it will be is known once they are read."""

SCOPED = frozenset({"list", "view", "log", "files", "report", "cancel"})
"""What somebody may do who is let in for one task only, as far as the role goes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Principal:
    """Whoever sent a request or opened a connection.

    Attributes:
        role: the most that they may do.
        task_id: the one task that they may see; None for all.
        name: what their token is called.
        token_id: the token's id, if it was given out beside the server's own.
        expires_at: when it expires, Unix seconds.
        user: the host application's user, or None.
        asked: whether the host application's hook decides, too.
        environ: the WSGI environment that they came with, where the hook may need it.
    """

    role: Role
    task_id: str | None = None
    name: str = ""
    token_id: str | None = None
    expires_at: float | None = None
    user: Any = None
    asked: bool = False
    environ: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)

    def may(self, action: str, task_id: str | None = None) -> bool:
        """Return whether role and scope allow an action, whatever the host application says."""
        if self.role < ACTIONS.get(action, Role.OPERATOR):
            return False
        if self.task_id is None:
            return True
        return action in SCOPED and (task_id is None or task_id == self.task_id)


@dataclass(frozen=True, slots=True, kw_only=True)
class NewTask:
    """A task that somebody wants to start or to open: what a hook can know of it."""

    name: str
    title: str = ""
    tags: tuple[str, ...] = ()
    parent_id: str | None = None
    args: Mapping[str, Any] = field(default_factory=dict)


def needs(action: str | None) -> Callable[[View], View]:
    """Mark a view with the action that it is; None opens it to everybody."""

    def mark(view: View) -> View:
        view.__socketprogress_action__ = action  # type: ignore[attr-defined]
        return view

    return mark


def needed_action(view: Any) -> str | None:
    """Return the action that a view is; where it does not say, one that needs the highest role."""
    action: str | None = getattr(view, "__socketprogress_action__", "operate")
    return action

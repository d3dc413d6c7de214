"""The sender's side: a task that is sent to the broker is there as `queued`, a group as its parent."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any

from celery import canvas
from celery.utils import uuid

from socketprogress.celery.installed import Installation, installation_of
from socketprogress.celery.offering import definition_named
from socketprogress.celery.reporting import Announcement
from socketprogress.client import notice, process
from socketprogress.core.errors import InvalidPayload
from socketprogress.core.protocol import check_task_id, one_line

__all__ = ["extend", "group_of", "on_publish"]

NAME_CHARS = 200
ARGUMENTS = 3
"""How many parts a message of Celery's protocol 2 has: args, kwargs, and what is embedded."""


def on_publish(
    sender: str = "", headers: Mapping[str, Any] | None = None, body: Any = None, **_: Any
) -> None:
    """Open a task that has been sent."""
    headers = headers or {}
    found = installation_of(task=sender)
    if found is None or not found.shows(sender) or definition_named(sender) is not None:
        return  # what a server starts it shows itself
    if "id" not in headers or headers.get("retries"):
        return
    origin = found.origin()
    if origin is None:
        return
    try:
        task_id = check_task_id(headers["id"])
    except InvalidPayload:
        notice.warn_once("tasks with ids like %s cannot be shown", str(headers["id"])[:40])
        return
    args, kwargs = (
        body[:2] if isinstance(body, (list, tuple)) and len(body) == ARGUMENTS else ((), {})
    )
    revoke = functools.partial(found.revoker.revoke, sender)
    title, shown = found.call(sender, args, kwargs, headers)
    opening = {
        "task_id": task_id,
        "name": one_line(sender, NAME_CHARS),
        "title": title,
        "args": shown,
        "parent_id": group_of(headers),
        "source": "celery",
        "queued": True,
        "lease_s": process.lease_s(),
    }
    found.announced.append(Announcement(origin, opening, revoke))


def extend(group: Any = canvas.group) -> None:
    """Have a group open the parent of its members: their messages do not tell how many there are."""
    original = group.apply_async

    @functools.wraps(original)
    def apply_async(self: Any, *args: Any, **options: Any) -> Any:
        found = installation_of(self.app) if self.tasks else None
        if found is not None and not self.app.conf.task_always_eager:
            group_id = options.get("task_id") or self.options.get("task_id") or uuid()
            options["task_id"] = group_id
            size = _size(found, self.tasks)
            if size:
                return _sent(found, group_id, size, lambda: original(self, *args, **options))
        return original(self, *args, **options)

    group.apply_async = apply_async


def group_of(about: Mapping[str, Any]) -> str | None:
    """Return the id of the group that a task is a member of; a chord's body is none."""
    is_member = about.get("group_index") is not None
    return about.get("group") if is_member else None


def _size(found: Installation, tasks: Any) -> int:
    """Return how many members of a group are shown, those of groups in it included."""
    return sum(
        _size(found, task.tasks) if isinstance(task, canvas.group) else found.shows(_last(task))
        for task in tasks
    )


def _last(task: Any) -> str:
    """Return the name of the task that a group's member ends with: a chain's last, a chord's body."""
    if isinstance(task, canvas.chord):
        return _last(task.body)
    links = getattr(task, "tasks", None)
    return _last(links[-1]) if isinstance(task, canvas._chain) and links else str(task.task)  # noqa: SLF001 - a chain's only name


def _sent(found: Installation, group_id: str, size: int, send: Callable[[], Any]) -> Any:
    """Send a group below its parent, which does not wait for what could not be sent."""
    _open_group(found, group_id, size)
    try:
        return send()
    except Exception as exc:
        found.reporter("group", group_id, parent=None).end("failed", error=exc)
        raise


def _open_group(found: Installation, group_id: str, size: int) -> None:
    """Open the parent of a group's members, which counts them as they end."""
    origin = found.origin()
    if origin is None:
        return
    opening = {
        "task_id": group_id,
        "name": "group",
        "title": f"Group of {size}",
        "total": size,
        "unit": "tasks",
        "source": "celery",
        "queued": True,
        "gathers": True,
    }
    found.announced.append(Announcement(origin, opening))

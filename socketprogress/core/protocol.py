"""Names and shapes on the wire: what a client can rely on."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from socketprogress.core.errors import InvalidPayload
from socketprogress.core.status import Status

if TYPE_CHECKING:
    from socketprogress.core.state import TaskState
    from socketprogress.core.steps import Step

__all__ = [
    "EVENTS",
    "STATUSES",
    "check_task_id",
    "log_line",
    "one_line",
    "snapshot",
    "summary",
    "task_room",
    "update",
]

EVENTS = (
    "start_task",
    "watch_task",
    "unwatch_task",
    "watch_tasks",
    "unwatch_tasks",
    "list_tasks",
    "list_definitions",
    "cancel_task",
    "retry_task",
    "get_log",
    "open_task",
    "report",
)
LOG_LINE_CHARS = 2_000
STATUSES = tuple(status.value for status in Status)

_TASK_ID = re.compile(r"[A-Za-z0-9_-]{1,64}\Z")
_ESCAPE = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[@-_])")
_UNSEEN = re.compile(r"[\x00-\x08\x0a-\x1f\x7f-\x9f]")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+")


def check_task_id(value: Any, *, field: str = "task_id") -> str:
    """Return a well-formed task id.

    Raises:
        InvalidPayload: it is no string of 1-64 characters of ``A-Za-z0-9_-``.
    """
    if not isinstance(value, str) or not _TASK_ID.match(value):
        raise InvalidPayload(
            f"{field} must be 1-64 characters of A-Z a-z 0-9 _ -, not {str(value)[:80]!r}",
            field=field,
        )
    return value


def one_line(text: str, most: int) -> str:
    """Return the text on one line, without control characters and lone surrogates, cut to `most`."""
    if len(text) <= most and text.isascii() and text.isprintable():
        return text.strip()
    clean = _CONTROL.sub(" ", text[: 4 * most]).strip()
    return clean.encode("utf-8", "replace").decode("utf-8")[:most]


def log_line(line: str) -> str:
    """Return a line of a log as every store, wire and reader can take it.

    It is cut to 2,000 characters; what only a terminal understands, colours say, is left out.
    """
    line = line[:LOG_LINE_CHARS]
    if not line.isprintable():
        line = _UNSEEN.sub("", _ESCAPE.sub("", line))
    return line if line.isascii() else line.encode("utf-8", "replace").decode("utf-8")


def task_room(task_id: str) -> str:
    """Return the room of a task's watchers."""
    return f"task:{task_id}"


def summary(state: TaskState) -> dict[str, Any]:
    """Return a list's row: the snapshot without `result`, `files`, `steps`, `args`, `pid` and `lease_s`."""
    return {
        "task_id": state.task_id,
        "name": state.name,
        "title": state.title,
        "status": state.status.value,
        "progress": state.progress,
        "current": state.current,
        "total": state.total,
        "unit": state.unit,
        "message": state.message,
        "rate": state.rate,
        "eta_s": state.eta_s,
        "eta_low_s": state.eta_low_s,
        "eta_high_s": state.eta_high_s,
        "usual_s": state.usual_s,
        "elapsed_s": state.elapsed_s,
        "created_at": state.created_at,
        "started_at": state.started_at,
        "updated_at": state.updated_at,
        "finished_at": state.finished_at,
        "cancellable": state.cancellable,
        "cancel_requested": state.cancel_requested,
        "retryable": state.retryable,
        "error": _error(state),
        "source": state.source,
        "host": state.host,
        "parent_id": state.parent_id,
        "tags": list(state.tags),
        "epoch": state.epoch,
        "seq": state.seq,
    }


def snapshot(state: TaskState, *, prefix: str = "") -> dict[str, Any]:
    """Return everything there is to know of a task, file URLs under `prefix`."""
    return {
        **summary(state),
        "steps": [_step(step) for step in state.steps],
        "result": state.result,
        "files": _files(state, prefix),
        "args": dict(state.args),
        "pid": state.pid,
        "lease_s": state.lease_s,
    }


def update(state: TaskState, *, prefix: str = "") -> dict[str, Any]:
    """Return the payload of `progress_update`."""
    payload: dict[str, Any] = {
        "task_id": state.task_id,
        "progress": state.progress,
        "status": state.status.value,
        "seq": state.seq,
        "epoch": state.epoch,
        "current": state.current,
        "total": state.total,
        "unit": state.unit,
        "title": state.title,
        "message": state.message,
        "steps": [_step(step) for step in state.steps],
        "rate": state.rate,
        "eta_s": state.eta_s,
        "eta_low_s": state.eta_low_s,
        "eta_high_s": state.eta_high_s,
        "usual_s": state.usual_s,
        "elapsed_s": state.elapsed_s,
        "started_at": state.started_at,
        "updated_at": state.updated_at,
        "cancel_requested": state.cancel_requested,
    }
    if state.ended:
        payload["result"] = state.result
        payload["error"] = _error(state)
        payload["files"] = _files(state, prefix)
        payload["finished_at"] = state.finished_at
    return payload


def _error(state: TaskState) -> dict[str, str] | None:
    error = state.error
    return None if error is None else {"code": error.code, "message": error.message}


def _step(step: Step) -> dict[str, Any]:
    return {
        "name": step.name,
        "status": step.status.value,
        "progress": step.progress,
        "weight": step.weight,
        "elapsed_s": step.elapsed_s,
    }


def _files(state: TaskState, prefix: str) -> list[dict[str, Any]]:
    return [
        {
            "name": file.name,
            "size_bytes": file.size_bytes,
            "url": f"{prefix}/api/tasks/{state.task_id}/files/{quote(file.name, errors='replace')}",
        }
        for file in state.files
    ]

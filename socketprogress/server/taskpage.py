"""What a task's page says beside the task: its parent, its children, where it failed, its QR code."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

from socketprogress.core.hub import Filter
from socketprogress.core.protocol import summary
from socketprogress.core.state import TaskState
from socketprogress.server.face import Face
from socketprogress.server.payloads import ListRequest

__all__ = ["qr_code", "relatives", "traceback_of"]

TRACEBACK = "Traceback (most recent call last):"
CHAINED = (
    "During handling of the above exception, another exception occurred:",
    "The above exception was the direct cause of the following exception:",
)
CHILDREN = 200


def relatives(face: Face, state: TaskState) -> dict[str, Any]:
    """Return ``{parent, children, may_list, may_share}`` as far as the visitor may see them."""
    principal = face.principal()
    parent = face.service.hub.find(state.parent_id) if state.parent_id else None
    if parent is not None and not face.permits.may(principal, "view", parent):
        parent = None
    may_list = face.permits.may(principal, "list")
    children: list[dict[str, Any]] = []
    if may_list:
        wanted = ListRequest(Filter(parent_id=state.task_id), before=None, limit=CHILDREN)
        children = face.listing(wanted)["tasks"]
    return {
        "parent": None if parent is None else summary(parent),
        "children": children,
        "may_list": may_list,
        "may_share": face.access.needs_token and face.permits.may(principal, "share", state),
    }


def traceback_of(lines: Sequence[str]) -> str:
    """Return the traceback that ends a log, with those it was raised in place of; or nothing."""
    starts = [number for number, line in enumerate(lines) if line == TRACEBACK]
    if not starts:
        return ""
    start = starts.pop()
    while starts and any(line in CHAINED for line in lines[starts[-1] : start]):
        start = starts.pop()
    return "\n".join(lines[start:])


def qr_code(url: str) -> bytes:
    """Return an address as a QR code: an SVG without inline styles, dark on white in any theme."""
    import segno  # noqa: PLC0415 - a twentieth of a server's start, for few who ask

    out = io.BytesIO()
    code = segno.make(url, error="m", micro=False)
    code.save(out, kind="svg", scale=8, border=3, light="#fff", svgclass=None, lineclass=None)
    return out.getvalue()

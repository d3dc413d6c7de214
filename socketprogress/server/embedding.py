"""`GET /embed/<id>`: the bare bar for an iframe, where a browser sends no cookies of ours.

So there is no redirect that turns a token into one: a watch token stays in the frame's address,
best behind the `#`, which never leaves the browser; then the page is empty until its script has
shown the token to the Socket.IO server. As `?token=` it works without JavaScript too.
"""

from __future__ import annotations

from flask import Blueprint, Response, g, request

from socketprogress.core.errors import Unauthorized
from socketprogress.core.protocol import check_task_id
from socketprogress.server.face import Face
from socketprogress.server.principals import needs

__all__ = ["FRAMED", "add_embedding", "arrive_in_frame"]

FRAMED = frozenset({200, 401, 404})
"""The answers that the pages of others may frame."""


def add_embedding(blueprint: Blueprint, face: Face) -> None:
    """Add the route to the blueprint."""

    @blueprint.get("/embed/<task_id>")
    @needs("view")
    def embed(task_id: str) -> Response:
        return face.render("embed.html", state=face.service.hub.get(check_task_id(task_id)))


def arrive_in_frame(face: Face) -> Response | None:
    """Take the token in a frame's address for this request; without one return the empty frame."""
    told = _refusal(face, request.args.get("token"))
    if told is None:
        return None
    task_id = check_task_id((request.view_args or {})["task_id"])
    response = face.render("frame.html", 401, task_id=task_id, told=told)
    response.headers["WWW-Authenticate"] = "Bearer"
    return response


def _refusal(face: Face, token: str | None) -> str | None:
    """Let in whom the token lets in, for this request; return why not, or None."""
    if token is None:
        return "" if face.visitor() is None else None
    try:
        holder = face.access.guess(token, request.environ)
    except Unauthorized as exc:
        return exc.message
    if holder is None:
        return "the token in the address is not right"
    g.socketprogress_visitor = holder
    return None

"""What all routes share: the parts behind them, their URLs, their pages."""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass
from typing import Any, cast

from flask import Response, g, make_response, render_template, request, url_for

from socketprogress.core.errors import RateLimited
from socketprogress.core.protocol import snapshot
from socketprogress.core.state import TaskState
from socketprogress.server.access import Access, Role
from socketprogress.server.assets import Assets
from socketprogress.server.csrf import csrf_token
from socketprogress.server.runtime import Runtime
from socketprogress.server.service import Service

__all__ = ["Face"]

ARGUMENTS = {
    "task": "task_id",
    "embed": "task_id",
    "cancel": "task_id",
    "retry": "task_id",
    "start": "definition",
    "api_task": "task_id",
    "asset": "filename",
}


@dataclass(frozen=True, slots=True)
class Face:
    """One server's HTTP face.

    Args:
        service: what carries out what is asked for.
        access: who may ask.
        runtime: how to wait.
        assets: the static files.
        name: the blueprint's name.
        namespace: the Socket.IO namespace of the events.
        socket_path: where Socket.IO is, below the application's root.
        refresh_s: seconds after which a page without JavaScript loads itself again.
    """

    service: Service
    access: Access
    runtime: Runtime
    assets: Assets
    name: str
    namespace: str
    socket_path: str
    refresh_s: int

    def role(self) -> Role | None:
        """Return the role of whoever sent this request; who guesses too often has none."""
        if "socketprogress_role" not in g:
            g.socketprogress_role = None
            with contextlib.suppress(RateLimited):
                g.socketprogress_role = self.access.allows(request.environ)
        return cast("Role | None", g.socketprogress_role)

    def prefix(self) -> str:
        """Return the path that everything is under, without a slash at its end."""
        return url_for(f"{self.name}.list").rstrip("/")

    def url(self, kind: str, arg: str | None = None) -> str:
        """Return the path of a page, e.g. ``url("task", task_id)``."""
        values: dict[str, Any] = {} if arg is None else {ARGUMENTS[kind]: arg}
        return url_for(f"{self.name}.{kind}", **values)

    def static(self, name: str) -> str:
        """Return the path of a static file, with its version."""
        return f"{self.prefix()}/static/{self.assets.address(name)}"

    def snapshot(self, state: TaskState) -> dict[str, Any]:
        """Return a task's snapshot with the URLs of its files."""
        return snapshot(state, prefix=self.prefix())

    def page(self) -> dict[str, Any]:
        """Return what a page's scripts need to know."""
        prefix = self.prefix()
        role = self.role()
        return {
            "namespace": self.namespace,
            "socket_path": request.script_root + self.socket_path,
            "epoch": self.service.hub.epoch,
            "server_url": request.host_url.rstrip("/") + prefix,
            "prefix": prefix,
            "can_start": role is not None and role >= Role.OPERATOR,
            "needs_token": self.access.needs_token,
            "refresh_s": self.refresh_s,
            "now": time.time(),
        }

    def render(self, template: str, status: int = 200, /, **context: Any) -> Response:
        """Return a page."""
        shared = {
            "url": self.url,
            "static": self.static,
            "csrf_token": csrf_token,
            "page": self.page(),
        }
        html = render_template(f"socketprogress/{template}", **{**shared, **context})
        return make_response(html, status)

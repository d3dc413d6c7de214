"""What all routes share: the parts behind them, their URLs, their pages."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

from flask import Response, g, make_response, render_template, request, url_for

from socketprogress.core.errors import RateLimited, Unauthorized
from socketprogress.core.protocol import snapshot, summary
from socketprogress.core.state import TaskState, as_of
from socketprogress.server.access import Access
from socketprogress.server.assets import Assets
from socketprogress.server.csrf import csrf_library, csrf_token
from socketprogress.server.payloads import ListRequest
from socketprogress.server.permits import Permits
from socketprogress.server.principals import Principal
from socketprogress.server.rates import Rates, extra_of_list
from socketprogress.server.runtime import Runtime
from socketprogress.server.service import Service

__all__ = ["Face"]

ARGUMENTS = {
    "task": "task_id",
    "embed": "task_id",
    "qr": "task_id",
    "token": "task_id",
    "cancel": "task_id",
    "retry": "task_id",
    "start": "definition",
    "api_task": "task_id",
    "asset": "filename",
    "tus_upload": "task_id",
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
        rates: how fast an address may ask.
    """

    service: Service
    access: Access
    runtime: Runtime
    assets: Assets
    name: str
    namespace: str
    socket_path: str
    refresh_s: int
    rates: Rates

    @property
    def permits(self) -> Permits:
        """What says what the visitor may do and see."""
        return self.service.permits

    def visitor(self) -> Principal | None:
        """Return whoever sent this request, or None of who may not come in or guesses too often."""
        if "socketprogress_visitor" not in g:
            g.socketprogress_visitor = None
            with contextlib.suppress(RateLimited):
                try:
                    g.socketprogress_visitor = self.access.allows(request.environ)
                except Unauthorized as exc:
                    g.socketprogress_told = exc.message
        return cast("Principal | None", g.socketprogress_visitor)

    def principal(self) -> Principal:
        """Return whoever sent this request.

        Raises:
            Unauthorized: no token, or a wrong one.
            RateLimited: too many wrong ones.
        """
        if g.get("socketprogress_visitor") is None:
            g.socketprogress_visitor = self.access.connection(request.environ)
        return cast("Principal", g.socketprogress_visitor)

    def listing(self, wanted: ListRequest, *, at: float | None = None) -> dict[str, Any]:
        """Return ``{tasks, counts, next}`` as the visitor sees them.

        Args:
            wanted: which tasks.
            at: the moment that their elapsed seconds are told for; None for that of their last
                update, from which a page counts on by itself.
        """
        page, counts = self.permits.listing(
            self.principal(), wanted.filter, limit=wanted.limit, before=wanted.before
        )
        self.rates.charge(request.remote_addr or "", extra_of_list(len(page.tasks)))
        states = page.tasks if at is None else [as_of(state, at) for state in page.tasks]
        tasks = [summary(state) for state in states]
        return {"tasks": tasks, "counts": counts, "next": page.next}

    def prefix(self) -> str:
        """Return the path that everything is under, without a slash at its end."""
        return url_for(f"{self.name}.list").rstrip("/")

    def url(self, kind: str, arg: str | None = None) -> str:
        """Return the path of a page, e.g. ``url("task", task_id)``."""
        values: dict[str, Any] = {} if arg is None else {ARGUMENTS[kind]: arg}
        return url_for(f"{self.name}.{kind}", **values)

    def static(self) -> Callable[[str], str]:
        """Return what gives the path of a static file, with its version, for one page."""
        root, address = f"{self.prefix()}/static", self.assets.addresses()
        return lambda name: f"{root}/{address(name)}"

    def snapshot(self, state: TaskState) -> dict[str, Any]:
        """Return a task's snapshot as of now, with the URLs of its files."""
        return snapshot(as_of(state, time.time()), prefix=self.prefix())

    def page(self, state: TaskState | None = None) -> dict[str, Any]:
        """Return what a page's scripts need to know; the page may be a task's."""
        prefix = self.prefix()
        return {
            "namespace": self.namespace,
            "socket_path": request.script_root + self.socket_path,
            "epoch": self.service.hub.epoch,
            "server_url": request.host_url.rstrip("/") + prefix,
            "prefix": prefix,
            "can_start": self._may_act(state),
            "needs_token": self.access.needs_token,
            "has_token": self._has_token(),
            "refresh_s": self.refresh_s,
            "now": time.time(),
        }

    def render(
        self, template: str, status: int = 200, /, *, state: TaskState | None = None, **context: Any
    ) -> Response:
        """Return a page; with `state` it is that task's."""
        if not csrf_library.cache_info().currsize:
            self.runtime.run_blocking(csrf_library)  # to import it takes longer than a loop has
        if state is not None:
            # As of its last update, from which a page counts on by itself.
            context["task"] = snapshot(state, prefix=self.prefix())
        shared = {
            "url": self.url,
            "static": self.static(),
            "modules": self.assets.modules,
            "csrf_token": csrf_token,
            "page": self.page(state),
        }
        html = render_template(f"socketprogress/{template}", **{**shared, **context})
        return make_response(html, status)

    def _has_token(self) -> bool:
        """Return whether a token lets the visitor in that was given out, and limits them."""
        visitor = self.visitor()
        return visitor is not None and visitor.token_id is not None

    def _may_act(self, state: TaskState | None) -> bool:
        """Return whether the visitor may start tasks, or cancel or retry the one that is shown."""
        visitor = self.visitor()
        if visitor is None:
            return False
        if state is not None:
            return any(self.permits.may(visitor, action, state) for action in ("cancel", "retry"))
        if not visitor.may("start"):
            return False
        return not visitor.asked or bool(self.permits.definitions(visitor, self.service.registry))

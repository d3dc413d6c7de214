"""The host application's word: who its user is, and what that user may do."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from flask import current_app, g, has_request_context

from socketprogress.core.errors import Unauthorized
from socketprogress.core.state import TaskState
from socketprogress.server.principals import NewTask, Principal, Role

if TYPE_CHECKING:
    from flask import Flask

__all__ = ["Authorize", "Policy", "host_user", "owner_tag"]

log = logging.getLogger(__name__)

Authorize = Callable[[Any, str, TaskState | NewTask | None], bool]
OWNER = "user:"
COMPLAIN_EVERY_S = 1.0


class Policy:
    """Decides, together with the host application, what somebody may do.

    Attributes:
        authorize: the host's hook, ``authorize(user, action, task) -> bool``; None without one.
        load_user: returns the user of the current request, or None.
        app: the host application.
    """

    def __init__(
        self,
        authorize: Authorize | None = None,
        load_user: Callable[[], Any] | None = None,
    ) -> None:
        self.authorize = authorize
        self.load_user = load_user or host_user
        self.app: Flask | None = None
        self._complained = -COMPLAIN_EVERY_S

    @property
    def asks(self) -> bool:
        """Whether the host application decides on its own visitors."""
        return self.authorize is not None

    def visitor(self, environ: Mapping[str, Any]) -> Principal:
        """Return who a visitor of the host application is.

        Raises:
            Unauthorized: the host's way to find that out has failed.
        """
        nobody = Principal(role=Role.OPERATOR, asked=True, environ=environ)
        try:
            with self.within(nobody):
                user = self.load_user()
        except Exception:  # whatever the host's own code raises: deny, and let its log say why
            log.exception("the user of a request could not be loaded: refused")
            raise Unauthorized("the server failed to find out who this is") from None
        return Principal(role=Role.OPERATOR, user=user, asked=True, environ=environ)

    def own_tags(self) -> tuple[str, ...]:
        """Return the tags of what the host itself starts in this request: its user's, if it has one."""
        if not self.asks or not has_request_context():
            return ()
        own = owner_tag(self.load_user())
        return () if own is None else (own,)

    def may(self, principal: Principal, action: str, task: TaskState | NewTask | None) -> bool:
        """Return whether somebody may do something: role, scope, and the host's hook.

        Args:
            principal: who.
            action: one of `ACTIONS`, or the name of something that only operators do.
            task: the task it is about; what is wanted, for one that is not there yet; or None.
        """
        task_id = task.task_id if isinstance(task, TaskState) else None
        if not principal.may(action, task_id):
            return False
        if not principal.asked:
            return True
        return self._hook_allows(principal, action, task)

    def visible(self, principal: Principal, states: Iterable[TaskState]) -> list[TaskState]:
        """Return the tasks that somebody whom the host is asked about may see."""
        if not principal.may("view"):
            return []
        user = principal.user
        with self.within(principal):
            return [state for state in states if self._verdict(user, "view", state)]

    @contextmanager
    def within(self, principal: Principal) -> Iterator[None]:
        """Be in a request context of the host's for the time of a `with` block."""
        if self.app is None or not principal.asked or has_request_context():
            yield
            return
        with self.app.request_context(dict(principal.environ)):
            yield

    def _hook_allows(
        self, principal: Principal, action: str, task: TaskState | NewTask | None
    ) -> bool:
        with self.within(principal):
            return self._verdict(principal.user, action, task)

    def _verdict(self, user: Any, action: str, task: TaskState | NewTask | None) -> bool:
        if self.authorize is None:
            return False
        try:
            verdict: object = self.authorize(user, action, task)
        except Exception:  # the host's own code: what it cannot answer is denied
            if self._may_complain():
                log.exception("authorize failed on %r: denied", action)
            return False
        if not isinstance(verdict, bool) and self._may_complain():
            kind = type(verdict).__name__
            log.error("authorize returned a %s on %r, no bool: denied", kind, action)
        return verdict is True

    def _may_complain(self) -> bool:
        """Return whether it is time to say so: a list of thousands asks thousands of times."""
        now = time.monotonic()
        if now - self._complained < COMPLAIN_EVERY_S:
            return False
        self._complained = now
        return True


def host_user() -> Any:
    """Return Flask-Login's user if the application has set it up, else `flask.g.user`, or None."""
    if "flask_login" in sys.modules and hasattr(current_app, "login_manager"):
        user = sys.modules["flask_login"].current_user
        user = user._get_current_object()  # noqa: SLF001 - a proxy's public method, by its name not
        return user if user.is_authenticated else None
    return g.get("user")


def owner_tag(user: Any) -> str | None:
    """Return the tag of the tasks that a user starts, ``user:ID``, or None of who has no id."""
    get_id = getattr(user, "get_id", None)
    user_id = get_id() if callable(get_id) else getattr(user, "id", user)
    return f"{OWNER}{user_id}" if isinstance(user_id, (str, int)) else None

"""Which applications are shown, where, and how."""

from __future__ import annotations

import os
import socket
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

from celery import Celery
from celery.utils.saferepr import saferepr

from socketprogress.celery.reporting import Announcement, TaskReporter
from socketprogress.celery.revoking import Revoker
from socketprogress.celery.showing import Redact, args_of, title_of
from socketprogress.client.origin import Origin, origin_of
from socketprogress.client.runfile import running_servers

__all__ = ["Installation", "installation_of", "installations", "keep"]

KEPT = 1_000


@dataclass(eq=False, slots=True)
class Installation:
    """What one application's tasks need to be shown.

    Attributes:
        app: the application.
        url: where to; None asks the environment whenever a task begins.
        token: what the server asks for.
        redact: the application's own say on what is shown of arguments.
        cancel_grace_s: seconds that a running task has to notice a cancellation.
        accept_pickle: whether the host has said that it wants pickles from its broker.
        include: patterns of the names of the tasks that are shown.
        ignore: patterns of those among them that are not.
        abandon_s: seconds that a task may be lost until it has failed; None for ever.
        revoker: has tasks that wait not begin; they are `cancelled` once that is certain.
        announced: the newest tasks that this process has sent, to hear of their cancellation.
    """

    app: Celery
    url: str | None
    token: str | None
    redact: Redact | None
    cancel_grace_s: float
    accept_pickle: bool
    include: Sequence[str] = ("*",)
    ignore: Sequence[str] = ()
    abandon_s: float | None = None
    revoker: Revoker = field(init=False)
    announced: deque[Announcement] = field(default_factory=lambda: deque(maxlen=KEPT))

    def __post_init__(self) -> None:
        self.revoker = Revoker(self.app, self._cancelled)

    def origin(self) -> Origin | None:
        """Return the server to report to, or None where there is none."""
        return origin_of(self.url, self.token)

    def reporter(
        self, name: str, task_id: str, *, sent: Any = None, **options: Any
    ) -> TaskReporter:
        """Return a Reporter of one of the application's tasks.

        Args:
            name: the task's.
            task_id: its id.
            sent: the keyword arguments that it was sent with, if a server has sent it.
            **options: as for `TaskReporter`.
        """
        url = self.url or _home_of(sent)
        return TaskReporter(name, task_id=task_id, url=url, token=self.token, **options)

    def _cancelled(self, name: str, task_id: str) -> None:
        self.reporter(name, task_id, parent=None).end("cancelled")

    def shows(self, name: str) -> bool:
        """Return whether tasks of this name are shown; Celery's own never are."""
        if name.startswith("celery.") or any(fnmatchcase(name, one) for one in self.ignore):
            return False
        return any(fnmatchcase(name, one) for one in self.include)

    def call(
        self, name: str, args: Any, kwargs: Any, said: Mapping[str, Any]
    ) -> tuple[str, dict[str, Any]]:
        """Return a task's title, and its arguments as far as they may be seen.

        Args:
            name: the task's name.
            args: its positional arguments.
            kwargs: its named ones.
            said: the message's headers. Whose sender has set `argsrepr` or `kwargsrepr` there
                has hidden something: nothing is shown of these.
        """
        args, kwargs = tuple(args or ()), dict(kwargs or {})
        task = self.app.tasks.get(name)
        hidden = _rewritten(said.get("argsrepr"), args) or _rewritten(
            said.get("kwargsrepr"), kwargs
        )
        if hidden:
            return f"{name.rpartition('.')[2]}(…)", {}
        function = None if task is None else task.run
        return (
            title_of(name, args, kwargs, function=function, redact=self.redact),
            args_of(name, args, kwargs, function=function, redact=self.redact),
        )


_installed: dict[int, Installation] = {}


def keep(installation: Installation) -> bool:
    """Note an installation; return whether it is the first one of this process."""
    first = not _installed
    _installed[id(installation.app)] = installation
    return first


def installations() -> list[Installation]:
    """Return those of this process."""
    return list(_installed.values())


def installation_of(app: Any = None, task: str = "") -> Installation | None:
    """Return the installation of an application or, where that is not known, of a task's name."""
    if app is not None:
        return next((one for one in installations() if one.app == app), None)
    known = [one for one in installations() if one.app.finalized and task in one.app.tasks]
    return next(iter([*known, *installations()]), None)


def _home_of(sent: Any) -> str | None:
    """Return the URL of the server of this host that has sent a task, where none is named."""
    home = sent.get("home") if isinstance(sent, Mapping) else None
    named = any(os.environ.get(f"SOCKETPROGRESS_{one}") for one in ("URL", "STORE"))
    if named or not isinstance(home, Mapping) or home.get("host") != socket.gethostname():
        return None
    servers = (one for one in running_servers() if one.data == home.get("data"))
    return next((one.url.rstrip("/") for one in servers), None)


def _rewritten(text: Any, value: Any) -> bool:
    """Return whether a sender has set its own text for arguments."""
    if not isinstance(text, str):
        return False
    # What went through JSON has lists for tuples.
    made = str(saferepr(value, maxlen=1_024)).translate(BRACKETS)
    return text.translate(BRACKETS).replace(",]", "]") != made.replace(",]", "]")


BRACKETS = str.maketrans("()", "[]")

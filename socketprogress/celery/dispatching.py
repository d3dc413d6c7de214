"""The server's side: a definition's work goes to Celery's workers, under the task's own id."""

from __future__ import annotations

import functools
import importlib
import socket
import sys
from collections.abc import Collection
from pathlib import Path
from typing import Any

from celery import Celery

from socketprogress.celery.offering import GRACE_S, celery_name
from socketprogress.celery.revoking import REPLY_S, revoke_waiting
from socketprogress.core.errors import ConfigurationError
from socketprogress.core.ports import Job

__all__ = ["CeleryDispatcher", "find_app"]

RETRY = {"max_retries": 1, "interval_start": 0, "interval_step": 0, "interval_max": 0}
"""Once more where a connection of before has died; a broker that is away is said to be."""


class CeleryDispatcher:
    """Sends work by one Celery application.

    Args:
        app: the application, the workers of which have the definitions by `install(…, tasks=…)`.
        data: the server's data folder, by which a worker on its host finds it.
        reply_s: how long to wait for what workers answer.
    """

    def __init__(self, app: Celery, *, data: Path | None = None, reply_s: float = REPLY_S) -> None:
        self._app, self._reply_s = app, reply_s
        self._home = {"host": socket.gethostname(), "data": str(data)}

    def reach(self) -> None:
        """Hear from the broker, on a connection of its own.

        What is said to one that hangs it carries out once it goes on, when nobody wants it any more.

        Raises:
            Exception: whatever the broker's driver raises.
        """
        with self._app.connection_for_write() as connection:
            connection.ensure_connection(**RETRY)
            connection.default_channel.close()

    def send(self, name: str, job: Job) -> None:
        """Send the work of a definition; it never runs twice.

        Raises:
            Exception: whatever the broker's driver raises.
        """
        limit_s = None if job.timeout_s is None else job.timeout_s + GRACE_S
        self._app.send_task(
            celery_name(name),
            kwargs={
                "args": {name: _plain(value) for name, value in job.args.items()},
                "title": job.title,
                "home": self._home,
            },
            task_id=job.task_id,
            time_limit=limit_s,
            serializer="json",
            # Anybody may read a message's headers, Celery's monitors show them.
            argsrepr="()",
            kwargsrepr="{…}",
            retry=True,
            retry_policy=RETRY,
        )

    def owns(self, name: str) -> bool:
        """Return whether the application has a task of this name."""
        return name in self._app.tasks

    def revoke(self, task_id: str) -> bool:
        """Have no worker begin a task; return whether that is certain."""
        return bool(revoke_waiting(self._app, [task_id], reply_s=self._reply_s))

    def known(self, task_ids: Collection[str]) -> set[str]:
        """Return those of the tasks that some worker has; raises what the broker's driver does."""
        told = self._app.control.inspect(timeout=self._reply_s).query_task(*task_ids) or {}
        return {task_id for tasks in told.values() for task_id in tasks}


def find_app(named: str) -> Celery:
    """Return the application that ``module:app`` names; ``module`` alone means its `app`.

    Raises:
        ConfigurationError: there is none.
    """
    module, _, path = named.partition(":")
    here = str(Path.cwd())
    if here not in sys.path and "" not in sys.path:  # as Celery's own -A has it
        sys.path.insert(0, here)
    try:
        found: Any = importlib.import_module(module)
        found = functools.reduce(getattr, (path or "app").split("."), found)
    except BaseException as exc:
        if isinstance(exc, KeyboardInterrupt):
            raise
        raise ConfigurationError(
            f"no Celery application is found as {named!r}: {type(exc).__name__}: {exc}"
        ) from exc
    if not isinstance(found, Celery):
        raise ConfigurationError(f"{named!r} is no Celery application but a {type(found).__name__}")
    return found


def _plain(value: Any) -> Any:
    """Return an argument as JSON; those that the operator sets may be paths."""
    return value if isinstance(value, (str, int, float, list, dict, type(None))) else str(value)

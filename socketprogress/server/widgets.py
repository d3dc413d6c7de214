"""What the macros for an application's own templates need; `socketprogress` in its Jinja globals."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from flask import Blueprint, request, url_for
from flask.blueprints import BlueprintSetupState

from socketprogress.core.protocol import snapshot
from socketprogress.core.state import TaskState
from socketprogress.server.assets import Assets

if TYPE_CHECKING:
    from socketprogress.server.installation import Installation

__all__ = ["Widgets", "add_widgets"]

NAME = "socketprogress"


class Widgets:
    """Tasks, addresses and what scripts must know.

    Args:
        installation: the application's SocketProgress.
    """

    def __init__(self, installation: Installation) -> None:
        self._installation = installation
        self._assets = Assets()

    def task(self, task: TaskState | dict[str, Any] | str) -> dict[str, Any]:
        """Return the snapshot of a task: as it is at this moment where a state or an id is given.

        Raises:
            UnknownTask: there is no such task.
        """
        if isinstance(task, dict):
            return task
        task_id = task if isinstance(task, str) else task.task_id
        state = self._installation.started().hub.get(task_id)
        return snapshot(state, prefix=request.script_root + self._installation.url_prefix)

    def url(self, task_id: str) -> str:
        """Return the address of a task's page."""
        return url_for(f"{NAME}.task", task_id=task_id)

    def static(self, name: str) -> str:
        """Return the address of one of our static files, with its version."""
        root = url_for(f"{NAME}.list").rstrip("/")
        return f"{root}/static/{self._assets.addresses()(name)}"

    def page(self) -> dict[str, Any]:
        """Return what the scripts need to know."""
        return {
            "namespace": self._installation.namespace,
            "socket_path": request.script_root + self._installation.socket_path,
            "now": time.time(),
        }


def add_widgets(blueprint: Blueprint, installation: Installation) -> None:
    """Have the application's templates know the widgets, those imported without context too."""
    widgets = Widgets(installation)

    @blueprint.record_once
    def add(state: BlueprintSetupState) -> None:
        state.app.jinja_env.globals[NAME] = widgets

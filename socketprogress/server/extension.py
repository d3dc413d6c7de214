"""`SocketProgress`: the Flask extension."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from socketprogress.core.errors import ConfigurationError
from socketprogress.core.protocol import snapshot
from socketprogress.core.registry import Registry, definition_of
from socketprogress.core.registry import task as mark
from socketprogress.core.state import TaskState
from socketprogress.server.config import mounting, settings_of
from socketprogress.server.engine import Engine
from socketprogress.server.installation import Installation
from socketprogress.server.loading import load_named
from socketprogress.server.native import green_mode
from socketprogress.server.policy import Authorize, Policy, host_user
from socketprogress.server.runtime import Runtime
from socketprogress.server.settings import Settings

if TYPE_CHECKING:
    from flask import Flask
    from flask_socketio import SocketIO

__all__ = ["SocketProgress"]

NAME = "socketprogress"


class SocketProgress:
    """Adds live tasks to a Flask app, or to several that share nothing but its definitions.

    Args:
        app: the app; or none, and `init_app` later.
        **options: as for `init_app`.
    """

    def __init__(self, app: Flask | None = None, **options: Any) -> None:
        self.registry = Registry()
        self._hooks = Policy()
        self._installations: weakref.WeakSet[Installation] = weakref.WeakSet()
        self._newest: Callable[[], Installation | None] = lambda: None
        self._count = 0
        if app is not None:
            self.init_app(app, **options)

    def init_app(
        self,
        app: Flask,
        *,
        socketio: SocketIO | None = None,
        url_prefix: str | None = None,
        namespace: str | None = None,
        settings: Settings | None = None,
        runtime: Runtime | None = None,
        authorize: Authorize | None = None,
        user_loader: Callable[[], Any] | None = None,
        **options: Any,
    ) -> None:
        """Register the routes and the Socket.IO events with an app.

        Args:
            app: the Flask app.
            socketio: its Flask-SocketIO object; one that the app has, or gets later, is found
                by itself, and without any the extension has one for itself.
            url_prefix: where the pages and the API are; ``/progress`` by default.
            namespace: the Socket.IO namespace of the events; ``/socketprogress`` by default.
            settings: everything that can be set, whatever the app's config says.
            runtime: the async mode, if it has been chosen already.
            authorize: as for the decorator of this name.
            user_loader: as for the decorator of this name.
            **options: a setting each, such as ``workers=2`` or ``celery=celery_app``; they stand
                above `app.config`.

        Raises:
            ConfigurationError: a setting cannot work, or the app has SocketProgress already.
        """
        if NAME in app.extensions:
            raise ConfigurationError("this app has SocketProgress already: one is enough")
        url_prefix, namespace = mounting(app, url_prefix=url_prefix, namespace=namespace)
        if settings is None:
            mode = green_mode() or "threading"
            settings = settings_of(app, options, async_mode=mode)
        registry = self.registry.copy()
        if runtime is None:
            load_named(registry, settings)
        hooks = self._hooks
        policy = Policy(authorize or hooks.authorize, user_loader or hooks.load_user)
        policy.app = app
        installation = Installation(
            app,
            registry=registry,
            settings=settings,
            policy=policy,
            url_prefix=url_prefix,
            namespace=namespace,
            socketio=socketio or app.extensions.get("socketio"),
            runtime=runtime,
        )
        app.extensions[NAME] = installation
        self._installations.add(installation)
        self._newest = weakref.ref(installation)
        self._count += 1

    @property
    def engine(self) -> Engine:
        """The composed server of the current app, or of the only one.

        Raises:
            ConfigurationError: `init_app` has not been called, or it is not clear which app.
        """
        return self._installation().engine

    def task(self, function: Any = None, **options: Any) -> Any:
        """Register a task function, before `init_app` or after; options as for `socketprogress.task`.

        A function that is marked by that already is registered as it is.
        """

        def register(function: Any) -> Any:
            is_marked = not options and definition_of(function) is not None
            marked = function if is_marked else mark(**options)(function)
            definition = definition_of(marked)
            if definition is not None:
                self.registry.add(definition)
                for installation in list(self._installations):
                    is_newest = installation is self._newest() and not installation.composed
                    if is_newest or definition.name not in installation.registry:
                        installation.registry.add(definition)
            return marked

        return register if function is None else register(function)

    def authorize(self, hook: Authorize) -> Authorize:
        """Let the application decide what its users may do; usable as a decorator.

        With it a visitor needs no token: the hook alone says what they may do, and what it does
        not allow with True is denied. Who presents a token has that token's rights, and the hook is not
        asked.

        Args:
            hook: called as ``hook(user, action, task)`` within a request context. `user` is the
                user at the request, or at the time the connection was opened; None of nobody.
                `action` is one of `ACTIONS`, or the name of something that only operators do. `task`
                is the task's state; for `start` and `open` a `NewTask` with the `name`, `title`,
                `tags`, `parent_id` and `args` that it is to have; None where it is about no task.
                It is asked for each task of a list, so it had better be quick.
        """
        self._hooks.authorize = hook
        for installation in list(self._installations):
            if installation is self._newest() or not installation.policy.asks:
                installation.policy.authorize = hook
        return hook

    def user_loader(self, load: Callable[[], Any]) -> Callable[[], Any]:
        """Say who the current request's user is, for `authorize`; usable as a decorator.

        Without it that is Flask-Login's user, if there is one, or `flask.g.user`.
        """
        self._hooks.load_user = load
        for installation in list(self._installations):
            if installation is self._newest() or installation.policy.load_user is host_user:
                installation.policy.load_user = load
        return load

    def start(
        self,
        name: str | None = None,
        /,
        *,
        title: str | None = None,
        task_id: str | None = None,
        tags: Sequence[str] = (),
        args: Mapping[str, Any] | None = None,
        **more_args: Any,
    ) -> TaskState:
        """Start a task: ``progress.start("resize", folder="photos").task_id``.

        Where `authorize` decides, a task that is started in a request gets its user's tag.

        Args:
            name: the definition; None for the default task.
            title: one line for people; the definition's own by default.
            task_id: its id; the same id again is the same task, not a second one.
            tags: words to find it by.
            args, more_args: the definition's arguments; `args` is for those that are called like
                one of these parameters.

        Returns:
            The state of the task, which is queued at first.

        Raises:
            UnknownDefinition, InvalidArguments, AlreadyRunning, Unavailable.
            ConfigurationError, StoreError: the server cannot start.
        """
        installation = self._installation()
        engine = installation.started()
        state = engine.service.start(
            name,
            {**(args or {}), **more_args},
            title=title,
            task_id=task_id,
            tags=(*tags, *installation.policy.own_tags()),
            trusted=True,
        )
        installation.raise_failure(state.task_id)
        return engine.hub.find(state.task_id) or state

    def get(self, task_id: str) -> dict[str, Any]:
        """Return a task's snapshot.

        Raises:
            UnknownTask: there is none of this id.
        """
        installation = self._installation()
        state = installation.started().hub.get(task_id)
        return snapshot(state, prefix=installation.url_prefix)

    def state(self, task_id: str) -> TaskState:
        """Return a task's state, as `authorize` gets it.

        Raises:
            UnknownTask: there is none of this id.
        """
        return self._installation().started().hub.get(task_id)

    def tasks(self, *, tag: str | None = None, limit: int = 200) -> list[dict[str, Any]]:
        """Return the snapshots of tasks, those that have not ended first, then the newest.

        Args:
            tag: only those that bear it, such as ``"user:ada"``.
            limit: at most so many.
        """
        installation = self._installation()
        states = installation.started().hub.all()
        fitting = [state for state in states if tag is None or tag in state.tags]
        fitting.sort(key=lambda state: (state.ended, -state.created_at))
        return [snapshot(state, prefix=installation.url_prefix) for state in fitting[:limit]]

    def cancel(self, task_id: str) -> dict[str, Any]:
        """Ask for a task's end and return its snapshot.

        Raises:
            UnknownTask, TaskEnded, NotCancellable.
        """
        installation = self._installation()
        state = installation.started().service.cancel(task_id)
        return snapshot(state, prefix=installation.url_prefix)

    def _installation(self) -> Installation:
        from flask import current_app, has_app_context  # noqa: PLC0415 - flask is loaded by then

        if has_app_context():
            found = current_app.extensions.get(NAME)
            if isinstance(found, Installation) and found in self._installations:
                return found
            raise ConfigurationError("call init_app(app) for this app first")
        found = self._newest()
        if found is None:
            raise ConfigurationError("call init_app(app) first")
        if self._count > 1:
            raise ConfigurationError("of several apps: say which one by `with app.app_context():`")
        return found

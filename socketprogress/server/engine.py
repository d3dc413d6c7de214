"""Puts one server's parts together around a Flask app and its Socket.IO server."""

from __future__ import annotations

import contextlib
import logging
import secrets
import shutil
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from socketprogress.core.hub import Hub
from socketprogress.core.ports import Executor
from socketprogress.core.protocol import update
from socketprogress.core.registry import Registry
from socketprogress.core.retention import Retention
from socketprogress.executors.hub import HubExecutor
from socketprogress.executors.process import ProcessExecutor
from socketprogress.executors.thread import ThreadExecutor
from socketprogress.server.access import Access
from socketprogress.server.emitter import Emitter
from socketprogress.server.events import Events
from socketprogress.server.fanout import Fanout
from socketprogress.server.guard import guard
from socketprogress.server.lists import ListWatchers
from socketprogress.server.runtime import Runtime
from socketprogress.server.service import Service
from socketprogress.server.settings import Settings
from socketprogress.stores import open_store

if TYPE_CHECKING:
    from flask_socketio import SocketIO

__all__ = ["Engine", "SystemClock"]

log = logging.getLogger(__name__)

SWEEP_S = 1.0
CLOSE_STORE_S = 2.0


class SystemClock:
    """The machine's own clocks."""

    def wall(self) -> float:
        """Return Unix seconds."""
        return time.time()

    def monotonic(self) -> float:
        """Return seconds that never go back."""
        return time.monotonic()


class Engine:
    """One server: store, hub, executors, service, emitter and events.

    Args:
        settings: everything that can be set.
        runtime: the async mode.
        registry: the definitions.
        socketio: the Flask-SocketIO server that carries the events.
        access: who may do what.
        namespace: the Socket.IO namespace.
        prefix: the URL prefix of the routes.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        runtime: Runtime,
        registry: Registry,
        socketio: SocketIO,
        access: Access,
        namespace: str,
        prefix: str,
    ) -> None:
        self.settings, self.runtime, self.registry = settings, runtime, registry
        self.socketio, self.access = socketio, access
        self.namespace, self.prefix = namespace, prefix
        self._clock = SystemClock()
        self._stopped = runtime.signal()
        self._starting = runtime.threading.Lock()
        self._started = False
        self.hub = self._hub()
        self.service = Service(
            hub=self.hub,
            registry=registry,
            settings=settings,
            runtime=runtime,
            executors=self._executors(),
            spawn=socketio.start_background_task,
        )
        self._wire()

    def start(self) -> None:
        """Take over what the store holds and begin to tell watchers; once, however often called."""
        with self._starting:
            if self._started:
                return
            self._started = True
            count = self.hub.restore()
            log.info("%d tasks from before; epoch %s", count, self.hub.epoch)
            self.socketio.start_background_task(self.emitter.run)
            self.socketio.start_background_task(self._housekeep)

    def close(self) -> None:
        """End what runs, book it, tell the watchers, and close the store."""
        self.service.close()
        self.hub.save_all()
        self.runtime.run_blocking(self.hub.store.close, CLOSE_STORE_S)
        self.emitter.flush()
        self.emitter.stop()
        self._stopped.set()
        self.runtime.sleep(0.05)

    def secret_key(self) -> str:
        """Return this installation's secret, made at its first start."""
        key = self.hub.store.get_meta("secret_key")
        if key is None:
            key = secrets.token_urlsafe(32)
            self.hub.store.set_meta("secret_key", key)
        return key

    def _hub(self) -> Hub:
        settings = self.settings
        store = open_store(
            settings.store or "sqlite:", data=settings.data, threading=self.runtime.threading
        )
        return Hub(
            store=store,
            clock=self._clock,
            epoch=secrets.token_urlsafe(9),
            lock=self.runtime.threading.RLock(),
            retention=Retention(
                count=settings.keep_tasks, age_s=settings.keep_s, bytes=settings.keep_bytes
            ),
        )

    def _executors(self) -> dict[str, Executor]:
        native = self.runtime.threading
        self._processes = ProcessExecutor(workers=self.settings.workers, threading=native)
        return {
            "process": self._processes,
            "thread": ThreadExecutor(slots=self.settings.threads, threading=native),
            "hub": HubExecutor(self.runtime.spawn, threading=native),
        }

    def _wire(self) -> None:
        server = self.socketio.server
        self.fanout = Fanout(server, self.namespace, self._newest)
        self.lists = ListWatchers(self.hub, self.fanout)
        self.emitter = Emitter(
            self.hub,
            self.fanout,
            self.lists,
            runtime=self.runtime,
            clock=self._clock,
            rate_hz=self.settings.rate_hz,
        )
        self.events = Events(
            server,
            self.namespace,
            service=self.service,
            access=self.access,
            emitter=self.emitter,
            fanout=self.fanout,
            lists=self.lists,
            runtime=self.runtime,
            prefix=self.prefix,
        )
        self.events.install()
        guard(server)

    def _newest(self, task_id: str) -> dict[str, Any] | None:
        state = self.hub.find(task_id)
        return None if state is None else update(state, prefix=self.prefix)

    def _housekeep(self) -> None:
        self._processes.warm()
        while not self._stopped.wait(SWEEP_S):
            try:
                gone = self.hub.sweep()
                if gone:
                    self.runtime.run_blocking(self._remove_files, gone)
            except Exception:  # housekeeping must go on; the next round may do better
                log.exception("housekeeping failed")

    def _remove_files(self, task_ids: list[str]) -> None:
        for task_id in task_ids:
            folder: Path = self.service.output_dir(task_id)
            with contextlib.suppress(FileNotFoundError):
                shutil.rmtree(folder)

"""Puts one server's parts together around a Flask app and its Socket.IO server."""

from __future__ import annotations

import contextlib
import hashlib
import logging
import secrets
import shutil
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from socketprogress import __version__
from socketprogress.core.hub import Changes, Hub
from socketprogress.core.ports import Executor
from socketprogress.core.protocol import update
from socketprogress.core.registry import Registry
from socketprogress.core.retention import Retention
from socketprogress.executors.hub import HubExecutor
from socketprogress.executors.process import ProcessExecutor
from socketprogress.executors.thread import ThreadExecutor
from socketprogress.server.access import Access
from socketprogress.server.cluster import Cluster
from socketprogress.server.datadir import DataLock
from socketprogress.server.emitter import Emitter
from socketprogress.server.events import Events
from socketprogress.server.fanout import Fanout
from socketprogress.server.gathering import Gathering
from socketprogress.server.guard import close_connection, guard
from socketprogress.server.hosting import HostedEvents
from socketprogress.server.lag import Lag
from socketprogress.server.lists import ListWatchers
from socketprogress.server.metrics import Labels, Metric, counter, gauge
from socketprogress.server.native import green_threading
from socketprogress.server.remote import dispatcher_of
from socketprogress.server.runtime import Runtime
from socketprogress.server.service import Service
from socketprogress.server.settings import Settings
from socketprogress.server.strangers import Strangers
from socketprogress.server.undertaker import Undertaker
from socketprogress.server.uploadkeeping import UploadKeeper
from socketprogress.stores import open_store
from socketprogress.stores.redis import RedisStore

if TYPE_CHECKING:
    from flask_socketio import SocketIO

__all__ = ["Engine", "SystemClock"]

log = logging.getLogger(__name__)

SWEEP_S = 1.0
CLOSE_STORE_S = 2.0
STARTING_S = 0.005
ENDS_S = 1.0
"""How long a start waits for the store to write how the work of a killed server has ended."""


class SystemClock:
    """The machine's own clocks."""

    wall = staticmethod(time.time)
    monotonic = staticmethod(time.monotonic)


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
        hosted: what takes the events where the Socket.IO server is the host application's own.

    Attributes:
        lock: the hold on the data folder, given back by `close`.
        on_changes: who else hears what changed, after each tick of the emitter.
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
        hosted: HostedEvents | None = None,
    ) -> None:
        self._hosted = hosted
        self.lock: DataLock | None = None
        self._strangers: Strangers | None = None
        self.settings, self.runtime, self.registry = settings, runtime, registry
        self.socketio, self.access = socketio, access
        self.namespace, self.prefix = namespace, prefix
        self._clock = SystemClock()
        self._stopped = runtime.signal()
        self._starting = runtime.threading.Lock()
        self._lag = Lag(self._clock, self._stopped)
        self._busy = self._started = self._closed = False
        self.hub = self._hub()
        self.service = Service(
            hub=self.hub,
            registry=registry,
            settings=settings,
            runtime=runtime,
            executors=self._executors(),
            policy=access.policy,
            spawn=self._spawn,
            dispatcher=dispatcher_of(settings.celery, settings.data),
        )
        self._uploads = UploadKeeper(self.service.uploads, self.hub, settings, runtime)
        if isinstance(self.hub.store, RedisStore):
            self.service.cluster = Cluster(self.hub.store, self.hub, self.service, runtime)
        self.on_changes: list[Callable[[Changes], None]] = [self.service.metrics.see]
        self.gathering = Gathering(self.hub, self.service.cancel)
        self.on_changes.append(self.gathering.note)
        self._wire()

    def start(self) -> None:
        """Take over what the store holds and begin to tell watchers; once, however often called.

        Whoever calls it meanwhile waits until it is done.
        """
        while not self._started:
            with self._starting:  # never held while others may have their turn on the loop
                is_first, self._busy = not self._busy, True
            if is_first:
                try:
                    self._take_over()
                finally:
                    self._busy = False
            else:
                self.runtime.sleep(STARTING_S)

    def _take_over(self) -> None:
        if self._started:
            return
        count = self.hub.restore(self._uploads.resumable())
        patience = self._clock.monotonic() + ENDS_S
        while self.hub.is_ending and self._clock.monotonic() < patience:
            self.runtime.sleep(STARTING_S)  # nobody is to see as alive what has died
        self._uploads.restored()
        if self.service.cluster is not None:
            self.service.cluster.start()
        self._undertaker = Undertaker(self.hub, self.runtime, self._clock)
        self.on_changes.append(self._undertaker.note)
        self.service.metrics.restored(self.hub.all())
        self.gathering.restored()
        self.emitter.on_changes = self._note
        log.info("%d tasks from before; epoch %s", count, self.hub.epoch)
        self.socketio.start_background_task(self.emitter.run)
        self.socketio.start_background_task(self._housekeep)
        self.socketio.start_background_task(self._lag.run)
        self._started = True

    def close(self) -> None:
        """End what runs, book it, tell the watchers, and close the store; once."""
        if self._closed:
            return
        self._closed = True
        self.service.close()
        self.hub.save_all()
        self.runtime.run_blocking(self.hub.store.close, CLOSE_STORE_S)
        if self.service.cluster is not None:
            self.service.cluster.close()
        self.emitter.flush()
        self.emitter.stop()
        self._stopped.set()
        self.runtime.sleep(0.05)
        if self.lock is not None:
            self.lock.close()

    def secret_key(self) -> str:
        """Return this installation's secret, made at its first start."""
        key = self.hub.store.get_meta("secret_key")
        if key is None:
            key = secrets.token_urlsafe(32)
            self.hub.store.set_meta("secret_key", key)
        return key

    def family(self) -> str | None:
        """Return what names the servers that share this one's store, or None if it is alone."""
        if self.service.cluster is None:
            return None
        return hashlib.sha256(self.secret_key().encode()).hexdigest()[:12]

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

    def _note(self, changes: Changes) -> None:
        for note in self.on_changes:
            note(changes)

    def _spawn(self, function: Callable[[], None]) -> None:
        self.socketio.start_background_task(function)

    def _executors(self) -> Mapping[str, Executor]:
        native, patched = self.runtime.threading, self.runtime.patched
        self._processes = ProcessExecutor(workers=self.settings.workers, threading=native)
        spawn = self.runtime.spawn
        sampling = green_threading(spawn) if patched else native
        loop = HubExecutor(spawn, threading=native, sampling=sampling)
        if patched:  # its closures expect greenlets, and its locks are of that kind
            return {"process": self._processes, "thread": loop, "hub": loop}
        threads = ThreadExecutor(slots=self.settings.threads, threading=native)
        return {"process": self._processes, "thread": threads, "hub": loop}

    def _wire(self) -> None:
        server = self.socketio.server
        self.fanout = Fanout(server, self.namespace, self._newest, self.hub.log_next)
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
            close=self._close_connection if self._hosted is None else self._hosted.close_connection,
        )
        self.service.gauges = self._gauges
        if self._hosted is None:
            self.events.install()
            patience_s = self.settings.connect_s
            self._strangers = Strangers(server, patience_s=patience_s, clock=self._clock)
            guard(server)

    def _close_connection(self, sid: str) -> None:
        server = self.socketio.server
        close_connection(server, server.manager.eio_sid_from_sid(sid, self.namespace))

    def _gauges(self) -> list[Metric]:
        """Return how the server is at this moment, all that has happened counted."""
        self.emitter.flush()
        connections, watched = self.events.watched()
        unwritten, oldest_s = self.hub.store.lag()
        now = {
            "connections": ("Socket.IO connections.", connections),
            "watched_tasks": ("Tasks that connections watch, each as often as watched.", watched),
            "list_watchers": ("Connections that watch a list.", self.lists.watchers),
            "tick_seconds": ("Seconds that the last round of updates took.", self.emitter.tick_s),
            "store_waiting_tasks": ("Tasks with changes that wait to be written.", unwritten),
            "store_lag_seconds": ("Seconds that the oldest of them has waited.", oldest_s),
            "degraded": ("1 while /healthz says degraded.", float(bool(self.hub.problems()))),
        }
        statuses: dict[Labels, float] = {
            (("status", status),): n for status, n in self.hub.counts().items()
        }
        return [
            gauge("socketprogress_info", "The version.", {(("version", __version__),): 1}),
            gauge("socketprogress_tasks", "Tasks by status.", statuses),
            *(gauge(f"socketprogress_{name}", text, {(): v}) for name, (text, v) in now.items()),
            self._lag.collect(),
            counter(
                "socketprogress_updates_sent_total",
                "Events handed to connections.",
                {(): self.fanout.sent},
            ),
            counter(
                "socketprogress_updates_conflated_total",
                "States that a slow connection got a newer one for.",
                {(): self.fanout.conflated},
            ),
        ]

    def _newest(self, task_id: str) -> dict[str, Any] | None:
        state = self.hub.find(task_id)
        return None if state is None else update(state, prefix=self.prefix)

    def _housekeep(self) -> None:
        self._processes.warm()
        while not self._stopped.wait(SWEEP_S):
            try:
                if self._strangers is not None:
                    self._strangers.sweep()
                self._uploads.sweep()
                gone = self.hub.sweep()
                self._undertaker.sweep()
                self.service.remote.review(self._clock.monotonic())
                if gone:
                    self.runtime.run_blocking(self._remove_files, gone)
                self.events.review()
            except Exception:  # housekeeping must go on; the next round may do better
                log.exception("housekeeping failed")

    def _remove_files(self, task_ids: list[str]) -> None:
        for task_id in task_ids:
            folder: Path = self.service.output_dir(task_id)
            with contextlib.suppress(FileNotFoundError):
                shutil.rmtree(folder)

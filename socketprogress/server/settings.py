"""Every setting of a server, with its default and its unit."""

from __future__ import annotations

import os
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Self

from socketprogress.core.errors import ConfigurationError

__all__ = ["ASYNC_MODES", "Settings"]

ASYNC_MODES = ("eventlet", "threading", "gevent")


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The settings of one server.

    Attributes:
        host, port: where it listens; port 0 takes a free one.
        root: the folder that task arguments may name paths in.
        data: where the store, results and secrets are kept.
        store: `sqlite:///path`, `memory:`; empty for SQLite under `data`.
        async_mode: one of `ASYNC_MODES`.
        token: what every client must present; None for nothing on loopback.
        no_token: nobody needs a token off loopback either.
        origins: further origins whose pages may talk to this server.
        hosts: further host names it answers to.
        proxies: how many reverse proxies of the operator's are before it, whose X-Forwarded-For and
            X-Forwarded-Proto count; behind one, loopback is the world, and needs a token.
        tasks: modules or files with task functions.
        commands: `NAME=ARGV` texts that become tasks.
        celery: the Celery application, or `module:app`, whose workers run `executor="celery"`.
        default_task: what a bare `start_task` starts.
        workers: worker processes at most.
        threads: bodies in native threads at most.
        rate_hz: how often watchers hear of a task at most, per second.
        ping_interval_s, ping_timeout_s: whole seconds of the Engine.IO heartbeat.
        max_payload_bytes, max_depth: the largest and deepest event.
        max_name_chars, max_title_chars, max_tags: bounds of a task's texts.
        events_per_s, events_burst: events a connection may send.
        requests_per_s, requests_burst: HTTP requests from one address; those of Socket.IO, of
            static files and of /healthz do not count.
        connect_s: seconds that a connection has until it is in a namespace.
        max_upload_bytes: the largest upload.
        upload_quota_bytes: all uploads together, those that are kept included.
        upload_expiry_s: seconds that an upload which can be resumed waits for its rest.
        max_watched: tasks a connection may watch.
        max_connections_per_address: connections from one address.
        keep_tasks, keep_s, keep_bytes: how much of the past is kept.
        grace_s: seconds that running work has to end when the server stops.
        log_level: a level's name of `logging`.
    """

    host: str = "127.0.0.1"
    port: int = 8765
    root: Path = Path()
    data: Path = Path()
    store: str = ""
    async_mode: str = "eventlet"
    token: str | None = None
    no_token: bool = False
    origins: tuple[str, ...] = ()
    hosts: tuple[str, ...] = ()
    proxies: int = 0
    tasks: tuple[str, ...] = ()
    commands: tuple[str, ...] = ()
    celery: Any = None
    default_task: str = "checksum"
    workers: int = max(2, os.cpu_count() or 2)
    threads: int = 256
    rate_hz: float = 20.0
    ping_interval_s: int = 25
    ping_timeout_s: int = 20
    max_payload_bytes: int = 64 * 1024
    max_depth: int = 32
    max_name_chars: int = 200
    max_title_chars: int = 500
    max_tags: int = 100
    events_per_s: float = 100.0
    events_burst: int = 300
    requests_per_s: float = 1000.0
    requests_burst: int = 5000
    connect_s: float = 20.0
    max_upload_bytes: int = 10 << 30
    upload_quota_bytes: int = 50 << 30
    upload_expiry_s: float = 86_400.0
    max_watched: int = 1000
    max_connections_per_address: int = 2000
    keep_tasks: int = 10_000
    keep_s: float = 30 * 86_400.0
    keep_bytes: int = 1 << 30
    grace_s: float = 3.0
    log_level: str = "info"

    def __post_init__(self) -> None:
        if self.async_mode not in ASYNC_MODES:
            raise ConfigurationError(
                f"async mode {self.async_mode!r} is none of {', '.join(ASYNC_MODES)}"
            )
        if not 0 <= self.port <= 65_535:
            raise ConfigurationError(f"port {self.port} is not between 0 and 65535")
        if not self.root.is_dir():
            raise ConfigurationError(f"the root folder {str(self.root)!r} is not a folder")
        for name in ("workers", "threads", "ping_interval_s", "ping_timeout_s"):
            if getattr(self, name) < 1:
                raise ConfigurationError(f"{name}={getattr(self, name)} must be at least 1")
        for name in ("max_upload_bytes", "upload_quota_bytes", "upload_expiry_s"):
            if getattr(self, name) <= 0:
                raise ConfigurationError(f"{name}={getattr(self, name)} must be above 0")
        if self.proxies < 0:
            raise ConfigurationError(f"proxies={self.proxies} must be 0 or more")
        if not 1 <= self.rate_hz <= 100:
            raise ConfigurationError(f"a rate of {self.rate_hz} Hz is not between 1 and 100")

    @classmethod
    def names(cls) -> tuple[str, ...]:
        """Return the names of all settings."""
        return tuple(field.name for field in fields(cls))

    def but(self, **changes: Any) -> Self:
        """Return these settings with some changed."""
        return replace(self, **changes)

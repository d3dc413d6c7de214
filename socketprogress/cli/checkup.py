"""What `socketprogress doctor` looks at: each check says in a line or two what it has found."""

from __future__ import annotations

import errno
import importlib.metadata
import importlib.util
import json
import os
import re
import shutil
import socket
import sqlite3
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.request import ProxyHandler, Request, build_opener

from socketprogress.client.runfile import ServerAddress, running_servers
from socketprogress.client.spool import waiting
from socketprogress.core.errors import ConfigurationError, StoreError, Unauthorized, Unavailable
from socketprogress.core.registry import Registry
from socketprogress.server.datadir import holder
from socketprogress.server.loading import load_definitions
from socketprogress.server.settings import Settings

__all__ = ["Finding", "check_all"]

OK, WARNING, PROBLEM = "ok", "warning", "problem"
LOW_SPACE_BYTES = 200 << 20
ANSWER_S = 5.0
SKEW_S = 60.0
YEAR_2025_AT = 1_735_689_600
NEEDS = {
    "eventlet": ("eventlet",),
    "threading": ("simple_websocket",),
    "gevent": ("gevent", "geventwebsocket"),
}


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the report; `level` is ``ok``, ``warning`` or ``problem``."""

    level: str
    text: str


Findings = Iterator[Finding]


def check_all(settings: Settings) -> Findings:
    """Yield what there is to say about this installation, this host and a running server.

    Args:
        settings: those that a server would be started with.
    """
    checks: tuple[Callable[[Settings], Findings], ...] = (
        _versions,
        _async_modes,
        _root,
        _tasks,
        _data,
        _store,
        _port,
        _servers,
        _spool,
        _clock,
    )
    for check in checks:
        yield from check(settings)


def _versions(_settings: Settings) -> Findings:
    yield Finding(OK, f"Python {sys.version.split()[0]}")
    good = []
    for name, floor in _floors():
        try:
            version = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            yield Finding(PROBLEM, f"{name} is not installed: pip install '{name}>={floor}'")
            continue
        if _numbers(version) < _numbers(floor):
            remedy = f"pip install --upgrade '{name}>={floor}'"
            yield Finding(PROBLEM, f"{name} {version} is older than {floor}: {remedy}")
        else:
            good.append(f"{name} {version}")
    yield Finding(OK, f"packages: {', '.join(good)}")


def _floors() -> Iterator[tuple[str, str]]:
    """Yield the packages that this one requires, with their lowest versions."""
    for requirement in importlib.metadata.requires("socketprogress") or ():
        found = re.match(r"([\w.-]+)(?:\[[^]]*\])?\s*>=\s*([\d.]+)", requirement)
        if found and "extra ==" not in requirement:
            yield found.group(1), found.group(2)


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version)[:3])


def _async_modes(settings: Settings) -> Findings:
    missing = {
        mode: [name for name in names if importlib.util.find_spec(name) is None]
        for mode, names in NEEDS.items()
    }
    there = ", ".join(mode for mode, names in missing.items() if not names)
    yield Finding(OK, f"async modes: {there}")
    lacking = missing[settings.async_mode]
    if lacking:
        yield Finding(PROBLEM, f"async mode {settings.async_mode} needs {' and '.join(lacking)}")


def _root(settings: Settings) -> Findings:
    if os.access(settings.root, os.R_OK | os.X_OK):
        yield Finding(OK, f"root folder {settings.root} can be read")
    else:
        yield Finding(PROBLEM, f"root folder {settings.root} cannot be read: see --root")


def _tasks(settings: Settings) -> Findings:
    bound = {"root": settings.root, "exclude": settings.data}
    registry = Registry(bound=bound)
    try:
        load_definitions(registry, settings)
    except ConfigurationError as exc:
        yield Finding(PROBLEM, str(exc))
        return
    for definition in registry:
        argv = definition.bound.get("argv")
        if argv and not _program(argv[0], settings.root):
            yield Finding(PROBLEM, f"command {definition.name}: there is no program {argv[0]!r}")
    yield Finding(OK, f"tasks: {', '.join(definition.name for definition in registry)}")


def _program(name: str, root: Path) -> str | None:
    """Return the program that a command would run; a relative path is one from the root folder."""
    return shutil.which(root / name if os.sep in name else name)


def _data(settings: Settings) -> Findings:
    data = settings.data
    there = next(path for path in (data, *data.parents) if path.exists())
    if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
        yield Finding(PROBLEM, f"data folder {data} cannot be written to: see --data")
        return
    free = shutil.disk_usage(there).free
    if free < LOW_SPACE_BYTES:
        yield Finding(WARNING, f"only {free >> 20} MiB are free for the data folder {data}")
    if there != data:
        yield Finding(OK, f"data folder {data} will be made")
        return
    pid = holder(data)
    use = "free" if pid is None else f"in use by the server with pid {pid or 'unknown'}"
    yield Finding(OK, f"data folder {data} can be written to, and is {use}")


def _store(settings: Settings) -> Findings:
    if settings.store.startswith(("redis://", "rediss://")):
        yield from _redis(settings.store)
        return
    path = _database(settings)
    if path is None:
        yield Finding(OK, f"store {settings.store}: nothing to check")
        return
    if not path.exists():
        yield Finding(OK, f"store {path} will be made")
        return
    try:
        # Read-only, so that a server may be writing meanwhile.
        connection = sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)
        try:
            faults = [row[0] for row in connection.execute("PRAGMA integrity_check")]
            (version,) = connection.execute("PRAGMA user_version").fetchone()
        finally:
            connection.close()
    except sqlite3.Error as exc:
        yield Finding(PROBLEM, f"store {path} cannot be read: {exc}")
        return
    if faults != ["ok"]:
        yield Finding(PROBLEM, f"store {path} is damaged: {'; '.join(faults[:3])}; move it away")
    else:
        yield Finding(OK, f"store {path} is intact, its tables are of version {version}")


def _redis(url: str) -> Findings:
    from socketprogress.stores.redis_place import check, connect, parse_redis_url

    try:
        place = parse_redis_url(url)
        with connect(place) as client:
            check(client, place)
    except (ConfigurationError, StoreError) as exc:
        yield Finding(PROBLEM, str(exc))
    else:
        yield Finding(OK, f"store {place.name} answers")


def _database(settings: Settings) -> Path | None:
    if settings.store in {"", "sqlite:"}:
        return settings.data / "tasks.sqlite3"
    if settings.store.startswith("sqlite:///"):
        return Path(settings.store.removeprefix("sqlite://"))
    return None


def _port(settings: Settings) -> Findings:
    where = f"port {settings.port} of {settings.host}"
    if not settings.port:
        yield Finding(OK, "port 0: any free one")
        return
    try:
        _try_to_listen(settings.host, settings.port)
    except OSError as exc:
        if exc.errno != errno.EADDRINUSE:
            yield Finding(PROBLEM, f"{where} cannot be used: {exc.strerror or exc}")
            return
    else:
        yield Finding(OK, f"{where} is free")
        return
    for address in running_servers():
        if address.url.endswith(f":{settings.port}"):
            yield Finding(OK, f"{where} is taken by your server with pid {address.pid}")
            return
    owner = _owner_of(settings.port)
    by = f"pid {owner[0]} ({owner[1]})" if owner else "a process of another user"
    yield Finding(PROBLEM, f"{where} is taken by {by}: choose another with --port")


def _try_to_listen(host: str, port: int) -> None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(1)


def _owner_of(port: int) -> tuple[int, str] | None:
    """Return pid and name of the process of this user that listens at a port, as Linux tells it."""
    inodes = set()
    for table in (Path("/proc/net/tcp"), Path("/proc/net/tcp6")):
        if table.exists():
            for line in table.read_text(encoding="ascii").splitlines()[1:]:
                fields = line.split()
                if fields[3] == "0A" and int(fields[1].rpartition(":")[2], 16) == port:
                    inodes.add(f"socket:[{fields[9]}]")
    for entry in Path("/proc").glob("[0-9]*/fd/*"):
        try:
            if str(entry.readlink()) in inodes:
                process = entry.parent.parent
                name = (process / "comm").read_text(encoding="utf-8", errors="replace").strip()
                return int(process.name), name
        except OSError:
            continue  # it ended meanwhile, or is another user's
    return None


def _servers(_settings: Settings) -> Findings:
    servers = running_servers()
    if not servers:
        yield Finding(OK, "no server of yours is running on this host")
    for address in servers:
        name = f"server {address.url} (pid {address.pid})"
        try:
            health = _health(address)
        except (OSError, ValueError) as exc:
            yield Finding(PROBLEM, f"{name} is running but does not answer: {exc}")
            continue
        if health.get("status") == "ok":
            yield Finding(OK, f"{name} is well")
        else:
            reasons = "; ".join(map(str, health.get("reasons") or ())) or "it does not say why"
            yield Finding(WARNING, f"{name} is degraded: {reasons}")


def _health(address: ServerAddress) -> dict[str, Any]:
    headers = {"Authorization": f"Bearer {address.token}"} if address.token else {}
    request = Request(f"{address.url}/healthz", headers=headers)  # noqa: S310 - from a run file
    # This host is reached without the proxy that the internet may need.
    with build_opener(ProxyHandler({})).open(request, timeout=ANSWER_S) as response:
        health = json.load(response)
    if not isinstance(health, dict):
        raise ValueError("its /healthz is no object")
    return health


def _spool(_settings: Settings) -> Findings:
    """Deliver what reporters could not: whoever asks what is wrong wants it to be right."""
    from socketprogress.client.delivery import deliver_spool

    for url in waiting():
        reason = "no answer in time"
        try:
            delivered = deliver_spool(url or None)
        except Unavailable as exc:
            delivered, reason = 0, str(exc)
        except Unauthorized as exc:
            delivered, reason = 0, f"{exc}; set SOCKETPROGRESS_TOKEN"
        if delivered:
            yield Finding(OK, f"delivered what {_of(delivered)} still had to say to {url}")
        left = waiting().get(url, 0)
        if left:
            whom = url or "a server"
            yield Finding(WARNING, f"what {_of(left)} still had to say waits for {whom}: {reason}")


def _of(number: int) -> str:
    return f"{number:,} task{'s' if number != 1 else ''}"


def _clock(settings: Settings) -> Findings:
    now = time.time()
    if now < YEAR_2025_AT:
        yield Finding(PROBLEM, f"the clock says {time.ctime(now)}: set it")
        return
    written = [path.stat().st_mtime for path in settings.data.glob("*") if path.is_file()]
    ahead_s = max(written, default=now) - now
    if ahead_s > SKEW_S:
        yield Finding(
            WARNING, f"the clock is {ahead_s:.0f} s behind the last write to {settings.data}"
        )
    else:
        yield Finding(OK, f"the clock says {time.strftime('%Y-%m-%d %H:%M:%S %Z')}")

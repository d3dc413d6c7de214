"""What would take a whole server down: descriptors, endless messages, threads, races of watchers."""

from __future__ import annotations

import resource
import socket
import sys
import threading
import urllib.request
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import socketio
import websocket

from socketprogress import task
from socketprogress.core.hub import Filter, Hub
from socketprogress.core.registry import Registry
from socketprogress.core.state import Status
from socketprogress.server.bridge import MOST_DESCRIPTORS, allow_connections
from socketprogress.server.engine import SystemClock
from socketprogress.server.fanout import Fanout
from socketprogress.server.lists import ListWatchers
from socketprogress.server.policy import Policy
from socketprogress.server.runtime import choose
from socketprogress.server.service import Service
from socketprogress.server.settings import Settings
from socketprogress.stores.memory import MemoryStore

WAIT_S = 30.0
DESCRIPTORS = 48
MODES = ["eventlet", "threading", "gevent"]

Start = Callable[..., Any]


@pytest.mark.parametrize("mode", MODES)
def test_a_server_without_descriptors_takes_connections_again_when_some_are_free(
    server: Start, mode: str
) -> None:
    # Given a server whose descriptors are all taken
    running = server(mode=mode)
    resource.prlimit(running.pid, resource.RLIMIT_NOFILE, (DESCRIPTORS, DESCRIPTORS))
    taken = []
    for _ in range(4 * DESCRIPTORS):
        taken.append(socket.create_connection(("127.0.0.1", running.port), timeout=WAIT_S))
        if len(list(Path(f"/proc/{running.pid}/fd").iterdir())) >= DESCRIPTORS:
            break
    taken += [socket.create_connection(("127.0.0.1", running.port)) for _ in range(4)]

    # When they are given back
    for connection in taken:
        connection.close()

    # Then it answers
    assert health(running) == 200


def test_a_server_may_open_as_many_descriptors_as_the_system_lets_it() -> None:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(1024, before[1]), before[1]))
    try:
        allow_connections()
        assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] >= min(before[1], MOST_DESCRIPTORS)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


@pytest.mark.parametrize("mode", MODES)
def test_a_message_of_fragments_that_never_ends_is_cut_off(server: Start, mode: str) -> None:
    running = server(mode=mode)
    endless = raw_websocket(running)
    first, more = (
        websocket.ABNF.create_frame("4" * 65_000, opcode, fin=0)
        for opcode in (websocket.ABNF.OPCODE_TEXT, websocket.ABNF.OPCODE_CONT)
    )
    sent = endless.send_frame(first)

    with suppress(OSError, websocket.WebSocketException):
        while sent < 64 << 20:
            sent += endless.send_frame(more)

    assert sent < 64 << 20
    endless.sock.close()


@pytest.mark.parametrize("mode", MODES)
def test_who_sends_without_a_pause_keeps_nobody_else_waiting(server: Start, mode: str) -> None:
    # Given a client without a token that sends as much as it can
    running = server("--token", "secret", mode=mode)
    restless = raw_websocket(running)
    frames = websocket.ABNF.create_frame("3", websocket.ABNF.OPCODE_TEXT).format() * 1_000
    over = threading.Event()

    def send() -> None:
        with suppress(OSError):
            while not over.is_set():
                restless.sock.sendall(frames)

    sender = threading.Thread(target=send)
    sender.start()

    # When others ask, then they are answered
    try:
        assert [health(running) for _ in range(20)] == [200] * 20
    finally:
        over.set()
        restless.sock.close()
        sender.join(WAIT_S)


def test_watchers_of_lists_come_and_go_on_threads_while_news_is_told() -> None:
    # Given lists that nobody else touches
    hub = Hub(store=MemoryStore(), clock=SystemClock(), epoch="e1")
    server = socketio.Server(async_mode="threading")
    lists = ListWatchers(hub, Fanout(server, "/", lambda _: None, lambda _: 0))
    for n in range(30):
        lists.join(f"stays{n}", Filter(search=str(n)))
    interval_s = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)

    # When some join and leave, the same list and ones of their own, while changes are told
    def come_and_go(name: str) -> None:
        for n in range(2_000):
            lists.join(name, Filter(search=f"{name} {n}" if n % 2 else ""))
            lists.leave(name)

    threads = [threading.Thread(target=come_and_go, args=(f"goes{n}",)) for n in range(3)]
    try:
        for thread in threads:
            thread.start()
        while any(thread.is_alive() for thread in threads):
            state, _ = hub.create("copy", title="a copy")
            hub.end(state.task_id, Status.COMPLETED)
            lists.note(hub.drain())
            assert lists.waiting in {True, False}
            lists.tell()
    finally:
        sys.setswitchinterval(interval_s)
        for thread in threads:
            thread.join()

    # Then only those who stayed are left
    assert not lists.waiting
    assert [lists.leave(f"stays{n}") is not None for n in range(30)] == [True] * 30
    assert lists.leave("goes0") is None
    hub.store.close()


def test_a_task_that_nothing_can_watch_over_fails_instead_of_waiting_for_ever(
    tmp_path: Any,
) -> None:
    def no_more_threads(_: Callable[[], None]) -> None:
        raise RuntimeError("can't start new thread")

    registry, hub = Registry(), Hub(store=MemoryStore(), clock=SystemClock(), epoch="e1")
    registry.add_all([sleep_task()])
    service = Service(
        hub=hub,
        registry=registry,
        settings=Settings(root=tmp_path, data=tmp_path),
        runtime=choose("threading"),
        executors={"thread": object()},  # type: ignore[dict-item]  # never reached
        policy=Policy(),
        spawn=no_more_threads,
    )

    task_id = service.start("rest").task_id

    hub.store.close()
    state = hub.get(task_id)
    assert state.status is Status.FAILED
    assert state.error is not None
    assert state.error.code == "worker_lost"


def health(running: Any) -> int:
    with urllib.request.urlopen(f"{running.url}/healthz", timeout=WAIT_S) as response:  # noqa: S310
        return int(response.status)


def raw_websocket(running: Any) -> Any:
    url = f"ws://127.0.0.1:{running.port}/socket.io/?EIO=4&transport=websocket"
    return websocket.create_connection(url, timeout=2, suppress_origin=True)


def sleep_task() -> Any:
    @task(executor="thread")
    def rest() -> None:
        return None

    return rest

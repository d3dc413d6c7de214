"""What is no Engine.IO or Socket.IO packet closes its connection, and only that one."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from typing import Any

import psutil
import pytest
from swarm import Swarm, Watcher
from watchers import JOBS, WAIT_S, Client, Poll, get_json

Start = Callable[..., Any]

MALFORMED = {
    "an unknown Engine.IO type": "9",
    "a letter as the Engine.IO type": "x",
    "an Engine.IO OPEN from a client": "0{}",
    "an Engine.IO PING from a client": "2",
    "an Engine.IO NOOP from a client": "6",
    "an empty Socket.IO packet": "4",
    "an unknown Socket.IO type": "49",
    "a letter as the Socket.IO type": "4x",
    "a CONNECT_ERROR from a client": '44{"message":"x"}',
    "a CONNECT whose payload is an array": "40[]",
    "an event without a payload": "42",
    "an event that is an object": '42{"a":1}',
    "an event that is a text": '42"list_tasks"',
    "an event that is null": "42null",
    "an empty event": "42[]",
    "an event whose name is a number": "42[1,2]",
    "an event whose name is null": "42[null]",
    "an event that is no JSON": '42["list_tasks"',
    "an event with something behind it": '42["list_tasks"]x',
    "an event with an ack id too long": "42" + "1" * 200 + '["list_tasks"]',
    "an ack that is no array": '431{"a":1}',
    "a DISCONNECT with a payload": '41["x"]',
    "a BINARY_EVENT without its count": '45["list_tasks"]',
    "a BINARY_EVENT with too many attachments": '45999999999-["x",{"_placeholder":true,"num":0}]',
    "a large packet that is no event": "42" + "x" * 70_000,
}


@pytest.fixture(scope="module", params=["eventlet", "threading", "gevent"])
def live(request: pytest.FixtureRequest, lasting_server: Start) -> Iterator[Any]:
    running = lasting_server("--tasks", JOBS, "--workers", "1", mode=request.param)
    yield running
    assert get_json(f"{running.url}/healthz")["status"] == "ok"
    assert running.stop() == 0
    assert "Traceback" not in running.stderr


@pytest.fixture
def swarm(live: Any) -> Iterator[Swarm]:
    connected = Swarm(live.url, 1)
    yield connected
    connected.close()


def frame(watcher: Watcher, opcode: int, payload: bytes, *, first: int = 0x80) -> None:
    """Send one masked frame of any kind."""
    if len(payload) < 126:
        head = bytes((first | opcode, 0x80 | len(payload)))
    else:
        head = struct.pack("!BBH", first | opcode, 0x80 | 126, len(payload))
    watcher.sock.setblocking(True)
    watcher.sock.sendall(head + b"\0\0\0\0" + payload)
    watcher.sock.setblocking(False)


def connected(swarm: Swarm) -> Watcher:
    watcher = swarm.connect()
    assert swarm.run(lambda: watcher.connected, WAIT_S)
    return watcher


def test_a_malformed_packet_closes_its_connection_only(swarm: Swarm) -> None:
    (other,) = swarm.watchers
    for what, packet in MALFORMED.items():
        watcher = connected(swarm)
        watcher.send(packet)
        assert swarm.run(lambda w=watcher: w.closed, WAIT_S), what
        assert watcher.events == [], what
        assert swarm.call(other, "list_tasks", {"limit": 1})["ok"], what
    assert not other.closed


def test_a_malformed_frame_closes_its_connection_only(swarm: Swarm) -> None:
    (other,) = swarm.watchers
    frames: dict[str, Callable[[Watcher], None]] = {
        "binary out of the blue": lambda w: frame(w, 2, b"\x00\xff"),
        "text that is no UTF-8": lambda w: frame(w, 1, b'42["\xff\xfe"]'),
        "a reserved opcode": lambda w: frame(w, 3, b"x"),
        "a reserved bit": lambda w: frame(w, 1, b'42["list_tasks"]', first=0xF0),
        "text where an attachment is due": lambda w: (
            w.send('451-["list_tasks",{"_placeholder":true,"num":0}]'),
            w.send('42["list_tasks"]'),
        )[0],
        "an attachment that nobody asked for": lambda w: (
            w.send('42["list_tasks"]'),
            frame(w, 2, b"x"),
        )[0],
    }
    for what, send in frames.items():
        watcher = connected(swarm)
        send(watcher)
        assert swarm.run(lambda w=watcher: w.closed, WAIT_S), what
        assert swarm.call(other, "list_tasks", {"limit": 1})["ok"], what
    assert not other.closed


def test_unusual_but_valid_packets_keep_the_connection(swarm: Swarm) -> None:
    (watcher,) = swarm.watchers
    watcher.send("3")
    watcher.send("430[1]")
    watcher.send("40")
    watcher.send(' 42["list_tasks"]'.strip())
    watcher.send('427[ "list_tasks" , null ]')
    assert swarm.run(lambda: 7 in watcher.acks, WAIT_S)
    assert watcher.acks[7]["ok"]
    assert not watcher.closed


def test_nothing_is_answered_before_connect(live: Any) -> None:
    session = Poll(live.url)
    session.post('421["list_tasks"]')
    session.post("40")
    session.post('422["list_tasks",{"limit":1}]')
    answers = session.get()[1]
    while "432" not in answers:
        answers += session.get()[1]
    assert answers.startswith('40{"sid":')
    assert "431" not in answers
    session.close()


def test_a_namespace_that_is_not_there_is_refused(swarm: Swarm) -> None:
    (watcher,) = swarm.watchers
    watcher.send("40/nowhere,")
    watcher.send('42/nowhere,1["list_tasks"]')
    assert swarm.call(watcher, "list_tasks")["ok"]


def test_malformed_polls_are_refused_and_their_session_closed(live: Any) -> None:
    with Client(live.url, transports=["websocket"]) as other:
        for body in ("9", "4x", "42[]", "42{}", "x" * 10, "42" + "[" * 1000):
            session = Poll(live.url)
            session.post("40")
            session.get()
            session.post(body)
            assert session.is_over(), body
            session.close()
        for query in ("EIO=3&transport=polling", "EIO=4&transport=odd", "sid=nothing"):
            status, _ = Poll.ask(live.url, "GET", f"/socket.io/?{query}")
            assert status == 400, query
        assert other.ok("list_tasks")["ok"]


@pytest.mark.parametrize("mode", ["eventlet", "threading", "gevent"])
def test_a_frozen_client_is_closed_with_its_transport_when_its_ping_runs_out(
    server: Start, mode: str
) -> None:
    # Given a client that reads nothing, although more is sent than its buffers take
    running = server("--tasks", JOBS, "--ping-interval", "1", "--ping-timeout", "1", mode=mode)
    process = psutil.Process(running.pid)
    swarm = Swarm(running.url, 2)
    reader, frozen = swarm.watchers
    numbers = [
        swarm.ask(reader, "start_task", {"task": "instant_thread", "title": "x" * 500})
        for _ in range(200)
    ]
    assert swarm.run(lambda: numbers[-1] in reader.acks, WAIT_S)
    before = process.num_fds()
    swarm.pause(frozen)
    for _ in range(60):
        swarm.ask(frozen, "list_tasks")

    # Then its connection is gone, and the other one is not
    assert swarm.run(lambda: process.num_fds() < before, WAIT_S)
    assert swarm.call(reader, "list_tasks", {"limit": 1})["ok"]
    swarm.close()
    assert "Traceback" not in running.stderr


def test_an_integer_longer_than_python_reads_is_refused_and_acked(swarm: Swarm) -> None:
    # Given an event that is valid JSON, with a number of 5,000 digits
    watcher = connected(swarm)
    digits = "9" * 5_000
    # When it is sent
    watcher.send(f'427["list_tasks",{{"limit":{digits}}}]')
    # Then its ack names what is wrong with it, and the connection lives on
    assert swarm.run(lambda: 7 in watcher.acks, WAIT_S)
    assert watcher.acks[7]["error"]["code"] == "invalid_payload"
    assert swarm.call(watcher, "list_tasks")["ok"] is True

"""What an address may ask over HTTP, and how long a connection may say nothing of itself."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import websocket

from socketprogress.core.errors import RateLimited
from socketprogress.server.rates import ADDRESSES, Rates

WAIT_S = 30.0
IMPATIENT = """
import sys
from pathlib import Path
from socketprogress.server.app import create_server
from socketprogress.server.settings import Settings

folder = Path(sys.argv[2])
server = create_server(
    Settings(async_mode=sys.argv[1], port=0, root=folder, data=folder / "data", connect_s=0.3)
)
server.serve(lambda url: print(url, flush=True))
"""


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def is_closed(connection: websocket.WebSocket) -> bool:
    """Wait for a connection's end; a time-out of that wait is raised."""
    try:
        while connection.recv():
            pass
    except (websocket.WebSocketConnectionClosedException, ConnectionResetError):
        return True
    return not connection.connected


def test_an_address_may_ask_at_its_rate_and_the_others_do_not_notice() -> None:
    # Given an address that has used up its burst
    clock = Clock()
    rates = Rates(8, 20, clock)
    for _ in range(20):
        rates.spend("a")

    # When it goes on, then it is told how long to wait
    with pytest.raises(RateLimited) as refused:
        rates.spend("a")
    assert refused.value.retry_after_s == pytest.approx(0.125)
    rates.spend("b")

    # When it waits, then it is heard again
    clock.now += 0.125
    rates.spend("a")


def test_so_many_addresses_are_remembered_and_no_more() -> None:
    rates = Rates(1, 1, Clock())
    rates.spend("first")

    for number in range(ADDRESSES):
        rates.spend(f"address {number}")

    rates.spend("first")
    with pytest.raises(RateLimited):
        rates.spend(f"address {ADDRESSES - 1}")


def test_a_flood_of_requests_is_refused_but_for_static_files_and_health(
    web: Callable[..., Any],
) -> None:
    server = web(requests_per_s=0.001, requests_burst=3)

    answers = [server.get("/api/definitions") for _ in range(5)]

    assert [response.status_code for response in answers] == [200, 200, 200, 429, 429]
    assert answers[-1].json["error"]["code"] == "rate_limited"
    assert int(answers[-1].headers["Retry-After"]) > 0
    assert server.get("/static/css/socketprogress.css").status_code == 200
    assert server.get("/healthz").status_code == 200


def test_a_list_counts_for_more_by_what_is_in_it(web: Callable[..., Any]) -> None:
    # Given a server with a hundred tasks, and an address with five requests left
    server = web(requests_per_s=0.001, requests_burst=5)
    for _ in range(100):
        server.progress.start("add")

    # When it asks for lists, then one of a hundred tasks counts for two and a short one for one
    asked = ["limit=99", "limit=1000", "limit=1", "limit=1000", "limit=1"]
    answers = [server.get(f"/api/tasks?{query}").status_code for query in asked]
    assert answers == [200, 200, 200, 200, 429]

    # and what it owes has to be made up for first
    assert server.get("/api/definitions").status_code == 429


@pytest.fixture(params=["eventlet", "threading", "gevent"])
def impatient(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A server that gives a connection 0.3 s to enter a namespace."""
    process = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", IMPATIENT, request.param, str(tmp_path)],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    yield process.stdout.readline().strip()
    process.kill()
    process.wait()
    process.stdout.close()


def test_a_connection_that_enters_no_namespace_is_closed(impatient: str) -> None:
    # Given one that enters the namespace and one that does not, both alive
    address = f"ws://{urlsplit(impatient).netloc}/socket.io/?EIO=4&transport=websocket"
    member, stranger = (websocket.create_connection(address, timeout=WAIT_S) for _ in range(2))
    for connection in (member, stranger):
        assert connection.recv().startswith("0")
    member.send("40")
    assert member.recv().startswith("40")

    # Then the stranger's is closed, and the other's is not
    assert is_closed(stranger)
    member.send('421["list_definitions"]')
    assert member.recv().startswith("431")
    for connection in (member, stranger):
        connection.shutdown()

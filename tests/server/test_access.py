"""Who gets in: every route, every method, both transports, all async modes."""

from __future__ import annotations

import base64
import http.client
import json
import re
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import websocket

from socketprogress.core.errors import Forbidden, RateLimited, WireError
from socketprogress.server.access import Access, TokenBucket
from socketprogress.server.app import create_server
from socketprogress.server.hosts import is_loopback
from socketprogress.server.principals import Principal, Role
from socketprogress.server.settings import Settings
from socketprogress.server.tokens import cookie_digest

Make = Callable[..., Any]

POLLING = "/socket.io/?EIO=4&transport=polling"
WEBSOCKET = "/socket.io/?EIO=4&transport=websocket"
UPGRADE = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": base64.b64encode(b"0123456789abcdef").decode(),
}
OPEN_TO_ALL = {"healthz", "login", "log_in", "log_out", "asset", "api_connection"}
FOREIGN = [
    {"Host": "evil.example"},
    {"Host": "evil.example:8765"},
    {"Host": "192.168.1.5:8765"},
    {"Host": "127.0.0.1.evil.example"},
    {"Host": "localhost@evil.example"},
    {"Host": ""},
    {"Origin": "http://evil.example"},
    {"Origin": "null"},
    {"Origin": ""},
    {"Origin": "http://localhost:3000"},
    {"Origin": "http://127.0.0.1:9999"},
    {"Origin": "https://127.0.0.1:8765"},
    {"Origin": "http://127.0.0.1:8765.evil.example"},
    {"Origin": "http://127.0.0.1:8765@evil.example"},
    {"Origin": "http://evil.example", "X-Forwarded-Host": "evil.example"},
    {"Host": "evil.example", "Origin": "http://evil.example"},
    {"Sec-Fetch-Site": "cross-site"},
]


def environ(**headers: str) -> dict[str, str]:
    """Return the WSGI environment of a request with these headers."""
    given = {f"HTTP_{name.upper()}": value for name, value in headers.items()}
    return {"HTTP_HOST": "127.0.0.1:8765", "REMOTE_ADDR": "127.0.0.1", **given}


OPERATOR = Principal(role=Role.OPERATOR)


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


# -- every route ---------------------------------------------------------------------------------


def routes_of(server: Any) -> Iterator[tuple[str, str, str]]:
    """Yield the endpoint, method and path of every route of a server."""
    for rule in server.app.url_map.iter_rules():
        path = re.sub(r"<(?:[^:>]*:)?[^>]+>", "some", rule.rule)
        for method in sorted(rule.methods - {"HEAD", "OPTIONS"}):
            yield rule.endpoint.rpartition(".")[2], method, path


def test_every_route_but_the_open_ones_needs_the_token(web: Make) -> None:
    server = web(token="right")
    routes = list(routes_of(server))
    assert len(routes) > 15

    for endpoint, method, path in routes:
        for headers in ({}, {"Authorization": "Bearer wrong"}):
            fresh = server.app.test_client()
            response = fresh.open(
                path, method=method, headers=headers, environ_overrides={"REMOTE_ADDR": endpoint}
            )
            if endpoint in OPEN_TO_ALL:
                assert response.status_code != 401, (method, path)
            else:
                assert response.status_code == 401, (method, path, response.status_code)
                assert response.headers["WWW-Authenticate"] == "Bearer"
        allowed = server.app.test_client().open(
            path, method=method, headers={"Authorization": "Bearer right"}
        )
        assert allowed.status_code != 401, (method, path)


@pytest.mark.parametrize("headers", FOREIGN, ids=str)
def test_every_route_refuses_a_foreign_host_and_origin(calm: Any, headers: dict[str, str]) -> None:
    for endpoint, method, path in routes_of(calm):
        if endpoint == "healthz" or (method == "GET" and "Sec-Fetch-Site" in headers):
            continue
        sent = {"Host": "127.0.0.1:8765", **headers}
        response = calm.app.test_client().open(path, method=method, headers=sent)
        assert response.status_code == 403, (method, path)
        assert response.json["error"]["code"] == "forbidden"


def test_our_own_pages_and_plain_clients_are_let_in(calm: Any) -> None:
    for headers in (
        {},
        {"Origin": "http://127.0.0.1:8765", "Sec-Fetch-Site": "same-origin"},
        {"Host": "localhost:8765", "Origin": "http://localhost:8765"},
        {"Host": "LOCALHOST.", "Origin": "http://localhost"},
        {"Host": "[::1]:8765", "Origin": "http://[::1]:8765"},
        {"Host": "localhost:9000", "Origin": "http://localhost:9000"},
    ):
        sent = {"Host": "127.0.0.1:8765", **headers}
        response = calm.client.post("/api/tasks/nobody/cancel", headers=sent)
        assert response.status_code == 404, headers


def test_a_page_elsewhere_that_is_allowed_may_read_and_write(web: Make) -> None:
    server = web(origins=("https://app.example",))
    origin = {"Origin": "https://app.example", "Sec-Fetch-Site": "cross-site"}

    asked = server.client.options(
        "/api/tasks", headers={**origin, "Access-Control-Request-Method": "POST"}
    )
    started = server.post("/api/tasks", json={"task": "add"}, headers=origin)
    other = server.post("/api/tasks", json={"task": "add"}, headers={"Origin": "https://b.example"})

    assert asked.status_code == 204
    assert "Authorization" in asked.headers["Access-Control-Allow-Headers"]
    assert started.status_code == 201
    assert started.headers["Access-Control-Allow-Origin"] == "https://app.example"
    assert "Access-Control-Allow-Credentials" not in started.headers
    assert other.status_code == 403
    assert "Access-Control-Allow-Origin" not in other.headers


def test_an_embedded_server_guards_its_own_paths_and_leaves_the_others_alone(web: Make) -> None:
    server = web(prefix="/progress")
    server.app.add_url_rule("/theirs", view_func=lambda: "theirs")
    foreign = {"Host": "evil.example", "Origin": "http://evil.example"}

    assert server.client.get("/theirs", headers=foreign).text == "theirs"
    assert server.client.get("/progress/api/tasks", headers=foreign).status_code == 403
    assert server.client.get(POLLING, headers=foreign).status_code == 403


# -- host names and origins ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "host", "is_ours"),
    [
        ({}, "127.0.0.1:8765", True),
        ({}, "localhost", True),
        ({}, "[::1]:1", True),
        ({}, "127.8.8.8", True),
        ({}, "10.0.0.5:8765", False),
        ({}, "localhost.evil.example", False),
        ({}, "", False),
        ({}, "a b", False),
        ({"hosts": ("progress.example",)}, "progress.example:443", True),
        ({"hosts": ("Progress.Example:8443",)}, "progress.example", True),
        ({"hosts": ("progress.example",)}, "a.progress.example", False),
        ({"hosts": ("*",)}, "any.example", True),
        ({"origins": ("https://app.example:444",)}, "app.example", True),
        ({"host": "0.0.0.0"}, "10.0.0.5:8765", True),
        ({"host": "::"}, "[fe80::1]:8765", True),
        ({"host": "0.0.0.0"}, "evil.example", False),
        ({"host": "10.0.0.5"}, "10.0.0.5:8765", True),
        ({"host": "10.0.0.5"}, "10.0.0.6:8765", False),
    ],
)
def test_a_server_answers_to_its_own_names_only(
    settings: dict[str, Any], host: str, is_ours: bool
) -> None:
    access = Access(Settings(**settings))

    if is_ours:
        access.check_host({"HTTP_HOST": host})
    else:
        with pytest.raises(Forbidden):
            access.check_host({"HTTP_HOST": host})


def test_a_loopback_host_is_known_by_name_and_address() -> None:
    assert all(map(is_loopback, ("127.0.0.1", "localhost", "::1", "[::1]", "127.1.2.3")))
    assert not any(map(is_loopback, ("0.0.0.0", "::", "10.0.0.1", "example.org", "")))


# -- tokens --------------------------------------------------------------------------------------


def test_without_a_token_only_loopback_is_open() -> None:
    assert Access(Settings()).allows(environ()) == OPERATOR
    assert Access(Settings(host="10.0.0.5")).allows(environ()) is None
    assert Access(Settings(host="10.0.0.5"), open_to_all=True).allows(environ()) == OPERATOR


@pytest.mark.parametrize("token", ["right", "plötzlich", "a b"])
def test_the_token_is_taken_from_each_of_its_places(token: str) -> None:
    access = Access(Settings(token=token))
    header = f"Bearer {token}".encode().decode("latin-1")
    cookie = f"other=1; {access.cookie_name}={cookie_digest(token)}"

    assert access.allows(environ(authorization=header)) == OPERATOR
    assert access.allows(environ(authorization=header.replace("Bearer", "bearer")))
    assert access.allows(environ(), {"token": token}) == OPERATOR
    assert access.allows(environ(cookie=cookie)) == OPERATOR
    assert token not in cookie
    for nothing in (None, "right", [], {}, {"token": None}):
        assert access.allows(environ(), nothing) is None


def test_a_wrong_token_is_not_made_good_by_a_cookie() -> None:
    access = Access(Settings(token="right"))
    cookie = f"{access.cookie_name}={cookie_digest('right')}"

    assert access.allows(environ(cookie=cookie, authorization="Bearer wrong")) is None
    assert access.allows(environ(cookie=cookie), {"token": "wrong"}) is None
    assert access.allows(environ(cookie=cookie), {"token": 5}) is None
    assert access.allows(environ(cookie=f"{access.cookie_name}=right")) is None


def test_a_new_token_makes_the_old_cookies_worthless() -> None:
    old, new = Access(Settings(token="old")), Access(Settings(token="new"))

    assert new.allows(environ(cookie=f"{old.cookie_name}={cookie_digest('old')}")) is None


def test_guessing_tokens_is_slowed_down_for_the_guesser_alone() -> None:
    # Given somebody who has guessed too often
    clock = Clock()
    access = Access(Settings(token="right"), clock=clock)
    guesser = {**environ(authorization="Bearer wrong"), "REMOTE_ADDR": "10.0.0.9"}
    for _ in range(20):
        assert access.allows(guesser) is None

    # Then they have to wait, and nobody else has
    with pytest.raises(RateLimited) as caught:
        access.allows(guesser)
    assert caught.value.retry_after_s > 0
    assert access.allows(environ(authorization="Bearer wrong")) is None
    right = {**guesser, "HTTP_AUTHORIZATION": "Bearer right"}
    assert access.allows(right) == OPERATOR

    # And later they may try again
    clock.now += 60
    assert access.allows(guesser) is None


def test_the_memory_of_guessers_is_bounded() -> None:
    access = Access(Settings(token="right"), clock=Clock())
    for number in range(3000):
        access.guess("wrong", {"REMOTE_ADDR": str(number)})

    assert len(access._guessers) <= 1024


def test_a_bucket_lets_a_burst_pass_and_then_its_rate() -> None:
    clock = Clock()
    bucket = TokenBucket(10, 3, clock)

    assert [bucket.take() for _ in range(3)] == [0.0, 0.0, 0.0]
    assert bucket.take() == pytest.approx(0.1)
    clock.now += 0.1
    assert bucket.take() == 0.0
    clock.now += 1000
    assert bucket.take(3) == 0.0
    assert bucket.take(2) == pytest.approx(0.2)


# -- on the wire ---------------------------------------------------------------------------------


def ask(
    port: int,
    path: str,
    headers: dict[str, str] | None = None,
    *,
    method: str = "GET",
    body: str = "",
) -> tuple[int, str, http.client.HTTPMessage]:
    """Send one request to a real server; return status, body and headers."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    try:
        connection.request(method, path, body=body or None, headers=headers or {})
        response = connection.getresponse()
        text = "" if response.status == 101 else response.read().decode()
        return response.status, text, response.headers
    finally:
        connection.close()


def opened(text: str) -> str:
    """Return the id of the session that a polling request has opened."""
    return str(json.loads(text[1:])["sid"])


def test_no_transport_lets_a_foreign_page_connect(
    server: Callable[..., Any], any_mode: str
) -> None:
    port = server(mode=any_mode).port
    ours = f"http://127.0.0.1:{port}"

    for headers in FOREIGN:
        assert ask(port, POLLING, headers)[0] == 403, headers
        assert ask(port, POLLING, headers, method="POST", body="40")[0] == 403, headers
        assert ask(port, WEBSOCKET, {**UPGRADE, **headers})[0] == 403, headers
    assert ask(port, WEBSOCKET, {**UPGRADE, "Origin": ours})[0] == 101
    assert ask(port, POLLING, {"Origin": ours})[0] == 200


def test_nothing_is_compressed_on_a_websocket(server: Callable[..., Any], any_mode: str) -> None:
    port = server(mode=any_mode).port
    offered = {**UPGRADE, "Sec-WebSocket-Extensions": "permessage-deflate"}

    status, _, headers = ask(port, WEBSOCKET, offered)

    assert status == 101
    assert headers["Sec-WebSocket-Extensions"] is None


def test_a_polling_session_belongs_to_the_credentials_that_opened_it(
    server: Callable[..., Any], any_mode: str
) -> None:
    # Given a session that somebody has opened with the token
    port = server("--token", "right", mode=any_mode).port
    mine = {"Authorization": "Bearer right"}
    path = f"{POLLING}&sid={opened(ask(port, POLLING, mine)[1])}"

    # Then nobody goes on with it who has only its id
    for theirs in ({}, {"Authorization": "Bearer wrong"}, {"Cookie": f"socketprogress_{port}=x"}):
        assert ask(port, path, theirs)[0] == 403
        assert ask(port, path, theirs, method="POST", body="40")[0] == 403
        upgrade = path.replace("polling", "websocket")
        assert ask(port, upgrade, {**UPGRADE, **theirs})[0] == 403

    # And its owner does
    assert ask(port, path, mine, method="POST", body="40")[0] == 200
    status, text, _ = ask(port, path, mine)
    assert (status, text[:2]) == (200, "40")
    assert ask(port, f"{POLLING}&sid=unknown", mine)[0] == 400


def connect(port: int, transport: str) -> Callable[[], Any]:
    """Open a session and return what closes it."""
    if transport == "websocket":
        socket = websocket.create_connection(f"ws://127.0.0.1:{port}{WEBSOCKET}", timeout=20)
        assert opened(socket.recv())
        return socket.shutdown
    path = f"{POLLING}&sid={opened(ask(port, POLLING)[1])}"
    return lambda: ask(port, path, method="POST", body="1")


@pytest.fixture
def few(tmp_path: Path) -> Iterator[Any]:
    """A server in this process that takes two connections from an address."""
    settings = Settings(
        port=0,
        root=tmp_path,
        data=tmp_path / "data",
        store="memory:",
        async_mode="threading",
        max_connections_per_address=2,
    )
    server = create_server(settings)
    ready = threading.Event()
    serving = threading.Thread(target=server.serve, args=(lambda _: ready.set(),))
    serving.start()
    assert ready.wait(20)
    yield server
    server.stop()
    serving.join(20)


def test_a_polling_session_counts_whatever_its_header_says_of_an_upgrade(few: Any) -> None:
    port = int(few.url.rpartition(":")[2])

    statuses = [ask(port, POLLING, UPGRADE)[0] for _ in range(3)]

    assert statuses == [200, 200, 429]


@pytest.mark.parametrize("transport", ["websocket", "polling"])
def test_an_address_has_a_limit_of_connections_until_it_gives_one_back(
    few: Any, transport: str
) -> None:
    port = int(few.url.rpartition(":")[2])
    first, second = connect(port, transport), connect(port, transport)

    # Given as many connections as there may be, there is no room for another
    for path, headers in ((POLLING, {}), (WEBSOCKET, UPGRADE)):
        status, text, sent = ask(port, path, headers)
        assert status == 429
        assert json.loads(text)["error"]["code"] == "rate_limited"
        assert int(sent["Retry-After"]) >= 1

    # When one of them goes, then there is
    first()
    pause = threading.Event()
    for _ in range(500):
        if ask(port, POLLING)[0] == 200:
            break
        pause.wait(0.02)
    else:
        pytest.fail("the place of a connection that went was not given back")
    second()


def test_the_cookies_of_two_servers_on_one_machine_do_not_clash(
    server: Callable[..., Any],
) -> None:
    names = []
    for token in ("one", "two"):
        port = server("--token", token).port
        for path in ("/login", f"/?token={token}"):
            cookie = ask(port, path)[2]["Set-Cookie"]
            assert "HttpOnly" in cookie
            assert "SameSite=Lax" in cookie
            names.append(cookie.partition("=")[0])

    assert len(set(names)) == 4


def test_the_token_never_reaches_the_log(server: Callable[..., Any]) -> None:
    process = server("--token", "very-secret-token", "--log-level", "debug")
    cookie = {"Authorization": "Bearer very-secret-token"}

    ask(process.port, "/?token=very-secret-token")
    ask(process.port, "/api/tasks", cookie)
    ask(process.port, f"{POLLING}&token=very-secret-token", cookie)
    ask(process.port, "/login", method="POST", body="token=very-secret-token")
    process.stop()

    assert "very-secret-token" not in process.stderr


def test_the_bound_sessions_are_forgotten_with_the_oldest_first() -> None:
    from types import SimpleNamespace

    from socketprogress.server.gate import Sessions

    sockets = {str(number): SimpleNamespace(closed=False) for number in range(20)}
    sessions = Sessions(sockets, most_per_address=100, capacity=5)
    for number in range(10):
        sessions.bind(str(number), "here", b"mine")

    assert (len(sessions), sessions.live("here")) == (5, 5)
    sessions.check("9", b"mine")
    with pytest.raises(WireError):
        sessions.check("0", b"mine")
    sockets["9"].closed = True
    sessions.ended("9")
    sessions.ended("8")
    assert (len(sessions), sessions.live("here")) == (4, 4)

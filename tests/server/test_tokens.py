"""Tokens beside the server's own: what each role may do, at every route and with every event."""

from __future__ import annotations

import json
import re
import stat
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from watchers import Client, Refusal

from socketprogress.core.errors import ConfigurationError, Unauthorized
from socketprogress.core.protocol import EVENTS
from socketprogress.server.access import Access
from socketprogress.server.principals import Role
from socketprogress.server.settings import Settings
from socketprogress.server.tokens import FILE, Tokens

Make = Callable[..., Any]

MINE, OTHER = "mine", "other"
NOBODY, WATCHER = None, "watcher"
VIEWER, REPORTER, OPERATOR = "viewer", "reporter", "operator"
ALL = {NOBODY, WATCHER, VIEWER, REPORTER, OPERATOR}
THOSE_IN = ALL - {NOBODY}
UNSCOPED = THOSE_IN - {WATCHER}
ROUTES: dict[tuple[str, str], set[str | None]] = {
    ("GET", "/"): THOSE_IN,
    ("GET", "/tasks/{}"): THOSE_IN,
    ("GET", "/embed/{}"): THOSE_IN,
    ("POST", "/start/{definition}"): {OPERATOR},
    ("GET", "/tasks/{}/cancel"): {OPERATOR},
    ("POST", "/tasks/{}/cancel"): {OPERATOR},
    ("POST", "/tasks/{}/retry"): {OPERATOR},
    ("GET", "/api/tasks"): THOSE_IN,
    ("POST", "/api/tasks"): {OPERATOR},
    ("GET", "/api/tasks/{}"): THOSE_IN,
    ("PUT", "/api/tasks/{}"): {REPORTER, OPERATOR},
    ("GET", "/api/tasks/{}/log"): THOSE_IN,
    ("GET", "/api/tasks/{}/files/{filename}"): THOSE_IN,
    ("POST", "/api/tasks/{}/cancel"): {OPERATOR},
    ("POST", "/api/tasks/{}/retry"): {OPERATOR},
    ("POST", "/api/tasks/{}/token"): {OPERATOR},
    ("POST", "/api/uploads"): {OPERATOR},
    ("POST", "/api/uploads/tus"): {OPERATOR},
    ("HEAD", "/api/uploads/tus/{}"): {OPERATOR},
    ("POST", "/api/uploads/tus/{}"): {OPERATOR},
    ("PATCH", "/api/uploads/tus/{}"): {OPERATOR},
    ("DELETE", "/api/uploads/tus/{}"): {OPERATOR},
    ("GET", "/tasks/{}/qr.svg"): THOSE_IN,
    ("GET", "/api/definitions"): UNSCOPED,
    ("GET", "/metrics"): UNSCOPED,
    ("GET", "/login"): ALL,
    ("POST", "/login"): ALL,
    ("POST", "/logout"): ALL,
    ("GET", "/healthz"): ALL,
    ("GET", "/api/connection"): ALL,
    ("GET", "/static/{filename}"): ALL,
}
EVENT_ROLES: dict[str, tuple[set[str | None], Any]] = {
    "start_task": ({OPERATOR}, {"task": "archive", "args": {}}),
    "watch_task": (THOSE_IN, MINE),
    "unwatch_task": (THOSE_IN, MINE),
    "watch_tasks": (THOSE_IN, None),
    "unwatch_tasks": (THOSE_IN, None),
    "list_tasks": (THOSE_IN, None),
    "list_definitions": (UNSCOPED, None),
    "cancel_task": ({OPERATOR}, MINE),
    "retry_task": ({OPERATOR}, MINE),
    "get_log": (THOSE_IN, MINE),
    "open_task": ({REPORTER, OPERATOR}, "work"),
    "report": ({REPORTER, OPERATOR}, {"task_id": MINE, "current": 1}),
}


class Clock:
    """Unix seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


def environ(**headers: str) -> dict[str, str]:
    """Return the WSGI environment of a request with these headers."""
    given = {f"HTTP_{name.upper()}": value for name, value in headers.items()}
    return {"HTTP_HOST": "127.0.0.1:8765", "REMOTE_ADDR": "127.0.0.1", **given}


def make_tokens(tokens: Tokens) -> dict[str | None, str | None]:
    """Return a token of each kind by the name of its bearer."""
    return {
        NOBODY: None,
        WATCHER: tokens.new(Role.VIEWER, task_id=MINE)[0],
        VIEWER: tokens.new(Role.VIEWER)[0],
        REPORTER: tokens.new(Role.REPORTER)[0],
        OPERATOR: tokens.new(Role.OPERATOR)[0],
    }


# -- every route, every event ----------------------------------------------------------------------


@pytest.fixture
def guarded(web: Make) -> Any:
    """A server with a token and two tasks."""
    server = web(token="right", requests_per_s=10_000.0, requests_burst=10_000)
    server.bearers = make_tokens(server.progress.engine.access.tokens)
    for task_id in (MINE, OTHER):
        created = server.client.put(
            f"/api/tasks/{task_id}", json={}, headers={"Authorization": "Bearer right"}
        )
        assert created.status_code == 201
    return server


def routes_of(server: Any) -> set[tuple[str, str]]:
    """Return method and path of every route of a server."""
    return {
        (method, re.sub(r"<(?:[^:>]*:)?([^>]+)>", r"{\1}", rule.rule).replace("{task_id}", "{}"))
        for rule in server.app.url_map.iter_rules()
        for method in (rule.methods or set()) - {"OPTIONS"}
        if method != "HEAD" or "GET" not in (rule.methods or set())
    }


def ask(server: Any, who: str | None, method: str, path: str) -> Any:
    """Send a request with somebody's token."""
    token = server.bearers[who]
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    body: dict[str, Any] = {"json": {}} if method in {"POST", "PUT"} else {}
    address = {"REMOTE_ADDR": f"10.0.0.{sorted(map(str, ALL)).index(str(who))}"}
    client = server.app.test_client()
    return client.open(path, method=method, headers=headers, environ_overrides=address, **body)


def without_csrf(html: str) -> str:
    """Return a page without what differs with every request."""
    return re.sub(r'(name="csrf_token" value=")[^"]+', r"\1", html)


def test_for_every_route_it_is_said_who_may_use_it(guarded: Any) -> None:
    assert routes_of(guarded) == set(ROUTES)


@pytest.mark.parametrize("who", sorted(ALL, key=str), ids=str)
def test_each_role_may_use_its_routes_and_no_other(guarded: Any, who: str | None) -> None:
    for (method, path), allowed in ROUTES.items():
        real = path.format(MINE, definition="add", filename="some")
        response = ask(guarded, who, method, real)
        if who in allowed:
            is_form = path.startswith(("/start", "/tasks", "/log")) and method == "POST"
            assert response.status_code != 401, (method, path)
            # A form without its token is forbidden to everybody: it is another door.
            assert is_form or response.status_code != 403, (method, path, response.text)
        else:
            wanted = 401 if who is NOBODY else 403
            assert response.status_code == wanted, (method, path, response.status_code)


def test_the_forms_of_pages_need_their_role_with_the_forms_token_too(guarded: Any) -> None:
    viewer, operator = guarded.bearers[VIEWER], guarded.bearers[OPERATOR]
    for path in (f"/tasks/{MINE}/retry", "/start/add", f"/tasks/{MINE}/cancel"):
        for token, statuses in ((viewer, {403}), (operator, {303, 409, 404})):
            client = guarded.app.test_client()
            headers = {"Authorization": f"Bearer {token}"}
            html = client.get("/login?next=/", headers=headers, follow_redirects=True).text
            found = re.search(r'name="csrf_token" value="([^"]+)"', html)
            csrf = found.group(1) if found else ""
            response = client.post(path, headers=headers, data={"csrf_token": csrf})
            assert response.status_code in statuses, (path, response.text)


def test_a_watcher_finds_of_all_other_tasks_nothing(guarded: Any) -> None:
    for (method, path), allowed in ROUTES.items():
        if "{}" in path and WATCHER in allowed:
            hidden = ask(guarded, WATCHER, method, path.format(OTHER, filename="some"))
            absent = ask(guarded, WATCHER, method, path.format("never", filename="some"))
            assert hidden.status_code == absent.status_code == 404, path
            assert without_csrf(hidden.text.replace(OTHER, "never")) == without_csrf(absent.text)
    listed = ask(guarded, WATCHER, "GET", "/api/tasks").json
    assert [task["task_id"] for task in listed["tasks"]] == [MINE]
    assert sum(listed["counts"].values()) == 1
    assert ask(guarded, WATCHER, "GET", f"/api/tasks?search={OTHER}").json["tasks"] == []
    page = ask(guarded, WATCHER, "GET", "/").text
    assert f"/tasks/{MINE}" in page
    assert f"/tasks/{OTHER}" not in page
    assert "/start/" not in page
    assert 'data-action="cancel"' not in ask(guarded, WATCHER, "GET", f"/tasks/{MINE}").text


@pytest.fixture(scope="module")
def running(lasting_server: Make) -> Any:
    """A server process with a token, two tasks, and tokens that the command line has made."""
    running = lasting_server("--token", "right")
    running.bearers = make_tokens(Tokens(running.data))
    with Client(running.url, auth={"token": "right"}) as client:
        for task_id in (MINE, OTHER):
            client.ok("open_task", {"name": "work", "task_id": task_id, "lease_s": 3600})
    return running


def connect(running: Any, token: str | None, transport: str = "websocket") -> Client:
    """Connect with a token in `auth`."""
    auth = None if token is None else {"token": token}
    return Client(running.url, auth=auth, transports=[transport])


def test_for_every_event_it_is_said_who_may_send_it() -> None:
    assert set(EVENT_ROLES) == set(EVENTS)


@pytest.mark.parametrize("who", [WATCHER, VIEWER, REPORTER, OPERATOR])
def test_each_role_may_send_its_events_and_no_other(running: Any, who: str) -> None:
    with connect(running, running.bearers[who]) as client:
        for event, (allowed, payload) in EVENT_ROLES.items():
            ack = client.call(event, payload)
            code = None if ack["ok"] else ack["error"]["code"]
            if who in allowed:
                assert code not in {"forbidden", "unauthorized", "unknown_task"}, (event, ack)
            elif event == "report":
                assert code == "forbidden", ack
            else:
                assert code == "forbidden", (event, ack)


def test_a_watcher_is_told_of_its_task_and_of_no_other(running: Any) -> None:
    with (
        connect(running, running.bearers[WATCHER]) as watcher,
        connect(running, "right") as reporter,
    ):
        assert [task["task_id"] for task in watcher.ok("watch_tasks")["tasks"]] == [MINE]
        for event in ("watch_task", "get_log"):
            assert watcher.refused(event, OTHER)["code"] == "unknown_task"
        for number in range(1, 4):
            for task_id in (OTHER, MINE):
                reporter.ok("report", {"task_id": task_id, "current": number, "total": 9})

        def told() -> bool:
            rows = [row for u in watcher.events("tasks_update") for row in u["tasks"]]
            return any(row["task_id"] == MINE and row["current"] == 3 for row in rows)

        watcher.wait(told, "the row of its task")
        for update in watcher.events("tasks_update"):
            assert {row["task_id"] for row in update["tasks"]} <= {MINE}
            assert update["removed"] == []
            assert sum(update["counts"].values()) == 1
        assert watcher.events("progress_update") == []


@pytest.mark.parametrize("transport", ["websocket", "polling"])
def test_who_holds_a_revoked_token_is_disconnected_and_not_let_in_again(
    running: Any, transport: str
) -> None:
    tokens = Tokens(running.data)
    secret, token = tokens.new(Role.VIEWER)
    with connect(running, secret, transport) as client, connect(running, "right") as other:
        client.ok("watch_task", MINE)

        assert tokens.revoke(token.id)

        client.wait(lambda: client.disconnected, "the end of the connection")
        assert not other.disconnected
    with pytest.raises(Refusal) as caught:
        connect(running, secret, transport)
    assert caught.value.told["data"]["code"] == "unauthorized"
    assert "expired" not in caught.value.told["message"]


def test_at_its_expiry_a_token_ends_its_connections_and_says_so_to_its_bearer(
    running: Any,
) -> None:
    secret, _ = Tokens(running.data).new(Role.VIEWER, task_id=MINE, lasts_s=3.0)
    with connect(running, secret) as client:
        client.ok("watch_task", MINE)
        client.wait(lambda: client.disconnected, "the end of the connection")
    with pytest.raises(Refusal) as caught:
        connect(running, secret)
    assert caught.value.told["data"]["code"] == "unauthorized"
    assert "expired" in caught.value.told["message"]


def test_given_out_tokens_never_reach_the_log(server: Make) -> None:
    running = server("--token", "right", "--log-level", "debug")
    secret, _ = Tokens(running.data).new(Role.VIEWER)

    with connect(running, secret) as client:
        client.ok("list_tasks")
        client.emit(f"event_{secret}")
        client.refused(f"another_{secret}")
    running.stop()

    assert secret not in running.stderr
    assert secret not in (running.data / FILE).read_text()


# -- where none is needed --------------------------------------------------------------------------


def test_on_an_open_server_a_presented_token_limits_and_a_wrong_one_is_refused(
    tmp_path: Path,
) -> None:
    access = Access(Settings(data=tmp_path))
    viewer, _ = access.tokens.new(Role.VIEWER, name="wall")

    def role(token: str | None) -> Role | None:
        headers = {} if token is None else {"authorization": f"Bearer {token}"}
        found = access.allows(environ(**headers))
        return None if found is None else found.role

    assert role(None) is Role.OPERATOR
    assert role(viewer) is Role.VIEWER
    assert role("spt_wrong") is None
    assert role("of another server") is Role.OPERATOR
    assert access.allows(environ(), {"token": viewer}) == access.holder_of(viewer)
    assert access.allows(environ(), {"token": "spt_wrong"}) is None


def test_the_link_makes_a_cookie_with_the_rights_of_its_token_alone(web: Make) -> None:
    for settings in ({}, {"token": "right"}):
        server = web(**settings)
        access = server.progress.engine.access
        bearer = {"Authorization": "Bearer right"} if settings else {}
        server.client.put(f"/api/tasks/{MINE}", json={}, headers=bearer)
        secret, token = access.tokens.new(Role.VIEWER, task_id=MINE, lasts_s=3600)

        browser = server.app.test_client()
        arrived = browser.get(f"/tasks/{MINE}?token={secret}")
        cookie = arrived.headers["Set-Cookie"]

        assert arrived.status_code == 303
        assert arrived.headers["Location"] == f"/tasks/{MINE}"
        assert secret not in cookie
        kept_s = int(re.search(r"Max-Age=(\d+)", cookie).group(1))  # type: ignore[union-attr]
        assert 3600 < kept_s <= 3600 + 86_400
        assert browser.get(f"/tasks/{MINE}").status_code == 200
        assert browser.get("/api/definitions").status_code == 403
        assert browser.post("/api/tasks", json={}).status_code == 403

        # And the way out of it
        html = browser.get(f"/tasks/{MINE}").text
        found = re.search(r'action="/logout".*?name="csrf_token" value="([^"]+)"', html, re.DOTALL)
        assert found is not None
        left = browser.post("/logout", data={"csrf_token": found.group(1)})
        assert left.status_code == 303
        assert browser.get("/api/definitions").status_code == (401 if settings else 200)
        access.tokens.revoke(token.id)


def test_a_cookie_is_worth_nothing_once_its_token_is_revoked(web: Make) -> None:
    server = web(token="right")
    tokens = server.progress.engine.access.tokens
    secret, token = tokens.new(Role.OPERATOR)
    browser = server.app.test_client()
    browser.get(f"/?token={secret}")
    assert browser.get("/api/tasks").status_code == 200

    tokens.revoke(token.id)

    assert browser.get("/api/tasks").status_code == 401


def test_an_expired_token_is_told_from_a_wrong_one_to_its_bearer_alone(tmp_path: Path) -> None:
    clock = Clock()
    access = Access(Settings(token="right", data=tmp_path), wall=clock)
    secret, _ = access.tokens.new(Role.VIEWER, lasts_s=60)
    assert access.connection(environ(), {"token": secret}).role is Role.VIEWER

    clock.now += 60

    with pytest.raises(Unauthorized, match="expired"):
        access.connection(environ(), {"token": secret})
    for wrong in ("wrong", secret[:-1], secret + "x", secret.upper()):
        with pytest.raises(Unauthorized) as caught:
            access.connection(environ(), {"token": wrong})
        assert "expired" not in caught.value.message


def test_a_page_says_that_the_token_has_expired(web: Make) -> None:
    server = web(token="right")
    secret, _ = server.progress.engine.access.tokens.new(Role.VIEWER, lasts_s=1e-6)

    page = server.app.test_client().get(f"/?token={secret}")
    api = server.app.test_client().get("/api/tasks", headers={"Authorization": f"Bearer {secret}"})

    assert page.status_code == 401
    assert "has expired" in page.text
    assert api.status_code == 401
    assert "has expired" in api.json["error"]["message"]  # type: ignore[index]


def test_a_wait_that_outlasts_its_token_shows_nothing(web: Make) -> None:
    server = web(token="right")
    bearer = {"Authorization": "Bearer right"}
    server.client.put(f"/api/tasks/{MINE}", json={}, headers=bearer)
    tokens = server.progress.engine.access.tokens
    secret, token = tokens.new(Role.VIEWER, task_id=MINE)
    answers: list[Any] = []

    def wait() -> None:
        headers = {"Authorization": f"Bearer {secret}"}
        client = server.app.test_client()
        answers.append(client.get(f"/api/tasks/{MINE}?wait=60", headers=headers))

    hub = server.progress.engine.hub
    waiting = threading.Thread(target=wait)
    waiting.start()
    pause = threading.Event()
    while not hub._listeners.get(MINE):
        pause.wait(0.01)
    tokens.revoke(token.id)
    server.client.put(f"/api/tasks/{MINE}", json={"message": "secret"}, headers=bearer)
    waiting.join(20)

    assert answers[0].status_code == 401
    assert "secret" not in answers[0].text


# -- watch links -----------------------------------------------------------------------------------


def test_an_operator_makes_a_watch_link(guarded: Any) -> None:
    response = ask(guarded, OPERATOR, "POST", f"/api/tasks/{MINE}/token")
    made = response.json

    assert response.status_code == 201
    assert made["url"] == f"http://localhost/tasks/{MINE}?token={made['token']}"
    assert made["embed_url"] == f"http://localhost/embed/{MINE}#token={made['token']}"
    assert made["expires_at"] > 0
    guarded.bearers["linked"] = made["token"]
    bearer = {"Authorization": f"Bearer {made['token']}"}
    client = guarded.app.test_client()
    assert client.get(f"/api/tasks/{MINE}", headers=bearer).status_code == 200
    assert client.get(f"/api/tasks/{OTHER}", headers=bearer).status_code == 404
    assert client.post(f"/api/tasks/{MINE}/token", headers=bearer).status_code == 403


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"expires_s": 0}, "expires_s"),
        ({"expires_s": -1}, "expires_s"),
        ({"expires_s": 1e12}, "expires_s"),
        ({"expires_s": "7d"}, "expires_s"),
        ({"expires_s": True}, "expires_s"),
        ({"name": 5}, "name"),
        ({"role": "operator"}, "role"),
    ],
    ids=str,
)
def test_a_watch_link_that_cannot_be_is_refused(
    guarded: Any, body: dict[str, Any], field: str
) -> None:
    response = guarded.client.post(
        f"/api/tasks/{MINE}/token", json=body, headers={"Authorization": "Bearer right"}
    )

    assert response.status_code == 400
    assert response.json["error"]["field"] == field


# -- the file --------------------------------------------------------------------------------------


@pytest.fixture
def tokens(tmp_path: Path) -> Iterator[Tokens]:
    return Tokens(tmp_path / "data")


def test_the_file_is_its_owners_alone_and_holds_no_token(tokens: Tokens, tmp_path: Path) -> None:
    secret, _ = tokens.new(Role.OPERATOR, name="ci")
    path = tmp_path / "data" / FILE

    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert secret not in path.read_text()
    (entry,) = json.loads(path.read_text())["tokens"]
    assert entry["tail"] == secret[-4:]
    # What stands in the file lets nobody in.
    access = Access(Settings(token="right", data=path.parent))
    assert access.holder_of(entry["digest"]) is None
    assert access.allows(environ(cookie=f"{access.cookie_name}={entry['digest']}")) is None


def test_several_hands_write_the_file_and_nothing_is_lost(tmp_path: Path) -> None:
    def give_out() -> None:
        own = Tokens(tmp_path)
        for _ in range(10):
            own.new(Role.VIEWER)

    hands = [threading.Thread(target=give_out) for _ in range(4)]
    for hand in hands:
        hand.start()
    for hand in hands:
        hand.join()

    assert len({token.id for token in Tokens(tmp_path).all()}) == 40
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_a_broken_file_lets_nobody_in_and_is_not_overwritten(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    access = Access(Settings(token="right", data=tmp_path))
    secret, token = access.tokens.new(Role.VIEWER)
    assert access.holder_of(secret) is not None

    (tmp_path / FILE).write_text('{"tokens": [{"id": 1')

    assert access.holder_of(secret) is None
    assert access.holder_of("right") is not None
    assert "cannot be read" in caplog.text
    with pytest.raises(ConfigurationError, match="cannot be read"):
        access.tokens.new(Role.VIEWER)
    with pytest.raises(ConfigurationError, match="cannot be read"):
        access.tokens.revoke(token.id)
    assert (tmp_path / FILE).read_text() == '{"tokens": [{"id": 1'


def test_expired_tokens_are_remembered_for_a_month_and_then_forgotten(tmp_path: Path) -> None:
    clock = Clock()
    tokens = Tokens(tmp_path, clock)
    tokens.new(Role.VIEWER, lasts_s=60)

    clock.now += 60 + 29 * 86_400
    tokens.new(Role.VIEWER)
    assert len(tokens.all()) == 2
    clock.now += 2 * 86_400
    tokens.new(Role.VIEWER)
    assert len(tokens.all()) == 2


def test_a_revoked_id_is_unknown_the_second_time(tokens: Tokens) -> None:
    _, token = tokens.new(Role.VIEWER)

    assert tokens.revoke(token.id)
    assert not tokens.revoke(token.id)

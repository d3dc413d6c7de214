"""The host application's word on what its users may do: at every door, and absent is forbidden."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import Flask, g
from userhost import HEADER, Rules, make_host, served
from watchers import Client

from socketprogress.server.extension import SocketProgress
from socketprogress.server.policy import owner_tag
from socketprogress.server.principals import Principal, Role
from socketprogress.server.settings import Settings

NAMESPACE = "/socketprogress"
UNKNOWN = "o task has the id"  # a page begins it with a capital


@pytest.fixture
def rules() -> Rules:
    return Rules()


@pytest.fixture
def host(tmp_path: Path, rules: Rules) -> Iterator[tuple[Flask, SocketProgress]]:
    app, progress = make_host(tmp_path, rules)
    yield app, progress
    progress.engine.close()


class Visitor:
    """Somebody at the host's pages."""

    def __init__(self, app: Flask, name: str | None, **headers: str) -> None:
        self._client = app.test_client()
        self._headers = {**({} if name is None else {HEADER: name}), **headers}

    def __call__(self, method: str, path: str, **options: Any) -> Any:
        return self._client.open(
            f"/progress{path}", method=method, headers=self._headers, **options
        )

    def start(self, **more: Any) -> str:
        response = self("POST", "/api/tasks", json={"task": "hold", **more})
        assert response.status_code == 201, response.text
        return str(response.json["task_id"])


TASK_DOORS = [
    ("GET", "/tasks/{}"),
    ("GET", "/embed/{}"),
    ("GET", "/api/tasks/{}"),
    ("GET", "/api/tasks/{}?wait=0"),
    ("GET", "/api/tasks/{}/log"),
    ("GET", "/api/tasks/{}/files/some"),
    ("GET", "/tasks/{}/cancel"),
    ("POST", "/tasks/{}/cancel"),
    ("POST", "/tasks/{}/retry"),
    ("POST", "/api/tasks/{}/cancel"),
    ("POST", "/api/tasks/{}/retry"),
    ("POST", "/api/tasks/{}/token"),
    ("GET", "/tasks/{}/qr.svg"),
    ("HEAD", "/api/uploads/tus/{}"),
    ("PATCH", "/api/uploads/tus/{}"),
    ("DELETE", "/api/uploads/tus/{}"),
    ("POST", "/api/uploads/tus/{}"),
]


def test_each_door_of_a_task_is_in_the_list(host: tuple[Flask, SocketProgress]) -> None:
    app, _ = host
    rules_of = [rule for rule in app.url_map.iter_rules() if "<task_id>" in rule.rule]
    known = {(method, path.partition("?")[0]) for method, path in TASK_DOORS}

    for rule in rules_of:
        path = rule.rule.removeprefix("/progress").replace("<path:filename>", "some")
        methods = rule.methods or set()
        for method in methods - {"OPTIONS", "PUT"} - ({"HEAD"} if "GET" in methods else set()):
            assert (method, path.replace("<task_id>", "{}")) in known, rule


@pytest.mark.parametrize(("method", "path"), TASK_DOORS, ids=str)
def test_a_task_that_one_may_not_see_is_answered_as_one_that_is_not_there(
    host: tuple[Flask, SocketProgress], method: str, path: str
) -> None:
    ann, bob = Visitor(host[0], "ann"), Visitor(host[0], "bob")
    task_id, absent = ann.start(), "f" * 32

    hidden = bob(method, path.format(task_id))
    unknown = bob(method, path.format(absent))

    assert (hidden.status_code, unknown.status_code) == (404, 404)
    assert hidden.text.replace(task_id, absent) == unknown.text
    assert method == "HEAD" or UNKNOWN in hidden.text.replace("&#39;", "'")


def test_put_neither_shows_nor_changes_the_task_of_another(
    host: tuple[Flask, SocketProgress],
) -> None:
    ann, bob = Visitor(host[0], "ann"), Visitor(host[0], "bob")
    assert ann("PUT", "/api/tasks/loop", json={"current": 1, "total": 2}).status_code == 201

    refused = bob("PUT", "/api/tasks/loop", json={"current": 2})
    own = ann("PUT", "/api/tasks/loop", json={"current": 2})

    assert refused.status_code == 404
    assert refused.json["error"]["code"] == "unknown_task"
    assert own.json["task"]["current"] == 2
    assert own.json["task"]["tags"] == ["user:ann"]


def test_what_one_may_see_but_not_do_is_forbidden(host: tuple[Flask, SocketProgress]) -> None:
    ann, bob = Visitor(host[0], "ann"), Visitor(host[0], "bob")
    task_id = ann.start(tags=["public"])

    assert bob("GET", f"/api/tasks/{task_id}").status_code == 200
    for method, path in (
        ("POST", "/api/tasks/{}/cancel"),
        ("GET", "/api/tasks/{}/log"),
        ("PUT", "/api/tasks/{}"),
    ):
        response = bob(method, path.format(task_id), json={})
        assert response.status_code == 403, path
        assert response.json["error"]["code"] == "forbidden"
    page = bob("GET", f"/tasks/{task_id}").text
    assert 'data-action="cancel"' not in page
    assert 'data-action="cancel"' in ann("GET", f"/tasks/{task_id}").text


def test_lists_pages_counts_and_searches_show_what_one_may_see(
    host: tuple[Flask, SocketProgress],
) -> None:
    ann, bob, root = (Visitor(host[0], name) for name in ("ann", "bob", "root"))
    for number in range(5):
        ann("PUT", f"/api/tasks/ann-{number}", json={})
        bob("PUT", f"/api/tasks/bob-{number}", json={})

    first = ann("GET", "/api/tasks?limit=3").json
    rest = ann("GET", f"/api/tasks?limit=3&before={first['next']}").json
    ids = [task["task_id"] for task in first["tasks"] + rest["tasks"]]

    assert ids == [f"ann-{number}" for number in (4, 3, 2, 1, 0)]
    assert rest["next"] is None
    assert first["counts"]["in_progress"] == 5
    assert root("GET", "/api/tasks").json["counts"]["in_progress"] == 10
    assert ann("GET", "/api/tasks?search=bob").json["tasks"] == []
    assert "bob-1" not in ann("GET", "/").text
    assert "ann-1" in ann("GET", "/").text


def test_only_what_one_may_start_is_offered_and_started(
    host: tuple[Flask, SocketProgress],
) -> None:
    ann, root = Visitor(host[0], "ann"), Visitor(host[0], "root")

    offered = [one["name"] for one in ann("GET", "/api/definitions").json["definitions"]]
    refused = ann("POST", "/api/tasks", json={"task": "secret"})

    assert "hold" in offered
    assert "secret" not in offered
    assert refused.status_code == 403
    assert 'action="/progress/start/secret"' not in ann("GET", "/").text
    assert root("POST", "/api/tasks", json={"task": "secret"}).status_code == 201


def test_an_id_that_is_taken_by_a_hidden_task_gives_nothing_of_it(
    host: tuple[Flask, SocketProgress],
) -> None:
    ann, bob = Visitor(host[0], "ann"), Visitor(host[0], "bob")
    ann.start(task_id="key")

    assert ann("POST", "/api/tasks", json={"task": "hold", "task_id": "key"}).status_code == 200
    assert bob("POST", "/api/tasks", json={"task": "hold", "task_id": "key"}).status_code == 404


def test_a_full_definition_names_only_the_running_tasks_that_one_may_see(
    host: tuple[Flask, SocketProgress],
) -> None:
    ann, bob = Visitor(host[0], "ann"), Visitor(host[0], "bob")
    ann.start()
    mine = bob.start()

    full = bob("POST", "/api/tasks", json={"task": "hold"})

    assert full.status_code == 409
    assert full.json["running"] == [mine]


def test_the_tag_of_a_user_is_given_by_nobody_else(host: tuple[Flask, SocketProgress]) -> None:
    ann = Visitor(host[0], "ann")

    refused = ann("POST", "/api/tasks", json={"task": "hold", "tags": ["user:bob"]})

    assert refused.status_code == 400
    assert refused.json["error"]["field"] == "tags"


def test_a_visitor_without_a_user_is_asked_about_too(
    host: tuple[Flask, SocketProgress], rules: Rules
) -> None:
    nobody = Visitor(host[0], None)

    assert nobody("GET", "/api/tasks").status_code == 403
    assert nobody("POST", "/api/tasks", json={"task": "hold"}).status_code == 403
    assert (None, "list", None) in rules.asked
    assert (None, "start", "hold") in rules.asked


def test_a_hook_that_raises_or_says_no_bool_denies_and_is_logged(
    host: tuple[Flask, SocketProgress], rules: Rules, caplog: pytest.LogCaptureFixture
) -> None:
    app, progress = host
    root = Visitor(app, "root")
    task_id = root.start()

    rules.fails = True
    with caplog.at_level(logging.ERROR):
        assert root("GET", f"/api/tasks/{task_id}").status_code == 404
    assert "the database is gone" in caplog.text

    # And thousands of tasks are not thousands of complaints
    for number in range(100):
        progress.engine.hub.create("work", title=f"task {number}")
    said = len(caplog.records)
    progress.authorize(lambda _, action, task: True if task is None else 1 / 0)
    assert root("GET", "/api/tasks").json["tasks"] == []
    assert len(caplog.records) - said <= 1

    for hook in (lambda *_: 1, lambda *_: "yes", lambda *_: None):
        progress.authorize(hook)
        assert root("GET", f"/api/tasks/{task_id}").status_code == 404
    progress.authorize(lambda *_: True)
    assert root("GET", f"/api/tasks/{task_id}").status_code == 200


def test_a_user_who_cannot_be_loaded_is_refused(
    host: tuple[Flask, SocketProgress], caplog: pytest.LogCaptureFixture
) -> None:
    app, progress = host

    @progress.user_loader
    def load() -> Any:
        raise RuntimeError("the session store is gone")

    with caplog.at_level(logging.ERROR):
        assert Visitor(app, "root")("GET", "/api/tasks").status_code == 401
    assert "the session store is gone" in caplog.text


def test_without_flask_login_the_user_is_that_of_g(tmp_path: Path) -> None:
    app = Flask("host", static_folder=None)
    seen = []

    @app.before_request
    def load() -> None:
        g.user = "carl"

    settings = Settings(root=tmp_path, data=tmp_path, store="memory:", async_mode="threading")
    progress = SocketProgress()

    @progress.authorize
    def hook(user: Any, action: str, task: Any) -> bool:
        seen.append(user)
        return True

    progress.init_app(app, settings=settings)
    try:
        assert app.test_client().get("/progress/api/tasks").status_code == 200
    finally:
        progress.engine.close()
    assert set(seen) == {"carl"}


def test_who_presents_the_token_is_not_asked_about(tmp_path: Path, rules: Rules) -> None:
    app, progress = make_host(tmp_path, rules, token="right")
    worker = Visitor(app, None, Authorization="Bearer right")
    try:
        assert worker("PUT", "/api/tasks/loop", json={"tags": ["user:ann"]}).status_code == 201
        assert Visitor(app, "ann")("GET", "/api/tasks/loop").status_code == 200
        assert Visitor(app, None, Authorization="Bearer wrong")("GET", "/").status_code == 401
        # A token that is not ours may be the application's own: who has a user comes in as they are.
        theirs = Visitor(app, "ann", Authorization="Bearer of-the-application")
        assert theirs("GET", "/api/tasks").json["counts"]["in_progress"] == 1
    finally:
        progress.engine.close()
    assert all(name == "ann" for name, _, _ in rules.asked)


@pytest.mark.parametrize(
    ("user", "tag"), [("ann", "user:ann"), (7, "user:7"), (None, None), (object(), None)]
)
def test_a_users_tag_is_made_of_the_id(user: Any, tag: str | None) -> None:
    assert owner_tag(user) == tag


@pytest.mark.parametrize("action", ["operate", "made_up", "start", "retry", "open", "definitions"])
def test_who_is_let_in_for_one_task_does_nothing_beside_it(action: str) -> None:
    scoped = Principal(role=Role.OPERATOR, task_id="one")

    assert not scoped.may(action, "one")
    assert scoped.may("view", "one")
    assert not scoped.may("view", "two")


# -- on a connection -------------------------------------------------------------------------------


def connect(url: str, name: str | None) -> Client:
    """Connect to the host's server as a user."""
    return Client(
        url,
        headers={} if name is None else {HEADER: name},
        transports=["websocket"],
        namespace=NAMESPACE,
    )


@pytest.fixture
def url(host: tuple[Flask, SocketProgress]) -> Iterator[str]:
    with served(host[0]) as base:
        yield base


EVENTS: list[tuple[str, Callable[[str], Any]]] = [
    ("watch_task", lambda i: i),
    ("cancel_task", lambda i: i),
    ("retry_task", lambda i: i),
    ("get_log", lambda i: i),
    ("report", lambda i: {"task_id": i, "current": 1}),
    ("open_task", lambda i: {"name": "child", "parent_id": i}),
]


def test_each_event_answers_a_hidden_task_as_one_that_is_not_there(
    url: str, host: tuple[Flask, SocketProgress]
) -> None:
    hidden, absent = Visitor(host[0], "ann").start(), "f" * 32

    with connect(url, "bob") as bob:
        for event, payload in EVENTS:
            told = bob.refused(event, payload(hidden))
            unknown = bob.refused(event, payload(absent))
            assert told["code"] == "unknown_task", event
            assert told["message"].replace(hidden, absent) == unknown["message"], event
        several = bob.ok("report", [{"task_id": hidden, "current": 1}])
        assert [item["error"]["code"] for item in several["errors"]] == ["unknown_task"]
        assert several["cancel"] == []
        assert bob.refused("start_task", {"task": "hold", "task_id": hidden})["code"] == (
            "unknown_task"
        )
        assert bob.refused("start_task", "secret")["code"] == "forbidden"
        assert bob.ok("list_tasks")["tasks"] == []
        assert bob.ok("unwatch_task", hidden) == {"ok": True}


def test_a_live_list_tells_each_user_of_their_own_tasks_alone(
    url: str, host: tuple[Flask, SocketProgress]
) -> None:
    with connect(url, "ann") as ann, connect(url, "bob") as bob:
        assert ann.ok("watch_tasks")["tasks"] == []
        assert bob.ok("watch_tasks")["tasks"] == []
        hers = ann.ok("start_task", "hold")["task_id"]
        his = bob.ok("start_task", "hold")["task_id"]

        for client, own in ((ann, hers), (bob, his)):

            def shown(client: Client = client, own: str = own) -> bool:
                updates = client.events("tasks_update")
                return any(task["task_id"] == own for u in updates for task in u["tasks"])

            client.wait(shown, "the row of one's own task")
        for client, other in ((ann, his), (bob, hers)):
            updates = client.events("tasks_update")
            assert all(task["task_id"] != other for u in updates for task in u["tasks"])
            assert updates[-1]["counts"]["in_progress"] + updates[-1]["counts"]["queued"] == 1
            assert all(other not in u["removed"] for u in updates)


def test_who_may_no_longer_see_what_they_watch_is_disconnected(
    url: str, host: tuple[Flask, SocketProgress], rules: Rules
) -> None:
    with connect(url, "ann") as ann, connect(url, "root") as root:
        task_id = ann.ok("start_task", "hold")["task_id"]
        root.ok("watch_task", task_id)

        rules.revoked.add("ann")

        ann.wait(lambda: ann.disconnected, "the end of the connection")
        assert not root.disconnected
        root.ok("cancel_task", task_id)
        assert root.ended(task_id)["status"] == "cancelled"
    with connect(url, "ann") as again:
        assert again.refused("watch_task", task_id)["code"] == "unknown_task"


def test_the_hook_is_asked_within_a_request_of_the_host(
    url: str, host: tuple[Flask, SocketProgress], rules: Rules
) -> None:
    with connect(url, "ann") as ann:
        ann.ok("list_tasks")
        ann.ok("list_definitions")

    assert ("ann", "list", None) in rules.asked
    assert ("ann", "definitions", None) in rules.asked
    assert ("ann", "start", "hold") in rules.asked

"""`SocketProgress` as a Flask extension: its settings, its order, its neighbours."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import Flask, request
from flask.cli import FlaskGroup
from flask.testing import FlaskClient
from flask_socketio import SocketIO
from flask_wtf import CSRFProtect

from socketprogress import SocketProgress, task
from socketprogress.core.errors import ConfigurationError, InvalidArguments
from socketprogress.server.config import settings_of
from socketprogress.server.datadir import lock_data
from socketprogress.server.hosting import SharedHandlers
from socketprogress.server.settings import Settings

MakeApp = Callable[..., Flask]


@pytest.fixture
def make_app(tmp_path: Path) -> Iterator[MakeApp]:
    """A function that makes apps, each with an instance folder and a configuration."""
    made: list[Flask] = []

    def make(**config: Any) -> Flask:
        app = Flask("host", instance_path=str(tmp_path / f"instance{len(made)}"))
        app.config.update({"SOCKETPROGRESS_STORE": "memory:", **config})
        made.append(app)
        return app

    yield make
    for app in made:
        installation = app.extensions.get("socketprogress")
        if installation is not None and installation.composed:
            installation.engine.close()


def _client_of(app: Flask) -> FlaskClient:
    SocketProgress(app)
    return app.test_client()


def read(app: Flask, **options: Any) -> Settings:
    return settings_of(app, options, async_mode="threading")


# -- settings --------------------------------------------------------------------------------------


def test_options_stand_above_the_config_and_that_above_the_defaults(make_app: MakeApp) -> None:
    app = make_app(SOCKETPROGRESS_WORKERS=3, SOCKETPROGRESS_THREADS=7)

    settings = read(app, workers=5)

    assert (settings.workers, settings.threads) == (5, 7)
    assert settings.keep_tasks == Settings().keep_tasks
    assert settings.data == Path(app.instance_path) / "socketprogress"
    assert settings.async_mode == "threading"


def test_every_setting_can_be_given_as_a_text(
    make_app: MakeApp, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    given = {
        "WORKERS": "3",
        "KEEP_S": "1.5",
        "NO_TOKEN": "yes",
        "DATA": str(tmp_path),
        "ORIGINS": "https://a.example, https://b.example",
        "HOSTS": '["a.example"]',
        "TOKEN": "",
        "STORE": "memory:",
    }
    for name, text in given.items():
        monkeypatch.setenv(f"FLASK_SOCKETPROGRESS_{name}", text)
    app = make_app()
    app.config.from_prefixed_env()

    settings = read(app)

    assert (settings.workers, settings.keep_s, settings.no_token) == (3, 1.5, True)
    assert settings.origins == ("https://a.example", "https://b.example")
    assert (settings.hosts, settings.token, settings.data) == (("a.example",), None, tmp_path)


def test_an_unknown_setting_is_named_with_the_nearest_that_there_is(make_app: MakeApp) -> None:
    app = make_app(SOCKETPROGRESS_WORKES=3)

    with pytest.raises(ConfigurationError, match=r"'SOCKETPROGRESS_WORKES'.*'SOCKETPROGRESS_WORK"):
        SocketProgress(app)
    with pytest.raises(ConfigurationError, match="no option 'url_prefixx'"):
        SocketProgress(make_app(), url_prefixx="/tasks")


def test_what_reporters_read_from_the_environment_is_no_unknown_setting(make_app: MakeApp) -> None:
    app = make_app(SOCKETPROGRESS_URL="http://127.0.0.1:8765", SOCKETPROGRESS_LEASE="5")

    assert read(app) == read(make_app().__class__("host", instance_path=app.instance_path)).but(
        store="memory:"
    )


@pytest.mark.parametrize(
    ("name", "value", "wanted"),
    [
        ("WORKERS", "many", "a number"),
        ("WORKERS", 1.5, "a whole number"),
        ("WORKERS", True, "a number"),
        ("NO_TOKEN", "perhaps", "true or false"),
        ("STORE", 5, "a text"),
        ("DATA", 5, "a path"),
        ("ORIGINS", 5, "a list of texts"),
        ("ORIGINS", ["https://a.example", 5], "a list of texts"),
        ("ORIGINS", "[1,", "no JSON list"),
        ("URL_PREFIX", "progress", "begin with a slash"),
        ("NAMESPACE", "", "begin with a slash"),
    ],
)
def test_a_value_that_cannot_be_read_is_named(
    make_app: MakeApp, name: str, value: Any, wanted: str
) -> None:
    with pytest.raises(ConfigurationError, match=wanted):
        SocketProgress(make_app(**{f"SOCKETPROGRESS_{name}": value}))


# -- several apps ----------------------------------------------------------------------------------


def test_two_apps_in_a_process_share_nothing(make_app: MakeApp) -> None:
    # Given
    apps = [make_app(SOCKETPROGRESS_URL_PREFIX=f"/p{number}") for number in (1, 2)]
    progresses = [SocketProgress(app) for app in apps]

    @progresses[0].task(executor="thread")
    def only_first() -> None: ...

    # When
    task_id = progresses[0].start("only_first").task_id

    # Then
    assert apps[0].test_client().get(f"/p1/api/tasks/{task_id}").status_code == 200
    assert apps[1].test_client().get(f"/p2/api/tasks/{task_id}").status_code == 404
    assert apps[1].test_client().get("/p2/api/definitions").json == {"definitions": []}
    assert progresses[0].engine.hub.store is not progresses[1].engine.hub.store


def test_one_extension_serves_each_app_from_its_context(make_app: MakeApp) -> None:
    # Given
    progress = SocketProgress()

    @progress.task(executor="thread")
    def shared() -> None: ...

    first, second = make_app(), make_app()
    progress.init_app(first)
    progress.init_app(second)

    # When
    with first.app_context():
        task_id = progress.start("shared").task_id

    # Then
    assert first.test_client().get(f"/progress/api/tasks/{task_id}").status_code == 200
    assert second.test_client().get(f"/progress/api/tasks/{task_id}").status_code == 404
    with pytest.raises(ConfigurationError, match="of several apps"):
        progress.start("shared")
    with Flask("other").app_context(), pytest.raises(ConfigurationError, match="init_app"):
        progress.start("shared")


def test_a_factory_that_runs_again_brings_its_own_functions(make_app: MakeApp) -> None:
    progress = SocketProgress()

    def create_app(word: str) -> Flask:
        app = make_app()
        progress.init_app(app)

        @progress.task(executor="thread")
        def say() -> str:
            return word

        return app

    apps = [create_app("one"), create_app("two")]

    functions = [app.extensions["socketprogress"].registry.get("say").function for app in apps]
    assert [function() for function in functions] == ["one", "two"]


def test_two_functions_of_one_name_are_an_error_in_an_app(make_app: MakeApp) -> None:
    progress = SocketProgress(make_app())

    def register(function: Callable[..., Any]) -> None:
        progress.task(name="say")(function)

    register(lambda: 1)
    with pytest.raises(ConfigurationError, match="two task functions"):
        register(lambda: 2)


def test_a_marked_function_is_registered_with_its_own_options(make_app: MakeApp) -> None:
    progress = SocketProgress(make_app())

    @task(title="Twice {number}", steps=["One", "Two"])
    def double(number: int) -> int:
        return 2 * number

    assert progress.task(double) is double
    assert list(progress.registry.get("double").steps) == ["One", "Two"]


def test_commands_of_the_config_are_tasks(make_app: MakeApp) -> None:
    progress = SocketProgress(make_app(SOCKETPROGRESS_COMMANDS=["hello=echo hello"]))

    assert [definition.name for definition in progress.engine.registry] == ["hello"]


def test_an_app_has_it_once(make_app: MakeApp) -> None:
    app = make_app()
    SocketProgress(app)

    with pytest.raises(ConfigurationError, match="already"):
        SocketProgress(app)


# -- the start -------------------------------------------------------------------------------------


def test_nothing_is_opened_before_it_is_needed(make_app: MakeApp) -> None:
    before = set(threading.enumerate())
    app = make_app(SOCKETPROGRESS_STORE="")
    SocketProgress(app)

    @app.get("/theirs")
    def theirs() -> str:
        return "theirs"

    assert app.test_client().get("/theirs").text == "theirs"
    routes = app.test_cli_runner().invoke(FlaskGroup(create_app=lambda: app), ["routes"]).output
    assert "socketprogress.api_list" in routes
    assert "/progress/tasks/<task_id>/cancel" in routes
    assert not Path(app.instance_path).exists()
    assert set(threading.enumerate()) == before
    assert app.secret_key is None


def test_a_data_folder_in_use_leaves_the_hosts_pages_alone(make_app: MakeApp) -> None:
    # Given
    app = make_app(SOCKETPROGRESS_STORE="")
    progress = SocketProgress(app)
    app.add_url_rule("/theirs", view_func=lambda: "theirs")

    # When
    with lock_data(Path(app.instance_path) / "socketprogress"):
        page = app.test_client().get("/progress/")
        theirs = app.test_client().get("/theirs")
        with pytest.raises(ConfigurationError, match="in use"):
            progress.start("anything")

    # Then
    assert theirs.text == "theirs"
    assert (page.status_code, page.json["error"]["code"]) == (503, "unavailable")  # type: ignore[index]
    assert app.test_client().get("/progress/").status_code == 200


def test_a_view_starts_and_reads_tasks(make_app: MakeApp) -> None:
    progress = SocketProgress(make_app())
    go = threading.Event()

    @progress.task(executor="thread")
    def resize(title: str, width: int = 800) -> str:
        go.wait(30)
        return f"{title} {width}"

    started = progress.start(
        "resize", title="Holidays", task_id="mine", tags=["photos"], args={"title": "a"}, width=5
    )

    assert started.task_id == "mine"
    shown = progress.get("mine")
    assert (shown["title"], shown["tags"]) == ("Holidays", ["photos"])
    assert shown["args"] == {"title": "a", "width": 5}
    assert progress.cancel("mine")["cancel_requested"]
    with pytest.raises(InvalidArguments):
        progress.start("resize", args={"title": "a"}, height=5)
    go.set()


def test_a_process_that_is_forked_off_has_a_server_of_its_own(make_app: MakeApp) -> None:
    progress = SocketProgress(make_app())
    ours = progress.engine
    reader, writer = os.pipe()

    child = os.fork()
    if not child:
        os.write(writer, b"other" if progress.engine is not ours else b"same")
        os._exit(0)
    os.waitpid(child, 0)

    assert os.read(reader, 10) == b"other"
    assert progress.engine is ours
    os.close(reader)
    os.close(writer)


def test_a_program_that_has_started_a_task_ends_by_itself(tmp_path: Path) -> None:
    script = tmp_path / "program.py"
    script.write_text(
        "from flask import Flask\n"
        "from socketprogress import SocketProgress\n"
        f"app = Flask('host', instance_path={str(tmp_path / 'instance')!r})\n"
        "progress = SocketProgress(app)\n"
        "@progress.task\n"
        "def endless(progress):\n"
        "    while True:\n"
        "        progress.advance()\n"
        "print(progress.start('endless').name)\n"
    )

    done = subprocess.run(
        [sys.executable, str(script)], capture_output=True, text=True, check=False, timeout=60
    )

    assert (done.returncode, done.stdout, done.stderr) == (0, "endless\n", "")


# -- the host's SocketIO ---------------------------------------------------------------------------


def test_the_hosts_socketio_is_the_only_one_in_any_order(make_app: MakeApp) -> None:
    for order in ("before", "after", "given"):
        app, socketio, progress = make_app(), SocketIO(async_mode="threading"), SocketProgress()
        if order == "before":
            socketio.init_app(app)
        progress.init_app(app, socketio=socketio if order == "given" else None)
        if order != "before":
            socketio.init_app(app)

        visitor = socketio.test_client(app, namespace="/socketprogress")
        assert visitor.emit("list_definitions", namespace="/socketprogress", callback=True) == {
            "ok": True,
            "definitions": [],
        }
        assert app.extensions["socketio"] is progress.engine.socketio is socketio


def test_a_socketio_that_never_gets_its_app_is_named(make_app: MakeApp) -> None:
    progress = SocketProgress(make_app(), socketio=SocketIO())

    with pytest.raises(ConfigurationError, match="init_app"):
        progress.start("anything")


def test_a_socketio_that_comes_when_we_serve_already_is_refused(make_app: MakeApp) -> None:
    app = make_app()
    app.add_url_rule("/theirs", view_func=lambda: "theirs")
    _ = SocketProgress(app).engine

    with pytest.raises(ConfigurationError, match="initialise it before"):
        SocketIO(app, async_mode="threading")


@pytest.mark.parametrize("when", ["before", "after"])
def test_an_event_of_the_host_that_is_called_like_ours_is_named(
    make_app: MakeApp, when: str
) -> None:
    app = make_app()
    socketio = SocketIO(app, async_mode="threading")

    def theirs() -> None:
        socketio.on_event("report", lambda: None, namespace="/")

    def ours() -> None:
        SocketProgress(app, namespace="/")

    first, second = (theirs, ours) if when == "before" else (ours, theirs)
    first()
    with pytest.raises(ConfigurationError, match="'report' is SocketProgress's own"):
        second()


def test_without_a_socketio_of_the_hosts_ours_stays_out_of_its_sight(make_app: MakeApp) -> None:
    app = make_app()
    SocketProgress(app)

    assert "socketio" not in app.extensions
    assert app.test_client().get("/socket.io/?EIO=4&transport=polling").status_code == 200


def test_who_may_not_use_our_events_still_has_the_hosts(make_app: MakeApp) -> None:
    # Given
    app = make_app(SOCKETPROGRESS_TOKEN="secret", SOCKETPROGRESS_NAMESPACE="/")
    socketio = SocketIO(app, async_mode="threading")
    SocketProgress(app)
    socketio.on_event("hello", lambda: "hello")

    # When
    stranger = socketio.test_client(app)
    friend = socketio.test_client(app, auth={"token": "secret"})

    # Then
    assert stranger.emit("hello", callback=True) == friend.emit("hello", callback=True) == "hello"
    refused = stranger.emit("list_tasks", callback=True)
    assert refused["error"]["code"] == "unauthorized"
    assert friend.emit("list_tasks", callback=True)["ok"]


def test_without_token_and_hook_only_this_machine_is_let_in(make_app: MakeApp) -> None:
    client = _client_of(make_app())
    elsewhere = {"REMOTE_ADDR": "10.0.0.5"}

    assert client.get("/progress/api/tasks").status_code == 200
    assert client.get("/progress/api/tasks", environ_base=elsewhere).status_code == 401
    forwarded = {"X-Forwarded-For": "127.0.0.1"}
    assert client.get("/progress/api/tasks", headers=forwarded).status_code == 401
    opened = _client_of(make_app(SOCKETPROGRESS_NO_TOKEN=True))
    assert opened.get("/progress/api/tasks", environ_base=elsewhere).status_code == 200


def test_it_answers_to_the_names_that_the_app_answers_to(make_app: MakeApp) -> None:
    named = _client_of(make_app(TRUSTED_HOSTS=["app.example"]))
    strange = _client_of(make_app())
    headers = {"Host": "app.example"}

    assert named.get("/progress/api/tasks", headers=headers).status_code == 200
    assert named.get("/progress/api/tasks", headers={"Host": "evil.example"}).status_code == 403
    assert strange.get("/progress/api/tasks", headers=headers).status_code == 403


def test_an_app_that_knows_its_users_answers_to_every_name(make_app: MakeApp) -> None:
    app = make_app()
    SocketProgress(app, authorize=lambda user, action, task: action == "list")

    asked = app.test_client().get("/progress/api/tasks", headers={"Host": "app.example"})

    assert asked.status_code == 200


def test_what_a_view_starts_is_its_users(make_app: MakeApp) -> None:
    app = make_app()
    progress = SocketProgress()
    progress.init_app(app)
    progress.authorize(lambda user, action, task: task is None or f"user:{user}" in task.tags)
    progress.user_loader(lambda: request.args["user"])

    @progress.task(executor="thread")
    def work() -> None: ...

    @app.get("/go")
    def go() -> str:
        return progress.start("work").task_id

    client = app.test_client()
    task_id = client.get("/go?user=ada").text

    assert client.get(f"/progress/api/tasks/{task_id}?user=ada").status_code == 400
    assert client.get(f"/progress/embed/{task_id}?user=ada").status_code == 200
    assert client.get(f"/progress/embed/{task_id}?user=bob").status_code == 404


def test_two_apps_on_one_host_name_have_cookies_of_their_own(make_app: MakeApp) -> None:
    names = set()
    for prefix in ("/a", "/b"):
        app = make_app(SOCKETPROGRESS_URL_PREFIX=prefix, SOCKETPROGRESS_TOKEN="secret")
        SocketProgress(app)
        shown = app.test_client().get(f"{prefix}/?token=secret")
        names.add(shown.headers["Set-Cookie"].partition("=")[0])

    assert names == {"socketprogress_host_a", "socketprogress_host_b"}


def test_the_hosts_refusal_of_a_connection_holds(make_app: MakeApp) -> None:
    app = make_app()
    socketio = SocketIO(app, async_mode="threading")
    progress = SocketProgress(app)
    socketio.on_event("connect", lambda: False, namespace="/socketprogress")

    visitor = socketio.test_client(app, namespace="/socketprogress")

    assert not visitor.is_connected("/socketprogress")
    assert not progress.engine.events._sessions


def test_a_later_handler_of_the_same_event_replaces_the_hosts_own() -> None:
    ours: dict[str, Callable[..., Any]] = {"connect": lambda: "ours"}
    shared = SharedHandlers(ours, {"connect": lambda: "first", "chat": lambda: "chat"})

    shared["connect"] = lambda: "second"

    assert shared["connect"]() == "ours"
    assert shared.theirs["connect"]() == "second"
    assert shared["chat"]() == "chat"


# -- the host's pages ------------------------------------------------------------------------------


def test_our_forms_work_below_the_hosts_csrf_protection(make_app: MakeApp) -> None:
    # Given
    app = make_app()
    progress = SocketProgress(app)
    CSRFProtect(app)
    app.secret_key = "theirs"
    app.add_url_rule("/theirs", view_func=lambda: "theirs", methods=["POST"])

    @progress.task(executor="thread")
    def add() -> int:
        return 3

    client = app.test_client()

    # When
    page = client.get("/progress/").text
    token = page.partition('name="csrf_token" value="')[2].partition('"')[0]

    # Then
    assert client.post("/progress/api/tasks", json={"task": "add"}).status_code == 201
    assert client.post("/progress/start/add", data={"csrf_token": token}).status_code == 303
    assert client.post("/progress/start/add", data={}).status_code == 403
    assert client.post("/theirs").status_code == 400


def test_the_hosts_error_pages_stay_its_own(make_app: MakeApp) -> None:
    app = make_app()
    SocketProgress(app)
    app.register_error_handler(Exception, lambda exc: (f"theirs: {type(exc).__name__}", 418))
    client = app.test_client()

    assert client.get("/nothing").text == "theirs: NotFound"
    assert client.get("/progress/api/nothing").json["error"]["code"] == "invalid_payload"  # type: ignore[index]


def test_the_hosts_templates_stand_above_ours(make_app: MakeApp, tmp_path: Path) -> None:
    theirs = tmp_path / "templates" / "socketprogress" / "layout.html"
    theirs.parent.mkdir(parents=True)
    theirs.write_text("the host's layout: {% block main %}{% endblock %}")
    app = Flask("host", template_folder=str(tmp_path / "templates"))
    progress = SocketProgress(app, store="memory:", data=tmp_path / "data")

    page = app.test_client().get("/progress/").text

    assert "the host's layout:" in page
    assert "Nothing runs yet" in page
    progress.engine.close()

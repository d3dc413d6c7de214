"""`executor="celery"`: a server starts it, a real worker runs it, its page shows it."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import redis
import requests
from celery import Celery
from flask import Flask

import socketprogress
from socketprogress import SocketProgress
from socketprogress.celery import install
from socketprogress.celery.dispatching import CeleryDispatcher
from socketprogress.celery.offering import celery_name, registry_of
from socketprogress.core.errors import ConfigurationError, Unavailable
from socketprogress.core.fields import Bounds
from socketprogress.core.reports import open_request, report_request
from socketprogress.core.status import Status
from socketprogress.server.remote import MOST_STUCK, dispatcher_of
from tests.celery.conftest import HERE, WAIT_S, Shop, wait_until
from tests.conftest import environment, run_cli

FARM = str(HERE / "farm.py")


@pytest.fixture(scope="module")
def farm(
    lasting_server: Callable[..., Any],
    lasting_redis: Any,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Shop]:
    """A server that sends, with a worker of two processes."""
    broker = lasting_redis.url.replace("/0", "/7")
    env = {"BROKER": broker, "SOCKETPROGRESS_CELERY": "farm:app"}
    server = lasting_server("--tasks", FARM, env=env)
    env = {**server.env, "SOCKETPROGRESS_URL": server.url}
    one = Shop(server.url, broker, env, tmp_path_factory.mktemp("farm"))
    one.work("-c", "2", app="farm")
    yield one
    one.close()


def start(farm: Shop, name: str, **args: Any) -> str:
    """Start a task, as the page does, and return its id."""
    answer = post(farm, {"task": name, "args": args})
    assert answer.status_code == 201, answer.text
    assert answer.json()["task"]["status"] == "queued"
    return str(answer.json()["task_id"])


def post(farm: Shop, payload: dict[str, Any]) -> requests.Response:
    return requests.post(f"{farm.url}/api/tasks", json=payload, timeout=WAIT_S)


def test_a_definition_runs_on_the_cluster_and_shows_all_that_it_has(farm: Shop) -> None:
    task_id = start(farm, "plough", fields=30, pause_s=0.03)
    live = farm.until(task_id, lambda task: 0 < (task["progress"] or 0) < 100)
    assert (live["title"], live["source"]) == ("Plough 30 for eve", "celery")
    assert live["message"].endswith("for eve")
    assert live["host"]
    end = farm.end_of(task_id)
    assert (end["status"], end["progress"], end["result"]) == ("completed", 100, {"fields": 30})
    assert end["args"] == {"fields": 30, "pause_s": 0.03}
    assert [step["status"] for step in end["steps"]] == ["completed", "completed"]
    assert farm.log(task_id) == ["for eve"]
    # The id is Celery's own, too.
    code = f"from farm import app; print(app.AsyncResult('{task_id}').state)"
    assert farm.send(code) == ["SUCCESS"]


def test_arguments_are_checked_before_anything_is_sent(farm: Shop) -> None:
    answer = post(farm, {"task": "plough", "args": {"fields": "many"}})
    error = answer.json()["error"]
    assert (answer.status_code, error["code"], error["field"]) == (
        422, "invalid_arguments", "fields"
    )  # fmt: skip


def test_the_same_id_is_the_same_task(farm: Shop) -> None:
    payload = {"task": "plough", "args": {"fields": 1}, "task_id": "only-one"}
    assert post(farm, payload).json()["task_id"] == "only-one"
    assert post(farm, payload).json()["task_id"] == "only-one"
    assert farm.end_of("only-one")["status"] == "completed"


@pytest.mark.parametrize(
    ("name", "args", "code", "message"),
    [
        ("break_down", {}, "exception", "ValueError: no tractor"),
        ("leave", {}, "exception", "SystemExit: 3"),
        ("sleep_in", {"seconds": 60}, "timeout", "it took longer than 0.5 s"),
        ("unheard", {}, "exception", "does not know the task 'unheard'"),
    ],
)
def test_what_goes_wrong_on_a_worker_is_told(
    farm: Shop, name: str, args: dict[str, Any], code: str, message: str
) -> None:
    task_id = start(farm, name, **args)
    end = farm.end_of(task_id)
    assert (end["status"], end["error"]["code"]) == ("failed", code)
    assert message in end["error"]["message"]
    if name == "break_down":
        assert any("ValueError" in line for line in farm.log(task_id))


def test_a_file_cannot_be_offered_and_the_log_says_so(farm: Shop) -> None:
    task_id = start(farm, "feed", sack=".")
    assert farm.end_of(task_id)["status"] == "completed"
    (line,) = farm.log(task_id)
    assert "cannot be offered from here" in line


def test_a_cancellation_ends_it_at_its_next_call_and_it_can_be_retried(farm: Shop) -> None:
    task_id = start(farm, "plough", fields=1_000)
    farm.until(task_id, lambda task: task["current"] > 3)
    farm.cancel(task_id)
    end = farm.end_of(task_id)
    assert (end["status"], end["error"]) == ("cancelled", None)
    again = requests.post(f"{farm.url}/api/tasks/{task_id}/retry", json={}, timeout=WAIT_S)
    second = again.json()["task_id"]
    live = farm.until(second, lambda task: task["current"] > 3)
    assert (live["args"], live["title"]) == (end["args"], end["title"])
    farm.cancel(second)
    assert farm.end_of(second)["status"] == "cancelled"


def test_what_does_not_hear_of_its_cancellation_is_ended_by_force(farm: Shop) -> None:
    task_id = start(farm, "plough", fields=1, pause_s=60)
    farm.until(task_id, lambda task: task["status"] == "in_progress")
    farm.cancel(task_id)
    assert farm.end_of(task_id)["status"] == "cancelled"


def test_one_that_waits_is_revoked_by_the_server(farm: Shop) -> None:
    busy = [start(farm, "plough", fields=1_000) for _ in range(2)]
    for task_id in busy:
        farm.until(task_id, lambda task: task["current"] > 0)
    waiting = start(farm, "plough", fields=1)
    dispatcher = CeleryDispatcher(Celery("farm", broker=farm.broker), reply_s=0.5)
    assert dispatcher.known([*busy, "nobodys"]) == set(busy)
    farm.cancel(waiting)
    end = farm.end_of(waiting)
    assert (end["status"], end["started_at"]) == ("cancelled", None)
    for task_id in busy:
        farm.cancel(task_id)
        assert farm.end_of(task_id)["status"] == "cancelled"


def test_an_upload_to_it_is_refused(farm: Shop) -> None:
    files = {"file": ("sack.txt", b"grain")}
    answer = requests.post(
        f"{farm.url}/api/uploads", files=files, data={"task": "feed"}, timeout=WAIT_S
    )
    error = answer.json()["error"]
    assert (answer.status_code, error["code"], error["field"]) == (422, "invalid_arguments", "task")
    assert "workers" in error["message"]


def test_a_server_that_knows_no_application_says_so_at_its_start(tmp_path: Path) -> None:
    env = environment(tmp_path, BROKER="redis://127.0.0.1:1/0")
    ended = run_cli("serve", "--port", "0", "--tasks", FARM, env=env, cwd=tmp_path)
    assert ended.returncode == 2
    assert "--celery module:app" in ended.stderr


@pytest.mark.parametrize(
    ("named", "said"),
    [
        ("pathlib:Path", "'pathlib:Path' is no Celery application but a type"),
        ("pathlib", "has no attribute 'app'"),
        ("no_such_module:app", "No module named 'no_such_module'"),
    ],
)
def test_what_is_no_application_is_said_by_name(named: str, said: str) -> None:
    with pytest.raises(ConfigurationError, match=re.escape(said)):
        dispatcher_of(named)


def embedded(tmp_path: Path, **options: Any) -> SocketProgress:
    """Return an application's own SocketProgress with a definition for the cluster."""
    app = Flask("farm", instance_path=str(tmp_path))
    progress = SocketProgress(app, store="memory:", no_token=True, **options)
    progress.task(executor="celery", max_running=1)(weigh)
    return progress


def weigh(sacks: int = 1) -> int:
    """Weigh sacks."""
    return sacks


def test_an_application_without_celery_says_so_when_it_is_started(tmp_path: Path) -> None:
    progress = embedded(tmp_path)
    with pytest.raises(Unavailable, match="SOCKETPROGRESS_CELERY"):
        progress.start("weigh")
    assert progress.engine.hub.size == 0


def test_a_broker_that_is_away_leaves_nothing_behind(tmp_path: Path) -> None:
    app = Celery("nowhere", broker="redis://127.0.0.1:1/0")
    progress = embedded(tmp_path, celery=app)
    for _ in range(2):  # the first one takes no room of `max_running`
        with pytest.raises(Unavailable, match="broker cannot be reached"):
            progress.start("weigh", task_id="again")
    assert progress.engine.hub.size == 0


class Slow:
    """A broker that takes its time."""

    def __init__(self) -> None:
        self.revoked: list[str] = []
        self.asked, self.takes = threading.Event(), threading.Event()

    def reach(self) -> None:
        """Answer."""

    def send(self, name: str, job: Any) -> None:
        """Take a task when it is let."""
        assert (name, job.task_id) == ("weigh", "late")
        self.asked.set()
        self.takes.wait(WAIT_S)

    def owns(self, name: str) -> bool:
        """Have one task of its own."""
        return name == "weigh"

    def revoke(self, task_id: str) -> bool:
        """Note a task that shall not begin."""
        self.revoked.append(task_id)
        return True

    def known(self, task_ids: Collection[str]) -> set[str]:
        """Know all."""
        return set(task_ids)


def test_what_a_slow_broker_takes_too_late_is_revoked(tmp_path: Path) -> None:
    slow = Slow()
    progress = embedded(tmp_path)
    remote = progress.engine.service.remote
    remote.dispatcher, remote.sent_within_s = slow, 0.1
    while not slow.asked.is_set():  # it may be given up before it is on its way
        with pytest.raises(Unavailable, match="has not taken the task"):
            progress.start("weigh", task_id="late")
    assert progress.engine.hub.size == 0
    slow.takes.set()
    wait_until(lambda: slow.revoked == ["late"], WAIT_S, lambda: str(slow.revoked))


def test_a_broker_that_hangs_holds_few_threads(tmp_path: Path) -> None:
    # Given a broker that takes nothing
    class Hung(Slow):
        def reach(self) -> None:
            self.takes.wait(WAIT_S)

        def send(self, name: str, job: Any) -> None:
            """Take a task."""

    hung = Hung()
    progress = embedded(tmp_path)
    remote = progress.engine.service.remote
    remote.dispatcher, remote.sent_within_s = hung, 0.01

    # When tasks are started time and again, then there is an end to it
    for _ in range(3 * MOST_STUCK):
        with pytest.raises(Unavailable):
            progress.start("weigh")
    names = [thread.name for thread in threading.enumerate()]
    assert names.count("socketprogress-celery") <= MOST_STUCK
    with pytest.raises(Unavailable, match="still on their way"):
        progress.start("weigh")
    assert progress.engine.hub.size == 0

    # And when it goes on, it is asked again
    hung.takes.set()
    for thread in threading.enumerate():
        if thread.name == "socketprogress-celery":
            thread.join(WAIT_S)
    remote.sent_within_s = WAIT_S
    assert progress.start("weigh").status is Status.QUEUED


def test_a_retry_has_the_patience_of_any_run_once_it_begins(tmp_path: Path) -> None:
    # Given a task that waits for its retry, for as long as that takes
    progress = embedded(tmp_path)
    hub, reporting = progress.engine.hub, progress.engine.service.reporting
    told = {"name": "weigh", "source": "celery", "task_id": "again", "abandon_s": 300.0}
    reporting.open(open_request(told, Bounds()))
    reporting.take(report_request([{"task_id": "again", "abandon_s": 3_900.0}], Bounds()))
    assert hub.get("again").abandon_s == 3_900.0

    # When a worker begins it, then it is waited for no longer than any other
    reporting.open(open_request(told, Bounds()))
    assert hub.get("again").abandon_s == 300.0


def test_what_a_worker_has_begun_was_sent_whatever_the_broker_says(tmp_path: Path) -> None:
    # Given a broker that gives a task to a worker at once, and never says so
    progress = embedded(tmp_path)
    hub, service = progress.engine.hub, progress.engine.service

    class Mute(Slow):
        def send(self, name: str, job: Any) -> None:
            begun = {"name": name, "task_id": job.task_id, "source": "celery"}
            service.reporting.open(open_request(begun, Bounds()))
            super().send(name, job)

    mute = Mute()
    service.remote.dispatcher, service.remote.sent_within_s = mute, 0.1

    # When it is started, then it stays there
    try:
        assert progress.start("weigh", task_id="late").task_id == "late"
        assert hub.get("late").status is Status.IN_PROGRESS
    finally:
        mute.takes.set()


def test_a_broker_that_hangs_carries_nothing_out_later(
    tmp_path: Path, redis_server: Callable[..., Any]
) -> None:
    broker = redis_server()
    progress = embedded(tmp_path, celery=Celery("hung", broker=broker.url))
    progress.engine.service.remote.sent_within_s = 0.3
    before = set(threading.enumerate())
    broker.pause()
    with pytest.raises(Unavailable, match="has not taken the task"):
        progress.start("weigh")
    broker.go_on()
    for thread in set(threading.enumerate()) - before:
        if thread.name == "socketprogress-celery":
            thread.join(WAIT_S)
    with redis.Redis(port=broker.port) as client:
        assert client.llen("celery") == 0
        progress.engine.service.remote.sent_within_s = WAIT_S
        progress.start("weigh")
        assert client.llen("celery") == 1


def test_what_a_silent_worker_had_has_failed_once_no_other_says_that_it_has_it(
    tmp_path: Path, lasting_redis: Any
) -> None:
    progress = embedded(tmp_path)
    hub, service = progress.engine.hub, progress.engine.service
    app = Celery("ghosts", broker=lasting_redis.url.replace("/0", "/8"))
    service.remote.dispatcher = CeleryDispatcher(app, reply_s=0.1)
    service.remote.ask_every_s = 0.1
    begun = {"name": "weigh", "source": "celery", "lease_s": 0.05}
    mine = progress.start("weigh").task_id
    service.reporting.open(open_request({**begun, "task_id": mine, "abandon_s": 300}, Bounds()))
    late = "another-gets-it"
    service.reporting.open(open_request({**begun, "task_id": late}, Bounds()))

    def look() -> bool:
        hub.sweep()
        service.remote.review(time.monotonic())
        return hub.get(mine).ended

    wait_until(look, WAIT_S, lambda: str(hub.get(mine)))
    error = hub.get(mine).error
    assert error is not None
    assert (hub.get(mine).status, error.code) == (Status.FAILED, "worker_lost")
    assert hub.get(late).status is Status.LOST


class Away(Slow):
    """A broker whose workers have nothing."""

    def known(self, task_ids: Collection[str]) -> set[str]:
        """Know none."""
        return super().known(task_ids) - set(task_ids)


def test_what_another_application_runs_is_not_asked_of_these_workers(tmp_path: Path) -> None:
    # Given a server that knows an application, and tasks of this and of another one
    progress = embedded(tmp_path)
    hub, service, away = progress.engine.hub, progress.engine.service, Away()
    service.remote.dispatcher, service.remote.ask_every_s = away, 0.0
    for name in ("weigh", "orders.pack"):
        told = {"name": name, "source": "celery", "lease_s": 0.05, "abandon_s": 300}
        for more in (
            {"task_id": f"lost-{name[:5]}"},
            {"task_id": f"waits-{name[:5]}", "queued": True},
        ):
            service.reporting.open(open_request({**told, **more}, Bounds()))

    # When workers are asked for what is lost, and what waits is cancelled
    def look() -> bool:
        hub.sweep()
        service.remote.review(time.monotonic())
        return hub.get("lost-weigh").ended

    wait_until(look, WAIT_S, lambda: str(hub.get("lost-weigh")))
    service.cancel("waits-order")
    service.cancel("waits-weigh")
    wait_until(lambda: hub.get("waits-weigh").ended, WAIT_S, lambda: str(away.revoked))

    # Then the other one's are left to those who know of them
    assert hub.get("lost-order").status is Status.LOST
    assert (hub.get("waits-order").status, away.revoked) == (Status.QUEUED, ["waits-weigh"])


def test_modules_functions_and_definitions_are_offered() -> None:
    module = ModuleType("sacks")
    marked = socketprogress.task(executor="celery")(weigh)
    module.weigh = marked  # type: ignore[attr-defined]
    for given in (module, marked):
        app = Celery("offers", broker="memory://")
        install(app, "http://127.0.0.1:1", tasks=[given])
        assert celery_name("weigh") in app.tasks
    with pytest.raises(ConfigurationError, match="no function marked"):
        registry_of([print])


def test_a_worker_that_is_told_of_no_server_reports_to_the_one_that_has_sent_the_work(
    server: Callable[..., Any], lasting_redis: Any, tmp_path: Path
) -> None:
    # Given a server that sends, a newer one of the same user, and a worker that knows neither
    broker = lasting_redis.url.replace("/0", "/11")
    env = {"BROKER": broker, "SOCKETPROGRESS_CELERY": "farm:app"}
    older = server("--tasks", FARM, env=env)
    newer = server()
    for path in (newer.runtime / "socketprogress").glob("*.json"):
        (older.runtime / "socketprogress" / path.name).hardlink_to(path)
    own = {key: value for key, value in older.env.items() if key != "SOCKETPROGRESS_URL"}
    shop = Shop(older.url, broker, own, tmp_path)
    shop.work("-c", "1", app="farm")
    try:
        # When work is sent that it knows, and some that it does not
        known, unknown = start(shop, "plough", fields=1), start(shop, "unheard")

        # Then both end where they were started
        assert shop.end_of(known)["status"] == "completed"
        assert "does not know" in shop.end_of(unknown)["error"]["message"]
        assert requests.get(f"{newer.url}/api/tasks", timeout=WAIT_S).json()["tasks"] == []
    finally:
        shop.close()

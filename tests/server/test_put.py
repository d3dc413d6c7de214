"""Reporting by `PUT`, as from a shell with curl."""

from __future__ import annotations

import json
import random
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import requests
from watchers import JOBS, Client, get_json

from tests.conftest import missing_service

Start = Callable[..., Any]
MODES = ["eventlet", "threading"]

LOOP = r"""
set -eu
put() { "$CURL" --silent --show-error --fail-with-body --noproxy '*' -X PUT -d "$1" "$URL"; }
put '{"title": "Nightly backup", "total": 20, "unit": "files"}' > /dev/null
for i in $(seq 20); do put "{\"current\": $i, \"message\": \"file $i\"}" > /dev/null; done
put '{"status": "completed", "result": {"files": 20}, "log": "all done"}'
"""


@pytest.fixture(scope="module", params=MODES)
def live(request: pytest.FixtureRequest, lasting_server: Start) -> Iterator[Any]:
    running = lasting_server("--workers", "1", "--tasks", JOBS, mode=request.param)
    yield running
    assert running.stop(signal.SIGTERM) == 0
    assert "Traceback" not in running.stderr


@pytest.fixture(scope="module")
def http() -> Iterator[requests.Session]:
    with requests.Session() as session:
        session.trust_env = False
        yield session


Put = Callable[..., tuple[int, Any]]


@pytest.fixture
def put(live: Any, http: requests.Session) -> Put:
    """A function that PUTs a value (or raw bytes) to a task and returns status and answer."""

    def send(task_id: str, value: Any, **headers: str) -> tuple[int, Any]:
        body = value if isinstance(value, bytes) else json.dumps(value).encode()
        answer = http.put(f"{live.url}/api/tasks/{task_id}", data=body, headers=headers, timeout=60)
        return answer.status_code, answer.json()

    return send


def curl() -> str:
    path = shutil.which("curl")
    if path is None:
        missing_service("curl is not installed")
    return str(path)


def error_of(answer: tuple[int, Any]) -> tuple[int, str, str | None]:
    status, body = answer
    return status, body["error"]["code"], body["error"].get("field")


def test_a_task_is_created_once_and_then_updated(put: Put, live: Any) -> None:
    status, body = put("job-1", {"current": 1, "total": 4})
    assert (status, body["task_id"], body["task"]["progress"]) == (201, "job-1", 25)
    assert (body["task"]["title"], body["task"]["source"]) == ("job-1", "report")

    status, body = put("job-1", {"advance": 1, "message": "half", "title": "Job"})
    task = body["task"]
    assert (status, task["progress"], task["message"], task["title"]) == (200, 50, "half", "Job")
    asked = get_json(f"{live.url}/api/tasks/job-1")
    assert asked.pop("elapsed_s") >= task.pop("elapsed_s")
    assert asked == task


def test_where_a_new_task_is_stands_in_the_location(live: Any, http: requests.Session) -> None:
    answer = http.put(f"{live.url}/api/tasks/located", data=b"{}", timeout=60)

    assert answer.status_code == 201
    assert http.get(f"{live.url}{answer.headers['Location']}", timeout=60).json()["current"] == 0


@pytest.mark.parametrize(
    "content_type", ["application/x-www-form-urlencoded", "application/json", "text/plain"]
)
def test_any_content_type_will_do(put: Put, content_type: str) -> None:
    task_id = content_type.partition("/")[2]
    status, body = put(task_id, {"current": 3}, **{"Content-Type": content_type})

    assert (status, body["task"]["current"]) == (201, 3)


@pytest.mark.parametrize("status", ["completed", "failed", "cancelled"])
@pytest.mark.parametrize("is_known", [True, False])
def test_a_task_ends_and_nothing_comes_after(put: Put, status: str, is_known: bool) -> None:
    task_id = f"{status}-{is_known}"
    if is_known:
        put(task_id, {"total": 10, "current": 5})

    code, body = put(task_id, {"status": status, "result": [1]})
    assert code == (200 if is_known else 201)
    assert body["task"]["status"] == status
    assert body["task"]["result"] == [1]
    assert (body["task"]["progress"] == 100) == (status == "completed")

    for late in ({"current": 6}, {"status": status}, {}):
        assert error_of(put(task_id, late)) == (409, "task_ended", None)


def test_an_unknown_body_is_refused_before_anything_is_made(put: Put, live: Any) -> None:
    for bad in (b"", b"{", b"\xff", b"[]", b"5", b'"text"', b'{"current": 1, "current": 2}'):
        assert error_of(put("never", bad))[:2] == (400, "invalid_payload")
    for fields, field in (
        ({"current": "1"}, "current"),
        ({"status": "done"}, "status"),
        ({"step": "None such"}, "step"),
        ({"steps": ["Scan"], "step": "Pack"}, "step"),
        ({"status": "failed", "error": {"code": []}}, "error.code"),
        ({"error": "without an end"}, "error"),
        ({"lease_s": 0}, "lease_s"),
        ({"task_id": "another"}, "task_id"),
        ({"percent": 5}, "percent"),
    ):
        assert error_of(put("never", fields)) == (400, "invalid_payload", field), fields
    assert error_of(put("never", b" " * 70_000))[:2] == (413, "too_large")
    assert requests.get(f"{live.url}/api/tasks/never", timeout=60).status_code == 404


@pytest.mark.parametrize("task_id", ["a%20b", "a.b", "x" * 65, "%C3%BC", "a%0Ab", "%00"])
def test_an_id_of_other_characters_is_refused(put: Put, task_id: str) -> None:
    assert error_of(put(task_id, {"current": 1})) == (400, "invalid_payload", "task_id")


def test_what_the_server_runs_itself_is_not_to_be_reported_on(
    put: Put, live: Any, http: requests.Session
) -> None:
    started = http.post(f"{live.url}/api/tasks", json={"task": "hold"}, timeout=60).json()
    task = f"{live.url}/api/tasks/{started['task_id']}"

    assert error_of(put(started["task_id"], {"current": 1})) == (403, "forbidden", None)

    # As little as on anything else that is over.
    http.post(f"{task}/cancel", timeout=60)
    while http.get(f"{task}?wait=1", timeout=60).json()["status"] != "cancelled":
        pass
    assert error_of(put(started["task_id"], {"current": 1})) == (409, "task_ended", None)


def test_a_first_report_may_say_everything(put: Put) -> None:
    status, body = put(
        "all-at-once",
        {
            "name": "etl",
            "title": "Load",
            "steps": {"Read": 1, "Write": 1},
            "step": "Write",
            "total": 4,
            "current": 2,
            "tags": ["night"],
            "lease_s": 300,
            "log": ["one", "two"],
            "reporter_seq": 3,
        },
    )

    task = body["task"]
    assert (status, task["name"], task["title"], task["progress"]) == (201, "etl", "Load", 75)
    assert (task["tags"], task["lease_s"]) == (["night"], 300)
    assert put("all-at-once", {"current": 0, "reporter_seq": 3})[1]["task"]["current"] == 2


def test_two_that_create_at_the_same_time_make_one_task(put: Put) -> None:
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: put("race", {"advance": 1}), range(16)))

    assert sorted(status for status, _ in answers) == [200] * 15 + [201]
    assert put("race", {})[1]["task"]["current"] == 16


def test_a_cancellation_shows_in_the_next_answer(
    put: Put, live: Any, http: requests.Session
) -> None:
    put("stoppable", {"current": 1})
    http.post(f"{live.url}/api/tasks/stoppable/cancel", timeout=60).raise_for_status()

    assert put("stoppable", {"current": 2})[1]["task"]["cancel_requested"]


def test_a_shell_loop_drives_a_bar_to_its_end_before_a_watchers_eyes(live: Any) -> None:
    url = f"{live.url}/api/tasks/nightly"
    with Client(live.url, transports=["websocket"]) as watcher:
        watcher.ok("watch_tasks")
        shell = subprocess.Popen(
            ["/bin/sh", "-c", LOOP],
            env={"CURL": curl(), "URL": url, "PATH": "/usr/bin:/bin"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        watcher.wait(
            lambda: any(
                task["task_id"] == "nightly"
                for update in watcher.events("tasks_update")
                for task in update["tasks"]
            )
        )
        watcher.ok("watch_task", "nightly")
        output, _ = shell.communicate(timeout=60)
        assert shell.returncode == 0, output
        assert json.loads(output)["task"]["status"] == "completed"
        snapshot = watcher.ok("watch_task", "nightly")["task"]

    assert (snapshot["title"], snapshot["current"], snapshot["progress"]) == (
        "Nightly backup",
        20,
        100,
    )
    assert (snapshot["result"], snapshot["message"]) == ({"files": 20}, "file 20")
    percents = [u["progress"] for u in watcher.events("progress_update", "nightly")]
    assert percents == sorted(percents)
    assert get_json(f"{url}/log")["lines"] == ["all done"]


@pytest.mark.parametrize("mode", MODES)
def test_an_answered_end_is_there_after_a_sigkill(
    server: Start, mode: str, http: requests.Session
) -> None:
    running = server(mode=mode)
    chance = random.Random(5)  # noqa: S311
    for number in range(5):
        url = f"{running.url}/api/tasks/round{number}"
        for count in range(chance.randrange(3)):
            http.put(url, json={"current": count}, timeout=60).raise_for_status()
        end: Any = {"status": "completed", "current": 9, "log": "over"}
        http.put(url, json=end, timeout=60).raise_for_status()
        running.kill()
        running.start()

        task = get_json(url)
        assert (task["status"], task["current"]) == ("completed", 9)
        assert get_json(f"{url}/log")["lines"] == ["over"]


def test_putting_needs_the_token_where_there_is_one(server: Start, http: requests.Session) -> None:
    running = server("--token", "secret")
    url = f"{running.url}/api/tasks/a"

    assert http.put(url, json={}, timeout=60).status_code == 401
    right = {"Authorization": "Bearer secret"}
    assert http.put(url, json={}, headers=right, timeout=60).status_code == 201
    elsewhere = {**right, "Origin": "http://elsewhere.example"}
    assert http.put(url, json={}, headers=elsewhere, timeout=60).status_code == 403

"""Several servers on one Redis store: what one of them knows or is asked for, all of them do."""

from __future__ import annotations

import concurrent.futures
import os
import secrets
import signal
import time
from collections.abc import Callable
from typing import Any

import psutil
import pytest
import redis
import requests
from watchers import JOBS, TERMINAL, WAIT_S, Client, get_json

from socketprogress.stores.redis_place import parse_redis_url
from tests.conftest import RedisServer

LEASE_S = 2


@pytest.fixture
def store(lasting_redis: RedisServer) -> str:
    """The URL of a store of this test's own, with a short lease."""
    return f"{lasting_redis.url}?prefix={secrets.token_hex(8)}&lease_s={LEASE_S}"


@pytest.fixture
def pair(server: Callable[..., Any], store: str) -> tuple[Any, Any]:
    """Two servers on one store."""
    return server("--store", store, "--tasks", JOBS), server("--store", store, "--tasks", JOBS)


def snapshot(running: Any, task_id: str) -> Any:
    return get_json(f"{running.url}/api/tasks/{task_id}")


def until(condition: Callable[[], Any], what: str) -> Any:
    """Wait for something that servers come to by themselves."""
    deadline = time.monotonic() + WAIT_S
    while not (found := condition()):
        assert time.monotonic() < deadline, f"{what} did not come"
        time.sleep(0.05)
    return found


def status(running: Any, task_id: str) -> Any:
    return snapshot(running, task_id)["status"]


def agree(*servers: Any, task_id: str) -> Any:
    """Return a task's end once all servers show the same."""

    def same() -> Any:
        first, *others = (snapshot(one, task_id) for one in servers)
        return first if first["status"] in TERMINAL and all(o == first for o in others) else None

    return until(same, "the same end everywhere")


def test_what_runs_on_one_server_is_watched_on_another_to_the_same_end(
    pair: tuple[Any, Any],
) -> None:
    here, there = pair
    with Client(here.url) as starter, Client(there.url) as watcher:
        watcher.ok("watch_tasks")
        task_id = starter.ok("start_task", {"task": "count_apart"})["task_id"]
        watcher.ok("watch_task", task_id)
        end = watcher.ended(task_id)

        updates = watcher.events("progress_update", task_id)
        assert [u["seq"] for u in updates] == sorted({u["seq"] for u in updates})
        assert {u["epoch"] for u in updates} == {end["epoch"]}
        assert any(0 < (u["progress"] or 0) < 100 for u in updates)
        assert watcher.events("tasks_update")
    assert agree(here, there, task_id=task_id)["result"] == 50


def test_lines_are_shown_and_read_on_every_server(pair: tuple[Any, Any]) -> None:
    here, there = pair
    with Client(here.url) as starter, Client(there.url) as watcher:
        task_id = starter.ok("start_task", {"task": "stepped"})["task_id"]
        watcher.ok("watch_task", task_id)
        watcher.ended(task_id)

        def told() -> list[str]:
            return [line for one in watcher.events("task_log", task_id) for line in one["lines"]]

        # The first may have been before it was watched
        watcher.wait(lambda: told()[-1:] == ["in Pack"], "the last line")
        assert told() in (["in Scan", "in Pack"], ["in Pack"])
        assert watcher.ok("get_log", {"task_id": task_id})["lines"] == ["in Scan", "in Pack"]


def test_a_cancellation_reaches_the_server_that_runs_the_task(pair: tuple[Any, Any]) -> None:
    here, there = pair
    with Client(here.url) as starter, Client(there.url) as other:
        task_id = starter.ok("start_task", "hold")["task_id"]
        starter.wait_status(task_id, "in_progress")
        before = len(psutil.Process(here.pid).children(recursive=True))

        asked = other.ok("cancel_task", task_id)["task"]

        assert asked["cancel_requested"] is True
        assert agree(here, there, task_id=task_id)["status"] == "cancelled"
        until(
            lambda: len(psutil.Process(here.pid).children(recursive=True)) <= before,
            "the end of its process",
        )
        assert other.refused("cancel_task", task_id)["code"] == "task_ended"


def test_what_cannot_be_cancelled_is_refused_on_every_server(
    pair: tuple[Any, Any], tmp_path: Any
) -> None:
    here, there = pair
    with Client(here.url) as starter, Client(there.url) as other:
        gate = here.root / "gate"
        args = {"gate": str(gate)}
        task_id = starter.ok("start_task", {"task": "stubborn", "args": args})["task_id"]

        assert other.refused("cancel_task", task_id)["code"] == "not_cancellable"
        gate.touch()
        agree(here, there, task_id=task_id)


def test_a_reporter_at_one_server_is_seen_at_another_and_may_move_there(
    pair: tuple[Any, Any],
) -> None:
    here, there = pair
    with Client(here.url) as first, Client(there.url) as second:
        task_id = first.ok("open_task", {"name": "backup", "total": 10})["task_id"]
        first.ok("report", {"task_id": task_id, "current": 3, "reporter_seq": 1})
        until(lambda: snapshot(there, task_id)["current"] == 3, "the count on the other server")

        second.ok("report", {"task_id": task_id, "current": 6, "reporter_seq": 2})
        until(lambda: snapshot(here, task_id)["current"] == 6, "the count on the first server")
        second.ok("report", {"task_id": task_id, "current": 5, "reporter_seq": 1})
        assert snapshot(there, task_id)["current"] == 6

        first.ok("cancel_task", task_id)
        second.wait(lambda: second.events("cancel_requested", task_id), "the wish")
        last = {"task_id": task_id, "status": "cancelled", "reporter_seq": 3}
        second.ok("report", last)
    assert agree(here, there, task_id=task_id)["status"] == "cancelled"


def test_the_same_task_id_at_all_servers_at_once_is_one_task(pair: tuple[Any, Any]) -> None:
    wanted = {"task": "count_apart", "task_id": "the-one"}

    def start(running: Any) -> Any:
        return requests.post(f"{running.url}/api/tasks", json=wanted, timeout=WAIT_S).json()

    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(start, [*pair, *pair]))

    assert {answer["task_id"] for answer in answers} == {"the-one"}
    assert len({answer["task"]["epoch"] for answer in answers}) == 1
    agree(*pair, task_id="the-one")


def test_what_may_run_once_runs_once_on_all_servers_together(pair: tuple[Any, Any]) -> None:
    here, there = pair
    with Client(here.url) as first, Client(there.url) as second:
        task_id = first.ok("start_task", "single")["task_id"]

        answer = second.call("start_task", "single")
        assert (answer["error"]["code"], answer["running"]) == ("already_running", [task_id])

        first.ok("cancel_task", task_id)
        agree(here, there, task_id=task_id)
        again = second.ok("start_task", "single")["task_id"]
        second.ok("cancel_task", again)
        agree(here, there, task_id=again)


def test_uploads_to_what_may_run_once_are_one_on_all_servers(pair: tuple[Any, Any]) -> None:
    # When files for it come to both at once
    def upload(running: Any) -> Any:
        form = {"task": "single_file"}
        url = f"{running.url}/api/uploads"
        return requests.post(url, data=form, files={"file": b"x"}, timeout=WAIT_S)

    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        answers = list(pool.map(upload, pair))

    # Then one is taken, and the other is told which
    assert sorted(answer.status_code for answer in answers) == [201, 409]
    taken, refused = sorted(answers, key=lambda answer: answer.status_code)
    task_id = taken.json()["task_id"]
    assert refused.json()["error"]["code"] == "already_running"

    # And once that has ended, nothing stands in the way of the next
    for running in pair:
        path = running.root / "file.txt"
        path.write_text("x")
        start = {"task": "single_file", "args": {"path": "file.txt"}}
        again = requests.post(f"{running.url}/api/tasks", json=start, timeout=WAIT_S)
        assert (again.status_code, again.json()["running"]) == (409, [task_id])
    requests.post(f"{pair[0].url}/api/tasks/{task_id}/cancel", timeout=WAIT_S)
    agree(*pair, task_id=task_id)
    start["task_id"] = "the-next"
    assert requests.post(f"{pair[1].url}/api/tasks", json=start, timeout=WAIT_S).status_code == 201


def test_a_start_that_this_server_refuses_leaves_no_claim(
    pair: tuple[Any, Any], store: str, lasting_redis: RedisServer
) -> None:
    # Given a task that the servers know, while Redis has lost the list of those that run
    here, there = pair
    start = {"task": "single", "task_id": "ghost"}
    with Client(here.url) as first, redis.Redis.from_url(lasting_redis.url) as keys:
        held = first.ok("start_task", "single")["task_id"]
        until(lambda: status(there, held) == "in_progress", "the task on the other server")
        assert keys.delete(parse_redis_url(store).key("running:single")) == 1

        # When another is started, and refused
        answer = requests.post(f"{here.url}/api/tasks", json=start, timeout=WAIT_S)
        assert (answer.status_code, answer.json()["running"]) == (409, [held])
        first.ok("cancel_task", held)
        agree(here, there, task_id=held)

    # Then it may be started at once when there is room
    answer = requests.post(f"{there.url}/api/tasks", json=start, timeout=WAIT_S)
    assert (answer.status_code, answer.json()["task"]["task_id"]) == (201, "ghost")


def test_a_retry_runs_where_it_is_asked_for(pair: tuple[Any, Any]) -> None:
    here, there = pair
    with Client(here.url) as first, Client(there.url) as second:
        task_id = first.run("instant")["task_id"]
        agree(here, there, task_id=task_id)

        again = second.ok("retry_task", task_id)["task_id"]
        end = agree(here, there, task_id=again)

    assert end["status"] == "completed"
    assert end["epoch"] != snapshot(here, task_id)["epoch"]


def test_a_killed_servers_tasks_end_on_the_others_and_its_reporters_go_on_there(
    pair: tuple[Any, Any],
) -> None:
    here, there = pair
    with Client(here.url) as first, Client(there.url) as second:
        ran = first.ok("start_task", "hold")["task_id"]
        opened = first.ok("open_task", {"name": "backup", "total": 10})["task_id"]
        first.ok("report", {"task_id": opened, "current": 4, "reporter_seq": 1})
        until(lambda: snapshot(there, opened)["current"] == 4, "the count on the other server")
        second.ok("watch_task", ran)

        here.kill()
        end = second.ended(ran)

        assert (end["status"], end["error"]["code"]) == ("failed", "worker_lost")
        second.ok("report", {"task_id": opened, "current": 5, "reporter_seq": 2})
        assert snapshot(there, opened)["current"] == 5
    here.start()
    assert status(here, ran) == "failed"
    assert snapshot(here, opened)["current"] == 5


def test_a_frozen_server_that_comes_back_stops_what_it_ran(pair: tuple[Any, Any]) -> None:
    here, there = pair
    with Client(here.url) as first, Client(there.url) as second:
        task_id = first.ok("start_task", "hold")["task_id"]
        first.wait_status(task_id, "in_progress")
        second.ok("watch_task", task_id)
        workers = psutil.Process(here.pid).children(recursive=True)

        os.kill(here.pid, signal.SIGSTOP)
        try:
            assert second.ended(task_id)["status"] == "failed"
        finally:
            os.kill(here.pid, signal.SIGCONT)

        assert agree(here, there, task_id=task_id)["error"]["code"] == "worker_lost"
        until(lambda: not _at_work(workers), "the end of the work")


def _at_work(workers: list[psutil.Process]) -> list[psutil.Process]:
    return [
        one
        for one in workers
        if one.is_running() and one.status() != psutil.STATUS_ZOMBIE and one.children()
    ]


def test_a_stopped_servers_tasks_are_cancelled_everywhere(pair: tuple[Any, Any]) -> None:
    here, there = pair
    with Client(there.url) as second, Client(here.url) as first:
        task_id = first.ok("start_task", "hold")["task_id"]
        second.ok("watch_task", task_id)

        here.stop()
        end = second.ended(task_id)

    assert (end["status"], end["error"]["code"]) == ("cancelled", "shutdown")


def test_a_polling_session_of_another_server_is_refused_with_the_remedy(
    pair: tuple[Any, Any],
) -> None:
    here, there = pair
    polling = "/socket.io/?EIO=4&transport=polling"
    opened = requests.get(f"{here.url}{polling}", timeout=WAIT_S)
    sid = opened.text.partition('"sid":"')[2].partition('"')[0]

    answer = requests.get(f"{there.url}{polling}&sid={sid}", timeout=WAIT_S)

    assert answer.status_code == 400
    assert "sticky sessions" in answer.json()["error"]["message"]
    assert "WebSocket" in answer.json()["error"]["message"]


def test_a_form_of_one_server_is_taken_by_another(pair: tuple[Any, Any]) -> None:
    here, there = pair
    with requests.Session() as browser:
        page = browser.get(f"{here.url}/", timeout=WAIT_S).text
        token = page.partition('name="csrf_token" value="')[2].partition('"')[0]

        sent = browser.post(
            f"{there.url}/start/instant", data={"csrf_token": token}, timeout=WAIT_S
        )

    assert sent.status_code == 200, sent.text
    assert "/tasks/" in sent.url

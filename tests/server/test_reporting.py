"""Work that runs elsewhere, as its reporters tell of it over Socket.IO."""

from __future__ import annotations

import json
import math
import random
import signal
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from swarm import Swarm
from watchers import JOBS, Client, get_json

Start = Callable[..., Any]
MODES = ["eventlet", "threading"]


@pytest.fixture(scope="module", params=MODES)
def live(request: pytest.FixtureRequest, lasting_server: Start) -> Iterator[Any]:
    """A server that must be as well after all tests as before them."""
    running = lasting_server("--workers", "1", "--tasks", JOBS, mode=request.param)
    yield running
    assert get_json(f"{running.url}/healthz")["status"] == "ok"
    assert running.stop(signal.SIGTERM) == 0
    assert "Traceback" not in running.stderr


@pytest.fixture(scope="module")
def client(live: Any) -> Iterator[Client]:
    with Client(live.url, transports=["websocket"]) as connected:
        yield connected


def opened(client: Client, **fields: Any) -> str:
    return str(client.ok("open_task", {"name": "work", **fields})["task_id"])


def task_of(client: Client, task_id: str) -> dict[str, Any]:
    return dict(client.ok("watch_task", task_id)["task"])


def errors_of(ack: dict[str, Any]) -> list[tuple[str | None, str, str | None]]:
    return [(e["task_id"], e["error"]["code"], e["error"].get("field")) for e in ack["errors"]]


@contextmanager
def locked(server: Any) -> Iterator[Callable[[], None]]:
    """Hold the server's database as another process may; yield what lets it go."""
    (path,) = server.data.glob("*.sqlite*[!lm]")
    holder = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    holder.execute("BEGIN IMMEDIATE")

    def release() -> None:
        if holder.in_transaction:
            holder.execute("ROLLBACK")

    yield release
    release()
    holder.close()


def wait_degraded(server: Any) -> dict[str, Any]:
    for _ in range(600):
        health = dict(get_json(f"{server.url}/healthz"))
        if health["status"] == "degraded":
            return health
        threading.Event().wait(0.02)
    pytest.fail("the server does not say that its store refuses")


# -- open_task -----------------------------------------------------------------------------------


def test_a_task_is_opened_with_every_field(client: Client) -> None:
    parent = opened(client)
    ack = client.ok(
        "open_task",
        {
            "name": "train\nmodel",
            "title": "Train \x1b[31mred",
            "task_id": f"every-{parent}"[:64],
            "total": 2.5,
            "unit": "rows",
            "steps": ["Load", {"name": "Fit", "weight": 3}],
            "cancellable": False,
            "host": "gpu1",
            "pid": 42,
            "parent_id": parent,
            "tags": ["a", "b"],
            "lease_s": 5,
            "leave": False,
        },
    )

    task = ack["task"]
    assert ack["task_id"] == task["task_id"] == f"every-{parent}"[:64]
    assert (task["name"], task["title"]) == ("train model", "Train  [31mred")
    assert (task["status"], task["progress"], task["source"]) == ("in_progress", 0, "report")
    assert (task["total"], task["unit"], task["lease_s"]) == (2.5, "rows", 5)
    assert (task["host"], task["pid"], task["parent_id"]) == ("gpu1", 42, parent)
    assert (task["tags"], task["cancellable"]) == (["a", "b"], False)
    assert [(s["name"], s["weight"]) for s in task["steps"]] == [("Load", 1), ("Fit", 3)]
    assert task["started_at"] is not None


def test_a_name_alone_opens_a_task_that_is_indeterminate(client: Client) -> None:
    task = client.ok("open_task", "backup")["task"]

    assert (task["name"], task["title"], task["progress"]) == ("backup", "backup", None)
    assert task["lease_s"] == 30


def test_what_waits_for_its_worker_is_queued_until_that_opens_it(client: Client) -> None:
    task_id = opened(client, queued=True, source="celery")
    task = task_of(client, task_id)
    assert (task["status"], task["source"], task["started_at"]) == ("queued", "celery", None)
    assert opened(client, task_id=task_id, source="celery") == task_id
    assert task_of(client, task_id)["status"] == "in_progress"
    opened(client, task_id=task_id, queued=True)
    assert task_of(client, task_id)["status"] == "in_progress"


def test_a_report_begins_what_is_queued(client: Client) -> None:
    task_id = opened(client, queued=True)
    client.ok("report", {"task_id": task_id, "current": 1})
    assert task_of(client, task_id)["status"] == "in_progress"


def test_steps_may_be_an_object_of_weights(client: Client) -> None:
    task_id = opened(client, steps={"Scan": 1, "Pack": 3})
    client.ok("report", {"task_id": task_id, "step": "Pack", "total": 4, "current": 2})

    task = task_of(client, task_id)
    assert [s["status"] for s in task["steps"]] == ["completed", "in_progress"]
    assert task["progress"] == 62.5


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"name": ""}, "name"),
        ({"name": "\n"}, "name"),
        ({"name": "x" * 201}, "name"),
        ({"name": 5}, "name"),
        ({"title": "x" * 501}, "title"),
        ({"task_id": "a b"}, "task_id"),
        ({"task_id": ""}, "task_id"),
        ({"task_id": "x" * 65}, "task_id"),
        ({"total": -1}, "total"),
        ({"total": "10"}, "total"),
        ({"total": True}, "total"),
        ({"total": math.nan}, "total"),
        ({"total": math.inf}, "total"),
        ({"total": 2**70}, "total"),
        ({"unit": "x" * 51}, "unit"),
        ({"steps": "Scan"}, "steps"),
        ({"steps": ["Scan", "Scan"]}, "steps"),
        ({"steps": ["Scan", " Scan "]}, "steps"),
        ({"steps": [" "]}, "steps"),
        ({"steps": [7]}, "steps"),
        ({"steps": [{"name": "Scan", "weigth": 2}]}, "steps"),
        ({"steps": [{"name": "Scan", "weight": "2"}]}, "steps"),
        ({"steps": {"Scan": 0}}, "steps"),
        ({"steps": {"Scan": -1}}, "steps"),
        ({"steps": {"Scan": 1e10}}, "steps"),
        ({"steps": {"Scan": None}}, "steps"),
        ({"steps": [f"s{i}" for i in range(201)]}, "steps"),
        ({"cancellable": 1}, "cancellable"),
        ({"host": ["gpu1"]}, "host"),
        ({"pid": -1}, "pid"),
        ({"pid": 1.5}, "pid"),
        ({"parent_id": "../up"}, "parent_id"),
        ({"parent_id": "me", "task_id": "me"}, "parent_id"),
        ({"tags": "a"}, "tags"),
        ({"tags": ["t"] * 101}, "tags"),
        ({"lease_s": 0}, "lease_s"),
        ({"lease_s": -5}, "lease_s"),
        ({"lease_s": 1e9}, "lease_s"),
        ({"abandon_s": 0}, "abandon_s"),
        ({"args": ["a"]}, "args"),
        ({"leave": "no"}, "leave"),
        ({"colour": "red"}, "colour"),
    ],
)
def test_a_bad_value_of_a_new_task_is_named(
    client: Client, fields: dict[str, Any], field: str
) -> None:
    error = client.refused("open_task", {"name": "work", **fields})

    assert (error["code"], error["field"]) == ("invalid_payload", field)


@pytest.mark.parametrize("payload", [None, 5, [], ["work"], {}, True])
def test_what_is_no_task_is_refused(client: Client, payload: Any) -> None:
    assert client.refused("open_task", payload)["code"] == "invalid_payload"


@pytest.mark.parametrize("mode", MODES)
def test_the_same_id_again_is_the_same_task_also_after_its_end_and_a_restart(
    server: Start, mode: str
) -> None:
    running = server(mode=mode)
    with Client(running.url) as client:
        first = client.ok("open_task", {"name": "one", "task_id": "key", "total": 10})
        client.ok("report", {"task_id": "key", "current": 5, "reporter_seq": 9})
        again = client.ok("open_task", {"name": "two", "task_id": "key", "total": 99})
        assert (first["reporter_seq"], again["reporter_seq"]) == (0, 9)
        assert (again["task"]["name"], again["task"]["current"]) == ("one", 5)

        client.ok("report", {"task_id": "key", "status": "completed", "reporter_seq": 10})
        ended = client.ok("open_task", {"name": "one", "task_id": "key"})
        assert (ended["task"]["status"], ended["reporter_seq"]) == ("completed", 10)

    running.kill()
    running.start()
    with Client(running.url) as client:
        after = client.ok("open_task", {"name": "one", "task_id": "key"})
        assert (after["task"]["status"], after["reporter_seq"]) == ("completed", 10)
        assert client.ok("list_tasks")["counts"]["completed"] == 1


def test_nobody_reports_on_what_the_server_runs_itself(client: Client) -> None:
    task_id = client.ok("start_task", "hold")["task_id"]

    assert client.refused("open_task", {"name": "x", "task_id": task_id})["code"] == "forbidden"
    assert client.refused("report", {"task_id": task_id, "current": 1})["code"] == "forbidden"
    ack = client.ok("report", [{"task_id": task_id, "status": "completed"}])
    assert errors_of(ack) == [(task_id, "forbidden", None)]
    client.ok("cancel_task", task_id)


def test_what_ran_elsewhere_is_not_started_here_again(client: Client) -> None:
    task_id = opened(client, name="checksum")
    client.ok("report", {"task_id": task_id, "status": "failed"})

    assert client.refused("retry_task", task_id)["code"] == "unknown_definition"


# -- report --------------------------------------------------------------------------------------


def test_reports_change_what_stands_in_them(client: Client) -> None:
    task_id = opened(client, total=10)
    for report in (
        {"current": 3},
        {"advance": 1.5},
        {"message": "two\nlines"},
        {"total": 20, "unit": "rows", "title": "New"},
        {"advance": -0.5},
        {},
    ):
        client.ok("report", {"task_id": task_id, **report})

    task = task_of(client, task_id)
    assert (task["current"], task["total"], task["unit"]) == (4, 20, "rows")
    assert (task["message"], task["title"]) == ("two lines", "New")
    assert task["progress"] == 45


def test_a_reset_alone_lets_the_percent_go_back(client: Client) -> None:
    task_id = opened(client, total=10)
    client.ok("report", {"task_id": task_id, "current": 8})
    client.ok("report", {"task_id": task_id, "current": 2})
    assert task_of(client, task_id)["progress"] == 80
    client.ok("report", {"task_id": task_id, "reset": True})

    task = task_of(client, task_id)
    assert (task["progress"], task["current"], task["total"]) == (0, 0, 10)


def test_the_latest_of_many_reports_at_once_wins(client: Client) -> None:
    task_id = opened(client, total=1000, task_id="l1")
    client.ok("watch_task", task_id)

    reports = [{"task_id": task_id, "current": i + 1, "reporter_seq": i} for i in range(1000)]
    ack = client.ok("report", reports)

    assert (ack["cancel"], ack["errors"]) == ([], [])
    assert task_of(client, task_id)["current"] == 1000
    assert client.refused("report", [*reports, reports[0]])["code"] == "invalid_payload"
    client.ok("report", {"task_id": task_id, "status": "completed"})
    assert client.ended(task_id)["current"] == 1000


def test_each_report_of_a_list_stands_alone(client: Client) -> None:
    good, ended = opened(client, total=10), opened(client)
    client.ok("report", {"task_id": ended, "status": "cancelled", "reporter_seq": 1})

    ack = client.ok(
        "report",
        [
            {"task_id": good, "current": 1},
            {"task_id": "nobody", "current": 1},
            {"task_id": good, "current": math.nan},
            {"task_id": "a b"},
            {"task_id": good, "step": "None such"},
            {"task_id": ended, "current": 1},
            {"task_id": ended, "status": "cancelled", "reporter_seq": 1},
            7,
            None,
            {"current": 1},
            {"task_id": good, "advance": 1},
        ],
    )

    assert task_of(client, good)["current"] == 2
    assert sorted(errors_of(ack), key=str) == sorted(
        [
            ("nobody", "unknown_task", "task_id"),
            (good, "invalid_payload", "current"),
            ("a b", "invalid_payload", "task_id"),
            (good, "invalid_payload", "step"),
            (ended, "task_ended", None),
            (None, "invalid_payload", None),
            (None, "invalid_payload", None),
            (None, "invalid_payload", "task_id"),
        ],
        key=str,
    )


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"task_id": "../up"}, "task_id"),
        ({"current": "1"}, "current"),
        ({"current": math.nan}, "current"),
        ({"current": True}, "current"),
        ({"advance": math.inf}, "advance"),
        ({"advance": [1]}, "advance"),
        ({"total": -1}, "total"),
        ({"message": 5}, "message"),
        ({"step": "None such"}, "step"),
        ({"step": 1}, "step"),
        ({"status": "lost"}, "status"),
        ({"status": "queued"}, "status"),
        ({"status": "done"}, "status"),
        ({"status": ["completed"]}, "status"),
        ({"status": "failed", "error": 5}, "error"),
        ({"status": "failed", "error": {"code": "oops"}}, "error.code"),
        ({"status": "failed", "error": {"code": ["exception"]}}, "error.code"),
        ({"status": "failed", "error": {"message": 5}}, "error.message"),
        ({"status": "failed", "error": {"trace": "…"}}, "error"),
        ({"status": "completed", "error": "but"}, "error"),
        ({"error": "without a status"}, "error"),
        ({"result": 5}, "result"),
        ({"status": "in_progress", "result": 5}, "result"),
        ({"log": 5}, "log"),
        ({"log": ["a", 5]}, "log"),
        ({"log": ["x"] * 1001}, "log"),
        ({"log": "x\n" * 1001}, "log"),
        ({"reset": 1}, "reset"),
        ({"reporter_seq": -1}, "reporter_seq"),
        ({"reporter_seq": 1.5}, "reporter_seq"),
        ({"reporter_seq": 2**70}, "reporter_seq"),
        ({"percent": 5}, "percent"),
    ],
)
def test_a_bad_value_of_a_report_is_named_and_changes_nothing(
    client: Client, fields: dict[str, Any], field: str
) -> None:
    task_id = opened(client, steps=["Scan"])
    before = task_of(client, task_id)

    error = client.refused("report", {"task_id": task_id, **fields})

    assert (error["code"], error["field"]) == ("invalid_payload", field)
    assert task_of(client, task_id) == before


def test_log_lines_are_kept_as_text_line_by_line(client: Client) -> None:
    task_id = opened(client)
    client.ok("watch_task", task_id)
    client.ok("report", {"task_id": task_id, "log": "one\ntwo\r\n"})
    client.ok("report", {"task_id": task_id, "log": ["\x1b[1;31mred\x1b[0m\tü \x00\x07", ""]})
    client.ok("report", {"task_id": task_id, "log": ["\x1b]0;title\x07x\ny"]})
    client.ok("report", {"task_id": task_id, "log": [f"line {i}" for i in range(1000)]})

    page = client.ok("get_log", {"task_id": task_id, "limit": 1000})
    assert page["lines"][:6] == ["one", "two", "red\tü ", "", "x", "y"]
    last = client.ok("get_log", {"task_id": task_id, "offset": -1})
    assert (last["lines"], last["next_offset"]) == (["line 999"], 1006)


def nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


def test_a_payload_of_64_kib_is_taken_and_one_byte_more_is_not(client: Client) -> None:
    report = {"task_id": opened(client), "log": ["x" * 1_000] * 65}
    report["log"][-1] = "x" * (65_536 - len(json.dumps(report, separators=(",", ":"))) + 1_000)

    client.ok("report", report)
    report["log"][-1] += "x"
    assert client.refused("report", report)["code"] == "too_large"


def test_a_task_whose_title_is_taken_away_is_called_by_its_name(client: Client) -> None:
    task_id = opened(client, name="backup", title="Backup of photos")

    client.ok("report", {"task_id": task_id, "title": ""})

    assert task_of(client, task_id)["title"] == "backup"


def test_a_result_is_any_json_within_the_limits(client: Client) -> None:
    task_id = opened(client, total=4)
    client.ok("watch_task", task_id)
    end = {"task_id": task_id, "status": "completed"}

    assert client.refused("report", {**end, "result": nested(40)})["field"] == "result"
    assert client.refused("report", {**end, "result": "x" * 70_000})["code"] == "too_large"
    assert task_of(client, task_id)["status"] == "in_progress"
    client.ok("report", {**end, "result": {"rows": [1, None, "ü"], "deep": nested(20)}})

    ended = client.ended(task_id)
    assert ended["result"] == {"rows": [1, None, "ü"], "deep": nested(20)}
    assert (ended["progress"], ended["current"]) == (100, 0)


@pytest.mark.parametrize(
    ("end", "code", "message"),
    [
        ({"status": "failed", "error": "a\nb"}, "exception", "a b"),
        ({"status": "failed", "error": {"code": "timeout"}}, "timeout", ""),
        ({"status": "failed", "error": {"message": "m" * 900}}, "exception", "m" * 500),
        ({"status": "failed"}, "exception", "failed"),
        ({"status": "failed", "message": "no\nspace"}, "exception", "no space"),
        (
            {"status": "cancelled", "error": {"code": "interrupted", "message": "Ctrl-C"}},
            "interrupted",
            "Ctrl-C",
        ),
    ],
)
def test_an_end_says_why(client: Client, end: dict[str, Any], code: str, message: str) -> None:
    task_id = opened(client)
    client.ok("report", {"task_id": task_id, **end})

    task = task_of(client, task_id)
    assert task["status"] == end["status"]
    assert task["error"] == {"code": code, "message": message}


def test_a_report_that_is_not_newer_is_acked_and_changes_nothing(client: Client) -> None:
    task_id = opened(client, total=100)
    report = {"task_id": task_id, "advance": 5, "log": ["line"], "reporter_seq": 4}
    for number in (4, 4, 3, 0):
        client.ok("report", {**report, "reporter_seq": number})
    client.ok("report", [{**report, "reporter_seq": 5}] * 3)
    assert task_of(client, task_id)["current"] == 10
    assert client.ok("get_log", task_id)["lines"] == ["line", "line"]

    end = {"task_id": task_id, "status": "completed", "reporter_seq": 6}
    for _ in range(3):
        assert client.ok("report", end)["errors"] == []
    assert client.refused("report", {**end, "reporter_seq": 7})["code"] == "task_ended"
    assert client.refused("report", {**report, "reporter_seq": 8})["code"] == "task_ended"


# -- what survives -------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", MODES)
def test_numbers_outlive_the_server_and_nothing_counts_twice(server: Start, mode: str) -> None:
    running = server(mode=mode)
    chance = random.Random(7)  # noqa: S311
    sent = 0
    with Client(running.url, transports=["websocket"]) as client:
        opened(client, task_id="a", total=1000)
    running.restart()
    for _ in range(4):
        # Given: some reports, the last ones of which may or may not be stored.
        report = {}
        with Client(running.url) as client:
            for _ in range(chance.randrange(1, 5)):
                sent += 1
                report = {
                    "task_id": "a",
                    "advance": 1,
                    "log": [f"line {sent}"],
                    "reporter_seq": sent,
                }
                client.ok("report", report)
            threading.Event().wait(chance.choice([0, 0.05, 0.3]))
            running.kill()
        running.start()

        # When: the last one comes again.
        with Client(running.url, transports=["websocket"]) as client:
            client.ok("report", report)
            task = task_of(client, "a")
            log = client.ok("get_log", {"task_id": "a", "limit": 1000})["lines"]

        # Then: whatever was stored was stored whole, and nothing twice.
        assert log[-1] == f"line {sent}"
        assert len(log) == len(set(log)) == task["current"] <= sent


@pytest.mark.parametrize("mode", MODES)
def test_an_acked_end_is_there_after_a_sigkill(server: Start, mode: str) -> None:
    running = server(mode=mode)
    chance = random.Random(11)  # noqa: S311
    for number in range(8):
        task_id = f"round{number}"
        with Client(running.url, transports=["websocket"]) as client:
            client.ok("open_task", {"name": "work", "task_id": task_id, "total": 100})
            for seq in range(chance.randrange(4)):
                client.ok("report", {"task_id": task_id, "current": seq, "reporter_seq": seq})
            client.ok(
                "report",
                {
                    "task_id": task_id,
                    "current": 42,
                    "status": chance.choice(["completed", "failed", "cancelled"]),
                    "log": ["the last line"],
                    "reporter_seq": 9,
                },
            )
            running.kill()
        running.start()
        task = get_json(f"{running.url}/api/tasks/{task_id}")
        assert (task["status"] in {"completed", "failed", "cancelled"}, task["current"]) == (
            True,
            42,
        )
        log = get_json(f"{running.url}/api/tasks/{task_id}/log")
        assert log["lines"] == ["the last line"]


@pytest.mark.parametrize("mode", MODES)
def test_while_the_database_is_locked_an_end_waits_and_nobody_else_does(
    server: Start, mode: str
) -> None:
    running = server(mode=mode)
    swarm = Swarm(running.url, 2)
    reporter, other = swarm.watchers
    swarm.call(reporter, "open_task", {"name": "work", "task_id": "a", "total": 10})
    swarm.call(other, "open_task", {"name": "work", "task_id": "b", "total": 10})
    swarm.call(other, "watch_task", "b")
    with locked(running) as release:
        # When: a task ends while another process holds the database.
        end = swarm.ask(reporter, "report", {"task_id": "a", "status": "completed"})
        assert "lock" in wait_degraded(running)["reasons"][0]

        # Then: others report and watch, and the end is neither shown nor acked.
        assert swarm.call(other, "report", {"task_id": "b", "current": 5})["ok"]
        assert swarm.run(lambda: any(name == "progress_update" for _, name, _ in other.events), 30)
        assert swarm.call(other, "watch_task", "a")["task"]["status"] == "in_progress"
        assert end not in reporter.acks
        release()

        # And: it is as soon as the database is free again.
        assert swarm.run(lambda: end in reporter.acks, 30)
        assert reporter.acks[end]["ok"]
        assert swarm.call(other, "watch_task", "a")["task"]["status"] == "completed"
    swarm.close()


@pytest.mark.parametrize("mode", MODES)
def test_an_end_that_is_not_stored_in_time_is_unavailable_and_said_again(
    server: Start, mode: str
) -> None:
    running = server(mode=mode)
    with Client(running.url) as client:
        ids = [opened(client, task_id=f"t{i}") for i in range(20)]
        ends = [{"task_id": i, "status": "completed", "reporter_seq": 5} for i in ids]
        with locked(running):
            error = client.refused("report", ends[0])
            assert error["code"] == "unavailable"
            assert {code for _, code, _ in errors_of(client.ok("report", ends))} == {"unavailable"}
        while errors_of(client.ok("report", ends)):
            continue

        assert client.ok("list_tasks")["counts"]["completed"] == 20


# -- leases and cancellation ---------------------------------------------------------------------


def test_silence_is_lost_and_a_report_brings_the_task_back(client: Client) -> None:
    task_id = opened(client, lease_s=1, total=10)
    client.ok("watch_task", task_id)
    client.wait_status(task_id, "lost")

    client.ok("report", {"task_id": task_id, "current": 5})
    client.wait(lambda: client.events("progress_update", task_id)[-1]["current"] == 5)
    back = client.events("progress_update", task_id)[-1]
    assert (back["status"], back["progress"]) == ("in_progress", 50)

    client.ok("report", {"task_id": task_id, "status": "completed"})
    ended = client.ended(task_id)
    assert ended["elapsed_s"] <= ended["finished_at"] - ended["started_at"]


def test_a_sign_of_life_keeps_a_task_that_another_is_lost_beside(client: Client) -> None:
    silent, alive = opened(client, lease_s=1), opened(client, lease_s=1)
    client.ok("watch_task", silent)
    seen: list[str] = []

    def beat() -> bool:
        client.ok("report", {"task_id": alive, "reporter_seq": 1})
        seen.append(task_of(client, alive)["status"])
        updates = client.events("progress_update", silent)
        return any(update["status"] == "lost" for update in updates)

    while not beat():
        threading.Event().wait(0.1)
    assert set(seen) == {"in_progress"}


@pytest.mark.parametrize("mode", MODES)
def test_a_lease_starts_anew_with_the_server(server: Start, mode: str) -> None:
    running = server(mode=mode)
    with Client(running.url) as client:
        opened(client, task_id="short", lease_s=1)
        opened(client, task_id="long", lease_s=60)
    running.restart()
    with Client(running.url) as client:
        client.ok("report", {"task_id": "short"})
        client.ok("watch_task", "short")
        assert client.ok("watch_task", "long")["task"]["status"] == "in_progress"
        client.wait_status("short", "lost")
        client.ok("report", {"task_id": "short", "status": "completed"})
        assert client.ended("short")["status"] == "completed"


def test_the_reporter_hears_of_a_cancellation_at_once_and_with_its_next_report(
    client: Client, live: Any
) -> None:
    task_id = opened(client, task_id=None)
    with Client(live.url, transports=["websocket"]) as other:
        assert other.ok("cancel_task", task_id)["task"]["cancel_requested"]
        client.wait(lambda: client.events("cancel_requested", task_id))

        assert client.ok("report", {"task_id": task_id, "advance": 1})["cancel"] == [task_id]
        assert client.ok("report", [{"task_id": task_id}])["cancel"] == [task_id]
        end = {"task_id": task_id, "status": "cancelled"}
        assert client.ok("report", end)["cancel"] == []
        assert other.events("cancel_requested") == []


def test_whoever_spoke_last_hears_of_a_cancellation(client: Client, live: Any) -> None:
    task_id = opened(client)
    with Client(live.url, transports=["websocket"]) as second:
        second.ok("report", {"task_id": task_id, "current": 1})
        client.ok("report", {"task_id": task_id, "current": 2})
    with Client(live.url, transports=["websocket"]) as third:
        # The second one has gone, the first one still speaks.
        third.ok("cancel_task", task_id)
        client.wait(lambda: client.events("cancel_requested", task_id))


def test_a_reporter_that_has_reconnected_hears_of_a_cancellation(client: Client, live: Any) -> None:
    with Client(live.url) as first:
        task_id = opened(first)
    with Client(live.url) as again:
        again.ok("report", {"task_id": task_id, "current": 1})
        client.ok("cancel_task", task_id)
        again.wait(lambda: again.events("cancel_requested", task_id))


def test_a_reporter_that_was_away_learns_of_a_cancellation_on_its_return(client: Client) -> None:
    task_id = opened(client, lease_s=1)
    client.ok("watch_task", task_id)
    client.wait_status(task_id, "lost")

    assert client.ok("cancel_task", task_id)["task"]["status"] == "lost"
    task = client.ok("open_task", {"name": "work", "task_id": task_id})["task"]
    assert task["cancel_requested"]
    assert client.ok("report", {"task_id": task_id, "current": 1})["cancel"] == [task_id]
    client.ok("report", {"task_id": task_id, "status": "cancelled"})
    assert client.ended(task_id)["status"] == "cancelled"


def test_what_its_reporter_calls_not_cancellable_is_not(client: Client) -> None:
    task_id = opened(client, cancellable=False)

    assert client.refused("cancel_task", task_id)["code"] == "not_cancellable"
    assert client.ok("report", {"task_id": task_id})["cancel"] == []

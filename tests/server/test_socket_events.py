"""The events of the Socket.IO face, driven by real clients in every async mode."""

from __future__ import annotations

import json
import math
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from swarm import Swarm
from watchers import JOBS, TERMINAL, WAIT_S, Client, Poll, Refusal, get_json

Start = Callable[..., Any]

EVENTS = (
    "start_task",
    "watch_task",
    "unwatch_task",
    "watch_tasks",
    "unwatch_tasks",
    "list_tasks",
    "list_definitions",
    "cancel_task",
    "retry_task",
    "get_log",
    "open_task",
    "report",
)
ABOUT_A_TASK = ("watch_task", "unwatch_task", "cancel_task", "retry_task", "get_log")
UPDATE = {
    "task_id", "progress", "status", "seq", "epoch", "current", "total", "message", "steps", "rate",
    "eta_s", "elapsed_s", "updated_at", "cancel_requested",
}  # fmt: skip
AT_THE_END = {"result", "error", "files", "finished_at"}
SUMMARY = {
    "task_id", "name", "title", "status", "progress", "current", "total", "unit", "message", "rate",
    "eta_s", "elapsed_s", "created_at", "started_at", "updated_at", "finished_at", "cancellable",
    "cancel_requested", "error", "source", "host", "parent_id", "tags", "epoch", "seq",
}  # fmt: skip
SNAPSHOT = SUMMARY | {"steps", "result", "files"}


def nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


@pytest.fixture(scope="module", params=["eventlet", "threading"])
def live(request: pytest.FixtureRequest, lasting_server: Start) -> Iterator[Any]:
    """A server that must be as well after all tests as before them."""
    running = lasting_server(
        "--tasks", JOBS, "--default-task", "count", "--workers", "3", mode=request.param
    )
    yield running
    assert get_json(f"{running.url}/healthz")["status"] == "ok"
    assert running.stop(signal.SIGTERM) == 0
    assert "Traceback" not in running.stderr
    assert "by force" not in running.stderr


@pytest.fixture
def client(live: Any) -> Iterator[Client]:
    with Client(live.url, transports=["websocket"]) as connected:
        yield connected


@pytest.fixture
def swarm(live: Any) -> Iterator[Swarm]:
    connected = Swarm(live.url, 1)
    yield connected
    connected.close()


# -- a page that knows three keys ----------------------------------------------------------------


@pytest.mark.parametrize("transports", [["websocket"], ["polling"], None])
def test_a_page_that_knows_three_keys_works_unchanged(
    live: Any, transports: list[str] | None
) -> None:
    with Client(live.url, transports=transports) as page:
        page.emit("start_task")
        (started,) = page.wait(lambda: page.events("task_started"))
        end = page.ended(started["task_id"])
        updates = page.events("progress_update", started["task_id"])

        assert page.transport == ("polling" if transports == ["polling"] else "websocket")
        assert {u["status"] for u in updates} <= {"queued", "in_progress", "completed"}
        assert end["status"] == "completed"
        assert end["progress"] == 100
        assert any(0 < u["progress"] < 100 for u in updates if u["progress"] is not None)
        assert not page.events("task_error")


@pytest.mark.parametrize("transport", ["websocket", "polling"])
@pytest.mark.parametrize("task", ["instant", "instant_thread"])
def test_a_page_sees_the_end_of_a_task_that_is_over_in_an_instant(
    live: Any, task: str, transport: str
) -> None:
    with Client(live.url, transports=[transport]) as page:
        for _ in range(8):
            page.emit("start_task", task)
        started = page.wait(lambda: len(page.events("task_started")) == 8) and page.events(
            "task_started"
        )
        for one in started:
            end = page.ended(one["task_id"])
            assert (end["status"], end["progress"], end["result"]) == ("completed", 100, 42)


def test_every_update_and_snapshot_has_all_its_fields(client: Client) -> None:
    ack = client.ok("start_task", {"task": "stepped", "title": "Both", "tags": ["a", "b"]})
    end = client.ended(ack["task_id"])
    snapshot = client.ok("watch_task", ack["task_id"])["task"]

    assert set(ack["task"]) >= SNAPSHOT
    assert set(snapshot) >= SNAPSHOT
    assert (snapshot["title"], snapshot["tags"]) == ("Both", ["a", "b"])
    assert (snapshot["source"], snapshot["name"]) == ("server", "stepped")
    for update in client.events("progress_update", ack["task_id"]):
        assert set(update) >= UPDATE
        if update["status"] in TERMINAL:
            assert set(update) >= UPDATE | AT_THE_END
    assert [(s["name"], s["status"], s["progress"]) for s in end["steps"]] == [
        ("Scan", "completed", 100),
        ("Pack", "completed", 100),
    ]
    assert all(
        set(s) == {"name", "status", "progress", "weight", "elapsed_s"} for s in end["steps"]
    )
    assert end["result"] == {"steps": 2}
    assert [(f["name"], f["size_bytes"]) for f in end["files"]] == [("made.txt", 4)]
    times = [snapshot[f"{name}_at"] for name in ("created", "started", "finished")]
    assert times == sorted(times)
    assert {k: snapshot[k] for k in end} == end


def test_definitions_are_listed_with_a_schema(client: Client) -> None:
    definitions = {d["name"]: d for d in client.ok("list_definitions")["definitions"]}

    assert {"checksum", "archive", "csv_import", "count", "shaped"} <= set(definitions)
    assert all(
        {"name", "title", "description", "schema"} <= set(d) and d["schema"]["type"] == "object"
        for d in definitions.values()
    )
    assert definitions["shaped"]["schema"]["required"] == ["box"]
    assert definitions["count"]["description"] == "Counts at a steady pace."


# -- starting, cancelling, retrying --------------------------------------------------------------


def test_the_same_task_id_again_is_the_same_task(client: Client, swarm: Swarm) -> None:
    (other,) = swarm.watchers
    first = client.ok("start_task", {"task": "count", "task_id": "only-once"})
    second = swarm.call(other, "start_task", {"task": "count", "task_id": "only-once"})
    end = client.ended("only-once")

    assert first["task_id"] == second["task_id"] == "only-once"
    assert swarm.run(lambda: any(e[2]["status"] in TERMINAL for e in other.events), WAIT_S)
    again = client.ok("start_task", {"task": "count", "task_id": "only-once"})["task"]
    assert (again["status"], again["seq"]) == ("completed", end["seq"])
    listed = client.ok("list_tasks", {"search": "only-once"})["tasks"]
    assert [t["task_id"] for t in listed] == ["only-once"]


def test_a_full_definition_names_what_runs_and_frees_its_place_at_the_end(client: Client) -> None:
    running = client.ok("start_task", "single")["task_id"]
    refused = client.call("start_task", "single")
    assert refused["error"]["code"] == "already_running"
    assert refused["running"] == [running]

    client.ok("cancel_task", running)
    assert client.ended(running)["status"] == "cancelled"
    second = client.ok("start_task", "single")["task_id"]
    client.ok("cancel_task", {"task_id": second})
    assert client.ended(second)["status"] == "cancelled"


@pytest.mark.parametrize("task", ["hold", "hold_thread"])
def test_a_running_task_is_cancelled_once_however_often_it_is_asked(
    client: Client, task: str
) -> None:
    task_id = client.ok("start_task", task)["task_id"]
    client.wait_status(task_id, "in_progress")

    first = client.ok("cancel_task", task_id)["task"]
    second = client.call("cancel_task", task_id)
    end = client.ended(task_id)

    assert first["cancel_requested"] is True
    assert second.get("task", {}).get("cancel_requested") or second["error"]["code"] == "task_ended"
    assert (end["status"], end["error"]) == ("cancelled", None)
    assert end["progress"] == 50
    assert client.refused("cancel_task", task_id)["code"] == "task_ended"
    assert client.ok("watch_task", task_id)["task"]["seq"] == end["seq"]


def test_a_queued_task_is_cancelled_without_ever_running(client: Client) -> None:
    # Given as many tasks as there are workers, and one more
    held = [client.ok("start_task", "hold")["task_id"] for _ in range(3)]
    for task_id in held:
        client.wait_status(task_id, "in_progress")
    queued = client.ok("start_task", "hold")
    assert queued["task"]["status"] == "queued"

    # When that one is cancelled
    client.ok("cancel_task", queued["task_id"])

    # Then it ends without a start
    assert client.ended(queued["task_id"])["status"] == "cancelled"
    assert client.ok("watch_task", queued["task_id"])["task"]["started_at"] is None
    for task_id in held:
        client.ok("cancel_task", task_id)
        client.ended(task_id)


def test_what_is_not_cancellable_says_so_and_runs_on(client: Client, live: Any) -> None:
    gate = live.root / "gate"
    task_id = client.ok("start_task", {"task": "stubborn", "args": {"gate": "gate"}})["task_id"]

    assert client.refused("cancel_task", task_id)["code"] == "not_cancellable"
    assert client.refused("retry_task", task_id)["code"] == "already_running"
    gate.touch()
    assert client.ended(task_id)["result"] == "through"
    gate.unlink()


def test_a_retry_is_a_new_task_with_the_same_arguments(client: Client) -> None:
    first = client.ok(
        "start_task", {"task": "count", "args": {"total": 3}, "title": "Three", "tags": ["t"]}
    )["task_id"]
    client.ended(first)
    second = client.ok("retry_task", first)["task_id"]
    client.ok("watch_task", second)

    task = client.ended(second)
    snapshot = client.ok("watch_task", second)["task"]
    assert second != first
    assert (task["status"], task["result"]) == ("completed", 3)
    assert (snapshot["title"], snapshot["tags"]) == ("Three", ["t"])


# -- the log -------------------------------------------------------------------------------------


def test_a_log_is_read_from_any_offset(client: Client) -> None:
    task_id = client.run("lines", count=10)["task_id"]
    every = [f"line {n}" for n in range(10)]

    def read(**wanted: Any) -> tuple[list[str], int]:
        ack = client.ok("get_log", {"task_id": task_id, **wanted})
        return ack["lines"], ack["next_offset"]

    assert read() == (every, 10)
    assert client.ok("get_log", task_id)["lines"] == every
    assert read(offset=4, limit=2) == (every[4:6], 6)
    assert read(offset=-3) == (every[-3:], 10)
    assert read(offset=-100) == (every, 10)
    assert read(offset=10) == ([], 10)
    lines, following = read(offset=1_000)
    assert lines == []
    assert following in {10, 1_000}


def test_a_watcher_gets_the_log_as_it_is_written(client: Client) -> None:
    task_id = client.ok("start_task", "stepped")["task_id"]
    client.ended(task_id)
    client.wait(lambda: sum(len(e["lines"]) for e in client.events("task_log", task_id)) == 2)

    told = client.events("task_log", task_id)
    assert all(set(e) == {"task_id", "offset", "lines"} for e in told)
    assert [line for e in sorted(told, key=lambda e: e["offset"]) for line in e["lines"]] == [
        "in Scan",
        "in Pack",
    ]


# -- the list ------------------------------------------------------------------------------------


def test_pages_of_the_list_give_every_task_once_newest_first(client: Client) -> None:
    ids = [client.run("instant_thread")["task_id"] for _ in range(7)]
    for task_id in ids[:2]:
        client.ok("start_task", {"task": "count", "args": {"total": 1}, "tags": [f"of-{task_id}"]})

    listed: list[str] = []
    before = None
    while True:
        page = client.ok("list_tasks", {"search": "instant_thread", "limit": 3, "before": before})
        assert len(page["tasks"]) <= 3
        listed += [task["task_id"] for task in page["tasks"]]
        before = page["next"]
        if before is None:
            break
    assert len(listed) == len(set(listed))
    assert listed[:7] == ids[::-1]


def test_filters_of_the_list_match_status_and_text(client: Client) -> None:
    done = client.run("count", total=1)["task_id"]
    held = client.ok(
        "start_task", {"task": "hold_thread", "title": "Über alles", "tags": ["filtered"]}
    )["task_id"]
    client.wait_status(held, "in_progress")

    def ids(**wanted: Any) -> list[str]:
        return [task["task_id"] for task in client.ok("list_tasks", wanted)["tasks"]]

    assert ids(status="in_progress") == [held]
    assert held not in ids(status="completed")
    assert {done, held} <= set(ids(status="completed,in_progress"))
    assert {done, held} <= set(ids(status=["completed", "in_progress"]))
    assert ids(search="über ALLES") == [held]
    assert ids(search="filtered", status="in_progress") == [held]
    assert ids(search=held) == [held]
    assert ids(search="no such thing") == []
    ack = client.ok("list_tasks", {"limit": 1})
    assert [t["task_id"] for t in ack["tasks"]] == [held]
    assert ack["counts"]["in_progress"] == 1
    assert set(ack["counts"]) == {
        "queued", "in_progress", "completed", "failed", "cancelled", "lost"
    }  # fmt: skip
    assert all(set(task) >= SUMMARY for task in client.ok("list_tasks")["tasks"])
    assert not any({"result", "files", "steps"} & set(t) for t in client.ok("list_tasks")["tasks"])
    client.ok("cancel_task", held)
    client.ended(held)


@pytest.mark.parametrize(
    "wanted",
    [None, {"status": "in_progress"}, {"status": ["completed", "failed"]}, {"search": "count"}],
)
def test_list_updates_lead_to_the_same_list_as_a_fresh_one(
    client: Client, swarm: Swarm, wanted: Any
) -> None:
    (watcher,) = swarm.watchers
    wanted = None if wanted is None else {**wanted, "limit": 1000}
    wide = wanted or {"limit": 1000}
    ack = swarm.call(watcher, "watch_tasks", wide)
    shown = {task["task_id"]: task for task in ack["tasks"]}

    started = [client.ok("start_task", {"task": "count", "args": {"total": 60}}) for _ in range(4)]
    started += [client.ok("start_task", name) for name in ("raise_thread", "hold_thread")]
    client.ok("cancel_task", started[-1]["task_id"])
    for one in started:
        client.ended(one["task_id"])

    def same() -> bool:
        shown_now, counts = dict(shown), ack["counts"]
        for _, name, update in watcher.events:
            if name != "tasks_update":
                continue
            for task in update["tasks"]:
                assert set(task) >= SUMMARY
                assert not {"result", "files", "steps"} & set(task)
                shown_now[task["task_id"]] = task
            for task_id in update["removed"]:
                shown_now.pop(task_id, None)
            counts = update["counts"]
        fresh = client.ok("list_tasks", wide)
        return counts == fresh["counts"] and sorted(
            shown_now.values(), key=lambda t: t["task_id"]
        ) == sorted(fresh["tasks"], key=lambda t: t["task_id"])

    assert swarm.run(same, WAIT_S)


def test_list_updates_come_a_few_times_a_second_and_stop_when_unwatched(
    client: Client, swarm: Swarm
) -> None:
    (watcher,) = swarm.watchers
    swarm.call(watcher, "watch_tasks")
    task_id = client.ok("start_task", {"task": "count", "args": {"total": 150}})["task_id"]
    assert swarm.run(
        lambda: any(
            t["task_id"] == task_id and t["status"] == "completed"
            for _, name, update in watcher.events
            if name == "tasks_update"
            for t in update["tasks"]
        ),
        WAIT_S,
    )
    began = client.ok("watch_task", task_id)["task"]
    updates = [e for e in watcher.events if e[1] == "tasks_update"]
    assert len(updates) <= 5 + 5 * (began["finished_at"] - began["created_at"])

    swarm.call(watcher, "unwatch_tasks")
    watcher.events.clear()
    client.run("count", total=50)
    swarm.call(watcher, "list_tasks")
    assert watcher.events == []


def test_an_unwatched_task_is_told_no_more(client: Client, swarm: Swarm) -> None:
    (watcher,) = swarm.watchers
    task_id = client.ok("start_task", "count")["task_id"]
    assert swarm.call(watcher, "watch_task", {"task_id": task_id})["ok"]
    assert swarm.run(lambda: watcher.events, WAIT_S)
    assert swarm.call(watcher, "unwatch_task", task_id)["ok"]
    number = max(watcher.acked_at.values())

    client.ended(task_id)
    swarm.call(watcher, "list_tasks")
    assert watcher.events[number:] == []
    assert swarm.call(watcher, "unwatch_task", task_id)["ok"]


# -- refusals ------------------------------------------------------------------------------------


ANY_EVENT: list[tuple[str, Any, str, str | None]] = [
    ("a deep payload", {"task_id": nested(100)}, "invalid_payload", None),
    ("a large payload", {"task_id": "x" * 70_000}, "too_large", None),
    ("a long bare text", "x" * 70_000, "too_large", None),
    ("an unknown key", {"colour": 1}, "invalid_payload", "colour"),
    ("a binary value", {"colour": b"\x00\xff"}, "invalid_payload", None),
    ("a binary payload", b"\x00\xff", "invalid_payload", None),
    ("a number", 7, "invalid_payload", None),
    ("not a number", math.nan, "invalid_payload", None),
    ("an array", [1, 2], "invalid_payload", None),
    ("a boolean", True, "invalid_payload", None),
    ("two payloads", (None, {"task_id": "x"}), "invalid_payload", None),
]
ABOUT: list[tuple[str, Any, str, str | None]] = [
    ("nothing", None, "invalid_payload", "task_id"),
    ("an empty object", {}, "invalid_payload", "task_id"),
    ("an empty text", "", "invalid_payload", "task_id"),
    ("a null id", {"task_id": None}, "invalid_payload", "task_id"),
    ("a number as the id", {"task_id": 5}, "invalid_payload", "task_id"),
    ("an infinite id", {"task_id": math.inf}, "invalid_payload", "task_id"),
    ("an object as the id", {"task_id": {}}, "invalid_payload", "task_id"),
    ("an id that is a path", {"task_id": "../etc"}, "invalid_payload", "task_id"),
    ("an id with a line break", "abc\n", "invalid_payload", "task_id"),
    ("an id too long", "x" * 65, "invalid_payload", "task_id"),
    ("an id far too long", {"task_id": "x" * 10_000}, "invalid_payload", "task_id"),
    ("a lone surrogate", {"task_id": "\ud800"}, "invalid_payload", "task_id"),
    ("an unknown key", {"task_id": "x", "colour": 1}, "invalid_payload", "colour"),
]
ARGS = "invalid_arguments"
SPECIAL: list[tuple[str, Any, str, str | None]] = [
    *((event, "nobody-has-it", "unknown_task", "task_id") for event in ABOUT_A_TASK if event != "unwatch_task"),
    ("watch_task", {"task_id": "x", "seq": "1"}, "invalid_payload", "seq"),
    ("watch_task", {"task_id": "x", "seq": -1}, "invalid_payload", "seq"),
    ("watch_task", {"task_id": "x", "epoch": 1}, "invalid_payload", "epoch"),
    ("get_log", {"task_id": "x", "offset": "0"}, "invalid_payload", "offset"),
    ("get_log", {"task_id": "x", "offset": 1.5}, "invalid_payload", "offset"),
    ("get_log", {"task_id": "x", "offset": 2**70}, "invalid_payload", "offset"),
    ("get_log", {"task_id": "x", "limit": 0}, "invalid_payload", "limit"),
    ("get_log", {"task_id": "x", "limit": 10**6}, "invalid_payload", "limit"),
    ("list_tasks", {"status": "odd"}, "invalid_payload", "status"),
    ("list_tasks", {"status": 7}, "invalid_payload", "status"),
    ("list_tasks", {"status": [7]}, "invalid_payload", "status"),
    ("list_tasks", {"search": 7}, "invalid_payload", "search"),
    ("list_tasks", {"search": "x" * 10_000}, "invalid_payload", "search"),
    ("list_tasks", {"limit": 1_001}, "invalid_payload", "limit"),
    ("list_tasks", {"limit": True}, "invalid_payload", "limit"),
    ("list_tasks", {"limit": math.inf}, "invalid_payload", "limit"),
    ("list_tasks", {"before": "no cursor"}, "invalid_payload", "before"),
    ("list_tasks", {"before": 7}, "invalid_payload", "before"),
    ("watch_tasks", {"status": "odd"}, "invalid_payload", "status"),
    ("watch_tasks", {"limit": 0}, "invalid_payload", "limit"),
    ("watch_tasks", {"before": "x"}, "invalid_payload", "before"),
    ("open_task", None, "invalid_payload", "name"),
    ("open_task", {"name": 7}, "invalid_payload", "name"),
    ("open_task", {"name": "x" * 10_000}, "invalid_payload", "name"),
    ("open_task", {"name": "x", "task_id": "a b"}, "invalid_payload", "task_id"),
    ("open_task", {"name": "x", "total": math.nan}, "invalid_payload", "total"),
    ("open_task", {"name": "x", "lease_s": -1}, "invalid_payload", "lease_s"),
    ("report", None, "invalid_payload", None),
    ("report", {"task_id": "nobody-has-it", "current": 1}, "unknown_task", "task_id"),
    ("report", {"task_id": "x", "current": "1"}, "invalid_payload", "current"),
    ("report", {"task_id": "x", "status": "odd"}, "invalid_payload", "status"),
    ("start_task", "no_such_task", "unknown_definition", "task"),
    ("start_task", "\ud800", "unknown_definition", "task"),
    ("start_task", "x" * 10_000, "invalid_payload", "task"),
    ("start_task", {"task": 7}, "invalid_payload", "task"),
    ("start_task", {"task": "count", "args": [1]}, "invalid_payload", "args"),
    ("start_task", {"task": "count", "title": 7}, "invalid_payload", "title"),
    ("start_task", {"task": "count", "title": "x" * 501}, "invalid_payload", "title"),
    ("start_task", {"task": "count", "task_id": "a b"}, "invalid_payload", "task_id"),
    ("start_task", {"task": "count", "task_id": 7}, "invalid_payload", "task_id"),
    ("start_task", {"task": "count", "tags": "one"}, "invalid_payload", "tags"),
    ("start_task", {"task": "count", "tags": [1]}, "invalid_payload", "tags"),
    ("start_task", {"task": "count", "tags": ["x"] * 101}, "invalid_payload", "tags"),
    ("start_task", {"task": "count", "tags": ["x" * 201]}, "invalid_payload", "tags"),
    ("start_task", {"task": "count", "args": {"total": math.nan}}, "invalid_payload", "total"),
    ("start_task", {"task": "count", "args": {"total": 2**64}}, "invalid_payload", "total"),
    ("start_task", {"task": "count", "args": {"total": "many"}}, ARGS, "total"),
    ("start_task", {"task": "count", "args": {"total": None}}, ARGS, "total"),
    ("start_task", {"task": "count", "args": {"colour": 1}}, ARGS, "colour"),
    ("start_task", {"task": "count", "args": {"progress": 1}}, ARGS, "progress"),
    ("start_task", "shaped", ARGS, "box"),
    ("start_task", {"task": "shaped", "args": {"box": {"size": "x"}}}, ARGS, "box.size"),
    ("start_task", {"task": "shaped", "args": {"box": {}}}, ARGS, "box.size"),
    ("start_task", {"task": "shaped", "args": {"box": {"size": 1}, "where": "/etc"}}, ARGS, "where"),
    ("start_task", {"task": "shaped", "args": {"box": {"size": 1}, "where": "../.."}}, ARGS, "where"),
    ("start_task", {"task": "shaped", "args": {"box": {"size": 1}, "where": "a\0b"}}, ARGS, "where"),
    ("start_task", {"task": "shaped", "args": {"box": {"size": 1}, "where": 7}}, ARGS, "where"),
    ("start_task", {"task": "checksum", "args": {"path": "/"}}, ARGS, "path"),
    ("start_task", {"task": "checksum", "args": {"path": "x" * 10_000}}, ARGS, "path"),
    ("start_task", {"task": "checksum", "args": {"root": "/"}}, ARGS, "root"),
]  # fmt: skip


@pytest.mark.parametrize("event", EVENTS)
def test_every_bad_payload_is_refused_by_name(client: Client, event: str) -> None:
    table = [*ANY_EVENT, *(ABOUT if event in ABOUT_A_TASK else ())]
    cases = [*((what, *rest) for what, *rest in table)]
    cases += [(repr(p)[:80], p, code, field) for name, p, code, field in SPECIAL if name == event]
    for what, payload, code, field in cases:
        if (event, what) == ("report", "an array"):
            continue  # there each item stands alone
        error = client.refused(event, payload)
        assert error["code"] == code, (what, error)
        assert field is None or error.get("field") == field, (what, error)
        assert len(error["message"]) < 1_000, what
    assert client.ok("list_definitions", {})["definitions"]


@pytest.mark.parametrize("event", EVENTS)
def test_no_depth_of_nesting_is_too_much_for_an_answer(swarm: Swarm, event: str) -> None:
    (watcher,) = swarm.watchers
    for depth in (33, 100, 300, 900, 5_000, 30_000):
        for opening, closing in (("[", "]"), ('{"a":', "}")):
            inner = opening * depth + "1" + closing * depth
            if len(inner) > 65_000:
                continue
            watcher.calls += 1
            number = watcher.calls
            watcher.send(f'42{number}["{event}",{{"task_id":{inner}}}]')
            assert swarm.run(lambda n=number: n in watcher.acks, WAIT_S), (depth, opening)
            assert watcher.acks[number]["error"]["code"] == "invalid_payload", depth


def test_every_event_name_that_is_none_is_refused(client: Client, swarm: Swarm) -> None:
    names = (
        "", "nothing", "connect", "disconnect", "connect_error", "message", "*", "__class__",
        "\ud800", "task_started", "progress_update", "x" * 10_000,
    )  # fmt: skip
    (watcher,) = swarm.watchers
    for name in names:
        assert swarm.call(watcher, name)["error"]["code"] == "unknown_event", name
        assert swarm.call(watcher, name, {"task_id": "x"})["error"]["code"] == "unknown_event"
        watcher.emit(name)
        assert swarm.run(lambda: watcher.events, WAIT_S)
        _, event, told = watcher.events.pop()
        assert (event, told["error"]["code"]) == ("task_error", "unknown_event")
        assert told["event"] == name[:200].replace("\ud800", "?")
    assert client.ok("list_tasks")["ok"]


def test_what_fails_without_an_ack_is_told_as_an_event(client: Client) -> None:
    for event, payload, code in (
        ("watch_task", "nobody-has-it", "unknown_task"),
        ("start_task", {"task": 7}, "invalid_payload"),
        ("cancel_task", "x" * 70_000, "too_large"),
        ("retry_task", {"task_id": nested(100)}, "invalid_payload"),
    ):
        before = len(client.events("task_error"))
        client.emit(event, payload)
        client.wait(lambda n=before: len(client.events("task_error")) > n)
        told = client.events("task_error")[-1]
        assert (told["event"], told["error"]["code"]) == (event, code)
        assert told["error"]["message"]


def test_null_and_nothing_are_the_same_and_start_the_default(client: Client) -> None:
    for payload in (None, (None,), {}):
        assert client.ok("start_task", payload)["task"]["name"] == "count"
        assert client.ok("list_tasks", payload)["tasks"]
        assert client.ok("watch_tasks", payload)["tasks"]
        assert client.ok("unwatch_tasks", payload)["ok"]


def test_texts_from_clients_come_back_clean(client: Client) -> None:
    title = "two\nlines\x1b[31m \ud800<b>\u2028" + "ü" * 450
    task = client.ok(
        "start_task", {"task": "instant_thread", "title": title, "tags": ["a\nb", "  ", "\ud800"]}
    )["task"]
    assert task["title"].startswith("two lines [31m ?<b>")
    assert task["tags"] == ["a b", "?"]


# -- limits and tokens ---------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["eventlet", "threading"])
def test_a_flood_is_refused_and_at_last_disconnected_and_others_are_not(
    server: Start, mode: str
) -> None:
    running = server("--tasks", JOBS, "--workers", "1", mode=mode)
    swarm = Swarm(running.url, 2)
    flooder, other = swarm.watchers
    task_id = swarm.call(other, "start_task", {"task": "hold_thread"})["task_id"]

    # When a client sends more than it may
    swarm.run(lambda: False, 0.1)
    numbers = [swarm.ask(flooder, "unwatch_tasks") for _ in range(500)]
    swarm.run(lambda: numbers[-1] in flooder.acks, WAIT_S)

    # Then the burst is served and the rest is told to wait, each with its own ack
    answers = [flooder.acks[number] for number in numbers]
    refused = [answer["error"] for answer in answers if not answer["ok"]]
    assert all(answer["ok"] for answer in answers[:300])
    assert {error["code"] for error in refused} == {"rate_limited"}
    assert all(0 < error["retry_after_s"] <= 1 for error in refused)

    # And when it goes on regardless, it is disconnected
    def goes_on() -> bool:
        try:
            for _ in range(20):
                swarm.ask(flooder, "unwatch_tasks")
        except OSError:
            return False
        return not flooder.closed

    assert swarm.run(lambda: not goes_on(), WAIT_S)

    # And the others notice nothing
    assert swarm.call(other, "cancel_task", task_id)["ok"]
    assert swarm.run(
        lambda: any(n == "progress_update" and p["status"] == "cancelled" for _, n, p in other.events),
        WAIT_S,
    )  # fmt: skip
    assert not other.closed
    swarm.close()
    assert get_json(f"{running.url}/healthz")["status"] == "ok"
    assert "Traceback" not in running.stderr


def test_a_connection_watches_a_thousand_tasks_at_most(server: Start) -> None:
    running = server("--tasks", JOBS, mode="eventlet")
    swarm = Swarm(running.url, 12, keep=lambda _: False)
    ids: list[str] = []
    for starter in swarm.watchers[1:]:
        numbers = [swarm.ask(starter, "start_task", {"task": "instant_thread"}) for _ in range(92)]
        assert swarm.run(lambda s=starter, n=numbers: n[-1] in s.acks, WAIT_S)
        ids += [starter.acks[number]["task_id"] for number in numbers]
    (watcher, *_) = swarm.watchers

    def watch(some: list[str]) -> list[Any]:
        numbers = [swarm.ask(watcher, "watch_task", task_id) for task_id in some]
        assert swarm.run(lambda: numbers[-1] in watcher.acks, WAIT_S)
        return [watcher.acks[number] for number in numbers]

    watched = 0
    for task_id in ids[:1000]:
        ack = watch([task_id])[0]
        while ack.get("error", {}).get("code") == "rate_limited":
            swarm.run(lambda: False, ack["error"]["retry_after_s"])
            ack = watch([task_id])[0]
        watched += ack["ok"]
    assert watched == 1000
    swarm.run(lambda: False, 0.2)
    (ack,) = watch([ids[1000]])
    assert ack["error"]["code"] == "rate_limited"
    assert "1000 tasks" in ack["error"]["message"]
    assert watch([ids[0]])[0]["ok"]
    assert swarm.call(watcher, "unwatch_task", ids[0])["ok"]
    assert watch([ids[1000]])[0]["ok"]
    swarm.close()


@pytest.mark.parametrize("mode", ["eventlet", "threading", "gevent"])
def test_a_server_with_a_token_lets_in_only_who_has_it(server: Start, mode: str) -> None:
    running = server("--token", "s3cret-and-long", mode=mode)

    for transport in ("websocket", "polling"):
        for auth in (None, {"token": "wrong"}, {"token": 7}, {"token": None}, {"tok": "s3cret"}):
            refused = _refused(running.url, transport, auth)
            assert refused["data"]["code"] == "unauthorized", (transport, auth)
            assert isinstance(refused["message"], str)
        for given in (
            {"auth": {"token": "s3cret-and-long"}},
            {"headers": {"Authorization": "Bearer s3cret-and-long"}},
        ):
            with Client(running.url, transports=[transport], **given) as client:
                assert client.ok("list_tasks")["tasks"] == []

    # And nothing comes before the CONNECT, and no event works without it
    swarm = Swarm(running.url, 1)
    (stranger,) = swarm.watchers
    assert stranger.refused["data"]["code"] == "unauthorized"
    swarm.ask(stranger, "list_tasks")
    swarm.run(lambda: stranger.closed, 0.3)
    assert (stranger.events, stranger.acks) == ([], {})
    swarm.close()
    assert "s3cret" not in running.stderr
    assert "Traceback" not in running.stderr


@pytest.mark.parametrize("transport", ["websocket", "polling"])
def test_the_cookie_that_a_browser_was_given_opens_the_socket(
    server: Start, transport: str
) -> None:
    import urllib.request

    class Stay(urllib.request.HTTPRedirectHandler):
        def redirect_request(self, *_: Any) -> None:
            return None

    running = server("--token", "s3cret-and-long", mode="eventlet")
    opener = urllib.request.build_opener(Stay)
    try:
        opener.open(f"{running.url}/?token=s3cret-and-long", timeout=WAIT_S)
    except urllib.error.HTTPError as answer:
        cookie = answer.headers["Set-Cookie"].partition(";")[0]
        answer.close()
    with Client(running.url, transports=[transport], headers={"Cookie": cookie}) as client:
        assert client.ok("list_tasks")["tasks"] == []


def _refused(url: str, transport: str, auth: Any) -> Any:
    if transport == "polling":
        session = Poll(url)
        session.post("40" if auth is None else f"40{json.dumps(auth)}")
        _, answer = session.get()
        session.close()
        assert answer.startswith("44"), answer
        return json.loads(answer[2:])
    with pytest.raises(Refusal) as failure:
        Client(url, transports=[transport], auth=auth)
    return failure.value.told


def test_gevent_serves_the_same_page(server: Start) -> None:
    running = server("--tasks", JOBS, "--default-task", "count", mode="gevent")
    for transport in ("websocket", "polling"):
        with Client(running.url, transports=[transport]) as page:
            page.emit("start_task")
            (started,) = page.wait(lambda p=page: p.events("task_started"))
            assert page.ended(started["task_id"])["progress"] == 100
            assert page.run("instant")["result"] == 42
            assert page.run("raise_late")["error"]["code"] == "exception"
            assert page.refused("watch_task", "x" * 70_000)["code"] == "too_large"
            assert page.refused("nothing")["code"] == "unknown_event"
            held = page.ok("start_task", "hold")["task_id"]
            page.wait_status(held, "in_progress")
            page.ok("cancel_task", held)
            assert page.ended(held)["status"] == "cancelled"
    assert running.stop(signal.SIGTERM) == 0
    assert "Traceback" not in running.stderr
    assert Path(running.data).is_dir()

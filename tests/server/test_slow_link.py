"""Watchers over links that carry less than is told: nothing queues up, and the end arrives."""

from __future__ import annotations

import json
import socket
import struct
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from slowlink import SlowLink
from swarm import Swarm
from watchers import JOBS, TERMINAL, WAIT_S

from socketprogress import Client

Start = Callable[..., Any]

LEAST = 4_096
FRAME = 1_024
HELD = 256 * 1_024


@pytest.fixture(scope="module", params=["eventlet", "threading", "gevent"])
def live(request: pytest.FixtureRequest, lasting_server: Start) -> Iterator[Any]:
    running = lasting_server("--tasks", JOBS, "--workers", "2", mode=request.param)
    yield running
    assert running.stop() == 0
    assert "Traceback" not in running.stderr


def ended(watcher: Any) -> bool:
    return any(p.get("status") in TERMINAL for _, _, p in watcher.events)


def test_who_confirms_never_has_more_on_the_way_than_the_link_carries(live: Any) -> None:
    with SlowLink(live.url, bits_per_s=50_000, delay_s=0.4) as link:
        near = Swarm(live.url, 1)
        far = Swarm(link.url, 1, confirms=True)
        starter, watcher = near.watchers[0], far.watchers[0]

        # Given a task whose states alone are more than the link carries, and a log beside them
        args = {"total": 100, "hz": 20}
        task_id = near.call(starter, "start_task", {"task": "count", "args": args})["task_id"]
        far.call(watcher, "watch_task", task_id)
        link.most_waiting = 0
        assert far.run(lambda: ended(watcher), 2 * WAIT_S)
        assert near.run(lambda: ended(starter), WAIT_S)

        # Then little waited in the link, states were left out, and the last one arrived
        told = [p for _, name, p in watcher.events if name == "progress_update"]
        assert link.most_waiting <= LEAST + FRAME
        assert [p["seq"] for p in told] == sorted({p["seq"] for p in told})
        assert told[-1] == [p for _, n, p in starter.events if n == "progress_update"][-1]
        assert len(told) < len(starter.events)
        assert watcher.asked
        assert not starter.asked
        near.close()
        far.close()


def test_a_flood_of_log_lines_leaves_room_for_the_progress(live: Any) -> None:
    with SlowLink(live.url, bits_per_s=50_000, delay_s=0.05) as link:
        far = Swarm(link.url, 1, confirms=True)
        watcher = far.watchers[0]

        wanted = {"task": "lines", "args": {"count": 3_000}}
        task_id = far.call(watcher, "start_task", wanted)["task_id"]
        assert far.run(lambda: ended(watcher), 2 * WAIT_S)

        # What did not fit was left out, and where the log is now was told in the end
        def told_of_the_end() -> bool:
            pieces = [p for _, name, p in watcher.events if name == "task_log"]
            return any(p["offset"] + len(p["lines"]) == end for p in pieces)

        end = far.call(watcher, "get_log", {"task_id": task_id, "offset": -1})["next_offset"]
        assert far.run(told_of_the_end, WAIT_S)
        assert link.most_waiting <= LEAST + 2 * FRAME

        # And it can be asked for in pieces that fit
        log = far.call(watcher, "get_log", {"task_id": task_id, "limit": 1000, "bytes": 500})
        assert 1 <= len(log["lines"]) < 100
        assert log["next_offset"] == len(log["lines"])
        far.close()


def test_a_list_of_many_tasks_comes_in_pieces(live: Any) -> None:
    with SlowLink(live.url, bits_per_s=200_000, delay_s=0.05) as link:
        near = Swarm(live.url, 1)
        far = Swarm(link.url, 1, confirms=True)
        starter, watcher = near.watchers[0], far.watchers[0]
        far.call(watcher, "watch_tasks", {"limit": 1})
        link.most_waiting = 0

        numbers = [near.ask(starter, "start_task", {"task": "instant"}) for _ in range(60)]
        assert near.run(lambda: all(n in starter.acks for n in numbers), WAIT_S)
        ids = {starter.acks[n]["task_id"] for n in numbers}

        def all_shown() -> bool:
            rows = [
                r for _, name, p in watcher.events if name == "tasks_update" for r in p["tasks"]
            ]
            return ids <= {row["task_id"] for row in rows if row["status"] == "completed"}

        assert far.run(all_shown, 2 * WAIT_S)
        assert link.most_waiting <= 4 * LEAST
        near.close()
        far.close()


def test_a_client_that_never_confirms_is_told_all_the_same_once_it_does(live: Any) -> None:
    far = Swarm(live.url, 2, confirms=True)
    silent, starter = far.watchers
    args = {"total": 60, "hz": 100}
    task_id = far.call(starter, "start_task", {"task": "count", "args": args})["task_id"]
    far.call(silent, "watch_task", task_id)

    far.pause(silent)
    assert far.run(lambda: ended(starter), WAIT_S)
    far.resume(silent)

    assert far.run(lambda: ended(silent), WAIT_S)
    far.close()


def test_a_python_client_confirms(live: Any) -> None:
    with SlowLink(live.url, bits_per_s=50_000, delay_s=0.2) as link, Client(link.url) as client:
        task = client.start("count", total=60, hz=20)
        link.most_waiting = 0

        states = list(task.watch())

        assert states[-1].status == "completed"
        assert link.most_waiting <= LEAST + FRAME


def test_a_plain_client_that_reads_nothing_costs_bounded_bytes(live: Any) -> None:
    # Given a client with a small buffer of its own that watches 30 tasks and stops reading
    near = Swarm(live.url, 1)
    starter, watcher = near.watchers[0], near.connect()
    watcher.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
    assert near.run(lambda: watcher.connected, WAIT_S)
    wanted = {"task": "count", "args": {"total": 120, "hz": 40}}
    ids = [near.call(starter, "start_task", wanted)["task_id"] for _ in range(30)]
    for task_id in ids:
        near.call(watcher, "watch_task", task_id)
    near.pause(watcher)

    def all_ended(of: Any) -> bool:
        return {p["task_id"] for _, _, p in of.events if p.get("status") in TERMINAL} >= {*ids}

    assert near.run(lambda: all_ended(starter), 2 * WAIT_S)

    # When it reads again
    before = len(watcher.events)
    near.resume(watcher)
    assert near.run(lambda: all_ended(watcher), WAIT_S)

    # Then what had queued up for it was little
    size_bytes = sum(len(json.dumps(event)) for event in watcher.events[before:])
    assert size_bytes < HELD < sum(len(json.dumps(event)) for event in starter.events)
    near.close()


def test_acks_that_nobody_asked_for_do_no_harm(live: Any) -> None:
    far = Swarm(live.url, 1, confirms=True)
    watcher = far.watchers[0]
    for number in (1, 7, 2**70):
        watcher.send(f"43{number}[]")

    task = far.call(watcher, "start_task", {"task": "instant"})

    assert task["ok"]
    watcher.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    far.close()

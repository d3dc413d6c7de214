"""What every watcher is promised, whatever it and the others do: the rules of delivery."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from typing import Any

import psutil
import pytest
from swarm import Swarm, Watcher
from watchers import JOBS, TERMINAL, WAIT_S, Client, View, get_json

Start = Callable[..., Any]

TASKS, WATCHERS, FROZEN = 20, 30, 5
GROWTH_BYTES = 64 << 20


class Audience:
    """Watchers of several tasks; each follows the rules, and its view of each task is checked.

    Args:
        swarm: the connections.
        task_ids: what all of them watch.
    """

    def __init__(self, swarm: Swarm, task_ids: list[str]) -> None:
        self.swarm, self.task_ids = swarm, task_ids
        self.views = [{i: View(f"{n}/{i[:6]}") for i in task_ids} for n in range(WATCHERS)]
        self.sockets: list[Watcher] = list(swarm.watchers)
        self._taken = [0] * WATCHERS
        self._asked: list[dict[int, str]] = [{} for _ in range(WATCHERS)]

    def watch(self, n: int) -> None:
        """Watch everything again with what is known of it."""
        socket, self._asked[n] = self.sockets[n], {}
        for task_id in self.task_ids:
            position = {"task_id": task_id, **self.views[n][task_id].position}
            self._asked[n][self.swarm.ask(socket, "watch_task", position)] = task_id

    def reconnect(self, n: int) -> None:
        """Break one connection without a word, and open another."""
        self.take(n)
        self.swarm.drop(self.sockets[n])
        self.sockets[n] = fresh = self.swarm.connect()
        self._taken[n], self._asked[n] = 0, {}
        assert self.swarm.run(lambda: fresh.connected, WAIT_S)
        self.watch(n)

    def take(self, n: int) -> None:
        """Show one watcher what it has received since the last time, in order."""
        socket, views = self.sockets[n], self.views[n]
        acked = sorted((socket.acked_at[a], a) for a in self._asked[n] if a in socket.acked_at)
        for place in range(self._taken[n], len(socket.events) + 1):
            for number in [a for at, a in acked if at == place]:
                task_id = self._asked[n].pop(number)
                views[task_id].snapshot(socket.acks[number]["task"])
            if place < len(socket.events):
                _, name, payload = socket.events[place]
                if name == "progress_update":
                    views[payload["task_id"]].update(payload)
        self._taken[n] = len(socket.events)

    def all_ended(self) -> bool:
        for n in range(WATCHERS):
            self.take(n)
        return all(view.ended for views in self.views for view in views.values())


@pytest.fixture(scope="module", params=["eventlet", "threading"])
def live(request: pytest.FixtureRequest, lasting_server: Start) -> Iterator[Any]:
    running = lasting_server("--tasks", JOBS, "--workers", "2", mode=request.param)
    yield running
    assert get_json(f"{running.url}/healthz")["status"] == "ok"
    assert running.stop() == 0
    assert "Traceback" not in running.stderr


def test_all_watchers_converge_through_broken_and_frozen_connections(live: Any) -> None:
    chance = random.Random(7)  # noqa: S311 - the same chances every time
    process = psutil.Process(live.pid)
    swarm = Swarm(live.url, WATCHERS)
    starter = swarm.watchers[0]

    # Given 20 tasks of several kinds and 30 watchers of all of them
    started = [
        swarm.call(starter, "start_task", {"task": task, "args": args})["task_id"]
        for task, args in [
            *[("count", {"total": 250, "hz": 100})] * 12,
            *[("storm", {"seconds": 2.5})] * 2,
            *[("raise_thread", {})] * 2,
            *[("hold_thread", {})] * 2,
            *[("count_apart", {"total": 200, "hz": 100})] * 2,
        ]
    ]
    assert len(started) == TASKS
    audience = Audience(swarm, started)
    for n in range(WATCHERS):
        audience.watch(n)

    # When some freeze, and others lose their connections again and again
    frozen = chance.sample(range(1, WATCHERS), FROZEN)
    for n in frozen:
        swarm.pause(audience.sockets[n])
    before = process.memory_info().rss
    for round_number in range(20):
        swarm.run(lambda: False, 0.1)
        audience.reconnect(chance.choice([n for n in range(1, WATCHERS) if n not in frozen]))
        if round_number == 10:
            for task_id in started[16:18]:
                swarm.call(starter, "cancel_task", task_id)
    grown = process.memory_info().rss - before
    for n in frozen:
        swarm.resume(audience.sockets[n])

    # Then all of them see the same end of each task, once, and it is the one that REST tells
    assert swarm.run(audience.all_ended, WAIT_S)
    assert grown < GROWTH_BYTES
    for task_id in started:
        rest = get_json(f"{live.url}/api/tasks/{task_id}")
        for views in audience.views:
            view = views[task_id]
            assert view.ends == 1
            assert view.state is not None
            assert {k: rest[k] for k in view.state} == view.state
    statuses = [get_json(f"{live.url}/api/tasks/{i}")["status"] for i in started]
    assert statuses == ["completed"] * 14 + ["failed"] * 2 + ["cancelled"] * 2 + ["completed"] * 2
    assert not any(socket.closed for socket in audience.sockets)
    swarm.close()


def test_nothing_older_than_the_snapshot_follows_it(live: Any) -> None:
    # Given a task that reports as fast as it can
    swarm = Swarm(live.url, 12)
    starter, *joiners = swarm.watchers
    task_id = swarm.call(starter, "start_task", {"task": "storm", "args": {"seconds": 4}})[
        "task_id"
    ]

    # When watchers join it, and leave it, time and again
    joins: list[tuple[Watcher, int]] = []
    for _ in range(20):
        asked = [(joiner, swarm.ask(joiner, "watch_task", task_id)) for joiner in joiners]
        swarm.run(lambda asked=asked: all(a in j.acks for j, a in asked), WAIT_S)
        joins += asked
        swarm.run(lambda: False, 0.05)
        for joiner in joiners:
            swarm.ask(joiner, "unwatch_task", task_id)

    # Then what follows each snapshot is as new or newer
    progressed = 0
    for joiner, number in joins:
        snapshot = joiner.acks[number]["task"]
        after = [
            e[2] for e in joiner.events[joiner.acked_at[number] :] if e[1] == "progress_update"
        ]
        assert all(u["seq"] >= snapshot["seq"] for u in after), (snapshot, after[:2])
        progressed += any(u["seq"] > snapshot["seq"] for u in after)
    assert progressed > len(joins) / 2
    seqs = [p["seq"] for _, name, p in starter.events if name == "progress_update"]
    assert seqs == sorted(seqs)
    swarm.call(starter, "cancel_task", task_id)
    swarm.close()


@pytest.mark.parametrize("transport", ["websocket", "polling"])
def test_a_client_that_comes_back_goes_on_from_where_it_was(live: Any, transport: str) -> None:
    view = View()
    with Client(live.url, transports=[transport]) as first:
        task_id = first.ok("start_task", {"task": "count", "args": {"total": 120, "hz": 100}})[
            "task_id"
        ]
        first.wait(lambda: len(first.events("progress_update", task_id)) > 3)
        for update in sorted(first.events("progress_update", task_id), key=lambda u: u["seq"]):
            view.update(update)

    with Client(live.url, transports=[transport]) as second:
        view.snapshot(second.ok("watch_task", {"task_id": task_id, **view.position})["task"])
        end = second.ended(task_id) if not view.ended else view.state
        view.update(end)
        rest = get_json(f"{live.url}/api/tasks/{task_id}")
        assert view.ends == 1
        assert {k: rest[k] for k in view.state} == view.state
        assert rest["progress"] == 100


def test_updates_reach_only_those_who_watch(live: Any) -> None:
    swarm = Swarm(live.url, 3)
    starter, stranger, watcher = swarm.watchers
    first = swarm.call(starter, "start_task", "count")["task_id"]
    second = swarm.call(starter, "start_task", "count")["task_id"]
    swarm.call(watcher, "watch_task", second)

    def ended(socket: Watcher) -> set[str]:
        told = [p for _, name, p in socket.events if name == "progress_update"]
        return {p["task_id"] for p in told if p["status"] in TERMINAL}

    assert swarm.run(lambda: ended(starter) == {first, second} and ended(watcher), WAIT_S)
    assert {p["task_id"] for _, name, p in watcher.events} == {second}
    assert stranger.events == []
    swarm.close()


def test_a_client_that_leaves_its_answers_lying_costs_bounded_memory(live: Any) -> None:
    process = psutil.Process(live.pid)
    swarm = Swarm(live.url, 2)
    reader, hoarder = swarm.watchers
    for _ in range(160):  # whose rows are 3 kB each, as JSON writes the title
        swarm.call(reader, "start_task", {"task": "instant_thread", "title": "ü" * 500})
    ids = {p["task_id"] for _, name, p in reader.events if name == "task_started"}
    assert swarm.run(
        lambda: (
            ids
            <= {
                p["task_id"]
                for _, n, p in reader.events
                if n == "progress_update" and p["progress"]
            }
        ),
        WAIT_S,
    )

    # When a client asks for the whole list as often as it may and reads nothing
    before = process.memory_info().rss
    swarm.pause(hoarder)
    for _ in range(200):
        swarm.ask(hoarder, "list_tasks")
    for _ in range(20):
        assert swarm.call(reader, "list_tasks", {"limit": 1})["ok"]
        swarm.run(lambda: False, 0.1)
    grown = process.memory_info().rss - before

    # Then that does not fill the server's memory, and it gets all answers once it reads
    assert grown < GROWTH_BYTES
    swarm.resume(hoarder)
    assert swarm.run(lambda: len(hoarder.acks) == 200, WAIT_S)
    assert not hoarder.closed
    swarm.close()

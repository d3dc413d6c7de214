"""Redis killed, emptied and hanging under two servers at work: nobody waits, and all agree in the end."""

from __future__ import annotations

import json
import time
import urllib.request
from collections.abc import Callable
from typing import Any

import pytest
from watchers import JOBS, TERMINAL, Client, View, get_json

from socketprogress.stores import open_store

PATIENCE_S = 60.0
FAULTS = ["killed", "killed with a file", "paused"]


def until(condition: Callable[[], Any], what: str) -> Any:
    """Wait for something that the servers come to by themselves."""
    deadline = time.monotonic() + PATIENCE_S
    while not (found := condition()):
        assert time.monotonic() < deadline, f"{what} did not come"
        time.sleep(0.1)
    return found


def health(running: Any) -> Any:
    """Ask /healthz, which a Redis that hangs must not hold up."""
    with urllib.request.urlopen(f"{running.url}/healthz", timeout=1) as response:  # noqa: S310
        return json.load(response)["status"]


class Outage:
    """What may happen to a Redis, and its return."""

    def __init__(self, redis: Any, fault: str) -> None:
        self._redis, self._fault = redis, fault

    def begin(self) -> None:
        if self._fault == "paused":
            self._redis.pause()
        else:
            self._redis.kill()

    def end(self) -> None:
        if self._fault == "paused":
            self._redis.go_on()
        else:
            self._redis.start()


class Load:
    """Work on two servers, and a watcher of all of it at each of them."""

    def __init__(self, here: Any, there: Any) -> None:
        self.servers = (here, there)
        self.watchers = (Client(here.url), Client(there.url))
        self.views: list[dict[str, View]] = [{}, {}]
        self._read = [0, 0]
        self.tasks = [
            [
                w.ok("start_task", {"task": "count", "args": {"total": 10**6}})["task_id"]
                for _ in "12"
            ]
            for w in self.watchers
        ]
        opening = {"name": "far", "task_id": "far", "total": 10**6}
        self.watchers[1].ok("open_task", opening)
        self.number = 0
        for index in (0, 1):
            for task_id in (*self.tasks[0], *self.tasks[1], "far"):
                self.watch(index, task_id)

    def watch(self, index: int, task_id: str) -> None:
        """Watch a task, from where it was seen last."""
        view = self.views[index].setdefault(task_id, View(f"{task_id} at {index}"))
        view.snapshot(self.watchers[index].ok("watch_task", {"task_id": task_id})["task"])

    def report(self, **more: Any) -> Any:
        """Have the far reporter say something at the second server."""
        self.number += 1
        report = {"task_id": "far", "current": self.number, "reporter_seq": self.number, **more}
        return self.watchers[1].call("report", report)

    def look(self) -> None:
        """Check all that the watchers were told since the last look."""
        for index, watcher in enumerate(self.watchers):
            new = watcher.got[self._read[index] :]
            self._read[index] += len(new)
            for name, payload in new:
                if name == "progress_update":
                    self.views[index][payload["task_id"]].update(payload)

    def seen(self, index: int, task_id: str) -> int:
        """Return the count that a watcher sees of a task."""
        self.look()
        state = self.views[index][task_id].state
        assert state is not None
        return int(state["current"])

    def moves(self, index: int, task_id: str) -> None:
        """See that a watcher sees a task going on."""
        before = self.seen(index, task_id)
        until(lambda: self.seen(index, task_id) > before, f"news of {task_id} at {index}")

    def all_move(self) -> None:
        """See that each watcher sees every task going on."""
        for index in (0, 1):
            for task_id in (*self.tasks[0], *self.tasks[1]):
                self.moves(index, task_id)
        said = self.report()
        assert said["ok"], said
        for index in (0, 1):
            until(lambda i=index: self.seen(i, "far") == self.number, "the report")

    def end(self) -> list[Any]:
        """Cancel every task at the other server, and return the ends, the same on both."""
        for index in (0, 1):
            for task_id in self.tasks[index]:
                self.watchers[1 - index].ok("cancel_task", task_id)
        until(lambda: self.report(status="completed")["ok"] or None, "the far end")
        return [self._agreed(task_id) for task_id in (*self.tasks[0], *self.tasks[1], "far")]

    def _agreed(self, task_id: str) -> Any:
        def same() -> Any:
            first, second = (get_json(f"{one.url}/api/tasks/{task_id}") for one in self.servers)
            return first if first == second and first["status"] in TERMINAL else None

        end = until(same, f"the same end of {task_id}")
        for index in (0, 1):
            until(lambda i=index: self.look() or self.views[i][task_id].ended, "the end told")
            assert self.views[index][task_id].ends == 1
        return end

    def close(self) -> None:
        for watcher in self.watchers:
            watcher.close()


def ride_out(redis: Any, load: Load, fault: str, outage_s: float) -> None:
    """Have one outage, and see what the servers do meanwhile and after it."""
    outage = Outage(redis, fault)
    outage.begin()
    began = time.monotonic()
    try:
        for one in load.servers:
            until(lambda s=one: health(s) == "degraded", "degraded")
        while True:
            for index in (0, 1):
                load.moves(index, load.tasks[index][0])
                assert health(load.servers[index]) == "degraded"
            assert load.report()["ok"]
            if time.monotonic() - began > outage_s:
                break
        refused = load.watchers[0].refused("cancel_task", load.tasks[1][0])
        assert refused["code"] == "unavailable"
    finally:
        outage.end()
    load.all_move()
    for one in load.servers:
        until(lambda s=one: health(s) == "ok", "health")


@pytest.mark.parametrize("fault", FAULTS)
def test_local_work_goes_on_without_redis_and_all_agree_after_it(
    redis_server: Callable[..., Any], server: Callable[..., Any], fault: str
) -> None:
    _ride_out_all(redis_server, server, fault, times=1, outage_s=3.0)


@pytest.mark.soak
@pytest.mark.parametrize("fault", FAULTS)
def test_twenty_outages_in_a_row_change_nothing_of_that(
    redis_server: Callable[..., Any], server: Callable[..., Any], fault: str
) -> None:
    _ride_out_all(redis_server, server, fault, times=20, outage_s=5.0)


@pytest.mark.soak
def test_a_redis_that_hangs_for_a_minute_and_a_half_makes_nobody_dead(
    redis_server: Callable[..., Any], server: Callable[..., Any]
) -> None:
    _ride_out_all(redis_server, server, "paused", times=1, outage_s=90.0)


def _ride_out_all(
    redis_server: Callable[..., Any],
    server: Callable[..., Any],
    fault: str,
    *,
    times: int,
    outage_s: float,
) -> None:
    redis = redis_server(appendonly=fault == "killed with a file")
    url = f"{redis.url}?lease_s=4"
    here, there = (server("--store", url, "--tasks", JOBS) for _ in "12")
    load = Load(here, there)
    try:
        load.all_move()
        for _ in range(times):
            ride_out(redis, load, fault, outage_s)
        ends = load.end()
    finally:
        load.close()
    assert [end["status"] for end in ends] == ["cancelled"] * 4 + ["completed"]
    store = open_store(url, data=here.data)
    stored = {state.task_id: state.status.value for state in store.load()}
    store.close()
    assert stored == {end["task_id"]: end["status"] for end in ends}

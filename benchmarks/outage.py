"""How soon all watchers agree after Redis was away, and how soon /healthz answers meanwhile.

    python benchmarks/outage.py [--kinds killed file paused] [--times 20] [--seconds 3] [--tasks 20]

Two servers share a Redis that is killed and started again empty (`killed`), killed and started again with its
append-only file (`file`), or stopped and continued (`paused`). Server A runs the tasks, each at 10 Hz, and a
watcher at either server sees all of them. An outage is over for a watcher when it has seen of every task what A had
when Redis answered again, or newer.
"""

from __future__ import annotations

import argparse
import http.client
import json
import shutil
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from urllib.parse import urlsplit

from servers import Redis, redis
from serving import Served, serving
from swarm import Swarm, Watcher

HZ = 10.0
MOST_S = 60.0


class View:
    """What a watcher has seen last of each task.

    Args:
        url: the server's.
        ids: the tasks.
    """

    def __init__(self, url: str, ids: list[str]) -> None:
        self._swarm = Swarm(url, 1, confirms=True, batches=True)
        self._watcher: Watcher = self._swarm.watchers[0]
        self.counts: dict[str, float] = {}
        for task_id in ids:
            task = self._swarm.call(self._watcher, "watch_task", task_id)["task"]
            self.counts[task_id] = task["current"]

    def look(self) -> None:
        """Take what has come."""
        self._swarm.run(lambda: True, 0)
        self._swarm.run(lambda: False, 0.01)
        for _, name, told in self._watcher.events:
            for state in told if name == "progress_updates" else [told]:
                if "current" in state:
                    self.counts[state["task_id"]] = state["current"]
        self._watcher.events.clear()

    def has_seen(self, counts: dict[str, float]) -> bool:
        """Return whether all tasks are seen at these counts or above."""
        return all(self.counts[task_id] >= count for task_id, count in counts.items())

    def close(self) -> None:
        """Leave."""
        self._swarm.close()


def fail(server: Redis, kind: str) -> None:
    """Have Redis be away from now on."""
    if kind != "paused":
        server.kill()
    elif server.process is not None:
        server.process.send_signal(signal.SIGSTOP)


def come_back(server: Redis, kind: str) -> None:
    """Have Redis answer again."""
    if kind != "paused":
        server.start()
    elif server.process is not None:
        server.process.send_signal(signal.SIGCONT)


def health(server: Served) -> tuple[str, float]:
    """Return what /healthz says, and after how many seconds."""
    began = time.monotonic()
    connection = http.client.HTTPConnection(urlsplit(server.url).netloc, timeout=30)
    connection.request("GET", "/healthz")
    status = json.load(connection.getresponse())["status"]
    connection.close()
    return str(status), time.monotonic() - began


@contextmanager
def working(kind: str, tasks: int) -> Iterator[tuple[Redis, list[Served], list[View]]]:
    """Run two servers, tasks at the first, and a watcher at both."""
    with ExitStack() as held:
        folder = held.enter_context(tempfile.TemporaryDirectory())
        keeps = "yes" if kind == "file" else "no"
        server = held.enter_context(redis("--dir", folder, "--appendonly", keeps))
        servers = [held.enter_context(serving("eventlet", "--store", server.url)) for _ in "AB"]
        ids = [f"task-{number}" for number in range(tasks)]
        starter = Swarm(servers[0].url, 1)
        held.callback(starter.close)
        for task_id in ids:
            wanted = {"task": "across", "task_id": task_id, "args": {"seconds": 10**5, "hz": HZ}}
            assert starter.call(starter.watchers[0], "start_task", wanted)["ok"]
            starter.call(starter.watchers[0], "unwatch_task", task_id)
        time.sleep(1)
        views = [View(one.url, ids) for one in servers]
        for view in views:
            held.callback(view.close)
        yield server, servers, views


def wait(views: list[View], over: Callable[[], bool], most_s: float) -> float:
    """Watch until something is the case; return after how many seconds it was."""
    began = time.monotonic()
    while not over() and time.monotonic() - began < most_s:
        for view in views:
            view.look()
    return time.monotonic() - began


def measure(kind: str, given: argparse.Namespace) -> str:
    """Return what outages of a kind did, in words."""
    agreed_s: list[float] = []
    slowest_s, degraded, moved = 0.0, 0, 0
    with working(kind, given.tasks) as (server, servers, (here, there)):
        for _ in range(given.times):
            before = dict(here.counts)
            fail(server, kind)
            wait([here, there], lambda: False, given.seconds)
            told = [health(one) for one in servers]
            slowest_s = max(slowest_s, *(seconds for _, seconds in told))
            degraded += all(status == "degraded" for status, _ in told)
            moved += all(here.counts[i] > count for i, count in before.items())
            come_back(server, kind)
            here.look()
            known = dict(here.counts)
            agreed_s.append(wait([here, there], partial(there.has_seen, known), MOST_S))
    return (
        f"{kind}: {given.times} outages of {given.seconds:g} s; the watchers agree after "
        f"median {sorted(agreed_s)[len(agreed_s) // 2]:.2f}, at most {max(agreed_s):.2f} s; meanwhile "
        f"local tasks moved in {moved}, both servers said degraded in {degraded}, "
        f"/healthz took at most {slowest_s * 1000:.0f} ms"
    )


def main() -> None:
    """Measure each kind, and print what was found."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument(
        "--kinds",
        nargs="+",
        choices=["killed", "file", "paused"],
        default=["killed", "file", "paused"],
    )
    parser.add_argument("--times", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--tasks", type=int, default=20)
    given = parser.parse_args()
    if shutil.which("redis-server") is None:
        parser.exit(
            1, "redis-server is needed; on Debian and Ubuntu: apt-get install redis-server\n"
        )
    for kind in given.kinds:
        print(measure(kind, given), flush=True)


if __name__ == "__main__":
    main()

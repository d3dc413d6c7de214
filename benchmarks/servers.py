"""Updates through Redis to watchers of another server, beside Flask-SocketIO's own RedisManager.

    python benchmarks/servers.py [--tasks 100] [--hz 20] [--seconds 10] [--watchers 1] [--restart]

Server A runs the tasks, on its loop and each in its own time, for both products alike; the watchers are at server B,
ours confirm and ask for batches, as the page does. Prints for each product the processor time of A and B together,
the updates that were made and that arrived a processor second, the delay from the update to the watcher, and how
many tasks' last states arrived: of ours not all updates are to arrive, as newer ones replace them on their way. With
`--restart` Redis is killed in the middle and started again, empty, two seconds later.
"""

from __future__ import annotations

import argparse
import json
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
from serving import Served, quantiles_ms, serving
from swarm import Swarm, Watcher

OUTAGE_S = 2.0
SETTLE_S = 8.0
MOST_A_REPORT = 500


@dataclass
class Redis:
    """A redis-server of our own, with further options."""

    port: int
    options: Sequence[str] = ()
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        command = ["redis-server", "--port", str(self.port), "--save", "", "--bind", "127.0.0.1"]
        self.process = subprocess.Popen([*command, *self.options], stdout=subprocess.DEVNULL)
        while not self._answers():
            time.sleep(0.01)

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def _answers(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), 1) as connection:
                connection.sendall(b"PING\r\n")
                return connection.recv(16).startswith(b"+PONG")  # while it loads, an error
        except OSError:
            return False


@dataclass
class Found:
    """What was measured of one product."""

    made: int = 0
    cpu_s: float = 0.0
    arrived: int = 0
    delays_s: list[float] = field(default_factory=list)
    ends: int = 0

    def told(self, name: str) -> str:
        return (
            f"{name}: {self.made / self.cpu_s:,.0f} updates made and "
            f"{self.arrived / self.cpu_s:,.0f} arrived a CPU second ({self.cpu_s:.2f} s); "
            f"delay {quantiles_ms(self.delays_s or [0.0])}; {self.ends} last states arrived"
        )


@contextmanager
def redis(*options: str) -> Iterator[Redis]:
    """Run a redis-server on a free port."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        server = Redis(sock.getsockname()[1], options)
    server.start()
    try:
        yield server
    finally:
        server.kill()


@contextmanager
def stock(redis_url: str, *args: str) -> Iterator[Served]:
    """Run the peer's server."""
    command = [sys.executable, "-W", "ignore", str(Path(__file__).with_name("stock.py"))]
    process = subprocess.Popen(
        [*command, "--redis", redis_url, *args],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdout is not None
    try:
        yield Served(process.stdout.readline().strip(), process.pid)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()


def cpu_s(servers: list[Served]) -> float:
    """Return the processor seconds that the servers have used, without their workers."""
    return sum(sum(psutil.Process(server.pid).cpu_times()[:2]) for server in servers)


class Run:
    """One product's run: its servers, its watchers, the outage."""

    def __init__(self, given: argparse.Namespace, server: Redis, servers: list[Served]) -> None:
        self.given, self.redis, self.servers = given, server, servers
        self.last = round(given.hz * given.seconds)
        self.outage: list[float] = []

    def take(
        self, watchers: Swarm, drive: Callable[[float], None], over: Callable[[], bool]
    ) -> Found:
        """Drive the load, and return what came of it."""
        used, began = cpu_s(self.servers), time.monotonic()
        while time.monotonic() - began < self.given.seconds + 1:
            drive(time.monotonic() - began)
            watchers.run(lambda: False, 0.005)
            self._interrupt(time.monotonic() - began)
        watchers.run(over, SETTLE_S)  # what a server is late with, it has still to pay for
        found = Found(made=self.given.tasks * self.last, cpu_s=cpu_s(self.servers) - used)
        for watcher in watchers.watchers:
            self._count(watcher, found)
        return found

    def _interrupt(self, now: float) -> None:
        if not self.given.restart:
            return
        begin = self.given.seconds / 2
        if now >= begin and not self.outage:
            self.redis.kill()
            self.outage.append(now)
        if now >= begin + OUTAGE_S and len(self.outage) == 1:
            self.redis.start()
            self.outage.append(now)

    def _count(self, watcher: Watcher, found: Found) -> None:
        ended: set[str] = set()
        for at, update in _states(watcher):
            found.arrived += 1
            if update["message"]:
                found.delays_s.append(at - float(update["message"]))
            if update["status"] == "completed":
                ended.add(update["task_id"])
        found.ends += len(ended)


def measure_stock(given: argparse.Namespace) -> Found:
    """Measure Flask-SocketIO with its RedisManager."""
    args = ["--tasks", str(given.tasks), "--hz", str(given.hz), "--seconds", str(given.seconds)]
    with ExitStack() as held:
        server = held.enter_context(redis())
        a = held.enter_context(stock(server.url, *args))
        b = held.enter_context(stock(server.url, *args))
        starter, watchers = Swarm(a.url, 1), Swarm(b.url, given.watchers)
        for watcher in watchers.watchers:
            watchers.call(watcher, "watch")
        run = Run(given, server, [a, b])
        asked = starter.ask(starter.watchers[0], "go")
        starter.run(lambda: asked in starter.watchers[0].acks, 5)
        return run.take(watchers, lambda _: None, lambda: _have_ended(watchers) == given.tasks)


def measure_ours(given: argparse.Namespace) -> Found:
    """Measure two of our servers on one Redis store; the tasks run at A, the watchers are at B."""
    with ExitStack() as held:
        server = held.enter_context(redis())
        a, b = (held.enter_context(serving("eventlet", "--store", server.url)) for _ in range(2))
        starter = Swarm(a.url, 1)
        watchers = Swarm(b.url, given.watchers, confirms=True, batches=True)
        run = Run(given, server, [a, b])
        args = {"seconds": given.seconds, "hz": given.hz}
        ids = [f"task-{number}" for number in range(given.tasks)]

        def start(task_id: str) -> bool:
            wanted = {"task": "across", "args": args, "task_id": task_id}
            return bool(starter.call(starter.watchers[0], "start_task", wanted)["ok"])

        assert all(start(task_id) for task_id in ids)
        for task_id in ids:  # the watchers are at B alone
            starter.call(starter.watchers[0], "unwatch_task", task_id)
        for watcher in watchers.watchers:
            assert all(watchers.call(watcher, "watch_task", i)["ok"] for i in ids)
        return run.take(watchers, lambda _: None, lambda: _have_ended(watchers) == given.tasks)


def measure_reported(given: argparse.Namespace) -> Found:
    """Measure the same with the work elsewhere: one reporter's connection to A tells of all tasks."""
    with ExitStack() as held:
        server = held.enter_context(redis())
        a, b = (held.enter_context(serving("eventlet", "--store", server.url)) for _ in range(2))
        reporter = Swarm(a.url, 1)
        watchers = Swarm(b.url, given.watchers, confirms=True, batches=True)
        run = Run(given, server, [a, b])
        me = reporter.watchers[0]
        ids = [f"task-{number}" for number in range(given.tasks)]
        for task_id in ids:
            opening = {"name": "across", "title": f"Task {task_id}", "task_id": task_id}
            assert reporter.call(me, "open_task", {**opening, "total": run.last})["ok"]
        for watcher in watchers.watchers:
            for task_id in ids:
                watched = lambda w=watcher, i=task_id: watchers.call(w, "watch_task", i)["ok"]  # noqa: E731
                assert watchers.run(watched, 5)

        asked: list[int] = []

        def drive(now: float) -> None:
            step = min(int(now * given.hz), run.last)
            if asked and asked[0] == step:
                return
            asked[:] = [step]
            for at in range(0, len(ids), MOST_A_REPORT):
                reports = [_report(i, step, run.last) for i in ids[at : at + MOST_A_REPORT]]
                reporter.ask(me, "report", reports)
            reporter.run(lambda: True, 0)

        return run.take(watchers, drive, lambda: _have_ended(watchers) == given.tasks)


def _have_ended(watchers: Swarm) -> int:
    """Return how many tasks' ends the first watcher has been told of."""
    told = [update for _, update in _states(watchers.watchers[0])]
    return len({update["task_id"] for update in told if update["status"] == "completed"})


def _states(watcher: Watcher) -> Iterator[tuple[float, dict[str, Any]]]:
    """Yield the states that a watcher was told, alone or with others, and when."""
    for at, name, told in watcher.events:
        if name in {"progress_update", "progress_updates"}:
            for update in [told] if name == "progress_update" else told:
                yield at, update


def _report(task_id: str, step: int, last: int) -> dict[str, Any]:
    report: dict[str, Any] = {
        "task_id": task_id,
        "current": step,
        "message": str(time.monotonic()),
        "reporter_seq": step,
    }
    return {**report, "status": "completed"} if step == last else report


def main() -> None:
    """Measure both products, one after the other."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--tasks", type=int, default=100)
    parser.add_argument("--hz", type=float, default=20.0)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--watchers", type=int, default=1)
    parser.add_argument("--restart", action="store_true")
    given = parser.parse_args()
    if shutil.which("redis-server") is None:
        sys.exit("redis-server is needed; on Debian and Ubuntu: apt-get install redis-server")
    theirs = measure_stock(given)
    print(theirs.told("Flask-SocketIO, RedisManager"), flush=True)
    ours = measure_ours(given)
    print(ours.told("socketprogress, Redis store"), flush=True)
    print(measure_reported(given).told("socketprogress, Redis store, of a reporter"))
    made = (ours.made / ours.cpu_s) / (theirs.made / theirs.cpu_s)
    arrived = (ours.arrived / ours.cpu_s) / (theirs.arrived / theirs.cpu_s)
    ratios = {"made_a_cpu_second": made, "arrived_a_cpu_second": arrived}
    print(json.dumps({name: round(ratio, 2) for name, ratio in ratios.items()}))


if __name__ == "__main__":
    main()

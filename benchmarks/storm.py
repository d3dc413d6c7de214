"""What tasks that report as fast as they can cost the server that 100 clients watch the list of.

    python benchmarks/storm.py [--mode eventlet|threading|gevent]… [--tasks 200] [--seconds 15]
                               [--in thread|process]

Prints the server's own CPU (cores), list updates a watcher and second, and its memory over time.
"""

from __future__ import annotations

import argparse
import time

import psutil
from serving import Served, serving
from swarm import Swarm

WATCHERS = 100
SETTLE_S = 2.0
SAMPLE_S = 0.5
PATIENCE_S = 120.0


def measure(served: Served, task: str, count: int, seconds: float) -> str:
    """Return what was measured while `count` tasks report for so many seconds."""
    swarm = Swarm(served.url, WATCHERS, keep=lambda name: name == "tasks_update")
    first = swarm.watchers[0]
    for watcher in swarm.watchers:
        swarm.call(watcher, "watch_tasks")
    starters = [swarm.connect() for _ in range(1 + count // 100)]
    swarm.run(lambda: all(s.connected for s in starters), 30)
    for number in range(count):
        payload = {"task": task, "args": {"seconds": seconds}}
        swarm.call(starters[number % len(starters)], "start_task", payload)
    swarm.run(lambda: False, SETTLE_S)

    process = psutil.Process(served.pid)
    cpu, began = sum(process.cpu_times()[:2]), time.monotonic()
    heard = sum(len(watcher.events) for watcher in swarm.watchers[:WATCHERS])
    memory = []
    while time.monotonic() - began < seconds - SETTLE_S - 1:
        swarm.run(lambda: False, SAMPLE_S)
        memory.append(process.memory_info().rss >> 20)
    took = time.monotonic() - began
    cores = (sum(process.cpu_times()[:2]) - cpu) / took
    heard = sum(len(watcher.events) for watcher in swarm.watchers[:WATCHERS]) - heard

    def over() -> bool:
        return bool(swarm.call(first, "list_tasks", {"limit": 1})["counts"]["completed"] == count)

    all_over = swarm.run(over, seconds + PATIENCE_S)
    dropped = sum(watcher.closed for watcher in swarm.watchers)
    swarm.close()
    return (
        f"{cores:.2f} cores; {heard / WATCHERS / took:.2f} list updates a watcher and second; "
        f"{memory[0]}, {memory[len(memory) // 2]}, {memory[-1]} MiB at start, half and end; "
        f"{'all' if all_over else 'not all'} tasks completed; {dropped} watchers dropped"
    )


def main() -> None:
    """Measure every mode."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--mode", action="append", choices=["eventlet", "threading", "gevent"])
    parser.add_argument("--tasks", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=15.0)
    parser.add_argument("--in", dest="where", choices=["thread", "process"], default="thread")
    given = parser.parse_args()
    task = "storm_thread" if given.where == "thread" else "storm"
    for mode in given.mode or ["eventlet", "threading"]:
        workers = str(given.tasks if given.where == "process" else 1)
        with serving(mode, "--workers", workers) as served:
            told = measure(served, task, given.tasks, given.seconds)
        print(f"{mode}, {given.tasks} tasks in a {given.where} each: {told}")


if __name__ == "__main__":
    main()

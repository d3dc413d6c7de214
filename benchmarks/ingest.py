"""How much reporting one server takes: many processes with many bars each, reported at a steady pace.

    python benchmarks/ingest.py [--processes 20] [--bars 50] [--hz 10] [--seconds 10] [--mode eventlet]

The processes send hand-framed WebSockets, so that they cost little beside the server. Each sends one
list with a report of each of its bars, awaits the ack, and ends all of its bars; afterwards every
bar has to be `completed` with its true count.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import re
import subprocess
import sys
import tempfile
import time
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from swarm import Swarm

START_TOGETHER_S = 2.0


@dataclass(frozen=True)
class Load:
    """What each process does."""

    url: str
    bars: int
    hz: float
    rounds: int
    begin_at: float


def report(number: int, load: Load) -> dict[str, Any]:
    """Open bars, report on them at a steady pace, end them; return what it took."""
    swarm = Swarm(load.url, 1)
    me = swarm.watchers[0]
    ids = [f"p{number}-{bar}" for bar in range(load.bars)]
    for task_id in ids:
        opening = {"name": "ingest", "task_id": task_id, "total": load.rounds + 1}
        if not swarm.call(me, "open_task", opening)["ok"]:
            raise RuntimeError(f"{task_id} could not be opened")
    swarm.run(lambda: time.time() >= load.begin_at, START_TOGETHER_S + 60)
    waits, late, start = [], 0.0, time.monotonic()
    for turn in range(load.rounds):
        due = start + turn / load.hz
        swarm.run(lambda due=due: time.monotonic() >= due, 60)
        late = max(late, time.monotonic() - due)
        batch = [{"task_id": i, "current": turn + 1, "reporter_seq": turn} for i in ids]
        asked = time.monotonic()
        ack = swarm.call(me, "report", batch)
        waits.append(time.monotonic() - asked)
        if not ack["ok"] or ack["errors"]:
            raise RuntimeError(f"refused: {ack}")
    took = time.monotonic() - start
    last = load.rounds
    ends = [
        {"task_id": i, "current": last + 1, "status": "completed", "reporter_seq": last}
        for i in ids
    ]
    ack = swarm.call(me, "report", ends)
    swarm.close()
    return {"took_s": took, "waits_s": waits, "late_s": late, "errors": ack["errors"]}


def cpu_s(pid: int) -> float:
    """Return the processor seconds that a process has used; its children count once they are over."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")


def rss_mib(pid: int) -> float:
    """Return the memory that a process holds."""
    found = re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())
    return int(found.group(1)) / 1024 if found else 0.0


def start_server(folder: Path, mode: str) -> tuple[subprocess.Popen[str], str]:
    """Start a server and return it with its URL."""
    command = [sys.executable, "-m", "socketprogress", "serve", "--port", "0"]
    command += ["--data", str(folder), "--root", str(folder), "--async-mode", mode]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    line = process.stdout.readline() if process.stdout else ""
    return process, line.rpartition(" ")[2].strip()


def wrong_bars(url: str, wanted: int, count: int) -> list[str]:
    """Return the ids of bars that did not end as they should, and `missing` for each absent one."""
    found, wrong, before = 0, [], ""
    while True:
        address = f"{url}/api/tasks?limit=1000{before}"
        with urllib.request.urlopen(address) as response:  # noqa: S310 - our own server
            page = json.load(response)
        for task in page["tasks"]:
            if task["name"] != "ingest":
                continue
            found += 1
            if (task["status"], task["progress"], task["current"]) != ("completed", 100, count):
                wrong.append(task["task_id"])
        if page["next"] is None:
            return wrong + ["missing"] * (wanted - found)
        before = f"&before={page['next']}"


def measure(url: str, pid: int, options: argparse.Namespace) -> dict[str, Any]:
    """Put the load on a server and return what came of it."""
    rounds = round(options.hz * options.seconds)
    begin_at = time.time() + START_TOGETHER_S + 0.02 * options.processes
    load = Load(url, options.bars, options.hz, rounds, begin_at)
    with multiprocessing.get_context("spawn").Pool(options.processes) as pool:
        pending = pool.starmap_async(report, [(n, load) for n in range(options.processes)])
        pending.wait(max(begin_at - time.time(), 0))
        used, began = cpu_s(pid), time.monotonic()
        pending.wait(options.seconds)
        used, took = cpu_s(pid) - used, time.monotonic() - began
        results = pending.get()
    waits = sorted(wait for result in results for wait in result["waits_s"])
    slowest = max(result["took_s"] for result in results)
    events = options.processes * rounds
    return {
        "mode": options.mode,
        "events_per_s": round(events / slowest),
        "reports_per_s": round(events * options.bars / slowest),
        "server_cores": round(used / took, 2),
        "server_rss_mib": round(rss_mib(pid)),
        "ack_p50_ms": round(1000 * waits[len(waits) // 2], 1),
        "ack_p99_ms": round(1000 * waits[int(0.99 * len(waits))], 1),
        "refused": sum(len(result["errors"]) for result in results),
        "wrong": wrong_bars(url, options.processes * options.bars, rounds + 1),
    }


def main() -> int:
    """Run the benchmark and print its result as JSON; 1 if a bar is wrong in the end."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--processes", type=int, default=20)
    parser.add_argument("--bars", type=int, default=50)
    parser.add_argument("--hz", type=float, default=10.0)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--mode", default="eventlet")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        server, url = start_server(Path(folder), options.mode)
        try:
            found = measure(url, server.pid, options)
        finally:
            server.terminate()
            server.wait(30)
    print(json.dumps(found))
    return 1 if found["wrong"] or found["refused"] else 0


if __name__ == "__main__":
    sys.exit(main())

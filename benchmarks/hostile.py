"""How far CPU-bound tasks hold up the server: /healthz at 20 Hz, and 200 watchers of a calm task.

    python benchmarks/hostile.py [--mode eventlet|threading|gevent]… [--seconds 8]

Measured without any task beside it, with two CPU-bound tasks in processes, and with two in threads.
"""

from __future__ import annotations

import argparse
import http.client
import threading
import time
from itertools import pairwise

from serving import Served, quantiles_ms, serving
from swarm import Swarm

WATCHERS = 200
HEALTH_HZ = 20.0
CALM_HZ = 20.0
ENDED = frozenset({"completed", "failed", "cancelled"})


class Health:
    """Asks /healthz all the while, and keeps how long each answer took (seconds)."""

    def __init__(self, url: str) -> None:
        self.latencies: list[float] = []
        self.failures = 0
        self._address = url.partition("//")[2]
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop asking."""
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        connection = http.client.HTTPConnection(self._address, timeout=10)
        while not self._over.is_set():
            began = time.monotonic()
            try:
                connection.request("GET", "/healthz")
                connection.getresponse().read()
                self.latencies.append(time.monotonic() - began)
            except OSError:
                self.failures += 1
                connection.close()
            self._over.wait(max(0.0, 1 / HEALTH_HZ - (time.monotonic() - began)))
        connection.close()


def measure(served: Served, hostile: str | None, seconds: float) -> str:
    """Return what was measured with two tasks of a kind beside the calm one."""
    swarm = Swarm(served.url, WATCHERS, keep=lambda name: name == "progress_update")
    first, *others = swarm.watchers
    args = {"seconds": seconds + 1, "hz": CALM_HZ}
    calm = swarm.call(first, "start_task", {"task": "sleeper", "args": args})["task_id"]
    for watcher in others:
        swarm.call(watcher, "watch_task", calm)
    health = Health(served.url)
    for _ in range(2 if hostile else 0):
        swarm.call(others[0], "start_task", {"task": hostile, "args": {"seconds": seconds}})

    def ended() -> bool:
        return bool(first.events) and first.events[-1][2]["status"] in ENDED

    swarm.run(ended, 10 * seconds)
    swarm.run(lambda: False, 1.0)
    health.close()
    arrivals = [[at for at, _, p in w.events if p["task_id"] == calm] for w in swarm.watchers]
    gaps = [later - sooner for times in arrivals for sooner, later in pairwise(times)]
    dropped = sum(watcher.closed for watcher in swarm.watchers)
    swarm.close()
    return (
        f"/healthz {quantiles_ms(health.latencies)} ({health.failures} failed); "
        f"gaps between updates {quantiles_ms(gaps)}; {dropped} watchers dropped"
    )


def main() -> None:
    """Measure every mode without and with hostile tasks."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--mode", action="append", choices=["eventlet", "threading", "gevent"])
    parser.add_argument("--seconds", type=float, default=8.0)
    given = parser.parse_args()
    for mode in given.mode or ["eventlet", "threading"]:
        for hostile in (None, "burn", "burn_thread"):
            with serving(mode, "--workers", "4") as served:
                told = measure(served, hostile, given.seconds)
            print(f"{mode}, {f'two of {hostile}' if hostile else 'nothing beside'}: {told}")


if __name__ == "__main__":
    main()

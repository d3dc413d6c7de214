"""How far behind a watcher is over a slow link, with and without confirming what has arrived.

    python benchmarks/throttled.py [--mode eventlet|threading|gevent]… [--seconds 20] [--kbit 50] [--delay-ms 400]

A task reports at 20 Hz, and a second watcher's link is as fast as can be. "Behind" is how old the state is
that a watcher has, at every moment.
"""

from __future__ import annotations

import argparse
import time
from itertools import pairwise

from serving import serving
from slowlink import SlowLink
from swarm import Swarm, Watcher

HZ = 20.0
STEP_S = 0.02
ENDED = frozenset({"completed", "failed", "cancelled"})


def behind_s(watcher: Watcher, since: float) -> list[float]:
    """Return how old the newest state known was, at every 20 ms from `since` (monotonic) on."""
    ahead = time.time() - time.monotonic()
    known = [(at, p["updated_at"] - ahead) for at, _, p in watcher.events]
    ages = []
    for (came_at, made), (next_at, _) in pairwise(known):
        at = max(came_at, since)
        while at < next_at:
            ages.append(at - made)
            at += STEP_S
    return ages


def measure(url: str, link: SlowLink, seconds: float, *, confirms: bool) -> str:
    """Return what was measured of one watcher behind the link, and of one beside it."""
    keep = lambda name: name == "progress_update"  # noqa: E731
    near = Swarm(url, 1, keep=keep, confirms=confirms)
    far = Swarm(link.url, 1, keep=keep, confirms=confirms)
    args = {"seconds": seconds + 3, "hz": HZ}
    task_id = near.call(near.watchers[0], "start_task", {"task": "sleeper", "args": args})[
        "task_id"
    ]
    far.call(far.watchers[0], "watch_task", task_id)
    since = time.monotonic() + 3
    while time.monotonic() < since + seconds:
        far.run(lambda: False, 0.005)
        near.run(lambda: False, 0.005)
    told = []
    for name, swarm in (("slow", far), ("fast", near)):
        watcher = swarm.watchers[0]
        ages = sorted(behind_s(watcher, since))
        p50, p99 = (ages[int(len(ages) * q)] if ages else float("inf") for q in (0.5, 0.99))
        most = ages[-1] if ages else float("inf")
        count = sum(at >= since for at, _, _ in watcher.events)
        told.append(
            f"{name}: behind by p50 {p50:.2f}, p99 {p99:.2f}, max {most:.2f} s, "
            f"{count / seconds:.1f} states/s, {watcher.asked} confirmations"
        )
        swarm.close()
    return "; ".join(told) + f"; at most {link.most_waiting:,} bytes waited in the link"


def main() -> None:
    """Measure every mode."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--mode", action="append", choices=["eventlet", "threading", "gevent"])
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--kbit", type=float, default=50.0)
    parser.add_argument("--delay-ms", type=float, default=400.0)
    given = parser.parse_args()
    for mode in given.mode or ["eventlet", "threading", "gevent"]:
        for confirms in (True, False):
            with (
                serving(mode) as served,
                SlowLink(
                    served.url, bits_per_s=given.kbit * 1e3, delay_s=given.delay_ms / 1e3
                ) as link,
            ):
                told = measure(served.url, link, given.seconds, confirms=confirms)
            print(f"{mode}, {'confirming' if confirms else 'plain'}: {told}", flush=True)


if __name__ == "__main__":
    main()

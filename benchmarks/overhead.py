"""What a bar costs a loop: nanoseconds an iteration above the bare loop, beside tqdm.

    python benchmarks/overhead.py [--iterations 5000000] [--rounds 5] [--url http://127.0.0.1:8765]

Every round runs each way once, one after the other, so that a machine that is busy for a while is
so for all of them; the medians are shown. A server is started for it unless one is named. The
longest gap is that of a loop which looks at the clock itself.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from tqdm import tqdm

import socketprogress
from socketprogress import Reporter, track

Way = Callable[[int], float]


def seconds_of(items: Iterable[object]) -> float:
    """Return the seconds that an empty loop over the items takes."""
    began = time.perf_counter()
    for _ in items:
        pass
    return time.perf_counter() - began


def calling(call: Callable[[], object], times: int) -> float:
    """Return the seconds that a loop takes which calls this."""
    began = time.perf_counter()
    for _ in range(times):
        call()
    return time.perf_counter() - began


def ways(url: str, quiet: Iterator[object]) -> dict[str, Way]:
    """Return what is compared: each takes a number of iterations and returns seconds."""

    def reporter(times: int) -> float:
        with Reporter("advance", total=times, url=url) as bar:
            return calling(bar.advance, times)

    def tqdm_update(times: int) -> float:
        with tqdm(total=times, file=quiet) as bar:
            return calling(bar.update, times)

    def drop_in(times: int, url: str) -> float:
        os.environ["SOCKETPROGRESS_URL"] = url
        return seconds_of(socketprogress.tqdm(range(times), file=quiet))

    def drop_in_update(times: int) -> float:
        os.environ["SOCKETPROGRESS_URL"] = url
        with socketprogress.tqdm(total=times, file=quiet) as bar:
            return calling(bar.update, times)

    return {
        "bare loop": lambda n: seconds_of(range(n)),
        "track": lambda n: seconds_of(track(range(n), url=url)),
        "tqdm": lambda n: seconds_of(tqdm(range(n), file=quiet)),
        "drop-in": lambda n: drop_in(n, url),
        "drop-in, no server": lambda n: drop_in(n, ""),
        "bare call": lambda n: calling(int, n),
        "Reporter.advance": reporter,
        "tqdm.update": tqdm_update,
        "drop-in.update": drop_in_update,
    }


def longest_gap_ms(items: Iterable[object]) -> float:
    """Return the longest time between two items, in milliseconds."""
    clock = time.perf_counter
    longest, before = 0.0, clock()
    for _ in items:
        now = clock()
        longest = max(longest, now - before)
        before = now
    return longest * 1_000


def added_mib(times: int, url: str) -> float:
    """Return what `times` updates of one reporter add to the peak memory of this process."""
    with Reporter("memory", total=times, url=url) as bar:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        for number in range(times):
            bar.message = f"number {number}"
            bar.advance()
    return (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024


@contextlib.contextmanager
def server(url: str | None) -> Iterator[str]:
    """Yield the address of a server: the one named, or one of our own for the while."""
    if url is not None:
        yield url
        return
    with tempfile.TemporaryDirectory() as folder:
        # Here and there no other server of this user's is found.
        os.environ |= {"XDG_STATE_HOME": folder, "XDG_DATA_HOME": folder}
        os.environ["XDG_RUNTIME_DIR"] = f"{folder}/nobody"
        command = [sys.executable, "-m", "socketprogress", "serve", "--port", "0"]
        env = {**os.environ, "XDG_RUNTIME_DIR": folder, "XDG_DATA_HOME": folder}
        with subprocess.Popen(
            [*command, "--root", folder, "--data", f"{folder}/data"],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env=env,
        ) as process:
            assert process.stdout is not None
            yield process.stdout.readline().split()[-1]
            process.terminate()


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--iterations", type=int, default=5_000_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--url")
    args = parser.parse_args()
    with server(args.url) as url, Path(os.devnull).open("w") as quiet:
        compared = ways(url, quiet)
        seconds: dict[str, list[float]] = {name: [] for name in compared}
        for _ in range(args.rounds):
            for name, way in compared.items():
                seconds[name].append(way(args.iterations))
        ns = {n: statistics.median(s) / args.iterations * 1e9 for n, s in seconds.items()}
        print(f"{'':18} {'ns':>8} {'above bare':>11}   (median of {args.rounds})")
        for name, value in ns.items():
            bare = ns["bare call" if "." in name or name == "bare call" else "bare loop"]
            print(f"{name:18} {value:8.1f} {value - bare:11.1f}")
        loop = (ns["track"] - ns["bare loop"]) / (ns["tqdm"] - ns["bare loop"])
        call = ns["Reporter.advance"] / ns["tqdm.update"]
        print(f"track / tqdm {loop:.2f}; Reporter.advance / tqdm.update {call:.2f}")
        with_server, without = ns["drop-in"] / ns["tqdm"], ns["drop-in, no server"] / ns["tqdm"]
        update = ns["drop-in.update"] / ns["tqdm.update"]
        print(f"drop-in / tqdm {with_server:.2f}, no server {without:.2f}, update {update:.2f}")
        gap = longest_gap_ms(track(range(args.iterations), url=url))
        print(f"longest gap of a track loop {gap:.1f} ms, of a bare one", end=" ")
        print(f"{longest_gap_ms(range(args.iterations)):.1f} ms")
        print(f"memory of a million updates {added_mib(1_000_000, url):.1f} MiB")


if __name__ == "__main__":
    main()

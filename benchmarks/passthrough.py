"""What `socketprogress run` costs a command that writes as fast as it can.

    python benchmarks/passthrough.py [--rounds 5]

Each command writes into a terminal: alone, through Python's own `pty.spawn`, through `script` where
it is installed, and through `socketprogress run` (with a server, if one runs on this host). The
rounds take turns; the medians of wall and CPU seconds are printed, and how they compare with the
best pass-through.
"""

from __future__ import annotations

import argparse
import os
import pty
import resource
import shutil
import statistics
import subprocess
import sys
import time

COMMANDS = {
    "yes | head -n 10M": "yes | head -n 10000000",
    "seq 3M": "seq 3000000",
    "100 MB of urandom": "head -c 100000000 /dev/urandom",
}
SPAWN = "import pty, sys; sys.exit(pty.spawn(sys.argv[1:]) >> 8)"
READ_BYTES = 1 << 16


def ways(script: str) -> dict[str, list[str]]:
    """Return the command lines by what passes the output on."""
    found = {"alone": ["sh", "-c", script]}
    tool = shutil.which("script")
    if tool:
        found["script"] = [tool, "-qec", script, os.devnull]
    found["pty.spawn"] = [sys.executable, "-c", SPAWN, "sh", "-c", script]
    found["run"] = [sys.executable, "-m", "socketprogress", "run", "--", "sh", "-c", script]
    return found


def measure(argv: list[str]) -> tuple[float, float]:
    """Return the wall and the CPU seconds of a command that writes into a terminal of ours."""
    master, slave = pty.openpty()
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    began = time.perf_counter()
    process = subprocess.Popen(argv, stdin=slave, stdout=slave, stderr=slave)
    os.close(slave)
    try:
        while os.read(master, READ_BYTES):
            pass
    except OSError:  # nobody writes to the terminal any more
        pass
    process.wait()
    took = time.perf_counter() - began
    os.close(master)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return took, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    for name, script in COMMANDS.items():
        times: dict[str, list[tuple[float, float]]] = {}
        for _ in range(rounds):
            for way, argv in ways(script).items():
                times.setdefault(way, []).append(measure(argv))
        print(name)
        wall = {way: statistics.median(t[0] for t in found) for way, found in times.items()}
        cpu = {way: statistics.median(t[1] for t in found) for way, found in times.items()}
        best = min(wall[way] for way in wall if way not in {"alone", "run"})
        for way in times:
            print(
                f"  {way:10} {wall[way]:6.2f} s wall  {cpu[way]:6.2f} s CPU"
                f"  {wall[way] / best:5.2f} x the best pass-through"
            )


if __name__ == "__main__":
    main()

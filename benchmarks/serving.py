"""A server to measure: started with the tasks of `work.py`, stopped at the end."""

from __future__ import annotations

import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

WORK = str(Path(__file__).with_name("work.py"))
STOP_S = 10


@dataclass(frozen=True)
class Served:
    """A running server: where it is, and its process."""

    url: str
    pid: int


@contextmanager
def serving(mode: str, *args: str) -> Iterator[Served]:
    """Run a server in an async mode, with further arguments."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "root"
        root.mkdir()
        command = [sys.executable, "-m", "socketprogress", "serve", "--port", "0"]
        command += ["--root", str(root), "--data", f"{folder}/data", "--tasks", WORK]
        process = subprocess.Popen(
            [*command, "--async-mode", mode, "--log-level", "error", *args],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert process.stdout is not None
        try:
            yield Served(process.stdout.readline().split()[-1], process.pid)
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(STOP_S)
            process.stdout.close()


def quantiles_ms(seconds: Sequence[float]) -> str:
    """Return the median, the 99th percentile and the maximum, in milliseconds."""
    ranked = sorted(seconds)
    p50, p99 = (ranked[min(int(len(ranked) * q), len(ranked) - 1)] for q in (0.5, 0.99))
    return f"p50 {p50 * 1e3:.1f}, p99 {p99 * 1e3:.0f}, max {ranked[-1] * 1e3:.0f} ms"

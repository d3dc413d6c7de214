"""Task functions for the servers of these tests: gentle ones, and ones that misbehave."""

from __future__ import annotations

import asyncio
import hashlib
import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from socketprogress import Reporter, task


@dataclass
class Box:
    """An argument with parts of its own."""

    size: int
    name: str = "box"


@task
def instant() -> int:
    """Is over at once, in a worker process."""
    return 42


@task(executor="thread")
def instant_thread() -> int:
    """Is over at once, in a thread."""
    return 42


@task(executor="thread")
def count(progress: Reporter, total: int = 50, hz: float = 100.0) -> int:
    """Counts at a steady pace."""
    for _ in progress.track(range(total)):
        time.sleep(1 / hz)
    return total


@task
def count_apart(progress: Reporter, total: int = 50, hz: float = 100.0) -> int:
    """Counts at a steady pace in a worker process."""
    for _ in progress.track(range(total)):
        time.sleep(1 / hz)
    return total


@task(steps=["Scan", "Pack"])
def stepped(progress: Reporter, hold_s: float = 0.2) -> dict[str, int]:
    """Goes through two steps, logs, and offers a file."""
    for name in ("Scan", "Pack"):
        progress.step(name, total=2, message=f"{name}ning")
        progress.log(f"in {name}")
        for _ in range(2):
            time.sleep(hold_s / 4)
            progress.advance()
    path = progress.output_dir / "made.txt"
    path.write_text("made")
    progress.add_file(path)
    return {"steps": 2}


@task
def hold(progress: Reporter) -> None:
    """Runs until it is cancelled."""
    progress.total = 2
    progress.advance()
    progress.log("holding")
    while True:
        time.sleep(0.01)
        progress.check()


@task(executor="thread")
def hold_thread(progress: Reporter) -> None:
    """Runs in a thread until it is cancelled."""
    hold(progress)


@task(max_running=1)
def single(progress: Reporter) -> None:
    """Runs once at a time, until it is cancelled."""
    hold(progress)


@task(max_running=1)
def single_file(progress: Reporter, path: Path) -> None:
    """Has one file at a time, until it is cancelled."""
    hold(progress)


@task(cancellable=False, executor="thread")
def stubborn(progress: Reporter, gate: Path) -> str:
    """Cannot be cancelled; ends when a file is there."""
    while not gate.exists():
        time.sleep(0.01)
    return "through"


@task
def shaped(box: Box, where: Path | None = None, ratio: float = 1.0) -> Any:
    """Takes an argument with parts of its own."""
    return {"size": box.size, "name": box.name}


@task(executor="thread")
def lines(progress: Reporter, count: int = 10) -> None:
    """Writes so many lines into its log."""
    for number in range(count):
        progress.log(f"line {number}")


@task
def burn(seconds: float = 1.0) -> int:
    """Uses a core for nothing, in pure Python."""
    end, rounds = time.monotonic() + seconds, 0
    while time.monotonic() < end:
        rounds += 1
    return rounds


@task(executor="thread")
def burn_thread(seconds: float = 1.0) -> int:
    """Uses a core for nothing, in a thread beside the server."""
    return burn(seconds)


@task
def digest(progress: Reporter, seconds: float = 1.0) -> str:
    """Hashes."""
    end, total, block = time.monotonic() + seconds, hashlib.sha256(), b"x" * (1 << 20)
    while time.monotonic() < end:
        total.update(block)
        progress.advance(len(block))
    return total.hexdigest()


@task
def raise_late(progress: Reporter) -> None:
    """Fails with an exception."""
    progress.log("about to")
    raise ValueError("no good")


@task(executor="thread")
def raise_thread() -> None:
    """Fails with an exception in a thread."""
    raise ValueError("no good")


@task
async def wait(progress: Reporter, seconds: float = 0.5) -> str:
    """Awaits."""
    for _ in progress.track(range(5)):
        await asyncio.sleep(seconds / 5)
    return "waited"


@task
def leave() -> None:
    """Raises SystemExit."""
    sys.exit(0)


@task
def vanish() -> None:
    """Ends its own process."""
    os._exit(3)


@task
def recurse(depth: int = 0) -> int:
    """Recurses without end."""
    return recurse(depth + 1)


@task
def huge() -> str:
    """Returns more than a result may hold."""
    return "x" * (1 << 20)


@task
def odd() -> Any:
    """Returns what is no JSON."""
    return {"a set": {1, 2, 3}}


@task
def flood() -> str:
    """Prints as fast as it can."""
    for number in range(200_000):
        print(f"line {number} of many that nobody reads")  # noqa: T201
    return "printed"


@task(executor="thread")
def flood_thread(progress: Reporter) -> str:
    """Logs as fast as it can, in a thread."""
    for number in range(200_000):
        progress.log(f"line {number} of many that nobody reads")
    return "logged"


@task(executor="thread")
def storm(progress: Reporter, seconds: float = 10.0) -> None:
    """Reports as fast as it can, in a thread that lets others take turns."""
    progress.total = 10**9
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        progress.advance()
        progress.message = f"at {progress.current}"
        time.sleep(0)


@task
def storm_apart(progress: Reporter, seconds: float = 10.0) -> None:
    """Reports as fast as it can, in a worker process."""
    progress.total = 10**9
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        progress.advance()
        progress.message = f"at {progress.current}"

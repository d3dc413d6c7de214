"""Task functions for the servers of these tests: a puppet, and work that waits to be ended."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, TextIO

from socketprogress import Reporter, task

PAUSE_S = 0.01


@task(executor="thread")
def puppet(progress: Reporter, script: Path) -> Any:
    """Does what is written into a file, line by line, as it is written.

    Args:
        script: a JSON object a line: what to set, or one of `log`, `step`, `file`, `end`, `fail`.
    """
    with script.open(encoding="utf-8") as file:
        for line in _lines(file, progress):
            order = json.loads(line)
            if "end" in order:
                return order["end"]
            if "fail" in order:
                raise ValueError(order["fail"])
            _do(progress, order)
    return None


@task(executor="thread", steps=["Scan", "Pack", "Verify"])
def stepped(progress: Reporter, script: Path) -> Any:
    """Is a puppet with three steps."""
    return puppet(progress, script)


@task
def hold(progress: Reporter) -> None:
    """Is half done, and stays so until it is cancelled."""
    progress.total = 2
    progress.advance()
    progress.log("holding")
    while True:
        time.sleep(PAUSE_S)
        progress.check()


@task(executor="thread")
def steady(progress: Reporter, total: int = 100, hz: float = 20.0) -> None:
    """Counts at a steady pace, and writes as many lines."""
    for number in progress.track(range(total)):
        progress.message = f"at {number}"
        progress.log(f"line {number} of a log that is long enough to be noticed")
        time.sleep(1 / hz)


@task(title="Add {a}", executor="thread")
def add(a: int = 1, b: int = 2) -> int:
    """Adds two numbers."""
    return a + b


@task(executor="thread")
def shapes(
    where: Path,
    numbers: list[int],
    deep: bool = True,
    mode: Literal["fast", "slow"] = "fast",
    share: float | None = None,
) -> dict[str, Any]:
    """Takes one argument of each kind."""
    return {"numbers": numbers, "deep": deep, "mode": mode, "share": share}


def _lines(file: TextIO, progress: Reporter) -> Iterator[str]:
    """Yield whole lines, also those that are still to be written."""
    line = ""
    while True:
        line += file.readline()
        if line.endswith("\n"):
            yield line
            line = ""
        else:
            time.sleep(PAUSE_S)
            progress.check()


def _do(progress: Reporter, order: dict[str, Any]) -> None:
    for line in order.pop("log", ()):
        progress.log(line)
    for name, text in order.pop("file", {}).items():
        path = progress.output_dir / name
        path.write_text(text, encoding="utf-8")
        progress.add_file(path)
    if "step" in order:
        progress.step(order.pop("step"), total=order.pop("total", None))
    for name, value in order.items():
        setattr(progress, name, value)

"""Task functions that a test lets go on step by step."""

from __future__ import annotations

import pytest

GATED = """
import time
from pathlib import Path

import socketprogress
from socketprogress import Reporter


@socketprogress.task(title="Gated {label}")
def gated(progress: Reporter, gate: Path, label: str = "work", fail: bool = False) -> dict:
    progress.total = 4
    progress.advance(2)
    while not gate.exists():
        time.sleep(0.01)
        if progress.cancel_requested:
            raise socketprogress.Cancelled
    progress.advance(2)
    if fail:
        raise ValueError("the gate was wrong")
    return {"label": label}


@socketprogress.task(cancellable=False)
def stubborn(progress: Reporter, gate: Path) -> None:
    while not gate.exists():
        time.sleep(0.01)


@socketprogress.task
def kinds(count: int, ratio: float = 0.5, flag: bool = False, names: list[str] = [],
          maybe: int | None = None) -> dict:
    return {"count": count, "ratio": ratio, "flag": flag, "names": names, "maybe": maybe}
"""


@pytest.fixture(scope="session")
def gated_tasks(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The path of a file for `--tasks`: `gated` stops at half until the file `gate` is there."""
    path = tmp_path_factory.mktemp("tasks") / "gated_tasks.py"
    path.write_text(GATED, encoding="utf-8")
    return str(path)

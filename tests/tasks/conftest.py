"""What the tests of the built-in definitions share: a reporter that is watched."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from socketprogress.core.ports import Report
from socketprogress.core.registry import definition_of
from socketprogress.core.reporter import Reporter, Sampler


class Recorder(Reporter):
    """A reporter that notes every count it was set to, however busy the machine is."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.step_name = ""
        self.moves: dict[str, set[float]] = {}

    def step(self, name: str, **kwargs: Any) -> None:
        super().step(name, **kwargs)
        self.step_name = name

    def advance(self, n: float = 1) -> None:
        super().advance(n)
        self.moves.setdefault(self.step_name, set()).add(self.current)

    def check(self) -> None:
        super().check()
        self.moves.setdefault(self.step_name, set()).add(self.current)


class Watched:
    """A task function run with a real reporter, and everything that was reported."""

    def __init__(self, function: Callable[..., Any], output_dir: Path) -> None:
        definition = definition_of(function)
        self.function = function
        self.reporter = Recorder(
            steps=definition.steps if definition else (), output_dir=output_dir
        )
        self.output_dir = output_dir
        self.reports: list[Report] = []
        self._sampler = Sampler(self, interval_s=0.002)

    def send(self, reports: Sequence[Report]) -> None:
        self.reports.extend(reports)

    def run(self, *args: Any, **kwargs: Any) -> Any:
        self._sampler.add(self.reporter)
        try:
            return self.function(self.reporter, *args, **kwargs)
        finally:
            self._sampler.remove(self.reporter)
            self._sampler.close()

    def cancel_at(self, condition: Callable[[Reporter], bool]) -> None:
        """Ask for the task's end from another thread, as soon as the condition holds."""

        def watch() -> None:
            pause = threading.Event()
            while not condition(self.reporter):
                pause.wait(0.001)
            self.reporter.cancel_requested = True

        threading.Thread(target=watch, daemon=True).start()

    @property
    def log(self) -> list[str]:
        return [line for report in self.reports for line in report.get("log", ())]

    @property
    def counts(self) -> dict[str, list[tuple[float, float | None]]]:
        """(current, total) of every report, by step."""
        counts: dict[str, list[tuple[float, float | None]]] = {}
        step, current, total = "", 0.0, None
        for report in self.reports:
            step = report.get("step", step)
            current, total = report.get("current", current), report.get("total", total)
            counts.setdefault(step, []).append((current, total))
        return counts

    @property
    def left(self) -> list[str]:
        """Names in the directory for results, hidden ones included."""
        return sorted(p.name for p in self.output_dir.iterdir()) if self.output_dir.exists() else []


@pytest.fixture
def watch(tmp_path: Path) -> Callable[..., Watched]:
    """Return what wraps a task function into a `Watched` with a directory of its own."""
    number = iter(range(100))

    def wrap(function: Callable[..., Any], output_dir: Path | None = None) -> Watched:
        return Watched(function, output_dir or tmp_path / f"results{next(number)}")

    return wrap


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """An empty folder to read from."""
    folder = tmp_path / "root"
    folder.mkdir()
    return folder


@pytest.fixture
def odd_names(root: Path) -> list[str]:
    """Files whose names are hard to write down."""
    names = [
        "plain.txt",
        "-",
        "-rf",
        "*star",
        " space ",
        "new\nline",
        "back\\slash",
        "both\\\n",
        "return\r",
        "#comment",
        "\udcff\udcfe not utf-8",
        "ünïcode ✓",
        "deep/er/file",
        "deep/-",
        "\u202ereversed",
    ]
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode("utf-8", "surrogateescape"))
    return names

"""What the tests of the executors share: events that can be waited for, jobs, and process ids."""

from __future__ import annotations

import itertools
import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from socketprogress.core.ports import Job, Outcome, Report
from socketprogress.executors.modules import Modules

BODIES = str(Path(__file__).with_name("bodies.py"))
PATIENCE_S = 30.0

modules = Modules()
numbers = itertools.count(1)


class Recorder:
    """Keeps what an executor tells of one job."""

    def __init__(self) -> None:
        self.order: list[str] = []
        self.place = 0
        self.seen: list[Report] = []
        self.outcome: Outcome | None = None
        self._news = threading.Condition()

    def started(self) -> None:
        self.place = next(numbers)
        self._note("started")

    def reports(self, reports: Sequence[Report]) -> None:
        self.seen.extend(reports)
        self._note("reports")

    def ended(self, outcome: Outcome) -> None:
        with self._news:
            self.outcome = outcome
            self._note("ended")

    def _note(self, event: str) -> None:
        with self._news:
            self.order.append(event)
            self._news.notify_all()

    def until(self, holds: Callable[[], Any]) -> None:
        with self._news:
            assert self._news.wait_for(holds, PATIENCE_S), (self.order, self.seen[-3:])

    def end(self) -> Outcome:
        """Wait for the end and return the outcome."""
        self.until(lambda: self.outcome is not None)
        assert self.outcome is not None
        return self.outcome

    def message(self, text: str) -> None:
        """Wait until the body reports this message."""
        self.until(lambda: any(report.get("message") == text for report in list(self.seen)))

    @property
    def lines(self) -> list[str]:
        return [line for report in self.seen for line in report.get("log", ())]

    def last(self, key: str) -> Any:
        return [report[key] for report in self.seen if key in report][-1]


def make_job(body: str, folder: Path, args: Mapping[str, Any] | None = None, **options: Any) -> Job:
    """Return a job for a function of bodies.py."""
    reference = f"{BODIES}:{body}"
    return Job(
        task_id=f"task-{next(numbers)}",
        function=reference,
        call=modules.function(reference),
        args=args or {},
        output_dir=folder / "output",
        **options,
    )


def alive(pid: int) -> bool:
    """Return whether a process is there and no zombie."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return stat[stat.rindex(b")") + 2 :].split()[0] not in {b"Z", b"X"}


def until_gone(pids: Sequence[int]) -> None:
    """Wait until none of the processes is there."""
    deadline = time.monotonic() + PATIENCE_S
    while left := [pid for pid in pids if alive(pid)]:
        assert time.monotonic() < deadline, left
        os.sched_yield()

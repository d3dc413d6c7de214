"""What the work calls: a `Reporter` of plain attributes, and the sampler that looks at them.

The work only sets numbers. No call of the hot path takes a lock, asks a clock or sends anything;
a daemon thread looks at every reporter of the process a few times a second and hands what changed
to the process's sink.
"""

from __future__ import annotations

import logging
import os
import re
import shutil
import stat
import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Self, TypeVar

from socketprogress.core.errors import Cancelled, ConfigurationError
from socketprogress.core.ports import Report, Sink, Threading
from socketprogress.core.progress import finite

__all__ = ["Reporter", "Sampler"]

T = TypeVar("T")

log = logging.getLogger(__name__)

MOST_OF_A_CORE = 0.025
SLOWEST_S = 0.25
LINES_A_SAMPLE = 500
LINE_CHARS = 2_000
NOT_SENT = object()
NO_LENGTH = (AttributeError, NotImplementedError, OverflowError, TypeError)


def length_of(items: Any) -> float | None:
    """Return how many items there are, or None where they do not say."""
    try:
        return len(items)
    except NO_LENGTH:
        return None


def _count(value: Any) -> float:
    return finite(value) or 0


def _text(value: Any) -> str:
    return "" if value is None else str(value)


PLAIN = {"current": _count, "total": finite, "message": _text, "unit": _text, "title": _text}
"""How an attribute, which may be of any type, becomes what goes into a report."""

ODD = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")


class Reporter:
    """One piece of work's progress: count on with `advance`, or set the attributes.

    Args:
        name: what runs.
        title: one line for people; defaults to the name.
        total: units of work in all (of the present step), or None when unknown.
        unit: what is counted.
        steps: names of the steps in order, or a mapping of names to weights.
        task_id: the task's id.
        cancellable: whether a cancellation raises `Cancelled` in the work.
        output_dir: where result files go.
    """

    def __init__(
        self,
        name: str = "task",
        *,
        title: str | None = None,
        total: float | None = None,
        unit: str = "it",
        steps: Sequence[str] | Mapping[str, float] = (),
        task_id: str = "",
        cancellable: bool = True,
        output_dir: Path | None = None,
    ) -> None:
        self.name = name
        self.title = title or name
        self.task_id = task_id
        self.current: float = 0
        self.total = total
        self.unit = unit
        self.message = ""
        self.result: Any = None
        self.cancellable = cancellable
        self.cancel_requested = False
        self._steps = tuple(steps)
        self._output_dir = output_dir
        # What is sent is plain, so that what is the very same object need not be sent again.
        self._sent: dict[str, Any] = {"current": 0, "total": None, "message": ""}
        texts: dict[str, Any] = {"unit": unit, "title": self.title}
        self._sent |= {k: text if isinstance(text, str) else NOT_SENT for k, text in texts.items()}
        self._unreadable: set[str] = set()
        self._pending: deque[Report] = deque()
        self._lines: deque[str] = deque(maxlen=LINES_A_SAMPLE)
        self._lines_seen = 0
        self._lines_sent = 0
        self._files: dict[str, int] = {}
        # Re-entrant, since a signal handler or a `__str__` of the user's may log while it is held.
        self._lock = threading.RLock()

    def __repr__(self) -> str:
        return f"<Reporter {self.task_id or self.name} {self.current}/{self.total}>"

    def advance(self, n: float = 1) -> None:
        """Count `n` more units done.

        Takes no lock, since it is called most: threads that count on one reporter hold one of
        their own around it, or have one reporter each.

        Raises:
            Cancelled: somebody has asked for the task's end.
        """
        self.current += n
        if self.cancel_requested:
            self.check()

    def check(self) -> None:
        """Raise `Cancelled` if somebody has asked for the task's end and it may be cancelled."""
        if self.cancel_requested and self.cancellable:
            raise Cancelled(f"task {self.task_id or self.name} was cancelled")

    def step(self, name: str, *, total: float | None = None, message: str = "") -> None:
        """Enter a step: those before it are completed and its counts start at 0.

        Raises:
            Cancelled: somebody has asked for the task's end.
            ConfigurationError: the task has no step of that name.
        """
        self.check()
        if name not in self._steps:
            raise ConfigurationError(f"no step {name!r}; the task's steps are {list(self._steps)}")
        with self._lock:
            self._take_changes()
            self.current, self.total, self.message = 0, total, message
            self._sent |= {"current": 0, "total": None, "message": ""}
            self._take_changes({"step": name, "current": 0, "total": None, "message": ""})

    def reset(self, total: float | None = None) -> None:
        """Start the counts and the percent again, with a new total if one is given."""
        self.check()
        with self._lock:
            self.current = 0
            if total is not None:
                self.total = total
            self._sent["current"] = 0
            self._take_changes({"reset": True, "current": 0})

    def log(self, line: str) -> None:
        """Add a line (or several, at line breaks) to the task's log."""
        with self._lock:
            self._write(str(line).splitlines() or [""])
        if self.cancel_requested:
            self.check()

    def track(self, items: Iterable[T], *, total: float | None = None) -> Iterator[T]:
        """Yield the items and count each one when it is done.

        The total is the items' length, where they have one and none is given.
        """
        if total is None:
            total = length_of(items)
        if total is not None:
            self.total = self.current + total
        for item in items:
            yield item
            self.current += 1
            if self.cancel_requested:
                self.check()

    @property
    def output_dir(self) -> Path:
        """The directory for this task's result files; it exists when this is read."""
        if self._output_dir is None:
            raise ConfigurationError("this reporter has no directory for result files")
        self._output_dir.mkdir(parents=True, exist_ok=True)
        return self._output_dir

    def add_file(self, path: str | os.PathLike[str]) -> None:
        """Offer a file as a result; one outside of `output_dir` is copied there.

        Characters of its name that cannot be shown become ``_``; a second file of a name replaces
        the first.

        Raises:
            Cancelled: somebody has asked for the task's end.
            FileNotFoundError: there is no such file.
            OSError: it is no file, or it cannot be copied.
        """
        self.check()
        source = Path(path)
        if not stat.S_ISREG(source.stat().st_mode):
            raise OSError(f"{str(source)!r} is no file; pack a folder to offer it")
        target = self.output_dir / ODD.sub("_", source.name)
        if source.parent.resolve() / source.name != target.parent.resolve() / target.name:
            shutil.copyfile(source, target)
        with self._lock:
            self._files[target.name] = target.stat().st_size
            files = [{"name": name, "size_bytes": size} for name, size in self._files.items()]
            self._pending.append({"files": files})

    def collect(self) -> list[Report]:
        """Return what changed since the last call, oldest first; for samplers and executors."""
        with self._lock:
            self._take_changes()
            reports = list(self._pending)
            self._pending.clear()
            lines = self._take_lines()
        if lines:
            reports.append({"log": lines})
        for report in reports:
            report["task_id"] = self.task_id
        return reports

    def _take_changes(self, report: Report | None = None) -> None:
        report = {} if report is None else report
        for key, plain in PLAIN.items():
            try:
                value = getattr(self, key)
                if value is self._sent[key]:
                    continue
                value = plain(value)
            except Exception as exc:  # noqa: BLE001 - a user's type may raise anything; logged below
                self._note_unreadable(key, exc)
                continue
            if value != self._sent[key]:
                report[key] = self._sent[key] = value  # type: ignore[literal-required]
        if report:
            self._pending.append(report)

    def _note_unreadable(self, key: str, exc: Exception) -> None:
        if key not in self._unreadable:
            self._unreadable.add(key)
            kind = type(exc).__name__
            log.warning("the %s of %s cannot be read", key, self.task_id or self.name, exc_info=exc)
            self._write([f"The {key} is left out: reading it raised {kind}"])

    def _write(self, lines: Sequence[str]) -> None:
        self._lines_seen += len(lines)
        self._lines.extend(line[:LINE_CHARS] for line in lines)

    def _take_lines(self) -> list[str]:
        lines = list(self._lines)
        self._lines.clear()
        left_out = self._lines_seen - self._lines_sent - len(lines)
        self._lines_sent = self._lines_seen
        if left_out > 0:
            lines.insert(0, f"… {left_out:,} lines left out: more than a sample holds")
        return lines


class Sampler:
    """Looks at every reporter of a process and hands what changed to the sink.

    Looking costs a fortieth of a core at most: where there are so many reporters that a look takes
    longer, there are fewer looks, four a second at least.

    Args:
        sink: takes the reports of one look, all reporters together.
        interval_s: seconds between two looks.
        idle_s: seconds after which an empty list says that the process is alive.
        threading: where its thread comes from.
    """

    def __init__(
        self,
        sink: Sink,
        *,
        interval_s: float = 0.05,
        idle_s: float = 5.0,
        threading: Threading = threading,
    ) -> None:
        self._sink = sink
        self._interval_s = interval_s
        self._idle_s = idle_s
        self._reporters: set[Reporter] = set()
        self._threading = threading
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._stopped = False
        self._thread: Any = None

    def add(self, reporter: Reporter) -> None:
        """Look at this reporter from now on."""
        with self._lock:
            self._reporters.add(reporter)
            if self._thread is None:
                self._thread = self._threading.Thread(
                    target=self._run, name="socketprogress-sampler", daemon=True
                )
                self._thread.start()
        self._wake.set()

    def remove(self, reporter: Reporter) -> None:
        """Hand on what this reporter still has, and look at it no more."""
        with self._lock:
            self._reporters.discard(reporter)
            reports = reporter.collect()
            if reports:
                self._sink.send(reports)

    def close(self) -> None:
        """Stop looking."""
        self._stopped = True
        self._wake.set()

    def look(self) -> bool:
        """Hand on what changed since the last look; return whether anything did."""
        with self._lock:
            reports = [report for reporter in self._reporters for report in reporter.collect()]
            if reports:
                self._sink.send(reports)
        return bool(reports)

    def _run(self) -> None:
        sleeper = self._threading.Event()
        idle_s, pause_s = 0.0, self._interval_s
        while not self._stopped:
            if not self._reporters:
                self._wake.wait()
                self._wake.clear()
                continue
            sleeper.wait(pause_s)
            began = time.thread_time()
            try:
                idle_s = 0.0 if self.look() else idle_s + pause_s
                if idle_s >= self._idle_s:
                    idle_s = 0.0
                    self._sink.send([])
            except Exception:  # the sink's; the other reporters' next looks must not end for it
                log.exception("a look at the reporters failed")
            cost_s = time.thread_time() - began
            pause_s = max(self._interval_s, min(cost_s / MOST_OF_A_CORE, SLOWEST_S))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

"""What a server counts, as Prometheus reads it."""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from socketprogress.core.board import Changes
from socketprogress.core.state import TaskState

__all__ = [
    "CONTENT_TYPE",
    "Histogram",
    "Labels",
    "Metric",
    "Metrics",
    "counter",
    "exposition",
    "gauge",
]

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
BUCKETS_S = (0.1, 1.0, 10.0, 60.0, 600.0, 3_600.0, 36_000.0)
MOST_NAMES = 200
OTHERS = "(other)"
Labels = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric: its samples are values by suffix and labels."""

    name: str
    kind: str
    help: str
    samples: Mapping[tuple[str, Labels], float]


class Histogram:
    """How many took at most so long, and all their seconds.

    Args:
        bounds_s: the longest of each bucket, rising.
    """

    def __init__(self, bounds_s: Sequence[float]) -> None:
        self._bounds_s = bounds_s
        self._counts = [0] * (len(bounds_s) + 1)
        self._total_s = 0.0

    def add(self, seconds: float) -> None:
        """Count one."""
        self._counts[bisect_left(self._bounds_s, seconds)] += 1
        self._total_s += seconds

    def samples(self, labels: Labels) -> Iterator[tuple[tuple[str, Labels], float]]:
        """Yield the samples of a metric by suffix and labels."""
        so_far = 0
        for bound, count in zip((*map(str, self._bounds_s), "+Inf"), self._counts, strict=True):
            so_far += count
            yield ("_bucket", (*labels, ("le", bound))), so_far
        yield ("_sum", labels), self._total_s
        yield ("_count", labels), so_far


class Metrics:
    """Counts tasks and refusals since this server's start; its methods are for any thread.

    A task counts once for its start and once for its end, however often it is told. Names come from
    clients too: beyond `MOST_NAMES` they count as one.

    Args:
        epoch: whose tasks are counted: other servers count theirs.
    """

    def __init__(self, epoch: str) -> None:
        self._epoch = epoch
        self._lock = threading.Lock()
        self._started: Counter[tuple[str, str]] = Counter()
        self._ended: Counter[tuple[str, str]] = Counter()
        self._durations: dict[str, Histogram] = {}
        self._refused: Counter[tuple[str, str]] = Counter()
        self._names: set[str] = set()
        self._seen: dict[str, bool] = {}

    def restored(self, states: Iterable[TaskState]) -> None:
        """Take what was there before this server: it started elsewhere, and what has ended did."""
        with self._lock:
            self._seen.update((state.task_id, state.ended) for state in states)

    def see(self, changes: Changes) -> None:
        """Count the tasks that are new, and those that have ended."""
        with self._lock:
            for state in changes.tasks.values():
                self._see(state)
            for task_id in changes.removed:
                self._seen.pop(task_id, None)

    def refused(self, face: str, code: str) -> None:
        """Count an error that a client got: over `http` or the `socket`."""
        with self._lock:
            self._refused[face, code] += 1

    def collect(self) -> list[Metric]:
        """Return the metrics of tasks and errors."""
        with self._lock:
            return [
                counter(
                    "socketprogress_tasks_started_total",
                    "Tasks that were started or opened.",
                    {_labels(name=n, source=s): c for (n, s), c in self._started.items()},
                ),
                counter(
                    "socketprogress_tasks_ended_total",
                    "Tasks that have ended.",
                    {_labels(name=n, status=s): c for (n, s), c in self._ended.items()},
                ),
                Metric(
                    "socketprogress_task_duration_seconds",
                    "histogram",
                    "Seconds that completed tasks took, pauses excluded.",
                    {
                        key: value
                        for name, durations in self._durations.items()
                        for key, value in durations.samples(_labels(name=name))
                    },
                ),
                counter(
                    "socketprogress_errors_total",
                    "Requests and events that were refused.",
                    {_labels(face=f, code=c): n for (f, c), n in self._refused.items()},
                ),
            ]

    def _see(self, state: TaskState) -> None:
        had_ended = self._seen.get(state.task_id)
        if state.epoch != self._epoch:
            self._seen[state.task_id] = state.ended
            return
        name = self._name(state.name)
        if had_ended is None:
            self._started[name, state.source] += 1
        if state.ended and not had_ended:
            self._ended[name, state.status.value] += 1
            if state.status.value == "completed" and state.elapsed_s is not None:
                self._durations.setdefault(name, Histogram(BUCKETS_S)).add(state.elapsed_s)
        self._seen[state.task_id] = state.ended

    def _name(self, name: str) -> str:
        if name not in self._names and len(self._names) >= MOST_NAMES:
            return OTHERS
        self._names.add(name)
        return name


def counter(name: str, text: str, values: Mapping[Labels, float]) -> Metric:
    """Return a metric that only goes up."""
    return Metric(name, "counter", text, {("", labels): value for labels, value in values.items()})


def gauge(name: str, text: str, values: Mapping[Labels, float]) -> Metric:
    """Return a metric that goes up and down."""
    return Metric(name, "gauge", text, {("", labels): value for labels, value in values.items()})


def exposition(metrics: Iterable[Metric]) -> str:
    """Return metrics in Prometheus's text format.

    Source: https://prometheus.io/docs/instrumenting/exposition_formats/
    """
    lines = []
    for metric in metrics:
        lines.append(f"# HELP {metric.name} {metric.help}")
        lines.append(f"# TYPE {metric.name} {metric.kind}")
        for (suffix, labels), value in metric.samples.items():
            inner = ",".join(f'{name}="{_escaped(text)}"' for name, text in labels)
            lines.append(f"{metric.name}{suffix}{f'{{{inner}}}' if inner else ''} {value:.17g}")
    return "\n".join(lines) + "\n"


def _labels(**labels: str) -> Labels:
    return tuple(labels.items())


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")

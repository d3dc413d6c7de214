"""`GET /metrics`, read as strictly as Prometheus reads it."""

from __future__ import annotations

import re
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from watchers import Client

from socketprogress.server.metrics import Metric, exposition

SAMPLE = re.compile(
    r"(?P<name>[a-zA-Z_:][a-zA-Z0-9_:]*)"
    r'(?:\{(?P<labels>(?:[a-zA-Z_][a-zA-Z0-9_]*="(?:[^"\\\n]|\\["\\n])*",?)+)\})?'
    r" (?P<value>[-+0-9.e]+)\Z"
)
LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\["\\n])*)"')
JOBS = Path(__file__).with_name("stalling_jobs.py")
Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


def parsed(text: str) -> Samples:
    """Return the samples; each metric says what it is before its first sample, and once."""
    found: Samples = {}
    kinds: dict[str, str] = {}
    assert text.endswith("\n")
    for line in text.splitlines():
        if line.startswith("# HELP "):
            continue
        if line.startswith("# TYPE "):
            _, _, name, kind = line.split(" ")
            assert name not in kinds
            kinds[name] = kind
            continue
        sample = SAMPLE.match(line)
        assert sample, line
        name = sample["name"]
        base = re.sub(r"_(bucket|sum|count)\Z", "", name)
        assert name in kinds or kinds.get(base) == "histogram", line
        key = (name, frozenset(LABEL.findall(sample["labels"] or "")))
        assert key not in found
        found[key] = float(sample["value"])
    return found


def value(samples: Samples, metric: str, /, **labels: str) -> float:
    return samples.get((f"socketprogress_{metric}", frozenset(labels.items())), 0)


def read(running: Any) -> Samples:
    """Return the metrics of a server in a process of its own."""
    with urllib.request.urlopen(f"{running.url}/metrics", timeout=30) as response:  # noqa: S310
        return parsed(response.read().decode())


def test_tasks_are_counted_once_at_their_start_and_once_at_their_end(
    web: Callable[..., Any],
) -> None:
    server = web()
    server.ended(server.start("add", a=1, b=2))
    server.ended(server.start("add", a=1, b=2))

    samples = parsed(server.get("/metrics").text)

    assert value(samples, "tasks_started_total", name="add", source="server") == 2
    assert value(samples, "tasks_ended_total", name="add", status="completed") == 2
    assert value(samples, "task_duration_seconds_count", name="add") == 2
    assert value(samples, "task_duration_seconds_bucket", name="add", le="+Inf") == 2
    assert value(samples, "tasks", status="completed") == 2
    assert value(samples, "tasks", status="in_progress") == 0
    assert value(samples, "degraded") == 0


@pytest.mark.parametrize("mode", ["eventlet", "gevent", "threading"])
def test_the_lag_of_the_loop_is_measured(server: Callable[..., Any], mode: str) -> None:
    # Given a task that holds up the loop, where there is one, for a second and a half
    running = server("--tasks", str(JOBS), mode=mode)
    with Client(running.url) as client:
        client.run("standstill")

        # When its metrics are asked for, once there is one more measurement
        def count() -> float:
            return value(read(running), "loop_lag_seconds_count")

        before = count()
        deadline = time.monotonic() + 30
        while count() <= before:
            assert time.monotonic() < deadline

    # Then one of them was over a second late, and no thread was in threading mode
    samples = read(running)
    measured = value(samples, "loop_lag_seconds_count")
    late = measured - value(samples, "loop_lag_seconds_bucket", le="1.0")
    assert (late >= 1) == (mode != "threading")
    assert value(samples, "loop_lag_seconds_sum") >= late
    assert ("socketprogress_store_waiting_tasks", frozenset()) in samples
    assert ("socketprogress_store_lag_seconds", frozenset()) in samples


def test_what_is_refused_is_counted_by_its_code(web: Callable[..., Any]) -> None:
    server = web()
    server.get("/api/tasks/none")
    server.get("/api/tasks/none")

    samples = parsed(server.get("/metrics").text)

    assert value(samples, "errors_total", face="http", code="unknown_task") == 2


def test_names_that_reporters_choose_are_escaped_and_bounded(web: Callable[..., Any]) -> None:
    server = web()
    names = ['say "hi"\\', *(f"job {number}" for number in range(300))]
    for number, name in enumerate(names):
        done = {"name": name, "status": "completed"}
        assert (
            server.client.put(f"{server.prefix}/api/tasks/t{number}", json=done).status_code < 300
        )

    samples = parsed(server.get("/metrics").text)

    assert value(samples, "tasks_ended_total", name='say \\"hi\\"\\\\', status="completed") == 1
    assert value(samples, "tasks_ended_total", name="(other)", status="completed") == 101
    assert len([1 for name, _ in samples if name == "socketprogress_tasks_ended_total"]) == 201


def test_metrics_need_the_right_to_see_tasks(web: Callable[..., Any]) -> None:
    server = web(token="correct-horse")

    assert server.get("/metrics").status_code == 401
    bearer = {"Authorization": "Bearer correct-horse"}
    assert server.get("/metrics", headers=bearer).status_code == 200


@pytest.mark.parametrize(
    ("text", "written"),
    [("a\nb", r"a\nb"), ('"', r"\""), ("\\", r"\\"), ("é", "é")],
)
def test_a_labels_text_is_written_so_that_it_is_read_as_it_was(text: str, written: str) -> None:
    metric = Metric("m", "gauge", "A metric.", {("", (("label", text),)): 1.5})

    assert exposition([metric]).splitlines()[-1] == f'm{{label="{written}"}} 1.5'

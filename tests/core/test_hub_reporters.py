"""Reports from outside: repeated ones, late ones, and what survives of them."""

from __future__ import annotations

import pytest

from socketprogress.core.errors import TaskEnded, UnknownTask
from socketprogress.core.protocol import STATUSES
from socketprogress.core.state import Status
from tests.core.bench import Bench, ids_of


def test_a_report_is_taken_once_however_often_it_comes(bench: Bench) -> None:
    bench.start("a", source="report")
    report = {"task_id": "a", "advance": 5, "log": ["line"], "reporter_seq": 3}

    assert not bench.hub.report(dict(report))
    assert not bench.hub.report(dict(report))
    assert not bench.hub.report({**report, "reporter_seq": 2})

    state = bench.hub.get("a")
    assert (state.current, state.reporter_seq, bench.hub.log_next("a")) == (5, 3, 1)


def test_reports_without_a_number_are_all_taken(bench: Bench) -> None:
    bench.start("a", source="report")
    for _ in range(3):
        bench.hub.report({"task_id": "a", "advance": 5})

    assert bench.hub.get("a").current == 15


def test_a_repeated_report_is_a_sign_of_life(bench: Bench) -> None:
    bench.start("a", source="report", lease_s=30.0)
    bench.hub.report({"task_id": "a", "current": 5, "reporter_seq": 1})
    bench.clock.advance(31)
    bench.hub.sweep()
    assert bench.hub.get("a").status is Status.LOST

    bench.hub.report({"task_id": "a", "current": 5, "reporter_seq": 1})

    assert bench.hub.get("a").status is Status.IN_PROGRESS


def test_after_the_end_a_repeated_report_is_answered_and_a_newer_one_refused(bench: Bench) -> None:
    bench.start("a", source="report")
    bench.hub.report({"task_id": "a", "current": 5, "reporter_seq": 1})
    bench.hub.end("a", Status.COMPLETED)

    for _ in ("while it is ending", "when it has ended"):
        assert bench.hub.report({"task_id": "a", "current": 5, "reporter_seq": 1})
        with pytest.raises(TaskEnded, match="a is completed"):
            bench.hub.report({"task_id": "a", "current": 6, "reporter_seq": 2})
        with pytest.raises(TaskEnded):
            bench.hub.report({"task_id": "a", "current": 6})
        bench.store.written()

    assert bench.hub.get("a").current == 5


def test_a_report_on_a_task_that_nobody_opened_is_refused(bench: Bench) -> None:
    with pytest.raises(UnknownTask):
        bench.hub.report({"task_id": "nobody", "current": 1, "reporter_seq": 1})


def test_a_report_that_came_before_a_restart_is_a_repetition_after_it(bench: Bench) -> None:
    bench.start("a", source="report", lease_s=90.0)
    bench.hub.report({"task_id": "a", "advance": 5, "reporter_seq": 7})
    bench.hub.save_all()

    after = bench.open("e2")
    after.restore()
    after.report({"task_id": "a", "advance": 5, "reporter_seq": 7})
    assert after.get("a").current == 5

    bench.clock.advance(89)
    after.sweep()
    assert after.get("a").status is Status.IN_PROGRESS
    bench.clock.advance(2)
    after.sweep()
    assert after.get("a").status is Status.LOST


def test_a_bar_that_does_not_stay_goes_a_minute_after_its_end(bench: Bench) -> None:
    for task_id in ("runs", "passing"):
        bench.start(task_id, source="report", leave=False)
    bench.start("stays")
    bench.end("passing")
    bench.end("stays")
    bench.clock.advance(59)
    assert bench.hub.sweep() == []

    bench.clock.advance(2)
    bench.hub.drain()
    assert bench.hub.sweep() == bench.store.deleted == ["passing"]

    assert bench.hub.drain().removed == ["passing"]
    assert ids_of(bench.hub.all()) == ["runs", "stays"]
    assert sum(bench.hub.counts()[status] for status in STATUSES) == 2

"""What reports from elsewhere do to a hub: ends, numbers, leases and tasks that pass."""

from __future__ import annotations

from typing import Any

import pytest

from socketprogress.core.errors import AlreadyRunning, TaskEnded
from socketprogress.core.hub import Hub
from socketprogress.core.state import Status, TaskState
from socketprogress.core.steps import make
from tests.core.bench import Bench


def opened(bench: Bench, task_id: str = "a", **fields: Any) -> TaskState:
    return bench.start(task_id, source="report", lease_s=30.0, **fields)


def restarted(bench: Bench) -> Hub:
    bench.hub = bench.open("e2")
    bench.hub.restore()
    return bench.hub


# -- numbers and ends ----------------------------------------------------------------------------


def test_the_first_number_may_be_nought(bench: Bench) -> None:
    opened(bench)
    for _ in range(2):
        bench.hub.report({"task_id": "a", "advance": 5, "reporter_seq": 0})

    assert bench.hub.get("a").current == 5


def test_a_count_is_stored_at_once_and_together_with_its_number(bench: Bench) -> None:
    # Given: reports that add to what was there before.
    opened(bench, total=100)
    for number in range(1, 4):
        bench.hub.report({"task_id": "a", "advance": 10, "reporter_seq": number})

    # When: the server is killed, and the last report comes again.
    hub = restarted(bench)
    hub.report({"task_id": "a", "advance": 10, "reporter_seq": 3})

    # Then: nothing was lost and nothing counts twice.
    assert hub.get("a").current == 30
    assert all(s.current == 10 * max(s.reporter_seq, 0) for s in bench.store.saved)


@pytest.mark.parametrize("once", [{"title": "New"}, {"total": 200}, {"unit": "rows"}])
def test_what_is_said_once_is_stored_at_once(bench: Bench, once: dict[str, Any]) -> None:
    opened(bench, total=100)
    bench.hub.report({"task_id": "a", "current": 1, "reporter_seq": 1})
    bench.hub.report({"task_id": "a", "current": 2, "reporter_seq": 2, **once})

    hub = restarted(bench)

    (name, value) = once.popitem()
    assert getattr(hub.get("a"), name) == value


def test_log_lines_are_stored_with_the_number_of_their_report(bench: Bench) -> None:
    opened(bench)
    bench.hub.report({"task_id": "a", "log": ["one", "two"], "reporter_seq": 7})

    hub = restarted(bench)
    hub.report({"task_id": "a", "log": ["one", "two"], "reporter_seq": 7})
    hub.report({"task_id": "a", "log": ["three"], "reporter_seq": 8})

    assert bench.store.read_log("a", 0, 10).lines == ("one", "two", "three")


def test_the_last_report_is_stored_whole_or_not_at_all(bench: Bench) -> None:
    opened(bench, total=10, steps=make(["Scan", "Pack"]))
    before = len(bench.store.saved)

    ends = bench.hub.report(
        {
            "task_id": "a",
            "step": "Pack",
            "advance": 3,
            "log": ["done"],
            "status": "completed",
            "result": {"rows": 3},
            "reporter_seq": 5,
        }
    )

    (stored,) = bench.store.saved[before:]
    assert ends
    assert (stored.status, stored.reporter_seq, stored.current) == (Status.COMPLETED, 5, 3)
    assert bench.store.read_log("a", 0, 10).lines == ("done",)
    assert bench.hub.get("a").status is Status.IN_PROGRESS
    bench.store.written()
    assert bench.hub.get("a").result == {"rows": 3}
    assert [step.progress for step in bench.hub.get("a").steps] == [100.0, 100.0]


@pytest.mark.parametrize("number", [{}, {"reporter_seq": 4}])
def test_an_end_said_again_before_it_is_stored_is_a_repetition(
    bench: Bench, number: dict[str, int]
) -> None:
    opened(bench)
    error = {"code": "timeout", "message": "too slow"}
    end: Any = {"task_id": "a", "status": "failed", "error": error, **number}

    assert bench.hub.report(end)
    assert bench.hub.report(end)
    with pytest.raises(TaskEnded):
        bench.hub.report({"task_id": "a", "status": "completed"})

    bench.store.written()
    state = bench.hub.get("a")
    assert state.error is not None
    assert (state.status, state.error.code) == (Status.FAILED, "timeout")


def test_an_end_without_a_number_is_refused_once_it_is_stored(bench: Bench) -> None:
    opened(bench)
    bench.hub.report({"task_id": "a", "status": "completed"})
    bench.store.written()

    with pytest.raises(TaskEnded):
        bench.hub.report({"task_id": "a", "status": "completed"})


def test_reporters_do_not_use_up_what_a_definition_may_run(bench: Bench) -> None:
    opened(bench, name="copy")

    _, is_new = bench.hub.create("copy", title="t", task_id="own", max_running=1)

    assert is_new
    with pytest.raises(AlreadyRunning, match="1 times") as refusal:
        bench.hub.create("copy", title="t", max_running=1)
    assert refusal.value.running == ["own"]


# -- leases --------------------------------------------------------------------------------------


@pytest.mark.parametrize("jump", [3_600.0, -3_600.0, 86_400.0, -86_400.0])
def test_nobody_is_lost_because_the_wall_clock_jumps(bench: Bench, jump: float) -> None:
    opened(bench, total=10)
    bench.clock.advance(29)
    bench.clock.set_wall(bench.clock.wall() + jump)
    bench.hub.sweep()
    bench.hub.report({"task_id": "a", "current": 5})
    bench.clock.advance(1)
    bench.hub.sweep()

    state = bench.end("a")
    assert state.elapsed_s == 30.0
    assert all(saved.status is not Status.LOST for saved in bench.store.saved)


@pytest.mark.parametrize("number", [3, 4])
def test_a_sign_of_life_keeps_and_regains_a_task(bench: Bench, number: int) -> None:
    opened(bench)
    bench.hub.report({"task_id": "a", "current": 5, "reporter_seq": 3})
    before = bench.hub.get("a").seq
    for _ in range(5):
        bench.clock.advance(29)
        bench.hub.report({"task_id": "a", "reporter_seq": number})
        bench.hub.sweep()
    assert bench.hub.get("a").seq == before

    bench.clock.advance(31)
    bench.hub.sweep()
    assert bench.hub.get("a").status is Status.LOST
    bench.hub.report({"task_id": "a", "reporter_seq": number})
    assert bench.hub.get("a").status is Status.IN_PROGRESS


def test_a_lost_task_may_end_without_having_returned(bench: Bench) -> None:
    opened(bench)
    bench.clock.advance(31)
    bench.hub.sweep()
    bench.clock.advance(100)

    bench.hub.report({"task_id": "a", "status": "completed", "reporter_seq": 1})
    bench.store.written()

    state = bench.hub.get("a")
    assert (state.status, state.progress, state.elapsed_s) == (Status.COMPLETED, 100.0, 31.0)


def test_a_restart_while_a_task_is_lost_adds_nothing_to_its_time(bench: Bench) -> None:
    # Given: a task that was lost after 41 s of work, 10 s of which counted something.
    opened(bench, total=10)
    bench.clock.advance(10)
    bench.hub.report({"task_id": "a", "current": 5, "reporter_seq": 1})
    bench.clock.advance(31)
    bench.hub.sweep()

    # When: the server is started again, and the reporter returns much later.
    hub = restarted(bench)
    assert hub.get("a").status is Status.LOST
    bench.clock.advance(500)
    hub.sweep()
    hub.report({"task_id": "a", "current": 6, "reporter_seq": 2})

    # Then: the time that it was lost is not the task's.
    state = hub.get("a")
    assert (state.status, state.elapsed_s) == (Status.IN_PROGRESS, 41.0)


def test_what_was_being_opened_when_the_server_was_killed_is_lost_in_time(bench: Bench) -> None:
    bench.hub.create("copy", title="t", task_id="a", source="report", lease_s=30.0)

    hub = restarted(bench)
    assert hub.get("a").status is Status.IN_PROGRESS
    bench.clock.advance(31)
    hub.sweep()

    assert hub.get("a").status is Status.LOST


# -- tasks that pass -----------------------------------------------------------------------------


def test_what_leaves_nothing_behind_goes_a_minute_after_its_end(bench: Bench) -> None:
    opened(bench, leave=False)
    opened(bench, "stays")
    bench.clock.advance(120)
    assert bench.hub.sweep() == []
    for task_id in ("a", "stays"):
        bench.hub.report({"task_id": task_id, "status": "failed"})
    bench.store.written()
    bench.hub.drain()

    bench.clock.set_wall(bench.clock.wall() + 86_400)
    bench.clock.advance(60)
    assert bench.hub.sweep() == []
    bench.clock.advance(1)

    assert bench.hub.sweep() == ["a"]
    assert bench.hub.drain().removed == bench.store.deleted == ["a"]
    assert bench.hub.find("a") is None


def test_what_leaves_nothing_behind_goes_after_a_restart_too(bench: Bench) -> None:
    opened(bench, leave=False)
    bench.end("a")

    hub = restarted(bench)
    bench.clock.advance(61)

    assert hub.sweep() == ["a"]

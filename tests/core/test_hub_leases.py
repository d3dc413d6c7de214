"""Who has been silent for too long is lost, and regained when it is heard."""

from __future__ import annotations

from socketprogress.core.state import Status
from tests.core.bench import Bench


def test_a_task_is_lost_after_its_lease_and_regained_when_it_is_heard(bench: Bench) -> None:
    bench.start("a", lease_s=30.0)
    bench.clock.advance(30)
    bench.hub.sweep()
    assert bench.hub.get("a").status is Status.IN_PROGRESS

    bench.clock.advance(1)
    bench.hub.sweep()
    lost = bench.hub.get("a")
    bench.clock.advance(500)
    bench.hub.heard("a")

    back = bench.hub.get("a")
    assert lost.status is Status.LOST
    assert bench.store.saved[-2:] == [lost, back]
    assert (back.status, back.seq) == (Status.IN_PROGRESS, lost.seq + 1)


def test_the_time_lost_is_not_the_tasks(bench: Bench) -> None:
    bench.start("a", lease_s=30.0)
    bench.clock.advance(31)
    bench.hub.sweep()
    bench.clock.advance(1_000)
    bench.hub.apply([{"task_id": "a", "current": 1}])
    bench.clock.advance(4)

    assert bench.end("a").elapsed_s == 35.0


def test_every_state_has_the_seconds_of_its_moment(bench: Bench) -> None:
    bench.start("a", lease_s=30.0)
    bench.clock.advance(7)
    asked = bench.hub.request_cancel("a")
    bench.clock.advance(24)
    bench.hub.sweep()
    lost = bench.hub.get("a")
    bench.clock.advance(1_000)
    bench.hub.heard("a")
    back = bench.hub.get("a")

    assert (asked.elapsed_s, lost.elapsed_s, back.elapsed_s) == (7.0, 31.0, 31.0)
    assert back.updated_at == bench.clock.wall()


def test_a_lost_task_that_fails_ended_when_it_was_lost(bench: Bench) -> None:
    bench.start("a", lease_s=30.0)
    bench.clock.advance(31)
    bench.hub.sweep()
    bench.clock.advance(1_000)

    assert bench.end("a", Status.FAILED).elapsed_s == 31.0


def test_who_begins_it_says_where_and_how_long_it_may_be_silent(bench: Bench) -> None:
    bench.hub.create("copy", title="t", task_id="a", lease_s=30.0)
    begun = bench.hub.begin("a", host="here", pid=7, lease_s=10.0)
    bench.clock.advance(11)
    bench.hub.sweep()

    assert (begun.host, begun.pid, begun.lease_s) == ("here", 7, 10.0)
    assert bench.hub.get("a").status is Status.LOST


def test_who_is_heard_in_time_is_not_lost(bench: Bench) -> None:
    bench.start("a", lease_s=30.0)
    for _ in range(10):
        bench.clock.advance(29)
        bench.hub.heard("a")
        bench.hub.sweep()

    assert bench.hub.get("a").status is Status.IN_PROGRESS


def test_what_waits_in_the_queue_is_not_lost(bench: Bench) -> None:
    bench.hub.create("copy", title="t", task_id="a", lease_s=30.0)
    bench.clock.advance(3_600)
    bench.hub.sweep()
    assert bench.hub.get("a").status is Status.QUEUED

    bench.hub.begin("a")
    bench.clock.advance(29)
    bench.hub.sweep()

    assert bench.hub.get("a").status is Status.IN_PROGRESS


def test_without_a_lease_silence_is_for_ever(bench: Bench) -> None:
    bench.start("a")
    bench.clock.advance(1e6)
    bench.hub.sweep()

    assert bench.hub.get("a").status is Status.IN_PROGRESS


def test_a_lost_task_can_be_cancelled_and_ended(bench: Bench) -> None:
    bench.start("a", lease_s=30.0)
    bench.clock.advance(31)
    bench.hub.sweep()

    assert bench.hub.request_cancel("a").status is Status.LOST
    assert bench.end("a", Status.CANCELLED).status is Status.CANCELLED

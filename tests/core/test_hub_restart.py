"""What a restart takes over, what retention forgets, and the store of this product."""

from __future__ import annotations

import threading

from msgspec.structs import replace

from socketprogress.core.hub import Hub
from socketprogress.core.protocol import STATUSES
from socketprogress.core.retention import Retention
from socketprogress.core.state import Status, TaskFile, as_of
from socketprogress.core.steps import make
from socketprogress.stores.memory import MemoryStore
from tests.core.bench import Bench, ids_of, walk
from tests.core.clock import MockClock

# -- restarts and retention ----------------------------------------------------------------------


def restarted(bench: Bench) -> Hub:
    bench.hub = bench.open("e2")
    bench.hub.restore()
    return bench.hub


def test_what_a_killed_server_ran_or_had_queued_has_failed(bench: Bench) -> None:
    before = bench.start("runs", steps=make(["Scan", "Pack"]))
    bench.hub.create("copy", title="t", task_id="waits")

    hub = restarted(bench)
    bench.store.written()

    for task_id in ("runs", "waits"):
        state = hub.get(task_id)
        assert (state.status, state.epoch) == (Status.FAILED, "e2")
        assert state.error is not None
        assert state.error.code == "worker_lost"
        assert hub.drain().tasks.keys() <= {"runs", "waits"}
    assert hub.get("runs").seq > before.seq
    assert hub.get("runs").steps[0].status is Status.FAILED
    assert hub.active() == []


def test_a_reporters_task_goes_on_after_a_restart_with_its_lease_anew(bench: Bench) -> None:
    # Given: a reporter's task at half, 40 s after its start.
    bench.start("a", source="report", total=100)
    bench.clock.advance(40)
    bench.hub.apply([{"task_id": "a", "current": 50}])
    bench.clock.advance(3_600)

    # When: the server is started again an hour later.
    hub = restarted(bench)
    taken_over = hub.get("a")
    bench.clock.advance(10)
    hub.apply([{"task_id": "a", "current": 60}])

    # Then: the count, the percent and the time go on under the new epoch.
    state = hub.get("a")
    assert (taken_over.status, taken_over.epoch) == (Status.IN_PROGRESS, "e2")
    assert (state.progress, state.elapsed_s, state.rate) == (60.0, 50.0, 1.0)

    # And: silence makes it lost.
    bench.clock.advance(31)
    hub.sweep()
    assert hub.get("a").status is Status.LOST


def test_what_a_reporter_did_during_a_short_absence_of_the_server_counts(bench: Bench) -> None:
    # Given: a reporter's task at 40 of 100, 20 s after its start.
    bench.start("a", source="report", total=100)
    bench.clock.advance(20)
    bench.hub.apply([{"task_id": "a", "current": 40}])

    # When: the server is away for less than the lease, and the work goes on.
    bench.clock.advance(15)
    hub = restarted(bench)
    asked = as_of(hub.get("a"), bench.clock.wall())
    bench.clock.advance(5)
    hub.apply([{"task_id": "a", "current": 80}])

    # Then: that time is in its seconds and in its rate.
    state = hub.get("a")
    assert (asked.elapsed_s, state.elapsed_s, state.rate) == (35.0, 40.0, 2.0)


def test_an_absence_longer_than_the_lease_is_a_pause_at_once(bench: Bench) -> None:
    bench.start("a", source="report", total=100)
    bench.clock.advance(20)
    bench.hub.apply([{"task_id": "a", "current": 40}])
    bench.clock.advance(600)

    state = restarted(bench).get("a")

    bench.clock.advance(2)
    assert as_of(state, bench.clock.wall()).elapsed_s == 22.0


def test_what_was_said_last_before_a_silence_is_there_after_a_kill(bench: Bench) -> None:
    # Given: work that says something twice in quick succession, and then nothing more for a while.
    bench.start("a")
    for current in (1, 50):
        bench.hub.apply([{"task_id": "a", "current": current, "total": 100}])
    bench.hub.sweep()
    bench.clock.advance(3)
    bench.hub.sweep()
    stored = len(bench.store.saved)
    bench.hub.sweep()
    assert len(bench.store.saved) == stored  # once is enough

    # When: its server is killed, and another one takes its place.
    hub = restarted(bench)
    bench.store.written()

    # Then: it ended where it was seen last.
    end = hub.get("a")
    assert (end.status, end.progress) == (Status.FAILED, 50.0)


def test_what_has_ended_stays_as_it_ended_after_a_restart(bench: Bench) -> None:
    bench.start("a")
    ended = bench.end("a")
    bench.hub.log("a", ["one", "two"])

    hub = restarted(bench)

    assert hub.get("a") == replace(ended, epoch="e2")
    assert hub.log_next("a") == 2
    assert hub.counts()["completed"] == 1
    assert hub.drain().tasks == {}


def test_a_restart_says_how_many_tasks_there_are(bench: Bench) -> None:
    for task_id in "abc":
        bench.start(task_id, source="report")

    assert bench.open("e2").restore() == 3


def test_a_sweep_forgets_what_retention_no_longer_keeps() -> None:
    bench = Bench(retention=Retention(count=2))
    for task_id in "abcd":
        bench.start(task_id)
        bench.end(task_id)
        bench.hub.log(task_id, ["line"])
        bench.clock.advance(1)
    bench.start("e")
    bench.hub.drain()

    gone = bench.hub.sweep()

    assert gone == bench.store.deleted == ["a", "b"]
    assert bench.hub.drain().removed == ["a", "b"]
    assert ids_of(bench.hub.all()) == ["c", "d", "e"]
    assert bench.hub.counts() == dict.fromkeys(STATUSES, 0) | {"completed": 2, "in_progress": 1}
    assert bench.hub.find("a") is None
    assert bench.hub.log_next("a") == 0
    assert walk(bench.hub, limit=1) == ["e", "d", "c"]
    bench.store.close()


def test_a_sweep_forgets_by_age_and_by_bytes_now_and_then() -> None:
    bench = Bench(retention=Retention(age_s=100.0))
    bench.start("old")
    bench.end("old")
    bench.clock.advance(99)
    assert bench.hub.sweep() == []

    bench.clock.advance(31)
    assert bench.hub.sweep() == ["old"]
    bench.store.close()

    bench = Bench(retention=Retention(bytes=1 << 20))
    for task_id in ("large", "small"):
        bench.start(task_id)
        bench.hub.end(task_id, Status.COMPLETED, files=[TaskFile("f", 1 << 19)])
        bench.store.written()
        bench.clock.advance(31)
    assert bench.hub.sweep() == ["large"]
    bench.store.close()


# -- over the real store's own thread ------------------------------------------------------------


def test_an_end_comes_through_the_store_of_this_product() -> None:
    store = MemoryStore()
    hub = Hub(store=store, clock=MockClock(), epoch="e1")
    hub.create("copy", title="t", task_id="a")
    shown = threading.Event()
    hub.listen("a", shown.set)

    hub.end("a", Status.COMPLETED, result=[1])

    assert shown.wait(30)
    assert hub.get("a") == store.load()[0]
    assert hub.get("a").progress == 100.0
    store.close()

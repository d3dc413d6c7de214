"""A task's life in the hub: created, reported on, ended, cancelled, lost."""

from __future__ import annotations

import threading
from collections import Counter

import pytest

from socketprogress.core.errors import (
    AlreadyRunning,
    NotCancellable,
    TaskEnded,
    UnknownTask,
)
from socketprogress.core.state import Status, TaskError
from socketprogress.core.steps import make
from tests.core.bench import Bench

# -- creating ------------------------------------------------------------------------------------


def test_a_new_task_is_queued_stored_and_told(bench: Bench) -> None:
    state, is_new = bench.hub.create("copy", title="Copy", total=10, tags=("a",))

    assert is_new
    assert (state.status, state.progress, state.epoch, state.seq) == (Status.QUEUED, 0.0, "e1", 1)
    assert state.created_at == bench.clock.wall()
    assert bench.store.saved == [state]
    assert bench.told == 1
    assert bench.hub.drain().tasks == {state.task_id: state}


def test_the_hubs_own_ids_are_128_random_bits_that_no_command_line_takes_for_an_option(
    bench: Bench,
) -> None:
    ids = {bench.hub.create("copy", title="t")[0].task_id for _ in range(200)}

    assert len(ids) == 200
    assert all(len(bytes.fromhex(task_id)) == 16 for task_id in ids)


def test_the_same_id_again_is_the_same_task(bench: Bench) -> None:
    first, _ = bench.hub.create("copy", title="one", task_id="k")
    second, is_new = bench.hub.create("move", title="two", task_id="k", max_running=1)

    assert not is_new
    assert second is first
    assert len(bench.hub.all()) == 1


def test_the_same_id_is_the_same_task_after_its_end_too(bench: Bench) -> None:
    bench.start("k")
    ended = bench.end("k")

    assert bench.hub.create("copy", title="t", task_id="k") == (ended, False)


def test_no_more_than_max_running_are_active_and_the_error_names_them(bench: Bench) -> None:
    bench.hub.create("copy", title="t", task_id="a", max_running=2)
    bench.start("b", max_running=2)
    bench.start("other", name="move")

    with pytest.raises(AlreadyRunning) as caught:
        bench.hub.create("copy", title="t", max_running=2)

    assert caught.value.running == ["a", "b"]
    assert len(bench.hub.all()) == 3


def test_an_end_makes_room_once_it_is_shown(bench: Bench) -> None:
    bench.start("a", max_running=1)
    bench.hub.end("a", Status.FAILED)
    with pytest.raises(AlreadyRunning):
        bench.hub.create("copy", title="t", max_running=1)

    bench.store.written()

    assert bench.hub.create("copy", title="t", max_running=1)[1]


def test_an_unknown_id_is_an_error_that_names_its_field(bench: Bench) -> None:
    with pytest.raises(UnknownTask, match="'nobody'") as caught:
        bench.hub.get("nobody")

    assert caught.value.field == "task_id"
    assert bench.hub.find("nobody") is None
    for ask in (bench.hub.begin, bench.hub.request_cancel):
        with pytest.raises(UnknownTask):
            ask("nobody")
    with pytest.raises(UnknownTask):
        bench.hub.end("nobody", Status.FAILED)


# -- reports -------------------------------------------------------------------------------------


def test_the_first_report_begins_a_queued_task(bench: Bench) -> None:
    bench.hub.create("copy", title="t", task_id="a", total=4)
    bench.clock.advance(100)

    bench.hub.apply([{"task_id": "a", "current": 1}])

    state = bench.hub.get("a")
    assert (state.status, state.progress) == (Status.IN_PROGRESS, 25.0)
    assert (state.started_at, state.elapsed_s) == (bench.clock.wall(), 0.0)


def test_a_sign_of_life_does_not_begin_a_queued_task(bench: Bench) -> None:
    bench.hub.create("copy", title="t", task_id="a")

    bench.hub.heard("a")

    assert bench.hub.get("a").status is Status.QUEUED


def test_beginning_what_has_begun_does_not_start_its_time_again(bench: Bench) -> None:
    bench.start("a")
    bench.clock.advance(5)

    bench.hub.begin("a")
    bench.hub.apply([{"task_id": "a", "current": 1}])

    assert bench.hub.get("a").elapsed_s == 5.0


def test_reports_on_unknown_tasks_are_dropped_and_the_others_taken(bench: Bench) -> None:
    bench.start("a")

    bench.hub.apply([{"task_id": "nobody", "current": 1}, {"task_id": "a", "current": 2}])

    assert bench.hub.get("a").current == 2


def test_reports_after_the_end_are_dropped(bench: Bench) -> None:
    bench.start("a")
    ended = bench.end("a")

    bench.hub.apply([{"task_id": "a", "current": 9, "message": "late", "log": ["late"]}])

    assert bench.hub.get("a") is ended
    assert bench.hub.log_next("a") == 0


def test_the_queues_time_is_not_the_tasks(bench: Bench) -> None:
    bench.hub.create("copy", title="t", task_id="a")
    bench.clock.advance(1_000)
    bench.hub.begin("a")
    bench.clock.advance(3)

    assert bench.end("a").elapsed_s == 3.0


def test_the_wall_clock_set_back_changes_no_duration(bench: Bench) -> None:
    bench.start("a")
    bench.clock.advance(3)
    bench.clock.set_wall(0.0)

    ended = bench.end("a")

    assert (ended.elapsed_s, ended.finished_at) == (3.0, 0.0)


def test_a_running_task_is_stored_now_and_then_and_at_every_turn(bench: Bench) -> None:
    bench.start("a", steps=make(["Scan", "Pack"]))
    bench.store.saved.clear()

    for done in range(100):
        bench.clock.advance(0.1)
        bench.hub.apply([{"task_id": "a", "current": done}])
    often = len(bench.store.saved)
    bench.hub.apply([{"task_id": "a", "step": "Pack"}])

    assert often in {4, 5}
    assert len(bench.store.saved) == often + 1


def test_many_threads_that_report_at_once_lose_nothing(bench: Bench) -> None:
    # Given: eight threads, each adding to a task of its own and to one of all.
    threads, rounds = 8, 250
    for i in range(threads):
        bench.start(f"t{i}")
    bench.start("all")
    gate = threading.Barrier(threads)

    def work(i: int) -> None:
        gate.wait()
        for _ in range(rounds):
            bench.hub.apply([{"task_id": f"t{i}", "advance": 1}])
            bench.hub.apply([{"task_id": "all", "advance": 1, "log": [f"line of {i}"]}])

    # When: all of them are through.
    workers = [threading.Thread(target=work, args=(i,)) for i in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()

    # Then: every unit and every line is there.
    assert [bench.hub.get(f"t{i}").current for i in range(threads)] == [rounds] * threads
    assert bench.hub.get("all").current == threads * rounds
    page = bench.store.read_log("all", 0, 10_000)
    assert Counter(page.lines) == {f"line of {i}": rounds for i in range(threads)}
    assert bench.hub.counts()["in_progress"] == threads + 1


# -- ends ----------------------------------------------------------------------------------------


def test_an_end_is_stored_before_it_is_shown(bench: Bench) -> None:
    bench.start("a")
    bench.hub.drain()
    told = bench.told

    assert bench.hub.end("a", Status.COMPLETED, result=7)

    assert bench.store.saved[-1].status is Status.COMPLETED
    assert bench.hub.get("a").status is Status.IN_PROGRESS
    assert (bench.hub.drain().tasks, bench.told) == ({}, told)
    bench.store.written()
    assert bench.hub.get("a") is bench.store.saved[-1]
    assert bench.hub.drain().tasks == {"a": bench.store.saved[-1]}
    assert bench.told > told


def test_reports_while_a_task_is_ending_are_dropped(bench: Bench) -> None:
    bench.start("a", total=10)
    bench.hub.end("a", Status.FAILED)

    bench.hub.apply([{"task_id": "a", "current": 9, "log": ["late"]}])
    bench.hub.begin("a")
    bench.store.written()

    state = bench.hub.get("a")
    assert (state.status, state.current) == (Status.FAILED, 0)
    assert bench.hub.log_next("a") == 0


def test_a_cancellation_while_a_task_is_ending_changes_nothing(bench: Bench) -> None:
    before = bench.start("a")
    bench.hub.end("a", Status.COMPLETED)

    assert bench.hub.request_cancel("a") is before
    bench.store.written()

    assert bench.hub.get("a").status is Status.COMPLETED
    assert not bench.hub.get("a").cancel_requested


def test_only_the_first_end_counts(bench: Bench) -> None:
    bench.start("a")

    assert bench.hub.end("a", Status.COMPLETED, result=1)
    assert not bench.hub.end("a", Status.FAILED)
    bench.store.written()
    assert not bench.hub.end("a", Status.CANCELLED)

    assert (bench.hub.get("a").status, bench.hub.get("a").result) == (Status.COMPLETED, 1)


def test_a_task_that_is_ending_is_not_lost_however_long_the_disk_refuses(bench: Bench) -> None:
    # Given: an end that the store cannot write.
    bench.start("a", lease_s=30.0)
    bench.hub.end("a", Status.COMPLETED)

    # When: the lease runs out, and then the disk takes it.
    bench.clock.advance(3_600)
    bench.hub.sweep()
    shown = bench.hub.get("a")
    bench.store.written()

    # Then: every state that was shown had a seq of its own.
    assert shown.status is Status.IN_PROGRESS
    assert bench.hub.get("a").status is Status.COMPLETED
    assert bench.hub.get("a").seq == shown.seq + 1


def test_an_end_has_its_result_its_files_its_error_and_its_last_lines(bench: Bench) -> None:
    bench.start("a", total=4)
    bench.hub.apply([{"task_id": "a", "current": 1}])
    bench.clock.advance(2.5)
    error = TaskError("exception", "ValueError: x")

    bench.hub.end("a", Status.FAILED, error=error, log=["Traceback", "ValueError: x"], files=[])
    bench.store.written()

    state = bench.hub.get("a")
    assert (state.error, state.elapsed_s, state.progress) == (error, 2.5, 25.0)
    assert bench.store.read_log("a", 0, 10).lines == ("Traceback", "ValueError: x")


def test_a_task_that_never_began_ends_without_a_time(bench: Bench) -> None:
    bench.hub.create("copy", title="t", task_id="a")
    bench.clock.advance(9)

    state = bench.end("a", Status.CANCELLED)

    assert (state.started_at, state.elapsed_s) == (None, None)


# -- cancelling ----------------------------------------------------------------------------------


def test_a_cancellation_is_shown_at_once(bench: Bench) -> None:
    bench.start("a")

    state = bench.hub.request_cancel("a")

    assert state.cancel_requested
    assert bench.hub.get("a") is state
    assert bench.store.saved[-1] is state


def test_what_has_ended_or_may_not_be_cancelled_says_so(bench: Bench) -> None:
    bench.start("a", cancellable=False)
    with pytest.raises(NotCancellable):
        bench.hub.request_cancel("a")
    bench.end("a")
    with pytest.raises(TaskEnded):
        bench.hub.request_cancel("a")

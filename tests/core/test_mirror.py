"""Tasks that another process speaks for: shown, never changed, and taken over in a later term."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from msgspec.structs import replace

from socketprogress.core.errors import UnknownTask
from socketprogress.core.state import Status, TaskState
from tests.core.bench import Bench


def theirs(task_id: str = "a", **changes: Any) -> TaskState:
    """Return a state of a task that the process with the epoch `e9` speaks for."""
    state = TaskState(task_id, "copy", "Copy", "e9", created_at=1.0, status=Status.IN_PROGRESS)
    return replace(state, **changes)


def test_a_mirrored_task_is_shown_as_it_is_with_its_epoch_and_number(bench: Bench) -> None:
    bench.hub.mirror([theirs(seq=7, current=3.0)])

    assert bench.hub.get("a") == theirs(seq=7, current=3.0)
    assert bench.hub.active() == ["a"]
    assert bench.hub.counts()["in_progress"] == 1
    assert bench.hub.drain().tasks == {"a": theirs(seq=7, current=3.0)}
    assert bench.hub.speakers() == {"e9": ["a"]}
    assert bench.store.saved == []


@pytest.mark.parametrize(
    "stale", [{"seq": 6}, {"seq": 7, "message": "again"}, {"term": 0, "seq": 99}]
)
def test_what_is_not_newer_changes_nothing(bench: Bench, stale: dict[str, Any]) -> None:
    bench.hub.mirror([theirs(term=1, seq=7)])
    bench.hub.drain()

    bench.hub.mirror([theirs(**{"term": 1, **stale})])

    assert bench.hub.get("a") == theirs(term=1, seq=7)
    assert bench.hub.drain().tasks == {}


def test_a_later_term_is_newer_whatever_its_number(bench: Bench) -> None:
    bench.hub.mirror([theirs(seq=50), theirs(epoch="e8", term=1, seq=2)])

    assert bench.hub.get("a").epoch == "e8"


def test_a_mirrored_end_is_the_end(bench: Bench) -> None:
    bench.hub.mirror([theirs(seq=7), theirs(seq=8, status=Status.COMPLETED)])
    bench.hub.mirror([theirs(seq=9, term=4), theirs(seq=9, term=4, status=Status.FAILED)])

    assert bench.hub.get("a").status is Status.COMPLETED
    assert bench.hub.active() == []


@pytest.mark.parametrize(
    "change",
    [
        lambda hub: hub.begin("a"),
        lambda hub: hub.apply([{"task_id": "a", "current": 5}]),
        lambda hub: hub.request_cancel("a"),
        lambda hub: hub.end("a", Status.COMPLETED),
        lambda hub: hub.save_all(),
    ],
)
def test_a_foreign_task_is_not_changed_from_here(
    bench: Bench, change: Callable[[Any], Any]
) -> None:
    bench.hub.mirror([theirs(seq=7)])

    change(bench.hub)
    bench.clock.advance(1_000)
    bench.hub.sweep()

    assert bench.hub.get("a") == theirs(seq=7)
    assert bench.store.saved == []


def test_an_adopted_task_goes_on_here_in_the_next_term_with_its_lease_anew(bench: Bench) -> None:
    bench.hub.mirror([theirs(seq=7, current=3.0, total=10.0, term=2, source="report", lease_s=5.0)])
    bench.clock.advance(60)

    adopted = bench.hub.adopt("a")
    bench.hub.apply([{"task_id": "a", "current": 4}])

    assert (adopted.epoch, adopted.term, adopted.seq) == ("e1", 3, 8)
    assert (bench.hub.get("a").current, bench.hub.get("a").seq) == (4, 9)
    bench.clock.advance(6)
    bench.hub.sweep()
    assert bench.hub.get("a").status is Status.LOST


def test_what_the_process_before_still_says_of_an_adopted_task_is_too_late(bench: Bench) -> None:
    bench.hub.mirror([theirs(seq=7)])
    adopted = bench.hub.adopt("a")

    bench.hub.mirror([theirs(seq=99, current=50.0)])

    assert bench.hub.get("a") == adopted


def test_own_and_ended_tasks_are_not_adopted(bench: Bench) -> None:
    ours = bench.start("ours")
    bench.hub.mirror([theirs("over", status=Status.FAILED)])

    assert bench.hub.adopt("ours") is ours
    assert bench.hub.adopt("over").epoch == "e9"
    with pytest.raises(UnknownTask):
        bench.hub.adopt("none")


def test_a_task_that_another_has_taken_over_is_no_longer_ours(bench: Bench) -> None:
    superseded: list[str] = []
    bench.hub.on_superseded = superseded.append
    bench.start("a")

    bench.hub.mirror([theirs(seq=9, term=1)])

    assert superseded == ["a"]
    assert not bench.hub.end("a", Status.COMPLETED)
    assert bench.hub.get("a") == theirs(seq=9, term=1)


def test_an_end_that_the_store_has_refused_gives_way_to_the_one_it_has(bench: Bench) -> None:
    bench.start("a")
    bench.hub.end("a", Status.COMPLETED)

    bench.hub.mirror([theirs(status=Status.FAILED, term=1, seq=3)])
    bench.store.written()

    assert bench.hub.get("a").status is Status.FAILED
    assert bench.hub.counts()["failed"] == 1
    assert bench.hub.counts()["completed"] == 0


def test_an_end_that_was_refused_is_said_again_once_the_task_is_taken_back(bench: Bench) -> None:
    bench.start("a")
    bench.hub.end("a", Status.COMPLETED)
    bench.hub.mirror([theirs(status=Status.LOST, term=1, seq=3)])
    bench.store.written()
    assert bench.hub.active() == ["a"]

    bench.hub.adopt("a")
    assert bench.hub.end("a", Status.COMPLETED)
    bench.store.written()

    assert (bench.hub.get("a").status, bench.hub.get("a").term) == (Status.COMPLETED, 2)


def test_our_own_states_come_back_without_a_change(bench: Bench) -> None:
    before = bench.start("a")

    bench.hub.mirror([replace(before, seq=before.seq + 5, message="from the feed")])

    assert bench.hub.get("a") == before


def test_lines_of_others_are_shown_once(bench: Bench) -> None:
    bench.hub.mirror([theirs()])
    bench.hub.drain()

    bench.hub.mirror_log("a", 0, ["one", "two"])
    bench.hub.mirror_log("a", 1, ["two", "three"])
    bench.hub.mirror_log("a", 0, ["one"])
    bench.hub.mirror_log("unknown", 0, ["nothing"])

    assert bench.hub.drain().logs == {"a": (0, ["one", "two", "three"])}
    assert bench.hub.log_next("a") == 3


def test_after_a_gap_the_lines_of_others_stand_under_their_numbers(bench: Bench) -> None:
    bench.hub.mirror([theirs()])

    bench.hub.mirror_log("a", 10, ["ten"])

    assert bench.hub.drain().logs == {"a": (10, ["ten"])}


def test_what_others_forget_is_forgotten_and_told_once(bench: Bench) -> None:
    bench.start("ours")
    bench.hub.mirror([theirs("runs"), theirs("over", status=Status.COMPLETED)])
    bench.hub.drain()

    bench.hub.mirror_deleted(["runs", "over", "ours", "unknown"])

    assert [state.task_id for state in bench.hub.all()] == ["ours"]
    assert bench.hub.drain().removed == ["runs", "over"]
    assert bench.hub.sweep() == ["runs", "over"]
    assert bench.hub.sweep() == []
    assert bench.store.deleted == []


def test_one_process_of_several_forgets_for_all(bench: Bench) -> None:
    for number in range(3):
        bench.hub.mirror([theirs(f"t{number}", status=Status.COMPLETED, finished_at=1.0)])
    bench.clock.advance(365 * 86_400)

    bench.hub.retains = False
    assert bench.hub.sweep() == []
    bench.hub.retains = True
    assert bench.hub.sweep() == ["t0", "t1", "t2"]
    assert bench.store.deleted == ["t0", "t1", "t2"]

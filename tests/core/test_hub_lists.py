"""The list of tasks: its order, its pages, its filters and its counts."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from socketprogress.core.errors import (
    InvalidPayload,
)
from socketprogress.core.hub import Filter
from socketprogress.core.protocol import STATUSES
from socketprogress.core.state import Status, TaskState
from tests.core.bench import Bench, ids_of, walk


def test_active_tasks_come_before_ended_ones_and_newer_before_older(bench: Bench) -> None:
    for task_id in "abcdef":
        bench.start(task_id)
        bench.clock.advance(1)
    for task_id in "ebd":
        bench.end(task_id)

    assert ids_of(bench.hub.page(Filter(), limit=10).tasks) == list("fcaedb")


def test_the_last_page_has_no_next(bench: Bench) -> None:
    for task_id in "abcd":
        bench.start(task_id)

    page = bench.hub.page(Filter(), limit=2)
    assert page.next is not None
    assert bench.hub.page(Filter(), limit=2, before=page.next).next is None
    assert bench.hub.page(Filter(), limit=4).next is None


@pytest.mark.parametrize(
    "cursor", ["x", "1.2", "0.0.", "1.x.5.0.a", "0.1.x.a", "\0", "0.1.abc.def.ghi"]
)
def test_a_cursor_of_ones_own_making_is_refused_by_its_field(bench: Bench, cursor: str) -> None:
    with pytest.raises(InvalidPayload) as caught:
        bench.hub.page(Filter(), limit=2, before=cursor)

    assert caught.value.field == "before"


def test_tasks_of_one_instant_are_all_in_the_pages(bench: Bench) -> None:
    ids = ["b", "a", "d", "c", "f", "e"]
    for task_id in ids:
        bench.start(task_id)

    assert walk(bench.hub, limit=1) == ids[::-1]


def test_a_wall_clock_that_goes_back_hides_no_task(bench: Bench) -> None:
    for number in range(9):
        bench.clock.set_wall(1_000.0 - 10 * number)
        bench.start(f"t{number}")

    assert walk(bench.hub, limit=2) == [f"t{number}" for number in range(8, -1, -1)]


def test_reading_on_after_a_restart_or_a_deletion_goes_on_at_the_place(bench: Bench) -> None:
    for number in range(9):
        bench.start(f"t{number}")
        bench.end(f"t{number}")
        bench.clock.advance(1)
    cursor = bench.hub.page(Filter(), limit=3).next

    after = bench.open("e2")
    after.restore()
    bench.store.delete(["t6"])
    without = bench.open("e3")
    without.restore()

    for hub in (after, without):
        assert ids_of(hub.page(Filter(), limit=3, before=cursor).tasks) == ["t5", "t4", "t3"]


@settings(suppress_health_check=[HealthCheck.too_slow], max_examples=60, deadline=None)
@given(
    st.integers(1, 4),
    st.lists(st.booleans(), min_size=1, max_size=14),
    st.lists(st.sampled_from(["end newest", "end oldest", "create", "tick"]), max_size=40),
)
def test_who_reads_on_to_the_end_gets_every_task_exactly_once(
    limit: int, ended: list[bool], events: list[str]
) -> None:
    # Given: some tasks, some of which have ended.
    bench = Bench()
    for number, over in enumerate(ended):
        bench.start(f"t{number}")
        if over:
            bench.end(f"t{number}")
    there = {f"t{number}" for number in range(len(ended))}

    # When: between the pages tasks end and new ones come.
    def between() -> None:
        event = events.pop() if events else "tick"
        active = bench.hub.active()
        if event == "create":
            bench.start(f"new{len(events)}")
        elif event.startswith("end") and active:
            bench.end(active[0] if event == "end oldest" else active[-1])
        bench.clock.advance(0.5 if event == "tick" else 0.0)

    seen = walk(bench.hub, limit=limit, between=between)
    bench.store.close()

    # Then: each of the first page's tasks was there once, and no new one.
    assert Counter(seen) == dict.fromkeys(there, 1)


words = st.sampled_from(["Copy", "copy", "MOVE", "straße", "x_1", ""])


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(words, st.sampled_from(["copy", "move"]), words, st.sampled_from(STATUSES)),
        max_size=12,
    ),
    st.sets(st.sampled_from(STATUSES)),
    words,
)
def test_filters_and_counts_are_those_of_a_look_at_every_task(
    tasks: list[tuple[str, str, str, str]], statuses: set[str], search: str
) -> None:
    bench = Bench()
    for number, (title, name, tag, status) in enumerate(tasks):
        task_id = f"t{number}"
        bench.hub.create(name, title=title, task_id=task_id, tags=(tag,), lease_s=30.0)
        if status != "queued":
            bench.hub.begin(task_id)
        if status == "lost":
            bench.clock.advance(31)
            bench.hub.sweep()
        for other in range(number):
            if bench.hub.get(f"t{other}").status is Status.LOST and tasks[other][3] != "lost":
                bench.hub.heard(f"t{other}")
        if status in {"completed", "failed", "cancelled"}:
            bench.end(task_id, Status(status))

    states = bench.hub.all()
    found = bench.hub.page(Filter(frozenset(statuses), search), limit=100).tasks
    bench.store.close()

    def wanted(state: TaskState) -> bool:
        fits = not statuses or state.status.value in statuses
        texts = (state.title, state.name, state.task_id, *state.tags)
        return fits and any(search.casefold() in text.casefold() for text in texts)

    assert [state.status.value for state in states] == [status for *_, status in tasks]
    assert set(ids_of(found)) == {state.task_id for state in states if wanted(state)}
    assert bench.hub.counts() == {
        status: sum(state.status.value == status for state in states) for status in STATUSES
    }


def test_the_active_ones_are_those_of_one_name_or_all(bench: Bench) -> None:
    bench.start("a")
    bench.start("b", name="move")
    bench.start("c")
    bench.end("c")

    assert bench.hub.active() == ["a", "b"]
    assert bench.hub.active("move") == ["b"]

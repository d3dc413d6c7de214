"""Which ended tasks are deleted, and that active ones never are."""

from __future__ import annotations

from collections.abc import Callable

from hypothesis import given
from hypothesis import strategies as st

from socketprogress.core.retention import Retention, surplus
from socketprogress.core.state import Status, TaskState

NOW = 1_000_000.0


def task(number: int, *, ended_at: float | None, status: Status = Status.COMPLETED) -> TaskState:
    return TaskState(
        f"t{number}", "n", "t", "e", created_at=0.0, status=status, finished_at=ended_at
    )


def of_size(size: int) -> Callable[[TaskState], int]:
    return lambda _state: size


def test_what_is_within_all_limits_stays() -> None:
    ended = [task(i, ended_at=NOW - 10 + i) for i in range(5)]
    limits = Retention(count=5, age_s=10, bytes=50)

    assert surplus(ended, of_size(10), retention=limits, now_at=NOW) == []


def test_beyond_the_count_those_that_ended_first_go() -> None:
    ended = [task(i, ended_at=NOW - 10 + i) for i in range(5)]

    gone = surplus(ended, of_size(0), retention=Retention(count=2), now_at=NOW)

    assert gone == ["t0", "t1", "t2"]


def test_beyond_the_age_they_go() -> None:
    ended = [task(0, ended_at=NOW - 101), task(1, ended_at=NOW - 100), task(2, ended_at=NOW)]

    assert surplus(ended, of_size(0), retention=Retention(age_s=100), now_at=NOW) == ["t0"]


def test_beyond_the_bytes_those_that_ended_first_go() -> None:
    ended = [task(i, ended_at=NOW - 10 + i) for i in range(5)]

    assert surplus(ended, of_size(30), retention=Retention(bytes=100), now_at=NOW) == ["t0", "t1"]


def test_the_last_result_stays_however_large_it_is() -> None:
    ended = [task(0, ended_at=NOW - 1), task(1, ended_at=NOW)]

    assert surplus(ended, of_size(200), retention=Retention(bytes=100), now_at=NOW) == ["t0"]


def test_a_long_task_that_has_just_ended_outlives_short_ones_that_started_later() -> None:
    ended = [task(0, ended_at=NOW), task(1, ended_at=NOW - 50), task(2, ended_at=NOW - 40)]

    gone = surplus(ended, of_size(0), retention=Retention(count=1), now_at=NOW)

    assert gone == ["t1", "t2"]


def test_a_count_of_zero_keeps_nothing() -> None:
    ended = [task(0, ended_at=NOW)]

    assert surplus(ended, of_size(0), retention=Retention(count=0), now_at=NOW) == ["t0"]


def test_a_clock_that_went_back_deletes_nothing() -> None:
    ended = [task(0, ended_at=NOW + 86_400)]

    assert surplus(ended, of_size(0), retention=Retention(age_s=1), now_at=NOW) == []


@given(
    st.lists(st.tuples(st.sampled_from(Status), st.floats(0, NOW), st.integers(0, 100))),
    st.integers(0, 10),
    st.floats(0, NOW),
    st.integers(0, 300),
)
def test_an_active_task_is_never_surplus_and_the_rest_keeps_within_the_limits(
    drawn: list[tuple[Status, float, int]], count: int, age_s: float, size: int
) -> None:
    tasks = [task(i, ended_at=at, status=status) for i, (status, at, _) in enumerate(drawn)]
    sizes = {f"t{i}": size for i, (_, _, size) in enumerate(drawn)}
    limits = Retention(count=count, age_s=age_s, bytes=size)

    gone = surplus(tasks, lambda state: sizes[state.task_id], retention=limits, now_at=NOW)

    ended = {state.task_id: state for state in tasks if state.ended}
    kept = [state for task_id, state in ended.items() if task_id not in gone]
    assert set(gone) <= set(ended)
    assert len(kept) <= count
    assert all(NOW - (state.finished_at or 0.0) <= age_s for state in kept)
    assert len(kept) <= 1 or sum(sizes[state.task_id] for state in kept) <= size

"""The transitions of a task: which there are, what each changes, and that an end is final."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from socketprogress.core import state as states
from socketprogress.core import steps as steps_of
from socketprogress.core.errors import ConfigurationError, NotCancellable, TaskEnded
from socketprogress.core.state import TASK_ERROR_CODES, Status, TaskError, TaskFile, TaskState

ENDS = (Status.COMPLETED, Status.FAILED, Status.CANCELLED)


def a_task(**fields: object) -> TaskState:
    return states.queue(TaskState("t1", "copy", "Copy", "e1", 100.0, **fields))  # type: ignore[arg-type]


def running(**fields: object) -> TaskState:
    return states.begin(a_task(**fields), at=101.0)


TRANSITIONS: dict[str, Callable[[TaskState], TaskState]] = {
    "begin": lambda state: states.begin(state, at=200.0),
    "change": lambda state: states.change(state, at=200.0, current=9, message="news"),
    "request_cancel": lambda state: states.request_cancel(state, at=200.0),
    "lose": lambda state: states.lose(state, at=200.0),
    "regain": lambda state: states.regain(state, at=200.0),
    "end": lambda state: states.end(state, Status.COMPLETED, at=200.0),
}


def test_a_new_task_waits_at_0_percent_if_its_total_is_known() -> None:
    assert a_task(total=10).progress == 0.0
    assert a_task(steps=steps_of.make(["a", "b"])).progress == 0.0


def test_a_new_task_without_a_total_is_indeterminate() -> None:
    state = a_task()

    assert (state.progress, state.status, state.seq) == (None, Status.QUEUED, 1)
    assert state.updated_at == state.created_at


def test_a_state_cannot_be_changed_in_place() -> None:
    with pytest.raises(AttributeError, match="immutable"):
        a_task().seq = 9  # type: ignore[misc]


def test_what_begins_is_in_progress_from_then_on_and_enters_its_first_step() -> None:
    state = states.begin(a_task(steps=steps_of.make(["a", "b"])), at=123.0)

    assert state.status is Status.IN_PROGRESS
    assert (state.started_at, state.updated_at, state.elapsed_s) == (123.0, 123.0, 0.0)
    assert [step.status for step in state.steps] == [Status.IN_PROGRESS, Status.QUEUED]
    assert state.seq == 2


def test_beginning_twice_is_beginning_once() -> None:
    state = running()

    assert states.begin(state, at=500.0) is state


def test_a_report_moves_the_percent() -> None:
    state = states.change(running(total=4), at=102.0, current=1)

    assert (state.current, state.progress, state.updated_at, state.seq) == (1, 25.0, 102.0, 3)


def test_a_report_of_nothing_new_gives_back_the_very_state() -> None:
    state = states.change(running(total=4), at=102.0, current=1, message="m")

    again = states.change(state, at=103.0, current=1, message="m", rate=2.0, elapsed_s=2.0)

    assert again is state


def test_the_percent_stays_when_the_total_grows_or_goes() -> None:
    state = states.change(running(total=4), at=102.0, current=2)

    grown = states.change(state, at=103.0, total=400)
    gone = states.change(grown, at=104.0, total=None)

    assert (grown.progress, gone.progress) == (50.0, 50.0)


def test_only_a_reset_brings_the_percent_back() -> None:
    state = states.change(running(total=4), at=102.0, current=2)

    assert states.change(state, at=103.0, current=1).progress == 50.0
    assert states.change(state, at=103.0, current=1, reset=True).progress == 25.0


def test_a_cancellation_is_asked_for_once() -> None:
    asked = states.request_cancel(running(), at=102.0)

    assert asked.cancel_requested
    assert asked.status is Status.IN_PROGRESS
    assert states.request_cancel(asked, at=103.0) is asked


def test_what_may_not_be_cancelled_says_so() -> None:
    with pytest.raises(NotCancellable, match="t1"):
        states.request_cancel(running(cancellable=False), at=102.0)


def test_an_answer_says_how_long_a_task_has_run_by_now() -> None:
    state = replace(running(), elapsed_s=2.0, updated_at=100.0)
    lost, done = states.lose(state, at=110.0), states.end(state, Status.COMPLETED, at=110.0)

    assert states.as_of(state, 103.5) == replace(state, elapsed_s=5.5)
    assert states.as_of(state, 90.0) == state  # the clock was set back
    assert states.as_of(a_task(), 500.0).elapsed_s is None
    assert [states.as_of(same, 500.0) for same in (lost, done)] == [lost, done]


def test_a_running_task_can_be_lost_and_regained() -> None:
    state = replace(running(), rate=5.0, eta_s=9.0)

    lost = states.lose(state, at=140.0)
    back = states.regain(lost, at=150.0)

    assert (lost.status, lost.rate, lost.eta_s) == (Status.LOST, None, None)
    assert (back.status, back.updated_at) == (Status.IN_PROGRESS, 150.0)
    assert (lost.seq, back.seq) == (state.seq + 1, state.seq + 2)


def test_only_what_runs_can_be_lost_and_only_what_is_lost_regained() -> None:
    queued, runs = a_task(), running()

    assert states.lose(queued, at=1.0) is queued
    assert states.regain(runs, at=1.0) is runs


def test_completed_is_exactly_100_even_when_it_was_indeterminate() -> None:
    state = states.end(running(), Status.COMPLETED, at=103.0, result={"n": 1})

    assert (state.progress, state.result, state.finished_at) == (100.0, {"n": 1}, 103.0)


@pytest.mark.parametrize("status", [Status.FAILED, Status.CANCELLED])
def test_other_ends_leave_the_percent_where_it_stood(status: Status) -> None:
    state = states.change(running(total=4), at=102.0, current=9)

    ended = states.end(state, status, at=103.0, error=TaskError("exception", "ValueError: x"))

    assert (ended.progress, ended.current) == (99.99, 9)
    assert ended.error == TaskError("exception", "ValueError: x")
    assert states.end(running(), status, at=103.0).progress is None


def test_an_end_leaves_no_time_and_keeps_the_files_it_is_not_told_of() -> None:
    files = (TaskFile("a.txt", 3),)
    state = replace(running(), files=files, eta_s=7.0, elapsed_s=2.0)

    assert states.end(state, Status.COMPLETED, at=1.0).files == files
    assert states.end(state, Status.COMPLETED, at=1.0, files=[]).files == ()
    assert states.end(state, Status.COMPLETED, at=1.0).eta_s is None
    assert states.end(state, Status.COMPLETED, at=1.0).elapsed_s == 2.0
    assert states.end(state, Status.COMPLETED, at=1.0, elapsed_s=3.5).elapsed_s == 3.5


@pytest.mark.parametrize("status", [Status.QUEUED, Status.IN_PROGRESS, Status.LOST])
def test_only_three_words_end_a_task(status: Status) -> None:
    with pytest.raises(ConfigurationError, match="not a terminal status"):
        states.end(running(), status, at=1.0)


def test_a_task_fails_with_a_known_code_only() -> None:
    for code in TASK_ERROR_CODES:
        assert states.end(running(), Status.FAILED, at=1.0, error=TaskError(code, "")).error
    with pytest.raises(ConfigurationError, match="'oops'"):
        states.end(running(), Status.FAILED, at=1.0, error=TaskError("oops", ""))


def test_the_error_codes_of_a_task() -> None:
    words = "exception exit_status interrupted shutdown timeout worker_lost"

    assert sorted(TASK_ERROR_CODES) == words.split()


@pytest.mark.parametrize("transition", TRANSITIONS.values(), ids=TRANSITIONS)
@pytest.mark.parametrize("end", ENDS)
def test_a_terminal_state_never_changes(
    end: Status, transition: Callable[[TaskState], TaskState]
) -> None:
    ended = states.end(running(), end, at=103.0)

    with pytest.raises(TaskEnded, match=f"t1 is {end.value}"):
        transition(ended)


@given(st.lists(st.sampled_from(sorted(TRANSITIONS)), max_size=20))
def test_seq_rises_by_one_with_every_state_that_is_new_and_an_end_stays(names: list[str]) -> None:
    state = a_task(total=10)
    for name in names:
        before = state
        try:
            state = TRANSITIONS[name](before)
        except TaskEnded:
            assert before.ended
            continue
        assert not before.ended
        if state is before:
            continue
        assert state.seq == before.seq + 1
        assert (state.task_id, state.epoch) == (before.task_id, before.epoch)
        assert (state.progress == 100.0) == (state.status is Status.COMPLETED)

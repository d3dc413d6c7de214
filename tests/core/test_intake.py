"""What a report makes of a task's state, and what its clocks say."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from socketprogress.core import state as states
from socketprogress.core import steps as steps_of
from socketprogress.core.intake import MESSAGE_CHARS, TITLE_CHARS, Live, taken
from socketprogress.core.ports import Report
from socketprogress.core.state import Status, TaskFile, TaskState

NAMES = ("Scan", "Pack", "Check")


class Work:
    """A task in progress and a hand on its clock."""

    def __init__(self, *, steps: tuple[str, ...] = (), total: float | None = None) -> None:
        new = TaskState("t1", "copy", "Copy", "e1", 0.0, steps=steps_of.make(steps), total=total)
        self.now = 50.0
        self.live = Live(self.now)
        self.state = states.begin(states.queue(new), at=0.0)

    def report(self, *, after: float = 1.0, **said: object) -> TaskState:
        """Take a report `after` seconds."""
        self.now += after
        report: Report = {"task_id": "t1", **said}  # type: ignore[typeddict-item]
        self.state = taken(self.state, self.live, report, now=self.now, at=self.now)
        return self.state


def test_a_sign_of_life_changes_nothing() -> None:
    work = Work()
    before = work.state

    assert work.report() is before


def test_counts_are_set_or_added_to() -> None:
    work = Work(total=10)

    assert work.report(current=3).current == 3
    assert work.report(advance=2).current == 5
    assert work.report(current=7, advance=1).current == 8
    assert work.state.progress == 80.0


def test_the_total_may_come_later_and_go_again() -> None:
    work = Work()

    assert work.report(current=3).progress is None
    assert work.report(total=6).progress == 50.0
    gone = work.report(total=None)

    assert (gone.total, gone.progress) == (None, 50.0)


def test_a_step_starts_the_counts_again_but_not_the_percent() -> None:
    work = Work(steps=NAMES)
    work.report(current=9, total=10)

    state = work.report(step="Pack", total=4)

    assert (state.current, state.total) == (0, 4)
    assert state.progress == 33.33
    assert [step.status.value for step in state.steps] == ["completed", "in_progress", "queued"]


def test_a_step_without_a_total_has_none() -> None:
    work = Work(steps=NAMES)
    work.report(current=9, total=10)

    assert work.report(step="Pack").total is None


def test_going_back_a_step_does_not_bring_the_percent_back() -> None:
    work = Work(steps=NAMES)
    work.report(step="Check", current=3, total=4)
    high = work.state.progress

    state = work.report(step="Scan", total=10)

    assert state.progress == high
    assert state.steps[0].progress == 0.0


def test_an_unknown_step_is_no_step() -> None:
    work = Work(steps=NAMES)
    work.report(current=2, total=4)

    assert work.report(step="Oops").current == 2
    assert Work().report(step="Oops", current=1).current == 1


def test_a_reset_starts_percent_counts_and_rate_again() -> None:
    work = Work(total=10)
    for done in range(1, 8):
        work.report(current=done)
    assert work.state.eta_s == 3.0

    state = work.report(reset=True)

    assert (state.current, state.progress) == (0, 0.0)
    assert (state.rate, state.eta_s) == (None, None)


def test_each_step_has_its_own_seconds() -> None:
    work = Work(steps=NAMES)
    work.report(after=4.0, current=1)
    work.report(after=1.0, step="Pack")
    state = work.report(after=2.5, current=1)

    assert [step.elapsed_s for step in state.steps] == [5.0, 2.5, None]
    assert state.elapsed_s == 7.5


def test_with_steps_the_time_left_is_that_of_the_whole_task() -> None:
    work = Work(steps=("Scan", "Pack"))
    for done in range(1, 11):
        work.report(current=done, total=10)
    state = work.report(after=0.0, step="Pack", total=10)

    # 50 % in 10 s: 10 s are left, though the step has only begun and its own rate is not known.
    assert state.eta_s == pytest.approx(10.0, abs=0.1)
    assert state.rate is None


def test_words_are_made_one_line_and_cut() -> None:
    state = Work().report(message="a\nb\x1b" + "x" * 999, title=" t\r\n" * 999, unit="u" * 99)

    assert state.message.startswith("a b xxx")
    assert (len(state.message), len(state.title), len(state.unit)) == (
        MESSAGE_CHARS,
        TITLE_CHARS,
        50,
    )
    assert "\n" not in state.title


def test_files_replace_those_of_before() -> None:
    work = Work()
    work.report(files=[{"name": "a", "size_bytes": 1}])

    state = work.report(files=[{"name": "a", "size_bytes": 2}, {"name": "b", "size_bytes": 3}])

    assert state.files == (TaskFile("a", 2), TaskFile("b", 3))


@pytest.mark.parametrize("said", [{"current": math.nan}, {"current": math.inf, "advance": 1.0}])
def test_a_count_that_is_no_number_leaves_the_last_one(said: dict[str, float]) -> None:
    work = Work(total=10)
    work.report(current=4)

    state = work.report(**said)

    assert (state.current, state.progress) == (4, 40.0)


def test_a_sum_beyond_every_number_leaves_the_last_one() -> None:
    work = Work(total=10)
    work.report(current=1.7e308)

    assert work.report(advance=1.7e308).current == 1.7e308


def test_integers_beyond_64_bits_become_floats() -> None:
    state = Work(total=10).report(current=2**63 - 1, advance=2**63 - 1, total=2**80)

    assert state.current == 2.0**64
    assert type(state.current) is type(state.total) is float


def test_what_was_counted_before_the_start_is_not_its_speed() -> None:
    work = Work(total=10_000)
    work.report(after=0.0, current=5_000)

    for done in range(5_100, 5_700, 100):
        work.report(current=done)

    assert work.state.rate == 100.0
    assert work.state.eta_s == 44.0


# -- the lease and its pauses --------------------------------------------------------------------


def test_silence_is_longer_than_the_lease() -> None:
    live = Live(100.0, lease_s=30.0)

    assert not live.silent(130.0)
    assert live.silent(130.1)
    live.hear(131.0)
    assert not live.silent(161.0)


def test_without_a_lease_nobody_is_silent() -> None:
    assert not Live(0.0).silent(1e9)


def test_the_time_that_a_task_was_lost_is_a_pause() -> None:
    work = Work(steps=NAMES)
    work.report(after=5.0, current=1)
    work.live.lost_at = work.now
    work.now += 600.0
    work.live.hear(work.now)

    state = work.report(after=5.0, current=2)

    assert state.elapsed_s == 10.0
    assert state.steps[0].elapsed_s == 10.0


def test_while_a_task_is_lost_its_time_stands_still() -> None:
    live = Live(0.0)
    live.lost_at = 40.0

    assert live.elapsed_s(4_000.0) == 40.0


def test_a_task_taken_over_goes_on_with_its_times_and_counts() -> None:
    # Given: 5,000 of 10,000 done in 50 s, 20 s of which in the second step.
    work = Work(steps=NAMES)
    work.report(after=30.0, current=1)
    work.report(after=0.0, step="Pack", total=10_000)
    before = work.report(after=20.0, current=5_000)

    # When: another server takes it over, on another clock, and hears of it twice.
    live = Live.resumed(before, 7.0, at=before.updated_at or 0.0, lease_s=30.0)
    report: Report = {"task_id": "t1", "current": 5_100}
    state = taken(before, live, report, now=8.0, at=100.0)

    # Then: its times go on, and its rate is that of the second alone.
    assert state.elapsed_s == 51.0
    assert [step.elapsed_s for step in state.steps] == [30.0, 21.0, None]
    assert state.rate == 100.0


def test_what_an_earlier_server_saw_done_is_not_this_ones_speed() -> None:
    # Given: a task half done, taken over from another server.
    work = Work(steps=("Scan", "Pack"))
    before = work.report(after=50.0, step="Pack", total=100)
    work.live, work.now = Live.resumed(before, 0.0, at=before.updated_at or 0.0, lease_s=None), 0.0

    # When: it goes on at 2 % of its second half a second.
    for done in range(2, 22, 2):
        state = work.report(current=done)

    # Then: 80 of 100 units at 2 a second are left.
    assert state.eta_s == pytest.approx(40.0, abs=0.2)


# -- any sequence of reports ---------------------------------------------------------------------

numbers = st.integers(-10, 1000) | st.floats(allow_nan=True, allow_infinity=True)
reports = st.fixed_dictionaries(
    {},
    optional={
        "current": numbers,
        "advance": st.integers(-5, 100) | st.floats(-1e308, 1e308),
        "total": st.none() | numbers,
        "step": st.sampled_from([*NAMES, "Oops"]),
        "message": st.text(max_size=5),
        "reset": st.just(value=True),
    },
)


@given(st.lists(st.tuples(st.floats(0, 100), reports), max_size=30), st.booleans())
def test_no_reports_bring_the_percent_back_or_make_a_state_that_is_no_json(
    said: list[tuple[float, dict[str, object]]],
    stepped: bool,
) -> None:
    work = Work(steps=NAMES if stepped else ())
    for after, report in said:
        before = work.state
        state = work.report(after=after, **report)

        assert state is before or state.seq == before.seq + 1
        assert state.progress is None or 0.0 <= state.progress <= 99.99
        if not report.get("reset"):
            assert before.progress is None or (state.progress or 0.0) >= before.progress
        for value in (state.current, state.total, state.rate, state.eta_s, state.elapsed_s):
            assert value is None or math.isfinite(value)
    assert states.end(work.state, Status.COMPLETED, at=0.0).progress == 100.0

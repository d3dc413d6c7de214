"""What past runs say of one that runs: the usual duration, and the time left from it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from socketprogress.core.history import KINDS, RUNS, History, Usual, usual
from socketprogress.core.progress import Left
from socketprogress.core.state import Status, TaskState
from tests.core.bench import Bench

NOTHING = (None, None, None, None)


def run(elapsed_s: float | None = 10.0, **changes: object) -> TaskState:
    """Return a task that completed in so many seconds."""
    state = TaskState("t1", "copy", "Copy", "e1", 0.0, status=Status.COMPLETED)
    return replace(state, elapsed_s=elapsed_s, **changes)  # type: ignore[arg-type]


def learned(*runs: TaskState) -> History:
    history = History()
    for state in runs:
        history.learn(state)
    return history


def times(bench: Bench, task_id: str) -> tuple[float | None, ...]:
    state = bench.hub.get(task_id)
    return state.eta_s, state.eta_low_s, state.eta_high_s, state.usual_s


def past(bench: Bench, *durations: float, **fields: object) -> None:
    """Let tasks of one definition complete after so many seconds."""
    for number, seconds in enumerate(durations):
        bench.start(f"past-{number}", **fields)
        bench.clock.advance(seconds)
        bench.end(f"past-{number}")


# -- durations -----------------------------------------------------------------------------------


def test_the_usual_duration_is_the_median_with_the_quartiles() -> None:
    # The upper one has a tenth of slack.
    assert usual([30, 10, 50, 20, 40]) == Usual(30, 20, 44)


@pytest.mark.parametrize("runs", [[], [10], [10, 10], [1, 10, 100], [1, 1, 60, 60]])
def test_few_or_scattered_runs_say_nothing(runs: list[float]) -> None:
    assert usual(runs) is None


def test_very_short_runs_are_not_scattered() -> None:
    assert usual([0.0, 0.5, 1.0]) == Usual(0.5, 0.25, 1.75)


def test_the_time_left_shrinks_until_the_usual_one_is_over() -> None:
    known = Usual(100, 80, 120)

    assert known.left(0) == Left(100, 80, 120)
    assert known.left(90) == Left(15, 0, 30)
    assert known.left(110) == Left(5, 0, 10)
    assert known.left(120) == Left()


@given(st.lists(st.floats(0, 1e7), max_size=60), st.floats(0, 1e8))
def test_the_likeliest_time_left_is_within_its_range(runs: list[float], elapsed_s: float) -> None:
    known = usual(runs)
    left = Left() if known is None else known.left(elapsed_s)

    if left.eta_s is not None:
        assert left.eta_low_s is not None
        assert left.eta_high_s is not None
        assert 0 <= left.eta_low_s <= left.eta_s <= left.eta_high_s


# -- kinds of tasks ------------------------------------------------------------------------------


def test_only_completed_tasks_of_the_definition_count() -> None:
    history = learned(
        *[run(10.0)] * 2,
        run(1.0, status=Status.FAILED),
        run(1.0, name="move"),
        run(1.0, source="celery"),
        run(None),
    )
    assert history.usual(run()) is None

    history.learn(run(10.0))

    assert history.usual(run()) == Usual(10, 10, 11)


def test_runs_with_the_same_arguments_say_more_than_all_others() -> None:
    history = learned(*[run(10.0, args={"n": 1, "m": 2}), run(900.0, args={"n": 9})] * 3)

    assert history.usual(run(args={"m": 2, "n": 1})) == Usual(10, 10, 11)
    assert history.usual(run(args={"n": 9})) == Usual(900, 900, 990)
    assert history.usual(run(args={"n": 5})) is None  # 10 or 900 s: who knows


def test_unknown_arguments_take_what_the_definition_takes() -> None:
    history = learned(*[run(s, args={"n": s}) for s in (10.0, 12.0, 14.0)])

    assert history.usual(run(args={"n": 1})) == Usual(12, 11, 14.3)


def test_bars_of_reporters_are_alike_only_if_their_titles_are() -> None:
    history = learned(*[run(1.0, source="report", title="Tidy")] * 3)

    assert history.usual(run(source="report", title="Train")) is None
    assert history.usual(run(source="report", title="Tidy")) == Usual(1, 1, 2)


def test_the_newest_runs_count_within_a_bound() -> None:
    history = learned(*[run(1.0)] * RUNS, *[run(10.0)] * RUNS)

    assert history.usual(run()) == Usual(10, 10, 11)


def test_the_kinds_that_ran_longest_ago_are_forgotten() -> None:
    history = learned(*[run()] * 3, *[run(name=f"n{n}") for n in range(KINDS - 1)])
    assert history.usual(run()) is not None

    history.learn(run(name="one more"))

    assert history.usual(run()) is None


# -- in the hub ----------------------------------------------------------------------------------


def test_without_a_total_the_time_left_is_that_of_past_runs(bench: Bench) -> None:
    past(bench, 100, 120, 80)

    begun = bench.start("a")
    assert begun.progress is None
    assert times(bench, "a") == (100, 90, 121, 100)

    bench.clock.advance(50)
    bench.hub.apply([{"task_id": "a", "current": 7}])
    assert times(bench, "a") == (50, 40, 71, 100)

    bench.clock.advance(80)
    bench.hub.apply([{"task_id": "a", "current": 8}])
    assert times(bench, "a") == (None, None, None, 100)


def test_the_time_left_alone_is_no_news(bench: Bench) -> None:
    past(bench, 100, 100, 100)
    bench.start("a")
    before = bench.hub.get("a")

    bench.clock.advance(50)
    bench.hub.heard("a")
    bench.hub.apply([{"task_id": "a", "current": 0, "message": ""}])

    assert bench.hub.get("a") is before


def test_with_a_total_past_runs_count_until_the_pace_is_known(bench: Bench) -> None:
    past(bench, 100, 100, 100)
    bench.start("a", total=1_000)
    seen = []
    for done in range(1, 8):
        bench.clock.advance(1)
        bench.hub.apply([{"task_id": "a", "current": 50 * done}])
        seen.append(times(bench, "a"))

    assert [eta for eta, *_ in seen] == [99, 98, 97, 96, 15, 14, 13]
    assert seen[-1] == (13, None, None, 100)


def test_of_what_is_lost_being_cancelled_or_over_no_time_is_left(bench: Bench) -> None:
    past(bench, 100, 100, 100)
    for task_id in ("lost", "asked", "over"):
        bench.start(task_id, lease_s=5.0)
    bench.clock.advance(10)

    bench.hub.request_cancel("asked")
    bench.hub.apply([{"task_id": "asked", "current": 3}, {"task_id": "over", "current": 3}])
    bench.hub.sweep()
    bench.end("over", Status.FAILED)
    for task_id in ("lost", "asked", "over"):
        assert times(bench, task_id) == NOTHING

    # What is heard of again has lost no time of its own.
    bench.clock.advance(30)
    bench.hub.heard("lost")
    assert times(bench, "lost") == (90, 90, 100, 100)


def test_past_runs_are_known_after_a_restart(bench: Bench) -> None:
    past(bench, 100, 100, 100, source="report")
    bench.start("runs", source="report", lease_s=60.0)
    for number in range(3):
        bench.hub.create("copy", title="Copy runs", task_id=f"same-{number}", source="report")
        bench.hub.begin(f"same-{number}")
        bench.clock.advance(20)
        bench.end(f"same-{number}")
    assert bench.hub.get("runs").usual_s is None

    bench.hub = bench.open("e2")
    bench.hub.restore()
    bench.hub.apply([{"task_id": "runs", "current": 1}])

    assert bench.hub.get("runs").usual_s == 20

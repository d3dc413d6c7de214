"""Weighted steps: what they may be made of, how they follow one another, what percent they make."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from socketprogress.core import steps as steps_of
from socketprogress.core.errors import ConfigurationError
from socketprogress.core.status import Status
from socketprogress.core.steps import Step

weights = st.lists(st.floats(1e-6, 1e9), min_size=1, max_size=6)
percents = st.floats(0, 100).map(lambda share: math.floor(share * 100) / 100)


def named(values: list[float]) -> dict[str, float]:
    return {f"s{i}": value for i, value in enumerate(values)}


def test_a_list_of_names_makes_queued_steps_of_equal_weight() -> None:
    steps = steps_of.make(["Scan", "Pack"])

    assert steps == (Step("Scan"), Step("Pack"))
    assert {step.status for step in steps} == {Status.QUEUED}
    assert [step.weight for step in steps] == [1.0, 1.0]


def test_a_mapping_gives_the_weights() -> None:
    assert [step.weight for step in steps_of.make({"Scan": 1, "Pack": 3})] == [1.0, 3.0]


def test_no_names_make_no_steps() -> None:
    assert steps_of.make([]) == ()


@pytest.mark.parametrize("names", [["a", "b", "a"], ("x", "x")])
def test_a_name_may_not_stand_twice(names: list[str]) -> None:
    with pytest.raises(ConfigurationError, match="must differ"):
        steps_of.make(names)


@pytest.mark.parametrize("weight", [0, -1, math.nan, math.inf, 1e300])
def test_a_weight_must_be_a_number_above_zero_that_can_be_added_up(weight: float) -> None:
    with pytest.raises(ConfigurationError, match="weights"):
        steps_of.make({"a": 1, "b": weight})


def test_a_text_is_no_list_of_names() -> None:
    with pytest.raises(ConfigurationError, match="not the text 'Scan'"):
        steps_of.make("Scan")


def test_entering_a_step_completes_those_before_and_queues_those_behind() -> None:
    steps = steps_of.enter(steps_of.make(["a", "b", "c"]), 1)

    assert [step.status for step in steps] == [Status.COMPLETED, Status.IN_PROGRESS, Status.QUEUED]
    assert [step.progress for step in steps] == [100.0, 0.0, None]


def test_entering_the_running_step_again_keeps_its_percent() -> None:
    steps = steps_of.enter(steps_of.make(["a", "b"]), 0)
    steps = steps_of.count(steps, current=1, total=4, reset=False)

    assert steps_of.enter(steps, 0)[0].progress == 25.0


def test_going_back_to_a_completed_step_starts_it_again() -> None:
    steps = steps_of.enter(steps_of.make(["a", "b"]), 1)

    again = steps_of.enter(steps, 0)

    assert [step.status for step in again] == [Status.IN_PROGRESS, Status.QUEUED]
    assert again[0].progress == 0.0


def test_counts_move_the_running_step_alone() -> None:
    steps = steps_of.enter(steps_of.make(["a", "b", "c"]), 1)

    counted = steps_of.count(steps, current=1, total=2, reset=False)

    assert [step.progress for step in counted] == [100.0, 50.0, None]


def test_counts_before_the_first_step_change_none() -> None:
    steps = steps_of.make(["a", "b"])

    assert steps_of.count(steps, current=1, total=2, reset=False) == steps


def test_a_step_goes_back_only_on_a_reset() -> None:
    steps = steps_of.enter(steps_of.make(["a"]), 0)
    steps = steps_of.count(steps, current=3, total=4, reset=False)

    assert steps_of.count(steps, current=1, total=4, reset=False)[0].progress == 75.0
    assert steps_of.count(steps, current=1, total=None, reset=False)[0].progress == 75.0
    assert steps_of.count(steps, current=1, total=4, reset=True)[0].progress == 25.0


@pytest.mark.parametrize("status", [Status.FAILED, Status.CANCELLED])
def test_the_step_that_ran_shares_the_end_of_its_task(status: Status) -> None:
    steps = steps_of.enter(steps_of.make(["a", "b", "c"]), 1)

    closed = steps_of.close(steps, status)

    assert [step.status for step in closed] == [Status.COMPLETED, status, Status.QUEUED]


def test_a_completed_task_has_completed_every_step() -> None:
    closed = steps_of.close(steps_of.enter(steps_of.make(["a", "b", "c"]), 0), Status.COMPLETED)

    assert {(step.status, step.progress) for step in closed} == {(Status.COMPLETED, 100.0)}


@given(weights, st.data())
def test_the_percent_is_the_weighted_mean_rounded_down(
    values: list[float], data: st.DataObject
) -> None:
    steps = steps_of.make(named(values))
    own = [data.draw(percents) for _ in steps]
    steps = tuple(Step(s.name, s.weight, Status.QUEUED, p) for s, p in zip(steps, own, strict=True))

    mean = sum(w * p for w, p in zip(values, own, strict=True)) / sum(values)
    percent = steps_of.overall(steps, 7, 9)

    assert percent is not None
    assert percent == pytest.approx(min(mean, 99.99), abs=0.0101)
    assert 0.0 <= percent <= 99.99
    assert percent <= mean + 1e-6


@given(weights)
def test_entering_the_steps_in_order_never_brings_the_percent_back(values: list[float]) -> None:
    steps = steps_of.make(named(values))
    percents = []
    for i in range(len(steps)):
        steps = steps_of.enter(steps, i)
        percents.append(steps_of.overall(steps, 0, None))
        steps = steps_of.count(steps, current=2, total=2, reset=False)
        percents.append(steps_of.overall(steps, 2, 2))

    assert percents == sorted(percents, key=lambda percent: percent or 0.0)
    assert percents[-1] is not None
    assert percents[-1] < 100.0


def test_without_steps_the_percent_is_that_of_the_counts() -> None:
    assert steps_of.overall((), 1, 4) == 25.0
    assert steps_of.overall((), 1, None) is None


def test_the_words_of_the_wire() -> None:
    assert [status.value for status in Status] == [
        "queued",
        "in_progress",
        "completed",
        "failed",
        "cancelled",
        "lost",
    ]

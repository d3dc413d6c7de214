"""Percent, rate and time left."""

from __future__ import annotations

import json
import math
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from socketprogress.core.progress import UNKNOWN, Left, Pace, finite, forward, percent

counts = st.integers() | st.floats(allow_nan=True, allow_infinity=True)
amounts = st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False)


# -- percent -------------------------------------------------------------------------------------


@given(amounts, st.none() | amounts)
def test_a_percent_is_at_least_0_and_below_100_with_two_decimals(
    current: float, total: float | None
) -> None:
    share = percent(current, total)

    if total is None or total <= 0:
        assert share is None
    else:
        assert share is not None
        assert 0.0 <= share <= 99.99
        assert round(share, 2) == share


@given(st.integers(1, 10**9), st.data())
def test_a_percent_is_rounded_down(total: int, data: st.DataObject) -> None:
    current = data.draw(st.integers(0, total))

    exact = Fraction(10_000 * current, total)

    assert percent(current, total) == min(math.floor(exact), 9999) / 100


@given(st.integers(1, 2**62), st.data())
def test_more_done_is_never_a_smaller_percent(total: int, data: st.DataObject) -> None:
    less, more = sorted(data.draw(st.tuples(st.integers(0, total), st.integers(0, total))))

    assert (percent(less, total) or 0.0) <= (percent(more, total) or 0.0)


@pytest.mark.parametrize(
    ("current", "total"), [(5, 5), (6, 5), (1e308, 5e-324), (10**9, 1), (math.inf, 3)]
)
def test_all_of_it_done_is_not_yet_100(current: float, total: float) -> None:
    assert percent(current, total) == 99.99


@pytest.mark.parametrize("current", [0, -1, -1e308, math.nan])
def test_nothing_done_is_0(current: float) -> None:
    assert percent(current, 10) == 0.0


@pytest.mark.parametrize("total", [None, 0, -3, math.nan])
def test_without_a_total_there_is_no_percent(total: float | None) -> None:
    assert percent(3, total) is None


def test_a_percent_that_is_exact_is_not_rounded_below_itself() -> None:
    assert [percent(n, 100) for n in range(100)] == [float(n) for n in range(100)]


@pytest.mark.parametrize(
    ("before", "now", "newer"),
    [(None, 3.0, 3.0), (3.0, None, 3.0), (None, None, None), (4.0, 3.0, 4.0), (3.0, 4.0, 4.0)],
)
def test_the_newer_percent_is_never_less(
    before: float | None, now: float | None, newer: float | None
) -> None:
    assert forward(before, now) == newer


# -- numbers of any type -------------------------------------------------------------------------


@given(counts)
def test_a_count_becomes_a_number_that_json_carries_or_none(value: float) -> None:
    plain = finite(value)

    assert json.loads(json.dumps(plain, allow_nan=False)) == plain
    if plain is not None:
        assert type(plain) in {int, float}
        assert plain == pytest.approx(value)


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        (7, 7),
        (True, 1.0),
        (Decimal("1.5"), 1.5),
        (Fraction(1, 4), 0.25),
        (2**70, 2.0**70),
        (10**400, None),
        (math.nan, None),
        (math.inf, None),
        (None, None),
    ],
)
def test_what_becomes_of_a_number(value: object, plain: float | None) -> None:
    assert finite(value) == plain


# -- rate and time left --------------------------------------------------------------------------


def counted(pace: Pace, *, at: float, per_s: float, seconds: int) -> float:
    """Count evenly, once a second, and return the time afterwards."""
    count = pace._count
    for _ in range(seconds):
        at, count = at + 1.0, count + per_s
        pace.add(at, count)
    return at


def test_there_is_no_rate_before_the_first_rise() -> None:
    pace = Pace(10.0)
    pace.add(11.0, 0)

    assert pace.rate is None
    assert pace.eta_s(11.0, 100) is None


def test_an_even_pace_is_the_rate_from_the_first_sample_on() -> None:
    pace = Pace(0.0)

    for seconds in range(1, 30):
        pace.add(float(seconds), 20 * seconds)

        assert pace.rate == 20.0


def test_the_time_left_is_hidden_until_three_seconds_have_passed() -> None:
    pace = Pace(0.0)
    for sample in range(1, 30):
        pace.add(sample / 10, sample)

    assert pace.eta_s(2.9, 100) is None
    pace.add(3.0, 30)
    assert pace.eta_s(3.0, 100) == 7.0


def test_the_time_left_is_hidden_until_five_samples_rose() -> None:
    pace = Pace(0.0)
    at = counted(pace, at=0.0, per_s=5, seconds=4)
    for _ in range(10):
        at += 1.0
        pace.add(at, 20)
    assert pace.eta_s(at, 100) is None

    pace.add(at + 1.0, 25)

    assert pace.eta_s(at + 1.0, 100) is not None


def test_without_a_total_there_is_no_time_left() -> None:
    pace = Pace(0.0)
    at = counted(pace, at=0.0, per_s=5, seconds=10)

    assert pace.rate == 5.0
    assert pace.eta_s(at, None) is None


def test_beyond_the_total_no_time_is_left() -> None:
    pace = Pace(0.0)
    at = counted(pace, at=0.0, per_s=5, seconds=10)

    assert pace.eta_s(at, 20) == 0.0


def test_the_rate_follows_a_change_of_pace_within_a_few_windows() -> None:
    pace = Pace(0.0)
    at = counted(pace, at=0.0, per_s=100, seconds=60)

    counted(pace, at=at, per_s=10, seconds=25)

    assert pace.rate == pytest.approx(10, rel=0.1)


def test_how_often_reports_come_does_not_change_the_rate() -> None:
    often, seldom = Pace(0.0), Pace(0.0)
    for sample in range(1, 401):
        often.add(sample / 20, sample / 2)
    for sample in range(1, 21):
        seldom.add(float(sample), 10 * sample)

    assert often.rate == seldom.rate == 10.0


def test_a_burst_in_the_first_moment_does_not_spoil_the_rate() -> None:
    # Given: 100 units counted 30 ms after the start, then an even pace of 20 a second.
    pace = Pace(0.0)
    pace.add(0.03, 100)

    # When: that goes on for ten seconds.
    for sample in range(1, 201):
        pace.add(0.03 + sample / 20, 100 + sample)

    # Then: the burst, which stands for 30 ms, has hardly a say any more.
    assert pace.rate == pytest.approx(20, rel=0.2)


def test_what_is_counted_at_the_very_start_was_there_before() -> None:
    pace = Pace(0.0)
    pace.add(0.0, 5_000)

    at = counted(pace, at=0.0, per_s=100, seconds=5)

    assert pace.rate == 100.0
    assert pace.eta_s(at, 6_000) == 5.0


def test_reports_of_one_moment_count_with_the_next_one() -> None:
    pace = Pace(0.0)
    pace.add(1.0, 10)
    pace.add(1.001, 14)
    pace.add(2.0, 20)

    assert pace.rate == 10.0


def test_counts_that_go_back_start_the_rate_again() -> None:
    pace = Pace(0.0)
    at = counted(pace, at=0.0, per_s=1000, seconds=10)

    pace.add(at, 0)
    assert pace.rate is None
    at = counted(pace, at=at, per_s=10, seconds=4)

    assert pace.rate == 10.0
    assert pace.eta_s(at, 100) is None


def test_after_a_restart_the_time_left_is_hidden_anew() -> None:
    pace = Pace(0.0)
    at = counted(pace, at=0.0, per_s=10, seconds=10)
    assert pace.eta_s(at, 1000) is not None

    pace.restart(at)

    assert pace.eta_s(at, 1000) is None
    assert pace.eta_s(counted(pace, at=at, per_s=10, seconds=5), 100) == 5.0


def test_a_restart_does_not_touch_the_elapsed_time() -> None:
    pace = Pace(100.0)

    pace.restart(107.0)

    assert pace.elapsed_s(110.0) == 10.0


def test_a_pause_counts_neither_as_elapsed_nor_as_slow() -> None:
    pace = Pace(0.0)
    at = counted(pace, at=0.0, per_s=10, seconds=10)

    pace.pause(600.0)
    at = counted(pace, at=at + 600.0, per_s=10, seconds=5)

    assert pace.rate == 10.0
    assert pace.elapsed_s(at) == 15.0


def test_a_pause_makes_no_time_left_credible() -> None:
    pace = Pace(0.0)
    for sample in range(1, 11):
        pace.add(sample / 10, sample)

    pace.pause(600.0)

    assert pace.eta_s(601.1, 100) is None
    assert pace.eta_s(603.0, 100) == 9.0


def test_an_even_pace_needs_no_range() -> None:
    pace = Pace(0.0)
    at = counted(pace, at=0.0, per_s=10, seconds=30)

    assert pace.left(at, 400) == Left(10.0)


def test_after_another_pace_within_the_last_minute_the_time_left_is_a_range() -> None:
    pace = Pace(0.0)
    at = counted(pace, at=0.0, per_s=100, seconds=60)

    at = counted(pace, at=at, per_s=10, seconds=20)

    left = pace.left(at, 7_200)
    assert left.eta_s == left.eta_high_s == pytest.approx(84, abs=2)
    assert left.eta_low_s == pytest.approx(17, abs=2)


def test_the_range_of_what_cannot_be_known_is_unknown() -> None:
    pace = Pace(0.0)

    assert pace.left(0.0, 10) == pace.left(9.0, None) == UNKNOWN


@given(st.lists(st.tuples(st.floats(0, 1e6), amounts), max_size=30), st.none() | amounts)
def test_no_counts_at_all_make_a_rate_or_a_time_that_is_no_number(
    samples: list[tuple[float, float]], total: float | None
) -> None:
    pace, now = Pace(0.0), 0.0
    for span, count in samples:
        now += span
        pace.add(now, count)

        left = pace.left(now, total)
        assert left.eta_s == pace.eta_s(now, total)
        times = (left.eta_low_s, left.eta_s, left.eta_high_s)
        assert None in times or sorted(times) == list(times)
        for value in (pace.rate, pace.elapsed_s(now), *times):
            assert value is None or (math.isfinite(value) and value >= 0)

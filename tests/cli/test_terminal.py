"""A task in a terminal."""

from __future__ import annotations

import io
from typing import Any

import pytest

from socketprogress.cli.follow import Bar, Milestones
from socketprogress.cli.terminal import bar, duration, fit, headline, percent, plain, width

STATE: dict[str, Any] = {
    "task_id": "t",
    "name": "copy",
    "title": "Copy",
    "status": "in_progress",
    "progress": 42.0,
    "current": 42,
    "total": 100,
    "unit": "it",
    "rate": 7.0,
    "eta_s": 8.0,
    "message": "f42",
}


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[31mred\x1b[0m", "red"),
        ("\x1b]0;title\x07after", "after"),
        ("\x1b]8;;http://x\x1b\\link", "link"),
        ("two\r\nlines", "two lines"),
        ("bell\x07", "bell"),
        ("\x9b31mC1", "31mC1"),
        ("abc\u202etxt", "abc txt"),
        ("half \ud800 pair", "half   pair"),
        ("日本 ünï", "日本 ünï"),
    ],
)
def test_a_text_can_never_command_the_terminal(text: str, shown: str) -> None:
    assert plain(text) == shown


def test_wide_characters_count_as_two_cells() -> None:
    assert width("日本") == 4
    assert width(fit("日本語日本語", 7)) <= 7
    assert fit("short", 10) == "short"


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(None, ""), (0, "0:00"), (42.4, "0:42"), (3600, "1:00:00"), (59.6, "1:00")],
)
def test_a_duration_is_minutes_and_seconds(seconds: float | None, shown: str) -> None:
    assert duration(seconds) == shown


def test_a_headline_has_percent_counts_rate_time_left_and_message() -> None:
    assert headline(STATE) == "42.0 %  42/100 it  7 it/s  0:08 left  f42"


@pytest.mark.parametrize(
    ("progress", "shown"),
    [(None, ""), (0, "0.0 %"), (64.1, "64.1 %"), (99.99, "99.9 %"), (100, "100 %")],
)
def test_100_percent_is_shown_only_of_what_is_completed(progress: float | None, shown: str) -> None:
    assert percent(progress) == shown


def test_bytes_are_shown_in_binary_units() -> None:
    state = {**STATE, "unit": "B", "current": 1536, "total": 3 << 20, "rate": 2048.0, "eta_s": None}

    assert headline(state) == "42.0 %  1.5 KiB / 3.0 MiB  2.0 KiB/s  f42"


def test_what_is_unknown_is_left_out() -> None:
    state = {**STATE, "progress": None, "current": 5, "total": None, "rate": None, "eta_s": None}

    assert headline(state) == "5 it  f42"


def test_an_uncertain_time_left_is_a_range() -> None:
    ends = {"eta_low_s": 130.0, "eta_high_s": 185.4, "usual_s": 170.0}

    assert "  2:10-3:05 left  " in headline({**STATE, **ends})
    few = {"eta_s": 2, "eta_low_s": 1, "eta_high_s": 3}
    assert "  0:02 left  " in headline({**STATE, **few})
    assert "left" not in headline({**STATE, **ends, "elapsed_s": 0.0})
    assert "left" not in headline({**STATE, **ends, "cancel_requested": True})


def test_what_takes_longer_than_such_tasks_did_says_so() -> None:
    state = {**STATE, "eta_s": None, "usual_s": 170.0, "elapsed_s": 171.0}

    assert "  longer than usual  " in headline(state)
    assert "usual" not in headline({**state, "elapsed_s": 169.0})
    assert "usual" not in headline({**state, "status": "lost"})


@pytest.mark.parametrize("columns", [20, 40, 79, 200])
def test_a_bar_never_takes_more_than_its_columns(columns: int) -> None:
    state = {**STATE, "title": "日本" * 100, "message": "m" * 300}

    assert width(bar(state, columns)) <= columns


def test_a_bar_without_unicode_is_ascii() -> None:
    assert bar(STATE, 79, unicode=False).isascii()


def test_the_bar_is_drawn_at_most_ten_times_a_second() -> None:
    now = [0.0]
    stream = io.StringIO()
    drawn = Bar(stream, clock=lambda: now[0])

    for tick in range(1000):
        now[0] = tick / 1000
        drawn.show(STATE)

    assert stream.getvalue().count("\r") == 10


def test_a_log_gets_a_few_lines_instead_of_a_bar() -> None:
    stream = io.StringIO()
    milestones = Milestones(stream)

    for done in range(1, 100):
        milestones.show({**STATE, "progress": float(done), "current": done})

    lines = stream.getvalue().splitlines()
    assert [line.split("  ")[1] for line in lines] == ["1.0 %", "25.0 %", "50.0 %", "75.0 %"]
    assert "\r" not in stream.getvalue()
    assert "\x1b" not in stream.getvalue()

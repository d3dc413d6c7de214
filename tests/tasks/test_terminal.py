"""A command's output as lines, and the percent in it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from socketprogress.tasks.percent import count_in
from socketprogress.tasks.terminal import TerminalText


@pytest.mark.parametrize(
    ("written", "lines"),
    [
        (b"one\ntwo\r\nthree\r\r\n", ["one", "two", "three"]),
        (b"10%\r20%\r30%\nnext\n", ["30%", "next"]),
        (b"bar\r\n", ["bar"]),
        (b"\x1b[1;31mred\x1b[0m \x1b]0;title\x07text\x1b(B\n", ["red text"]),
        (b"\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\\n", ["link"]),
        (b"first\x1b[2K\x1b[1Gsecond\n", ["second"]),
        (b"Progress: 37%\b\b\b38%\n", ["Progress: 38%"]),
        (b"bad \xff\xfe bytes\x00\x07\n", ["bad \ufffd\ufffd bytes"]),
        (b"caf\xc3\xa9\ttab\n", ["café\ttab"]),
        (b"\n\n", ["", ""]),
        (b"no end", ["no end"]),
        (b"cut\x1b[3", ["cut[3"]),
    ],
)
def test_output_becomes_lines(written: bytes, lines: list[str]) -> None:
    text = TerminalText()

    assert text.feed(written) + text.feed(b"", final=True) == lines


@given(
    st.lists(
        st.sampled_from([b"a", b"9%", b"\r", b"\n", b"\x1b[31m", b"\xc3\xa9", b"\b", b"\x1b[K"])
    )
)
def test_lines_do_not_depend_on_how_the_output_is_cut(parts: list[bytes]) -> None:
    written = b"".join(parts)
    whole, piecewise = TerminalText(), TerminalText()

    expected = whole.feed(written) + whole.feed(b"", final=True)
    lines = [line for byte in written for line in piecewise.feed(bytes([byte]))]

    assert lines + piecewise.feed(b"", final=True) == expected


def test_an_endless_line_takes_bounded_room() -> None:
    text = TerminalText(line_chars=100)

    for _ in range(1_000):
        assert text.feed(b"x" * 1_000) == []

    assert text.feed(b"\n") == ["x" * 100]


def test_an_escape_sequence_that_never_ends_takes_bounded_room() -> None:
    text = TerminalText()

    text.feed(b"\x1b]" + b"x" * 10_000)

    assert text.line


def test_a_line_without_an_end_is_told_once_when_the_command_pauses() -> None:
    text = TerminalText()

    text.feed(b"Continue? ")
    assert text.idle() == ["Continue? "]
    assert text.idle() == []
    assert text.feed(b"yes\n") == ["yes"]


def test_a_bar_is_not_told_while_it_is_redrawn() -> None:
    text = TerminalText()

    text.feed(b"10%\r20%")

    assert (text.idle(), text.line) == ([], "20%")


@pytest.mark.parametrize(
    ("line", "count"),
    [
        ("37%", (37, 100)),
        ("  37.5 % done", (37.5, 100)),
        ("37,5 %", (37.5, 100)),
        ("[12/80] Compiling", (12, 80)),
        ("Step 3 / 4: build", (3, 4)),
        ("12/80 15%", (15, 100)),
        ("50%|█████     | 5/10 [00:01<00:01]", (5, 10)),
        ("0/5", (0, 5)),
        ("100%", (100, 100)),
    ],
)
def test_a_plain_count_is_found(line: str, count: tuple[float, float]) -> None:
    assert count_in(line) == count


@pytest.mark.parametrize(
    "line",
    [
        "",
        "140%",
        "9/3",
        "1/0",
        "2024/05/06",
        "/usr/12/80",
        "v1.2/3",
        "100%%",
        "x37%",
        "10%abc",
        "-5%",
    ],
)
def test_what_is_no_count_is_none(line: str) -> None:
    assert count_in(line) is None

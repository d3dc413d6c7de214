"""The progress in a command's output: single lines, and captured output of real programs."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from socketprogress.tasks.meter import Meter, Move
from socketprogress.tasks.percent import Count, count_in, read
from socketprogress.tasks.terminal import TerminalText

CAPTURED = Path(__file__).with_name("captured")


# -- single lines -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "count"),
    [
        ("37%", (37, 100)),
        ("  37.5 % done", (37.5, 100)),
        ("Progress: 37%", (37, 100)),
        ("Progress: [ 37%]", (37, 100)),
        ("Reading package lists... 93%", (93, 100)),
        ("37% [Working]", (37, 100)),
        ("37% [2 libfoo 1,234 kB/5,678 kB 22%]", (37, 100)),
        ("[ 37%] Building C object 3/4.c.o", (37, 100)),
        ("tests/test_a.py ..........F...  [ 37%]", (37, 100)),
        ("  1,238,099  37%  113.44MB/s    0:00:10", (37, 100)),
        ("  1.24M  37%  113.44MB/s    0:00:10 (xfr#3, to-chk=5/9)", (37, 100)),
        (
            " 37 28.6M   37 10.6M    0     0  14.9M      0  0:00:01  0:00:01 --:--:-- 14.9M",
            (37, 100),
        ),
        ("######################                            37.5%", (37.5, 100)),
        ("file.iso            37%[======>            ]   3.70M  1.2MB/s    eta 5s", (37, 100)),
        (" 50K .......... .......... ..........  37% 12.3M 0s", (37, 100)),
        ("    |████████████            | 37%", (37, 100)),
        ("Working |#####     | 37 % done", (37, 100)),
        (" 37%|███▋      | 37/100 [00:03<00:06, 10.1it/s]", (37, 100)),
        ("train:  37%|███▋      | 1.50/4.00 [00:03<00:06]", (1.5, 4)),
        ("epoch: 37%|###7      | 3.7k/10.0k [00:03<00:06, 1.2kB/s]", (37, 100)),
        ("Receiving objects:  37% (370/1000), 1.2 MiB | 1.2 MiB/s", (370, 1000)),
        ("   ━━━━━━━━━╸━━━━━━━ 3.7/10.0 MB 12.3 MB/s eta 0:00:01", (3.7, 10)),
        ("[12/80] Compiling a.c", (12, 80)),
        ("[012/080] zero padded", (12, 80)),
        ("#12 [builder 3/10] RUN make", (3, 10)),
        ("(3/10): kernel.rpm", (3, 10)),
        ("12/80", (12, 80)),
        ("Step 3/4 : RUN make", (3, 4)),
        ("Epoch 3 of 10", (3, 10)),
        ("Processing file 3/10: a.png", (3, 10)),
    ],
)
def test_shapes_that_only_progress_has_are_believed_at_once(
    line: str, count: tuple[float, float]
) -> None:
    reading = read(line)

    assert reading is not None
    assert (reading.count, reading.strong) == (count, True)


@pytest.mark.parametrize(
    ("line", "count"),
    [
        ("coverage is 87% of all lines", (87, 100)),
        ("saved 12 MB (45%) of space", (45, 100)),
        ("CPU usage 37% user", (37, 100)),
        ("about 3/4 of the people", (3, 4)),
        ("3 of 10 doctors agree", (3, 10)),
        ("handled 12/80 so far", (12, 80)),
        ("in the end 24/25 were fine", (24, 25)),
    ],
)
def test_what_may_be_a_ratio_in_prose_is_weak(line: str, count: tuple[float, float]) -> None:
    reading = read(line)

    assert reading is not None
    assert (reading.count, reading.strong) == (count, False)


@pytest.mark.parametrize(
    "line",
    [
        "",
        "140%",
        "9/3",
        "1/0",
        "on 08/12 at noon",
        "12/08",
        "2024/05/06",
        "06/05/2024",
        "/usr/12/80",
        "http://host/3/4",
        "version 1.2/3",
        "python 3.11 of conda",
        "100%%",
        "%d/%d",
        "x37%",
        "10%abc",
        "-5%",
        "12:30/45",
        "eta 0:00:01",
        "size 3.7/10",
        "a" * 5_000 + " 37%",
    ],
)
def test_dates_versions_and_paths_are_no_counts(line: str) -> None:
    assert count_in(line) is None


def test_a_hostile_line_is_read_all_the_same() -> None:
    for line in ("#" * 100_000 + "%", "1" * 100_000, "[" * 50_000 + "5%" * 50_000, "0/ " * 50_000):
        count_in(line)


# -- whole outputs ------------------------------------------------------------------------------------


def moves_of(data: bytes) -> list[Move]:
    """Return how the progress moves if every piece that is drawn is looked at."""
    text, meter = TerminalText(), Meter()
    found = []
    for piece in [*re.findall(rb"[^\r\n]*(?:[\r\n]+|$)", data), None]:
        lines = text.feed(piece or b"", final=piece is None)
        move = meter.see(lines, text.rows, pinned=text.pinned)
        if move is not None:
            found.append(move)
    return found


def shown(moves: list[Move]) -> str:
    """Return the percents, whole, each once, an R where they start again."""
    words: list[str] = []
    for move in moves:
        word = f"{100 * move.count.share:.0f}"
        if move.reset or not words or words[-1].lstrip("R") != word:
            words.append(f"R{word}" if move.reset else word)
    return " ".join(words)


@pytest.mark.parametrize(
    ("name", "percents"),
    [
        ("rsync_progress2", "0 16 33 44 50 66 83 89 100"),
        ("rsync_progress", "1 100 R1 100 R1 90 100 R1 100 R1 100 R1 100"),
        ("curl_meter", "0 22 78 100"),
        ("curl_bar", "13 28 42 56 70 84 98 100"),
        ("wget_bar", "0 10 21 34 45 57 68 79 89 100"),
        ("wget_dots", "10 20 31 41 52 62 73 83 94 100"),
        ("pip_download", "0 71 100"),
        ("make", "25 50 75 100"),
        ("ninja", "0 25 50 75 100"),
        ("pytest", "26 50 76 100"),
        ("apt_update", "0 100 R0 56 78 93 95 98"),
        ("tqdm_nested", "0 33 67 100"),
        ("tqdm_parallel", "0 12 25 31 38 50 56 62 75 81 88 100"),
        ("tqdm_sequence", "0 10 20 30 40 50 60 R20 40 60 80 100 R0 33 67 100"),
    ],
)
def test_the_output_of_real_programs_is_followed(name: str, percents: str) -> None:
    assert shown(moves_of((CAPTURED / f"{name}.txt").read_bytes())) == percents


def test_each_phase_of_a_clone_starts_again() -> None:
    moves = moves_of((CAPTURED / "git_clone.txt").read_bytes())

    assert [move.count.total for move in moves if move.reset] == [15, 24, 6]
    assert moves[-1].count == Count(6, 6)


def test_a_bar_that_is_redrawn_is_one_line_of_the_log() -> None:
    text = TerminalText()

    lines = text.feed((CAPTURED / "tqdm_nested.txt").read_bytes(), final=True)

    assert [line.partition("|")[0] for line in lines] == ["epoch:   0%", "epoch: 100%"]


FFMPEG = b"""ffmpeg version 5.1.4 Copyright (c) 2000-2023 the FFmpeg developers
Input #0, mov,mp4,m4a,3gp,3g2,mj2, from 'in.mp4':
  Duration: 00:01:40.00, start: 0.000000, bitrate: 1205 kb/s
  Stream #0:0(und): Video: h264 (High), yuv420p, 1280x720, 25 fps, 25 tbr
frame=  123 fps= 61 q=28.0 size=     256kB time=00:00:25.00 bitrate= 416.1kbits/s speed=2.51x    \r\
frame=  250 fps= 60 q=28.0 size=     512KiB time=00:00:50.50 bitrate= 416.1kbits/s speed=2.5x    \r\
frame= 2500 fps= 60 q=-1.0 Lsize=    5120kB time=00:01:40.04 bitrate= 419.4kbits/s speed=2.5x
"""


def test_ffmpeg_is_as_far_as_the_time_it_has_encoded() -> None:
    moves = moves_of(FFMPEG)

    assert [(move.count.current, move.unit) for move in moves] == [
        (25, "s"),
        (50.5, "s"),
        (100, "s"),
    ]
    assert moves[0].count.total == 100


class DockerPull:
    """What `docker pull` draws: a row for each layer, moved to and back."""

    def __init__(self) -> None:
        self.output = b"latest: Pulling from library/redis\r\n"
        self._rows: list[str] = []

    def say(self, layer: str, words: str) -> None:
        if layer not in self._rows:
            self._rows.append(layer)
            self.output += b"\r\n"
        up = len(self._rows) - self._rows.index(layer)
        text = f"\x1b[{up}A\x1b[2K\r{layer}: {words} \r\x1b[{up}B"
        self.output += text.encode()


def test_a_docker_pull_is_the_mean_of_its_layers() -> None:
    # Given a pull of two layers, one of which is there
    pull = DockerPull()
    pull.say("a2abf6c4d29d", "Already exists")
    pull.say("c7a4e4382001", "Pulling fs layer")
    assert shown(moves_of(pull.output)) == "50"

    # When the other one is downloaded and unpacked
    pull.say("c7a4e4382001", "Downloading [=====>      ]   5MB/10MB")
    assert shown(moves_of(pull.output)).endswith(" 62")
    pull.say("c7a4e4382001", "Download complete")
    assert shown(moves_of(pull.output)).endswith(" 75")
    pull.say("c7a4e4382001", "Extracting [=====>      ]   512kB/1MB")
    assert shown(moves_of(pull.output)).endswith(" 88")
    pull.say("c7a4e4382001", "Pull complete")

    # Then it is done
    assert shown(moves_of(pull.output)).endswith(" 100")


def test_a_pinned_bar_goes_over_what_scrolls_by() -> None:
    bar = "\x1b7\x1b[40;0f\x1b[42m\x1b[30mProgress: [ {:2}%]\x1b[49m\x1b[39m [####....] \x1b8"
    output = "Unpacking a (1/2) ...\r\n" + bar.format(20) + "Setting up b 3/3\r\n" + bar.format(60)

    text = TerminalText()
    assert text.feed(output.encode()) == ["Unpacking a (1/2) ...", "Setting up b 3/3"]
    assert text.pinned == "Progress: [ 60%] [####....]"
    assert shown(moves_of(output.encode())) == "20 60"


# -- what is followed ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("lines", "percents"),
    [
        (["10%", "20%", "100%"], "10 20 100"),
        (["50%", "40%", "60%"], "50 60"),
        (["100%", "0%", "50%"], "100 R0 50"),
        (["96%", "5%"], "96 R5"),
        (["coverage is 87% now"], ""),
        (["about 3/4 of it", "about 3/4 of it"], ""),
        (["handled 1/8 so far", "handled 2/8 so far", "handled 4/8 so far"], "25 50"),
        (["copied 10% of x", "copied 20% of x", "copied 30% of x"], "20 30"),
        (["[1/4] a", "saved 90% space", "saved 95% space", "[2/4] b"], "25 50"),
        (["[ 50%] a.c", "12 of 15 files are new", "[ 75%] b.c"], "50 75"),
        (["a: 60%", "b: 10%", "a: 70%", "b: 20%", "a: 80%"], "70 80"),
        (["Step 3/3 : last", "[1/10] first", "[2/10] second"], "100 R10 20"),
        (["[6/10] left early", "[1/10] again", "[2/10] again", "[9/10] again"], "60 R20 90"),
    ],
)
def test_of_all_counts_the_progress_is_followed(lines: list[str], percents: str) -> None:
    meter = Meter()

    moves = [move for line in lines if (move := meter.see([line]))]

    assert shown(moves) == percents


def test_bars_of_a_block_are_read_at_any_moment() -> None:
    meter = Meter()

    meter.see([], ["a: 10%|# | 1/10 [0]", "b: 50%|# | 5/10 [0]"])
    move = meter.see([], ["a: 30%|# | 3/10 [0]", "b: 70%|# | 7/10 [0]"])

    assert move == Move(Count(50, 100), "%", reset=False)


@given(st.lists(st.sampled_from(
    ["10%", "60%", "100%", "[1/4] x", "[4/4] x", "so 3/4 of", "so 1/4 of", "a 20% b", "Step 2/9"]
)))  # fmt: skip
def test_without_a_reset_it_never_goes_back(lines: list[str]) -> None:
    meter = Meter()
    share = 0.0

    for line in lines:
        move = meter.see([line])
        if move is not None:
            assert move.reset or move.count.share >= share
            share = move.count.share


# -- the rows behind it -------------------------------------------------------------------------------


def test_rows_that_are_drawn_again_are_told_once_the_output_goes_on() -> None:
    text = TerminalText()

    first = text.feed(b"one 10%\ntwo 10%\n\x1b[2Aone 90%\n\x1b[1Btwo")
    assert first == ["one 10%", "two 10%"]
    assert text.rows == ["one 90%", "two 10%", "two"]

    assert text.feed(b" more\n") == ["one 90%", "two more"]


def test_what_a_full_screen_program_draws_is_no_line() -> None:
    text = TerminalText()

    lines = text.feed(b"before\n\x1b[?1049h\x1b[Hscreen\nfull\n\x1b[?104")
    lines += text.feed(b"9lafter\n")

    assert lines == ["before", "after"]


@given(st.lists(st.sampled_from(
    [b"a", b"\r", b"\n", b"\x1b[A", b"\x1b[2B", b"\x1b[2K", b"\b", b"\n\n\nx\n"]
)))  # fmt: skip
def test_rows_do_not_depend_on_how_the_output_is_cut(parts: list[bytes]) -> None:
    written = b"".join(parts)
    whole, piecewise = TerminalText(), TerminalText()

    expected = whole.feed(written)
    lines = [line for byte in written for line in piecewise.feed(bytes([byte]))]

    assert (lines, piecewise.rows, piecewise.line) == (expected, whole.rows, whole.line)

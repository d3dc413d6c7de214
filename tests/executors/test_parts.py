"""The parts that executors are made of: agenda, printed lines, results."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import pytest

from socketprogress.executors.agenda import Agenda
from socketprogress.executors.modules import Modules
from socketprogress.executors.output import Lines
from socketprogress.executors.results import NotJSON, condense, describe, dumps, plain

PATIENCE_S = 30.0


def test_an_agenda_keeps_the_order_and_goes_on_after_an_error(
    caplog: pytest.LogCaptureFixture,
) -> None:
    # Given
    agenda, done, order = Agenda("test"), threading.Event(), list[int]()

    # When
    agenda.call(lambda: order.append(1))
    agenda.call(lambda: order.append(1 // 0))
    agenda.call_after(0.02, lambda: order.append(3))
    agenda.call_after(0.01, lambda: order.append(4)).cancel()
    agenda.call(lambda: order.append(2))
    agenda.call_after(0.03, done.set)

    # Then
    assert done.wait(PATIENCE_S)
    assert order == [1, 2, 3]
    assert "ZeroDivisionError" in caplog.text
    agenda.close()


def test_a_closed_agenda_takes_calls_again() -> None:
    agenda, done = Agenda("test"), threading.Event()
    for _ in range(100):
        done.clear()
        agenda.call(lambda: None)
        agenda.close()
        agenda.call(done.set)
        assert done.wait(PATIENCE_S)
    agenda.close()


def test_lines_are_cut_wherever_the_pieces_end() -> None:
    lines = Lines()
    pieces = [b"on", b"e\ntw", b"o\n\nthr\xc3", b"\xa4\n rest"]
    assert [lines.feed(piece) for piece in pieces] == [[], ["one"], ["two", ""], ["thrä"]]
    assert lines.end() == [" rest"]
    assert lines.end() == []


def test_of_a_redrawn_line_the_last_drawing_is_kept() -> None:
    lines = Lines()
    assert lines.feed(b"\r 1 %\r 2 %") == []
    assert lines.feed(b"\r 3 %\r\nnext\r") == [" 3 %"]
    assert lines.end() == ["next"]


def test_too_many_lines_keep_their_first_and_last() -> None:
    lines = Lines(most=4)
    cut = lines.feed(b"".join(b"%d\n" % number for number in range(10)) + b"x")
    assert cut == ["0", "1", "… 6 lines left out: more than a log takes at once", "8", "9"]
    assert lines.end() == ["x"]


def test_a_line_without_an_end_costs_bounded_memory() -> None:
    lines = Lines()
    for _ in range(100):
        assert lines.feed(b"x" * 100_000) == []
    assert lines.end() == ["x" * 2_000]


class Rude:
    def __str__(self) -> str:
        raise RuntimeError

    def __fspath__(self) -> str:
        raise OSError("no")


def circle() -> list[Any]:
    it: list[Any] = []
    it.append(it)
    return it


@pytest.mark.parametrize(
    "value", [b"x", {1, 2}, object(), 1j, {(1,): 2}, [float("inf")], Rude(), circle(), len]
)
def test_what_is_not_json_is_told_apart(value: Any) -> None:
    with pytest.raises(NotJSON):
        plain(value)


def test_a_scalar_with_an_item_is_a_number() -> None:
    class Scalar:
        shape = ()

        def item(self) -> float:
            return 1.5

    assert plain({"mean": Scalar()}) == {"mean": 1.5}


def test_messages_are_always_strict_json_on_one_line() -> None:
    data = dumps({"total": float("nan"), "name": "a\nb\udcff", "path": Path("/x"), "odd": {1}})
    assert json.loads(data) == {"total": None, "name": "a\nb?", "path": "/x", "odd": "{1}"}
    assert b"\n" not in data


def test_condensed_reports_say_what_all_of_them_said() -> None:
    reports: list[Any] = [{"task_id": "t", "current": n, "log": [str(n)]} for n in range(10)]
    short = condense(reports, most=3)
    assert [report["current"] for report in short] == [7, 8, 9]
    assert short[0]["log"] == [str(n) for n in range(8)]


def test_an_exception_without_a_readable_text_is_described_all_the_same() -> None:
    class Broken(Exception):
        def __str__(self) -> str:
            raise RuntimeError

    assert describe(Broken()).endswith("Broken: (its text cannot be had)")


def test_two_files_of_one_name_and_one_like_a_known_module_do_not_mix(tmp_path: Path) -> None:
    # Given
    modules = Modules()
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "json.py").write_text(f"def f(): return {folder!r}\n")

    # Then
    found = [modules.function(f"{tmp_path}/{folder}/json.py:f") for folder in ("a", "b")]
    assert [function() for function in found] == ["a", "b"]
    assert json.loads("1") == 1

"""Loops and files: what the reporter counts by itself, and what it offers for download."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from socketprogress.core.errors import Cancelled, ConfigurationError
from socketprogress.core.hub import Hub
from socketprogress.core.reporter import Reporter
from socketprogress.core.state import TaskFile
from socketprogress.stores.memory import MemoryStore
from tests.core.clock import MockClock

STEPS = ["Scan", "Pack", "Check"]


# -- track ---------------------------------------------------------------------------------------


def test_a_loop_counts_what_is_done_and_knows_its_length() -> None:
    reporter = Reporter()

    seen = [(n, reporter.current, reporter.total) for n in reporter.track([1, 2, 3])]

    assert seen == [(1, 0, 3), (2, 1, 3), (3, 2, 3)]
    assert reporter.current == 3


def test_a_second_loop_counts_on() -> None:
    reporter = Reporter()
    list(reporter.track("ab"))
    list(reporter.track("cde"))

    assert (reporter.current, reporter.total) == (5, 5)


class Endless:
    """Has no length that anybody could tell."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    def __len__(self) -> int:
        raise self._error

    def __iter__(self) -> Iterator[int]:
        return iter([1, 2])


@pytest.mark.parametrize(
    "items",
    [
        Endless(TypeError()),
        Endless(NotImplementedError()),
        Endless(AttributeError()),
        Endless(OverflowError()),
        iter([1, 2]),
    ],
)
def test_a_loop_over_what_has_no_length_has_no_total(items: Iterator[int]) -> None:
    reporter = Reporter()

    assert list(reporter.track(items)) == [1, 2]
    assert (reporter.current, reporter.total) == (2, None)


def test_a_loop_over_a_length_beyond_all_integers_runs() -> None:
    reporter = Reporter()

    assert next(reporter.track(range(10**30))) == 0
    assert reporter.total is None


def test_a_total_may_be_given() -> None:
    reporter = Reporter()
    assert list(reporter.track(iter("ab"), total=7)) == ["a", "b"]
    assert reporter.total == 7


def test_a_loop_over_nothing_ends_at_once() -> None:
    reporter = Reporter()

    assert list(reporter.track([])) == []
    assert (reporter.current, reporter.total) == (0, 0)


def test_an_exception_in_the_loop_passes_and_leaves_the_counts() -> None:
    reporter = Reporter()

    def work() -> float:
        return sum(1 / item for item in reporter.track([1, 2, 0, 4]))

    with pytest.raises(ZeroDivisionError):
        work()
    assert (reporter.current, reporter.total) == (2, 4)


def test_a_cancelled_loop_ends_behind_the_item_that_was_being_done() -> None:
    reporter, seen = Reporter(), []

    def work() -> None:
        for item in reporter.track("abcd"):
            seen.append(item)
            reporter.cancel_requested = item == "b"

    with pytest.raises(Cancelled):
        work()
    assert seen == ["a", "b"]
    assert reporter.current == 2


# -- files ---------------------------------------------------------------------------------------


def offered(reporter: Reporter) -> list[dict[str, object]]:
    return [report for report in reporter.collect() if "files" in report][-1]["files"]


def test_a_file_in_the_output_folder_is_offered_where_it_is(tmp_path: Path) -> None:
    reporter = Reporter(output_dir=tmp_path / "out")
    path = reporter.output_dir / "sums.txt"
    path.write_text("12345")

    reporter.add_file(path)

    assert offered(reporter) == [{"name": "sums.txt", "size_bytes": 5}]


@pytest.mark.parametrize("folder", ["elsewhere", "out/below"])
def test_a_file_from_outside_is_copied_into_the_output_folder(tmp_path: Path, folder: str) -> None:
    (tmp_path / folder).mkdir(parents=True)
    source = tmp_path / folder / "a b.txt"
    source.write_text("123")
    reporter = Reporter(output_dir=tmp_path / "out")

    reporter.add_file(str(source))

    assert (tmp_path / "out" / "a b.txt").read_text() == "123"
    assert source.read_text() == "123"
    assert offered(reporter) == [{"name": "a b.txt", "size_bytes": 3}]


def test_a_file_is_offered_once_with_its_newest_size(tmp_path: Path) -> None:
    reporter = Reporter(output_dir=tmp_path)
    for text in ("1", "12", "123"):
        (tmp_path / "a").write_text(text)
        reporter.add_file(tmp_path / "a")
    (tmp_path / "b").write_text("1")
    reporter.add_file(tmp_path / "b")

    assert offered(reporter) == [{"name": "a", "size_bytes": 3}, {"name": "b", "size_bytes": 1}]


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("a\nb\x1b.txt", "a_b_.txt"),
        ("no utf-8 \udcff", "no utf-8 _"),
        ("größe <b>%2e.txt", "größe <b>%2e.txt"),
        ("-rf", "-rf"),
    ],
)
def test_an_odd_name_is_offered_as_one_that_can_be_shown(
    tmp_path: Path, name: str, shown: str
) -> None:
    reporter = Reporter(output_dir=tmp_path)
    (tmp_path / name).write_text("1")

    reporter.add_file(tmp_path / name)

    assert offered(reporter) == [{"name": shown, "size_bytes": 1}]
    assert (tmp_path / shown).read_text() == "1"
    json.dumps(shown, ensure_ascii=False).encode("utf-8")


@pytest.mark.parametrize("name", ["", ".", "..", "folder"])
def test_a_folder_is_no_file(tmp_path: Path, name: str) -> None:
    (tmp_path / "folder").mkdir()
    reporter = Reporter(output_dir=tmp_path / "out")

    with pytest.raises(OSError, match="is no file"):
        reporter.add_file(tmp_path / name)
    assert reporter.collect() == []


def test_a_file_that_is_not_there_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        Reporter(output_dir=tmp_path).add_file(tmp_path / "nothing")


def test_the_output_folder_is_made_when_it_is_asked_for(tmp_path: Path) -> None:
    reporter = Reporter(output_dir=tmp_path / "a" / "b")
    assert not (tmp_path / "a").exists()

    assert reporter.output_dir.is_dir()
    with pytest.raises(ConfigurationError, match="no directory"):
        _ = Reporter().output_dir


def test_files_reach_the_hub(tmp_path: Path) -> None:
    store = MemoryStore()
    hub = Hub(store=store, clock=MockClock(), epoch="e")
    hub.create("copy", title="t", task_id="t")
    reporter = Reporter(task_id="t", output_dir=tmp_path)
    (tmp_path / "a").write_text("1")
    reporter.add_file(tmp_path / "a")

    hub.apply(reporter.collect())

    assert hub.get("t").files == (TaskFile("a", 1),)
    store.close()

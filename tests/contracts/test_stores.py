"""What every store promises; a new store joins by a line in `HOMES`."""

from __future__ import annotations

import logging
import secrets
import string
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import fields, replace

from socketprogress.core.errors import StoreError
from socketprogress.core.ports import Store
from socketprogress.core.state import Status, Step, TaskError, TaskFile, TaskState
from socketprogress.stores import open_store

HANG = 30.0

numbers = st.floats(allow_nan=False, allow_infinity=False)
maybe = st.none() | numbers
texts = st.text(st.characters(exclude_categories=()), max_size=30)
ids = st.text(string.ascii_letters + string.digits + "_-", min_size=1, max_size=64)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | numbers | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=12,
)
steps = st.builds(
    Step, texts, weight=numbers, status=st.sampled_from(Status), progress=maybe, elapsed_s=maybe
)

FIELDS = {
    "task_id": ids,
    "name": texts,
    "title": texts,
    "epoch": texts,
    "created_at": numbers,
    "seq": st.integers(0, 2**53),
    "status": st.sampled_from(Status),
    "progress": maybe,
    "current": numbers,
    "total": maybe,
    "unit": texts,
    "message": texts,
    "steps": st.lists(steps, max_size=3).map(tuple),
    "rate": maybe,
    "eta_s": maybe,
    "eta_low_s": maybe,
    "eta_high_s": maybe,
    "usual_s": maybe,
    "elapsed_s": maybe,
    "started_at": maybe,
    "updated_at": maybe,
    "finished_at": maybe,
    "cancellable": st.booleans(),
    "cancel_requested": st.booleans(),
    "result": json_values,
    "files": st.lists(st.builds(TaskFile, texts, st.integers(0, 2**60)), max_size=3).map(tuple),
    "error": st.none() | st.builds(TaskError, texts, texts),
    "source": texts,
    "host": st.none() | texts,
    "parent_id": st.none() | ids,
    "tags": st.lists(texts, max_size=3).map(tuple),
    "args": st.dictionaries(texts, json_values, max_size=3),
    "pid": st.none() | st.integers(0, 2**22),
    "lease_s": st.none() | st.floats(0.1, 1e5),
    "abandon_s": st.none() | st.floats(0.1, 1e5),
    "reporter_seq": st.integers(0, 2**53),
    "leave": st.booleans(),
    "gathers": st.booleans(),
    "dispatched": st.booleans(),
    "uploaded": st.booleans(),
    "term": st.integers(0, 2**53),
}

states = st.builds(TaskState, **FIELDS)


class Home:
    """Where stores of one kind live; each is closed in the end."""

    def __init__(self, url: str, data: Path, *, survives: bool) -> None:
        self.survives = survives
        self._url = url
        self._data = data
        self._opened: list[Store] = []

    def open(self) -> Store:
        """Open the store, as a server that starts."""
        store = open_store(self._url, data=self._data)
        self._opened.append(store)
        return store

    def reopen(self, store: Store) -> Store:
        """Close and open the store, as far as its kind survives that."""
        if not self.survives:
            return store
        store.close()
        return self.open()

    def as_it_is_and_reopened(self, store: Store) -> Iterator[Store]:
        """Yield the store before and after it is opened again."""
        yield store
        yield self.reopen(store)

    def close(self) -> None:
        """Close all that was opened."""
        for store in self._opened:
            store.close()


HOMES = {"memory": "memory:", "sqlite": "sqlite:", "redis": "redis:"}
SURVIVING = ["sqlite", "redis"]


@pytest.fixture(params=HOMES)
def home(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Home]:
    url = HOMES[request.param]
    if url == "redis:":
        url = f"{request.getfixturevalue('lasting_redis').url}?prefix={secrets.token_hex(8)}"
    home = Home(url, tmp_path, survives=request.param in SURVIVING)
    yield home
    home.close()


@pytest.fixture
def store(home: Home) -> Store:
    return home.open()


def task(task_id: str = "a", **changes: object) -> TaskState:
    state = TaskState(task_id, "work", "Work", "epoch", created_at=1.0)
    return replace(state, **changes)  # type: ignore[arg-type]  # any field


def written(store: Store) -> None:
    """Return once everything so far is written."""
    done = threading.Event()
    store.save(task("marker", status=Status.COMPLETED), on_saved=done.set)
    assert done.wait(HANG)
    store.delete(["marker"])


# -- tasks ---------------------------------------------------------------------------------------


def test_the_strategy_knows_every_field_of_a_state() -> None:
    assert {field.name for field in fields(TaskState)} == set(FIELDS)


@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=50
)
@given(drawn=st.lists(states, max_size=4, unique_by=lambda state: state.task_id))
def test_every_field_of_a_state_comes_back_as_it_was(home: Home, drawn: list[TaskState]) -> None:
    store = home.open()
    for state in drawn:
        store.save(state)

    reopened = home.reopen(store)

    expected = {state.task_id: state for state in drawn}
    assert {state.task_id: state for state in reopened.load()} == expected
    reopened.delete(list(expected))
    reopened.close()


def test_an_empty_store_has_nothing(store: Store) -> None:
    assert store.load() == []
    assert store.log_sizes() == {}
    assert store.get_meta("secret") is None
    assert store.problem() is None
    page = store.read_log("unknown", 5, 10)
    assert (page.offset, page.lines, page.next_offset) == (0, (), 0)


def test_the_newest_state_wins_before_and_after_it_is_written(home: Home, store: Store) -> None:
    store.save(task(seq=1))
    written(store)
    for seq in range(2, 100):
        store.save(task(seq=seq))

    assert [state.seq for state in store.load()] == [99]
    assert [state.seq for state in home.reopen(store).load()] == [99]


@pytest.mark.parametrize("wait", [written, lambda _store: None], ids=["written", "waiting"])
def test_the_end_of_a_task_is_final(
    home: Home, store: Store, wait: Callable[[Store], None]
) -> None:
    store.save(task(status=Status.COMPLETED, seq=2))
    wait(store)

    store.save(task(status=Status.LOST, seq=3))

    assert [state.status for state in store.load()] == [Status.COMPLETED]
    assert [state.status for state in home.reopen(store).load()] == [Status.COMPLETED]


def test_tasks_come_back_oldest_first(home: Home, store: Store) -> None:
    for number in (3, 1, 2, 5, 4):
        store.save(task(f"t{number}", created_at=float(number)))
        if number == 2:
            written(store)
    for number in (6, 7):
        store.save(task(f"t{number}", created_at=5.0))

    order = ["t1", "t2", "t3", "t4", "t5", "t6", "t7"]
    assert [state.task_id for state in store.load()] == order
    assert [state.task_id for state in home.reopen(store).load()] == order


@pytest.mark.parametrize("wait", [written, lambda _store: None], ids=["written", "waiting"])
def test_a_deleted_task_is_gone_with_its_log(
    home: Home, store: Store, wait: Callable[[Store], None]
) -> None:
    for task_id in ("a", "b"):
        store.save(task(task_id))
        store.append_log(task_id, 0, ["line"])
    wait(store)

    store.delete(["a", "unknown"])

    for opened in home.as_it_is_and_reopened(store):
        assert [state.task_id for state in opened.load()] == ["b"]
        assert opened.log_sizes() == {"b": 1}
        assert opened.read_log("a", 0, 10).lines == ()


def test_a_task_saved_after_its_deletion_is_there_with_a_new_log(home: Home, store: Store) -> None:
    store.save(task(status=Status.COMPLETED))
    store.append_log("a", 0, ["old", "old"])
    written(store)

    store.delete(["a"])
    store.save(task(message="new"))
    store.append_log("a", 0, ["new"])

    for opened in home.as_it_is_and_reopened(store):
        assert [state.message for state in opened.load()] == ["new"]
        assert opened.read_log("a", 0, 10).lines == ("new",)


# -- callbacks -----------------------------------------------------------------------------------


def test_callbacks_come_once_in_order_and_from_another_thread(store: Store) -> None:
    called: list[tuple[int, bool]] = []
    done = threading.Event()
    here = threading.get_ident()

    def on_saved(number: int) -> Callable[[], None]:
        return lambda: called.append((number, threading.get_ident() == here))

    for number in range(50):
        store.save(task(f"t{number % 7}", seq=number + 1), on_saved=on_saved(number))
    store.save(task("last"), on_saved=done.set)

    assert done.wait(HANG)
    assert called == [(number, False) for number in range(50)]


def test_a_callback_finds_its_state_stored(store: Store) -> None:
    found: list[TaskState] = []
    done = threading.Event()

    def look() -> None:
        found.extend(store.load())
        done.set()

    store.save(task(status=Status.COMPLETED), on_saved=look)

    assert done.wait(HANG)
    assert found == [task(status=Status.COMPLETED)]


def test_a_callback_may_save_again(store: Store) -> None:
    done = threading.Event()

    store.save(task("a"), on_saved=lambda: store.save(task("b"), on_saved=done.set))

    assert done.wait(HANG)
    assert {state.task_id for state in store.load()} == {"a", "b"}


def test_a_failing_callback_is_logged_and_stops_nothing(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    done = threading.Event()

    def fail() -> None:
        raise RuntimeError("somebody else's mistake")

    with caplog.at_level(logging.ERROR):
        store.save(task("a"), on_saved=fail)
        store.save(task("b"), on_saved=done.set)
        assert done.wait(HANG)

    assert "somebody else's mistake" in caplog.text


def test_the_callback_of_a_task_that_is_deleted_meanwhile_still_comes(store: Store) -> None:
    done = threading.Event()

    store.save(task(), on_saved=done.set)
    store.delete(["a"])

    assert done.wait(HANG)


def test_closing_owes_nobody_a_callback(store: Store) -> None:
    called = []
    for number in range(10):
        store.save(task(f"t{number}"), on_saved=lambda: called.append(1))

    store.close(HANG)

    assert len(called) == 10


# -- logs ----------------------------------------------------------------------------------------


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    batches=st.lists(st.lists(texts, max_size=5), max_size=5),
    offset=st.integers(-30, 30),
    limit=st.integers(0, 30),
)
def test_a_log_reads_as_a_list_does(
    home: Home, batches: list[list[str]], offset: int, limit: int
) -> None:
    store = home.open()
    lines: list[str] = []
    for batch in batches:
        store.append_log("a", len(lines), batch)
        lines += batch
    start = max(len(lines) + offset, 0) if offset < 0 else min(offset, len(lines))
    expected = tuple(lines[start : start + limit])

    page = store.read_log("a", offset, limit)

    assert page.lines == expected
    assert (page.offset, page.next_offset) == (start, start + len(expected))
    store.delete(["a"])
    store.close()


def test_a_log_is_read_on_at_its_next_offset_across_what_is_written_and_what_waits(
    home: Home, store: Store
) -> None:
    store.save(task())
    store.append_log("a", 0, [f"line {n}" for n in range(700)])
    written(store)
    store.append_log("a", 700, [f"line {n}" for n in range(700, 1400)])

    for opened in home.as_it_is_and_reopened(store):
        lines: list[str] = []
        while (page := opened.read_log("a", len(lines), 333)).lines:
            assert page.offset == len(lines)
            lines += page.lines
        assert lines == [f"line {n}" for n in range(1400)]
        assert opened.log_sizes() == {"a": 1400}


def test_of_a_long_log_the_newest_lines_stay_under_their_numbers(home: Home, store: Store) -> None:
    store.save(task())
    for first in range(0, 25_000, 1000):
        store.append_log("a", first, [f"line {n}" for n in range(first, first + 1000)])
        if first == 12_000:
            written(store)

    for opened in home.as_it_is_and_reopened(store):
        page = opened.read_log("a", 0, 100_000)
        assert page.offset >= 15_000
        assert 9_000 <= len(page.lines) <= 10_000
        assert page.next_offset == 25_000 == opened.log_sizes()["a"]
        assert page.lines == tuple(f"line {n}" for n in range(page.offset, 25_000))
        assert opened.read_log("a", -1, 5).lines == ("line 24999",)
        assert opened.read_log("a", 24_998, 1).lines == ("line 24998",)


def test_of_a_large_log_a_mebibyte_stays(home: Home, store: Store) -> None:
    store.save(task())
    for number in range(3000):
        store.append_log("a", number, ["ü" * 512])
        if number == 1500:
            written(store)

    page = home.reopen(store).read_log("a", 0, 100_000)

    assert 900 <= len(page.lines) <= 1024
    assert page.next_offset == 3000


def test_an_endless_line_is_cut(store: Store) -> None:
    store.append_log("a", 0, ["x" * 3_000_000, "next"])

    page = store.read_log("a", 0, 10)

    assert page.lines[0].startswith("x" * 65_536)
    assert page.lines[0].endswith("(cut)")
    assert len(page.lines[0]) < 66_000
    assert page.lines[1] == "next"


def test_lines_that_are_sent_again_are_kept_once(home: Home, store: Store) -> None:
    store.save(task())
    store.append_log("a", 0, ["0", "1", "2"])
    written(store)

    store.append_log("a", 1, ["1", "2", "3"])
    store.append_log("a", 2, ["2", "3", "4"])

    for opened in home.as_it_is_and_reopened(store):
        assert opened.read_log("a", 0, 10).lines == ("0", "1", "2", "3", "4")
        assert opened.log_sizes() == {"a": 5}


def test_a_page_never_spans_a_gap(home: Home, store: Store) -> None:
    store.save(task())
    store.append_log("a", 0, ["0", "1"])
    written(store)
    store.append_log("a", 10, ["10", "11"])

    for opened in home.as_it_is_and_reopened(store):
        before = opened.read_log("a", 1, 10)
        after = opened.read_log("a", before.next_offset, 10)
        assert (before.offset, before.lines, before.next_offset) == (1, ("1",), 2)
        assert (after.offset, after.lines, after.next_offset) == (10, ("10", "11"), 12)


def test_no_lines_make_no_log(store: Store) -> None:
    store.append_log("a", 0, [])

    assert store.log_sizes() == {}


# -- the rest ------------------------------------------------------------------------------------


@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=20
)
@given(value=st.text(max_size=100))
def test_a_value_is_kept_and_replaced(home: Home, value: str) -> None:
    store = home.open()
    store.set_meta("secret", "old")
    store.set_meta("secret", value)
    store.set_meta("other", "x")

    assert store.get_meta("secret") == value
    assert home.reopen(store).get_meta("secret") == value


@pytest.mark.parametrize("home", SURVIVING, indirect=True)
def test_closing_writes_all_that_waits(home: Home) -> None:
    store = home.open()
    for number in range(1000):
        store.save(task(f"t{number}"))
        store.append_log(f"t{number}", 0, ["line"])

    store.close(HANG)

    reopened = home.open()
    assert len(reopened.load()) == 1000
    assert len(reopened.log_sizes()) == 1000


def test_a_closed_store_takes_nothing_and_closes_again(store: Store) -> None:
    store.close()

    store.save(task())
    store.append_log("a", 0, ["line"])
    store.delete(["a"])
    store.close()

    with pytest.raises(StoreError, match="closed"):
        store.set_meta("secret", "x")


def test_threads_may_save_all_at_once(home: Home, store: Store) -> None:
    def work(name: str) -> None:
        for number in range(200):
            store.save(task(f"{name}{number % 10}", seq=number))
            store.append_log(name, number, [str(number)])

    threads = [threading.Thread(target=work, args=(name,)) for name in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(HANG)
    for name in "abcd":
        store.save(task(name))

    reopened = home.reopen(store)
    newest = {state.task_id: state.seq for state in reopened.load() if len(state.task_id) > 1}
    assert newest == {f"{name}{digit}": 190 + digit for name in "abcd" for digit in range(10)}
    assert all(reopened.log_sizes()[name] == 200 for name in "abcd")

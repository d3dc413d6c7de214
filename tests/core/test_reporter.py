"""The reporter: what the work calls, and what of it reaches the hub."""

from __future__ import annotations

import math
import threading
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from socketprogress.core.errors import Cancelled, ConfigurationError
from socketprogress.core.hub import Hub
from socketprogress.core.reporter import LINES_A_SAMPLE, Reporter
from socketprogress.core.steps import make
from socketprogress.stores.memory import MemoryStore
from tests.core.clock import MockClock

STEPS = ["Scan", "Pack", "Check"]


class Odd:
    """A value of the user's own that cannot be read."""

    def __str__(self) -> str:
        raise RuntimeError("no text")

    __float__ = __str__  # type: ignore[assignment]


class Named(str):
    """A text of the user's own type."""

    __slots__ = ()


# -- counting ------------------------------------------------------------------------------------


def test_a_new_reporter_has_only_its_total_to_tell() -> None:
    assert Reporter("copy", title="Copy", unit="B").collect() == []
    assert Reporter("copy", total=10, task_id="t").collect() == [{"task_id": "t", "total": 10}]


def test_many_advances_are_one_report_of_where_it_stands() -> None:
    reporter = Reporter(task_id="t")
    for _ in range(1_000):
        reporter.advance()
    reporter.advance(3)
    reporter.advance(0.5)

    assert reporter.collect() == [{"task_id": "t", "current": 1_003.5}]
    assert reporter.collect() == []


def test_attributes_are_told_when_they_change() -> None:
    reporter = Reporter("copy", total=10, unit="it", task_id="t")
    reporter.collect()

    reporter.current, reporter.total, reporter.unit = 7, 20, "B"
    reporter.message, reporter.title = "now", "Copy all"

    assert reporter.collect() == [
        {"task_id": "t", "current": 7, "total": 20, "message": "now", "unit": "B"}
        | {"title": "Copy all"}
    ]


def test_the_title_is_the_name_where_none_is_given() -> None:
    assert Reporter("copy").title == "copy"
    assert Reporter("copy", title="Copy all").title == "Copy all"


def test_threads_that_hold_one_lock_count_right() -> None:
    reporter, lock = Reporter(), threading.Lock()

    def work() -> None:
        for _ in range(2_000):
            with lock:
                reporter.advance()

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert reporter.current == 12_000
    assert "lock" in (Reporter.advance.__doc__ or "")


@pytest.mark.parametrize(
    ("value", "told"),
    [(Decimal("2.5"), 2.5), (True, 1.0), (2**80, 2.0**80), (math.nan, 0), (math.inf, 0)],
)
def test_counts_of_any_numeric_type_are_told_as_plain_numbers(value: float, told: float) -> None:
    reporter = Reporter()
    reporter.current = 5
    reporter.collect()
    reporter.current = value

    report = reporter.collect()[0]

    assert report["current"] == told
    assert type(report["current"]) in {int, float}


@pytest.mark.parametrize("total", [math.nan, math.inf, -math.inf, 10**400])
def test_a_total_that_is_no_number_is_unknown(total: float) -> None:
    reporter = Reporter(total=10, steps=STEPS)
    reporter.collect()

    reporter.total = total
    assert reporter.collect()[0]["total"] is None
    reporter.step("Pack", total=total)
    assert reporter.collect()[0]["total"] is None
    reporter.reset(total)
    assert all(report.get("total") is None for report in reporter.collect())


@pytest.mark.parametrize(
    ("message", "told"),
    [(7, "7"), (Path("/srv"), "/srv"), (Named("x"), "x"), (["a"], "['a']"), (b"x", "b'x'")],
)
def test_a_message_of_any_type_is_told_as_text(message: object, told: str) -> None:
    reporter = Reporter()
    reporter.message = message  # type: ignore[assignment]

    report = reporter.collect()[0]

    assert report["message"] == told
    assert type(report["message"]) is str


def test_texts_of_other_types_are_looked_at_again() -> None:
    shown = ["one"]
    reporter = Reporter(title=shown, unit=shown)  # type: ignore[arg-type]
    assert reporter.collect()[0] == {"title": "['one']", "unit": "['one']", "task_id": ""}

    shown.append("two")

    both = "['one', 'two']"
    assert reporter.collect()[0] == {"title": both, "unit": both, "task_id": ""}


def test_no_message_is_an_empty_one() -> None:
    reporter = Reporter()
    reporter.message = "x"
    reporter.collect()
    reporter.message = None  # type: ignore[assignment]

    assert reporter.collect()[0]["message"] == ""


def test_an_attribute_that_cannot_be_read_is_left_out_and_said_once() -> None:
    reporter = Reporter(steps=STEPS)
    reporter.current = Odd()  # type: ignore[assignment]
    reporter.message = Odd()  # type: ignore[assignment]
    reporter.total = 8
    reporter.log("a line")

    first = reporter.collect()
    reporter.total = 9
    second = reporter.collect()
    reporter.step("Pack")

    assert first[0] == {"task_id": "", "total": 8}
    assert first[1]["log"] == [
        "a line",
        "The current is left out: reading it raised RuntimeError",
        "The message is left out: reading it raised RuntimeError",
    ]
    assert second == [{"task_id": "", "total": 9}]
    assert reporter.collect()[0]["step"] == "Pack"


def test_a_value_may_log_while_it_is_read() -> None:
    reporter = Reporter()

    class Talking:
        def __str__(self) -> str:
            reporter.log("read")
            return "text"

    reporter.message = Talking()  # type: ignore[assignment]
    collected: list[object] = []
    thread = threading.Thread(target=lambda: collected.extend(reporter.collect()), daemon=True)
    thread.start()
    thread.join(30)

    assert collected == [{"task_id": "", "message": "text"}, {"task_id": "", "log": ["read"]}]


# -- steps and resets ----------------------------------------------------------------------------


def test_a_step_is_told_after_what_was_before_it() -> None:
    reporter = Reporter(steps=STEPS, task_id="t")
    reporter.advance(5)
    reporter.message = "scanning"

    reporter.step("Pack", total=4, message="packing")
    reporter.advance()

    assert reporter.collect() == [
        {"task_id": "t", "current": 5, "message": "scanning"},
        {"task_id": "t", "step": "Pack", "current": 0, "total": 4, "message": "packing"},
        {"task_id": "t", "current": 1},
    ]


def test_a_step_that_the_task_has_not_is_named_with_those_it_has() -> None:
    with pytest.raises(ConfigurationError, match=r"'Oops'.*Scan"):
        Reporter(steps=STEPS).step("Oops")
    with pytest.raises(ConfigurationError, match=r"'Scan'"):
        Reporter().step("Scan")


def test_steps_may_have_weights() -> None:
    reporter = Reporter(steps={"Scan": 1, "Pack": 9})

    reporter.step("Pack")

    assert reporter.collect()[0]["step"] == "Pack"


def test_a_reset_starts_again_with_the_old_total_or_a_new_one() -> None:
    reporter = Reporter(total=10, task_id="t")
    reporter.advance(4)
    reporter.collect()

    reporter.reset()
    assert reporter.collect() == [{"task_id": "t", "reset": True, "current": 0}]
    assert (reporter.current, reporter.total) == (0, 10)
    reporter.reset(20)
    assert reporter.collect() == [{"task_id": "t", "reset": True, "current": 0, "total": 20}]


calls = st.lists(
    st.one_of(
        st.tuples(st.just("advance"), st.integers(-5, 50) | st.floats(-10, 10)),
        st.tuples(st.just("current"), st.integers(-5, 50) | st.just(math.nan)),
        st.tuples(st.just("total"), st.none() | st.integers(-1, 100) | st.just(math.inf)),
        st.tuples(st.just("message"), st.sampled_from(["a", "b", ""])),
        st.tuples(st.just("unit"), st.sampled_from(["B", "files"])),
        st.tuples(st.just("step"), st.sampled_from(STEPS)),
        st.tuples(st.just("reset"), st.none() | st.integers(0, 100)),
        st.tuples(st.just("log"), st.sampled_from(["line", "two\nlines"])),
        st.tuples(st.just("collect"), st.none()),
    ),
    max_size=40,
)


@given(calls)
def test_whatever_is_called_and_whenever_it_is_collected_the_hub_ends_at_the_same_counts(
    called: list[tuple[str, object]],
) -> None:
    # Given: a hub, and a reporter of a task with steps.
    store = MemoryStore()
    hub = Hub(store=store, clock=MockClock(), epoch="e")
    hub.create("copy", title="copy", task_id="t", steps=make(STEPS))
    hub.begin("t")
    reporter, lines = Reporter("copy", task_id="t", steps=STEPS), 0
    entered = None

    # When: the work calls, and somebody collects now and then.
    for name, value in called:
        if name == "collect":
            hub.apply(reporter.collect())
        elif name in {"current", "total", "message", "unit"}:
            setattr(reporter, name, value)
        else:
            getattr(reporter, name)(value)
        lines += {"line": 1, "two\nlines": 2}.get(str(value), 0) if name == "log" else 0
        entered = value if name == "step" else entered
    hub.apply(reporter.collect())

    # Then: the hub has what the reporter has.
    state = hub.get("t")
    finite_total = reporter.total is not None and math.isfinite(reporter.total)
    assert state.current == pytest.approx(0 if math.isnan(reporter.current) else reporter.current)
    assert state.total == (reporter.total if finite_total else None)
    assert (state.message, state.unit) == (reporter.message, reporter.unit)
    assert hub.log_next("t") == lines
    running = [step.name for step in state.steps if step.status.value == "in_progress"]
    assert running == [entered or "Scan"]
    store.close()


# -- the log -------------------------------------------------------------------------------------


def test_lines_are_told_in_order_and_one_by_one() -> None:
    reporter = Reporter(task_id="t")
    reporter.log("one")
    reporter.log("two\nthree\r\nfour")
    reporter.log("")
    reporter.log(5)  # type: ignore[arg-type]

    assert reporter.collect() == [{"task_id": "t", "log": ["one", "two", "three", "four", "", "5"]}]


def test_a_flood_of_lines_is_bounded_and_says_how_many_are_missing() -> None:
    reporter = Reporter()
    for number in range(2_000):
        reporter.log(f"line {number}")

    note, *lines = reporter.collect()[0]["log"]

    assert lines == [f"line {n}" for n in range(2_000 - LINES_A_SAMPLE, 2_000)]
    assert note == "… 1,500 lines left out: more than a sample holds"
    reporter.log("after")
    assert reporter.collect() == [{"task_id": "", "log": ["after"]}]


def test_one_text_of_very_many_lines_is_bounded_too() -> None:
    reporter = Reporter()
    reporter.log("x\n" * 10_000)

    lines = reporter.collect()[0]["log"]

    assert len(lines) == LINES_A_SAMPLE + 1
    assert "9,500" in lines[0]


def test_a_very_long_line_is_cut() -> None:
    reporter = Reporter()
    reporter.log("x" * 100_000)

    assert reporter.collect()[0]["log"] == ["x" * 2_000]


def test_lines_of_several_threads_that_are_collected_meanwhile_are_all_there() -> None:
    reporter, over = Reporter(), threading.Event()
    lines: list[str] = []

    def collect() -> None:
        while not over.is_set():
            lines.extend(line for report in reporter.collect() for line in report["log"])

    def work(name: str) -> None:
        for number in range(100):
            reporter.log(f"{name} {number}")

    collector = threading.Thread(target=collect)
    workers = [threading.Thread(target=work, args=(name,)) for name in "abcd"]
    collector.start()
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    over.set()
    collector.join()
    lines.extend(line for report in reporter.collect() for line in report["log"])

    assert sorted(lines) == sorted(f"{name} {number}" for name in "abcd" for number in range(100))
    for name in "abcd":
        own = [line for line in lines if line.startswith(name)]
        assert own == [f"{name} {number}" for number in range(100)]


# -- cancelling ----------------------------------------------------------------------------------


@pytest.mark.parametrize("call", ["advance", "check", "step", "reset", "log", "add_file"])
def test_every_call_raises_once_a_cancellation_was_asked_for(call: str, tmp_path: Path) -> None:
    reporter = Reporter(steps=STEPS, output_dir=tmp_path, task_id="t1")
    (tmp_path / "a").touch()
    values = {"step": ["Pack"], "log": ["line"], "add_file": [tmp_path / "a"]}.get(call, [])
    getattr(reporter, call)(*values)

    reporter.cancel_requested = True

    with pytest.raises(Cancelled, match="t1"):
        getattr(reporter, call)(*values)


def test_what_was_done_before_the_cancellation_counts() -> None:
    reporter = Reporter()
    reporter.cancel_requested = True
    with pytest.raises(Cancelled):
        reporter.advance(3)
    with pytest.raises(Cancelled):
        reporter.log("kept")

    assert reporter.collect() == [{"task_id": "", "current": 3}, {"task_id": "", "log": ["kept"]}]


def test_what_may_not_be_cancelled_never_raises(tmp_path: Path) -> None:
    reporter = Reporter(steps=STEPS, cancellable=False, output_dir=tmp_path)
    reporter.cancel_requested = True
    (tmp_path / "a").touch()

    reporter.advance()
    reporter.check()
    reporter.step("Pack")
    reporter.log("line")
    reporter.reset()
    reporter.add_file(tmp_path / "a")

    assert list(reporter.track("abc")) == list("abc")


def test_a_reporter_shows_where_it_stands() -> None:
    assert repr(Reporter("copy", total=10)) == "<Reporter copy 0/10>"
    assert repr(Reporter("copy", task_id="t1")) == "<Reporter t1 0/None>"

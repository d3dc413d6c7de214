"""The sampler: it looks at the reporters of a process and hands on what changed."""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Sequence
from itertools import pairwise

import pytest

from socketprogress.core.ports import Report
from socketprogress.core.reporter import Reporter, Sampler

HANG = 30.0


class Inbox:
    """A sink that keeps what it gets; `Sink`."""

    def __init__(self) -> None:
        self.got: queue.Queue[list[Report]] = queue.Queue()
        self.threads: set[threading.Thread] = set()
        self.fails = 0

    def send(self, reports: Sequence[Report]) -> None:
        self.threads.add(threading.current_thread())
        if self.fails:
            self.fails -= 1
            raise OSError("the sink is stopped up")
        self.got.put(list(reports))

    def next(self) -> list[Report]:
        return self.got.get(timeout=HANG)


class Odd:
    def __str__(self) -> str:
        raise RuntimeError("no text")


@pytest.fixture
def inbox() -> Inbox:
    return Inbox()


def quiet(inbox: Inbox) -> Sampler:
    """Return a sampler that looks by itself once an hour."""
    return Sampler(inbox, interval_s=3_600.0)


def test_a_look_hands_on_what_changed_of_all_reporters_together(inbox: Inbox) -> None:
    with quiet(inbox) as sampler:
        reporters = [Reporter(task_id=task_id) for task_id in "abc"]
        for reporter in reporters:
            sampler.add(reporter)
            reporter.advance()

        assert sampler.look()
        assert not sampler.look()

    reports = inbox.next()
    assert {report["task_id"]: report["current"] for report in reports} == dict.fromkeys("abc", 1)
    assert inbox.got.empty()


def test_its_thread_looks_by_itself_and_ends_with_the_process(inbox: Inbox) -> None:
    with Sampler(inbox, interval_s=0.001) as sampler:
        reporter = Reporter(task_id="t")
        sampler.add(reporter)
        reporter.advance(5)

        assert inbox.next() == [{"task_id": "t", "current": 5}]

    (thread,) = inbox.threads
    assert thread.daemon
    thread.join(HANG)
    assert not thread.is_alive()


def test_one_thread_looks_at_all_of_them(inbox: Inbox) -> None:
    before = threading.active_count()
    with quiet(inbox) as sampler:
        for _ in range(50):
            sampler.add(Reporter())

        assert threading.active_count() == before + 1


def test_looks_that_cost_much_are_rarer(inbox: Inbox) -> None:
    # Given a sink whose taking costs two milliseconds of the processor
    took: list[tuple[float, float]] = []

    def send(reports: Sequence[Report]) -> None:
        began = time.monotonic()
        used = time.thread_time()
        while time.thread_time() - used < 0.002:
            pass
        took.append((began, time.monotonic()))
        Inbox.send(inbox, reports)

    inbox.send = send  # type: ignore[method-assign]
    with Sampler(inbox, interval_s=0.001) as sampler:
        reporter = Reporter(task_id="t")
        sampler.add(reporter)

        # When something changes between all looks
        for _ in range(6):
            reporter.advance()
            inbox.next()

    # Then twenty times as long passes between two of them, however fast the machine is
    pauses = [after - before for (_, before), (after, _) in pairwise(took)]
    assert len(pauses) == 5
    assert min(pauses) >= 0.04


def test_without_a_reporter_there_is_no_thread(inbox: Inbox) -> None:
    before = threading.active_count()

    with Sampler(inbox):
        assert threading.active_count() == before


def test_while_nothing_changes_it_says_now_and_then_that_the_process_is_alive(
    inbox: Inbox,
) -> None:
    with Sampler(inbox, interval_s=0.001, idle_s=0.003) as sampler:
        reporter = Reporter(task_id="t")
        sampler.add(reporter)

        assert inbox.next() == []
        assert inbox.next() == []
        reporter.advance()
        while not (reports := inbox.next()):
            pass

    assert reports == [{"task_id": "t", "current": 1}]


def test_where_looks_are_rare_it_says_so_no_later(inbox: Inbox) -> None:
    # Given a reporter that never changes, and of which a look costs much
    class Dear:
        read = 0

        def __str__(self) -> str:
            self.read += 1
            used = time.thread_time()
            while time.thread_time() - used < 0.005:
                pass
            return "the same"

    dear = Dear()
    with Sampler(inbox, interval_s=0.001, idle_s=0.1) as sampler:
        reporter = Reporter(task_id="t")
        reporter.message = dear  # type: ignore[assignment]
        sampler.add(reporter)
        assert inbox.next() == [{"task_id": "t", "message": "the same"}]

        # When it is looked at ten times a second at most, then the first of these looks says it
        assert inbox.next() == []
    assert dear.read <= 4


def test_removing_a_reporter_hands_on_what_it_still_has(inbox: Inbox) -> None:
    with quiet(inbox) as sampler:
        reporter = Reporter(task_id="t")
        sampler.add(reporter)
        reporter.advance(3)
        reporter.log("last words")

        sampler.remove(reporter)
        reporter.advance()

        assert not sampler.look()

    assert inbox.next() == [
        {"task_id": "t", "current": 3},
        {"task_id": "t", "log": ["last words"]},
    ]
    assert inbox.got.empty()


def test_removing_one_that_has_nothing_hands_on_nothing(inbox: Inbox) -> None:
    with quiet(inbox) as sampler:
        sampler.remove(Reporter())

    assert inbox.got.empty()


def test_a_reporter_that_cannot_be_read_does_not_stop_the_others(
    inbox: Inbox, caplog: pytest.LogCaptureFixture
) -> None:
    with quiet(inbox) as sampler:
        odd, good = Reporter(task_id="odd"), Reporter(task_id="good")
        odd.message = Odd()  # type: ignore[assignment]
        sampler.add(odd)
        sampler.add(good)
        for _ in range(10):
            odd.advance()
            good.advance()
            sampler.look()

    reports = [report for _ in range(10) for report in inbox.next()]
    for task_id in ("odd", "good"):
        own = [r["current"] for r in reports if r["task_id"] == task_id and "current" in r]
        assert own == list(range(1, 11))
    assert [record.levelno for record in caplog.records] == [logging.WARNING]


def test_a_sink_that_raises_does_not_end_the_thread(
    inbox: Inbox, caplog: pytest.LogCaptureFixture
) -> None:
    inbox.fails = 2
    with Sampler(inbox, interval_s=0.001, idle_s=0.001) as sampler:
        sampler.add(Reporter(task_id="t"))

        assert inbox.next() == []

    assert [record.levelno for record in caplog.records] == [logging.ERROR] * 2


def test_after_closing_it_still_hands_on_what_it_is_asked_for(inbox: Inbox) -> None:
    sampler = quiet(inbox)
    reporter = Reporter(task_id="t")
    sampler.add(reporter)
    sampler.close()
    sampler.close()

    reporter.advance()
    assert sampler.look()
    reporter.advance()
    sampler.remove(reporter)
    sampler.add(reporter)

    assert [inbox.next()[0]["current"] for _ in range(2)] == [1, 2]


def test_reports_of_one_reporter_keep_their_order_under_concurrent_looks(inbox: Inbox) -> None:
    # Given: a reporter that advances while three threads look at it.
    sampler, over = quiet(inbox), threading.Event()
    reporter = Reporter(task_id="t")
    sampler.add(reporter)

    def look() -> None:
        while not over.is_set():
            sampler.look()

    lookers = [threading.Thread(target=look) for _ in range(3)]
    for looker in lookers:
        looker.start()
    for _ in range(20_000):
        reporter.advance()
    over.set()
    for looker in lookers:
        looker.join()
    sampler.remove(reporter)
    sampler.close()

    # Then: what was handed on only rises, and the last of it is all of it.
    told = []
    while not inbox.got.empty():
        told += [report["current"] for report in inbox.next()]
    assert told == sorted(told)
    assert told[-1] == 20_000

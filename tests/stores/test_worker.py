"""The store's reading thread: what hangs there holds up nobody."""

from __future__ import annotations

import threading

import pytest

from socketprogress.core.errors import StoreError
from socketprogress.stores.worker import Worker

HANG = 30.0


def test_an_answer_comes_back() -> None:
    worker = Worker("test", threading=threading)

    assert worker.ask(lambda: 7, timeout_s=HANG) == 7
    worker.close(HANG)


def test_what_a_question_raises_is_raised_where_it_was_asked() -> None:
    worker = Worker("test", threading=threading)

    with pytest.raises(ZeroDivisionError):
        worker.ask(lambda: 1 // 0, timeout_s=HANG)
    worker.close(HANG)


def test_a_question_that_hangs_is_an_error_and_those_behind_it_are_dropped() -> None:
    # Given a thread that hangs in a read
    worker = Worker("test", threading=threading)
    hang = threading.Event()
    asked: list[str] = []

    def read() -> None:
        hang.wait(HANG)

    worker.submit(read)

    # When somebody asks, then he is told in time
    with pytest.raises(TimeoutError, match=r"no answer for 0\.01 s"):
        worker.ask(lambda: asked.append("late"), timeout_s=0.01)

    # When the disk answers again, then nothing is done for those who have left
    hang.set()
    assert worker.ask(lambda: "soon", timeout_s=HANG) == "soon"
    assert asked == []
    worker.close(HANG)


def test_a_closed_worker_takes_no_more() -> None:
    worker = Worker("test", threading=threading)
    worker.close(HANG)

    with pytest.raises(StoreError, match="closed"):
        worker.submit(lambda: None)

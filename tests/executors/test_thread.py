"""What only threads promise."""

from __future__ import annotations

import runpy
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from socketprogress import Reporter
from socketprogress.core.ports import Job, Outcome
from socketprogress.core.status import Status
from socketprogress.executors.thread import SWITCH_INTERVAL_S, ThreadExecutor

shared = runpy.run_path(str(Path(__file__).with_name("recorder.py")))
Recorder, make_job, PATIENCE_S = shared["Recorder"], shared["make_job"], shared["PATIENCE_S"]


@pytest.fixture
def executor() -> Iterator[ThreadExecutor]:
    made = ThreadExecutor(ask_s=0.1)
    yield made
    made.close(5.0)


def closure_job(call: Any, folder: Path) -> Job:
    return Job(task_id="closure", function=None, call=call, args={}, output_dir=folder)


def test_a_closure_runs_with_what_it_closes_over(executor: ThreadExecutor, tmp_path: Path) -> None:
    rows = [1, 2, 3]

    def add_up(progress: Reporter) -> int:
        return sum(progress.track(rows))

    told = Recorder()
    executor.submit(closure_job(add_up, tmp_path), told)
    assert told.end().result == 6


def test_cancelled_is_raised_into_a_python_loop_that_never_reports(
    executor: ThreadExecutor, tmp_path: Path
) -> None:
    # Given
    told = Recorder()
    running = executor.submit(make_job("spin", tmp_path), told)
    told.message("running")

    # When
    running.cancel()

    # Then
    assert told.end() == Outcome(Status.CANCELLED)


def test_a_body_blocked_in_c_is_cancelled_when_that_returns(
    executor: ThreadExecutor, tmp_path: Path
) -> None:
    told = Recorder()
    running = executor.submit(make_job("blocked_in_c", tmp_path, {"seconds": 0.5}), told)
    told.message("running")
    running.cancel()
    assert told.end() == Outcome(Status.CANCELLED)


def test_forcing_bodies_that_are_just_ending_never_harms_their_threads(
    executor: ThreadExecutor, tmp_path: Path
) -> None:
    # Given
    failures: list[Any] = []
    hook, threading.excepthook = threading.excepthook, failures.append

    # When
    all_told = [Recorder() for _ in range(200)]
    for told in all_told:
        executor.submit(make_job("quick", tmp_path), told).kill(Outcome(Status.CANCELLED))
    ends = {told.end().status for told in all_told}

    # Then
    threading.excepthook = hook
    assert failures == []
    # A body may have been over before it was forced; whichever came first is its one end.
    assert Status.CANCELLED in ends
    assert ends <= {Status.CANCELLED, Status.COMPLETED}
    assert all(told.order.count("ended") == 1 for told in all_told)


def test_threads_take_turns_more_often_only_while_a_body_runs(
    executor: ThreadExecutor, tmp_path: Path
) -> None:
    # Given
    usual = sys.getswitchinterval()
    told = Recorder()

    # When
    running = executor.submit(make_job("until_cancelled", tmp_path), told)
    told.message("running")

    # Then
    assert sys.getswitchinterval() == pytest.approx(SWITCH_INTERVAL_S)
    running.cancel()
    told.end()
    executor.close(5.0)
    assert sys.getswitchinterval() == pytest.approx(usual)


def test_closing_tells_the_end_of_a_body_that_cannot_be_stopped(tmp_path: Path) -> None:
    # Given
    executor = ThreadExecutor(ask_s=0.1)
    release = threading.Event()
    entered = threading.Event()

    def deaf() -> None:
        entered.set()
        while not release.is_set():
            try:
                release.wait()
            except BaseException:  # noqa: BLE001, S112 - the worst that a user may write
                continue

    told = Recorder()
    executor.submit(closure_job(deaf, tmp_path), told)
    assert entered.wait(PATIENCE_S)

    # When
    executor.close(0.3)

    # Then
    assert told.outcome == Outcome(Status.CANCELLED)
    release.set()

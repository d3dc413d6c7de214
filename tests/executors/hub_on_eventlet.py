"""What bodies on the server's own loop promise, on a real one."""

from __future__ import annotations

import runpy
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import eventlet
import pytest

from socketprogress import Reporter
from socketprogress.core.ports import Job, Outcome
from socketprogress.core.status import Status
from socketprogress.executors.hub import HubExecutor

shared = runpy.run_path(str(Path(__file__).with_name("recorder.py")))
Recorder, make_job = shared["Recorder"], shared["make_job"]


@pytest.fixture
def executor() -> Iterator[HubExecutor]:
    made = HubExecutor(eventlet.spawn)
    yield made
    made.close(5.0)


def end_of(told: Any) -> Outcome:
    """Let the loop run until the end is told."""
    with eventlet.Timeout(30):
        while told.outcome is None:
            eventlet.sleep(0.001)
    outcome: Outcome = told.outcome
    return outcome


def test_a_body_runs_as_a_greenlet_of_the_loops_own_thread(
    executor: HubExecutor, tmp_path: Path
) -> None:
    # Given
    def body(progress: Reporter) -> bool:
        for _ in progress.track(range(3)):
            eventlet.sleep(0)
        return threading.current_thread() is threading.main_thread()

    job = Job(task_id="t", function=None, call=body, args={}, output_dir=tmp_path)

    # When
    told = Recorder()
    executor.submit(job, told)

    # Then
    assert told.order == []
    assert end_of(told) == Outcome(Status.COMPLETED, result=True)
    assert told.last("current") == 3


def test_greenlet_bodies_take_turns_and_one_is_cancelled(
    executor: HubExecutor, tmp_path: Path
) -> None:
    # Given
    def body(progress: Reporter) -> None:
        while True:
            progress.advance()
            eventlet.sleep(0)

    all_told = [Recorder() for _ in range(2)]
    runs = [
        executor.submit(
            Job(task_id=f"t{n}", function=None, call=body, args={}, output_dir=tmp_path), told
        )
        for n, told in enumerate(all_told)
    ]
    with eventlet.Timeout(30):
        while not all(told.seen for told in all_told):
            eventlet.sleep(0.001)

    # When
    runs[0].cancel()

    # Then
    assert end_of(all_told[0]) == Outcome(Status.CANCELLED)
    assert all_told[1].outcome is None
    runs[1].cancel()
    assert end_of(all_told[1]) == Outcome(Status.CANCELLED)


def test_an_async_body_has_a_thread_of_its_own_so_that_the_loop_goes_on(
    executor: HubExecutor, tmp_path: Path
) -> None:
    # Given
    told = Recorder()
    running = executor.submit(make_job("wait_for_ever", tmp_path), told)
    with eventlet.Timeout(30):
        while not told.seen:
            eventlet.sleep(0.001)

    # When
    running.cancel()

    # Then
    assert end_of(told) == Outcome(Status.CANCELLED)


def test_a_ctrl_c_that_hits_a_body_is_the_processs(executor: HubExecutor, tmp_path: Path) -> None:
    # Given a body that is running when the interrupt comes
    def body() -> None:
        signal.raise_signal(signal.SIGINT)

    told = Recorder()
    executor.submit(Job(task_id="t", function=None, call=body, args={}, output_dir=tmp_path), told)

    # When the loop runs, then who waits on it is interrupted, and the body ends with the server
    with pytest.raises(KeyboardInterrupt):
        end_of(told)
    assert told.outcome.status is Status.CANCELLED
    assert told.outcome.error.code == "shutdown"

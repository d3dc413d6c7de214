"""What every executor promises: one contract, run over all of them."""

from __future__ import annotations

import queue
import runpy
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from socketprogress.core.ports import Executor, Outcome
from socketprogress.core.state import TaskError
from socketprogress.core.status import Status
from socketprogress.executors.hub import HubExecutor
from socketprogress.executors.process import ProcessExecutor
from socketprogress.executors.thread import ThreadExecutor

shared = runpy.run_path(str(Path(__file__).parents[1] / "executors" / "recorder.py"))
Recorder, make_job = shared["Recorder"], shared["make_job"]

Submit = Callable[..., Any]


class Loop:
    """A loop that runs what is spawned one after the other, on a thread of its own."""

    def __init__(self) -> None:
        self.calls: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        while (call := self.calls.get()) is not None:
            call()

    def stop(self) -> None:
        self.calls.put(None)
        self._thread.join()


@pytest.fixture(params=["process", "thread", "hub"])
def executor(request: pytest.FixtureRequest) -> Iterator[Executor]:
    """An executor that runs one body at a time."""
    made: Executor
    if request.param == "hub":
        loop = Loop()
        made = HubExecutor(loop.calls.put)
        yield made
        made.close(5.0)
        loop.stop()
        return
    made = (
        ProcessExecutor(workers=1, ask_s=0.2, term_s=0.2)
        if request.param == "process"
        else ThreadExecutor(slots=1, ask_s=0.2)
    )
    yield made
    made.close(5.0)


@pytest.fixture
def submit(executor: Executor, tmp_path: Path) -> Submit:
    """Submit a body of bodies.py; return what is told of it and the handle on it."""

    def submit(body: str, args: Any = None, **options: Any) -> Any:
        told = Recorder()
        return told, executor.submit(make_job(body, tmp_path, args, **options), told)

    return submit


def test_a_body_gets_typed_arguments_and_its_result_comes_back(submit: Submit) -> None:
    # When
    told, _ = submit("kinds", {"path": "a/b.txt", "number": 2, "flag": True})

    # Then
    assert told.end() == Outcome(
        Status.COMPLETED,
        result={"path": "b.txt", "kinds": ["PosixPath", "int", "float", "bool"]},
    )


def test_a_body_is_told_as_started_then_its_reports_then_ended_once(submit: Submit) -> None:
    told, _ = submit("count")
    told.end()
    assert told.order[0] == "started"
    assert told.order[-1] == "ended"
    assert set(told.order[1:-1]) == {"reports"}
    assert told.last("current") == 10
    assert told.last("total") == 10


def test_every_step_arrives_with_its_counts(submit: Submit) -> None:
    told, _ = submit("in_steps", steps={"Scan": 1.0, "Pack": 2.0})
    told.end()
    assert [report["step"] for report in told.seen if "step" in report] == ["Scan", "Pack"]
    assert told.last("current") == 3


def test_log_lines_and_the_last_message_arrive_before_the_end(submit: Submit) -> None:
    told, _ = submit("chat")
    told.end()
    assert told.lines == ["first", "second"]
    assert told.last("message") == "said it"


def test_a_result_file_lies_in_the_jobs_folder_and_is_told(submit: Submit, tmp_path: Path) -> None:
    told, _ = submit("write_file")
    told.end()
    assert told.last("files") == [{"name": "report.txt", "size_bytes": 5}]
    assert (tmp_path / "output" / "report.txt").read_text() == "12345"


def test_a_result_that_was_set_counts_when_nothing_is_returned(submit: Submit) -> None:
    told, _ = submit("sets_result")
    assert told.end().result == {"kept": True}


def test_a_result_of_paths_and_dataclasses_becomes_json(submit: Submit) -> None:
    told, _ = submit("convertible")
    assert told.end().result == [{"path": "/a", "sizes": [1, 2]}, {"1": 15}, "broken ? name"]


@pytest.mark.parametrize("body", ["give_set", "give_nan", "give_much"])
def test_a_result_that_is_not_json_is_left_out_with_a_line(submit: Submit, body: str) -> None:
    told, _ = submit(body)
    assert told.end() == Outcome(Status.COMPLETED)
    assert told.lines[0].startswith("The result is left out: ")


def test_an_exception_fails_the_task_and_its_traceback_starts_in_the_body(submit: Submit) -> None:
    # When
    told, _ = submit("fail")
    outcome = told.end()

    # Then
    assert outcome.status is Status.FAILED
    assert outcome.error == TaskError("exception", "ValueError: the bad line")
    assert outcome.traceback[0] == "Traceback (most recent call last):"
    assert "bodies.py" in outcome.traceback[1]
    assert told.last("current") == 3


def test_a_task_failure_has_its_own_code(submit: Submit) -> None:
    told, _ = submit("fail_with_code")
    assert told.end() == Outcome(Status.FAILED, error=TaskError("exit_status", "exit code 3"))


def test_sys_exit_is_a_failure_even_with_code_0(submit: Submit) -> None:
    told, _ = submit("leave")
    outcome = told.end()
    assert outcome.status is Status.FAILED
    assert outcome.error == TaskError("exception", "SystemExit: 0")


@pytest.mark.parametrize("body", ["interrupt", "interrupt_async"])
def test_a_keyboard_interrupt_of_the_bodys_own_is_a_failure(submit: Submit, body: str) -> None:
    told, _ = submit(body)
    outcome = told.end()
    assert outcome.status is Status.FAILED
    assert outcome.error == TaskError("exception", "KeyboardInterrupt")


def test_a_generator_fails_instead_of_doing_nothing(submit: Submit) -> None:
    told, _ = submit("generate")
    error = told.end().error
    assert error is not None
    assert error.message.startswith("TypeError: generate is a generator")


def test_an_async_body_runs_to_its_result(submit: Submit) -> None:
    told, _ = submit("arithmetic", {"number": 41})
    assert told.end().result == 42
    assert told.last("current") == 3


def test_an_async_body_that_waits_ends_when_it_is_cancelled(submit: Submit) -> None:
    # Given
    told, running = submit("wait_for_ever")
    told.message("waiting")

    # When
    running.cancel()

    # Then
    assert told.end() == Outcome(Status.CANCELLED)


def test_a_loop_that_reports_ends_when_it_is_cancelled(submit: Submit) -> None:
    # Given
    told, running = submit("until_cancelled")
    told.message("running")

    # When
    running.cancel()

    # Then
    assert told.end() == Outcome(Status.CANCELLED)
    assert told.order[-1] == "ended"


def test_a_body_that_answers_a_cancellation_with_another_error_is_cancelled(
    submit: Submit,
) -> None:
    told, running = submit("catches_the_cancellation")
    told.message("running")
    running.cancel()
    assert told.end().status is Status.CANCELLED


def test_a_job_that_waits_is_cancelled_without_ever_starting(submit: Submit) -> None:
    # Given
    first, first_running = submit("until_cancelled")
    first.message("running")
    second, second_running = submit("quick")

    # When
    second_running.cancel()

    # Then
    assert second.end() == Outcome(Status.CANCELLED)
    assert second.order == ["ended"]
    assert first.outcome is None
    first_running.cancel()
    first.end()


def test_more_jobs_than_slots_run_in_the_order_of_their_submission(submit: Submit) -> None:
    # When
    all_told = [submit("quick", {"number": number})[0] for number in range(6)]

    # Then
    assert [told.end().result for told in all_told] == list(range(6))
    places = [told.place for told in all_told]
    assert places == sorted(places)


def test_a_killed_body_has_the_outcome_that_it_was_killed_with(submit: Submit) -> None:
    told, running = submit("until_cancelled")
    told.message("running")
    outcome = Outcome(Status.FAILED, error=TaskError("timeout", "enough"))
    running.kill(outcome)
    assert told.end() == outcome


def test_a_body_that_takes_longer_than_its_timeout_fails_with_it(submit: Submit) -> None:
    told, _ = submit("until_cancelled", timeout_s=0.3)
    outcome = told.end()
    assert outcome.status is Status.FAILED
    assert outcome.error == TaskError("timeout", "it took longer than 0.3 s")


def test_numbers_and_texts_that_are_no_json_do_not_lose_the_end(submit: Submit) -> None:
    told, _ = submit("odd_numbers")
    assert told.end() == Outcome(Status.COMPLETED)


def test_closing_ends_what_runs_and_what_waits(executor: Executor, submit: Submit) -> None:
    # Given
    first, _ = submit("until_cancelled")
    first.message("running")
    second, _ = submit("quick")

    # When
    executor.close(5.0)

    # Then
    assert first.end().status is Status.CANCELLED
    assert second.end().status is Status.CANCELLED
    assert second.order == ["ended"]


def test_a_job_submitted_after_the_close_is_cancelled(executor: Executor, submit: Submit) -> None:
    executor.close(5.0)
    told, _ = submit("quick")
    assert told.end() == Outcome(Status.CANCELLED)

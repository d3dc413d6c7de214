"""How the task of a script ends, whatever ends the script."""

from __future__ import annotations

import signal
from collections.abc import Callable
from typing import Any

import pytest

Run = Callable[..., Any]


def one(api: Any, name: str) -> dict[str, Any]:
    """The only task of this name, once it has ended."""
    (found,) = api.tasks(name=name)
    return dict(api.ended(found["task_id"]))


@pytest.mark.parametrize(
    ("name", "loop", "counts"),
    [
        ("whole", "for _ in track(range(5), name='whole'): pass", (5, 5)),
        ("break", "for i in track(range(5), name='break'):\n    if i == 2: break", (2, 5)),
        ("endless", "for _ in track(iter(range(7)), name='endless'): pass", (7, None)),
        ("empty", "for _ in track([], name='empty'): pass", (0, 0)),
        ("by-hand", "print(next(track(range(3), name='by-hand')))", (0, 3)),
        ("long", "for _ in track(range(5_000), name='long'): pass", (5_000, 5_000)),
        ("named", "for _ in track(range(3), name='named', total=9): pass", (3, 9)),
    ],
)
def test_a_loop_run_through_or_left_early_is_completed_with_its_true_counts(
    api: Any, script: Run, name: str, loop: str, counts: tuple[int, int | None]
) -> None:
    assert script(loop, api.url).end() == 0

    task = one(api, name)
    assert (task["status"], task["progress"], task["error"]) == ("completed", 100.0, None)
    assert (task["current"], task["total"]) == counts


def test_an_exception_that_ends_the_process_fails_the_loop_it_came_from(
    api: Any, script: Run
) -> None:
    run = script(
        """
        def work():
            for i in track(range(5), name="raises"):
                if i == 3:
                    raise ValueError("three is\\ntoo many")
        for _ in track([1], name="fine"): pass
        for _ in track([1, 2], name="left before"): break
        work()
        """,
        api.url,
    )

    assert run.end() == 1
    task = one(api, "raises")
    assert task["status"] == "failed"
    assert task["error"] == {"code": "exception", "message": "ValueError: three is too many"}
    assert task["current"] == 3
    log = api.log(task["task_id"])
    assert log[0] == "Traceback (most recent call last):"
    assert any("raise ValueError" in line for line in log)
    assert one(api, "fine")["status"] == one(api, "left before")["status"] == "completed"


def test_an_exception_that_is_caught_leaves_the_loop_completed(api: Any, script: Run) -> None:
    script(
        """
        try:
            for i in track(range(5), name="caught"):
                raise ValueError
        except ValueError:
            pass
        """,
        api.url,
    ).end()

    assert one(api, "caught")["status"] == "completed"


def test_what_is_iterated_over_may_raise(api: Any, script: Run) -> None:
    script(
        """
        def rows():
            yield 1
            raise LookupError("no more rows")
        try:
            for _ in track(rows(), name="source"): pass
        except LookupError:
            pass
        """,
        api.url,
    ).end()

    task = one(api, "source")
    assert task["error"] == {"code": "exception", "message": "LookupError: no more rows"}
    assert (task["status"], task["current"]) == ("failed", 1)


@pytest.mark.parametrize(
    ("raised", "status", "error"),
    [
        ("pass", "completed", None),
        ("raise KeyError('k')", "failed", {"code": "exception", "message": "KeyError: 'k'"}),
        ("raise SystemExit", "completed", None),
        ("raise SystemExit(0)", "completed", None),
        ("sys.exit(3)", "failed", {"code": "exception", "message": "SystemExit: 3"}),
        ("raise Cancelled", "cancelled", None),
        (
            "raise KeyboardInterrupt",
            "cancelled",
            {"code": "interrupted", "message": "the work was interrupted"},
        ),
        (
            "raise asyncio.CancelledError",
            "cancelled",
            {"code": "interrupted", "message": "the work was interrupted"},
        ),
    ],
)
@pytest.mark.parametrize("kind", ["with", "async with"])
def test_a_block_ends_the_task_as_it_is_left(
    api: Any, script: Run, kind: str, raised: str, status: str, error: Any
) -> None:
    name = f"{kind} {raised}"
    body = {"with": "work()", "async with": "asyncio.run(main())"}[kind]
    script(
        f"""
        def work():
            with Reporter({name!r}, total=4) as bar:
                bar.advance(2)
                {raised}
        async def main():
            async with Reporter({name!r}, total=4) as bar:
                bar.advance(2)
                {raised}
        try:
            {body}
        except BaseException:
            pass
        """,
        api.url,
    ).end()

    task = one(api, name)
    assert (task["status"], task["error"]) == (status, error)
    assert task["current"] == 2


def test_a_reporter_that_nobody_closes_is_completed_with_the_process(api: Any, script: Run) -> None:
    script("bar = Reporter('open', total=3); bar.advance(2); bar.log('so far')", api.url).end()

    task = one(api, "open")
    assert (task["status"], task["current"]) == ("completed", 2)
    assert api.log(task["task_id"]) == ["so far"]


def test_a_reporter_that_is_dropped_is_completed_at_once(api: Any, script: Run) -> None:
    run = script("Reporter('dropped').advance(); say('gone'); wait_for_go()", api.url)
    run.hear()

    found = api.wait_for_names("dropped")
    assert api.ended(found[0]["task_id"])["status"] == "completed"


def test_an_uncaught_exception_fails_what_is_open(api: Any, script: Run) -> None:
    script("bar = Reporter('uncaught'); bar.advance(); 1 / 0", api.url).end()

    task = one(api, "uncaught")
    assert task["error"]["message"] == "ZeroDivisionError: division by zero"


def test_an_exception_in_a_thread_fails_what_that_thread_has_opened(api: Any, script: Run) -> None:
    run = script(
        """
        main = Reporter("of main")
        def work():
            Reporter("of thread", parent=main); bar.append(Reporter("kept"))
            for _ in track([1, 2], name="loop of thread"):
                raise OSError("in a thread")
        bar = []
        thread = threading.Thread(target=work); thread.start(); thread.join()
        """,
        api.url,
    )

    assert run.end() == 0
    assert one(api, "kept")["status"] == "failed"
    assert one(api, "loop of thread")["error"]["message"] == "OSError: in a thread"
    assert one(api, "of main")["status"] == "completed"


@pytest.mark.parametrize(
    ("number", "name"), [(signal.SIGTERM, "terminated"), (signal.SIGINT, "interrupted")]
)
def test_a_signal_cancels_and_the_exit_status_stays_the_signals(
    api: Any, script: Run, number: int, name: str
) -> None:
    run = script(
        f"""
        bar = Reporter({name!r} + " reporter"); bar.advance()
        for i in track(range(10_000), name={name!r}):
            if i == 1: say("here")
            time.sleep(0.01)
        """,
        api.url,
    )
    run.hear()

    run.signal(number)

    assert run.end() == -number
    for task in (one(api, name), one(api, f"{name} reporter")):
        assert (task["status"], task["error"]["code"]) == ("cancelled", "interrupted")


def test_a_programs_own_sigterm_handler_stays(api: Any, script: Run) -> None:
    run = script(
        """
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(7))
        with Reporter("own handler"):
            say("here")
            while True: time.sleep(0.01)
        """,
        api.url,
    )
    run.hear()

    run.signal(signal.SIGTERM)

    assert run.end() == 7


def test_the_result_arrives_and_what_is_no_json_is_left_out_with_a_line(
    api: Any, script: Run
) -> None:
    script(
        """
        with Reporter("good") as bar: bar.result = {"rows": [1, 2]}
        with Reporter("odd") as bar: bar.result = {"x": object()}
        with Reporter("large") as bar: bar.result = "x" * 60_000
        """,
        api.url,
    ).end()

    assert one(api, "good")["result"] == {"rows": [1, 2]}
    for name in ("odd", "large"):
        task = one(api, name)
        assert (task["status"], task["result"]) == ("completed", None)
        assert api.log(task["task_id"])[0].startswith("The result is left out: ")


def test_a_file_is_refused_by_name_and_harms_nothing(api: Any, script: Run) -> None:
    run = script(
        """
        with Reporter("files", task_id="files-1", total=1) as bar:
            bar.add_file("report.csv")
            bar.advance()
        """,
        api.url,
    )

    assert run.end() == 0
    reason = "'report.csv' cannot be offered from here: only tasks that a server runs have files"
    assert run.stderr.startswith(reason)
    task = api.ended("files-1")
    assert (task["status"], task["current"]) == ("completed", 1)
    (line,) = api.log("files-1")
    assert line.startswith(reason)


def test_a_result_may_be_as_large_as_a_payload_holds(api: Any, script: Run) -> None:
    run = script(
        """
        with Reporter("results", task_id="results-1") as bar:
            for number in range(200):
                bar.log("a line of the log " * 20)
            bar.result = "x" * 59_000
        """,
        api.url,
    )

    assert run.end() == 0
    assert api.ended("results-1")["result"] == "x" * 59_000
    assert len(api.log("results-1")) == 200


def test_an_end_can_be_said_and_only_the_first_counts(api: Any, script: Run) -> None:
    script(
        """
        bar = Reporter("said", task_id="said-1")
        bar.end("failed", error={"code": "exit_status", "message": "exit status 2"})
        bar.end("completed"); bar.close(); bar.advance(); bar.log("too late")
        try:
            bar.end("lost")
        except ValueError as exc:
            say(exc)
        """,
        api.url,
    ).end()

    task = api.ended("said-1")
    assert task["error"] == {"code": "exit_status", "message": "exit status 2"}
    assert task["current"] == 0

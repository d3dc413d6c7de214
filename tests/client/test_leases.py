"""Reporters that fall silent, and cancellations that reach them."""

from __future__ import annotations

import signal
from collections.abc import Callable
from typing import Any

import pytest

Run = Callable[..., Any]


def test_a_killed_reporter_has_failed_after_its_lease(api: Any, script: Run) -> None:
    run = script(
        """
        for i in track(range(10_000), task_id="killed", lease_s=1):
            if i == 1: say("here")
            time.sleep(0.01)
        """,
        api.url,
    )
    run.hear()
    assert api.wait("killed", lambda task: task["current"])["lease_s"] == 1

    run.signal(signal.SIGKILL)

    task = api.ended("killed")
    assert (task["status"], task["error"]["code"]) == ("failed", "worker_lost")
    assert str(run.process.pid) in task["error"]["message"]


def test_who_is_killed_elsewhere_is_lost(api: Any, script: Run) -> None:
    # Given a reporter whose host is not the server's, though such a process is there as well
    run = script(
        """
        import socket
        socket.gethostname = lambda: "elsewhere"
        with Reporter("far", task_id="far", lease_s=1) as bar:
            bar.current = 1
            say("here")
            time.sleep(100)
        """,
        api.url,
    )
    run.hear()
    api.wait("far", lambda task: task["current"] == 1)

    # When it is killed
    run.signal(signal.SIGKILL)

    # Then nobody here knows of its end, also after another look or two
    assert api.wait("far", lambda task: task["status"] == "lost")["error"] is None
    assert api.get("/api/tasks/far?wait=3")["status"] == "lost"


def test_who_goes_on_with_a_dead_process_s_task_can_be_lost_and_come_back(
    api: Any, script: Run
) -> None:
    # Given a process that has begun a task and is killed, and another that goes on with it
    code = """
        with Reporter("shared", task_id="shared", lease_s={lease}, total=10) as bar:
            bar.current = {current}
            say("here")
            wait_for_go()
        """
    first = script(code.format(lease=3, current=1), api.url)
    first.hear()
    api.wait("shared", lambda task: task["current"] == 1)
    second = script(code.format(lease=3, current=2), api.url)
    second.hear()
    first.signal(signal.SIGKILL)
    first.end()
    api.wait("shared", lambda task: task["current"] == 2)
    for _ in range(4):
        api.get("/api/tasks/shared?wait=1")

    # When that one is stopped
    second.signal(signal.SIGSTOP)
    api.wait("shared", lambda task: task["status"] == "lost")
    assert api.get("/api/tasks/shared?wait=3")["status"] == "lost"

    # Then the task is its own: it goes on with it
    second.signal(signal.SIGCONT)
    second.go()
    assert api.ended("shared")["status"] == "completed"


def test_a_lost_task_that_was_cancelled_ends(api: Any, script: Run) -> None:
    # Given a reporter that is stopped, and whose task is lost
    run = script(
        """
        with Reporter("frozen", task_id="frozen", lease_s=1) as bar:
            bar.current = 1
            say("here")
            while True:
                bar.advance()
                time.sleep(0.01)
        """,
        api.url,
    )
    run.hear()
    api.wait("frozen", lambda task: task["current"])
    run.signal(signal.SIGSTOP)
    api.wait("frozen", lambda task: task["status"] == "lost")

    # When somebody cancels it
    api.cancel("frozen")

    # Then it ends without it
    task = api.ended("frozen")
    assert (task["status"], task["error"], task["cancel_requested"]) == ("cancelled", None, True)
    assert any("Nobody has heard" in line for line in api.log("frozen"))

    # And its reporter stops when it is back
    run.signal(signal.SIGCONT)
    assert run.end() == 1
    assert "Cancelled" in run.stderr


def test_a_dead_reporter_s_task_that_was_cancelled_ends(api: Any, script: Run) -> None:
    run = script(
        """
        import socket
        socket.gethostname = lambda: "elsewhere"
        with Reporter("doomed", task_id="doomed", lease_s=1) as bar:
            bar.current = 1
            say("here")
            time.sleep(100)
        """,
        api.url,
    )
    run.hear()
    api.wait("doomed", lambda task: task["current"] == 1)
    api.cancel("doomed")

    run.signal(signal.SIGKILL)

    assert api.ended("doomed")["status"] == "cancelled"


def test_a_reporter_that_is_stopped_is_lost_and_comes_back(api: Any, script: Run) -> None:
    run = script(
        """
        with Reporter("stopped", task_id="stopped", total=2) as bar:
            bar.advance()
            say("here")
            wait_for_go()
            bar.advance()
        """,
        api.url,
        SOCKETPROGRESS_LEASE="1",
    )
    run.hear()
    api.wait("stopped", lambda task: task["current"] == 1)

    run.signal(signal.SIGSTOP)
    api.wait("stopped", lambda task: task["status"] == "lost")
    run.signal(signal.SIGCONT)
    api.wait("stopped", lambda task: task["status"] == "in_progress")
    run.go()

    task = api.ended("stopped")
    assert (task["status"], task["current"]) == ("completed", 2)


def test_a_reporter_that_works_in_silence_stays_in_progress(api: Any, script: Run) -> None:
    run = script(
        """
        with Reporter("silent", task_id="silent", lease_s=0.6):
            time.sleep(2.5)
        """,
        api.url,
    )
    seen = set()

    def is_over(task: dict[str, Any]) -> bool:
        seen.add(task["status"])
        return bool(task["status"] == "completed")

    api.wait("silent", is_over)

    assert run.end() == 0
    assert seen <= {"in_progress", "completed"}


CANCELLED = {
    "track": "for _ in track(itertools.count(), task_id={id!r}): time.sleep(0.01)",
    "fast track": "for _ in track(itertools.count(), task_id={id!r}): pass",
    "swallowing": """
for _ in track(itertools.count(), task_id={id!r}):
    try: time.sleep(0.01); raise ValueError
    except Exception: continue
""",
    "advance": """
with Reporter("r", task_id={id!r}) as bar:
    while True: bar.advance(); time.sleep(0.01)
""",
    "log": """
with Reporter("r", task_id={id!r}) as bar:
    while True: bar.log("x"); time.sleep(0.01)
""",
    "reporter's track": """
with Reporter("r", task_id={id!r}) as bar:
    for _ in bar.track(itertools.count()): time.sleep(0.01)
""",
    "asyncio": """
async def rows():
    while True: yield 1; await asyncio.sleep(0.01)
async def main():
    async for _ in track(rows(), task_id={id!r}): pass
asyncio.run(main())
""",
    "asyncio, waiting": """
async def rows():
    yield 1
    await asyncio.sleep(3600)
async def main():
    async for _ in track(rows(), task_id={id!r}): pass
asyncio.run(main())
""",
    "forked": """
def work():
    for _ in track(itertools.count(), task_id={id!r}): time.sleep(0.01)
process = multiprocessing.get_context("fork").Process(target=work)
process.start(); process.join()
if process.exitcode: raise Cancelled
""",
}


@pytest.mark.parametrize("way", CANCELLED)
def test_a_cancellation_stops_the_work(api: Any, script: Run, way: str) -> None:
    task_id = "".join(c if c.isalnum() else "-" for c in way)
    imports = "import itertools, multiprocessing\n"
    run = script(imports + CANCELLED[way].format(id=task_id), api.url)
    api.wait(task_id, lambda task: task["status"] == "in_progress")

    api.cancel(task_id)

    task = api.ended(task_id)
    assert (task["status"], task["error"]) == ("cancelled", None)
    assert run.end() == 1
    assert "Cancelled: task" in run.stderr


def test_work_that_is_not_cancellable_goes_on(api: Any, script: Run) -> None:
    run = script(
        """
        with Reporter("r", task_id="steady", cancellable=False) as bar:
            say("here"); wait_for_go(); bar.advance()
        """,
        api.url,
    )
    run.hear()
    api.wait("steady", lambda task: task["status"] == "in_progress")

    with pytest.raises(OSError, match="409"):
        api.cancel("steady")
    run.go()

    assert api.ended("steady")["status"] == "completed"


def test_a_cancellation_during_an_outage_arrives_with_the_next_answer(
    server: Run, api_of: Run, script: Run
) -> None:
    running = server()
    api = api_of(running.url)
    run = script(
        """
        for _ in track(iter(int, 1), task_id="later"): time.sleep(0.01)
        """,
        running.url,
    )
    api.wait("later", lambda task: task["status"] == "in_progress")
    run.signal(signal.SIGSTOP)
    api.cancel("later")
    running.restart()

    run.signal(signal.SIGCONT)

    assert api.ended("later")["status"] == "cancelled"
    run.end()


def test_cancelling_can_be_caught_to_tidy_up(api: Any, script: Run) -> None:
    run = script(
        """
        try:
            for i in track(iter(int, 1), task_id="tidy"): time.sleep(0.01)
        except Cancelled:
            say("tidied")
        """,
        api.url,
    )
    api.wait("tidy", lambda task: task["status"] == "in_progress")

    api.cancel("tidy")

    assert run.hear() == "tidied"
    assert run.end() == 0
    assert api.ended("tidy")["status"] == "cancelled"

"""Reporters that fall silent, and cancellations that reach them."""

from __future__ import annotations

import signal
from collections.abc import Callable
from typing import Any

import pytest

Run = Callable[..., Any]


def test_a_killed_reporter_is_lost_after_its_lease(api: Any, script: Run) -> None:
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

    assert api.wait("killed", lambda task: task["status"] == "lost")["error"] is None


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

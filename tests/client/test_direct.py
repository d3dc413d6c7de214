"""Reporters without a server: straight into the store, and what they say is true all the same."""

from __future__ import annotations

import secrets
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Run = Callable[..., Any]

WORK = """
with Reporter("work", task_id="work", total=40, steps=["First", "Second"]) as bar:
    bar.step("First", total=20)
    for i in range(20):
        bar.advance(); bar.log(f"line {i}")
    say("half")
    wait_for_go()
    bar.step("Second", total=20)
    for i in range(20, 40):
        bar.advance(); bar.log(f"line {i}")
    bar.result = {"done": 40}
say("over")
"""
HELD = """
with Reporter("held", task_id="held", lease_s=1, total=10) as bar:
    bar.advance()
    say("open")
    wait_for_go()
    bar.advance(9)
"""


def check_work(api: Any, lines: range = range(40)) -> None:
    """See that the work of `WORK` is there, whole and once."""
    task = api.ended("work")
    assert (task["status"], task["progress"], task["source"]) == ("completed", 100.0, "report")
    assert (task["current"], task["total"], task["result"]) == (20, 20, {"done": 40})
    assert [step["status"] for step in task["steps"]] == ["completed", "completed"]
    assert api.log("work") == [f"line {i}" for i in lines]
    assert len(api.tasks(name="work")) == 1


def is_half(task: dict[str, Any]) -> bool:
    return bool(task["current"] == 20)


@pytest.fixture
def store(lasting_redis: Any) -> str:
    """The URL of a store of this test's own, with a short lease."""
    return f"{lasting_redis.url}?prefix={secrets.token_hex(8)}&lease_s=1"


@pytest.fixture
def api(server: Run, store: str, api_of: Run) -> Any:
    """A server on that store, which no reporter knows of."""
    return api_of(server("--store", store).url)


@pytest.mark.parametrize("name", ["SOCKETPROGRESS_URL", "SOCKETPROGRESS_STORE"])
def test_what_is_reported_into_the_store_is_on_the_server(
    api: Any, store: str, script: Run, name: str
) -> None:
    run = script(WORK, **{name: store})
    assert run.hear() == "half"

    task = api.wait("work", is_half)
    run.go()

    assert (task["status"], task["steps"][0]["status"]) == ("in_progress", "in_progress")
    assert run.end() == 0
    check_work(api)
    assert run.stderr == ""


def test_a_loop_and_tqdm_need_no_server_either(api: Any, store: str, script: Run) -> None:
    run = script(
        """
        from socketprogress import tqdm
        for _ in track(range(20), title="Loop", task_id="loop"): pass
        with Reporter("all", task_id="all") as bar:
            for _ in tqdm(range(30), desc="Bar", file=open(os.devnull, "w")): pass
            wait_for_go()
        """,
        store,
    )

    assert api.ended("loop")["current"] == 20
    api.wait("all", lambda task: task["status"] == "in_progress")
    run.go()

    assert run.end() == 0
    (bar,) = api.tasks(title="Bar")
    assert (api.ended(bar["task_id"])["current"], bar["parent_id"]) == (30, "all")


def test_a_cancellation_on_a_server_reaches_the_loop(api: Any, store: str, script: Run) -> None:
    run = script(
        """
        try:
            for _ in track(range(100_000), task_id="loop"):
                time.sleep(0.01)
        except Cancelled:
            say("cancelled")
        """,
        store,
    )
    api.wait("loop", lambda task: task["current"] > 0)

    api.cancel("loop")

    assert run.hear() == "cancelled"
    assert run.end() == 0
    assert api.ended("loop")["status"] == "cancelled"


def test_a_killed_reporter_is_lost(api: Any, store: str, script: Run) -> None:
    run = script(HELD, store)
    assert run.hear() == "open"
    api.wait("held", lambda task: task["current"] == 1)

    run.signal(signal.SIGKILL)

    assert api.wait("held", lambda task: task["status"] == "lost")["progress"] == 10.0


def test_a_frozen_reporter_is_lost_and_comes_back(api: Any, store: str, script: Run) -> None:
    run = script(HELD, store)
    assert run.hear() == "open"
    api.wait("held", lambda task: task["current"] == 1)

    run.signal(signal.SIGSTOP)
    api.wait("held", lambda task: task["status"] == "lost")
    run.signal(signal.SIGCONT)
    run.go()

    assert run.end() == 0
    assert api.ended("held")["status"] == "completed"


def test_forked_children_report_by_themselves(api: Any, store: str, script: Run) -> None:
    run = script(
        """
        with Reporter("parent", task_id="parent", total=2) as bar:
            bar.advance()
            time.sleep(0.5)
            child = os.fork()
            if not child:
                with Reporter("child", task_id="child", total=3) as own:
                    own.advance(3)
                from socketprogress.client.process import flush
                flush(30)
                os._exit(0)
            os.waitpid(child, 0)
            bar.advance()
        """,
        store,
    )

    assert run.end() == 0
    assert (api.ended("child")["status"], api.ended("child")["current"]) == ("completed", 3)
    assert (api.ended("parent")["status"], api.ended("parent")["current"]) == ("completed", 2)


def test_with_redis_down_the_work_goes_on_and_the_next_process_delivers_it(
    redis_server: Run, server: Run, api_of: Run, script: Run, spooled: Callable[[], list[Path]]
) -> None:
    redis = redis_server(requirepass="hush")
    store = redis.url.replace("//", "//:hush@")
    redis.kill()
    run = script(WORK, store)
    assert run.hear() == "half"
    run.go()
    assert run.end() == 0
    (file,) = spooled()
    assert "hush" not in file.read_text() + run.stderr

    redis.start()
    api = api_of(server("--store", store).url)
    script("wait_for_go() if Reporter('next') else None", store)

    check_work(api)


def test_a_redis_killed_midway_loses_nothing_of_what_was_said(
    redis_server: Run, server: Run, api_of: Run, script: Run
) -> None:
    redis = redis_server(appendonly=True, appendfsync="always")
    api = api_of(server("--store", redis.url).url)
    run = script(WORK, redis.url)
    assert run.hear() == "half"
    api.wait("work", is_half)

    redis.kill()
    run.go()
    assert run.hear() == "over"
    redis.start()

    assert run.end() == 0
    script("wait_for_go() if Reporter('next') else None", redis.url)
    check_work(api)


def test_a_url_that_is_none_reports_nothing_and_does_no_harm(script: Run) -> None:
    run = script("for _ in track(range(3)): pass", "redis://:hush@host:port/0")

    assert run.end() == 0
    assert "hush" not in run.stderr

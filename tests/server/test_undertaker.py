"""What is lost for longer than its reporter has asked to be waited for has failed."""

from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Callable, Iterator

import pytest

from socketprogress.core.status import Status
from socketprogress.server.runtime import ThreadingRuntime
from socketprogress.server.undertaker import Undertaker
from tests.core.bench import Bench

NOBODY = 65_534
WAIT_S = 30.0


@pytest.fixture
def bench() -> Bench:
    """A hub with a task that may be silent for 10 seconds, and lost for 60."""
    one = Bench()
    one.start("a", source="celery", lease_s=10.0, abandon_s=60.0)
    return one


def look(bench: Bench, undertaker: Undertaker, after_s: float) -> None:
    """Let time pass, and have housekeeping look."""
    bench.clock.advance(after_s)
    bench.hub.sweep()
    undertaker.sweep()
    bench.store.written()


def test_what_is_lost_for_too_long_has_failed(bench: Bench) -> None:
    undertaker = Undertaker(bench.hub, ThreadingRuntime(), bench.clock)
    look(bench, undertaker, 11)
    look(bench, undertaker, 60)
    assert bench.hub.get("a").status is Status.LOST

    look(bench, undertaker, 1)

    end = bench.hub.get("a")
    assert end.error is not None
    assert (end.status, end.error.code, end.elapsed_s) == (Status.FAILED, "worker_lost", 11.0)


def test_what_is_heard_again_is_not_given_up(bench: Bench) -> None:
    undertaker = Undertaker(bench.hub, ThreadingRuntime(), bench.clock)
    for _ in range(5):
        look(bench, undertaker, 50)
        assert bench.hub.get("a").status is Status.LOST
        bench.hub.heard("a")
        look(bench, undertaker, 1)

    assert bench.hub.get("a").status is Status.IN_PROGRESS


def test_who_has_asked_for_no_limit_is_waited_for(bench: Bench) -> None:
    bench.start("late", source="celery", lease_s=10.0)
    undertaker = Undertaker(bench.hub, ThreadingRuntime(), bench.clock)
    for _ in range(3):
        look(bench, undertaker, 10_000)

    assert bench.hub.get("late").status is Status.LOST


@pytest.fixture
def sleeper() -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    """A function that begins a process, of another user if one is named."""
    begun: list[subprocess.Popen[bytes]] = []

    def begin(user: int | None = None) -> subprocess.Popen[bytes]:
        begun.append(subprocess.Popen(["/bin/sleep", "600"], user=user, cwd="/"))
        return begun[-1]

    yield begin
    for one in begun:
        one.kill()
        one.wait()


def after_its_death(bench: Bench, process: subprocess.Popen[bytes]) -> Status:
    """Return what becomes of a task whose process is seen, and dies."""
    bench.start("b", source="report", host=socket.gethostname(), pid=process.pid, lease_s=10.0)
    undertaker = Undertaker(bench.hub, ThreadingRuntime(), bench.clock)
    look(bench, undertaker, 1)
    process.kill()
    process.wait(WAIT_S)
    look(bench, undertaker, 11)
    look(bench, undertaker, 1)
    return bench.hub.get("b").status


def test_a_task_whose_process_has_died_has_failed(
    bench: Bench, sleeper: Callable[..., subprocess.Popen[bytes]]
) -> None:
    assert after_its_death(bench, sleeper()) is Status.FAILED


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can begin another user's process")
def test_another_users_process_may_have_left_an_end_where_nobody_here_can_see_it(
    bench: Bench, sleeper: Callable[..., subprocess.Popen[bytes]]
) -> None:
    assert after_its_death(bench, sleeper(NOBODY)) is Status.LOST

"""Task functions for the servers that are measured."""

from __future__ import annotations

import time

from socketprogress import Reporter, task


@task
def burn(seconds: float = 8.0) -> int:
    """Uses a core in pure Python, in a worker process."""
    end, rounds = time.monotonic() + seconds, 0
    while time.monotonic() < end:
        rounds += 1
    return rounds


@task(executor="thread")
def burn_thread(seconds: float = 8.0) -> int:
    """Uses a core in pure Python, in a thread beside the server."""
    return burn(seconds)


@task
def sleeper(progress: Reporter, seconds: float = 9.0, hz: float = 20.0) -> None:
    """Reports at a steady pace."""
    for _ in progress.track(range(int(seconds * hz))):
        time.sleep(1 / hz)


@task(executor="thread")
def storm_thread(progress: Reporter, seconds: float = 10.0) -> None:
    """Reports as fast as it can, in a thread that lets others take turns."""
    progress.total = 10**9
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        progress.advance()
        progress.message = f"at {progress.current}"
        time.sleep(0)


@task
def storm(progress: Reporter, seconds: float = 10.0) -> None:
    """Reports as fast as it can, in a worker process."""
    progress.total = 10**9
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        progress.advance()
        progress.message = f"at {progress.current}"


@task(executor="hub")
def across(progress: Reporter, seconds: float = 10.0, hz: float = 20.0) -> None:
    """Reports at a steady pace, stamped with the time, on the server's own loop."""
    import eventlet  # noqa: PLC0415 - a worker process needs none

    last, began = round(seconds * hz), time.monotonic()
    progress.total = last
    for step in range(1, last + 1):
        eventlet.sleep(max(began + step / hz - time.monotonic(), 0))
        progress.current, progress.message = step, str(time.monotonic())

"""A task that a worker process can import by name."""

from __future__ import annotations

import time

from socketprogress import Reporter, task


@task
def imported(progress: Reporter, number: int = 5) -> int:
    for _ in progress.track(range(number)):
        time.sleep(0.02)
    return number

"""Whoever holds up the loop is named in the log."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from watchers import Client

JOBS = Path(__file__).with_name("stalling_jobs.py")


@pytest.mark.parametrize("mode", ["eventlet", "gevent"])
def test_a_standstill_of_the_loop_is_logged_with_its_stack(
    server: Callable[..., Any], mode: str
) -> None:
    # Given a task on the loop that sleeps as threads do
    running = server("--tasks", str(JOBS), mode=mode)
    with Client(running.url) as client:
        # When it runs
        assert client.run("standstill")["status"] == "completed"
    running.stop()
    # Then the log has the line that stood still, and the task has ended well all the same
    assert "the loop has stood still" in running.stderr
    assert "time.sleep(1.5)" in running.stderr

"""Rows that move together come to a page in one message; what is quiet goes on in time alone."""

from __future__ import annotations

import re
import time
from typing import Any

import pytest
import socketio
from playwright.sync_api import expect

pytestmark = pytest.mark.browser

ROWS = 8
BATCH = '42["progress_updates",'


def test_rows_that_move_together_share_a_message(visitor: Any, web: Any) -> None:
    # Given a list with tasks on the screen, and a note of each message to it
    page = visitor.context().new_page()
    heard: list[str] = []
    page.on(
        "websocket",
        lambda socket: socket.on("framereceived", lambda frame: heard.append(str(frame))),
    )
    with socketio.SimpleClient() as reporter:
        reporter.connect(web.url)
        ids = [
            reporter.call("open_task", {"name": f"row {n}", "total": 100})["task_id"]
            for n in range(ROWS)
        ]
        page.goto(web.url)
        bars = page.locator('#tasks [role="progressbar"]')
        expect(bars).to_have_count(ROWS)

        # When all move, time and again
        for beat in range(1, 40):
            reports = [
                {"task_id": i, "current": beat + n, "reporter_seq": beat} for n, i in enumerate(ids)
            ]
            assert reporter.call("report", reports)["errors"] == []
            page.wait_for_timeout(25)

        # Then several came in one message, and every row has its own number
        for n, task_id in enumerate(ids):
            row = page.locator(f'[data-task-id="{task_id}"] [role="progressbar"]')
            expect(row).to_have_attribute("aria-valuenow", str(39 + n))
        assert any(frame.startswith(BATCH) for frame in heard)


def test_the_time_of_a_quiet_task_passes_once(visitor: Any, web: Any) -> None:
    # Given a task of which nothing has been heard for some seconds
    with socketio.SimpleClient() as reporter:
        reporter.connect(web.url)
        opened = time.monotonic()
        reporter.call("open_task", {"name": "quiet", "task_id": "quiet", "total": 10})
        reporter.call("report", {"task_id": "quiet", "current": 3, "reporter_seq": 1})
        time.sleep(5)

        # Then a page that is opened now shows as much as has passed, and no more as it ticks
        page = visitor.open(f"{web.url}/tasks/quiet")
        elapsed = page.locator('[data-part="elapsed"]').first
        expect(elapsed).to_have_text(re.compile(r"^[5-9] s|^\d\d s"))
        page.wait_for_timeout(2500)
        shown = int((elapsed.text_content() or "").split()[0])
        assert 6 <= shown <= time.monotonic() - opened + 1

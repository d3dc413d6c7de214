"""A list of many rows that move at once: few of them a frame, and nothing laid out around them."""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import pytest
import socketio
from playwright.sync_api import expect

pytestmark = pytest.mark.browser

ROWS = 150
A_FRAME = 100
BEATS = 25
BEAT_MS = 50
NOTE_BATCHES = """() => {
  let frame = 0;
  const count = () => requestAnimationFrame(() => { frame += 1; count(); });
  count();
  window.batches = [];
  new MutationObserver((seen) => {
    const rows = new Set(seen.map((change) => change.target));
    window.batches.push({ frame, rows: rows.size });
  }).observe(document.getElementById("tasks"), { subtree: true, attributeFilter: ["aria-valuenow"] });
}"""


class Mover:
    """Tasks that move together, in a page where all of them are on the screen."""

    def __init__(self, page: Any, reporter: socketio.SimpleClient, ids: list[str]) -> None:
        self.page = page
        self._reporter = reporter
        self._ids = ids
        self._beat = 0

    def move(self, beats: int) -> None:
        """Move every task this often."""
        for _ in range(beats):
            self._beat += 1
            reports = [
                {"task_id": i, "current": self._beat, "reporter_seq": self._beat} for i in self._ids
            ]
            assert self._reporter.call("report", reports)["errors"] == []
            self.page.wait_for_timeout(BEAT_MS)

    def arrive(self) -> None:
        """Wait until every row shows where its task is."""
        expect(self.page.locator(f'#tasks [aria-valuenow="{self._beat}"]')).to_have_count(ROWS)


@pytest.fixture
def mover(visitor: Any, fresh_web: Any) -> Iterator[Mover]:
    """A tall window with many rows, each of which has moved once."""
    web = fresh_web()
    with socketio.SimpleClient() as reporter:
        reporter.connect(web.url)
        ids = [f"row-{n}" for n in range(ROWS)]
        for task_id in ids:
            reporter.call("open_task", {"name": "row", "task_id": task_id, "total": 100})
        page = visitor.open(web.url, viewport={"width": 1280, "height": 125 * ROWS})
        page.get_by_text("live", exact=True).wait_for()
        moving = Mover(page, reporter, ids)
        moving.move(1)
        moving.arrive()
        yield moving


def test_a_frame_paints_some_of_many_rows_and_the_next_ones_the_rest(mover: Mover) -> None:
    # Given a note of the rows that are painted in a frame
    page = mover.page
    page.evaluate(NOTE_BATCHES)

    # When all of them move, time and again
    mover.move(BEATS)

    # Then no frame had more than its part, and every row arrived
    mover.arrive()
    batches = page.evaluate("window.batches")
    assert max(batch["rows"] for batch in batches) == A_FRAME

    # And after one that had left some the next came mostly not right after it: a rest is shorter than a frame
    # of a busy machine
    rests = [
        after["frame"] - before["frame"]
        for before, after in pairwise(batches)
        if before["rows"] == A_FRAME
    ]
    assert statistics.median(rests) > 1


def test_a_row_that_moves_is_laid_out_alone(mover: Mover) -> None:
    # Given a trace of the browser's work
    page = mover.page
    elements = page.evaluate("document.querySelectorAll('#tasks *').length")
    browser = page.context.browser
    browser.start_tracing(page=page, categories=["devtools.timeline"])

    # When all rows move
    mover.move(BEATS)
    mover.arrive()

    # Then what was laid out were parts of rows, and never the list
    events = json.loads(browser.stop_tracing())["traceEvents"]
    begun = [event["args"]["beginData"] for event in events if event["name"] == "Layout"]
    assert begun
    assert max(layout["totalObjects"] for layout in begun) < elements / 2

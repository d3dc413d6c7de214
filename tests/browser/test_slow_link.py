"""A page over a slow link: it never falls further and further behind, and it sees the end."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.sync_api import expect
from slowlink import SlowLink

pytestmark = pytest.mark.browser

MOST_WAITING = 6_144
WATCH = """() => {
  window.shown = [];
  const bar = document.querySelector('[role="progressbar"]');
  new MutationObserver(() => window.shown.push(Number(bar.getAttribute("aria-valuenow"))))
    .observe(bar, { attributes: true, attributeFilter: ["aria-valuenow"] });
}"""


def test_a_page_over_a_slow_link_never_queues_up(visitor: Any, web: Any) -> None:
    with SlowLink(web.url, bits_per_s=20e6, delay_s=0.0) as link:
        # Given the page of a task that says more than the link is to carry
        task_id = web.start("steady", args={"total": 300, "hz": 20})
        page = visitor.open(f"{link.url}/tasks/{task_id}")
        expect(page.get_by_text("live", exact=True)).to_be_visible()
        page.evaluate(WATCH)

        # When the link becomes slow
        link.throttle(bits_per_s=50_000, delay_s=0.4)
        page.wait_for_function("() => window.shown.at(-1) > 30")
        link.most_waiting = 0
        task = page.locator("#task")
        expect(task).to_have_attribute("data-status", "completed", timeout=90_000)

        # Then hardly anything waited on the way, and the page shows the end and the whole log
        assert link.most_waiting <= MOST_WAITING
        shown = page.evaluate("window.shown")
        assert shown == sorted(set(shown))
        assert shown[-1] == 100
        expect(page.get_by_role("region", name="Log")).to_contain_text("line 299 of")
        page.close()

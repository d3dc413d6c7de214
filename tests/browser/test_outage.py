"""The server dies and comes back: the pages say so, and recover by themselves."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.sync_api import expect

pytestmark = pytest.mark.browser


def test_open_pages_survive_a_killed_server(
    visitor: Any, fresh_web: Any, any_main_mode: str
) -> None:
    # Given the list and the pages of a running and of an ended task
    visitor.expect("WebSocket connection", "ERR_CONNECTION_REFUSED", "ERR_CONNECTION_RESET")
    visitor.expect("log could not be fetched")
    web = fresh_web(mode=any_main_mode)
    web.ended(web.start("add", title="Ended before"))
    running = web.start("hold", title="Killed with its server")
    listing, task = visitor.open(web.url), visitor.open(f"{web.url}/tasks/{running}")
    for page in (listing, task):
        expect(page.get_by_role("progressbar").first).to_have_attribute("aria-valuenow", "50")
        expect(page.get_by_text("live", exact=True)).to_be_visible()

    # When the server is killed
    web.process.kill()

    # Then the pages say so, and what needs a connection says that nothing was sent
    for page in (listing, task):
        expect(page.get_by_text("reconnecting", exact=True)).to_be_visible()
        expect(page.locator("#offline")).to_contain_text("Disconnected from the server.")
    listing.get_by_role("form", name="Add").get_by_role("button", name="Start").click()
    expect(listing.get_by_role("form", name="Add")).to_contain_text("nothing was sent")

    # When it is started again
    web.process.start()

    # Then they recover by themselves, and show what is true now
    for page in (listing, task):
        expect(page.get_by_text("live", exact=True)).to_be_visible()
        expect(page.locator("#offline")).to_be_hidden()
        expect(page.get_by_role("main")).to_contain_text("failed")
    row = listing.get_by_role("listitem").filter(has_text="Killed with its server")
    expect(row).to_contain_text("failed")
    expect(listing.get_by_role("link", name="failed")).to_have_text("failed 1")
    expect(listing.get_by_role("link", name="in progress")).to_have_text("in progress 0")
    expect(listing.get_by_role("listitem").filter(has_text="Ended before")).to_contain_text(
        "completed"
    )
    expect(task.get_by_role("region", name="Error")).to_contain_text("worker_lost")
    expect(task.get_by_role("region", name="Log")).to_contain_text("holding")

    # And they are as live as before
    listing.get_by_role("form", name="Add").get_by_role("button", name="Start").click()
    expect(listing.get_by_role("listitem").filter(has_text="Add 1")).to_contain_text("completed")
    task.get_by_role("button", name="Retry").click()
    task.wait_for_url(lambda url: running not in url)
    expect(task.get_by_role("progressbar").first).to_have_attribute("aria-valuenow", "50")


def test_a_silent_reporter_looks_lost_and_not_disconnected(visitor: Any, web: Any) -> None:
    # Given work elsewhere that has reported once, with a short lease
    page = visitor.open(web.url)
    expect(page.get_by_text("live", exact=True)).to_be_visible()
    task = {"name": "nightly", "title": "Nightly export", "total": 100, "lease_s": 1}
    web.put("/api/tasks/nightly-1", {**task, "current": 42})
    row = page.get_by_role("listitem").filter(has_text="Nightly export")

    # When nothing more is heard of it, its task is lost and says for how long
    expect(row).to_contain_text("lost")
    expect(row.locator("[data-part=eta]")).to_contain_text("ago")
    expect(page.get_by_text("live", exact=True)).to_be_visible()
    page.get_by_role("link", name="Nightly export").click()
    expect(page.get_by_text("Nothing has been heard from its worker")).to_be_visible()

    # And in progress again when it reports
    web.put("/api/tasks/nightly-1", {"current": 60})
    expect(page.get_by_role("progressbar").first).to_have_attribute("aria-valuenow", "60")
    expect(page.get_by_text("Nothing has been heard from its worker")).to_be_hidden()
    web.put("/api/tasks/nightly-1", {"status": "completed"})
    expect(page.get_by_role("main")).to_contain_text("completed")

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
    expect(row.locator("[data-part=eta]")).to_contain_text("no news for ")
    expect(page.get_by_text("live", exact=True)).to_be_visible()
    page.get_by_role("link", name="Nightly export").click()
    expect(page.get_by_text("Nothing has been heard from its worker")).to_be_visible()

    # And in progress again when it reports
    web.put("/api/tasks/nightly-1", {"current": 60})
    expect(page.get_by_role("progressbar").first).to_have_attribute("aria-valuenow", "60")
    expect(page.get_by_text("Nothing has been heard from its worker")).to_be_hidden()
    web.put("/api/tasks/nightly-1", {"status": "completed"})
    expect(page.get_by_role("main")).to_contain_text("completed")


SLEEP = """() => {
  const now = Date.now;
  Date.now = () => now() + 60_000;
  document.dispatchEvent(new Event("visibilitychange"));
}"""
COUNT_SENT = """
window.sent = [];
const send = WebSocket.prototype.send;
WebSocket.prototype.send = function (data) {
  window.sent.push(String(data));
  return send.call(this, data);
};
"""


def test_a_page_that_was_asleep_asks_at_once_and_watches_again(visitor: Any, web: Any) -> None:
    # Given a live page
    puppet = web.puppet("Goes on in the night")
    puppet.does(total=4, current=1)
    context = visitor.context()
    context.add_init_script(COUNT_SENT)
    page = context.new_page()
    page.goto(puppet.url)
    expect(page.get_by_role("progressbar").first).to_have_attribute("aria-valuenow", "25")
    expect(page.get_by_text("live", exact=True)).to_be_visible()
    expect(page.locator("#log-none")).to_be_visible()
    page.evaluate("() => { window.sent.length = 0; }")

    # When a minute has passed for it without a single timer
    page.evaluate(SLEEP)

    # Then it asks whether its connection lives, and watches again from what it knows
    for wanted in ('"list_tasks",{"limit":1}', '"watch_task",{"task_id":'):
        for _ in range(100):
            if any(wanted in text for text in page.evaluate("window.sent")):
                break
            page.wait_for_timeout(50)
        assert any(wanted in text for text in page.evaluate("window.sent")), wanted


def test_a_connection_that_died_in_a_sleep_is_replaced_when_the_page_wakes(
    visitor: Any, web: Any
) -> None:
    # Given a page whose connection has died without a word
    visitor.expect("log could not be fetched")
    puppet = web.puppet("Out of sight")
    puppet.does(total=4, current=1)
    context = visitor.context()
    sockets: list[Any] = []
    dead: list[Any] = []

    def join(socket: Any) -> None:
        upstream = socket.connect_to_server()
        sockets.append(socket)
        socket.on_message(lambda message: socket in dead or upstream.send(message))
        upstream.on_message(lambda message: socket in dead or socket.send(message))

    context.route_web_socket("**/*", join)
    page = context.new_page()
    page.goto(puppet.url)
    bar = page.get_by_role("progressbar").first
    expect(page.get_by_text("live", exact=True)).to_be_visible()
    expect(bar).to_have_attribute("aria-valuenow", "25")
    dead.extend(sockets)
    puppet.does(current=2)
    puppet.reaches(2)
    expect(bar).to_have_attribute("aria-valuenow", "25")

    # When the page wakes
    page.evaluate("document.dispatchEvent(new Event('resume'))")

    # Then it takes a new one by itself, long before a ping would have failed
    expect(bar).to_have_attribute("aria-valuenow", "50")
    expect(page.get_by_text("live", exact=True)).to_be_visible()
    assert len(sockets) == 2

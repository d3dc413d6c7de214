"""One task's page: its log as it is written, how it ended, and what is said aloud."""

from __future__ import annotations

import re
from typing import Any

import pytest
from playwright.sync_api import expect

pytestmark = pytest.mark.browser

AT_THE_END = """() => {
  const log = document.getElementById("log");
  const end = document.getElementById("log-end").getBoundingClientRect();
  return end.bottom <= log.getBoundingClientRect().bottom + 24;
}"""
LISTEN = """() => {
  window.said = [];
  for (const id of ["announcer", "failure"]) {
    const box = document.getElementById(id);
    new MutationObserver(() => box.textContent && window.said.push(box.textContent))
      .observe(box, { childList: true, characterData: true, subtree: true });
  }
}"""


def bar(page: Any) -> Any:
    """Return the task's own progressbar, which is the page's first."""
    return page.get_by_role("progressbar").first


def log_lines(page: Any) -> list[str]:
    """Return the lines of the log."""
    return str(page.locator("#log-lines").text_content()).splitlines()


def test_past_runs_say_how_long_is_left_and_when_it_takes_longer(visitor: Any, web: Any) -> None:
    # Given three runs that were over at once, and a fourth that does not end
    for number in range(3):
        web.put(f"/api/tasks/past-{number}", {"title": "Tidy", "status": "completed"})
    web.put("/api/tasks/long", {"title": "Tidy", "current": 1, "lease_s": 600})
    assert web.get("/api/tasks/long")["eta_high_s"] is not None

    # When its page is looked at without any further news of it
    page = visitor.open(f"{web.url}/tasks/long")

    # Then the time that is left runs out there by itself
    expect(page.locator('#task [data-part="eta"]')).to_have_text("longer than usual")
    expect(bar(page)).to_have_attribute("aria-valuetext", "in progress, longer than usual")
    web.put("/api/tasks/long", {"status": "completed"})
    expect(page.locator('#task [data-part="eta"]')).to_have_text("")


def test_the_log_is_followed_until_the_reader_scrolls_up(visitor: Any, web: Any) -> None:
    # Given a page that follows a log longer than its box
    puppet = web.puppet("Chatty")
    puppet.does(log=[f"line {number}" for number in range(100)])
    page = visitor.open(puppet.url, viewport={"width": 800, "height": 2000})
    log = page.get_by_role("region", name="Log")
    expect(log).to_contain_text("line 99")
    page.wait_for_function(AT_THE_END)
    puppet.does(log=["one more"])
    expect(log).to_contain_text("one more")
    page.wait_for_function(AT_THE_END)
    latest = page.get_by_role("button", name="Jump to latest")
    expect(latest).to_be_hidden()

    # When the reader scrolls up while lines come in
    log.hover()
    page.mouse.wheel(0, -600)
    expect(latest).to_be_visible()
    top = page.evaluate("document.getElementById('log').scrollTop")
    puppet.does(log=[f"later {number}" for number in range(50)])
    expect(log).to_contain_text("later 49")

    # Then it stays where the reader is, until asked to go to the end and on from there
    assert not page.evaluate(AT_THE_END)
    assert page.evaluate("document.getElementById('log').scrollTop") <= top
    latest.click()
    page.wait_for_function(AT_THE_END)
    expect(latest).to_be_hidden()
    puppet.does(log=["the newest"])
    expect(log).to_contain_text("the newest")
    page.wait_for_function(AT_THE_END)


def test_a_long_log_starts_with_its_tail_and_gives_the_rest_on_demand(
    visitor: Any, web: Any
) -> None:
    puppet = web.puppet("Long")
    for piece in range(3):
        lines = [f"line {number}" for number in range(piece * 300, piece * 300 + 300)]
        puppet.does(log=lines, current=piece + 1)
        puppet.reaches(piece + 1)
    puppet.ends()
    page = visitor.open(puppet.url)
    expect(page.get_by_text("live", exact=True)).to_be_visible()
    assert log_lines(page)[-1] == "line 899"
    assert log_lines(page)[0] != "line 0"

    page.get_by_role("button", name="Earlier lines").click()

    page.wait_for_function(
        "() => document.getElementById('log-lines').textContent.startsWith('line 0')"
    )
    assert log_lines(page) == [f"line {number}" for number in range(900)]
    expect(page.get_by_role("button", name="Earlier lines")).to_be_hidden()


def test_lines_written_while_the_page_was_offline_are_filled_in(visitor: Any, web: Any) -> None:
    # Given a page that loses its network
    visitor.expect("ERR_INTERNET_DISCONNECTED", "log could not be fetched")
    puppet = web.puppet("Goes on")
    puppet.does(log=["before"])
    context = visitor.context()
    cut = {"off": False}
    sockets: list[Any] = []

    def join(socket: Any) -> None:
        upstream = socket.connect_to_server()
        sockets.append(socket)
        socket.on_message(lambda message: cut["off"] or upstream.send(message))
        upstream.on_message(lambda message: cut["off"] or socket.send(message))

    context.route_web_socket("**/*", join)
    page = context.new_page()
    page.goto(puppet.url)
    expect(page.get_by_role("region", name="Log")).to_contain_text("before")
    expect(page.get_by_text("live", exact=True)).to_be_visible()

    # When lines are written that it does not hear of, and then the connection is gone and back
    cut["off"] = True
    puppet.does(log=[f"meanwhile {number}" for number in range(30)], current=7)
    puppet.reaches(7)
    cut["off"] = False
    sockets[-1].close()

    # Then every line is there, once, and those that follow too
    expect(page.get_by_role("region", name="Log")).to_contain_text("meanwhile 29")
    puppet.does(log=["after"])
    expect(page.get_by_role("region", name="Log")).to_contain_text("after")
    assert log_lines(page) == ["before", *(f"meanwhile {n}" for n in range(30)), "after"]


def test_a_failed_task_shows_its_error_and_its_traceback(visitor: Any, web: Any) -> None:
    puppet = web.puppet("Doomed")
    puppet.does(total=4, current=1)
    page = visitor.open(puppet.url)
    expect(bar(page)).to_have_attribute("aria-valuenow", "25")

    puppet.does(fail="no row 301")

    error = page.get_by_role("region", name="Error")
    expect(error).to_contain_text("exception ValueError: no row 301")
    trace = error.get_by_role("region", name="Traceback")
    expect(trace).to_be_hidden()
    error.get_by_text("Traceback", exact=True).click()
    expect(trace).to_contain_text("ValueError: no row 301")
    log = page.get_by_role("region", name="Log")
    expect(log).to_contain_text("Traceback (most recent call last):")
    expect(log).to_contain_text("ValueError: no row 301")
    expect(page.get_by_role("alert").filter(has_text="Doomed: failed")).to_have_count(1)
    expect(bar(page)).to_have_attribute("aria-valuenow", "25")
    expect(page.get_by_role("button", name="Retry")).to_be_visible()
    expect(page).to_have_title("failed · Doomed")


def test_result_files_and_steps_are_there_when_it_ends_and_when_it_is_loaded(
    visitor: Any, web: Any
) -> None:
    # Given a page of a task with steps
    puppet = web.puppet("Stepwise", task="stepped")
    page = visitor.open(puppet.url)
    steps = page.get_by_role("region", name="Steps").get_by_role("listitem")
    puppet.does(step="Scan", total=2)
    puppet.does(current=1)
    expect(steps.nth(0)).to_contain_text("in progress")
    puppet.does(step="Pack", total=4)
    expect(steps.nth(0)).to_contain_text("completed")
    puppet.does(current=2)
    expect(steps.nth(1)).to_contain_text("50%")
    expect(steps.nth(1)).to_have_attribute("aria-current", "step")
    expect(steps.nth(2)).to_contain_text("queued")

    # When it ends
    puppet.does(file={"report one.txt": "all is well"})
    puppet.ends(end={"files": 812})

    # Then result and files are there, at once and after loading the page anew
    for _ in range(2):
        expect(page.locator("#result-text")).to_have_text('{\n  "files": 812\n}')
        with page.expect_download() as download:
            page.get_by_role("link", name="report one.txt").click()
        assert download.value.path().read_text() == "all is well"
        assert download.value.suggested_filename == "report one.txt"
        for place in range(3):
            expect(steps.nth(place)).to_contain_text("completed")
        page.reload()


def test_cancelling_names_the_task_before_anything_has_come(visitor: Any, web: Any) -> None:
    puppet = web.puppet("Not heard of yet")
    context = visitor.context()
    context.route_web_socket("**/socket.io/**", lambda _socket: None)  # which never answers
    page = context.new_page()
    page.goto(puppet.url)

    page.get_by_role("button", name="Cancel").click()

    dialog = page.get_by_role("dialog", name="Cancel this task?")
    expect(dialog).to_contain_text("Not heard of yet")
    puppet.ends()


def test_an_unknown_total_is_an_indeterminate_bar(visitor: Any, web: Any) -> None:
    puppet = web.puppet("Who knows")
    puppet.does(current=3, unit="file", message="looking")
    pages = [
        visitor.open(puppet.url),
        visitor.open(puppet.url, java_script_enabled=False),
        visitor.open(web.url),
    ]

    for page in pages:
        own = page.get_by_role("progressbar", name="Who knows")
        expect(own).to_have_attribute("aria-valuetext", "in progress")
        assert own.get_attribute("aria-valuenow") is None
    expect(pages[0].get_by_role("main")).to_contain_text("3 files")

    puppet.ends()
    for page in (pages[0], pages[2]):
        own = page.get_by_role("progressbar", name="Who knows")
        expect(own).to_have_attribute("aria-valuenow", "100")
        assert own.get_attribute("data-indeterminate") is None


def test_the_window_and_the_live_region_tell_of_milestones_once(visitor: Any, web: Any) -> None:
    # Given a page that is listened to
    puppet = web.puppet("Told")
    puppet.does(total=100, current=1)
    page = visitor.open(puppet.url)
    expect(bar(page)).to_have_attribute("aria-valuenow", "1")
    page.evaluate(LISTEN)

    # When the task moves in many small steps past a quarter, and ends
    for current in range(2, 30):
        puppet.does(current=current)
    expect(bar(page)).to_have_attribute("aria-valuenow", "29")
    expect(page).to_have_title("29% · Told")
    puppet.ends()
    expect(bar(page)).to_have_attribute("aria-valuenow", "100")
    expect(page).to_have_title("completed · Told")

    # Then the quarter and the end were said, once each, and the bar itself is no live region
    said = page.evaluate("window.said")
    assert [text.split(",")[0] for text in said] == ["25%", "Told: completed"]
    assert bar(page).get_attribute("aria-live") is None


def test_elapsed_time_is_right_for_those_who_come_late(visitor: Any, web: Any) -> None:
    # Given a task that said its last word a second ago
    puppet = web.puppet("Silent for long")
    puppet.does(total=10, current=1, unit="row")
    first = visitor.open(puppet.url)
    elapsed = first.locator("[data-part=elapsed]")
    first.wait_for_function(
        "() => parseFloat(document.querySelector('[data-part=elapsed]').textContent) >= 1"
    )

    # Then it is as old for whoever comes now, however that is
    for script in (True, False):
        late = visitor.open(puppet.url, java_script_enabled=script)
        assert float(str(late.locator("[data-part=elapsed]").text_content()).split()[0]) >= 1
    expect(elapsed).to_be_visible()


def test_an_end_that_came_while_the_page_was_loading_is_news(visitor: Any, web: Any) -> None:
    # Given a task that fails after its page was rendered and before its script runs
    puppet = web.puppet("Quick to fail")
    puppet.does(total=4, current=1)
    puppet.reaches(1)
    context = visitor.context()

    def fail_first(route: Any) -> None:
        puppet.ends(fail="no good")
        route.continue_()

    context.route("**/task-page.js*", fail_first)
    page = context.new_page()

    page.goto(puppet.url)

    expect(page.get_by_role("alert").filter(has_text="Quick to fail: failed")).to_have_count(1)
    expect(page.get_by_role("region", name="Error")).to_contain_text("no good")
    expect(page.get_by_role("region", name="Log")).to_contain_text("Traceback")


def test_a_dialog_that_is_opened_anew_at_once_still_cancels(visitor: Any, web: Any) -> None:
    # Given a dialog whose closing the page has not heard of when it opens again
    task_id = web.start("hold", title="Wavering")
    page = visitor.open(f"{web.url}/tasks/{task_id}")
    expect(page.get_by_text("live", exact=True)).to_be_visible()
    page.evaluate(
        """() => {
          const cancel = document.querySelector("[data-action=cancel] button");
          cancel.click();
          document.getElementById("cancel-dialog").close();
          cancel.click();
        }"""
    )

    page.get_by_role("button", name="Cancel the task").click()

    expect(page.get_by_role("article")).to_contain_text("cancelled")


def test_what_failed_is_copied_whole(visitor: Any, web: Any) -> None:
    # Given a task that has failed
    puppet = web.puppet("To be reported")
    puppet.ends(fail="no row 301")
    context = visitor.context(permissions=["clipboard-read", "clipboard-write"])
    page = context.new_page()
    page.goto(puppet.url)

    # When its error is copied
    page.get_by_role("button", name="Copy the error").click()
    expect(page.get_by_role("status")).to_have_text("Copied")

    # Then that is the cause and the traceback
    copied = str(page.evaluate("navigator.clipboard.readText()")).splitlines()
    assert copied[0] == "exception ValueError: no row 301"
    assert copied[1] == "Traceback (most recent call last):"
    assert copied[-1] == "ValueError: no row 301"


def test_a_page_is_shared_by_its_address(visitor: Any, web: Any) -> None:
    # Given a task's page
    puppet = web.puppet("Shared")
    context = visitor.context(permissions=["clipboard-read", "clipboard-write"])
    page = context.new_page()
    page.goto(puppet.url)
    expect(page.get_by_text("live", exact=True)).to_be_visible()

    # When it is shared
    page.get_by_role("button", name="Share").click()

    # Then a dialog has its address, says that it leads nowhere from a phone, and copies it
    dialog = page.get_by_role("dialog", name="Share")
    expect(dialog.get_by_label("Address of this page")).to_have_value(puppet.url)
    expect(dialog.get_by_text("from this machine only")).to_be_visible()
    expect(dialog.get_by_role("img")).to_have_count(0)
    dialog.get_by_role("button", name="Copy link").click()
    expect(page.get_by_role("status")).to_have_text("Copied")
    assert page.evaluate("navigator.clipboard.readText()") == puppet.url
    dialog.get_by_role("button", name="Close").click()
    expect(page.get_by_role("button", name="Share")).to_be_focused()


def page_under(name: str, visitor: Any, web: Any, url: str) -> Any:
    """Open a page of a server under another name than the one that it is reached by."""
    visitor.expect("WebSocket connection", "Cross-Origin-Opener-Policy", "ERR_FAILED")
    page = visitor.context().new_page()

    def resolve(asked: Any) -> None:
        there = asked.request.url.replace(name, web.url)
        asked.fulfill(response=asked.fetch(url=there, headers={"accept": "*/*"}))

    page.route(f"{name}/**", resolve)
    page.route(f"{name}/socket.io/**", lambda asked: asked.abort())
    page.goto(url.replace(web.url, name))
    return page


def test_an_address_that_others_can_reach_is_shared_by_qr_code(visitor: Any, web: Any) -> None:
    page = page_under("http://tasks.example", visitor, web, web.puppet("Shared").url)

    page.get_by_role("button", name="Share").click()

    dialog = page.get_by_role("dialog", name="Share")
    image = dialog.get_by_role("img", name="QR code of this page's address")
    expect(image).to_have_js_property("complete", True)
    assert image.evaluate("(it) => it.naturalWidth") > 100
    expect(dialog.get_by_text("from this machine only")).to_be_hidden()


@pytest.mark.parametrize("name", ["http://0.0.0.0:8765", "http://[::]:8765"])
def test_an_address_that_is_none_for_others_has_no_qr_code(
    visitor: Any, web: Any, name: str
) -> None:
    # Given what a server prints that listens everywhere
    page = page_under(name, visitor, web, web.puppet("Everywhere").url)

    page.get_by_role("button", name="Share").click()

    dialog = page.get_by_role("dialog", name="Share")
    expect(dialog.get_by_text("from this machine only")).to_be_visible()
    expect(dialog.get_by_role("img")).to_have_count(0)


def test_the_rate_of_the_last_minute_is_drawn(visitor: Any, web: Any) -> None:
    # Given a page of a task that moves on
    puppet = web.puppet("Moves on")
    puppet.does(total=1_000_000, current=1, unit="row")
    page = visitor.open(puppet.url)
    drawing = page.get_by_role("img", name="Last 60 s")

    # When it has moved for some seconds
    for current in range(2, 2_000):
        puppet.does(current=current)
        if current % 20 == 0 and drawing.is_visible():
            break
        page.wait_for_timeout(20)

    # Then its rates are a line, and the highest is said
    expect(drawing).to_be_visible()
    expect(page.locator("#spark-line")).to_have_attribute("d", re.compile(r"^M\S+ \S+L"))
    expect(page.locator("#spark-label")).to_have_text(re.compile(r"^Last 60 s, up to .+ rows/s$"))


def test_children_come_and_move_on_their_parents_page(visitor: Any, web: Any) -> None:
    # Given the page of a task without children
    web.put("/api/tasks/group", {"name": "group", "title": "All of it", "host": "a-host"})
    page = visitor.open(f"{web.url}/tasks/group")
    expect(page.get_by_text("live", exact=True)).to_be_visible()
    expect(page.get_by_role("region", name="Tasks of this task")).to_be_hidden()

    # When it gets one that moves
    part = {"name": "part", "title": "A part of it", "parent_id": "group", "total": 4}
    web.put("/api/tasks/part-1", {**part, "current": 1})
    child = page.get_by_role("region", name="Tasks of this task").get_by_role("listitem")
    expect(child.get_by_role("progressbar")).to_have_attribute("aria-valuenow", "25")
    web.put("/api/tasks/part-1", {"current": 3})

    # Then it is seen there, and leads to its own page and back
    expect(child.get_by_role("progressbar")).to_have_attribute("aria-valuenow", "75")
    expect(bar(page)).to_have_accessible_name("All of it")
    expect(child).not_to_contain_text("a-host")
    child.get_by_role("link", name="A part of it").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("A part of it")
    page.get_by_role("link", name="All of it").first.click()
    expect(page.get_by_role("heading", level=1)).to_have_text("All of it")

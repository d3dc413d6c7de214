"""The list: searching, filtering, counting, loading more, and the forms beside it."""

from __future__ import annotations

import re
import time
from contextlib import closing
from typing import Any

import pytest
from playwright.sync_api import expect

from socketprogress.core.state import Status, TaskState
from socketprogress.stores import open_store

pytestmark = pytest.mark.browser

MANY = 600
FAILED = 50


@pytest.fixture(scope="module")
def full_web(module_web: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A server with 600 ended tasks, every twelfth of them failed."""
    data = tmp_path_factory.mktemp("full") / "data"
    now = time.time()
    with closing(open_store("sqlite:", data=data)) as store:
        for number in range(MANY):
            failed = number % (MANY // FAILED) == 0
            state = TaskState(
                f"old-{number}",
                "backup",
                f"Backup of host {number:03}",
                "before",
                created_at=now - number,
                started_at=now - number,
                updated_at=now - number,
                finished_at=now - number,
                status=Status.FAILED if failed else Status.COMPLETED,
                progress=50.0 if failed else 100.0,
            )
            store.save(state)
    return module_web(data=data)


def rows(page: Any) -> Any:
    """Return the list's rows."""
    return page.get_by_role("list", name="Tasks").get_by_role("listitem")


def chip(page: Any, status: str) -> Any:
    """Return the filter of a status."""
    return page.get_by_role("navigation", name="Tasks by status").get_by_role("link", name=status)


def test_filters_count_and_show_their_own(visitor: Any, full_web: Any) -> None:
    # Given the whole list
    page = visitor.open(full_web.url)
    expect(rows(page)).to_have_count(200)
    expect(chip(page, "all")).to_have_text(f"all {MANY}")
    expect(chip(page, "failed")).to_have_text(f"failed {FAILED}")
    expect(chip(page, "completed")).to_have_text(f"completed {MANY - FAILED}")

    # When failed is chosen
    chip(page, "failed").click()

    # Then only these are seen, the address says so, and it is what an opened address shows
    expect(rows(page)).to_have_count(FAILED)
    expect(rows(page).filter(has_text="completed")).to_have_count(0)
    expect(chip(page, "failed")).to_have_attribute("aria-current", "true")
    assert page.url.endswith("/?status=failed")
    page.reload()
    expect(page.get_by_text("live", exact=True)).to_be_visible()
    expect(rows(page)).to_have_count(FAILED)

    # And back
    chip(page, "all").click()
    expect(rows(page)).to_have_count(200)
    assert page.url.endswith("/")


def test_searching_finds_while_typing_and_says_when_there_is_nothing(
    visitor: Any, full_web: Any
) -> None:
    page = visitor.open(full_web.url)
    box = page.get_by_role("searchbox", name="Search the tasks")

    box.press_sequentially("host 12")
    expect(rows(page)).to_have_count(10)
    expect(rows(page).first).to_contain_text("Backup of host 120")

    chip(page, "failed").click()
    expect(rows(page)).to_have_count(1)
    chip(page, "all").click()

    box.fill("nothing of that name")
    expect(page.get_by_text("No task fits.")).to_be_visible()
    expect(page.get_by_role("heading", name="Nothing runs yet")).to_be_hidden()
    page.get_by_role("link", name="Show all tasks").click()
    expect(rows(page)).to_have_count(200)


def test_load_more_brings_every_task_exactly_once(visitor: Any, full_web: Any) -> None:
    page = visitor.open(full_web.url)
    more = page.get_by_role("link", name="Load more")

    for count in (400, MANY):
        more.click()
        expect(rows(page)).to_have_count(count)
    expect(more).to_be_hidden()

    titles = page.locator("#tasks [data-part=title]").all_text_contents()
    assert titles == [f"Backup of host {number:03}" for number in range(MANY)]


def test_load_more_works_by_address_too(visitor: Any, full_web: Any) -> None:
    page = visitor.open(full_web.url, java_script_enabled=False)

    for first in range(0, MANY, 200):
        expect(rows(page).first).to_contain_text(f"Backup of host {first:03}")
        expect(rows(page)).to_have_count(200)
        expect(rows(page).last).to_contain_text(f"Backup of host {first + 199:03}")
        if first + 200 < MANY:
            page.get_by_role("link", name="Load more").click()

    expect(page.get_by_role("link", name="Load more")).to_be_hidden()


def test_what_starts_now_is_first_and_leaves_with_its_filter(visitor: Any, web: Any) -> None:
    # Given a page that shows only what is in progress
    page = visitor.open(f"{web.url}/?status=in_progress")
    expect(page.get_by_text("live", exact=True)).to_be_visible()

    # When a task starts
    puppet = web.puppet("Seen while it runs")
    puppet.does(total=4, current=1)

    # Then it is there, counted, and in the window's title
    row = rows(page).filter(has_text="Seen while it runs")
    expect(row).to_contain_text("1 of 4")
    expect(chip(page, "in progress")).to_have_text("in progress 1")
    expect(page).to_have_title("1 active · socketprogress")

    # And gone when it ends
    puppet.ends()
    expect(row).to_have_count(0)
    expect(chip(page, "in progress")).to_have_text("in progress 0")
    expect(page).to_have_title("socketprogress")


def test_a_form_says_what_is_wrong_where_it_is_wrong(visitor: Any, web: Any) -> None:
    page = visitor.open(web.url)
    expect(page.get_by_text("live", exact=True)).to_be_visible()
    form = page.get_by_role("form", name="shapes")
    start = form.get_by_role("button", name="Start")
    where, numbers = form.get_by_label("Where"), form.get_by_label("Numbers")

    # A field that is needed
    start.click()
    expect(where).to_be_focused()
    expect(where).to_have_attribute("aria-invalid", "true")
    expect(where).to_have_accessible_description("This is needed.")

    # One that holds no JSON
    where.fill(".")
    numbers.fill("1, 2")
    start.click()
    expect(numbers).to_be_focused()
    expect(numbers).to_have_accessible_description('This must be JSON, such as ["a", "b"].')
    expect(where).not_to_have_attribute("aria-invalid", "true")

    # One that only the server can judge
    where.fill("/etc/passwd")
    numbers.fill("[1, 2]")
    start.click()
    expect(where).to_be_focused()
    expect(form.locator("#start-shapes-where-error")).to_contain_text("/etc/passwd")

    # And all of them right: every kind of argument arrives as what it is
    where.fill(".")
    form.get_by_label("Mode").select_option("slow")
    form.get_by_label("Share").fill("0.25")
    form.get_by_label("Deep").uncheck()
    start.click()
    expect(form).to_contain_text("Started:")
    started = web.get("/api/tasks?search=shapes&limit=1")["tasks"][0]["task_id"]
    assert web.ended(started)["result"] == {
        "numbers": [1, 2],
        "deep": False,
        "mode": "slow",
        "share": 0.25,
    }
    expect(where).not_to_have_attribute("aria-invalid", "true")


def test_pressing_start_twice_starts_twice_but_a_double_click_once(visitor: Any, web: Any) -> None:
    page = visitor.open(web.url)
    expect(page.get_by_text("live", exact=True)).to_be_visible()
    before = web.get("/api/tasks?search=Add")["tasks"]
    start = page.get_by_role("form", name="Add").get_by_role("button", name="Start")

    start.dblclick()
    expect(page.get_by_role("form", name="Add")).to_contain_text("Started:")
    start.click()

    added = rows(page).filter(has_text="Add 1")
    expect(added.filter(has_text="completed")).to_have_count(len(before) + 2)


def test_rows_stay_where_they_are_under_the_pointer(visitor: Any, fresh_web: Any) -> None:
    # Given a pointer at the older of two running tasks
    web = fresh_web()
    puppets = {title: web.puppet(title) for title in ("Older", "Newer")}
    page = visitor.open(web.url)
    expect(page.get_by_text("live", exact=True)).to_be_visible()
    expect(rows(page)).to_have_count(2)
    rows(page).filter(has_text="Older").hover()

    # When the newer one ends, whose place is behind the active ones
    puppets["Newer"].ends()
    expect(rows(page).filter(has_text="Newer")).to_contain_text("completed")

    # Then nothing has moved, until the pointer leaves
    expect(rows(page).first).to_contain_text("Newer")
    page.mouse.move(2, 2)
    expect(rows(page).first).to_contain_text("Older")


def test_the_end_of_what_was_started_here_is_told_in_a_corner_on_any_page(
    visitor: Any, web: Any
) -> None:
    # Given a task that was started here, and the page of another
    page = visitor.open(web.url)
    expect(page.get_by_text("live", exact=True)).to_be_visible()
    page.get_by_role("form", name="Add").get_by_label("A optional").fill("8001")
    page.get_by_role("form", name="Add").get_by_role("button", name="Start").click()
    toast = page.locator(".toast")

    # Then its end is told on the list
    expect(toast).to_contain_text("completed")
    expect(toast.get_by_role("link", name="Add 8001")).to_be_visible()
    toast.get_by_role("button", name="Dismiss").click()
    expect(toast).to_have_count(0)

    # And one that goes on is told of elsewhere
    page.get_by_role("form", name="hold").get_by_role("button", name="Start").click()
    expect(page.get_by_role("form", name="hold")).to_contain_text("Started:")
    held = web.get("/api/tasks?status=in_progress,queued&search=hold")["tasks"][0]["task_id"]
    other = web.puppet("Another")
    page.goto(other.url)
    expect(page.get_by_text("live", exact=True)).to_be_visible()
    expect(toast).to_have_count(0)
    web.post(f"/api/tasks/{held}/cancel", {})
    expect(toast).to_contain_text("cancelled")
    expect(toast.get_by_role("link", name="hold")).to_have_attribute("href", f"/tasks/{held}")

    # But what somebody else started is not
    web.ended(web.start("add", title="By somebody else"))
    expect(toast).to_have_count(1)


def test_a_task_under_a_second_has_a_spinner_and_no_bar(visitor: Any, web: Any) -> None:
    # Given a list on which a task begins
    page = visitor.open(web.url)
    expect(page.get_by_text("live", exact=True)).to_be_visible()
    page.evaluate(
        """() => {
          window.young = [];
          new MutationObserver(() => {
            for (const row of document.querySelectorAll("#tasks [data-young]")) {
              window.young.push(row.dataset.taskId);
            }
          }).observe(document.getElementById("tasks"),
            { subtree: true, childList: true, attributeFilter: ["data-young"] });
        }"""
    )
    puppet = web.puppet("Begins")
    row = rows(page).filter(has_text="Begins")
    puppet.does(total=4, current=1)

    # Then it is young at first, and has its bar when it has run for a second
    expect(row.get_by_role("progressbar")).to_have_attribute("aria-valuenow", "25")
    expect(row).not_to_have_attribute("data-young", "")
    expect(row.get_by_role("progressbar")).to_have_css("opacity", "1")
    assert puppet.id in page.evaluate("window.young")


def test_a_hidden_tab_tells_by_its_title_and_its_icon(visitor: Any, fresh_web: Any) -> None:
    # Given pages whose frames never come, as in a tab that is not looked at
    web = fresh_web()
    puppet = web.puppet("Unseen")
    puppet.does(total=100, current=1)
    puppet.reaches(1)
    context = visitor.context()
    context.add_init_script("window.requestAnimationFrame = () => 0")
    page, listing = context.new_page(), context.new_page()
    page.goto(puppet.url)
    listing.goto(web.url)

    # When the task moves and ends
    expect(listing).to_have_title("1 active · socketprogress")
    expect(listing.locator("#favicon")).to_have_attribute("href", re.compile("favicon-active"))
    puppet.does(current=42)
    expect(page).to_have_title("42% · Unseen")
    puppet.ends(fail="no good")

    # Then title and icon say so
    expect(page).to_have_title("failed · Unseen")
    expect(page.locator("#favicon")).to_have_attribute("href", re.compile("favicon-failed"))
    expect(listing).to_have_title("socketprogress")
    expect(listing.locator("#favicon")).to_have_attribute("href", re.compile(r"favicon\.svg"))


def test_a_form_says_where_a_path_is_and_what_an_empty_one_stands_for(
    visitor: Any, web: Any
) -> None:
    page = visitor.open(web.url)

    for name in ("Checksum", "Archive"):
        path = page.get_by_role("form", name=name).get_by_label("Path")
        expect(path).to_have_accessible_description(
            "In the root folder; empty stands for all of it."
        )
    path = page.get_by_role("form", name="Import").get_by_label("Path")
    expect(path).to_have_accessible_description("A file in the root folder.")


def test_what_is_over_is_not_shown_at_work(visitor: Any, web: Any) -> None:
    # Given rows of tasks that say what they do
    page = visitor.open(web.url)
    expect(page.get_by_text("live", exact=True)).to_be_visible()
    done, broken = web.puppet("Done"), web.puppet("Broken")
    for puppet in (done, broken):
        puppet.does(current=1, message="packing the attic")
        message = page.locator(f'[data-task-id="{puppet.id}"] [data-part="message"]')
        expect(message).to_have_text("packing the attic")

    # When they end
    done.ends()
    broken.ends(fail="no room")

    # Then a row says nothing more, or why it failed; live and as the server draws it
    for options in ({}, {"java_script_enabled": False}):
        seen = page if options == {} else visitor.open(web.url, **options)
        row = seen.locator(f'[data-task-id="{done.id}"]')
        expect(row).to_contain_text("completed")
        expect(row.locator('[data-part="message"]')).to_have_text("")
        expect(seen.locator(f'[data-task-id="{broken.id}"]')).to_contain_text("no room")

        # And a task's page says what it did last
        own = visitor.open(done.url, **options)
        expect(own.locator('#task [data-part="message"]')).to_have_text("Last: packing the attic")


def overlap(page: Any, one: str, other: str) -> bool:
    """Return whether two elements cover one another, as the second one is looked at."""
    page.locator(other).evaluate("(it) => it.scrollIntoView({ block: 'nearest' })")
    a, b = page.locator(one).bounding_box(), page.locator(other).bounding_box()
    return bool(
        a["x"] < b["x"] + b["width"]
        and b["x"] < a["x"] + a["width"]
        and a["y"] < b["y"] + b["height"]
        and b["y"] < a["y"] + a["height"]
    )


@pytest.mark.parametrize("width", [1280, 980, 320])
def test_what_comes_up_does_not_cover_the_forms(visitor: Any, fresh_web: Any, width: int) -> None:
    # Given a list with the note of an end, when the server goes
    visitor.expect("ERR_CONNECTION_REFUSED", "WebSocket")
    web = fresh_web()
    page = visitor.open(web.url, viewport={"width": width, "height": 700})
    expect(page.get_by_text("live", exact=True)).to_be_visible()
    page.get_by_role("form", name="hold").get_by_role("button", name="Start").click()
    expect(page.get_by_role("form", name="hold")).to_contain_text("Started:")
    (held,) = web.get("/api/tasks")["tasks"]
    web.post(f"/api/tasks/{held['task_id']}/cancel", {})
    expect(page.locator(".toast")).to_contain_text("cancelled")
    web.process.stop()
    expect(page.locator("#offline")).to_be_visible()

    # Then neither covers the button that uploads, nor one the other, and beside the list not one form
    for note in (".toast", "#offline"):
        assert not overlap(page, note, "#upload-start"), note
        assert width < 960 or not overlap(page, note, "#start"), note
    assert not overlap(page, ".toast", "#offline")

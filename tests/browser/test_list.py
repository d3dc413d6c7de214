"""The list: searching, filtering, counting, loading more, and the forms beside it."""

from __future__ import annotations

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

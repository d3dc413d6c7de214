"""Everything works, if less lively, in a browser that runs no scripts."""

from __future__ import annotations

import re
from typing import Any

import pytest
from playwright.sync_api import expect

pytestmark = pytest.mark.browser


@pytest.fixture
def plain(visitor: Any, web: Any) -> Any:
    """A page of a browser without JavaScript, at the list."""
    return visitor.open(web.url, java_script_enabled=False)


def task_id_of(page: Any) -> str:
    """Return the id of the task whose page this is."""
    found = re.search(r"/tasks/([\w-]+)$", page.url)
    assert found, page.url
    return found[1]


def test_work_is_started_seen_and_downloaded(web: Any, plain: Any) -> None:
    # When a folder is hashed by the form
    folder = web.process.root / "letters"
    folder.mkdir()
    (folder / "a.txt").write_text("dear sir")
    form = plain.get_by_role("form", name="Checksum")
    form.get_by_label("Path").fill("letters")
    form.get_by_role("button", name="Start").click()

    # Then its page is there, and comes to show its end by itself
    expect(plain.get_by_role("heading", level=1)).to_have_text("Checksum letters")
    expect(plain.get_by_role("main")).to_contain_text("completed")
    expect(plain.get_by_role("progressbar").first).to_have_attribute("aria-valuenow", "100")
    with plain.expect_download() as download:
        plain.get_by_role("link", name="SHA256SUMS").click()
    assert download.value.path().read_text().endswith("  a.txt\n")

    # And the list has it
    plain.get_by_role("link", name="All tasks").click()
    expect(plain.get_by_role("list", name="Tasks")).to_contain_text("Checksum letters")


@pytest.mark.parametrize("width", [320, 400])
def test_no_page_is_wider_than_a_narrow_screen(visitor: Any, web: Any, width: int) -> None:
    task = web.puppet("Narrow")
    task.does(total=4, current=1)
    task.reaches(1)
    size = {"width": width, "height": 500}
    page = visitor.open(web.url, java_script_enabled=False, viewport=size)
    for path in ("/", f"/tasks/{task.id}"):
        page.goto(web.url + path)
        assert page.locator("html").evaluate("(html) => html.scrollWidth") <= width


def test_a_running_task_is_shown_anew_by_itself(web: Any, plain: Any) -> None:
    puppet = web.puppet("Moves")
    puppet.does(total=10, current=1)
    puppet.reaches(1)
    plain.goto(puppet.url)
    expect(plain.get_by_role("progressbar").first).to_have_attribute("aria-valuenow", "10")

    puppet.does(current=6)

    expect(plain.get_by_role("progressbar").first).to_have_attribute("aria-valuenow", "60")
    expect(plain).to_have_title("60% · Moves")


def test_cancelling_asks_once_more_and_a_retry_starts_again(web: Any, plain: Any) -> None:
    # Given a running task's page
    plain.goto(f"{web.url}/tasks/{web.start('hold', title='Long watch')}")
    first = task_id_of(plain)

    # When Cancel is pressed, a page asks; keeping it keeps it
    plain.get_by_role("button", name="Cancel").click()
    expect(plain.get_by_role("heading", name="Cancel this task?")).to_be_visible()
    expect(plain.get_by_role("main")).to_contain_text("Long watch")
    plain.get_by_role("link", name="Keep it running").click()
    assert web.get(f"/api/tasks/{first}")["cancel_requested"] is False

    # When it is confirmed, the task is cancelled
    plain.get_by_role("button", name="Cancel").click()
    plain.get_by_role("button", name="Cancel the task").click()
    assert web.ended(first)["status"] == "cancelled"
    expect(plain.get_by_role("article")).to_contain_text("cancelled")

    # And a retry is another task's page
    plain.get_by_role("button", name="Retry").click()
    assert task_id_of(plain) != first
    expect(plain.get_by_role("heading", level=1)).to_have_text("Long watch")
    web.post(f"/api/tasks/{task_id_of(plain)}/cancel", {})


def test_what_is_wrong_stands_at_its_field_with_what_was_sent(visitor: Any, plain: Any) -> None:
    visitor.expect("422")
    form = plain.get_by_role("form", name="shapes")
    form.get_by_label("Where").fill("/etc/hostname")
    form.get_by_label("Numbers").fill("[3]")
    form.get_by_label("Deep").uncheck()
    form.get_by_label("Mode").select_option("slow")
    form.get_by_role("button", name="Start").click()

    where = form.get_by_label("Where")
    expect(where).to_have_attribute("aria-invalid", "true")
    expect(where).to_have_accessible_description(re.compile("/etc/hostname"))
    expect(where).to_have_value("/etc/hostname")
    expect(form.get_by_label("Numbers")).to_have_value("[3]")
    expect(form.get_by_label("Deep")).not_to_be_checked()
    expect(form.get_by_label("Mode")).to_have_value("slow")

    where.fill(".")
    form.get_by_role("button", name="Start").click()
    expect(plain.get_by_role("heading", level=1)).to_have_text("shapes")


def test_searching_and_filtering_work_by_address(web: Any, plain: Any) -> None:
    web.ended(web.start("add", args={"a": 77}))

    plain.get_by_role("searchbox").fill("Add 77")
    plain.get_by_role("button", name="Search").click()
    expect(plain.get_by_role("list", name="Tasks").get_by_role("listitem")).to_have_count(1)
    plain.get_by_role("navigation", name="Tasks by status").get_by_role(
        "link", name="failed"
    ).click()
    expect(plain.get_by_text("No task fits.")).to_be_visible()
    assert "search=Add+77" in plain.url


def test_pages_that_are_not_there_say_so(visitor: Any, plain: Any, web: Any) -> None:
    visitor.expect("404")
    plain.goto(f"{web.url}/tasks/nobody")

    expect(plain.get_by_role("heading", name="Not found")).to_be_visible()
    plain.get_by_role("link", name="All tasks").click()
    expect(plain.get_by_role("heading", name="Tasks", exact=True)).to_be_visible()

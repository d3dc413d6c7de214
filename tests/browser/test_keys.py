"""Single keys on the list and on a task's page, and where they do nothing."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.sync_api import expect

pytestmark = pytest.mark.browser


def rows(page: Any) -> Any:
    """Return the list's rows."""
    return page.get_by_role("list", name="Tasks").get_by_role("listitem")


def open_live(visitor: Any, url: str) -> Any:
    """Open a page and wait until it is live."""
    page = visitor.open(url)
    expect(page.get_by_text("live", exact=True)).to_be_visible()
    return page


def test_keys_search_walk_open_and_cancel(visitor: Any, fresh_web: Any) -> None:
    # Given three tasks, and nothing but a keyboard
    web = fresh_web()
    for title in ("First", "Second", "Third"):
        web.start("hold", title=title)
    page = open_live(visitor, web.url)
    expect(rows(page)).to_have_count(3)

    # Rows: down, down, up
    for key, title in (("j", "Third"), ("j", "Second"), ("k", "Third"), ("k", "Third")):
        page.keyboard.press(key)
        expect(page.get_by_role("link", name=title)).to_be_focused()

    # Searching, where letters are letters
    page.keyboard.press("/")
    box = page.get_by_role("searchbox")
    expect(box).to_be_focused()
    page.keyboard.type("cjk?/")
    expect(box).to_have_value("cjk?/")
    expect(page.get_by_role("dialog")).to_have_count(0)
    box.fill("")
    expect(rows(page)).to_have_count(3)

    # Cancelling asks, as the button does; opening is the link's own Enter
    page.get_by_role("link", name="Second").focus()
    page.keyboard.press("c")
    dialog = page.get_by_role("dialog", name="Cancel this task?")
    expect(dialog).to_contain_text("Second")
    page.keyboard.press("j")
    page.keyboard.press("Escape")
    expect(page.get_by_role("link", name="Second")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text("Second")
    expect(page.get_by_text("live", exact=True)).to_be_visible()
    page.keyboard.press("c")
    expect(dialog).to_contain_text("Second")


def test_keys_are_listed_and_can_be_turned_off_for_good(visitor: Any, web: Any) -> None:
    # Given the help that a key opens
    web.start("hold", title="Not to be cancelled")
    page = open_live(visitor, web.url)
    page.keyboard.press("Control+j")
    expect(page.locator("body")).to_be_focused()
    page.keyboard.press("?")
    dialog = page.get_by_role("dialog", name="Keyboard")
    expect(dialog).to_contain_text("next and previous task")

    # When the keys are turned off there
    dialog.get_by_role("checkbox").uncheck()
    dialog.get_by_role("button", name="Close").click()

    # Then they do nothing, now and on the next page; a button still shows the help
    for _ in range(2):
        page.keyboard.press("j")
        page.keyboard.press("?")
        page.keyboard.press("/")
        expect(page.locator("#tasks a:focus")).to_have_count(0)
        expect(page.get_by_role("searchbox")).not_to_be_focused()
        expect(page.get_by_role("dialog")).to_have_count(0)
        page.reload()
        expect(page.get_by_text("live", exact=True)).to_be_visible()
    page.get_by_role("button", name="Keyboard shortcuts").click()
    dialog.get_by_role("checkbox").check()
    page.keyboard.press("Escape")
    page.keyboard.press("j")
    expect(page.locator("#tasks a:focus")).to_have_count(1)

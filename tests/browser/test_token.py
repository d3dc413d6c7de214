"""A server with a token: signing in, links that sign in, and pages that work afterwards."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import pytest
from playwright.sync_api import expect

pytestmark = pytest.mark.browser

TOKEN = "open/sesame&more+%41"


@pytest.fixture(scope="module")
def guarded(module_web: Any) -> Any:
    """A server that asks for a token."""
    return module_web(token=TOKEN)


def test_the_form_lets_in_who_has_the_token(visitor: Any, guarded: Any) -> None:
    # Given the address of a task's page and no token
    visitor.expect("401")
    task_id = guarded.start("checksum")
    guarded.ended(task_id)
    page = visitor.open(f"{guarded.url}/tasks/{task_id}")
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
    expect(page.get_by_label("Token")).to_be_focused()

    # When a wrong one is given, it says so
    page.get_by_label("Token").fill("wrong")
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("alert")).to_have_text("This is not the token.")
    expect(page.get_by_label("Token")).to_have_value("")

    # When the right one is given, the page that was wanted comes up, live
    page.get_by_label("Token").fill(TOKEN)
    page.get_by_label("Token").press("Enter")
    page.wait_for_url(f"**/tasks/{task_id}")
    expect(page.get_by_text("live", exact=True)).to_be_visible()

    # And the list works, too
    page.get_by_role("link", name="All tasks").click()
    expect(page.get_by_text("live", exact=True)).to_be_visible()
    form = page.get_by_role("form", name="Checksum")
    form.get_by_role("button", name="Start").click()
    expect(form).to_contain_text("Started:")


def test_a_link_with_the_token_signs_in_and_forgets_it(visitor: Any, guarded: Any) -> None:
    context = visitor.context()
    page = context.new_page()

    page.goto(f"{guarded.url}/?token={quote(TOKEN, safe='')}")

    assert page.url == f"{guarded.url}/"
    expect(page.get_by_text("live", exact=True)).to_be_visible()
    assert TOKEN not in page.content()
    cookies = context.cookies()
    assert all(cookie["httpOnly"] and cookie["sameSite"] == "Lax" for cookie in cookies)
    assert all(TOKEN not in cookie["value"] for cookie in cookies)
    page.reload()
    expect(page.get_by_text("live", exact=True)).to_be_visible()


def test_a_wrong_link_says_so_and_asks(visitor: Any, guarded: Any) -> None:
    visitor.expect("401")

    page = visitor.open(f"{guarded.url}/?token=wrong")

    expect(page.get_by_role("alert")).to_have_text("The token in the address is not right.")
    page.get_by_label("Token").fill(TOKEN)
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_text("live", exact=True)).to_be_visible()
    assert "token" not in page.url


def test_a_page_whose_token_is_gone_says_that_it_is_disconnected(
    visitor: Any, fresh_web: Any
) -> None:
    # Given an open page
    visitor.expect("WebSocket connection", "ERR_CONNECTION", "401", "403")
    web = fresh_web("--token", "first")
    page = visitor.open(f"{web.url}/?token=first")
    expect(page.get_by_text("live", exact=True)).to_be_visible()

    # When the server comes back with another token
    web.process.kill()
    web.process._args = ["--token", "second"]
    web.process.start()

    # Then the page says what to do
    expect(page.get_by_text("disconnected", exact=True)).to_be_visible()
    expect(page.locator("#offline")).to_contain_text("this server needs its token")
    page.get_by_role("link", name="Sign in again").click()
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()


def test_a_watch_link_shows_its_task_to_whoever_has_it(visitor: Any, guarded: Any) -> None:
    # Given an operator on a task's page
    visitor.expect("401")
    puppet = guarded.puppet("Shown around")
    puppet.does(total=4, current=1)
    context = visitor.context(permissions=["clipboard-read", "clipboard-write"])
    page = context.new_page()
    page.goto(f"{puppet.url}?token={quote(TOKEN, safe='')}")
    expect(page.get_by_text("live", exact=True)).to_be_visible()

    # When a watch link is copied
    page.get_by_role("button", name="Share").click()
    dialog = page.get_by_role("dialog", name="Share")
    dialog.get_by_role("button", name="Copy watch link").click()
    expect(dialog).to_contain_text("Who has this link sees this task, and no other")
    expect(page.get_by_role("status")).to_have_text("Copied")
    link = str(page.evaluate("navigator.clipboard.readText()"))
    assert dialog.get_by_label("Address of this page").input_value() == link

    # Then somebody without a token sees that task with it, live, and can make no further link
    guest = visitor.open(link)
    expect(guest.get_by_text("live", exact=True)).to_be_visible()
    puppet.does(current=3)
    expect(guest.get_by_role("progressbar").first).to_have_attribute("aria-valuenow", "75")
    guest.get_by_role("button", name="Share").click()
    expect(guest.get_by_role("button", name="Copy watch link")).to_be_hidden()

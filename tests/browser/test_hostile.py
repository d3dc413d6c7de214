"""What tasks say of themselves is only ever text."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.sync_api import expect

pytestmark = pytest.mark.browser

HOSTILE = {
    "elements": '</script><script>window.hacked=1</script><img src=x onerror="window.hacked=1">',
    "a way out": '\'" onmouseover="window.hacked=1" x="></textarea></pre><svg onload=window.hacked=1>',
    "other languages": "javascript:window.hacked=1 {{ 7 * 7 }} ${7*7} {% raw %} &lt;b&gt; %3Cb%3E",
    "human languages": "\u202egnp.exe \u05d0\u05d1\u05d2 \U0001f468\u200d\U0001f469 e\u0301\u0323 \u2028 x",
}


def is_unharmed(page: Any) -> bool:
    """Return whether nothing of another's ran or became an element."""
    return bool(
        page.evaluate(
            "window.hacked === undefined && ({}).polluted === undefined"
            " && document.querySelector('img, iframe, svg[onload], [onerror]') === null"
        )
    )


def test_what_a_task_says_is_shown_as_it_is(visitor: Any, web: Any) -> None:
    # Given the list, and a page that looks at one task after the other
    listing = visitor.open(web.url)
    expect(listing.get_by_text("live", exact=True)).to_be_visible()
    page = visitor.context().new_page()

    for kind, text in HOSTILE.items():
        # When a task is named so, and says so in every way it has
        puppet = web.puppet(text)
        page.goto(puppet.url)
        expect(page.get_by_text("live", exact=True)).to_be_visible()
        puppet.does(total=2, current=1, message=text, unit=text, log=[text])
        expect(page.locator("[data-part=message]")).not_to_be_empty()
        puppet.does(file={text.replace("/", "_"): text})
        ended = puppet.ends(fail=text)

        # Then it stands there as text, and nothing of it has run: live, loaded anew, in the list
        logged = web.get(f"/api/tasks/{puppet.id}/log")["lines"][0]
        expect(page.locator("#error-message")).to_contain_text("ValueError")
        for loaded in ("live", "anew"):
            assert page.locator("#task-title").text_content() == ended["title"], (kind, loaded)
            assert page.locator("#error-message").text_content() == ended["error"]["message"]
            assert page.locator("#files-list a").text_content() == ended["files"][0]["name"]
            assert str(page.locator("#log-lines").text_content()).startswith(f"{logged}\n")
            assert is_unharmed(page), (kind, loaded)
            page.reload()
        page.goto(f"{web.url}/embed/{puppet.id}")
        assert page.locator("#task-title").text_content() == ended["title"], kind
        assert is_unharmed(page), kind
        row = listing.locator(f'[data-task-id="{puppet.id}"]')
        expect(row).to_contain_text("failed")
        assert row.locator("[data-part=title]").text_content() == ended["title"], kind
        assert row.locator("[data-part=message]").text_content() == ended["error"]["message"]
        assert is_unharmed(listing), kind
    listing.reload()
    assert is_unharmed(listing)


def test_control_characters_and_long_names_do_no_harm(visitor: Any, web: Any) -> None:
    # Given a title as long as one may be, without a place to break, and escapes in a log
    puppet = web.puppet("W" * 500)
    puppet.does(total=2, current=1, message="\x1b[31mred\x1b[0m\x00 \u0007" + "m" * 3000)
    puppet.does(log=["\x1b[2J\x1b]0;owned\x07cleared", "nul \x00 here", "L" * 5000])

    # Then no page is wider than a phone
    for path in ("/", f"/tasks/{puppet.id}", f"/tasks/{puppet.id}/cancel", f"/embed/{puppet.id}"):
        page = visitor.open(web.url + path, viewport={"width": 320, "height": 640})
        expect(page.locator("body")).to_contain_text("W" * 500)
        assert page.evaluate("document.documentElement.scrollWidth") <= 320

    # And what terminals obey is not among the text
    page = visitor.open(puppet.url)
    expect(page.get_by_role("region", name="Log")).to_contain_text("cleared")
    expect(page.get_by_role("main")).to_contain_text("red")
    text = str(page.get_by_role("main").text_content())
    assert not {"\x1b", "\x00", "\x07"} & set(text)


@pytest.mark.parametrize("task_id", ["__proto__", "constructor", "hasOwnProperty", "main", "page"])
def test_ids_that_mean_something_elsewhere_are_ids_here(
    visitor: Any, web: Any, task_id: str
) -> None:
    before = visitor.open(web.url)
    expect(before.get_by_text("live", exact=True)).to_be_visible()

    web.start("add", title=f"Known as {task_id}", task_id=task_id)
    web.ended(task_id)

    row = before.get_by_role("listitem").filter(has_text=f"Known as {task_id}")
    expect(row).to_contain_text("completed")
    row.get_by_role("link").click()
    expect(before.get_by_role("main")).to_contain_text("completed")
    expect(before.get_by_role("region", name="Result")).to_contain_text("3")
    assert is_unharmed(before)

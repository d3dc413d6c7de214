"""The bare bar in other people's pages, and what every page may load and be."""

from __future__ import annotations

import re
import urllib.error
import urllib.request
from typing import Any

import pytest
from playwright.sync_api import expect

pytestmark = pytest.mark.browser

FRAMED = '<!doctype html><title>Theirs</title><iframe title="bar" src="%s"></iframe>'
IMPORT = re.compile(r'(?:from|import) ?"(\.{1,2}/[\w./-]+)"')
STATIC = re.compile(r'"(/static/[^"]+)"')


@pytest.fixture(scope="module")
def friend(site: Any) -> Any:
    """A site of others whose pages the server allows."""
    return site("localhost")


@pytest.fixture(scope="module")
def friendly_web(module_web: Any, friend: Any) -> Any:
    """A server that allows them."""
    return module_web("--origin", friend.url)


def get(url: str, **headers: str) -> tuple[int, Any, bytes]:
    """Return status, headers and body of a GET."""
    request = urllib.request.Request(url, headers=headers)  # noqa: S310 - the test's own server
    try:
        with urllib.request.urlopen(request) as response:  # noqa: S310
            return response.status, response.headers, response.read()
    except urllib.error.HTTPError as error:
        return error.code, error.headers, error.read()


def test_the_bar_is_live_in_pages_of_this_and_of_allowed_origins(
    visitor: Any, friendly_web: Any, friend: Any
) -> None:
    # Given a task, and pages that show its bar
    web, theirs = friendly_web, friend
    puppet = web.puppet("Framed")
    puppet.does(total=4, current=1)
    framed = FRAMED % f"{web.url}/embed/{puppet.id}"
    theirs.publish(framed)
    context = visitor.context()
    ours = f"{web.url}/ours"
    context.route(ours, lambda route: route.fulfill(body=framed, content_type="text/html"))

    for current, address in enumerate((theirs.url, ours), start=2):
        # When the bar is framed there, it is live
        page = context.new_page()
        page.goto(address)
        bar = page.frame_locator("iframe").get_by_role("progressbar", name="Framed")
        expect(bar).to_be_visible()
        puppet.does(current=current)
        expect(bar).to_have_attribute("aria-valuenow", str(current * 25))


def test_nobody_else_can_frame_the_bar_and_nobody_the_other_pages(
    visitor: Any, friendly_web: Any, friend: Any, site: Any
) -> None:
    visitor.expect("frame-ancestors")
    web, stranger = friendly_web, site()
    task_id = web.start("hold")

    for theirs, path in (
        (stranger, f"/embed/{task_id}"),
        (friend, f"/tasks/{task_id}"),
        (friend, f"/tasks/{task_id}/cancel"),
        (friend, "/"),
    ):
        theirs.publish(FRAMED % f"{web.url}{path}")
        page = visitor.context().new_page()
        with page.expect_console_message(lambda said: "frame-ancestors" in said.text):
            page.goto(theirs.url)
        expect(page.frame_locator("iframe").get_by_role("main")).to_have_count(0)


def test_pages_hold_no_code_and_load_nothing_from_elsewhere(
    visitor: Any, fresh_web: Any, inline: Any
) -> None:
    # Given every kind of page
    visitor.expect("401", "404")
    web = fresh_web(token="t")
    puppet = web.puppet("Plain", task="stepped")
    puppet.does(step="Pack", total=4)
    puppet.does(current=1, file={"x.txt": "x"}, log=["line"])
    puppet.reaches(1)
    context = visitor.context()
    asked: list[str] = []
    context.on("request", lambda request: asked.append(request.url))
    page = context.new_page()
    pages = ["/", "/login", "/?token=t", f"/tasks/{puppet.id}", f"/tasks/{puppet.id}/cancel"]
    pages += [f"/embed/{puppet.id}", "/?status=lost", "/tasks/nobody", "/nothing"]

    # When they are opened
    for path in pages:
        answer = page.goto(web.url + path)
        assert inline(answer.text()) == [], path
        policy = answer.header_value("content-security-policy")
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy

    # Then they have asked nobody but their server for anything
    expect(page.get_by_role("heading", name="Not found")).to_be_visible()
    assert {url.split("/")[2] for url in asked} == {web.url.split("/")[2]}


def test_static_files_are_never_stale_and_never_loaded_in_vain(friendly_web: Any) -> None:
    # Given every file that a page names, and every module that these import
    web = friendly_web
    _, _, html = get(web.url)
    named = set(STATIC.findall(html.decode()))
    waiting = [path for path in named if path.endswith(".js")]
    modules: set[str] = set()
    while waiting:
        path = waiting.pop()
        _, _, source = get(web.url + path)
        for found in IMPORT.findall(source.decode()):
            module = f"{path.rpartition('/')[0]}/{found.removeprefix('./')}"
            if module not in modules:
                modules.add(module)
                waiting.append(module)
    assert len(modules) > 10

    # Then the page names them all, at addresses that are kept for ever
    assert modules < named
    for path in named:
        status, headers, _ = get(web.url + path)
        assert status == 200
        assert "immutable" in headers["Cache-Control"]

    # And without a version they are asked for each time, and sent only when they have changed
    for path in modules:
        bare = re.sub(r"/~\w+", "", path)
        _, headers, body = get(web.url + bare)
        assert headers["Cache-Control"] == "no-cache"
        assert body
        status, _, body = get(web.url + bare, **{"If-None-Match": headers["ETag"]})
        assert (status, body) == (304, b"")


def test_from_page_to_page_no_file_is_asked_for_again(visitor: Any, friendly_web: Any) -> None:
    # Given a page that has been seen
    web = friendly_web
    page = visitor.open(web.url)
    expect(page.get_by_text("live", exact=True)).to_be_visible()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))

    # When it is opened again
    page.goto(web.url)
    expect(page.get_by_text("live", exact=True)).to_be_visible()

    # Then all it takes for that is there
    sent = page.evaluate(
        """() => performance.getEntriesByType("resource")
          .filter((it) => it.name.includes("/static/") && it.transferSize > 0)
          .map((it) => it.name)"""
    )
    assert any("/static/" in url for url in asked)
    assert sent == []

"""Pages that nobody sees: frozen by the browser, or behind another, where the system tells of ends."""

from __future__ import annotations

import re
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.browser.tabs import Chromium
from tests.conftest import chromium_path, missing_service

pytestmark = pytest.mark.browser

LIVE = 'document.getElementById("connection")?.dataset.state === "live"'
STATUS = 'document.getElementById("task")?.dataset.status'
NOW = 'document.querySelector("[role=progressbar]")?.ariaValueNow'
LONG_S = 30
WAIT_S = 30


@pytest.fixture
def chromium(tmp_path: Path, fresh_web: Any) -> Iterator[Chromium]:
    """A browser whose tabs can be hidden and frozen; it ends before the test's servers do."""
    path = chromium_path()
    if path is None:
        missing_service("chromium is not installed")
    one = Chromium(path, tmp_path / "profile")
    yield one
    one.close()


def connections(web: Any) -> float:
    """Return how many connections a server has."""
    with urllib.request.urlopen(f"{web.url}/metrics") as response:  # noqa: S310
        found = re.search(
            r"^socketprogress_connections (\d+)", response.read().decode(), re.MULTILINE
        )
    assert found
    return float(found[1])


def test_a_page_that_was_frozen_for_longer_than_a_ping_tells_the_truth_when_it_wakes(
    chromium: Chromium, fresh_web: Callable[..., Any]
) -> None:
    # Given the pages of a running task and of the list, on a server that gives up after two seconds
    web = fresh_web("--ping-interval", "1", "--ping-timeout", "1")
    puppet = web.puppet("Goes on in the night")
    puppet.does(total=4, current=1)
    listing, page = chromium.open(web.url), chromium.open(puppet.url)
    for tab in (listing, page):
        tab.show()
        tab.comes_to(f'{LIVE} && {NOW} === "25"')

    # When the browser freezes them behind another, and the server loses them, and the task fails
    chromium.open("about:blank").show()
    for tab in (listing, page):
        tab.freeze()
    until = time.monotonic() + WAIT_S
    while connections(web):
        assert time.monotonic() < until, "the server does not notice"
        time.sleep(0.1)
    puppet.does(current=3, log=["while it slept"])
    puppet.ends(fail="no good")
    later = web.puppet("Begun meanwhile")
    later.does(total=4, current=2)
    later.reaches(2)
    assert (page.tells(STATUS), page.tells(NOW)) == ("in_progress", "25")

    # Then they show all that they have missed when they wake, and are live
    for tab in (listing, page):
        tab.wake()
    page.show()
    page.comes_to(f'{STATUS} === "failed" && {NOW} === "75"')
    page.comes_to('document.getElementById("error-message").textContent.includes("no good")')
    page.comes_to('document.getElementById("log-lines").textContent.includes("while it slept")')
    listing.show()
    listing.comes_to(
        """JSON.stringify([...document.querySelectorAll("#tasks > li")].map((it) => it.dataset.status))
          === '["in_progress","failed"]'"""
    )
    for tab in (listing, page):
        tab.comes_to(LIVE)
    later.does(current=3)
    listing.comes_to(f'{NOW} === "75"')


def test_a_page_that_was_frozen_over_a_restart_of_the_server_tells_the_truth_when_it_wakes(
    chromium: Chromium, fresh_web: Callable[..., Any]
) -> None:
    web = fresh_web()
    puppet = web.puppet("Killed in the night")
    puppet.does(total=4, current=1)
    page = chromium.open(puppet.url)
    page.show()
    page.comes_to(f'{LIVE} && {NOW} === "25"')

    chromium.open("about:blank").show()
    page.freeze()
    web.process.kill()
    web.process.start()
    assert page.tells(STATUS) == "in_progress"
    page.wake()
    page.show()

    page.comes_to(f'{LIVE} && {STATUS} === "failed"')
    page.comes_to('document.getElementById("error-code").textContent === "worker_lost"')


def test_the_system_tells_of_the_end_of_long_work_to_who_wants_it_and_does_not_look(
    chromium: Chromium, fresh_web: Callable[..., Any]
) -> None:
    # Given the list of somebody who wants to be told, and another tab before it
    web = fresh_web()
    chromium.grant(web.url)
    long = {title: web.puppet(title) for title in ("Unseen", "Watched", "Unwanted")}
    listing = chromium.open(web.url)
    listing.show()
    listing.comes_to(f'{LIVE} && document.title.startsWith("3 active")')
    listing.tells('document.getElementById("notify").click()')
    listing.comes_to('document.getElementById("notify").ariaPressed === "true"')
    other = chromium.open("about:blank")
    other.show()
    listing.comes_to("document.hidden")

    # When something short ends, then nobody is told
    short = web.puppet("Short")
    listing.comes_to('document.title.startsWith("4 active")')
    short.ends()
    listing.comes_to('document.title.startsWith("3 active")')
    assert listing.tells("notes") == []

    # When something long ends, then the system says so, once
    until = time.monotonic() + 2 * LONG_S
    while any((puppet.state()["elapsed_s"] or 0) <= LONG_S for puppet in long.values()):
        assert time.monotonic() < until
        for puppet in long.values():
            puppet.does(message=f"{until - time.monotonic():.0f} s to go")
        time.sleep(0.5)
    long["Unseen"].ends(fail="no good")
    listing.comes_to('document.title.startsWith("2 active")')
    told = [["failed: Unseen", "ValueError: no good"]]
    assert listing.tells("notes") == told

    # When the list is looked at, or nobody wants to know any more, then it does not
    listing.show()
    long["Watched"].ends()
    listing.comes_to('document.title.startsWith("1 active")')
    listing.tells('document.getElementById("notify").click()')
    listing.comes_to('document.getElementById("notify").ariaPressed === "false"')
    other.show()
    listing.comes_to("document.hidden")
    long["Unwanted"].ends()
    listing.comes_to('!document.title.includes("active")')
    assert listing.tells("notes") == told

"""A task in an application's own page: both looks, live, below a policy with a nonce."""

from __future__ import annotations

import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import expect

HOST = Path(__file__).with_name("macro_host.py")
pytestmark = pytest.mark.browser


@pytest.fixture
def host(tmp_path: Path) -> Iterator[str]:
    """The address of an application with the macros in a page."""
    with subprocess.Popen(
        [sys.executable, str(HOST), str(tmp_path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        assert process.stdout is not None
        yield f"http://127.0.0.1:{process.stdout.readline().strip()}"
        process.kill()


def start(host: str) -> str:
    with urllib.request.urlopen(f"{host}/start", timeout=30) as response:  # noqa: S310 - the test's own
        return str(response.read().decode())


def tell(tmp_path: Path, task_id: str, word: str) -> None:
    folder = tmp_path / "socketprogress" / "files" / task_id
    folder.mkdir(parents=True, exist_ok=True)
    (folder / word).touch()


def test_the_guides_element_follows_a_task_to_its_end(
    host: str, visitor: Any, tmp_path: Path
) -> None:
    # Given a page with the element as docs/flask.md has it
    task_id = start(host)
    page = visitor.open(f"{host}/element/{task_id}")
    element = page.locator("task-progress")
    expect(element.get_by_role("progressbar", name="Count <b>")).to_have_attribute(
        "aria-valuenow", "25"
    )

    # When its task goes on, and ends
    for word, percent in (("go", "50"), ("end", "100")):
        tell(tmp_path, task_id, word)

        # Then it shows it
        expect(element.get_by_role("progressbar")).to_have_attribute("aria-valuenow", percent)


def test_both_looks_follow_a_task_to_its_end(host: str, visitor: Any, tmp_path: Path) -> None:
    # Given
    task_id = start(host)
    page = visitor.open(f"{host}/{task_id}")
    own, bootstrap = page.locator("#own"), page.locator("#bootstrap")
    for look in (own, bootstrap):
        expect(look.get_by_role("progressbar", name="Count <b>")).to_have_attribute(
            "aria-valuenow", "25"
        )
        expect(look.get_by_text("in progress")).to_be_visible()

    # When
    tell(tmp_path, task_id, "go")

    # Then
    for look in (own, bootstrap):
        expect(look.get_by_role("progressbar")).to_have_attribute("aria-valuenow", "50")
        expect(look.get_by_text("go on")).to_be_visible()
    stripe = bootstrap.locator(".progress-bar")
    expect(stripe).to_have_attribute("style", "width: 50%;")
    expect(stripe).to_have_class("progress-bar progress-bar-striped progress-bar-animated")

    # And at its end
    page.evaluate(
        "() => { window.ended = new Promise(done => addEventListener('socketprogress', "
        "event => event.detail.status === 'completed' && done(event.detail.result))) }"
    )
    tell(tmp_path, task_id, "end")
    assert page.evaluate("() => window.ended") == 4
    for look in (own, bootstrap):
        expect(look.get_by_text("completed")).to_be_visible()
        expect(look.get_by_role("progressbar")).to_have_attribute("aria-valuenow", "100")
    expect(stripe).to_have_class("progress-bar bg-success")


def test_without_javascript_the_page_shows_how_the_task_is(
    host: str, visitor: Any, tmp_path: Path
) -> None:
    task_id = start(host)
    page = visitor.open(f"{host}/{task_id}")
    expect(page.locator("#own").get_by_text("25%")).to_be_visible()

    still = visitor.open(f"{host}/{task_id}", java_script_enabled=False)

    for look in ("#own", "#bootstrap"):
        expect(still.locator(look).get_by_text("25%")).to_be_visible()
        expect(still.locator(look).get_by_role("link", name="Count <b>")).to_be_visible()
    expect(still.locator("#bootstrap progress")).to_have_attribute("value", "25")
    tell(tmp_path, task_id, "go")
    tell(tmp_path, task_id, "end")

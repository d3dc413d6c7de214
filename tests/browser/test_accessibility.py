"""For everybody: keyboards, screen readers, phones, the dark; axe-core finds nothing."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import expect

from tests.conftest import missing_service

pytestmark = pytest.mark.browser

PROJECT = Path(__file__).parents[2]
CACHE = PROJECT / ".cache" / "axe-core"
VIEWS: dict[str, dict[str, Any]] = {
    "light": {"color_scheme": "light", "width": 1280},
    "dark": {"color_scheme": "dark", "width": 1280},
    "a phone": {"color_scheme": "light", "width": 320},
}
RUN_AXE = """async () => {
  const { violations } = await axe.run(document, { resultTypes: ["violations"] });
  return violations.flatMap(({ id, help, nodes }) =>
    nodes.map(({ target, failureSummary }) => `${id}: ${help}: ${target}: ${failureSummary}`));
}"""
FOCUSED = """() => {
  const focused = document.activeElement;
  return `${focused.closest("form, li, dialog")?.id || ""} ${focused.textContent.trim()}`.trim();
}"""
SETTLED = """() => Promise.all(document.getAnimations()
  .filter((it) => it.effect.getComputedTiming().iterations !== Infinity)
  .map((it) => it.finished.catch(() => {})))"""


@pytest.fixture(scope="session")
def axe() -> str:
    """The source of axe-core at the version that package.json names."""
    version = json.loads((PROJECT / "package.json").read_text())["devDependencies"]["axe-core"]
    home = CACHE / version
    script = home / "node_modules" / "axe-core" / "axe.min.js"
    if not script.exists():
        npm = shutil.which("npm")
        if npm is None:
            missing_service("npm is not installed")
        home.mkdir(parents=True, exist_ok=True)
        wanted = ["--no-save", "--no-audit", "--no-fund", "--ignore-scripts"]
        done = subprocess.run(
            [str(npm), "install", "--prefix", str(home), *wanted, f"axe-core@{version}"],
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "npm_config_loglevel": "error"},
        )
        if done.returncode:
            missing_service(f"npm cannot install axe-core: {done.stderr}")
    return script.read_text(encoding="utf-8")


@pytest.fixture
def inspect(axe: str) -> Callable[[Any], None]:
    """A function that looks at a page in every view and fails for whatever axe-core finds."""

    def look(page: Any) -> None:
        page.evaluate(axe)
        for view, options in VIEWS.items():
            page.emulate_media(color_scheme=options["color_scheme"], reduced_motion="reduce")
            page.set_viewport_size({"width": options["width"], "height": 900})
            page.evaluate(SETTLED)
            found = page.evaluate(RUN_AXE)
            assert not found, f"{page.url} in {view}:\n" + "\n".join(found)
            wide = page.evaluate("document.documentElement.scrollWidth")
            assert wide <= options["width"], f"{page.url} is {wide} px wide in {view}"

    return look


def test_the_list_a_form_with_errors_and_the_dialog_are_accessible(
    visitor: Any, web: Any, inspect: Any
) -> None:
    # Given tasks of several kinds
    web.ended(web.start("add", title="Added"))
    web.puppet("Failed").ends(fail="no good")
    web.puppet("Indeterminate").does(message="who knows")
    running = web.puppet("Running " + "on and on " * 30)
    running.does(total=100, current=42, message="M" * 200)
    page = visitor.open(web.url)
    expect(page.get_by_text("live", exact=True)).to_be_visible()

    # The list with a form in error
    form = page.get_by_role("form", name="shapes")
    form.get_by_role("button", name="Start").click()
    expect(form.get_by_label("Where")).to_have_attribute("aria-invalid", "true")
    inspect(page)

    # The dialog
    page.get_by_role("listitem").filter(has_text="Indeterminate").get_by_role(
        "button", name="Cancel"
    ).click()
    expect(page.get_by_role("dialog", name="Cancel this task?")).to_be_visible()
    inspect(page)
    page.get_by_role("button", name="Keep it running").click()

    # A filter that nothing fits
    page.get_by_role("searchbox").fill("nothing like this")
    expect(page.get_by_text("No task fits.")).to_be_visible()
    inspect(page)


def test_the_pages_of_tasks_are_accessible(visitor: Any, web: Any, inspect: Any) -> None:
    running = web.puppet("Running", task="stepped")
    running.does(step="Pack", total=4)
    running.does(current=1, message="packing", log=[f"line {number}" for number in range(200)])
    failed = web.puppet("Failed")
    failed.ends(fail="no good " * 20)
    done = web.puppet("Done")
    done.does(file={"a result.txt": "text"})
    done.ends(end={"rows": list(range(50))})

    for puppet in (running, failed, done):
        page = visitor.open(puppet.url)
        expect(page.get_by_text("live", exact=True)).to_be_visible()
        inspect(page)
    for path in (f"/embed/{running.id}", f"/tasks/{running.id}/cancel"):
        inspect(visitor.open(web.url + path))


def test_signing_in_the_empty_list_and_errors_are_accessible(
    visitor: Any, fresh_web: Any, inspect: Any
) -> None:
    visitor.expect("401", "404")
    web = fresh_web(token="secret")
    page = visitor.open(f"{web.url}/?token=wrong")
    expect(page.get_by_role("alert")).to_have_text("The token in the address is not right.")
    inspect(page)

    page.get_by_label("Token").fill("secret")
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("heading", name="Nothing runs yet")).to_be_visible()
    expect(page.get_by_text("live", exact=True)).to_be_visible()
    inspect(page)

    page.goto(f"{web.url}/tasks/nobody")
    inspect(page)


def test_a_task_is_started_and_cancelled_with_the_keyboard_alone(visitor: Any, web: Any) -> None:
    # Given the list, and a hand on the keyboard
    page = visitor.open(web.url)
    expect(page.get_by_text("live", exact=True)).to_be_visible()
    page.keyboard.press("Tab")
    assert page.evaluate(FOCUSED) == "Skip to the content"
    hold = page.get_by_role("form", name="hold").get_by_role("button", name="Start")

    # When Start is reached and pressed
    tab_to(page, hold)
    page.keyboard.press("Enter")
    row = page.get_by_role("listitem").filter(has_text="hold").filter(has_text="in progress")
    expect(row).to_have_count(1)
    cancel = row.get_by_role("button", name="Cancel")
    expect(cancel).to_have_accessible_description("hold")

    # And then its Cancel
    tab_to(page, cancel, key="Shift+Tab")
    page.keyboard.press("Enter")

    # Then the dialog has the focus, on what does no harm, and keeps it
    dialog = page.get_by_role("dialog", name="Cancel this task?")
    expect(dialog.get_by_role("button", name="Keep it running")).to_be_focused()
    page.keyboard.press("Escape")
    expect(cancel).to_be_focused()
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    expect(dialog.get_by_role("button", name="Cancel the task")).to_be_focused()
    page.keyboard.press("Enter")

    # And it is cancelled; the focus stays in its row
    expect(row).to_have_count(0)
    ended = page.get_by_role("listitem").filter(has_text="hold").filter(has_text="cancelled")
    expect(ended.get_by_role("button", name="Retry")).to_be_focused()


def tab_to(page: Any, target: Any, *, key: str = "Tab") -> None:
    """Press Tab until the focus is there."""
    wanted = target.element_handle()
    for _ in range(100):
        if page.evaluate("(it) => document.activeElement === it", wanted):
            return
        page.keyboard.press(key)
    pytest.fail(f"{key} never comes to {target}")


def test_the_first_progressbar_is_the_tasks_own_and_says_what_it_is(visitor: Any, web: Any) -> None:
    puppet = web.puppet("Named", task="stepped")
    puppet.does(step="Pack", total=4)
    puppet.does(current=2)
    page = visitor.open(puppet.url)

    first = page.get_by_role("progressbar").first
    expect(first).to_have_accessible_name("Named")
    expect(first).to_have_attribute("aria-valuemin", "0")
    expect(first).to_have_attribute("aria-valuemax", "100")
    expect(first).to_have_attribute("aria-valuenow", "50")
    expect(first).to_have_attribute("aria-valuetext", "in progress, 50%")
    assert page.evaluate("document.querySelector('[role=progressbar]').getRootNode() === document")
    expect(page.get_by_role("button", name="Cancel")).to_have_accessible_description("Named")


def test_everything_to_press_is_large_enough_on_a_phone(visitor: Any, web: Any) -> None:
    web.ended(web.start("add"))
    page = visitor.open(web.url, viewport={"width": 320, "height": 640}, has_touch=True)
    expect(page.get_by_text("live", exact=True)).to_be_visible()

    small = page.evaluate(
        """() => [...document.querySelectorAll("button, input:not([type=hidden]), select, nav a")]
          .filter((it) => it.checkVisibility() && it.type !== "checkbox")
          .filter((it) => it.getBoundingClientRect().height < 44)
          .map((it) => it.outerHTML)"""
    )
    assert small == []

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
def inspect(axe: str) -> Callable[..., None]:
    """A function that looks at a page in every view and fails for whatever axe-core finds.

    Of a page with a frame it looks at what is in the frame.
    """

    def look(page: Any, frame: Any = None) -> None:
        shown = frame or page
        shown.evaluate(axe)
        for view, options in VIEWS.items():
            page.emulate_media(color_scheme=options["color_scheme"], reduced_motion="reduce")
            page.set_viewport_size({"width": options["width"], "height": 900})
            shown.evaluate(SETTLED)
            found = shown.evaluate(RUN_AXE)
            assert not found, f"{page.url} in {view}:\n" + "\n".join(found)
            wide = page.evaluate("document.documentElement.scrollWidth")
            assert wide <= options["width"], f"{page.url} is {wide} px wide in {view}"
            inner = shown.evaluate("document.documentElement.scrollWidth - innerWidth")
            assert inner <= 0, f"{shown.url} is {inner} px too wide in {view}"

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

    # The help, and a note in the corner
    page.keyboard.press("?")
    expect(page.get_by_role("dialog", name="Keyboard")).to_be_visible()
    inspect(page)
    page.keyboard.press("Escape")
    page.get_by_role("form", name="Add").get_by_role("button", name="Start").click()
    expect(page.locator(".toast")).to_be_visible()
    inspect(page)

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

    web.put("/api/tasks/part-of-it", {"name": "part", "parent_id": running.id})

    for puppet in (running, failed, done):
        page = visitor.open(puppet.url)
        expect(page.get_by_text("live", exact=True)).to_be_visible()
        for folded in page.locator("summary:visible").all():
            folded.click()
        inspect(page)
    page.get_by_role("button", name="Share").click()
    expect(page.get_by_role("dialog", name="Share")).to_be_visible()
    inspect(page)
    for path in (f"/embed/{running.id}", f"/tasks/{running.id}/cancel"):
        inspect(visitor.open(web.url + path))


def test_the_element_is_accessible_in_a_page_of_others(
    visitor: Any, module_web: Any, site: Any, inspect: Any
) -> None:
    # Given another site's page, light or dark as one wishes, with tasks of several kinds
    theirs = site("localhost")
    web = module_web("--origin", theirs.url)
    running, unknown = web.puppet("Running " + "on and on " * 30), web.puppet("Indeterminate")
    running.does(total=100, current=42, message="M" * 200)
    unknown.does(message="who knows")
    failed, done = web.puppet("Failed"), web.puppet("Done")
    failed.ends(fail="no good " * 20)
    done.ends()
    ids = [running.id, unknown.id, failed.id, done.id, "nobody"]
    theirs.publish(
        '<!doctype html><html lang="en"><title>Theirs</title>'
        '<meta name="color-scheme" content="light dark">'
        f'<script src="{web.url}/static/js/task-progress.js"></script><main><h1>Theirs</h1>'
        + "".join(f'<task-progress task-id="{task_id}"></task-progress>' for task_id in ids)
        + "</main>"
    )

    # When it is live, and when all of its connections are lost
    page = visitor.open(theirs.url)
    expect(page.get_by_role("progressbar", name="Running")).to_have_attribute("aria-valuenow", "42")
    expect(page.get_by_role("progressbar", name="Done")).to_have_attribute("aria-valuenow", "100")
    expect(page.get_by_text("There is no such task")).to_be_visible()
    inspect(page)
    visitor.expect("ERR_CONNECTION_REFUSED", "ERR_INTERNET_DISCONNECTED", "WebSocket")
    web.process.kill()
    expect(page.get_by_text("reconnecting").first).to_be_visible()

    # Then there is nothing to complain about
    inspect(page)


@pytest.mark.parametrize("where", ["#token={}", "?token={}", ""])
def test_the_frame_is_accessible(
    visitor: Any, module_web: Any, site: Any, inspect: Any, where: str
) -> None:
    visitor.expect("401")
    theirs = site("localhost")
    web = module_web("--origin", theirs.url, token="right")
    puppet = web.puppet("Framed")
    puppet.does(total=100, current=42, message="M" * 200)
    address = f"{web.url}/embed/{puppet.id}{where.format('right')}"
    theirs.publish(
        '<!doctype html><html lang="en"><title>Theirs</title>'
        f'<iframe title="bar" src="{address}" width="100%" height="200"></iframe>'
    )

    page = visitor.open(theirs.url)
    inside = page.frame_locator("iframe")
    if where:
        expect(inside.get_by_role("progressbar")).to_have_attribute("aria-valuenow", "42")
    else:
        expect(inside.get_by_text("needs a token")).to_be_visible()

    inspect(page, page.frames[1])


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
    expect(first).to_have_attribute("aria-valuetext", "50%")
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


def test_the_element_does_not_move_by_itself_for_those_who_want_it_still(
    visitor: Any, module_web: Any, site: Any
) -> None:
    theirs = site("localhost")
    web = module_web("--origin", theirs.url)
    puppet = web.puppet("Without an end")
    puppet.does(message="somewhere")
    theirs.publish(
        "<!doctype html><title>Theirs</title><body>"
        f'<script src="{web.url}/static/js/task-progress.js"></script>'
        f'<task-progress task-id="{puppet.id}"></task-progress>'
    )

    count = {}
    for motion in ("no-preference", "reduce"):
        page = visitor.open(theirs.url, reduced_motion=motion)
        bar = page.get_by_role("progressbar", name="Without an end")
        expect(bar).to_have_attribute("data-indeterminate", "")
        root = "document.querySelector('task-progress').shadowRoot"
        count[motion] = page.evaluate(f"{root}.getAnimations().length")

    assert count == {"no-preference": 1, "reduce": 0}


def test_nothing_moves_by_itself_for_those_who_want_it_still(visitor: Any, web: Any) -> None:
    # Given pages with all that is animated: a bar without end, spinners, a note in the corner
    puppet = web.puppet("Without an end")
    puppet.does(message="somewhere")
    moving, still = (
        visitor.open(web.url, reduced_motion=motion) for motion in ("no-preference", "reduce")
    )
    for page in (moving, still):
        expect(page.get_by_text("live", exact=True)).to_be_visible()
        row = page.get_by_role("listitem").filter(has_text="Without an end")
        expect(row.get_by_role("progressbar")).to_have_attribute("data-indeterminate", "")
        page.get_by_role("form", name="Add").get_by_role("button", name="Start").click()
        expect(page.locator(".toast").first).to_be_visible()
    page = visitor.open(puppet.url, reduced_motion="reduce")
    expect(page.get_by_text("live", exact=True)).to_be_visible()
    page.get_by_role("button", name="Cancel").click()
    expect(page.get_by_role("dialog")).to_be_visible()

    # Then nothing moves where motion is reduced, and something does elsewhere
    count = "document.getAnimations().length"
    assert still.evaluate(count) == page.evaluate(count) == 0
    assert moving.evaluate(count) > 0

"""Work that moves in every browser that watches, to its true end, in both main async modes."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import expect

pytestmark = pytest.mark.browser

FILES = 3_000
FILE_BYTES = 250_000
PLAIN_PAGE = """<!doctype html>
<title>Plain</title>
<button id="start">Go</button>
<script type="module">
import { io } from "./socket.io.esm.min.js";
const socket = io("%s");
window.seen = [];
socket.on("task_started", (task) => window.seen.push(["started", task.task_id]));
socket.on("progress_update", ({ task_id, progress, status }) =>
  window.seen.push([status, progress, task_id]));
document.getElementById("start").onclick = () => socket.emit("start_task");
socket.on("connect", () => { document.title = "Connected"; });
</script>
"""
RECORD = """() => {
  window.moves = [];
  const note = () => {
    for (const bar of document.querySelectorAll("#tasks [aria-valuenow]")) {
      const now = Number(bar.getAttribute("aria-valuenow"));
      if (now !== window.moves.at(-1)) window.moves.push(now);
    }
  };
  new MutationObserver(note).observe(document.getElementById("tasks"), {
    subtree: true, childList: true, attributes: true,
  });
}"""


@pytest.fixture(scope="module")
def friend(site: Any) -> Any:
    """A site of others whose pages the servers allow."""
    return site()


@pytest.fixture(scope="module", params=["eventlet", "threading"])
def web_in_both_modes(request: pytest.FixtureRequest, module_web: Any, friend: Any) -> Any:
    """One server for these tests in each of the two main async modes."""
    return module_web("--origin", friend.url, "--default-task", "add", mode=request.param)


@pytest.fixture
def big_folder(web_in_both_modes: Any) -> Path:
    """A folder with 3,000 files, sparse but all different."""
    folder = Path(web_in_both_modes.process.root) / "photos"
    if not folder.exists():
        for number in range(FILES):
            path = folder / f"{number % 30:02}" / f"IMG {number:04}.raw"
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("wb") as file:
                file.write(str(number).encode())
                file.truncate(FILE_BYTES)
    return folder


def test_a_checksum_moves_in_two_browsers_at_once_and_its_file_is_true(
    visitor: Any, web_in_both_modes: Any, big_folder: Path, tmp_path: Path
) -> None:
    # Given two browsers that look at the list
    web = web_in_both_modes
    here, there = visitor.open(web.url), visitor.open(web.url)
    for page in (here, there):
        expect(page.get_by_text("live", exact=True)).to_be_visible()
        page.evaluate(RECORD)

    # When one of them starts a checksum of 3,000 files with the form
    form = here.locator("form", has=here.get_by_role("heading", name="Checksum"))
    form.get_by_label("Path").fill(big_folder.name)
    form.get_by_role("button", name="Start").click()

    # Then it moves in both, from the same numbers, to the end
    for page in (here, there):
        row = page.get_by_role("listitem").filter(has_text=f"Checksum {big_folder.name}")
        expect(row.get_by_role("progressbar")).to_have_attribute("aria-valuenow", "100")
        expect(row).to_contain_text("completed")
        expect(row).to_contain_text("3,000 of 3,000 files")
        moves = page.evaluate("window.moves")
        assert moves == sorted(moves)
        assert len([move for move in moves if 0 < move < 100]) >= 2, moves

    # And its file, downloaded through the page, is what coreutils say
    here.get_by_role("link", name=f"Checksum {big_folder.name}").first.click()
    expect(here.get_by_role("heading", name="Files")).to_be_visible()
    with here.expect_download() as download:
        here.get_by_role("link", name="SHA256SUMS").click()
    sums = tmp_path / "SHA256SUMS"
    download.value.save_as(sums)
    assert len(sums.read_text().splitlines()) == FILES
    checked = subprocess.run(
        ["sha256sum", "--check", "--strict", "--quiet", str(sums)],  # noqa: S607 - coreutils
        cwd=big_folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_a_page_that_knows_only_three_keys_works_unchanged(
    visitor: Any, web_in_both_modes: Any, friend: Any
) -> None:
    # Given a page of another site that the server allows, and that sends `start_task` bare
    friend.publish(PLAIN_PAGE % web_in_both_modes.url)
    page = visitor.open(friend.url)
    page.wait_for_function("document.title === 'Connected'")

    # When its button is pressed
    page.get_by_role("button", name="Go").click()
    page.wait_for_function("window.seen.some(([status]) => status === 'completed')")

    # Then it has heard of the task by name and seen it end
    seen = page.evaluate("window.seen")
    ids = {item[-1] for item in seen}
    assert len(ids) == 1
    assert ["started", *ids] in seen
    assert ["completed", 100, *ids] in seen


def test_a_page_of_a_site_that_is_not_allowed_gets_nothing(
    visitor: Any, web_in_both_modes: Any, site: Any
) -> None:
    visitor.expect("socket.io", "Failed to load resource", "ERR_FAILED")
    web, stranger = web_in_both_modes, site()
    stranger.publish(PLAIN_PAGE % web.url)
    context = visitor.context()
    refused: list[int] = []
    context.on(
        "response",
        lambda answer: answer.url.startswith(web.url) and refused.append(answer.status),
    )
    page = context.new_page()

    with page.expect_event("requestfailed"):
        page.goto(stranger.url)

    assert page.title() == "Plain"
    assert page.evaluate("window.seen") == []
    assert set(refused) <= {403}


def test_a_page_that_comes_late_shows_the_state_at_once(
    visitor: Any, web_in_both_modes: Any
) -> None:
    # Given a task that stands at 42 %
    puppet = web_in_both_modes.puppet("Half way there")
    puppet.does(total=100, current=42, message="at the 42nd", log=["line one", "line two"])
    on_time = visitor.open(puppet.url)
    expect(on_time.get_by_role("progressbar").first).to_have_attribute("aria-valuenow", "42")

    # When pages come later, with and without JavaScript
    late = visitor.open(puppet.url)
    plain = visitor.open(puppet.url, java_script_enabled=False)

    # Then they show it, log and all
    for page in (late, plain):
        expect(page.get_by_role("progressbar").first).to_have_attribute("aria-valuenow", "42")
        expect(page.get_by_role("main")).to_contain_text("at the 42nd")
        expect(page.get_by_role("region", name="Log")).to_contain_text("line two")

    # And the ones with JavaScript go on with it, to the end
    puppet.does(current=43)
    for page in (on_time, late):
        expect(page.get_by_role("progressbar").first).to_have_attribute("aria-valuenow", "43")
    puppet.ends()
    for page in (on_time, late):
        expect(page.get_by_role("progressbar").first).to_have_attribute("aria-valuenow", "100")
        expect(page.get_by_role("main")).to_contain_text("completed")
        expect(page).to_have_title("completed · Half way there")


def test_cancelling_asks_once_more_and_is_seen_by_everybody(
    visitor: Any, web_in_both_modes: Any
) -> None:
    # Given a running task that two browsers look at, one of them at the list
    web = web_in_both_modes
    task_id = web.start("hold", title="Rotate the backups")
    here, there = visitor.open(f"{web.url}/tasks/{task_id}"), visitor.open(web.url)
    row = there.get_by_role("listitem").filter(has_text="Rotate the backups")
    expect(row.get_by_role("button", name="Cancel")).to_be_enabled()
    dialog = here.get_by_role("dialog", name="Cancel this task?")

    # When one presses Cancel, the dialog names the task; keeping it, by button or key, keeps it
    here.get_by_role("button", name="Cancel").click()
    expect(dialog).to_contain_text("Rotate the backups")
    here.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    here.get_by_role("button", name="Cancel").click()
    dialog.get_by_role("button", name="Keep it running").click()
    expect(dialog).to_be_hidden()
    assert web.get(f"/api/tasks/{task_id}")["cancel_requested"] is False

    # When it is confirmed
    here.get_by_role("button", name="Cancel").click()
    dialog.get_by_role("button", name="Cancel the task").click()

    # Then it is cancelled, for both
    expect(here.get_by_role("article")).to_contain_text("cancelled")
    expect(row).to_contain_text("cancelled")
    expect(row.get_by_role("button", name="Retry")).to_be_visible()
    assert web.ended(task_id)["status"] == "cancelled"


def test_a_retry_is_a_new_task_with_the_same_arguments(
    visitor: Any, web_in_both_modes: Any
) -> None:
    web = web_in_both_modes
    task_id = web.start("add", args={"a": 40, "b": 2})
    web.ended(task_id)
    page = visitor.open(f"{web.url}/tasks/{task_id}")

    page.get_by_role("button", name="Retry").click()

    page.wait_for_url(lambda url: "/tasks/" in url and task_id not in url)
    expect(page.get_by_role("heading", level=1)).to_have_text("Add 40")
    expect(page.get_by_role("region", name="Result")).to_contain_text("42")


CLICK_AT_ONCE = """
addEventListener("DOMContentLoaded", () => {
  if (sessionStorage.getItem("clicked")) return;
  sessionStorage.setItem("clicked", "yes");
  document.querySelector("form[data-action=retry] button").click();
});
"""


def test_a_click_before_the_first_connection_waits_for_it(
    visitor: Any, web_in_both_modes: Any
) -> None:
    web = web_in_both_modes
    task_id = web.start("add", args={"a": 40, "b": 2})
    web.ended(task_id)
    page = visitor.open("about:blank")
    # Given somebody who clicks as soon as the page's scripts have run, and not again
    page.add_init_script(CLICK_AT_ONCE)
    # When the page loads
    page.goto(f"{web.url}/tasks/{task_id}")
    # Then the click counts, though there was no connection yet
    page.wait_for_url(lambda url: "/tasks/" in url and task_id not in url)

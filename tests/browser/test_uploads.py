"""The upload form: chosen, dropped, paused, cut and resumed; seen by others; by keyboard; without scripts."""

from __future__ import annotations

import contextlib
import hashlib
import json
import random
import re
import select
import shutil
import socket
import subprocess
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import expect

from tests.conftest import missing_service

pytestmark = pytest.mark.browser
WAIT_MS = 30_000
PROJECT = Path(__file__).resolve().parents[2]
CSV = b"name,size\n" + b"".join(b"row %d,%d\n" % (n, n) for n in range(1000))
TUS_SCRIPT = """
import { createRequire } from "node:module";
const require = createRequire(process.argv[2] + "/");
const tus = require("tus-js-client");
const fs = require("node:fs");
const [, , , endpoint, path] = process.argv;
const upload = new tus.Upload(fs.createReadStream(path), {
  endpoint,
  uploadSize: fs.statSync(path).size,
  chunkSize: 1 << 20,
  retryDelays: [0, 50, 100, 200, 200, 200, 200, 200, 200, 200],
  metadata: { filename: "random.bin" },
  onError: (error) => { console.error(String(error)); process.exit(1); },
  onSuccess: () => console.log(upload.url),
});
upload.start();
"""


class Cutter:
    """A TCP proxy that breaks its connections after so many bytes, as long as there are numbers."""

    def __init__(self, port: int, cuts: list[int]) -> None:
        self._target, self._cuts = port, cuts
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.settimeout(0.1)
        self.port = int(self._listener.getsockname()[1])
        self.cut = 0
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def close(self) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()
        self._listener.close()

    def _accept(self) -> None:
        while not self._over.is_set():
            with contextlib.suppress(TimeoutError):
                client, _ = self._listener.accept()
                self._threads.append(threading.Thread(target=self._carry, args=(client,)))
                self._threads[-1].start()

    def _carry(self, client: socket.socket) -> None:
        passed = 0
        with client, socket.create_connection(("127.0.0.1", self._target)) as server:
            while not self._over.is_set():
                for source in select.select([client, server], [], [], 0.1)[0]:
                    try:
                        data = source.recv(65536)
                        (server if source is client else client).sendall(data)
                    except OSError:
                        return
                    if not data:
                        return
                    passed += len(data) if source is client else 0
                    if self._cuts and passed > self._cuts[0]:
                        self._cuts.pop(0)
                        self.cut += 1
                        return


@pytest.fixture
def page(browser: Any, server: Callable[..., Any]) -> Iterator[Any]:
    """The list's page of a server of its own, with whatever its console says."""
    running = server()
    context = browser.new_context(base_url=running.url)
    opened = context.new_page()
    opened.server = running
    opened.complaints = []
    opened.on(
        "console", lambda m: m.type in {"error", "warning"} and opened.complaints.append(m.text)
    )
    opened.on("pageerror", lambda error: opened.complaints.append(str(error)))
    opened.goto("/")
    opened.wait_for_selector('#connection[data-state="live"]')
    yield opened
    context.close()


def chosen(name: str, content: bytes) -> dict[str, Any]:
    return {"name": name, "mimeType": "application/octet-stream", "buffer": content}


def test_a_chosen_file_goes_to_its_task_which_everybody_sees(page: Any, browser: Any) -> None:
    # Given somebody else who has the list open
    other = browser.new_page(base_url=page.server.url)
    other.goto("/")

    # When a file is chosen for the import and uploaded
    page.get_by_label("What for").select_option("csv_import")
    page.locator("#upload-file").set_input_files(chosen("numbers.csv", CSV))
    page.get_by_role("button", name="Upload").click()

    # Then its task ends as completed on both pages, with Upload as its first step
    for seen in (page, other):
        row = seen.locator("#tasks > li", has_text="Import numbers.csv")
        row.locator('[data-part="status"]', has_text="completed").wait_for(timeout=WAIT_MS)
    page.get_by_role("link", name="show").click()
    page.wait_for_url("**/tasks/*")
    steps = page.locator("#steps-list .step-name").all_inner_texts()
    assert steps[0] == "Upload"
    assert page.complaints == []
    other.close()


def test_retry_is_dim_where_nothing_can_be_started_again(visitor: Any, web: Any) -> None:
    # Given a page that sees an upload end, work that a reporter did, and work of the server's own
    page = visitor.open(web.url)
    expect(page.get_by_text("live", exact=True)).to_be_visible()
    form = upload_form(page)
    form.get_by_label("What for").select_option("csv_import")
    form.get_by_label("File").set_input_files(chosen("sent.csv", CSV))
    form.get_by_role("button", name="Upload").click()
    web.put("/api/tasks/elsewhere", {"title": "Elsewhere", "status": "completed"})
    web.puppet("At the server").ends()

    # Then only what the server has can be started again
    for title, able in (("Import sent.csv", False), ("Elsewhere", False), ("At the server", True)):
        row = page.get_by_role("listitem").filter(has=page.get_by_role("link", name=title))
        expect(row).to_contain_text("completed")
        expect(row.get_by_role("button", name="Retry")).to_be_enabled(enabled=able)

    # When it is pressed all the same, then it says why not, in a sentence
    row = page.get_by_role("listitem").filter(has=page.get_by_role("link", name="Import sent.csv"))
    row.get_by_role("button", name="Retry").dispatch_event("click")
    expect(page.locator("#alert")).to_contain_text(
        "Not started again. The uploaded file is gone: upload it again."
    )

    # And so it is on the task's page, which has of the file its own name
    row.get_by_role("link").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Import sent.csv")
    expect(page.get_by_role("button", name="Retry")).to_be_disabled()
    expect(page.get_by_role("region", name="Arguments")).to_contain_text("sent.csv")
    expect(page.get_by_role("main")).not_to_contain_text(str(web.process.data))


class Drag:
    """A pointer that carries something from outside the browser over a page.

    Args:
        page: what it is over.
        files: the paths of the files that it carries.
        text: the text that it carries.
    """

    def __init__(self, page: Any, *files: Path, text: str = "") -> None:
        self._page = page
        self._session = page.context.new_cdp_session(page)
        items = [{"mimeType": "text/plain", "data": text}] if text else []
        paths = [str(file) for file in files]
        self._data = {"items": items, "files": paths, "dragOperationsMask": 1}

    def over(self, x: float = 40, y: float = 120) -> None:
        """Come to a point, the page's heading unless another is named."""
        self._do("dragEnter", x, y)
        self._do("dragOver", x, y)

    def drop(self, x: float = 40, y: float = 120) -> None:
        """Come to a point and let go."""
        self.over(x, y)
        self._do("drop", x, y)

    def leave(self, x: float = 40, y: float = 120) -> None:
        """Have what is under the pointer told that it leaves; the protocol of DevTools cannot."""
        self._page.evaluate(
            """([x, y]) => document.elementFromPoint(x, y).dispatchEvent(
              new DragEvent("dragleave", { bubbles: true }))""",
            [x, y],
        )

    def _do(self, kind: str, x: float, y: float) -> None:
        event = {"type": kind, "x": x, "y": y, "data": self._data}
        self._session.send("Input.dispatchDragEvent", event)


def test_a_file_dropped_anywhere_is_uploaded(page: Any, tmp_path: Path) -> None:
    # Given a file that is dragged over the page, and away
    file = tmp_path / "dropped.csv"
    file.write_bytes(CSV)
    target = page.get_by_text("Drop the file to upload it")
    drag = Drag(page, file)
    drag.over()
    expect(target).to_be_in_viewport(ratio=1)
    drag.leave()
    expect(target).to_be_hidden()

    # When it is dropped far from the form
    drag.drop()

    # Then it is uploaded, and the page is still there
    row = page.locator("#tasks > li", has_text="Upload of dropped.csv")
    row.locator('[data-part="status"]', has_text="completed").wait_for(timeout=WAIT_MS)
    expect(target).to_be_hidden()
    assert page.url == f"{page.server.url}/"
    assert page.complaints == []


def test_a_file_that_is_dragged_away_from_a_dialog_leaves_no_cover(
    page: Any, tmp_path: Path
) -> None:
    page.keyboard.press("?")
    expect(page.get_by_role("dialog")).to_be_visible()
    target = page.get_by_text("Drop the file to upload it")
    (tmp_path / "away.csv").write_bytes(CSV)
    drag = Drag(page, tmp_path / "away.csv")

    drag.over()
    expect(target).to_have_count(1)
    expect(target).not_to_have_attribute("hidden", "")
    drag.leave()

    expect(target).to_have_attribute("hidden", "")


@pytest.mark.parametrize("width", [1280, 320])
def test_a_dropped_file_waits_for_the_arguments_of_its_task(
    page: Any, tmp_path: Path, width: int
) -> None:
    # Given a task that takes more than a file
    page.set_viewport_size({"width": width, "height": 600})
    file = tmp_path / "sizes.csv"
    file.write_bytes(CSV)
    form = upload_form(page)
    form.get_by_label("What for").select_option("csv_import")
    page.evaluate("scrollTo(0, 0)")

    # When a file is dropped elsewhere on the page
    Drag(page, file).drop()

    # Then it is in the form, which asks for the rest
    expect(form.get_by_label("Table")).to_be_focused()
    expect(form.get_by_label("Table")).to_be_in_viewport()
    expect(form.get_by_label("File")).to_have_value(re.compile(r"sizes\.csv$"))
    expect(page.locator("#tasks > li")).to_have_count(0)

    # When the form is sent, then that is the task's file
    page.keyboard.type("sizes")
    page.keyboard.press("Enter")
    row = page.locator("#tasks > li", has_text="Import sizes.csv")
    row.locator('[data-part="status"]', has_text="completed").wait_for(timeout=WAIT_MS)


def test_what_is_no_single_file_is_not_taken(page: Any, tmp_path: Path) -> None:
    # When a folder is dropped, or several files
    for number in (1, 2):
        (tmp_path / f"{number}.csv").write_bytes(CSV)
    for carried in ([tmp_path], [tmp_path / "1.csv", tmp_path / "2.csv"]):
        page.evaluate("document.activeElement.blur()")
        Drag(page, *carried).drop()

        # Then the form says what can be done
        file = upload_form(page).get_by_label("File")
        expect(file).to_be_focused()
        expect(file).to_have_accessible_description(re.compile("pack several, or a folder"))

    # When a text is dragged, then that is none of our business
    drag = Drag(page, text="a text")
    page.evaluate("addEventListener('dragover', (event) => (window.seen = event))")
    drag.over()
    page.wait_for_function("window.seen?.dataTransfer !== undefined")
    assert page.evaluate("window.seen.defaultPrevented") is False
    expect(page.locator(".drop-target")).to_be_hidden()
    assert page.url == f"{page.server.url}/"


def test_the_keyboard_alone_uploads(page: Any) -> None:
    page.locator("#upload-file").set_input_files(chosen("keys.bin", b"x"))
    page.locator("#upload-file").focus()
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.id") == "upload-start"
    page.keyboard.press("Enter")

    page.locator("#tasks > li", has_text="Upload of keys.bin").wait_for(timeout=WAIT_MS)


def test_a_paused_upload_waits_and_goes_on(page: Any) -> None:
    # Given an upload on a slow connection
    session = page.context.new_cdp_session(page)
    session.send("Network.enable")
    slow = {"offline": False, "latency": 0, "downloadThroughput": -1, "uploadThroughput": 300_000}
    session.send("Network.emulateNetworkConditions", slow)
    content = bytes(2_000_000)
    page.locator("#upload-file").set_input_files(chosen("slow.bin", content))
    page.get_by_role("button", name="Upload").click()
    page.locator("#upload-told", has_text="of 2.0 MB").wait_for(timeout=WAIT_MS)

    # When it is paused, then its task says that it waits
    page.get_by_role("button", name="Pause").click()
    row = page.locator("#tasks > li", has_text="Upload of slow.bin")
    row.locator('[data-part="message"]', has_text="Waiting").wait_for(timeout=WAIT_MS)

    # When it goes on, then it is whole
    session.send("Network.emulateNetworkConditions", {**slow, "uploadThroughput": -1})
    page.get_by_role("button", name="Resume").click()
    row.locator('[data-part="status"]', has_text="completed").wait_for(timeout=WAIT_MS)


def test_a_refusal_is_said_where_the_file_is(page: Any, server: Callable[..., Any]) -> None:
    small = server("--max-upload", "10")
    page.goto(small.url)
    page.wait_for_selector('#connection[data-state="live"]')
    page.locator("#upload-file").set_input_files(chosen("large.bin", b"x" * 100))
    page.get_by_role("button", name="Upload").click()

    page.locator("#upload-error", has_text="10 bytes at most").wait_for(timeout=WAIT_MS)
    assert page.get_by_role("button", name="Upload").is_visible()


def test_without_scripts_the_form_goes_to_the_tasks_page(
    browser: Any, server: Callable[..., Any]
) -> None:
    running = server()
    context = browser.new_context(base_url=running.url, java_script_enabled=False)
    page = context.new_page()
    page.goto("/")
    page.get_by_label("What for").select_option("csv_import")
    page.locator("#upload-file").set_input_files(chosen("numbers.csv", CSV))
    page.get_by_role("button", name="Upload").click()

    page.wait_for_url("**/tasks/*")
    assert "Import numbers.csv" in page.inner_text("h1")
    context.close()


def upload_form(page: Any) -> Any:
    """Return the upload form, once its list is live where it can be."""
    return page.get_by_role("form", name="Upload a file")


def test_what_a_file_is_for_takes_its_other_arguments_too(visitor: Any, web: Any) -> None:
    # Given the form, and a task function with one argument of each kind
    page = visitor.open(web.url)
    expect(page.get_by_text("live", exact=True)).to_be_visible()
    form = upload_form(page)
    expect(form.get_by_label("Numbers")).to_be_hidden()
    form.get_by_label("What for").select_option("csv_import")
    expect(form.get_by_label("Table")).to_be_visible()
    form.get_by_label("What for").select_option("shapes")
    expect(form.get_by_label("Table")).to_be_hidden()
    expect(form.get_by_label("Where")).to_have_count(0)

    # When it is sent as it is, then what is missing is said at its field, and nothing is sent
    form.get_by_label("File").set_input_files(chosen("a.bin", b"x"))
    form.get_by_role("button", name="Upload").click()
    numbers = form.get_by_label("Numbers")
    expect(numbers).to_be_focused()
    expect(numbers).to_have_accessible_description("This is needed.")

    # When what the server refuses is sent, then that is said there, too
    visitor.expect("400", "422")
    numbers.fill('["one"]')
    form.get_by_role("button", name="Upload").click()
    expect(numbers).to_be_focused()
    expect(numbers).to_have_accessible_description(re.compile("int"))

    # When all of it is right, then the task has it, each value of its type
    numbers.fill("[1, 2]")
    form.get_by_label("Deep").uncheck()
    form.get_by_label("Mode").select_option("slow")
    form.get_by_label("Share").fill("0.5")
    form.get_by_role("button", name="Upload").click()
    show = form.get_by_role("link", name="show")
    expect(show).to_be_visible()
    task = web.ended(show.get_attribute("href").rpartition("/")[2])
    assert task["result"] == {"numbers": [1, 2], "deep": False, "mode": "slow", "share": 0.5}

    # And the form is as it was, for the next file of that kind
    expect(form.get_by_label("What for")).to_have_value("shapes")
    expect(form.get_by_label("Numbers")).to_have_value("")
    expect(form.get_by_label("File")).to_have_value("")


def test_without_a_file_nothing_is_sent(visitor: Any, web: Any) -> None:
    page = visitor.open(web.url)
    expect(page.get_by_text("live", exact=True)).to_be_visible()
    upload_form(page).get_by_role("button", name="Upload").click()

    file = upload_form(page).get_by_label("File")
    expect(file).to_be_focused()
    expect(file).to_have_accessible_description("Choose a file.")


def test_without_scripts_the_other_arguments_are_sent_too(visitor: Any, web: Any) -> None:
    # Given a browser without scripts, where each has its arguments folded
    page = visitor.open(web.url, java_script_enabled=False)
    form = upload_form(page)
    form.get_by_label("What for").select_option("shapes")
    form.get_by_text("For shapes").click()
    form.get_by_label("Numbers").fill("[3]")
    form.get_by_label("Mode").select_option("slow")
    form.get_by_text("For Import").click()
    form.get_by_label("Table").fill("another's")
    form.get_by_label("File").set_input_files(chosen("a.bin", b"x"))

    # When the form is sent
    form.get_by_role("button", name="Upload").click()

    # Then the task has those of its function, and no other's
    page.wait_for_url("**/tasks/*")
    task = web.ended(page.url.rpartition("/")[2])
    assert task["result"] == {"numbers": [3], "deep": True, "mode": "slow", "share": None}

    # And what is missing is said
    visitor.expect("422")
    page.goto(web.url)
    form.get_by_label("What for").select_option("shapes")
    form.get_by_label("File").set_input_files(chosen("a.bin", b"x"))
    form.get_by_role("button", name="Upload").click()
    expect(page.get_by_text("numbers")).to_be_visible()


@pytest.fixture(scope="session")
def tus_client() -> Path:
    """The folder that holds tus-js-client from npm."""
    home = PROJECT / ".cache" / "tus"
    if not (home / "node_modules" / "tus-js-client").is_dir():
        npm = shutil.which("npm")
        if npm is None:
            missing_service("npm is not installed")
        home.mkdir(parents=True, exist_ok=True)
        flags = ["--no-save", "--no-audit", "--no-fund", "--loglevel=error"]
        done = subprocess.run(
            [str(npm), "install", "--prefix", str(home), *flags, "tus-js-client@4"],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            missing_service(f"npm cannot install tus-js-client: {done.stderr}")
    return home


def test_tus_js_client_goes_on_through_killed_servers(
    tus_client: Path, server: Callable[..., Any], tmp_path: Path
) -> None:
    # Given the protocol's own client, which uploads in small pieces
    running, dice = server(), random.Random(20)  # noqa: S311
    content = dice.randbytes(8 << 20)
    with sending(tus_client, running.url, content, tmp_path) as client:
        # When the server is killed on the way, and once more
        for least in sorted(dice.sample(range(4 << 20), 2)):
            while arrived(running.url) <= least:
                assert client.poll() is None
            running.kill()
            running.start()
        sent, complaints = client.communicate(timeout=60)

    # Then there is one task, and its file is whole
    assert client.returncode == 0, complaints
    task_id = sent.strip().rpartition("/")[2]
    kept = running.data / "files" / task_id / "random.bin"
    assert [path.name for path in (running.data / "files").iterdir()] == [task_id]
    assert hashlib.sha256(kept.read_bytes()).digest() == hashlib.sha256(content).digest()


def test_tus_js_client_begins_anew_after_a_server_that_was_told_to_stop(
    tus_client: Path, server: Callable[..., Any], tmp_path: Path
) -> None:
    # Given the protocol's own client with a file of which a part has arrived
    running = server()
    content = random.Random(21).randbytes(8 << 20)  # noqa: S311
    with sending(tus_client, running.url, content, tmp_path) as client:
        while arrived(running.url) <= 1 << 20:
            assert client.poll() is None

        # When the server is told to stop, and starts again
        running.restart()
        sent, complaints = client.communicate(timeout=60)

    # Then that upload's task is cancelled, and the client has brought the file in a new one
    assert client.returncode == 0, complaints
    with urllib.request.urlopen(f"{running.url}/api/tasks", timeout=30) as response:  # noqa: S310
        new, old = json.load(response)["tasks"]
    assert (old["status"], old["error"]["code"]) == ("cancelled", "shutdown")
    assert (new["status"], new["task_id"]) == ("completed", sent.strip().rpartition("/")[2])
    kept = running.data / "files" / new["task_id"] / "random.bin"
    assert kept.read_bytes() == content


def sending(tus_client: Path, url: str, content: bytes, folder: Path) -> subprocess.Popen[str]:
    """Have tus-js-client upload in small pieces, patiently; it prints the address in the end."""
    script = TUS_SCRIPT.replace("chunkSize: 1 << 20", "chunkSize: 1 << 15")
    script = re.sub(r"retryDelays: \[.*?\]", "retryDelays: Array(300).fill(100)", script)
    (folder / "random.bin").write_bytes(content)
    (folder / "send.mjs").write_text(script, encoding="utf-8")
    command = [str(shutil.which("node")), str(folder / "send.mjs"), str(tus_client)]
    return subprocess.Popen(
        [*command, f"{url}/api/uploads/tus", str(folder / "random.bin")],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def arrived(url: str) -> float:
    """Return the bytes that the newest task has; 0 while there is none."""
    with urllib.request.urlopen(f"{url}/api/tasks?limit=1", timeout=30) as response:  # noqa: S310
        tasks = json.load(response)["tasks"]
    return float(tasks[0]["current"]) if tasks else 0.0


def test_tus_js_client_goes_on_through_cuts_at_odd_places(
    tus_client: Path, server: Callable[..., Any], tmp_path: Path
) -> None:
    # Given a connection that breaks four times on the way
    running = server()
    content = b"".join(hashlib.sha256(b"%d" % n).digest() for n in range(1 << 17))
    (tmp_path / "random.bin").write_bytes(content)
    (tmp_path / "send.mjs").write_text(TUS_SCRIPT, encoding="utf-8")
    cutter = Cutter(running.port, [300_000, 77_777, 1_000_001, 500_000])

    # When the protocol's own client uploads
    sent = subprocess.run(
        [
            str(shutil.which("node")),
            str(tmp_path / "send.mjs"),
            str(tus_client),
            f"http://127.0.0.1:{cutter.port}/api/uploads/tus",
            str(tmp_path / "random.bin"),
        ],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    cutter.close()

    # Then the file is whole
    assert sent.returncode == 0, sent.stderr
    assert cutter.cut == 4
    task_id = sent.stdout.strip().rpartition("/")[2]
    kept = running.data / "files" / task_id / "random.bin"
    deadline = time.monotonic() + 10
    while not kept.exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert hashlib.sha256(kept.read_bytes()).digest() == hashlib.sha256(content).digest()
    assert json.loads(running.cli("ls", "--json").stdout)

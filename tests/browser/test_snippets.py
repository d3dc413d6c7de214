"""The empty page's snippets do what it says they do, letter by letter."""

from __future__ import annotations

import json
import os
import re
import shlex
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import expect

pytestmark = pytest.mark.browser

TOKEN = "of the snippets"
SCRIPT = re.compile(r"# (\w+\.py), then: (.+)\n")


class Reader:
    """Somebody who copies what the page shows into a terminal of theirs.

    Args:
        page: the empty list.
        web: its server.
        folder: where the terminal is.
    """

    def __init__(self, page: Any, web: Any, folder: Path) -> None:
        self.page, self.web, self.folder = page, web, folder
        self.env = {
            **web.process.env,
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            **({"SOCKETPROGRESS_TOKEN": web.token} if web.token else {}),
        }

    def copied(self, heading: str) -> str:
        """Return what the button beside the snippet under a heading copies."""
        way = self.page.locator("details").filter(
            has=self.page.get_by_role("heading", name=heading, exact=True)
        )
        region, snippet = way.locator("pre"), way.locator(".snippet")
        if not region.is_visible():
            way.locator("summary").click()
        snippet.get_by_role("button", name="Copy").click()
        expect(self.page.get_by_role("status")).to_have_text("Copied")
        copied = str(self.page.evaluate("navigator.clipboard.readText()"))
        assert copied == region.text_content()
        return copied

    def saved(self, heading: str) -> str:
        """Save a snippet under the name that it gives, and return the command that it gives."""
        text = self.copied(heading)
        found = SCRIPT.match(text)
        assert found, text
        (self.folder / found[1]).write_text(text, encoding="utf-8")
        return found[2]

    def types(self, command: str) -> str:
        """Run a command to its end and return what it printed."""
        done = subprocess.run(
            ["/bin/sh", "-c", command],
            cwd=self.folder,
            env=self.env,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout


@pytest.fixture
def reads(visitor: Any, fresh_web: Any, tmp_path: Path) -> Callable[[str], Reader]:
    """A function that sits somebody before an empty page, with a terminal."""
    return partial(_read, visitor, fresh_web, tmp_path)


def _read(visitor: Any, fresh_web: Any, folder: Path, token: str) -> Reader:
    web = fresh_web(token=token)
    (web.process.root / "a file").write_text("to hash")
    page = visitor.context(permissions=["clipboard-read", "clipboard-write"]).new_page()
    page.goto(web.url + (f"/?token={web.token}" if web.token else ""))
    expect(page.get_by_role("heading", name="Nothing runs yet")).to_be_visible()
    return Reader(page, web, folder)


@pytest.mark.parametrize("token", ["", TOKEN], ids=["without a token", "with a token"])
def test_every_snippet_works_as_it_stands(reads: Callable[[str], Reader], token: str) -> None:
    reader = reads(token)
    page = reader.page
    rows = page.get_by_role("list", name="Tasks").get_by_role("listitem")
    script = reader.saved("A loop in any Python script")
    command = reader.copied("Any command")
    watch = reader.copied("Started and watched from elsewhere")
    curl = reader.copied("Started with curl")

    # A loop in a script
    reader.types(script)
    expect(rows.filter(has_text="Import")).to_contain_text("100 of 100")
    expect(rows.filter(has_text="Import")).to_contain_text("completed")
    expect(page.get_by_role("heading", name="Nothing runs yet")).to_be_hidden()

    # A command
    reader.types(command)
    expect(rows.filter(has_text="du -sh")).to_contain_text("completed")

    # Starting and watching from another program
    (reader.folder / "watch.py").write_text(watch, encoding="utf-8")
    assert reader.types("python watch.py").splitlines()[-1].startswith("completed 100")
    expect(rows.filter(has_text="Checksum")).to_have_count(1)

    # curl
    assert '"status":"' in reader.types(curl)
    expect(rows.filter(has_text="Checksum")).to_have_count(2)
    expect(rows.filter(has_text="Checksum").filter(has_text="completed")).to_have_count(2)


def test_the_function_of_the_snippet_gets_a_form_beside_what_runs(
    visitor: Any, reads: Callable[[str], Reader]
) -> None:
    # Given the snippet in a file, and somebody whose servers take the place of the one that runs
    reader = reads("")
    command = reader.saved("A function with a form of its own")
    running = reader.web.process
    reader.env |= {
        "SOCKETPROGRESS_PORT": str(running.port),
        "SOCKETPROGRESS_DATA": str(running.data),
    }

    # When the command is typed
    server = subprocess.Popen(
        shlex.split(command), cwd=reader.folder, env=reader.env, stdout=subprocess.PIPE, text=True
    )
    try:
        assert server.stdout is not None
        listening = server.stdout.readline().split()
        assert listening[:2] == ["Listening", "on"]

        # Then there is a second page, which can start the function
        page = visitor.open(listening[2])
        expect(page.get_by_text("live", exact=True)).to_be_visible()
        form = page.locator("form[data-start=count]")
        form.get_by_label("Limit").fill("7")
        form.get_by_role("button", name="Start").click()
        page.get_by_role("link", name="Count to 7").first.click()
        expect(page.get_by_role("main")).to_contain_text("7 of 7")
        expect(page.locator("#result-text")).to_contain_text('"counted": 7')
        page.close()
    finally:
        server.terminate()
        server.communicate()


def test_the_flask_app_of_the_snippet_starts_and_shows_its_task(
    visitor: Any, reads: Callable[[str], Reader]
) -> None:
    # Given the snippet in a file, and its app running on a free port
    reader = reads("")
    command = reader.saved("A Flask app of yours")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    app = subprocess.Popen(
        [*shlex.split(command), "--port", str(port)],
        cwd=reader.folder,
        env=reader.env,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        # When its route is asked
        started = first_answer(f"{url}/count")

        # Then the task is on its page, to its end
        page = visitor.open(f"{url}/progress/tasks/{started['task_id']}")
        expect(page.get_by_role("heading", level=1)).to_have_text("Count to 1000")
        expect(page.get_by_role("main")).to_contain_text("1,000 of 1,000")
        expect(page.locator("#result-text")).to_contain_text('"counted": 1000')
        page.close()
    finally:
        app.terminate()
        app.wait()


def test_the_celery_application_of_the_snippet_is_shown(
    reads: Callable[[str], Reader], redis_server: Callable[..., Any]
) -> None:
    # Given the snippet in a file, and its worker at a broker
    reader = reads(TOKEN)
    command = reader.saved("A Celery application of yours")
    reader.env["CELERY_BROKER_URL"] = redis_server().url
    worker = subprocess.Popen(
        [*shlex.split(command), "--pool", "solo"],
        cwd=reader.folder,
        env=reader.env,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        # When its task is sent by anybody
        reader.types("celery -A work call work.resize --kwargs '{\"total\": 7}'")

        # Then it is on the page, to its end
        row = reader.page.get_by_role("listitem").filter(has_text="resize")
        expect(row).to_contain_text("completed")
        row.get_by_role("link").click()
        expect(reader.page.locator("#result-text")).to_contain_text('"resized": 7')
    finally:
        worker.terminate()
        worker.wait()


def first_answer(url: str) -> Any:
    """Return what a POST says, once there is somebody to answer it."""
    for _ in range(200):
        try:
            with urllib.request.urlopen(url, data=b"", timeout=20) as response:  # noqa: S310
                return json.load(response)
        except urllib.error.HTTPError as error:
            pytest.fail(f"{url}: {error.code}")
        except OSError:
            time.sleep(0.1)
    pytest.fail(f"nobody answers at {url}")

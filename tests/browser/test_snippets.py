"""The empty page's snippets do what it says they do, letter by letter."""

from __future__ import annotations

import os
import re
import subprocess
import sys
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
        self._page, self._folder = page, folder
        self.env = {
            **web.process.env,
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            **({"SOCKETPROGRESS_TOKEN": web.token} if web.token else {}),
        }

    def copied(self, heading: str) -> str:
        """Return the snippet under a heading."""
        return str(self._page.get_by_role("region", name=heading).text_content())

    def saved(self, heading: str) -> str:
        """Save a snippet under the name that it gives, and return the command that it gives."""
        text = self.copied(heading)
        found = SCRIPT.match(text)
        assert found, text
        (self._folder / found[1]).write_text(text, encoding="utf-8")
        return found[2]

    def types(self, command: str) -> str:
        """Run a command to its end and return what it printed."""
        done = subprocess.run(
            ["/bin/sh", "-c", command],
            cwd=self._folder,
            env=self.env,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout


@pytest.fixture(params=["", TOKEN], ids=["without a token", "with a token"])
def reader(request: pytest.FixtureRequest, visitor: Any, fresh_web: Any, tmp_path: Path) -> Reader:
    """Somebody before an empty page, with a terminal."""
    web = fresh_web("--default-task", "add", token=request.param)
    (web.process.root / "a file").write_text("to hash")
    page = visitor.open(web.url + (f"/?token={web.token}" if web.token else ""))
    expect(page.get_by_role("heading", name="Nothing runs yet")).to_be_visible()
    return Reader(page, web, tmp_path)


def test_every_snippet_works_as_it_stands(reader: Reader) -> None:
    page = reader._page
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
    (reader._folder / "watch.py").write_text(watch, encoding="utf-8")
    assert reader.types("python watch.py").splitlines()[-1].startswith("completed 100")
    expect(rows.filter(has_text="Checksum")).to_have_count(1)

    # curl
    assert '"status":"' in reader.types(curl)
    expect(rows.filter(has_text="Checksum")).to_have_count(2)
    expect(rows.filter(has_text="Checksum").filter(has_text="completed")).to_have_count(2)


def test_the_function_of_the_snippet_gets_a_form(
    visitor: Any, fresh_web: Any, tmp_path: Path
) -> None:
    # Given the snippet in a file, and the arguments that it says
    empty = visitor.open(fresh_web().url)
    command = Reader(empty, fresh_web(), tmp_path).saved("A function that this page can start")
    program, *arguments = command.split()
    assert program == "socketprogress"
    arguments = [str(tmp_path / item) if item.endswith(".py") else item for item in arguments]

    # When a server is started with them
    web = fresh_web(*arguments)
    page = visitor.open(web.url)
    form = page.locator("form[data-start=count]")
    form.get_by_label("Limit").fill("7")
    form.get_by_role("button", name="Start").click()

    # Then the page can start it
    page.get_by_role("link", name="Count to 7").first.click()
    expect(page.get_by_role("main")).to_contain_text("7 of 7")
    expect(page.locator("#result-text")).to_contain_text('"counted": 7')


def test_copying_a_snippet_copies_it_whole(visitor: Any, fresh_web: Any) -> None:
    web = fresh_web()
    context = visitor.context(permissions=["clipboard-read", "clipboard-write"])
    page = context.new_page()
    page.goto(web.url)

    snippet = page.locator(".snippet").first
    snippet.get_by_role("button", name="Copy").click()

    expect(page.get_by_role("status")).to_have_text("Copied")
    copied = page.evaluate("navigator.clipboard.readText()")
    assert copied == snippet.locator("pre").text_content()

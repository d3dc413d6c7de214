"""The empty page's snippets do what it says they do, letter by letter."""

from __future__ import annotations

import os
import re
import subprocess
import sys
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
        self.page, self.folder = page, folder
        self.env = {
            **web.process.env,
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            **({"SOCKETPROGRESS_TOKEN": web.token} if web.token else {}),
        }

    def copied(self, heading: str) -> str:
        """Return what the button beside the snippet under a heading copies."""
        region = self.page.get_by_role("region", name=heading)
        snippet = self.page.locator(".snippet").filter(has=region)
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


def test_the_function_of_the_snippet_gets_a_form(
    visitor: Any, fresh_web: Any, reads: Callable[[str], Reader]
) -> None:
    # Given the snippet in a file, and the arguments that it says
    reader = reads("")
    command = reader.saved("A function that this page can start")
    program, *arguments = command.split()
    assert program == "socketprogress"
    arguments = [str(reader.folder / item) if item.endswith(".py") else item for item in arguments]

    # When a server is started with them
    web = fresh_web(*arguments)
    page = visitor.open(web.url)
    expect(page.get_by_text("live", exact=True)).to_be_visible()
    form = page.locator("form[data-start=count]")
    form.get_by_label("Limit").fill("7")
    form.get_by_role("button", name="Start").click()

    # Then the page can start it
    page.get_by_role("link", name="Count to 7").first.click()
    expect(page.get_by_role("main")).to_contain_text("7 of 7")
    expect(page.locator("#result-text")).to_contain_text('"counted": 7')

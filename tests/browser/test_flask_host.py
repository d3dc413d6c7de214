"""The example of a Flask application with users, in a browser and in every async mode."""

from __future__ import annotations

import contextlib
import os
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import expect

EXAMPLE = Path(__file__).parents[2] / "examples" / "flask_host"
LINE = re.findall(
    "^python examples/flask_host.*$", (EXAMPLE.parent / "README.md").read_text(), re.MULTILINE
)[0]
pytestmark = pytest.mark.browser


@pytest.fixture
def enter(tmp_path: Path) -> Iterator[Callable[..., str]]:
    """A function that runs the example and returns its URL."""
    started: list[subprocess.Popen[str]] = []

    def run(*options: str) -> str:
        with socket.socket() as found:
            found.bind(("127.0.0.1", 0))
            port = found.getsockname()[1]
        instead = {"python": sys.executable, "examples/flask_host": str(EXAMPLE)}
        command = [instead.get(word, word) for word in LINE.split()[:2]]
        command += ["--port", str(port), "--instance", str(tmp_path)]
        started.append(
            subprocess.Popen(
                [*command, *options],
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                text=True,
                env={k: v for k, v in os.environ.items() if not k.startswith("SOCKETPROGRESS_")},
            )
        )
        pause = threading.Event()
        for _ in range(600):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
                return f"http://127.0.0.1:{port}"
            assert started[-1].poll() is None
            pause.wait(0.05)
        pytest.fail("the example does not listen")

    yield run
    for process in started:
        process.kill()
        process.wait(timeout=20)


@pytest.mark.parametrize(
    "options",
    [
        ("--async-mode", "threading"),
        ("--async-mode", "gevent"),
        ("--async-mode", "eventlet"),
        ("--async-mode", "eventlet", "--patched"),
    ],
    ids=lambda options: "-".join(option.strip("-") for option in options[1:]),
)
def test_a_user_uploads_a_text_and_sees_its_words_counted(
    enter: Callable[..., str], visitor: Any, tmp_path: Path, options: tuple[str, ...]
) -> None:
    # Given
    url = enter(*options)
    text = tmp_path / "poem.txt"
    text.write_text("to be or not to be\n" * 5_000)
    visitor.expect("40[0-9]")
    page = visitor.open(f"{url}/")
    sign_in(page, "bob")

    # When
    page.get_by_label("A text").set_input_files(text)
    page.get_by_role("button", name="Count its words").click()

    # Then
    bar = page.get_by_role("progressbar", name="Words of poem.txt")
    expect(bar).to_have_attribute("aria-valuenow", "100")
    expect(page.locator(".socketprogress")).to_have_attribute("data-status", "completed")
    page.get_by_role("link", name="Words of poem.txt").click()
    expect(page.locator("#result-text")).to_contain_text('"words": 30000')
    with page.expect_download() as download:
        page.get_by_role("link", name="words.csv").click()
    assert Path(download.value.path()).read_text().startswith("to,10000\n")

    # And nobody else sees it, but who may see everything
    task_page = page.url
    stranger = visitor.open(task_page)
    expect(stranger.get_by_role("heading", name="Not found")).to_be_visible()
    boss = visitor.open(f"{url}/")
    sign_in(boss, "ada")
    boss.goto(task_page)
    expect(boss.get_by_role("heading", name="Words of poem.txt")).to_be_visible()


def sign_in(page: Any, name: str) -> None:
    page.get_by_label("Name").fill(name)
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("heading", name="Your texts")).to_be_visible()

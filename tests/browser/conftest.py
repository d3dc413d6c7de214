"""Pages of a real browser whose every complaint fails the test, and tasks that do as told."""

from __future__ import annotations

import json
import re
import shutil
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from functools import partial
from html.parser import HTMLParser
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from playwright.sync_api import expect

JOBS = str(Path(__file__).with_name("jobs.py"))
VENDOR = Path(__file__).parents[2] / "static" / "js" / "vendor"
WAIT_MS = 20_000
WAIT_S = WAIT_MS / 1000
COMPLAINING = {"error", "warning", "assert"}
expect.set_options(timeout=WAIT_MS)
LISTEN_FOR_VIOLATIONS = """
addEventListener("securitypolicyviolation", (event) =>
  console.error(`policy violated: ${event.violatedDirective} ${event.blockedURI} ${event.sample}`));
"""


class Visitor:
    """Somebody with a browser, who notes whatever it complains about.

    Args:
        browser: Playwright's browser.
    """

    def __init__(self, browser: Any) -> None:
        self._browser = browser
        self._contexts: list[Any] = []
        self._complaints: list[str] = []
        self._expected: list[str] = []

    def context(self, **options: Any) -> Any:
        """Return a browser context of its own: other cookies, another window."""
        context = self._browser.new_context(**{"locale": "en-GB", **options})
        context.set_default_timeout(WAIT_MS)
        if options.get("java_script_enabled", True):
            context.add_init_script(LISTEN_FOR_VIOLATIONS)
        context.on("page", self._listen)
        self._contexts.append(context)
        return context

    def open(self, url: str, **options: Any) -> Any:
        """Open an address in a new context and return its page."""
        page = self.context(**options).new_page()
        page.goto(url)
        return page

    def expect(self, *complaints: str) -> None:
        """Let the browser say what matches one of these: the test brings it about."""
        self._expected.extend(complaints)

    def close(self) -> None:
        """Close every page; fail if there was a complaint."""
        for context in self._contexts:
            context.close()
        left = [text for text in self._complaints if not self._is_expected(text)]
        assert not left, "the browser complained:\n" + "\n".join(left)

    def _is_expected(self, complaint: str) -> bool:
        return any(re.search(pattern, complaint) for pattern in self._expected)

    def _listen(self, page: Any) -> None:
        page.on("console", lambda said: said.type in COMPLAINING and self._note(said.text))
        page.on("pageerror", lambda error: self._note(f"uncaught: {error}"))

    def _note(self, complaint: str) -> None:
        self._complaints.append(complaint)


class Puppet:
    """A running task that does what a test writes for it.

    Args:
        web: the server it runs on.
        script: the file it reads.
        task_id: its id.
    """

    def __init__(self, web: Web, script: Path, task_id: str) -> None:
        self._web, self._script = web, script
        self.id = task_id
        self.url = f"{web.url}/tasks/{task_id}"

    def does(self, **order: Any) -> None:
        """Let it set numbers and texts, or `log`, `step`, `file`, `end` or `fail`."""
        with self._script.open("a", encoding="utf-8") as file:
            file.write(json.dumps(order) + "\n")

    def state(self) -> dict[str, Any]:
        """Return its snapshot."""
        return dict(self._web.get(f"/api/tasks/{self.id}"))

    def reaches(self, current: float) -> None:
        """Wait until the server has this count of it."""
        for _ in range(100):
            state = self._web.get(f"/api/tasks/{self.id}?wait=0.2")
            if state["current"] == current:
                return
        pytest.fail(f"the task does not come to {current}: {state}")

    def ends(self, **order: Any) -> dict[str, Any]:
        """Let it do its last, and return its snapshot when the server has it."""
        self.does(**(order or {"end": None}))
        return self._web.ended(self.id)


class Web:
    """A server of the tests, seen from outside the browser.

    Args:
        process: the server's process.
        token: what it asks for.
    """

    def __init__(self, process: Any, token: str = "") -> None:
        self.process, self.token = process, token
        self._puppets = 0

    @property
    def url(self) -> str:
        return str(self.process.url)

    def get(self, path: str) -> Any:
        """Return what a GET of JSON says."""
        return self._ask(path, None)

    def post(self, path: str, value: Any) -> Any:
        """Return what a POST of JSON says."""
        return self._ask(path, json.dumps(value).encode())

    def put(self, path: str, value: Any) -> Any:
        """Return what a PUT of JSON says."""
        return self._ask(path, json.dumps(value).encode(), "PUT")

    def start(self, task: str, *, args: dict[str, Any] | None = None, **more: Any) -> str:
        """Start a task and return its id."""
        started = self.post("/api/tasks", {"task": task, "args": args or {}, **more})
        return str(started["task_id"])

    def puppet(self, title: str = "Puppet", *, task: str = "puppet", **more: Any) -> Puppet:
        """Start a task that does what it is told."""
        self._puppets += 1
        script = self.process.root / f"{task}-{self._puppets}.jsonl"
        script.touch()
        started = self.start(task, args={"script": script.name}, title=title, **more)
        return Puppet(self, script, started)

    def ended(self, task_id: str) -> dict[str, Any]:
        """Wait for a task's end and return its snapshot."""
        for _ in range(10):
            state = self.get(f"/api/tasks/{task_id}?wait=5")
            if state["finished_at"] is not None:
                return dict(state)
        pytest.fail(f"the task did not end: {state}")

    def _ask(self, path: str, body: bytes | None, method: str | None = None) -> Any:
        headers = {"Content-Type": "application/json"} if body else {}
        if self.token:
            headers["Authorization"] = f"Bearer {self.token}"
        request = urllib.request.Request(self.url + path, body, headers, method=method)  # noqa: S310
        try:
            with urllib.request.urlopen(request, timeout=WAIT_S) as response:  # noqa: S310
                return json.load(response)
        except urllib.error.HTTPError as error:
            pytest.fail(f"{path}: {error.code} {error.read().decode()}")


class Site:
    """A web site of somebody else, on this machine too: browsers keep others away from it.

    Args:
        folder: its files.
        host: the name in its address.
    """

    def __init__(self, folder: Path, host: str = "127.0.0.1") -> None:
        self._folder = folder
        (folder / "favicon.ico").touch()
        handler = partial(_QuietHandler, directory=str(folder))
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._thread = Thread(target=self._http.serve_forever)
        self._thread.start()
        self.url = f"http://{host}:{self._http.server_port}"

    def publish(self, html: str) -> None:
        """Make this its page, with the vendored client beside it."""
        (self._folder / "index.html").write_text(html, encoding="utf-8")
        shutil.copy(VENDOR / "socket.io.esm.min.js", self._folder)

    def close(self) -> None:
        """End it."""
        self._http.shutdown()
        self._thread.join()
        self._http.server_close()


class _QuietHandler(SimpleHTTPRequestHandler):
    def log_message(self, *args: Any) -> None:
        """Keep the tests' output clean."""


class Inline(HTMLParser):
    """Finds what a strict policy forbids in a page's HTML."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.found: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note a `<style>`, a script without an address, and attributes that are code."""
        given = dict(attrs)
        is_data = given.get("type") == "application/json"
        if tag == "style" or (tag == "script" and "src" not in given and not is_data):
            self.found.append(f"<{tag}>")
        self.found += [
            f"<{tag} {name}>" for name in given if name == "style" or name.startswith("on")
        ]
        self.found += [
            f"<{tag} {name}={value}>"
            for name, value in attrs
            if name in {"src", "href", "action"} and re.match(r"\s*(\w+:|//)", value or "")
        ]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Site]]:
    """A function that opens web sites of others."""
    opened: list[Site] = []

    def make(host: str = "127.0.0.1") -> Site:
        opened.append(Site(tmp_path_factory.mktemp("site"), host))
        return opened[-1]

    yield make
    for one in opened:
        one.close()


@pytest.fixture
def inline() -> Callable[[str], list[str]]:
    """A function that lists what a strict policy forbids in a page's HTML."""
    return lambda html: Inline(html).found


@pytest.fixture
def visitor(browser: Any, server: Callable[..., Any]) -> Iterator[Visitor]:
    """Somebody with a browser; what it complains about fails the test.

    It leaves before the test's own servers do, or its pages would complain of their end.
    """
    somebody = Visitor(browser)
    yield somebody
    somebody.close()


@pytest.fixture(scope="module")
def module_web(lasting_server: Callable[..., Any]) -> Callable[..., Web]:
    """A function that starts servers for a module's tests, with the tasks of jobs.py."""
    return _starting(lasting_server)


@pytest.fixture(scope="module")
def web(module_web: Callable[..., Web]) -> Web:
    """One server for a module's tests."""
    return module_web()


@pytest.fixture
def fresh_web(server: Callable[..., Any]) -> Callable[..., Web]:
    """A function that starts servers for one test."""
    return _starting(server)


def _starting(server: Callable[..., Any]) -> Callable[..., Web]:
    def start(*args: str, token: str = "", **options: Any) -> Web:
        more = ("--token", token) if token else ()
        return Web(server("--tasks", JOBS, *more, *args, **options), token)

    return start


@pytest.fixture(params=["eventlet", "threading"])
def any_main_mode(request: pytest.FixtureRequest) -> str:
    """Each of the two main async modes in turn."""
    return str(request.param)

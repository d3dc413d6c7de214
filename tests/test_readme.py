"""Every snippet of the README and of docs/ is executed as it stands.

Adapted are only the address (`http://127.0.0.1:8765` is the test's own server), the port and the data
folder of servers that a snippet starts (by SOCKETPROGRESS_PORT and SOCKETPROGRESS_DATA), the install
line: its environment is the one that the tests run in, and `test_packaging` installs the package; and
the pauses by which a loop lasts long enough to be looked at.
A fenced block without a language is no code.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import missing_service

PROJECT = Path(__file__).resolve().parent.parent
DOCUMENTS = [PROJECT / "README.md", *sorted((PROJECT / "docs").glob("*.md"))]
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
KINDS = {
    "sh",
    "python",
    "js",
    "html",
    "toml",
    "jinja",
    "",
}  # jinja: by tests/browser/test_macros.py
ADDRESS = "http://127.0.0.1:8765"
FILE = re.compile(r"# (\w+\.py)\n")
SERVES = re.compile(r"((?:\w+=\S+ )*)((?:python -m )?socketprogress(?: serve)?)(?= +--| *#| *$)")
INSTALL = "python3 -m venv env && env/bin/pip install . && env/bin/python"
CLIENT = PROJECT / "static" / "js" / "vendor" / "socket.io.esm.min.js"
PAUSE = re.compile(r"\bsleep\(([\d.]+)\)")
WAIT_S = 60


@dataclass(frozen=True)
class Snippet:
    """One fenced block; `language` is empty for what is no code."""

    place: str
    language: str
    text: str

    @property
    def file(self) -> str | None:
        """The name that it gives itself in its first line: it is a module, no script."""
        found = FILE.match(self.text)
        return None if found is None else found[1]


def _snippets() -> Iterator[Snippet]:
    for path in DOCUMENTS:
        text = path.read_text(encoding="utf-8")
        for found in FENCE.finditer(text):
            line = text.count("\n", 0, found.start()) + 2
            place = f"{path.relative_to(PROJECT).as_posix()}:{line}"
            yield Snippet(place, found[1], found[2])


SNIPPETS = list(_snippets())


def _are(language: str) -> Any:
    """Return a test's parameters: the snippets in this language that are executed by themselves."""
    chosen = [one for one in SNIPPETS if one.language == language and one.file is None]
    return pytest.mark.parametrize("snippet", chosen, ids=[one.place for one in chosen])


class Reader:
    """Somebody with a terminal in a folder of theirs, who copies what the documents say.

    Args:
        server: the one that already runs, where a snippet needs one.
        folder: where the terminal is.
    """

    def __init__(self, server: Any, folder: Path) -> None:
        self._server, self._folder = server, folder
        for name in ("data", "docs", "backup"):
            (folder / name).mkdir()
        (folder / "docs" / "a file").write_text("to copy", encoding="utf-8")
        for snippet in SNIPPETS:
            if snippet.file is not None:
                (folder / snippet.file).write_text(snippet.text, encoding="utf-8")
        (folder / "env").symlink_to(sys.prefix)
        (folder / "scripts").symlink_to(PROJECT / "scripts")
        self.env = {
            **server.env,
            "HOME": str(folder),
            "XDG_STATE_HOME": str(folder / "state"),
            "SOCKETPROGRESS_PORT": "0",
            "SOCKETPROGRESS_DATA": "data/own",
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        }

    def adapted(self, text: str) -> str:
        """Return a snippet with the address of the test's own server, and without pauses."""
        return PAUSE.sub("sleep(0)", text.replace(ADDRESS, self._server.url))

    def runs(self, *command: str) -> str:
        """Run a command to its end; return what it printed."""
        process = self._starts(command, self.env)
        try:
            output, errors = process.communicate(timeout=WAIT_S)
        finally:
            self._ends(process)
        assert process.returncode == 0, output + errors
        for complaint in ("Traceback", "Warning:", "error:"):
            assert complaint not in errors
        return output

    def serves(self, line: str) -> None:
        """Run a command that serves until it says so, press Ctrl-C, and expect its answer to that."""
        env = {**self.env, "XDG_RUNTIME_DIR": str(self._folder / "data")}
        # The server takes the shell's place, so that the signal is its own.
        process = self._starts(["/bin/sh", "-c", f"exec env {line}"], env)
        assert process.stdout is not None
        try:
            said = process.stdout.readline()
            process.send_signal(signal.SIGINT)
            _, errors = process.communicate(timeout=WAIT_S)
        finally:
            self._ends(process)
        assert said.startswith("Listening on http://"), errors
        assert process.returncode == 130, errors

    def _starts(self, command: Sequence[str], env: dict[str, str]) -> subprocess.Popen[str]:
        return subprocess.Popen(
            command,
            cwd=self._folder,
            env=env,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def _ends(self, process: subprocess.Popen[str]) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(WAIT_S)

    def tasks(self) -> dict[str, dict[str, Any]]:
        """Return the server's tasks by their ids."""
        url = f"{self._server.url}/api/tasks"
        with urllib.request.urlopen(url, timeout=WAIT_S) as answer:  # noqa: S310 - our own server
            return {task["task_id"]: task for task in json.load(answer)["tasks"]}


@pytest.fixture(scope="module")
def running(lasting_server: Callable[..., Any]) -> Any:
    """A server with what the documents start: the built-in tasks, on a small folder."""
    server = lasting_server()
    for number in range(20):
        (server.root / f"file {number}").write_text(str(number), encoding="utf-8")
    return server


@pytest.fixture
def reader(running: Any, tmp_path: Path) -> Reader:
    """Somebody in a fresh folder; `data/tasks.sqlite3` is the running server's."""
    someone = Reader(running, tmp_path)
    (tmp_path / "data" / "tasks.sqlite3").symlink_to(running.data / "tasks.sqlite3")
    return someone


def test_every_fenced_block_is_of_a_kind_that_is_executed() -> None:
    assert {snippet.language for snippet in SNIPPETS} <= KINDS
    assert {snippet.language for snippet in SNIPPETS if snippet.place.startswith("README")} >= {
        "sh",
        "python",
        "js",
    }


@_are("python")
def test_every_python_snippet_runs_and_what_it_does_is_seen(
    reader: Reader, snippet: Snippet, tmp_path: Path
) -> None:
    before = reader.tasks()
    script = tmp_path / "snippet.py"
    script.write_text(reader.adapted(snippet.text), encoding="utf-8")

    reader.runs("python", str(script))

    new = [task for task_id, task in reader.tasks().items() if task_id not in before]
    nowhere = 'url="' in snippet.text
    assert bool(new) is not nowhere
    assert {task["status"] for task in new} <= {"completed"}


@pytest.mark.parametrize(
    "snippet",
    [one for one in SNIPPETS if one.language == "python" and "range(200)" in one.text],
    ids=lambda one: one.place,
)
def test_a_loop_of_the_readme_lasts_long_enough_to_be_looked_at(snippet: Snippet) -> None:
    (pause_s,) = PAUSE.findall(snippet.text)

    assert 3 <= 200 * float(pause_s) <= 30


def test_the_first_lines_of_the_readme_bring_the_commands_of_all_the_others(
    reader: Reader,
) -> None:
    shell = [
        one.text for one in SNIPPETS if one.place.startswith("README") and one.language == "sh"
    ]
    install, activate = shell[:2]
    bare = {"PATH": "/usr/bin:/bin", "HOME": reader.env["HOME"]}

    found = subprocess.run(
        [
            "/bin/sh",
            "-euc",
            activate + "for name in python socketprogress flask; do command -v $name; done",
        ],
        cwd=bare["HOME"],
        env=bare,
        capture_output=True,
        text=True,
        check=True,
    )

    assert INSTALL in install
    assert [Path(line).parent for line in found.stdout.splitlines()] == [
        Path(sys.prefix) / "bin"
    ] * 3


def test_the_task_that_curl_reports_may_be_silent_for_a_while(running: Any, reader: Reader) -> None:
    (line,) = [
        line for one in SNIPPETS for line in one.text.splitlines() if "api/tasks/nightly " in line
    ]

    told = json.loads(reader.runs("bash", "-c", reader.adapted(line)))

    assert told["task"]["lease_s"] > 600


@_are("sh")
def test_every_shell_snippet_runs(reader: Reader, snippet: Snippet, tmp_path: Path) -> None:
    before = set(reader.tasks())
    text = reader.adapted(snippet.text).replace(INSTALL, "python")
    text = text.replace("/mnt/backup", str(tmp_path / "backup"))
    text = re.sub(r"^scripts/test\b", "scripts/test --help", text, flags=re.MULTILINE)
    lines = [line for line in text.splitlines() if line]
    serving = [line for line in lines if SERVES.match(line)]

    for line in serving:
        reader.serves(line)
    rest = "\n".join(line for line in lines if line not in serving)
    if rest:
        reader.runs("bash", "-euo", "pipefail", "-c", rest)

    new = [task for task_id, task in reader.tasks().items() if task_id not in before]
    assert {task["status"] for task in new}.isdisjoint({"failed", "lost"})


@_are("toml")
def test_every_configuration_file_starts_a_server(
    reader: Reader, snippet: Snippet, tmp_path: Path
) -> None:
    (tmp_path / "socketprogress.toml").write_text(snippet.text, encoding="utf-8")

    reader.serves("socketprogress")


def test_the_function_of_the_readme_does_what_it_says(
    server: Callable[..., Any], reader: Reader, tmp_path: Path
) -> None:
    own = server("--tasks", str(tmp_path / "jobs.py"))
    (own.root / "code").mkdir()
    (own.root / "code" / "one.py").write_text("1\n2\n3\n", encoding="utf-8")

    task_id = own.cli("start", "count_lines", "folder=code").stdout.strip()
    done = own.cli("watch", task_id, "--result")

    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {"files": 1, "lines": 3}


def test_the_command_of_the_readme_runs(
    server: Callable[..., Any], reader: Reader, tmp_path: Path
) -> None:
    if shutil.which("rsync") is None:
        missing_service("rsync is not installed")
    (line,) = [
        line for one in SNIPPETS for line in one.text.splitlines() if "rsync -a --info" in line
    ]
    argument = re.search(r"--command backup='(.*)'", line)
    assert argument is not None
    command = argument[1].replace("/mnt/backup", str(tmp_path / "backup"))
    own = server("--command", f"backup={command}")
    shutil.copytree(tmp_path / "docs", own.root / "docs")

    done = own.cli("start", "backup", "--watch")

    assert done.returncode == 0, done.stderr
    assert (tmp_path / "backup" / "a file").read_text(encoding="utf-8") == "to copy"


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Path]:
    """The folder of another site; its file `address` says where that is."""
    folder = tmp_path / "site"
    folder.mkdir()
    shutil.copy(CLIENT, folder / "client.js")
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(folder))) as http:
        (folder / "address").write_text(f"http://127.0.0.1:{http.server_port}", encoding="utf-8")
        threading.Thread(target=http.serve_forever, daemon=True).start()
        yield folder
        http.shutdown()


def _fulfil(path: Path, route: Any) -> None:
    route.fulfill(path=path)


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


@pytest.mark.browser
@_are("html")
def test_every_element_snippet_shows_its_task_in_a_page_of_another_site(
    server: Callable[..., Any], browser: Any, site: Path, snippet: Snippet
) -> None:
    # Given a page that has nothing but the snippet, and a task that moves
    address = (site / "address").read_text(encoding="utf-8")
    own = server("--origin", address)
    (site / "mine.html").write_text(snippet.text.replace(ADDRESS, own.url), encoding="utf-8")
    task_id = re.search(r'task-id="([\w-]+)"', snippet.text)
    assert task_id is not None

    # When somebody opens it and the task is reported
    context = browser.new_context()
    tab = context.new_page()
    tab.goto(f"{address}/mine.html")
    put = urllib.request.Request(  # noqa: S310 - the test's own server
        f"{own.url}/api/tasks/{task_id[1]}", b'{"current": 3, "total": 4}', method="PUT"
    )
    with urllib.request.urlopen(put, timeout=WAIT_S) as answer:  # noqa: S310 - as above
        assert answer.status == 201

    # Then it shows it
    tab.locator("task-progress [role=progressbar][aria-valuenow='75']").wait_for()
    context.close()


@pytest.mark.browser
@pytest.mark.parametrize("is_ours", [True, False], ids=["our page", "a page of another site"])
@_are("js")
def test_every_page_snippet_moves_a_bar_in_a_browser(
    server: Callable[..., Any], browser: Any, site: Path, snippet: Snippet, is_ours: bool
) -> None:
    # Given a page that has nothing but a bar, the client and the snippet
    address = (site / "address").read_text(encoding="utf-8")
    own = server("--origin", address)
    (own.root / "a file").write_text("to hash", encoding="utf-8")
    script = snippet.text if is_ours else snippet.text.replace("io()", f'io("{own.url}")')
    page = (
        '<!doctype html><progress id="bar" max="100"></progress>'
        f'<script type="module">import {{ io }} from "/client.js"; {script}</script>'
    )
    (site / "mine.html").write_text(page, encoding="utf-8")
    context = browser.new_context()
    if is_ours:
        for name in ("mine.html", "client.js"):
            path = site / name
            context.route(f"{own.url}/{name}", partial(_fulfil, path))

    # When somebody opens it
    tab = context.new_page()
    tab.goto(f"{own.url if is_ours else address}/mine.html")

    # Then its bar moves to the end
    tab.wait_for_function("document.querySelector('progress').value === 100")
    context.close()

"""Every example runs as the line in its README says, and the server knows all of it in the end."""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import json
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from socketprogress import Client, TaskCancelled, TaskFailure
from socketprogress.client.watcher import Task, TaskView
from socketprogress.core import errors

ROOT = Path(__file__).resolve().parent.parent.parent
EXAMPLES = ROOT / "examples"
LINES = [
    line
    for block in re.findall(r"```sh\n(.*?)```", (EXAMPLES / "README.md").read_text(), re.DOTALL)
    for line in block.splitlines()
]
PATIENCE_S = 60


@pytest.fixture(scope="module")
def running(lasting_server: Callable[..., Any]) -> Any:
    """A server that the examples report to."""
    return lasting_server()


@pytest.fixture
def client(running: Any) -> Iterator[Client]:
    """What knows how they ended."""
    with Client(running.url) as client:
        yield client


@pytest.fixture
def env(running: Any) -> dict[str, str]:
    """The environment of somebody who follows the README."""
    folder = str(Path(sys.executable).parent)
    return {
        **running.env,
        "SOCKETPROGRESS_URL": running.url,
        "PATH": f"{folder}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
    }


def line_with(words: str, **instead: str) -> str:
    """Return the README's line with these words, some of its words replaced."""
    (line,) = [line for line in LINES if words in line]
    for old, new in instead.items():
        assert old in line
        line = line.replace(old, new)
    return line


def run(line: str, env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Run a line as a shell would."""
    return subprocess.run(
        ["/usr/bin/env", "bash", "-c", line],
        cwd=ROOT,
        env=env,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )


def ended(client: Client, name: str, *, parent_id: str | None = None) -> list[TaskView]:
    """Return the tasks of a name, once they have ended."""
    found = [task for task in client.list() if task.name == name]
    for task in found:
        client.task(task.task_id).result(timeout=PATIENCE_S)
    states = [client.task(task.task_id).state() for task in found]
    return [state for state in states if parent_id in {None, state.parent_id}]


def test_every_example_has_a_line_that_runs_it() -> None:
    for path in EXAMPLES.iterdir():
        if path.suffix in {".py", ".sh"} or (path / "__main__.py").is_file():
            assert any(path.stem in line for line in LINES), path


def test_a_script_shows_its_loop_and_each_file_in_it(client: Client, env: dict[str, str]) -> None:
    done = run(line_with("hash_files.py"), env)

    assert (done.returncode, done.stderr) == (0, "")
    files = sorted(path for path in (ROOT / "docs").rglob("*") if path.is_file())
    sums = [hashlib.sha256(path.read_bytes()).hexdigest() for path in files]
    assert [line.split()[0] for line in done.stdout.splitlines()] == sums
    (whole,) = ended(client, "hash_files")
    assert (whole.status, whole.current, whole.total) == ("completed", len(files), len(files))
    parts = ended(client, "digest", parent_id=whole.task_id)
    assert {task.title: task.result for task in parts} == dict(
        zip((path.name for path in files), sums, strict=True)
    )
    assert {task.title: task.current for task in parts} == {
        path.name: path.stat().st_size for path in files
    }


def test_a_pool_shows_a_bar_for_each_chunk_under_one(client: Client, env: dict[str, str]) -> None:
    done = run(line_with("count_primes.py", **{"100000": "20000"}), env)

    assert (done.returncode, done.stdout, done.stderr) == (0, "2262\n", "")
    (whole,) = ended(client, "count_primes")
    assert (whole.result, whole.current, whole.status) == (2262, 20, "completed")
    chunks = ended(client, "chunk", parent_id=whole.task_id)
    assert len(chunks) == 20
    assert {(task.status, task.current, task.total) for task in chunks} == {
        ("completed", 1_000, 1_000)
    }


def known(client: Client, answer: str) -> Task:
    """Return the task that a service has told of, as soon as the server knows it, too."""
    task = client.task(json.loads(answer)["task_id"])
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        with contextlib.suppress(errors.UnknownTask):
            task.state()
            return task
    pytest.fail(f"the server never knew {answer}")


def compress(source: Path, target: Path) -> str:
    """Return the line that compresses this folder."""
    here = f"{shlex.quote(str(source))} {shlex.quote(str(target))}"
    return line_with("compress.sh", **{"docs /tmp/compressed": here})


def test_a_bash_script_reports_with_curl_alone(
    client: Client, env: dict[str, str], tmp_path: Path
) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    source.mkdir()
    for name in ("plain", 'a "quote"', "back\\slash", "new\nline", "ümlaut"):
        (source / name).write_text(name)

    done = run(compress(source, target), env)

    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    packed = {path.name: gzip.decompress(path.read_bytes()).decode() for path in target.iterdir()}
    assert packed == {f"{path.name}.gz": path.name for path in source.iterdir()}
    (task,) = (task for task in ended(client, "compress") if task.title == f"Compress {source}")
    assert (task.status, task.current, task.total) == ("completed", 5, 5)


def test_a_cancellation_stops_the_bash_script(
    client: Client, env: dict[str, str], tmp_path: Path
) -> None:
    # Given a script that waits for a file's other end
    pipe = tmp_path / "source" / "pipe"
    pipe.parent.mkdir()
    os.mkfifo(pipe)
    (pipe.parent / "then").touch()
    with started(compress(pipe.parent, tmp_path / "target"), env) as process:
        writer = os.open(pipe, os.O_WRONLY)  # opens once the script reads
        (found,) = (t for t in client.list(status="in_progress") if t.name == "compress")
        # When its cancellation is asked for, and it goes on
        client.task(found.task_id).cancel()
        os.close(writer)
        # Then it stops
        assert process.wait(PATIENCE_S) == 1
    with pytest.raises(TaskCancelled):
        client.task(found.task_id).result(timeout=PATIENCE_S)
    assert not (tmp_path / "target" / "then.gz").exists()


def test_a_bash_script_that_fails_says_so_and_one_without_a_server_just_works(
    client: Client, env: dict[str, str], tmp_path: Path
) -> None:
    source = tmp_path / "source"
    (source / "folder").mkdir(parents=True)
    (tmp_path / "good").mkdir()
    (tmp_path / "good" / "file").touch()

    assert run(compress(source, tmp_path / "target"), env).returncode != 0
    (task,) = (task for task in client.list() if task.title == f"Compress {source}")
    with pytest.raises(TaskFailure, match="stopped halfway"):
        client.task(task.task_id).result(timeout=PATIENCE_S)
    alone = {**env, "SOCKETPROGRESS_URL": "http://127.0.0.1:9"}
    assert run(compress(tmp_path / "good", tmp_path / "target"), alone).returncode == 0
    assert (tmp_path / "target" / "file.gz").exists()


@contextlib.contextmanager
def started(line: str, env: dict[str, str]) -> Iterator[subprocess.Popen[str]]:
    """Run a line in the background for the time of a block."""
    process = subprocess.Popen(
        ["/usr/bin/env", "bash", "-c", f"exec {line}"],
        cwd=ROOT,
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate(timeout=PATIENCE_S)


@contextlib.contextmanager
def service(words: str, env: dict[str, str]) -> Iterator[dict[str, str]]:
    """Run a service for the time of a block, and yield the environment of those who ask it."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        env = {**env, "PORT": str(free.getsockname()[1]), "PYTHONUNBUFFERED": "1"}
    with started(line_with(words), env) as process:
        assert process.stdout is not None
        said = []
        for text in process.stdout:
            said.append(text)
            if "running on http" in text.lower():
                break
        assert process.poll() is None, said
        yield env


@pytest.mark.parametrize(
    ("server_line", "request_line", "name", "total"),
    [
        ("hypercorn", "/reports/200", "report", None),
        ("uvicorn --port", "/crawls/50", "crawl", 3),
    ],
)
def test_an_asyncio_service_answers_with_the_page_of_the_work_it_started(
    client: Client,
    env: dict[str, str],
    server_line: str,
    request_line: str,
    name: str,
    total: int | None,
) -> None:
    with service(server_line, env) as asking:
        # Given two that ask at once
        answers = [run(line_with(request_line), asking).stdout for _ in range(2)]
        # Then each has a page, and the work goes to its end
        for answer in answers:
            task = known(client, answer)
            assert json.loads(answer)["url"] == task.url
            task.result(timeout=PATIENCE_S)
            state = task.state()
            assert (state.name, state.status) == (name, "completed")
            if total:
                assert (state.current, state.total) == (total, total)
        assert answers[0] != answers[1]

    if name == "report":
        assert [step["status"] for step in state.steps] == ["completed", "completed"]
        assert state.result == {"rows": 200}
    else:
        sites = ended(client, "site", parent_id=state.task_id)
        assert sorted(site.title for site in sites) == ["blog", "news", "shop"]
        assert {(site.current, site.status) for site in sites} == {(50, "completed")}


def test_a_cancelled_report_of_a_service_ends_and_the_service_goes_on(
    client: Client, env: dict[str, str]
) -> None:
    with service("hypercorn", env) as asking:
        line = line_with("/reports/200", **{"200": "100000"})
        task = known(client, run(line, asking).stdout)
        for state in task.watch(timeout=PATIENCE_S):
            if state.current and not state.cancel_requested:
                task.cancel()
        with pytest.raises(TaskCancelled):
            task.result()

        answer = run(line_with("/reports/200", **{"200": "3"}), asking).stdout
        assert known(client, answer).result(timeout=PATIENCE_S) == {"rows": 3}

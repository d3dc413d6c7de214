"""What README.md, docs/celery.md and the examples say of Celery, with a real worker."""

from __future__ import annotations

import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from socketprogress import Client
from tests.celery.conftest import HERE, WAIT_S, Shop, wait_until

PROJECT = HERE.parent.parent
FENCE = re.compile(r"^```python\n(# (\w+)\.py\n.*?)^```$", re.MULTILINE | re.DOTALL)


@pytest.fixture
def place(
    lasting_server: Callable[..., Any], lasting_redis: Any, tmp_path: Path
) -> Iterator[Callable[[str], Shop]]:
    """A function that has a module's worker run where the module is."""
    server = lasting_server()
    broker = lasting_redis.url.replace("/0", "/5")
    env = {
        **server.env,
        "BROKER": broker,
        "CELERY_BROKER_URL": broker,
        "CELERY_RESULT_BACKEND": broker,
        "SOCKETPROGRESS_URL": server.url,
        "PYTHONPATH": f"{tmp_path}:{PROJECT}",
    }
    one = Shop(server.url, broker, env, tmp_path)

    def work(module: str) -> Shop:
        one.work("-P", "solo", app=module)
        return one

    yield work
    one.close()


@pytest.mark.parametrize(
    ("document", "calls"),
    [
        ("README.md", ["pictures.resize.delay(['a.png', 'b.png'])"]),
        ("docs/celery.md", ["orders.import_rows.delay(20)", "orders.pack.delay(['a', 'b'])"]),
    ],
)
def test_the_documents_modules_are_live(
    place: Callable[[str], Shop], tmp_path: Path, document: str, calls: list[str]
) -> None:
    text = (PROJECT / document).read_text(encoding="utf-8")
    module = calls[0].partition(".")[0]
    (tmp_path / f"{module}.py").write_text(_code_of(text, module), encoding="utf-8")
    shop = place(module)
    for call in calls:
        (task_id,) = shop.send(f"import {module}; print({call}.id)")
        end = shop.end_of(task_id)
        assert (end["status"], end["source"]) == ("completed", "celery")
        assert end["current"] == end["total"] > 1


def test_the_documents_cluster_runs_what_the_page_starts(
    server: Callable[..., Any], lasting_redis: Any, tmp_path: Path
) -> None:
    text = (PROJECT / "docs" / "celery.md").read_text(encoding="utf-8")
    flags = re.search(r"^socketprogress (--tasks barn .*)$", text, re.MULTILINE)
    assert flags is not None
    broker = lasting_redis.url.replace("/0", "/6")
    code = _code_of(text, "barn").replace("redis://127.0.0.1:6379/0", broker)
    (tmp_path / "barn.py").write_text(code, encoding="utf-8")
    path = f"{tmp_path}:{PROJECT}"
    running = server(*flags.group(1).split(), env={"PYTHONPATH": path})
    env = {**running.env, "SOCKETPROGRESS_URL": running.url, "BROKER": broker}
    shop = Shop(running.url, broker, env, tmp_path)
    try:
        shop.work("-P", "solo", app="barn")
        with requests.Session() as page:
            listed = page.get(running.url, timeout=WAIT_S).text
            form = re.search(r'<form[^>]*data-start="weigh".*?</form>', listed, re.DOTALL)
            assert form is not None
            hidden = re.findall(
                r'<input type="hidden" name="([^"]+)" value="([^"]*)"', form.group()
            )
            action = re.search(r'action="([^"]+)"', form.group())
            assert action is not None
            fields = {**dict(hidden), "sacks": "3"}
            shown = page.post(f"{running.url}{action.group(1)}", data=fields, timeout=WAIT_S)
        task_id = shown.url.rpartition("/")[2]
        end = shop.end_of(task_id)
        assert (end["status"], end["result"]) == ("completed", {"grams": 150_000})
        assert (end["title"], end["args"]) == ("Weigh 3 sacks", {"sacks": 3})
    finally:
        shop.close()


def test_the_tutorials_example_is_watched_to_its_end(
    place: Callable[[str], Shop], tmp_path: Path
) -> None:
    for path in (PROJECT / "examples" / "celery_tutorial").glob("*.py"):
        shutil.copy(path, tmp_path)
    shop = place("tasks")
    done = subprocess.run(
        [sys.executable, str(tmp_path / "send.py")],
        env=shop.env, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "in_progress" in done.stdout
    assert "'result': 42" in done.stdout.splitlines()[-1]


def test_the_quart_application_reports_through_redis(
    server: Callable[..., Any], lasting_redis: Any
) -> None:
    store = f"{lasting_redis.url}?prefix=quart"
    running = server("--store", store)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    env = {**running.env, "SOCKETPROGRESS_STORE": store, "SOCKETPROGRESS_PAGE": running.url}
    application = subprocess.Popen(
        [sys.executable, "-m", "hypercorn", "--bind", f"127.0.0.1:{port}", "app:app"],
        env=env, cwd=PROJECT / "examples" / "quart_redis", stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        own = f"http://127.0.0.1:{port}"
        wait_until(lambda: _answers(own), WAIT_S, lambda: "the application is not there")
        started = requests.post(f"{own}/start", allow_redirects=False, timeout=WAIT_S)
        assert started.headers["Location"] == f"{running.url}/tasks/{started.text}"
        url = f"{running.url}/api/tasks/{started.text}"
        wait_until(lambda: requests.get(url, timeout=WAIT_S).ok, WAIT_S, lambda: "no task")
        with Client(running.url) as client:
            assert client.task(started.text).result(timeout=WAIT_S) == "done"
            assert client.task(started.text).state().current == 100
    finally:
        application.kill()
        application.wait()


def _code_of(text: str, module: str) -> str:
    """Return the module of this name that a document shows."""
    (code,) = (code for code, name in FENCE.findall(text) if name == module)
    return str(code)


def _answers(url: str) -> bool:
    try:
        return requests.get(url, timeout=WAIT_S).ok
    except requests.ConnectionError:
        return False

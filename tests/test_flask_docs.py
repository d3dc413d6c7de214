"""docs/flask.md: its application and its tests as they stand, and every setting in its table."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

import pytest

from socketprogress.server.settings import Settings

GUIDE = (Path(__file__).parent.parent / "docs" / "flask.md").read_text(encoding="utf-8")
MODULES = re.findall(r"^```python\n# (\w+\.py)\n(.*?)^```$", GUIDE, re.MULTILINE | re.DOTALL)
TEMPLATE = re.findall(r"^```\n(\{% from .*?)^```$", GUIDE, re.MULTILINE | re.DOTALL)[0]
OF_OUR_OWN_SERVER = {"host", "port", "proxies", "log_level"}
VISIT = """
import json
import time

from listeners import listen
from webapp import create_app, progress

outbox = []
app = create_app({"SOCKETPROGRESS_STORE": "memory:", "SOCKETPROGRESS_DATA": "data"})
listen(app, outbox)
clients = {name: app.test_client() for name in ("ada", "bob")}
for name, client in clients.items():
    client.get(f"/login/{name}")
task_id = clients["ada"].post("/photos/300").text
with app.app_context():
    while progress.get(task_id)["status"] != "completed" or not outbox:
        time.sleep(0.01)
pages = {name: client.get("/photos").text for name, client in clients.items()}
page = f"/progress/tasks/{task_id}"
statuses = [client.get(page).status_code for client in (*clients.values(), app.test_client())]
with app.test_request_context():
    looks = app.jinja_env.from_string(open("looks.html").read()).render(task=progress.get(task_id))
print(json.dumps([outbox, [task_id in page for page in pages.values()], statuses, looks]))
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with everything that the guide has."""
    for name, text in MODULES:
        (tmp_path / name).write_text(text, encoding="utf-8")
    (tmp_path / "looks.html").write_text(TEMPLATE, encoding="utf-8")
    (tmp_path / "visit.py").write_text(VISIT, encoding="utf-8")
    return tmp_path


def run(folder: Path, *command: str) -> str:
    env = {k: v for k, v in os.environ.items() if not k.startswith("SOCKETPROGRESS_")}
    done = subprocess.run(
        [sys.executable, *command],
        cwd=folder,
        env=env,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_guides_application_runs_tasks_for_their_users_alone(folder: Path) -> None:
    said = run(folder, "visit.py")

    assert '[["Resize to 300: completed"], [true, false], [200, 404, ' in said
    assert "progress-bar" in said
    assert "js/macros.js" in said


def test_the_guides_tests_pass_with_the_plugin(folder: Path) -> None:
    installed = entry_points(group="pytest11", name="socketprogress")
    plugins = ["no:cacheprovider", "no:asyncio"]
    plugins += [] if installed else ["socketprogress.pytest_plugin"]

    said = run(folder, "-m", "pytest", "-q", *(p for name in plugins for p in ("-p", name)))

    assert "1 passed" in said


def test_every_setting_of_an_application_is_in_the_guide() -> None:
    rows = [line.split("|")[1] for line in GUIDE.splitlines() if line.startswith("| `")]
    named = {name for row in rows for name in re.findall(r"`(\w+)`", row)}

    assert named == {*Settings.names(), "url_prefix", "namespace"} - OF_OUR_OWN_SERVER

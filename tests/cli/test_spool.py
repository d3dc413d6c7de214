"""`socketprogress doctor` delivers what reporters could not."""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

from socketprogress.client.spool import ANY, Spool, waiting

Start = Callable[..., Any]

WORK = "from socketprogress import track\nfor _ in track(range(5), name='nightly'): pass\n"


def report(running: Any, home: Path, **env: str) -> None:
    """Run a script that reports, to its end."""
    subprocess.run(
        [sys.executable, "-c", WORK],
        env={**running.env, "XDG_STATE_HOME": str(home), **env},
        check=True,
        capture_output=True,
        timeout=60,
    )


def about_spool(running: Any, home: Path, **env: str) -> list[str]:
    """What the doctor says of the spool."""
    done = running.cli("doctor", env={"XDG_STATE_HOME": str(home), **env})
    return [line for line in done.stdout.splitlines() if "still had to say" in line]


def test_doctor_delivers_the_spool_of_a_server_that_is_back(server: Start, tmp_path: Path) -> None:
    # Given two scripts that have ended while their server was down
    running = server()
    running.stop()
    for _ in range(2):
        report(running, tmp_path, SOCKETPROGRESS_URL=running.url)
    # Then the doctor says how many wait
    (line,) = about_spool(running, tmp_path)
    assert line.startswith(
        f"warning  what 2 tasks still had to say waits for {running.url}: no server answers"
    )
    # When the server is back it delivers them
    running.start()
    (line,) = about_spool(running, tmp_path)
    assert line == f"ok       delivered what 2 tasks still had to say to {running.url}"
    # And they are at the server, once, with their true counts
    with urllib.request.urlopen(f"{running.url}/api/tasks", timeout=20) as answer:  # noqa: S310
        tasks = json.load(answer)["tasks"]
    assert [(t["name"], t["status"], t["current"]) for t in tasks] == [
        ("nightly", "completed", 5)
    ] * 2
    assert about_spool(running, tmp_path) == []


def test_doctor_delivers_what_named_no_server(server: Start, tmp_path: Path) -> None:
    running = server()
    running.stop()
    report(running, tmp_path, SOCKETPROGRESS_MODE="offline")

    (line,) = about_spool(running, tmp_path)
    assert line.startswith("warning  what 1 task still had to say waits for a server: no server")

    running.start()
    (line,) = about_spool(running, tmp_path)
    assert line.startswith("ok       delivered what 1 task still had to say to ")


def test_what_waits_is_counted_by_server(tmp_path: Path) -> None:
    record = {"open": {"task_id": "a"}, "reports": []}
    Spool("http://one", folder=tmp_path).put([record, record])
    Spool("http://one", folder=tmp_path).put([record])
    Spool(ANY, folder=tmp_path).put([record])
    (tmp_path / "broken.jsonl").write_text("no JSON\n")

    assert waiting(tmp_path) == {"http://one": 3, ANY: 1}
    assert waiting(tmp_path / "none") == {}

"""What importing costs, and the names that are public."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

import socketprogress

HEAVY = {"engineio", "eventlet", "flask", "gevent", "requests", "socketio", "werkzeug"}
PUBLIC = {
    "Cancelled",
    "Client",
    "Reporter",
    "SocketProgress",
    "SocketProgressError",
    "TaskCancelled",
    "TaskFailure",
    "__version__",
    "task",
    "tqdm",
    "track",
    "trange",
}


def _loaded_by(code: str) -> set[str]:
    script = f"{code}\nimport json, sys\nprint(json.dumps(sorted(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60
    )
    return {name.partition(".")[0] for name in json.loads(done.stdout)}


@pytest.mark.parametrize(
    "code",
    [
        "from socketprogress import Reporter, Cancelled, TaskFailure, task, tqdm, track",
        "import socketprogress.auto, socketprogress.asyncio, socketprogress.contrib.concurrent",
        "import socketprogress.executors.worker",
        "import socketprogress.tasks.checksum",
        "import socketprogress.__main__",
        "import socketprogress.cli.serve, socketprogress.cli.watch, socketprogress.cli.start",
        "import socketprogress.cli.ls, socketprogress.cli.cancel, socketprogress.cli.doctor",
    ],
)
def test_neither_work_nor_the_command_line_loads_a_server(code: str) -> None:
    assert not _loaded_by(code) & HEAVY


def test_a_client_loads_no_server() -> None:
    loaded = _loaded_by("from socketprogress import Client; import socketprogress.client.connect")

    assert not loaded & {"eventlet", "flask", "gevent", "werkzeug"}


def test_the_public_names_are_these_and_all_are_there() -> None:
    assert set(socketprogress.__all__) == PUBLIC
    assert all(getattr(socketprogress, name) is not None for name in PUBLIC)
    assert set(dir(socketprogress)) == PUBLIC
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = socketprogress.nothing  # type: ignore[attr-defined]

"""What our own server leaves out when it starts, and what is there all the same."""

from __future__ import annotations

import subprocess
import sys
import threading
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.conftest import RedisServer

CODE = """
import sys
from socketprogress.server.imports import import_socketio
import_socketio()
import socketprogress.server.app
assert not any(name.partition(".")[0] == "redis" for name in sys.modules)
import socketio
manager = socketio.RedisManager(sys.argv[1], write_only=True)
manager.emit("hello", {"world": 1})
print("emitted")
socketio.AsyncRedisManager(sys.argv[1], write_only=True)
import redis
print(socketio.redis_manager.redis is redis, socketio.async_redis_manager.aioredis is redis.asyncio)
"""


def test_a_server_starts_without_the_redis_client_and_queues_work_all_the_same(
    lasting_redis: RedisServer,
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", CODE, lasting_redis.url], capture_output=True, text=True, check=False
    )

    assert done.stdout.split() == ["emitted", "True", "True"], done.stderr
    assert "Cannot publish" not in done.stderr


WITNESS = """
import os, sys, threading

class Witness:
    def find_spec(self, name, path=None, target=None):
        if name in ("flask_wtf.csrf", "wtforms"):
            thread = threading.current_thread()
            with open(os.environ["WITNESS"], "a") as file:
                print(name, "main" if thread is threading.main_thread() else "beside", file=file)

sys.meta_path.insert(0, Witness())
"""


def test_what_forms_need_is_loaded_beside_the_loop_once_the_server_listens(
    server: Callable[..., Any], tmp_path: Path
) -> None:
    # Given a server that tells by which thread a module is imported
    seen, folder = tmp_path / "seen", tmp_path / "site"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(WITNESS, encoding="utf-8")
    env = {"PYTHONPATH": str(folder), "WITNESS": str(seen)}

    # When nobody asks it for a page
    unasked = server(env=env, root=tmp_path / "one")
    pause = threading.Event()
    for _ in range(2000):
        if seen.exists() and len(seen.read_text("utf-8").split()) >= 4:
            break
        pause.wait(0.01)
    unasked.stop()
    alone = seen.read_text("utf-8")

    # And when somebody does so at once
    asked = server(env=env, root=tmp_path / "two")
    with urllib.request.urlopen(asked.url, timeout=60) as page:  # noqa: S310 - our own server
        assert page.status == 200

    # Then it is loaded all the same, and never by the loop
    assert "flask_wtf.csrf beside" in alone
    assert "wtforms beside" in alone
    assert "main" not in seen.read_text("utf-8")

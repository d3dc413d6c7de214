"""The peer: a stock Flask-SocketIO server on a Redis message queue, with `--tasks` it also emits.

    python benchmarks/stock.py --redis redis://127.0.0.1:6379/0 [--tasks 100 --hz 20 --seconds 10]

It prints its URL. A client sends `watch` to join every task's room, and `go` for the tasks to begin.
"""

from __future__ import annotations

import eventlet

eventlet.monkey_patch()

import argparse  # noqa: E402 - the standard library is patched before anything imports it
import time  # noqa: E402

from eventlet import wsgi  # noqa: E402
from flask import Flask  # noqa: E402
from flask_socketio import SocketIO, join_room  # noqa: E402

HOST = "127.0.0.1"


def main() -> None:
    """Serve until the end."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--redis", required=True)
    parser.add_argument("--tasks", type=int, default=100)
    parser.add_argument("--hz", type=float, default=20.0)
    parser.add_argument("--seconds", type=float, default=10.0)
    given = parser.parse_args()
    app = Flask(__name__)
    socketio = SocketIO(app, async_mode="eventlet", message_queue=given.redis)

    def work(number: int) -> None:
        task_id, last = f"task-{number}", round(given.hz * given.seconds)
        # As if they had been started one by one.
        began = time.monotonic() + number / given.tasks / given.hz
        for step in range(1, last + 1):
            socketio.sleep(max(began + step / given.hz - time.monotonic(), 0))
            socketio.emit("progress_update", _update(task_id, step, last), to=task_id)

    @socketio.on("watch")
    def watch(_: object = None) -> bool:
        for number in range(given.tasks):
            join_room(f"task-{number}")
        return True

    @socketio.on("go")
    def go(_: object = None) -> bool:
        for number in range(given.tasks):
            socketio.start_background_task(work, number)
        return True

    listener = eventlet.listen((HOST, 0))
    print(f"http://{HOST}:{listener.getsockname()[1]}", flush=True)
    wsgi.server(listener, app, log_output=False)


def _update(task_id: str, step: int, last: int) -> dict[str, object]:
    """Return a payload of the size that ours has, stamped with the time."""
    return {
        "task_id": task_id,
        "progress": round(100 * step / last, 2),
        "status": "completed" if step == last else "in_progress",
        "seq": step,
        "epoch": "0123456789ab",
        "current": step,
        "total": last,
        "unit": "it",
        "title": f"Task {task_id}",
        "message": str(time.monotonic()),
        "steps": [],
        "rate": 20.0,
        "eta_s": 1.0,
        "elapsed_s": step / 20,
        "started_at": 1.0,
        "updated_at": 2.0,
        "cancel_requested": False,
    }


if __name__ == "__main__":
    main()

"""A Flask application of its own, with Socket.IO events of its own, that has SocketProgress too.

Arguments: how it runs, when its SocketIO is initialised, our namespace, its instance folder, a port.
"""

import sys

HOW, WHEN, NAMESPACE, INSTANCE, PORT = sys.argv[1:]
MODE, _, PATCHED = HOW.partition("-")

if PATCHED and MODE == "eventlet":
    import eventlet

    eventlet.monkey_patch()
elif PATCHED:
    from gevent import monkey

    monkey.patch_all()

import faulthandler  # noqa: E402
import logging  # noqa: E402
import signal  # noqa: E402
import time  # noqa: E402

import host_jobs  # noqa: E402
from flask import Flask, request, session  # noqa: E402
from flask_socketio import Namespace, SocketIO, emit  # noqa: E402
from flask_wtf import CSRFProtect  # noqa: E402

from socketprogress import Reporter, SocketProgress  # noqa: E402

logging.basicConfig(level="INFO")
faulthandler.register(signal.SIGUSR1)
app = Flask("host", instance_path=INSTANCE)
app.config["SOCKETPROGRESS_NAMESPACE"] = NAMESPACE
app.secret_key = "theirs"
socketio = SocketIO(async_mode=MODE, max_http_buffer_size=2_000_000)
progress = SocketProgress()
progress.task(host_jobs.imported)
left: list[str] = []


@socketio.on("hello")
def hello(text: str) -> str:
    session["said"] = len(text)
    return f"hello {session['said']}"


class Lobby(Namespace):
    def on_connect(self) -> None:
        emit("welcome", request.sid)

    def on_disconnect(self) -> None:
        left.append(request.sid)


if WHEN == "before":
    socketio.init_app(app)
    progress.init_app(app)
elif WHEN == "after":
    progress.init_app(app)
    socketio.init_app(app)
else:
    progress.init_app(app, socketio=socketio)
    socketio.init_app(app)
CSRFProtect(app)
socketio.on_namespace(Lobby("/"))


@socketio.on("theirs", namespace=NAMESPACE)
def theirs(number: int) -> int:
    return number + 1


@progress.task
def closure(progress: Reporter, number: int = 5) -> int:
    for index in progress.track(range(number)):
        time.sleep(0.02)
        progress.log(f"line {index}")
    return number


@app.get("/")
def index() -> str:
    return "the host's page"


@app.get("/left")
def gone() -> list[str]:
    return left


@app.get("/start/<name>")
def start(name: str) -> str:
    return progress.start(name, number=int(request.args["number"])).task_id


@app.errorhandler(Exception)
def failed(exc: Exception) -> tuple[str, int]:
    return f"the host's {type(exc).__name__}", 404


unsafe = {"allow_unsafe_werkzeug": True} if MODE == "threading" else {}
socketio.run(app, port=int(PORT), **unsafe)

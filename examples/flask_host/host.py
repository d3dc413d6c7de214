"""A Flask application of the usual kind: a factory, logins, forms, an upload, and its own SocketIO.

Its users upload texts, whose words are counted by a task, live. They see their own tasks only.
"""

import secrets
from pathlib import Path
from typing import Any

from flask import Flask, Response, abort, redirect, render_template, request, url_for
from flask_login import (
    LoginManager,
    UserMixin,
    current_user,
    login_required,
    login_user,
    logout_user,
)
from flask_socketio import SocketIO
from flask_wtf import CSRFProtect
from words import count_words

from socketprogress import SocketProgress

CSP = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; form-action 'self'"

socketio = SocketIO()
progress = SocketProgress()
logins = LoginManager()
csrf = CSRFProtect()

progress.task(count_words)


class User(UserMixin):
    """Somebody; whoever is called `ada` may see everything."""

    def __init__(self, name: str) -> None:
        self.id = name


USERS = {name: User(name) for name in ("ada", "bob")}


@logins.user_loader
def load_user(name: str) -> User | None:
    return USERS.get(name)


@progress.authorize
def authorize(user: User | None, action: str, task: Any) -> bool:
    """Let users list and start, and do the rest to their own tasks."""
    if user is None:
        return False
    if user.id == "ada" or action in {"list", "definitions"}:
        return True
    return action != "start" and task is not None and f"user:{user.id}" in task.tags


@socketio.on("whoami")
def whoami() -> str:
    """Answer an event of the application's own."""
    return str(current_user.get_id())


def create_app(instance: Path, *, async_mode: str = "threading") -> Flask:
    """Return the application; each instance folder is one of its own."""
    app = Flask(__name__, instance_path=str(instance))
    app.config.from_prefixed_env()
    app.secret_key = app.config.get("SECRET_KEY") or secrets.token_hex()
    uploads = instance / "uploads"
    uploads.mkdir(parents=True, exist_ok=True)

    logins.init_app(app)
    logins.login_view = "login"
    csrf.init_app(app)
    socketio.init_app(app, async_mode=async_mode)
    progress.init_app(app)

    @app.get("/")
    @login_required
    def index() -> str:
        mine = progress.tasks(tag=f"user:{current_user.id}", limit=10)
        return render_template("index.html", tasks=mine)

    @app.post("/texts")
    @login_required
    def upload() -> Response:
        file = request.files.get("text")
        if file is None or not file.filename:
            abort(400, "choose a file")
        path = uploads / secrets.token_hex(8)
        file.save(path)
        title = f"Words of {file.filename[:80]}"
        started = progress.start("count_words", title=title, file=path)
        return redirect(url_for("text", task_id=started.task_id))

    @app.get("/texts/<task_id>")
    @login_required
    def text(task_id: str) -> str:
        task = progress.get(task_id)
        if not authorize(current_user, "view", progress.state(task_id)):
            abort(404)
        return render_template("text.html", task=task)

    @app.route("/login", methods=["GET", "POST"])
    def login() -> str | Response:
        user = USERS.get(request.form.get("name", ""))
        if user is None:
            return render_template("login.html")
        login_user(user)
        return redirect(url_for("index"))

    @app.post("/logout")
    def logout() -> Response:
        logout_user()
        return redirect(url_for("login"))

    @app.after_request
    def harden(response: Response) -> Response:
        response.headers.setdefault("Content-Security-Policy", CSP)
        return response

    return app

"""Each configuration file of docs/deploy is tried: by the program that it is for, with real visitors.

Adapted are only addresses, ports and folders. There is no Docker engine here: the image's steps are run
as far as they go without one, its environment, its command and its health check.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import socketio

from tests.conftest import environment, missing_service

PROJECT = Path(__file__).resolve().parents[2]
FILES = PROJECT / "docs" / "deploy"
DOCUMENT = PROJECT / "docs" / "deploy.md"
TOKEN = "correct-horse"
HOST = "progress.example.org"
PATIENCE_S = 30.0
TERMINAL = {"completed", "failed", "cancelled"}


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def ask(url: str, *, token: str | None = TOKEN, **headers: str) -> tuple[int, Any]:
    """GET a URL without following it elsewhere; return the status and the body, JSON decoded."""
    parts = urlsplit(url)
    connection = HTTPConnection(parts.hostname or "", parts.port, timeout=10)
    if token is not None:
        headers["Authorization"] = f"Bearer {token}"
    with closing(connection):
        target = f"{parts.path}?{parts.query}" if parts.query else parts.path
        connection.request("GET", target, headers=headers)
        response = connection.getresponse()
        body = response.read()
        is_json = response.headers.get_content_type() == "application/json"
        return response.status, json.loads(body) if is_json else body


def answers(url: str) -> None:
    """Wait until something answers there."""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        try:
            ask(url)
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)
        else:
            return


def runs_a_task(url: str, transport: str) -> list[dict[str, Any]]:
    """Start the default task over Socket.IO and return what came of it, to its end."""
    seen: list[dict[str, Any]] = []
    with socketio.SimpleClient() as client:
        client.connect(url, auth={"token": TOKEN}, transports=[transport])
        client.emit("start_task")
        while not seen or seen[-1]["status"] not in TERMINAL:
            event, payload = client.receive(timeout=PATIENCE_S)
            if event == "progress_update":
                seen.append(payload)
    return seen


class Program:
    """A program as a process group of its own, ended with the test."""

    def __init__(self, argv: list[str], folder: Path, **env: str) -> None:
        self.log = folder / f"{Path(argv[0]).name}.log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                argv,
                cwd=folder,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**environment(folder), **env},
                start_new_session=True,
            )

    def stop(self) -> int:
        """Ask for its end and return its exit code."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, 15)
        return self.process.wait(timeout=PATIENCE_S)


@pytest.fixture
def program(tmp_path: Path) -> Iterator[Callable[..., Program]]:
    """A function that starts programs."""
    started: list[Program] = []

    def start(argv: list[str], **env: str) -> Program:
        started.append(Program(argv, tmp_path, **env))
        return started[-1]

    yield start
    for one in started:
        one.stop()


def nginx(folder: Path, name: str, port: int, backends: list[int]) -> list[str]:
    """Return the command of an nginx that serves one of our files, every path of it in a folder."""
    path = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
    if path is None:
        missing_service("nginx is not installed")
    text = (FILES / name).read_text(encoding="utf-8")
    for shipped, backend in zip(("127.0.0.1:8765", "127.0.0.1:8766"), backends, strict=False):
        text = text.replace(shipped, f"127.0.0.1:{backend}")
    text = text.replace("listen 80;", f"listen 127.0.0.1:{port};").replace(
        "/var/log/nginx", str(folder)
    )
    (folder / "site.conf").write_text(text, encoding="utf-8")
    temporary = "".join(
        f"{kind}_temp_path {folder}/{kind};"
        for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    (folder / "nginx.conf").write_text(
        f"pid {folder}/nginx.pid; error_log {folder}/error.log; daemon off; "
        f"events {{}} http {{ {temporary} include {folder}/site.conf; }}",
        encoding="utf-8",
    )
    command = [str(path), "-c", str(folder / "nginx.conf"), "-p", str(folder)]
    tried = subprocess.run([*command, "-t"], capture_output=True, text=True, check=False)
    assert tried.returncode == 0, tried.stderr
    return command


@pytest.fixture
def behind_nginx(
    server: Callable[..., Any], program: Callable[..., Program], tmp_path: Path
) -> tuple[str, Any]:
    """A server behind nginx, as the file says: the proxy's URL, and the server."""
    port = free_port()
    behind = server(
        "--proxies", "1", "--origin", f"https://{HOST}", env={"SOCKETPROGRESS_TOKEN": TOKEN}
    )
    (behind.root / "a file").write_text("to hash", encoding="utf-8")
    program(nginx(tmp_path, "nginx.conf", port, [behind.port]))
    url = f"http://127.0.0.1:{port}"
    answers(f"{url}/healthz")
    return url, behind


@pytest.mark.parametrize("transport", ["websocket", "polling"])
def test_a_task_runs_to_its_end_through_nginx(
    behind_nginx: tuple[str, Any], transport: str
) -> None:
    url, _ = behind_nginx

    seen = runs_a_task(url, transport)

    assert seen[-1]["status"] == "completed"


def test_nginx_serves_the_host_named_and_no_other(behind_nginx: tuple[str, Any]) -> None:
    url, _ = behind_nginx

    assert ask(f"{url}/api/tasks", Host=HOST)[0] == 200
    assert ask(f"{url}/api/tasks", Host="evil.example")[0] == 403
    assert ask(f"{url}/api/tasks", token=None, Host=HOST)[0] == 401
    assert ask(f"{url}/api/tasks", Host=HOST, Origin=f"https://{HOST}")[0] == 200
    assert ask(f"{url}/api/tasks", Host=HOST, Origin="https://evil.example")[0] == 403


def test_an_address_that_guesses_tokens_is_slowed_down_whatever_it_claims_to_be(
    behind_nginx: tuple[str, Any],
) -> None:
    url, behind = behind_nginx

    def guesses(base: str, address: str) -> list[int]:
        headers = {"Host": HOST, "X-Forwarded-For": address}
        return [ask(f"{base}/api/tasks", token=f"no{n}", **headers)[0] for n in range(22)]

    # nginx says who asks; a claim of the client's own does not get through.
    assert 429 in guesses(url, "203.0.113.7")
    assert ask(f"{url}/api/tasks", token="wrong", Host=HOST)[0] == 429
    # What the trusted proxy says counts: another address still has its guesses.
    other = {"Host": HOST, "X-Forwarded-For": "203.0.113.8"}
    assert ask(f"{behind.url}/api/tasks", token="wrong", **other)[0] == 401


def test_the_log_of_nginx_holds_no_token(behind_nginx: tuple[str, Any], tmp_path: Path) -> None:
    url, _ = behind_nginx

    status, _ = ask(f"{url}/?token={TOKEN}", token=None, Host=HOST)

    assert status == 303
    log, until = "", time.monotonic() + 30
    while '"GET /" 303' not in log:  # which nginx writes after it has answered
        assert time.monotonic() < until, f"the answer is not in the log: {log}"
        log = (tmp_path / "socketprogress.log").read_text(encoding="utf-8")
    assert TOKEN not in log


def test_behind_a_proxy_loopback_needs_a_token_too(server: Callable[..., Any]) -> None:
    behind = server("--proxies", "1")

    assert "?token=" in behind.listening
    assert ask(f"{behind.url}/api/tasks", token=None)[0] == 401


# -- gunicorn ------------------------------------------------------------------------------------


def gunicorn_lines() -> list[str]:
    text = DOCUMENT.read_text(encoding="utf-8")
    return re.findall(r"^gunicorn --.*$", text, re.MULTILINE)


def worker_class(line: str) -> str:
    found = re.search(r"--worker-class (\S+)", line)
    return "gthread" if found is None else found[1].rpartition(".")[2]


@pytest.mark.parametrize("line", gunicorn_lines(), ids=worker_class)
@pytest.mark.parametrize("transport", ["websocket", "polling"])
def test_gunicorn_serves_as_the_document_says(
    line: str, transport: str, program: Callable[..., Program], tmp_path: Path
) -> None:
    port = free_port()
    argv = shlex.split(line.replace("127.0.0.1:8765", f"127.0.0.1:{port}"))
    argv[0] = str(Path(sys.executable).with_name("gunicorn"))
    url = f"http://127.0.0.1:{port}"
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / "a file").write_text("to hash", encoding="utf-8")

    process = program(
        argv,
        SOCKETPROGRESS_TOKEN=TOKEN,
        SOCKETPROGRESS_ROOT=str(tmp_path / "root"),
        SOCKETPROGRESS_DATA=str(tmp_path / "data"),
        SOCKETPROGRESS_PROXIES="1",
        HOME=str(tmp_path),
    )
    answers(f"{url}/healthz")
    seen = runs_a_task(url, transport)

    assert seen[-1]["status"] == "completed"
    assert process.stop() == 0
    assert "Traceback" not in process.log.read_text(encoding="utf-8")


def test_the_documents_lines_name_both_worker_classes() -> None:
    classes = {worker_class(line) for line in gunicorn_lines()}

    assert classes == {"gthread", "GeventWebSocketWorker"}


# -- systemd, Docker -----------------------------------------------------------------------------


def unit() -> list[tuple[str, str]]:
    text = (FILES / "socketprogress.service").read_text(encoding="utf-8")
    return re.findall(r"^(\w+)=(.*)$", text, re.MULTILINE)


def test_systemd_takes_the_unit(tmp_path: Path) -> None:
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        missing_service("systemd is not installed")
    text = (FILES / "socketprogress.service").read_text(encoding="utf-8")
    command = Path(sys.executable).with_name("socketprogress")
    copy = tmp_path / "socketprogress.service"
    copy.write_text(text.replace("/opt/socketprogress/bin/socketprogress", str(command)))

    verified = subprocess.run(
        [analyze, "verify", "--man=no", str(copy)], capture_output=True, text=True, check=False
    )

    complaints = [line for line in verified.stderr.splitlines() if "socketprogress.service" in line]
    assert complaints == []
    assert verified.returncode == 0, verified.stderr


def test_the_units_command_serves_and_stops_when_systemd_would_stop_it(
    program: Callable[..., Program], tmp_path: Path
) -> None:
    port = free_port()
    starts = dict(unit())

    def argv(name: str) -> list[str]:
        line = starts[name].replace("${STATE_DIRECTORY}", str(tmp_path)).replace("8765", str(port))
        first, *rest = shlex.split(line)
        ours = Path(sys.executable).with_name("socketprogress")
        return [str(ours) if first.startswith("/opt") else first, *rest]

    subprocess.run(argv("ExecStartPre"), check=True)
    process = program(argv("ExecStart"), SOCKETPROGRESS_TOKEN=TOKEN)
    answers(f"http://127.0.0.1:{port}/healthz")

    process.process.terminate()
    assert process.process.wait(timeout=float(starts["TimeoutStopSec"])) == 0


def instructions() -> list[tuple[str, str]]:
    text = (FILES / "Dockerfile").read_text(encoding="utf-8").replace("\\\n", " ")
    lines = [line.partition(" ") for line in text.splitlines() if line and line[0] != "#"]
    return [(word, rest.strip()) for word, _, rest in lines]


def test_the_images_environment_command_and_health_check_work_together(
    program: Callable[..., Program], tmp_path: Path
) -> None:
    port = free_port()
    steps = instructions()
    known = {
        "FROM",
        "COPY",
        "RUN",
        "USER",
        "WORKDIR",
        "VOLUME",
        "ENV",
        "EXPOSE",
        "HEALTHCHECK",
        "CMD",
    }
    env = dict(rest.split("=", 1) for word, rest in steps if word == "ENV")
    last = dict(steps)
    (tmp_path / "work").mkdir()

    def adapted(text: str) -> str:
        return text.replace("8765", str(port)).replace("/work", f"{tmp_path}/work")

    def argv(text: str) -> list[str]:
        first, *rest = json.loads(adapted(text))
        return [str(Path(sys.executable).with_name(first)), *rest]

    process = program(
        argv(last["CMD"]),
        **{k: adapted(v).replace("/data", f"{tmp_path}/data") for k, v in env.items()},
        SOCKETPROGRESS_TOKEN=TOKEN,
    )
    answers(f"http://127.0.0.1:{port}/healthz")
    healthy = subprocess.run(argv(last["HEALTHCHECK"].partition("CMD ")[2]), check=False)

    assert {word for word, _ in steps} <= known
    assert healthy.returncode == 0
    process.process.terminate()
    assert process.process.wait(timeout=PATIENCE_S) == 0
    sick = subprocess.run(
        argv(last["HEALTHCHECK"].partition("CMD ")[2]), check=False, capture_output=True
    )
    assert sick.returncode != 0

"""Shared fixtures: a real server in a process of its own, a real Redis, and a real browser."""

from __future__ import annotations

import contextlib
import os
import queue
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest

READY_S = 30.0
STOP_S = 10.0
SHORT = {"core", "executors", "tasks"}
"""The folders whose files take a few seconds at most."""
CHROMIUM_ARGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mix the files that drive browsers with those that wait, and leave the short ones for the end.

    So several workers keep every core busy, and none of them is left alone with a long file.
    """
    items.sort(key=lambda item: (item.path.parent.name in SHORT, item.path.name, item.path))


# What nohup, or a shell's background, has us ignore would be ignored in every process of a test.
for _signal, _handler in {
    signal.SIGHUP: signal.SIG_DFL,
    signal.SIGINT: signal.default_int_handler,
    signal.SIGQUIT: signal.SIG_DFL,
}.items():
    if signal.getsignal(_signal) == signal.SIG_IGN:
        signal.signal(_signal, _handler)

# No example fails by the clock: machines are noisy.
hypothesis.settings.register_profile("patient", deadline=None)
hypothesis.settings.load_profile("patient")


class ServerProcess:
    """`python -m socketprogress serve` as a process group of its own.

    Args:
        folder: its data and runtime folders, and by default its root, are made in here.
        args: further arguments.
        mode: the async mode; None leaves it to the server.
        env: further environment variables.
        root: the folder for `--root`.
        data: the folder for `--data`.
        port: 0 takes a free one; a restart takes the same again.
    """

    def __init__(
        self,
        folder: Path,
        *args: str,
        mode: str | None = None,
        env: dict[str, str] | None = None,
        root: Path | None = None,
        data: Path | None = None,
        port: int = 0,
    ) -> None:
        self.root = root or folder / "root"
        self.data = data or folder / "data"
        self.runtime = folder / "runtime"
        self.port = port
        self.listening = ""
        self._args = [*args, *(["--async-mode", mode] if mode else [])]
        self.env = environment(self.runtime, **(env or {}))
        self._stderr: list[str] = []
        self.process: subprocess.Popen[str]
        self.root.mkdir(exist_ok=True, parents=True)
        self.runtime.mkdir(mode=0o700, exist_ok=True, parents=True)
        self.start()

    @property
    def url(self) -> str:
        """The base URL, without a token."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def stderr(self) -> str:
        """What it has written to stderr so far, all its runs together."""
        return "".join(self._stderr)

    def start(self) -> None:
        """Start it and wait until it says that it listens."""
        command = [sys.executable, "-m", "socketprogress", "serve", "--port", str(self.port)]
        command += ["--root", str(self.root), "--data", str(self.data), *self._args]
        self.process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=self.env,
            cwd=self.root,
            start_new_session=True,
        )
        lines: queue.Queue[str] = queue.Queue()
        self._read(self.process.stdout, lines.put)
        self._read(self.process.stderr, self._stderr.append)
        try:
            self.listening = lines.get(timeout=READY_S).strip()
        except queue.Empty:
            self.listening = ""
        found = re.fullmatch(r"Listening on http://[^/]+:(\d+)(/\?token=\S+)?", self.listening)
        if found is None:
            self.kill()
            pytest.fail(f"the server did not start: {self.listening!r}\n{self.stderr}")
        self.port = int(found.group(1))

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Send a signal, wait for the end and return the exit code."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.wait()

    def wait(self) -> int:
        """Wait for the end and return the exit code."""
        try:
            return self.process.wait(timeout=STOP_S)
        except subprocess.TimeoutExpired:
            self.kill()
            pytest.fail(f"the server did not stop within {STOP_S} s\n{self.stderr}")

    def kill(self) -> None:
        """End the server alone with SIGKILL, as the kernel would."""
        self.process.kill()
        self.process.wait(timeout=STOP_S)

    def restart(self) -> None:
        """Start it again at the same port with the same data; end it first if it runs."""
        self.stop()
        self.start()

    def close(self) -> None:
        """End it and whatever it has left in its process group."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(timeout=STOP_S)

    def cli(
        self, *args: str, env: dict[str, str] | None = None, timeout: float = 60
    ) -> subprocess.CompletedProcess[str]:
        """Run a client command that finds this server by its run file."""
        return run_cli(*args, env={**self.env, **(env or {})}, cwd=self.root, timeout=timeout)

    def _read(self, stream: Any, put: Callable[[str], None]) -> None:
        def read() -> None:
            with stream:
                for line in stream:
                    put(line)
            put("")

        threading.Thread(target=read, daemon=True).start()


def environment(runtime: Path, **more: str) -> dict[str, str]:
    """Return the environment of a process that sees nothing of this user's own servers."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith("SOCKETPROGRESS_")}
    return {
        **kept,
        "XDG_RUNTIME_DIR": str(runtime),
        "XDG_DATA_HOME": str(runtime / "home"),
        "XDG_STATE_HOME": str(runtime / "state"),
        "PYTHONWARNINGS": "default",
        **more,
    }


def run_cli(
    *args: str, env: dict[str, str], cwd: Path, timeout: float = 60
) -> subprocess.CompletedProcess[str]:
    """Run `python -m socketprogress` to its end."""
    return subprocess.run(
        [sys.executable, "-m", "socketprogress", *args],
        capture_output=True,
        text=True,
        check=False,
        env=env,
        cwd=cwd,
        timeout=timeout,
    )


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Callable[..., ServerProcess]]:
    """A function that starts servers; they are ended with the test."""
    yield from _starting(tmp_path)


@pytest.fixture(scope="module")
def lasting_server(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Callable[..., ServerProcess]]:
    """A function that starts servers; they are ended with the module."""
    yield from _starting(tmp_path_factory.mktemp("servers"))


def _starting(parent: Path) -> Iterator[Callable[..., ServerProcess]]:
    started: list[ServerProcess] = []

    def start(*args: str, **options: Any) -> ServerProcess:
        folder = parent / f"server{len(started)}"
        started.append(ServerProcess(folder, *args, **options))
        return started[-1]

    yield start
    for process in started:
        process.close()


class RedisServer:
    """`redis-server` at a free port, in a process of its own.

    Args:
        folder: where it keeps its append-only file, if it keeps one.
        appendonly: whether what it holds survives its death.
        options: further options of its configuration.
    """

    def __init__(self, folder: Path, *, appendonly: bool = False, **options: str) -> None:
        self._folder = folder
        self._options = {"appendonly": "yes" if appendonly else "no", **options}
        folder.mkdir(parents=True, exist_ok=True)
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            self.port = int(taken.getsockname()[1])
        self.process: subprocess.Popen[bytes]
        self.start()

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        """Start it at its port and wait until it answers."""
        options = {"port": str(self.port), "bind": "127.0.0.1", "save": "", **self._options}
        args = [part for name, value in options.items() for part in (f"--{name}", value)]
        self.process = subprocess.Popen(
            [shutil.which("redis-server") or "", *args], cwd=self._folder, stdout=subprocess.DEVNULL
        )
        deadline = time.monotonic() + READY_S
        while not self._answers():
            if self.process.poll() is not None or time.monotonic() > deadline:
                pytest.fail("redis-server did not start")
            time.sleep(0.02)

    def kill(self) -> None:
        """End it with SIGKILL."""
        self.process.kill()
        self.process.wait(timeout=STOP_S)

    def pause(self) -> None:
        """Have it hang."""
        self.process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """Have it go on."""
        self.process.send_signal(signal.SIGCONT)

    def _answers(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1) as connection:
                connection.sendall(b"PING\r\n")
                # While it loads its file it answers with an error, and would do so to everybody.
                return connection.recv(16).startswith((b"+PONG", b"-NOAUTH"))
        except OSError:
            return False


@pytest.fixture
def redis_server(tmp_path: Path) -> Iterator[Callable[..., RedisServer]]:
    """A function that starts Redis servers; they are ended with the test."""
    _need_redis()
    started: list[RedisServer] = []

    def start(**options: Any) -> RedisServer:
        started.append(RedisServer(tmp_path / f"redis{len(started)}", **options))
        return started[-1]

    yield start
    for one in started:
        one.kill()


@pytest.fixture(scope="session")
def lasting_redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """One Redis server for all tests that only use it, each under a prefix of its own."""
    _need_redis()
    redis = RedisServer(tmp_path_factory.mktemp("redis"))
    yield redis
    redis.kill()


def _need_redis() -> None:
    if shutil.which("redis-server") is None:
        missing_service("redis-server is not installed")


@pytest.fixture(autouse=True)
def unchanged_environment() -> Iterator[None]:
    """Undo what a test, or a library in it, changes in the environment: Flask's commands do."""
    before = dict(os.environ)
    yield
    for name in os.environ.keys() - before.keys():
        del os.environ[name]
    os.environ.update(before)


@pytest.fixture(params=["eventlet", "threading", "gevent"])
def any_mode(request: pytest.FixtureRequest) -> str:
    """Each async mode in turn."""
    return str(request.param)


def chromium_path() -> str | None:
    """Return this machine's Chromium or Chrome, or None."""
    names = ("chromium", "chromium-browser", "google-chrome")
    return next((path for name in names if (path := shutil.which(name))), None)


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """A headless Chromium, driven by Playwright."""
    path = chromium_path()
    if path is None:
        missing_service("chromium is not installed")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=path, args=CHROMIUM_ARGS)
        yield chromium
        chromium.close()


def missing_service(reason: str) -> None:
    """Skip at a desk, fail in CI: there every service has to be there."""
    if os.environ.get("CI") == "true":
        pytest.fail(f"{reason}, and CI must not skip")
    pytest.skip(reason)

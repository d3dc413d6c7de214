"""tqdm's own tests, run with the drop-in in its place: what passes with tqdm passes with it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

VERSION = "4.70.1"
CHECKOUT = Path(__file__).parents[2]
SUBSTITUTE = Path(__file__).parent / "substitute"
CLOSED = "http://127.0.0.1:1"
RUN_S = 300
AGAIN = 2
WALL_CLOCK = "tests/tests_perf.py"
"""Compares wall-clock times, which a busy machine decides; benchmarks/overhead.py measures ours."""
SETTINGS = """\
[pytest]
python_files = tests_*.py
addopts = -W error -W "ignore:Module already imported" --asyncio-mode=strict -p no:cacheprovider
asyncio_default_fixture_loop_scope = function
markers =
    slow
"""


@pytest.fixture(scope="module")
def suite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with tqdm's tests, of the pinned release."""
    archive = CHECKOUT / ".cache" / f"tqdm-{VERSION}.tar.gz"
    if not archive.exists():
        what = ["--no-binary", ":all:", "--no-deps", "--dest", str(archive.parent)]
        done = subprocess.run(
            [sys.executable, "-m", "pip", "download", *what, f"tqdm=={VERSION}"],
            capture_output=True, text=True, check=False, timeout=RUN_S,
        )  # fmt: skip
        if not archive.exists():
            missing(f"the source of tqdm {VERSION} cannot be had: {done.stderr[-500:]}")
    folder = tmp_path_factory.mktemp("suite")
    with tarfile.open(archive) as packed:
        for member in packed.getmembers():
            _, _, path = member.name.partition("/")
            if path.startswith("tests/") and path.endswith(".py"):
                member.name = path
                packed.extract(member, folder, filter="data")
    (folder / "pytest.ini").write_text(SETTINGS, encoding="ascii")
    return folder


def missing(reason: str) -> None:
    """Skip at a desk, fail in CI."""
    if os.environ.get("CI") == "true":
        pytest.fail(f"{reason}, and CI must not skip")
    pytest.skip(reason)


@pytest.fixture(scope="module")
def surroundings(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment of a process that finds no server by itself."""
    folder = tmp_path_factory.mktemp("home")
    kept = {
        key: value
        for key, value in os.environ.items()
        if not key.startswith(("SOCKETPROGRESS_", "TQDM_", "PYTEST_", "PYTHONPATH"))
    }
    (folder / "run").mkdir(mode=0o700)
    places = {
        name: str(folder / "run") for name in ("XDG_RUNTIME_DIR", "XDG_DATA_HOME", "XDG_STATE_HOME")
    }
    return {**kept, **places}


def passing(folder: Path, env: dict[str, str], *tests: str) -> set[str]:
    """Run the suite, or some of its tests, and return what has passed."""
    command = [sys.executable, "-m", "pytest", "-q", "-rA", "--deselect", WALL_CLOCK]
    done = subprocess.run(
        [*command, *(tests or ("tests",))],
        capture_output=True, text=True, check=False, env=env, cwd=folder, timeout=RUN_S,
    )  # fmt: skip
    lines = done.stdout.splitlines()
    return {line.removeprefix("PASSED ") for line in lines if line.startswith("PASSED ")}


@pytest.fixture(scope="module")
def plain(suite: Path, surroundings: dict[str, str]) -> set[str]:
    """What passes with tqdm itself."""
    return passing(suite, surroundings)


@pytest.fixture(params=["server up", "server down", "none configured", "server frozen"])
def condition(
    request: pytest.FixtureRequest, lasting_server: Callable[..., Any]
) -> Iterator[tuple[str, Any]]:
    """How it is with the server: what it is called, and the server if there is one."""
    server = None if request.param in {"server down", "none configured"} else lasting_server()
    if request.param == "server frozen":
        os.kill(server.pid, signal.SIGSTOP)
    yield request.param, server
    if request.param == "server frozen":
        os.kill(server.pid, signal.SIGCONT)


@pytest.fixture
def replaced(surroundings: dict[str, str], condition: tuple[str, Any]) -> dict[str, str]:
    """The environment of processes in which the drop-in is in tqdm's place."""
    name, server = condition
    env = {**surroundings, "PYTHONPATH": os.pathsep.join([str(SUBSTITUTE), str(CHECKOUT)])}
    if name == "server down":
        env["SOCKETPROGRESS_URL"] = CLOSED
    elif server is not None:
        env["SOCKETPROGRESS_URL"] = server.url
    return env


def test_what_passes_with_tqdm_passes_with_the_drop_in(
    suite: Path,
    plain: set[str],
    replaced: dict[str, str],
    condition: tuple[str, Any],
    api_of: Callable[..., Any],
) -> None:
    # Given a suite that passes with tqdm, but for what it skips where something is not installed
    assert len(plain) > 140
    # and the drop-in under tqdm's names
    code = (
        "import tqdm, tqdm.auto, tqdm.asyncio as a; print(*tqdm.tqdm.mro(), tqdm.auto.tqdm, a.tqdm)"
    )
    names = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=replaced
    ).stdout
    assert names.count("socketprogress.") == 3

    # When it is run in this condition, what depends on how fast the machine is once more
    passed = passing(suite, replaced)
    for _ in range(AGAIN):
        left = sorted(plain - passed)
        if left:
            passed |= passing(suite, replaced, *left)

    # Then nothing has failed, and where there is a server it has seen the bars
    assert plain - passed == set()
    name, server = condition
    if name == "server up":
        tasks = api_of(server.url).tasks(name="tqdm")
        assert len(tasks) > 140

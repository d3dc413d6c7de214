"""The package as it is shipped: sdist, wheel, an environment elsewhere, every page and script."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import urllib.request
import venv
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parent.parent
TYPES = {".js": "text/javascript", ".mjs": "text/javascript", ".css": "text/css"}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel that is built from the sdist, not from this folder."""
    folder = tmp_path_factory.mktemp("dist")
    tree = folder / "tree"
    shutil.copytree(
        PROJECT,
        tree,
        ignore=shutil.ignore_patterns(".*", "__pycache__", "tests", "benchmarks", "node_modules"),
    )
    shutil.copy(PROJECT / ".gitignore", tree)
    # Without isolation the build needs nothing from the network.
    _run(sys.executable, "-m", "hatchling", "build", "-t", "sdist", "-d", str(folder), cwd=tree)
    (archive,) = folder.glob("*.tar.gz")
    with tarfile.open(archive) as packed:
        packed.extractall(folder / "unpacked", filter="data")
    (source,) = (folder / "unpacked").iterdir()
    _run(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder), cwd=source)
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of a fresh environment that has the wheel, and this one's other packages."""
    folder = tmp_path_factory.mktemp("elsewhere")
    venv.create(folder / "env", with_pip=False, symlinks=True)
    python = folder / "env" / "bin" / "python"
    home = Path(
        _run(str(python), "-c", "import sysconfig; print(sysconfig.get_path('purelib'))").strip()
    )
    with zipfile.ZipFile(wheel) as packed:
        packed.extractall(home)  # noqa: S202 - the wheel that was just built
    # Only plain entries of a .pth are followed from here: an editable install of this project is
    # a .pth of its own in the folder named, which stays unread.
    (home / "others.pth").write_text("\n".join(_other_packages()), encoding="utf-8")
    return python


@pytest.fixture
def url(installed: Path, tmp_path: Path) -> Iterator[str]:
    """The address of a server that runs from the wheel."""
    (tmp_path / "run").mkdir(mode=0o700)
    env = {k: v for k, v in os.environ.items() if not k.startswith(("SOCKETPROGRESS_", "PYTHON"))}
    with subprocess.Popen(
        [str(installed), "-m", "socketprogress", "--port", "0", "--data", str(tmp_path / "data")],
        stdout=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
        env={**env, "XDG_RUNTIME_DIR": str(tmp_path / "run")},
    ) as process:
        assert process.stdout is not None
        listening = process.stdout.readline().strip()
        assert listening.startswith("Listening on ")
        yield listening.removeprefix("Listening on ")
        process.terminate()
        assert process.wait(timeout=15) == 0


def test_the_wheel_serves_its_page_and_every_file_it_needs(url: str) -> None:
    kind, page = _get(f"{url}/")
    assert kind == "text/html"
    assert "<html" in page

    files = [path for path in (PROJECT / "static").rglob("*") if path.suffix in TYPES]
    assert files
    for path in files:
        name = path.relative_to(PROJECT / "static").as_posix()
        kind, text = _get(f"{url}/static/{name}")
        assert (kind, text) == (TYPES[path.suffix], path.read_text(encoding="utf-8")), name


def test_the_wheel_is_what_runs_and_it_is_typed(installed: Path, tmp_path: Path) -> None:
    script = (
        "import json, pathlib, socketprogress, importlib.metadata as m\n"
        "home = pathlib.Path(socketprogress.__file__).parent\n"
        "print(json.dumps([str(home), (home / 'py.typed').exists(), m.version('socketprogress')]))"
    )
    home, typed, version = json.loads(_run(str(installed), "-c", script, cwd=tmp_path))

    assert Path(home).is_relative_to(installed.parent.parent)
    assert typed
    assert version


def test_the_wheel_carries_every_licence_template_and_script(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as packed:
        names = set(packed.namelist())

    licences = {path.name for path in (PROJECT / "licenses").iterdir()} | {"LICENSE"}
    assert licences <= {Path(name).name for name in names if ".dist-info/licenses/" in name}
    for folder in ("templates", "static"):
        for path in (PROJECT / folder).rglob("*"):
            if path.is_file():
                assert f"socketprogress/{path.relative_to(PROJECT).as_posix()}" in names
    assert not [name for name in names if name.startswith(("tests/", "benchmarks/", "static/"))]


def test_the_console_script_is_the_module(installed: Path, wheel: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(wheel) as packed:
        (entry,) = [name for name in packed.namelist() if name.endswith("entry_points.txt")]
        points = packed.read(entry)
    assert b"socketprogress = socketprogress.__main__:main" in points
    assert b"[pytest11]\nsocketprogress = socketprogress.pytest_plugin" in points

    shown = _run(str(installed), "-m", "socketprogress", "--version", cwd=tmp_path)
    assert shown.startswith("socketprogress, version ")


def _run(*command: str, cwd: Path | None = None) -> str:
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, cwd=cwd, timeout=300
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def _get(url: str) -> tuple[str, str]:
    with urllib.request.urlopen(url, timeout=15) as response:  # noqa: S310 - this test's own server
        assert response.status == 200
        return response.headers.get_content_type(), response.read().decode("utf-8")


def _other_packages() -> list[str]:
    return list(dict.fromkeys([sysconfig.get_path("purelib"), sysconfig.get_path("platlib")]))

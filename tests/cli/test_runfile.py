"""How commands find the servers of this user."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from socketprogress.client.origin import _Found
from socketprogress.client.runfile import RunFile, ServerAddress, find_server, running_servers
from socketprogress.server.datadir import DataUnavailable, holder, lock_data

HOLD = """
import sys, time
from pathlib import Path
from socketprogress.client.runfile import RunFile, ServerAddress
from socketprogress.server.datadir import lock_data
lock = lock_data(Path(sys.argv[1]))
file = RunFile(ServerAddress("http://127.0.0.1:7001", "secret", 7, 1e12))
print("held", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def runtime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A runtime folder of this test's own."""
    folder = tmp_path / "runtime"
    folder.mkdir(mode=0o700)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(folder))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "home"))
    return folder


def test_a_server_is_found_while_its_run_file_is_open(runtime: Path) -> None:
    assert find_server() is None
    address = ServerAddress("http://127.0.0.1:7000", "secret", os.getpid(), 5.0)

    with RunFile(address) as file:
        assert find_server() == address
        assert stat.S_IMODE(file.path.stat().st_mode) == 0o600

    assert find_server() is None
    assert not list(runtime.rglob("*.json"))


def test_the_newest_of_several_servers_is_found(runtime: Path, tmp_path: Path) -> None:
    with (
        subprocess.Popen(
            [sys.executable, "-c", HOLD, str(tmp_path / "data")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        ) as other,
        RunFile(ServerAddress("http://127.0.0.1:7000", started_at=5.0)),
    ):
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"

        found = find_server()

        assert found is not None
        assert found.url == "http://127.0.0.1:7001"
        assert len(running_servers()) == 2
        other.kill()


def test_what_a_killed_server_leaves_is_cleaned_up(runtime: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(data)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        assert holder(data) == other.pid
        with pytest.raises(DataUnavailable, match=rf"another server \(pid {other.pid}\)"):
            lock_data(data)
        other.kill()

    assert list(runtime.rglob("*.json"))
    assert find_server() is None
    assert not list(runtime.rglob("*.json"))
    assert holder(data) is None
    lock_data(data).close()


def test_run_files_that_others_could_have_written_are_not_believed(runtime: Path) -> None:
    with RunFile(ServerAddress("http://127.0.0.1:7000")) as file:
        file.path.parent.chmod(0o777)
        assert find_server() is None


def test_a_run_file_that_is_no_json_is_passed_over(runtime: Path) -> None:
    with RunFile(ServerAddress("http://127.0.0.1:7000")) as file:
        file.path.write_text("{", encoding="utf-8")
        assert find_server() is None


def test_the_data_folder_is_made_for_its_owner_alone(tmp_path: Path) -> None:
    data = tmp_path / "deep" / "data"

    with lock_data(data):
        assert stat.S_IMODE(data.stat().st_mode) == 0o700
        assert holder(data) == os.getpid()
    assert holder(data) is None


def test_a_data_folder_that_cannot_be_made_says_why(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    with pytest.raises(DataUnavailable, match="--data"):
        lock_data(tmp_path / "file" / "data")


def test_who_reports_to_a_server_waits_for_that_one_and_knows_it_again(runtime: Path) -> None:
    # Given two servers, and a reporter that has found the one started last
    def at(port: int, data: str, started_at: float) -> RunFile:
        address = ServerAddress(f"http://127.0.0.1:{port}", None, 7, started_at, data)
        folder = runtime / "socketprogress"
        folder.mkdir(exist_ok=True)
        file = RunFile(address, folder=folder)
        file.path = file.path.replace(folder / f"{port}.json")  # each has a process of its own
        return file

    with at(7000, "/a", 5.0):
        with at(7001, "/b", 6.0):
            origin = _Found().origin(None, offline=False)
            assert origin is not None
            assert origin.address() == ("http://127.0.0.1:7001", None)

        # When that one is away, then it is not the other that hears the rest
        assert origin.address() == ("http://127.0.0.1:7001", None)

        # When it is back at another port, then it is known by its data
        with at(7002, "/b", 7.0):
            assert origin.address() == ("http://127.0.0.1:7002", None)

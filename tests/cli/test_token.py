"""`socketprogress token`: what it prints and where, with a running server and without one."""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from runners import environment_without_server

Start = Callable[..., Any]


def run_cli(*args: str, env: dict[str, str], cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run a command to its end."""
    command = [sys.executable, "-m", "socketprogress", *args]
    return subprocess.run(
        command, capture_output=True, text=True, check=False, env=env, cwd=cwd, timeout=60
    )


def status_of(url: str, token: str | None = None) -> int:
    """Return the status of a request with a token, or without."""
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    request = urllib.request.Request(url, headers=headers)  # noqa: S310 - the test's own server
    try:
        with urllib.request.urlopen(request, timeout=20) as response:  # noqa: S310 - as above
            return int(response.status)
    except urllib.error.HTTPError as exc:
        with exc:
            return exc.code


def test_a_token_is_made_used_listed_and_revoked_while_the_server_runs(server: Start) -> None:
    running = server("--token", "right")
    url = f"{running.url}/api/tasks"

    made = running.cli("token", "new", "--role", "viewer", "--name", "the wall")
    secret = made.stdout.strip()
    assert made.returncode == 0, made.stderr
    assert "\n" not in secret
    assert secret not in made.stderr
    assert "NOTE" not in made.stderr
    assert status_of(url, secret) == 200

    (listed,) = map(json.loads, running.cli("token", "ls", "--json").stdout.splitlines())
    assert (listed["role"], listed["name"], listed["task_id"]) == ("viewer", "the wall", None)
    assert listed["tail"] == secret[-4:]
    table = running.cli("token", "ls").stdout
    assert "the wall" in table
    assert secret[-5:] not in table

    revoked = running.cli("token", "revoke", listed["id"])
    assert revoked.returncode == 0
    assert status_of(url, secret) == 401
    again = running.cli("token", "revoke", listed["id"])
    assert again.returncode == 1
    assert "no token has the id" in again.stderr


def test_a_token_made_before_the_server_holds_when_it_starts(server: Start, tmp_path: Path) -> None:
    data = tmp_path / "data"
    env = environment_without_server(tmp_path / "runtime")
    made = run_cli(
        "token", "watch", "some", "--expires", "never", "--data", str(data), env=env, cwd=tmp_path
    )
    assert made.returncode == 0, made.stderr
    assert "for ever" in made.stderr

    running = server("--token", "right", data=data)

    assert status_of(f"{running.url}/api/tasks", made.stdout.strip()) == 200
    assert status_of(f"{running.url}/api/definitions", made.stdout.strip()) == 403


def test_the_data_folder_is_found_where_serve_finds_it(tmp_path: Path) -> None:
    env = environment_without_server(tmp_path / "runtime")
    (tmp_path / "socketprogress.toml").write_text('port = 1234\ndata = "kept"\n')

    made = run_cli("token", "new", "--role", "operator", env=env, cwd=tmp_path)

    assert made.returncode == 0, made.stderr
    assert (tmp_path / "kept" / "tokens.json").is_file()
    (tmp_path / "socketprogress.toml").unlink()
    env["SOCKETPROGRESS_DATA"] = str(tmp_path / "elsewhere")
    run_cli("token", "new", "--role", "operator", env=env, cwd=tmp_path)
    assert (tmp_path / "elsewhere" / "tokens.json").is_file()


def test_of_two_servers_the_one_that_is_named_is_meant(server: Start) -> None:
    older, newer = server("--token", "right"), server("--token", "right")
    env = {**older.env, "SOCKETPROGRESS_URL": older.url, "XDG_RUNTIME_DIR": str(newer.runtime)}
    for path in (older.runtime / "socketprogress").glob("*.json"):
        # Both servers are this user's: they have one runtime folder.
        (newer.runtime / "socketprogress" / path.name).hardlink_to(path)

    made = run_cli("token", "new", "--role", "viewer", env=env, cwd=older.root)

    assert str(older.data) in made.stderr
    assert status_of(f"{older.url}/api/tasks", made.stdout.strip()) == 200
    assert status_of(f"{newer.url}/api/tasks", made.stdout.strip()) == 401


def test_on_an_open_server_it_is_said_that_a_token_closes_nothing(server: Start) -> None:
    running = server()

    made = running.cli("token", "watch", "some-task", "--expires", "2h")
    secret = made.stdout.strip()

    assert "keeps nobody out" in made.stderr
    assert f"{running.url}/tasks/some-task?token={secret}" in made.stderr
    assert status_of(f"{running.url}/api/definitions", secret) == 403
    assert status_of(f"{running.url}/api/definitions", "wrong") == 200
    assert status_of(f"{running.url}/api/definitions") == 200


@pytest.mark.parametrize(
    "args",
    [
        ("new",),
        ("new", "--role", "king"),
        ("new", "--role", "viewer", "--expires", "soon"),
        ("new", "--role", "viewer", "--expires", "0d"),
        ("new", "--role", "viewer", "--name", "x" * 201),
        ("watch",),
        ("watch", "no/id"),
        ("revoke",),
    ],
    ids=" ".join,
)
def test_what_cannot_be_is_a_usage_error(tmp_path: Path, args: tuple[str, ...]) -> None:
    env = environment_without_server(tmp_path / "runtime")

    refused = run_cli("token", *args, "--data", str(tmp_path), env=env, cwd=tmp_path)

    assert refused.returncode == 2, refused.stderr
    assert refused.stdout == ""
    assert not (tmp_path / "tokens.json").exists()


def test_a_folder_that_cannot_be_written_is_an_error_that_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    env = environment_without_server(tmp_path / "runtime")

    refused = run_cli(
        "token", "new", "--role", "viewer", "--data", str(tmp_path / "file"), env=env, cwd=tmp_path
    )

    assert refused.returncode == 1
    assert "--data" in refused.stderr
    assert "Traceback" not in refused.stderr

"""What the documents promise and name is there, tested, and all of it; and two of the promises."""

from __future__ import annotations

import ast
import json
import re
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import pytest

import socketprogress
from socketprogress.cli import serve
from socketprogress.cli.main import COMMANDS, group
from socketprogress.cli.options import Setting
from socketprogress.client.watcher import Client

PROJECT = Path(__file__).resolve().parent.parent
README = PROJECT / "README.md"
OPERATING = PROJECT / "docs" / "operating.md"
DOCUMENTS = [README, *sorted((PROJECT / "docs").glob("*.md"))]
TEXT = "\n".join(path.read_text(encoding="utf-8") for path in DOCUMENTS)
FLAG = re.compile(r"(?<![\w-])--[a-z][a-z-]*")
FENCED = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
OTHERS = re.compile(r"docker |flask |gunicorn |systemctl |--task-progress-")
ROW = re.compile(r"^\| (.+?) \| (`tests/.+?) \|$", re.MULTILINE)
# Marks that this package's own processes give one another.
INTERNAL = {
    "SOCKETPROGRESS_COMMAND_MARK",
    "SOCKETPROGRESS_RUN_MARK",
    "SOCKETPROGRESS_WORKER",
}
MISBEHAVING = """
import os
import time

from socketprogress import Reporter, task


@task
def burn(seconds: float) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        pass


@task
def rest(seconds: float) -> None:
    time.sleep(seconds)


@task
def fail() -> None:
    raise ValueError("no good")


@task
def leave() -> None:
    raise SystemExit(0)


@task
def die() -> None:
    os._exit(7)


@task
def hold(progress: Reporter) -> None:
    progress.log("holding")
    while True:
        time.sleep(0.01)
        progress.check()
"""


def _squeezed(text: str) -> str:
    return " ".join(text.split())


def _synopses(text: str) -> dict[str, set[str]]:
    """Return each command's flags, as the blocks without a language tell them."""
    found: dict[str, set[str]] = {}
    for language, block in FENCED.findall(text):
        if language or not block.startswith("socketprogress"):
            continue
        for line in re.sub(r"\n +", " ", block).splitlines():
            word = line.split()[1].strip("[]")
            found.setdefault(word, set()).update(FLAG.findall(line))
    return found


def _flags(command: click.Command) -> set[str]:
    if isinstance(command, click.Group):
        return set().union(*map(_flags, command.commands.values()))
    return {flag for param in command.params for flag in param.opts if flag.startswith("--")}


def _command(name: str) -> click.Command:
    command = group.get_command(click.Context(group), name)
    assert command is not None
    return command


@pytest.mark.parametrize("name", [name for name in COMMANDS if name != "doctor"])
def test_every_flag_of_a_command_is_documented_and_no_other(name: str) -> None:
    synopses = _synopses(OPERATING.read_text(encoding="utf-8"))

    assert synopses[name] == _flags(_command(name))


def test_doctor_takes_the_options_of_serve_as_documented() -> None:
    assert _flags(_command("doctor")) == _flags(serve.command)


def test_the_readme_names_no_flag_that_a_command_has_not() -> None:
    synopses = _synopses(README.read_text(encoding="utf-8"))

    assert synopses["serve"] == _flags(serve.command)
    for name, flags in synopses.items():
        assert flags <= _flags(_command(name)), name


def test_no_text_speaks_of_a_flag_that_is_not_there() -> None:
    known = set().union(*(_flags(_command(name)) for name in COMMANDS)) | {"--help", "--version"}
    codes = [code for code in re.findall(r"`([^`\n]+)`", TEXT) if not OTHERS.match(code)]
    spoken = {flag for code in codes for flag in FLAG.findall(code)}

    assert spoken <= known


def test_every_setting_of_serve_has_its_meaning_in_the_table() -> None:
    rows = [line.split("|")[1] for line in TEXT.splitlines() if line.startswith("| `--")]
    explained = {flag for row in rows for flag in FLAG.findall(row)}

    assert explained == {f"--{p.key}" for p in serve.command.params if isinstance(p, Setting)} | {
        "--open"
    }


def test_every_environment_variable_is_documented_and_there() -> None:
    sources = (PROJECT / "socketprogress").rglob("*.py")
    code = "\n".join(path.read_text(encoding="utf-8") for path in sources)
    variable = re.compile(r"SOCKETPROGRESS_[A-Z]+(?:_[A-Z]+)*")
    settings = {p.envvar for p in serve.command.params if isinstance(p, Setting)}
    read = set(re.findall(rf'"({variable.pattern})"', code))

    assert read - INTERNAL <= set(variable.findall(TEXT))
    assert set(variable.findall(TEXT)) <= read | settings


@pytest.mark.parametrize("name", socketprogress.__all__)
def test_every_public_name_is_documented(name: str) -> None:
    assert re.search(rf"`(from socketprogress import )?{re.escape(name)}\b", TEXT)


def test_every_promise_has_its_tests_and_every_row_its_promise() -> None:
    readme = _squeezed(README.read_text(encoding="utf-8"))
    section = README.read_text(encoding="utf-8").split("## What it promises")[1].split("\n## ")[0]
    promises = [_squeezed(item) for item in re.split(r"^- ", section, flags=re.MULTILINE)[1:]]
    rows = [row for row, _ in _rows()]

    assert promises
    assert [row for row in rows if row not in readme] == []
    for promise in promises:
        assert any(row in promise for row in rows), promise


def test_every_test_that_is_named_for_a_promise_exists() -> None:
    named = [test for _, tests in _rows() for test in tests]
    missing = [test for test in named if not _exists(test)]

    assert len(named) > len(_rows())
    assert missing == []


def _rows() -> list[tuple[str, list[str]]]:
    text = (PROJECT / "docs" / "promises.md").read_text(encoding="utf-8")
    return [(row, re.findall(r"`([^`]+)`", tests)) for row, tests in ROW.findall(text)]


def _exists(test: str) -> bool:
    path, _, name = test.partition("::")
    if not (PROJECT / path).is_file():
        return False
    tree = ast.parse((PROJECT / path).read_text(encoding="utf-8"))
    return any(isinstance(node, ast.FunctionDef) and node.name == name for node in tree.body)


# -- two promises that need a whole server -------------------------------------------------------


@pytest.fixture
def misbehaving(tmp_path: Path) -> str:
    """The path of a file for `--tasks` whose tasks misbehave."""
    path = tmp_path / "misbehaving.py"
    path.write_text(MISBEHAVING, encoding="utf-8")
    return str(path)


def test_work_that_burns_sleeps_raises_or_dies_ends_right_before_a_watcher_that_stays(
    server: Callable[..., Any], misbehaving: str, any_mode: str
) -> None:
    # Given a task that somebody watches, while a core is burnt beside it
    web = server("--tasks", misbehaving, "--workers", "3", mode=any_mode)
    outages: list[Any] = []
    with Client(web.url) as client:
        held = client.start("hold")
        watch = held.watch(timeout=60, on_outage=outages.append)
        assert not next(watch).ended
        burning = client.start("burn", seconds=1)

        # When others sleep, raise, leave and die
        ends = {
            name: list(client.start(name, **args).watch(timeout=60))[-1]
            for name, args in (
                ("rest", {"seconds": 0.1}),
                ("fail", {}),
                ("leave", {}),
                ("die", {}),
            )
        }

        # Then each has its own end, with its traceback in the log
        told = {name: (end.status, (end.error or {}).get("code")) for name, end in ends.items()}
        assert told == {
            "rest": ("completed", None),
            "fail": ("failed", "exception"),
            "leave": ("failed", "exception"),
            "die": ("failed", "worker_lost"),
        }
        assert "ValueError: no good" in list(client.task(ends["fail"].task_id).log())
        assert list(burning.watch(timeout=60))[-1].status == "completed"

        # And the server is well, and the watcher still there
        with urllib.request.urlopen(f"{web.url}/healthz", timeout=10) as answer:  # noqa: S310
            assert json.load(answer) == {"status": "ok", "reasons": []}
        held.cancel()
        assert list(watch)[-1].status == "cancelled"
    assert outages == []


def test_after_a_kill_the_history_results_and_logs_are_there_and_what_ran_has_failed(
    server: Callable[..., Any], misbehaving: str, any_mode: str
) -> None:
    # Given a task with a result, one that has failed, and one that runs
    web = server("--tasks", misbehaving, mode=any_mode)
    (web.root / "a file").write_text("to hash", encoding="utf-8")
    with Client(web.url) as client:
        hashed = client.start("checksum")
        result = hashed.result(timeout=60)
        failed = client.start("fail")
        list(failed.watch(timeout=60))
        held = client.start("hold")
        seen = next(state for state in held.watch(timeout=60) if state.status == "in_progress")
        client.start("rest", seconds=0).result(timeout=60)  # stored by now, so is all before it

    # When the server is killed and started again
    web.kill()
    web.start()

    # Then all that is there as it was, and what ran has failed
    with Client(web.url) as client:
        again = client.task(hashed.task_id).state()
        assert (again.status, again.result) == ("completed", result)
        assert {file["name"] for file in again.files} >= {"SHA256SUMS"}
        assert "ValueError: no good" in list(client.task(failed.task_id).log())
        lost = client.task(held.task_id).state()
        assert (lost.status, lost.error["code"]) == ("failed", "worker_lost")
        assert lost.epoch != seen.epoch

"""The built-in functions as the definitions that a server offers."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from socketprogress.core.errors import InvalidArguments
from socketprogress.core.registry import Registry
from socketprogress.tasks import BUILT_INS


@pytest.fixture
def registry(root: Path) -> Registry:
    registry = Registry(bound={"root": root, "exclude": None})
    registry.add_all(BUILT_INS)
    return registry


def test_the_form_of_a_built_in_shows_what_a_client_may_set(registry: Registry) -> None:
    forms = {d.name: list(d.to_wire()["schema"]["properties"]) for d in registry}

    assert forms == {
        "checksum": ["path", "algorithm"],
        "archive": ["path", "format"],
        "csv_import": ["path", "table"],
    }


def test_a_built_in_has_a_title_with_and_without_a_path(registry: Registry) -> None:
    definition = registry.get("checksum")

    assert definition.title_for({}) == "Checksum"
    assert definition.title_for({"path": "/data"}) == "Checksum /data"


@pytest.mark.parametrize("name", ["checksum", "archive", "csv_import"])
@pytest.mark.parametrize("path", ["missing", "../outside", "/etc/passwd"])
def test_a_path_that_cannot_be_is_refused_at_once(
    registry: Registry, root: Path, name: str, path: str
) -> None:
    with pytest.raises(InvalidArguments) as refusal:
        registry.get(name).binding.check({"path": path}, root=root)

    assert refusal.value.field == "path"


def test_built_ins_run_in_a_process_that_has_loaded_no_server() -> None:
    code = (
        "import sys, socketprogress.tasks, socketprogress.tasks.command\n"
        "print([m for m in ('flask', 'eventlet', 'socketio', 'engineio') if m in sys.modules])"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout == "[]\n"

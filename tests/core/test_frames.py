"""The golden wire frames: what the page is tested with is what the server says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import fields

from socketprogress.core import protocol
from socketprogress.core.state import Status, Step, TaskError, TaskFile, TaskState

FRAMES = Path(__file__).resolve().parent.parent / "frames"
UPDATES = sorted(path.stem for path in FRAMES.glob("progress_update.*.json"))
NAMES = {field.name for field in fields(TaskState)}


def frame(name: str) -> Any:
    return json.loads((FRAMES / f"{name}.json").read_text("utf-8"))["payload"]


def state_of(wire: dict[str, Any]) -> TaskState:
    """Return the state that a frame tells of."""
    known = {name: value for name, value in wire.items() if name in NAMES}
    error = wire.get("error")
    given = {
        "name": "checksum",
        "title": "Checksum of photos",
        "created_at": 1790000000.0,
        **known,
        "status": Status(wire["status"]),
        "steps": tuple(Step(**{**s, "status": Status(s["status"])}) for s in wire.get("steps", ())),
        "files": tuple(TaskFile(f["name"], f["size_bytes"]) for f in wire.get("files", ())),
        "error": error and TaskError(**error),
        "tags": tuple(wire.get("tags", ())),
    }
    return TaskState(**given)


@pytest.mark.parametrize("name", UPDATES)
def test_an_update_says_what_its_frame_says(name: str) -> None:
    expected = frame(name)

    said = protocol.update(state_of(expected))

    assert {field: said[field] for field in expected} == expected


def test_a_snapshot_says_what_its_frame_says() -> None:
    expected = frame("task_started")

    said = protocol.snapshot(state_of(expected))

    assert {field: said[field] for field in expected} == expected


def test_a_summary_is_the_snapshot_without_result_files_and_steps() -> None:
    for expected in frame("tasks_update")["tasks"]:
        said = protocol.summary(state_of(expected))

        assert {field: said[field] for field in expected} == expected
        assert not said.keys() & {"result", "files", "steps"}


def test_the_frames_know_every_status_that_ends_a_task() -> None:
    ends = {frame(name)["status"] for name in UPDATES} - {"in_progress"}

    assert ends == {"completed", "failed", "cancelled"}

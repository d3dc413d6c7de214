"""Names and shapes on the wire: the exact fields, and the error tree with its codes."""

from __future__ import annotations

import inspect
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from socketprogress.core import errors, protocol
from socketprogress.core.protocol import (
    check_task_id,
    log_line,
    one_line,
    snapshot,
    summary,
    update,
)
from socketprogress.core.state import Status, Step, TaskError, TaskFile, TaskState

TASK = {
    "task_id", "name", "title", "status", "progress", "current", "total", "unit", "message",
    "steps", "rate", "eta_s", "elapsed_s", "created_at", "started_at", "updated_at",
    "finished_at", "cancellable", "cancel_requested", "result", "files", "error", "source",
    "host", "parent_id", "tags", "epoch", "seq", "retryable",
}  # fmt: skip
UPDATE = {
    "task_id", "progress", "status", "seq", "epoch", "current", "total", "message", "steps",
    "rate", "eta_s", "elapsed_s", "updated_at", "cancel_requested",
}  # fmt: skip
BESIDE_THE_TASK = {"args", "pid", "lease_s"}
RANGE = {"eta_low_s", "eta_high_s", "usual_s"}
BESIDE_AN_UPDATE = {"unit", "title", "started_at", *RANGE}
AT_THE_END = {"result", "error", "files", "finished_at"}

RUNNING = TaskState(
    "t1",
    "copy",
    "Copy ä",
    "e1",
    100.0,
    seq=7,
    status=Status.IN_PROGRESS,
    progress=12.5,
    total=8,
    current=1,
    steps=(Step("Scan", 2.0, Status.IN_PROGRESS, 25.0, 1.5), Step("Pack")),
    tags=("nightly",),
    args={"path": "/srv"},
)
FAILED = replace(
    RUNNING,
    status=Status.FAILED,
    finished_at=109.0,
    error=TaskError("exception", "ValueError: x"),
    files=(TaskFile("größe 1%.txt", 3),),
)


@pytest.mark.parametrize("state", [RUNNING, FAILED])
def test_a_snapshot_has_every_field_of_the_task(state: TaskState) -> None:
    assert set(snapshot(state)) == TASK | RANGE | BESIDE_THE_TASK


@pytest.mark.parametrize("state", [RUNNING, FAILED])
def test_a_summary_is_the_snapshot_without_what_is_large(state: TaskState) -> None:
    whole = snapshot(state)
    large = {"result", "files", "steps", *BESIDE_THE_TASK}

    assert summary(state) == {name: value for name, value in whole.items() if name not in large}


def test_an_update_has_the_fields_that_move() -> None:
    assert set(update(RUNNING)) == UPDATE | BESIDE_AN_UPDATE


@pytest.mark.parametrize("status", [Status.COMPLETED, Status.FAILED, Status.CANCELLED])
def test_the_last_update_also_has_what_came_out(status: Status) -> None:
    ended = replace(FAILED, status=status)

    assert set(update(ended)) == UPDATE | BESIDE_AN_UPDATE | AT_THE_END


@pytest.mark.parametrize("state", [RUNNING, FAILED, replace(RUNNING, status=Status.LOST)])
def test_an_update_says_what_the_snapshot_says(state: TaskState) -> None:
    whole = snapshot(state, prefix="/progress")

    assert update(state, prefix="/progress").items() <= whole.items()


@pytest.mark.parametrize("shape", [snapshot, summary, update])
def test_every_shape_is_strict_json(shape: object) -> None:
    for state in (RUNNING, FAILED):
        wire = shape(state)  # type: ignore[operator]
        assert json.loads(json.dumps(wire, allow_nan=False)) == wire


def test_a_step_on_the_wire() -> None:
    assert snapshot(RUNNING)["steps"] == [
        {
            "name": "Scan",
            "status": "in_progress",
            "progress": 25.0,
            "weight": 2.0,
            "elapsed_s": 1.5,
        },
        {"name": "Pack", "status": "queued", "progress": None, "weight": 1.0, "elapsed_s": None},
    ]


def test_a_file_on_the_wire_has_its_url_below_the_prefix() -> None:
    assert snapshot(FAILED, prefix="/progress")["files"] == [
        {
            "name": "größe 1%.txt",
            "size_bytes": 3,
            "url": "/progress/api/tasks/t1/files/gr%C3%B6%C3%9Fe%201%25.txt",
        }
    ]


def test_a_file_name_that_is_no_utf_8_breaks_no_snapshot() -> None:
    odd = replace(FAILED, files=(TaskFile("a\udcff.txt", 3),))

    assert snapshot(odd)["files"][0]["url"] == "/api/tasks/t1/files/a%3F.txt"


def test_an_error_on_the_wire() -> None:
    assert snapshot(FAILED)["error"] == {"code": "exception", "message": "ValueError: x"}
    assert snapshot(RUNNING)["error"] is None


def test_the_room_of_a_task_has_a_prefix() -> None:
    assert protocol.task_room("t1") == "task:t1"


# -- ids and lines -------------------------------------------------------------------------------


@pytest.mark.parametrize("task_id", ["a", "A-b_9", "x" * 64])
def test_a_well_formed_task_id_is_itself(task_id: str) -> None:
    assert check_task_id(task_id) == task_id


@pytest.mark.parametrize(
    "task_id", ["", "x" * 65, "a b", "a\n", "../a", "ä", "a.b", "\0", None, 7, b"a", ["a"]]
)
def test_any_other_task_id_is_refused_by_its_field(task_id: object) -> None:
    with pytest.raises(errors.InvalidPayload) as caught:
        check_task_id(task_id)

    assert caught.value.to_wire()["field"] == "task_id"


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("plain", "plain"),
        ("  around  ", "around"),
        ("a\r\nb\tc", "a b c"),
        ("\x1b[31mred\x07", "[31mred"),
        ("a\u2028b\u2029c\x85d", "a b c d"),
        ("half \ud83d of a pair", "half ? of a pair"),
        ("<b>&amp;", "<b>&amp;"),
        ("שלום 👩‍💻", "שלום 👩‍💻"),
    ],
)
def test_one_line_has_no_control_characters_and_no_half_pairs(text: str, line: str) -> None:
    assert one_line(text, 100) == line


def test_one_line_keeps_the_signs_that_direct_scripts() -> None:
    # A title may hold any Unicode; whoever shows it isolates it (`dir="auto"`).
    assert one_line("a\u202eb\u202c\u2066c\u2069", 100) == "a\u202eb\u202c\u2066c\u2069"


@given(st.text(st.characters(exclude_categories=()), max_size=200), st.integers(1, 50))
def test_one_line_is_short_clean_and_stays_as_it_is(text: str, most: int) -> None:
    line = one_line(text, most)

    assert len(line) <= most
    assert len(line.splitlines()) <= 1
    assert line.encode("utf-8").decode("utf-8") == line
    assert one_line(line, most) == line.strip()


# -- errors --------------------------------------------------------------------------------------

CODES = {
    "Unauthorized": ("unauthorized", 401),
    "Forbidden": ("forbidden", 403),
    "UnknownEvent": ("unknown_event", 404),
    "UnknownTask": ("unknown_task", 404),
    "UnknownDefinition": ("unknown_definition", 404),
    "InvalidArguments": ("invalid_arguments", 422),
    "InvalidPayload": ("invalid_payload", 400),
    "AlreadyRunning": ("already_running", 409),
    "TaskEnded": ("task_ended", 409),
    "NotCancellable": ("not_cancellable", 409),
    "TooLarge": ("too_large", 413),
    "RateLimited": ("rate_limited", 429),
    "Unavailable": ("unavailable", 503),
}
STATUSES_OF_THE_API = {400, 401, 403, 404, 409, 413, 415, 422, 429, 503}


def wire_errors() -> dict[str, type[errors.WireError]]:
    classes = (getattr(errors, name) for name in errors.__all__)
    found = (c for c in classes if issubclass(c, errors.WireError) and c is not errors.WireError)
    return {c.__name__: c for c in found}


def test_every_error_of_the_wire_has_the_code_and_the_status_of_the_contract() -> None:
    assert {name: (c.code, c.http_status) for name, c in wire_errors().items()} == CODES
    assert {status for _, status in CODES.values()} <= STATUSES_OF_THE_API


def test_every_error_but_the_cancellation_has_the_one_root() -> None:
    for name in errors.__all__:
        kind = getattr(errors, name)
        assert issubclass(kind, errors.SocketProgressError) == (name != "Cancelled")


def test_the_names_are_all_there_is() -> None:
    own = {
        n for n, c in vars(errors).items() if inspect.isclass(c) and issubclass(c, BaseException)
    }

    assert own == set(errors.__all__)


def test_the_tree_on_top_of_the_module_names_them_all() -> None:
    assert errors.__doc__ is not None
    for name in errors.__all__:
        assert name in errors.__doc__


@pytest.mark.parametrize(
    ("kind", "natural"),
    [
        (errors.UnknownTask, LookupError),
        (errors.UnknownDefinition, LookupError),
        (errors.UnknownEvent, LookupError),
        (errors.InvalidArguments, ValueError),
        (errors.InvalidPayload, ValueError),
        (errors.TooLarge, ValueError),
        (errors.ConfigurationError, ValueError),
        (errors.Unauthorized, PermissionError),
        (errors.Forbidden, PermissionError),
    ],
)
def test_an_error_is_also_what_its_name_says(
    kind: type[Exception], natural: type[Exception]
) -> None:
    assert issubclass(kind, natural)


def test_a_cancellation_passes_by_who_catches_exceptions() -> None:
    assert not issubclass(errors.Cancelled, Exception)


def test_an_error_names_the_field_only_where_one_is_to_blame() -> None:
    assert errors.Forbidden("no").to_wire() == {"code": "forbidden", "message": "no"}
    assert errors.Unauthorized("who", field="token").to_wire() == {
        "code": "unauthorized",
        "message": "who",
        "field": "token",
    }
    assert str(errors.Unauthorized("who", field="token")) == "who"


def test_what_runs_already_goes_beside_the_error() -> None:
    error = errors.AlreadyRunning("full", running=("a", "b"))

    assert error.to_wire() == {"code": "already_running", "message": "full"}
    assert error.beside() == {"running": ["a", "b"]}
    assert errors.TaskEnded("over").beside() == {}


def test_a_limit_says_when_to_come_again() -> None:
    wire = errors.RateLimited("slower", retry_after_s=0.1237).to_wire()

    assert wire == {"code": "rate_limited", "message": "slower", "retry_after_s": 0.124}


def test_a_task_may_fail_with_a_code_of_its_own() -> None:
    assert errors.TaskFailure("x").code == "exception"
    assert errors.TaskFailure("x", code="exit_status").code == "exit_status"


@pytest.mark.parametrize(
    ("line", "kept"),
    [
        ("\tplain, with a tab", "\tplain, with a tab"),
        ("\x1b[1;31mred\x1b[0m", "red"),
        ("\x1b[2J\x1b]0;a title\x07cleared\x1b]8;;\x1b\\", "cleared"),
        ("a\x00b\x7f\x9bc\r\n", "abc"),
        ("half \udc80 a pair, \u05d0\u202e kept", "half ? a pair, \u05d0\u202e kept"),
        ("x" * 3_000, "x" * 2_000),
    ],
)
def test_a_line_of_a_log_holds_nothing_that_only_a_terminal_understands(
    line: str, kept: str
) -> None:
    assert log_line(line) == kept

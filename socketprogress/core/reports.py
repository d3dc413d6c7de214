"""What reporters send, checked: the tasks that they open and the reports that they make."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from socketprogress.core.errors import InvalidPayload, WireError
from socketprogress.core.fields import Limits, fields_of, tags_of, text_of
from socketprogress.core.ports import Report
from socketprogress.core.protocol import check_task_id, one_line
from socketprogress.core.state import TASK_ERROR_CODES
from socketprogress.core.status import TERMINAL, Status
from socketprogress.core.steps import MOST_WEIGHT, Steps, make

__all__ = [
    "LONGEST_LEASE_S",
    "OPEN_FIELDS",
    "REPORT_FIELDS",
    "SOURCES",
    "OpenRequest",
    "open_request",
    "report_request",
]

OPEN_FIELDS = (
    "name",
    "title",
    "task_id",
    "total",
    "unit",
    "steps",
    "cancellable",
    "host",
    "pid",
    "parent_id",
    "tags",
    "lease_s",
    "leave",
    "source",
    "queued",
    "gathers",
    "args",
    "abandon_s",
)
REPORT_FIELDS = (
    "task_id",
    "current",
    "total",
    "advance",
    "message",
    "step",
    "status",
    "result",
    "error",
    "log",
    "reporter_seq",
    "reset",
    "title",
    "unit",
    "abandon_s",
)
SOURCES = ("report", "celery")
SAID_BY_REPORTERS = ("in_progress", "completed", "failed", "cancelled")
LONGEST_LEASE_S = 7 * 86_400.0
REPORTS_AT_ONCE = 1_000
LOG_LINES = 1_000
MOST_STEPS = 200
STEP_FIELDS = {"name", "weight"}
UNIT_CHARS = 50
ERROR_CHARS = 500

ESCAPES = re.compile(
    r"\x1b(?:\[[0-?]*[ -/]*[@-~]?|[\]PX^_][^\x07\x1b]*(?:\x07|\x1b\\)?|[ -/]*[0-~]?)"
)
CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f-\x9f]")


@dataclass(frozen=True, slots=True)
class OpenRequest:
    """The task that a reporter opens; what is None stands at its default."""

    name: str
    title: str | None
    task_id: str | None
    total: float | None
    unit: str | None
    steps: Steps
    cancellable: bool
    host: str | None
    pid: int | None
    parent_id: str | None
    tags: tuple[str, ...]
    lease_s: float | None
    leave: bool
    source: str = "report"
    queued: bool = False
    gathers: bool = False
    args: Mapping[str, Any] = field(default_factory=dict)
    abandon_s: float | None = None


def open_request(data: Any, limits: Limits) -> OpenRequest:
    """Return what a name or ``{name, title?, …}`` opens.

    Raises:
        InvalidPayload: with the `field` that is to blame.
    """
    given = fields_of(data, OPEN_FIELDS, limits, short="name")
    name = _line_of(given, "name", limits.max_name_chars)
    if not name:
        raise InvalidPayload("a task needs a name", field="name")
    task_id, parent_id = _id(given, "task_id"), _id(given, "parent_id")
    if parent_id is not None and parent_id == task_id:
        raise InvalidPayload("a task is not a part of itself", field="parent_id")
    return OpenRequest(
        name=name,
        title=_line_of(given, "title", limits.max_title_chars),
        task_id=task_id,
        total=_number(given, "total", least=0),
        unit=_line_of(given, "unit", UNIT_CHARS),
        steps=_steps(given.get("steps"), limits),
        cancellable=_flag(given, "cancellable"),
        host=_line_of(given, "host", limits.max_name_chars),
        pid=_count(given, "pid"),
        parent_id=parent_id,
        tags=tags_of(given.get("tags"), limits),
        lease_s=_seconds(given, "lease_s"),
        leave=_flag(given, "leave"),
        source=_source(given),
        queued=_flag(given, "queued", default=False),
        gathers=_gathers(given),
        args=_args(given),
        abandon_s=_seconds(given, "abandon_s"),
    )


def report_request(data: Any, limits: Limits) -> list[Report | tuple[str | None, WireError]]:
    """Return the reports of one payload, or of a list of up to 1,000 of them.

    Each item stands alone: in a list, one that cannot be is returned as its task id and the error.

    Raises:
        InvalidPayload: the payload is neither a report nor such a list.
    """
    if not isinstance(data, list):
        return [one_report(data, limits)]
    if len(data) > REPORTS_AT_ONCE:
        raise InvalidPayload(f"{len(data)} reports at once; {REPORTS_AT_ONCE} are the most")
    reports: list[Report | tuple[str | None, WireError]] = []
    for item in data:
        try:
            reports.append(one_report(item, limits))
        except WireError as exc:
            task_id = item.get("task_id") if isinstance(item, dict) else None
            reports.append((one_line(task_id, 64) if isinstance(task_id, str) else None, exc))
    return reports


def one_report(data: Any, limits: Limits) -> Report:
    """Return one checked report; a field that is not there changes nothing.

    Raises:
        InvalidPayload: with the `field` that is to blame.
    """
    given = fields_of(data, REPORT_FIELDS, limits)
    report: Report = {"task_id": check_task_id(given.get("task_id"))}
    _take_counts(given, report)
    _take_words(given, report, limits)
    if given.get("reset") is not None:
        report["reset"] = _flag(given, "reset", default=False)
    seq = _count(given, "reporter_seq")
    if seq is not None:
        report["reporter_seq"] = seq
    abandon_s = _seconds(given, "abandon_s")
    if abandon_s is not None:
        report["abandon_s"] = abandon_s
    if given.get("log") is not None:
        report["log"] = _log(given["log"])
    _take_end(given, report)
    return report


def _take_counts(given: Mapping[str, Any], report: Report) -> None:
    if "total" in given:
        report["total"] = _number(given, "total", least=0)
    current = _number(given, "current")
    if current is not None:
        report["current"] = current
    advance = _number(given, "advance")
    if advance is not None:
        report["advance"] = advance


def _take_words(given: Mapping[str, Any], report: Report, limits: Limits) -> None:
    for name, most in (
        ("message", limits.max_payload_bytes),
        ("step", limits.max_name_chars),
        ("title", limits.max_title_chars),
        ("unit", UNIT_CHARS),
    ):
        text = text_of(given, name, most)
        if text is not None:
            report[name] = one_line(text, most)  # type: ignore[literal-required]


def _take_end(given: Mapping[str, Any], report: Report) -> None:
    status, error = given.get("status"), _error(given.get("error"))
    if status is not None:
        if status not in SAID_BY_REPORTERS:
            said = ", ".join(SAID_BY_REPORTERS)
            raise InvalidPayload(f"a reporter's status is one of {said}", field="status")
        report["status"] = status
    if status not in TERMINAL:
        for name in ("result", "error"):
            if given.get(name) is not None:
                raise InvalidPayload(f"{name} comes with the status that ends it", field=name)
        return
    if error is not None and status == Status.COMPLETED:
        raise InvalidPayload("what is completed has no error", field="error")
    if error is None and status == Status.FAILED:
        message = one_line(report.get("message", ""), ERROR_CHARS)
        error = {"code": "exception", "message": message or "failed"}
    report["result"], report["error"] = given.get("result"), error


def _error(value: Any) -> dict[str, str] | None:
    if value is None:
        return None
    if isinstance(value, str):
        return {"code": "exception", "message": one_line(value, ERROR_CHARS)}
    if not isinstance(value, dict) or set(value) - {"code", "message"}:
        raise InvalidPayload("error must be a text or {code, message}", field="error")
    code, message = value.get("code", "exception"), value.get("message", "")
    if not isinstance(code, str) or code not in TASK_ERROR_CODES:
        known = ", ".join(sorted(TASK_ERROR_CODES))
        raise InvalidPayload(f"error.code must be one of {known}", field="error.code")
    if not isinstance(message, str):
        raise InvalidPayload("error.message must be a text", field="error.message")
    return {"code": code, "message": one_line(message, ERROR_CHARS)}


def _steps(value: Any, limits: Limits) -> Steps:
    if value is None:
        return ()
    weights: dict[str, float] = {}
    items = list(value.items()) if isinstance(value, dict) else value
    if not isinstance(items, list) or len(items) > MOST_STEPS:
        raise InvalidPayload(
            f"steps must be an array of at most {MOST_STEPS} names, or an object of weights",
            field="steps",
        )
    for item in items:
        name, weight = _step(item)
        name = _line_of({"steps": name}, "steps", limits.max_name_chars) or ""
        if not name or name in weights:
            raise InvalidPayload("the names of steps must differ and not be empty", field="steps")
        weights[name] = _number({"steps": weight}, "steps") or 0.0
        if not 0 < weights[name] <= MOST_WEIGHT:
            raise InvalidPayload(
                f"the weight of a step must be above 0, at most {MOST_WEIGHT:g}", field="steps"
            )
    return make(weights)


def _step(item: Any) -> tuple[str, Any]:
    if isinstance(item, str):
        return item, 1.0
    if isinstance(item, tuple):
        return item
    if isinstance(item, dict) and isinstance(item.get("name"), str) and set(item) <= STEP_FIELDS:
        return item["name"], item.get("weight", 1.0)
    raise InvalidPayload("a step is a name, or {name, weight}", field="steps")


def _log(value: Any) -> list[str]:
    lines = [value] if isinstance(value, str) else value
    if not isinstance(lines, list) or not all(isinstance(line, str) for line in lines):
        raise InvalidPayload("log must be an array of texts", field="log")
    parts = [part for line in lines for part in (line.splitlines() or [""])]
    if len(parts) > LOG_LINES:
        raise InvalidPayload(f"{len(parts)} lines at once; {LOG_LINES} are the most", field="log")
    return [_plain(part) for part in parts]


def _plain(line: str) -> str:
    """Return a line as text alone: whoever reads it in a terminal must not be commanded by it."""
    return line if line.isprintable() else CONTROL.sub("", ESCAPES.sub("", line))


def _gathers(given: Mapping[str, Any]) -> bool:
    gathers = _flag(given, "gathers", default=False)
    if gathers and not given.get("total"):
        raise InvalidPayload("what gathers its parts needs their number", field="total")
    return gathers


def _args(given: Mapping[str, Any]) -> dict[str, Any]:
    value = given.get("args")
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise InvalidPayload("args must be an object", field="args")
    return value


def _source(given: Mapping[str, Any]) -> str:
    value = given.get("source", SOURCES[0])
    if value not in SOURCES:
        raise InvalidPayload(f"source is one of {', '.join(SOURCES)}", field="source")
    return str(value)


def _line_of(given: Mapping[str, Any], name: str, most: int) -> str | None:
    text = text_of(given, name, most)
    return None if text is None else one_line(text, most)


def _id(given: Mapping[str, Any], name: str) -> str | None:
    value = given.get(name)
    return None if value is None else check_task_id(value, field=name)


def _flag(given: Mapping[str, Any], name: str, *, default: bool = True) -> bool:
    value = given.get(name)
    if value is None:
        return default
    if not isinstance(value, bool):
        raise InvalidPayload(f"{name} must be true or false", field=name)
    return value


def _number(given: Mapping[str, Any], name: str, *, least: float = -math.inf) -> float | None:
    value = given.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise InvalidPayload(f"{name} must be a number", field=name)
    if value < least:
        raise InvalidPayload(f"{name} must be at least {least:g}, not {value}", field=name)
    return value


def _count(given: Mapping[str, Any], name: str) -> int | None:
    value = given.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise InvalidPayload(f"{name} must be an integer of at least 0", field=name)
    return value


def _seconds(given: Mapping[str, Any], name: str) -> float | None:
    value = _number(given, name)
    if value is not None and not 0 < value <= LONGEST_LEASE_S:
        raise InvalidPayload(
            f"{name} must be above 0 and at most {LONGEST_LEASE_S:g} seconds", field=name
        )
    return value

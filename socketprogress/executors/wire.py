"""What a server and its worker processes say to each other: JSON objects, one a line.

The server sends ``{path, pythonpath}`` once, then ``{run: job}``, ``{cancel}`` and ``{quit}``. The
worker sends ``{ready}``, then for each job ``{started}``, ``{reports: […]}`` and
``{ended: outcome}``, and ``{idle}`` when it can take another one or ``{leaving: why}`` when not.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from socketprogress.core.ports import Job, Outcome
from socketprogress.core.state import TaskError
from socketprogress.core.status import Status

__all__ = [
    "COMMANDS",
    "MARK",
    "REPORTS",
    "job_from_wire",
    "job_to_wire",
    "outcome_from_wire",
    "outcome_to_wire",
]

COMMANDS, REPORTS = 3, 4
"""The worker's descriptors."""

MARK = "SOCKETPROGRESS_WORKER"
"""The environment variable by which a worker's descendants are known; its value is random."""


def job_to_wire(job: Job) -> dict[str, Any]:
    """Return what a worker has to know of a job, as JSON."""
    return {
        "task_id": job.task_id,
        "function": job.function,
        "args": dict(job.args),
        "output_dir": str(job.output_dir),
        "title": job.title,
        "unit": job.unit,
        "steps": dict(job.steps),
        "cancellable": job.cancellable,
    }


def job_from_wire(wire: Mapping[str, Any]) -> Job:
    """Return the job that `job_to_wire` described."""
    return Job(**{**wire, "output_dir": Path(wire["output_dir"]), "call": None})


def outcome_to_wire(outcome: Outcome) -> dict[str, Any]:
    """Return an outcome as JSON."""
    error = outcome.error
    return {
        "status": outcome.status.value,
        "result": outcome.result,
        "error": None if error is None else {"code": error.code, "message": error.message},
        "traceback": list(outcome.traceback),
    }


def outcome_from_wire(wire: Mapping[str, Any]) -> Outcome:
    """Return the outcome that a worker told."""
    error = wire["error"]
    return Outcome(
        Status(wire["status"]),
        result=wire["result"],
        error=None if error is None else TaskError(error["code"], error["message"]),
        traceback=tuple(wire["traceback"]),
    )

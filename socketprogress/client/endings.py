"""How a reporter's work ended, and what that is on the wire."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import CodeType, FrameType
from typing import Any, Self

from socketprogress.core.errors import Cancelled, ConfigurationError, TaskFailure
from socketprogress.core.ports import Report

__all__ = ["Ending", "Left", "ending_of", "left_at", "report_of"]

STATUSES = ("completed", "failed", "cancelled")
HOLD_S = 0.5


@dataclass(frozen=True, slots=True)
class Left:
    """Where a loop was left, to compare with the traceback of what ends the process."""

    frame_id: int
    code: CodeType
    at: int


@dataclass(frozen=True, slots=True)
class Ending:
    """The end of some work.

    Attributes:
        status: ``completed``, ``failed`` or ``cancelled``.
        error: ``{code, message}``, or None.
        lines: what goes into the log, a traceback.
        left: where the loop was left, as long as it may turn out that an exception did it.
        said_at: monotonic seconds.
    """

    status: str
    error: Mapping[str, str] | None = None
    lines: tuple[str, ...] = ()
    left: Left | None = None
    said_at: float = field(default_factory=time.monotonic)

    @classmethod
    def by(cls, exc: BaseException | None, *, cancel_requested: bool = False) -> Self:
        """Return the end of a block that was left with this exception, or without one."""
        if exc is None or isinstance(exc, GeneratorExit):
            return cls("completed")
        if isinstance(exc, SystemExit) and exc.code in {None, 0}:
            return cls("completed")
        asyncio = sys.modules.get("asyncio")
        stopped = asyncio is not None and isinstance(exc, asyncio.CancelledError)
        if isinstance(exc, Cancelled) or (stopped and cancel_requested):
            return cls("cancelled")
        if stopped or isinstance(exc, KeyboardInterrupt):
            return cls.interrupted("the work was interrupted")
        return cls.failed(exc)

    @classmethod
    def failed(cls, exc: BaseException) -> Self:
        """Return the end by an exception; its text and its traceback are taken at once."""
        from socketprogress.core import values  # noqa: PLC0415 - loads msgspec, for failures only

        if isinstance(exc, TaskFailure):
            return cls("failed", {"code": exc.code, "message": _line(str(exc))})
        message = values.describe(exc)
        return cls("failed", {"code": "exception", "message": message}, values.trace(exc))

    @classmethod
    def interrupted(cls, message: str) -> Self:
        """Return the end by a signal."""
        return cls("cancelled", {"code": "interrupted", "message": message})

    def is_certain(self) -> bool:
        """Return whether nothing can turn up any more that says otherwise."""
        return self.left is None or time.monotonic() - self.said_at > HOLD_S


def ending_of(status: str, error: str | BaseException | Mapping[str, str] | None) -> Ending:
    """Return the end that a caller names.

    Raises:
        ConfigurationError: there is no such status.
    """
    if status not in STATUSES:
        raise ConfigurationError(f"a task ends {', '.join(STATUSES)}, not {status!r}")
    if isinstance(error, BaseException):
        failed = Ending.failed(error)
        return Ending(status, failed.error, failed.lines)
    if isinstance(error, Mapping):
        code, text = str(error.get("code", "exception")), str(error.get("message", ""))
        return Ending(status, {"code": code, "message": _line(text)})
    if error is None and status != "failed":
        return Ending(status)
    return Ending(status, {"code": "exception", "message": _line(error or "failed")})


def left_at(frame: FrameType | None) -> Left | None:
    """Return where a frame stands at this moment."""
    return None if frame is None else Left(id(frame), frame.f_code, frame.f_lasti)


def report_of(ending: Ending, result: Any, *, most_bytes: int) -> tuple[list[str], Report]:
    """Return lines for the log, and the report that ends the task.

    Args:
        ending: how it ended.
        result: what the work left in `result`; what is not JSON is left out, with a line.
        most_bytes: how large the result may be as JSON.
    """
    lines, report = list(ending.lines), Report(status=ending.status)
    if ending.error is not None:
        report["error"] = dict(ending.error)
    if result is not None:
        from socketprogress.core import values  # noqa: PLC0415 - loads msgspec, for results only

        try:
            report["result"] = values.plain(result, most_bytes=most_bytes)
        except values.NotJSON as exc:
            lines.append(f"The result is left out: {exc}")
    return lines, report


def _line(text: str) -> str:
    return " ".join(text.split())[:500]

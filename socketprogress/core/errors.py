"""Every error that this package raises on purpose.

SocketProgressError
├── ConfigurationError (ValueError)     a setting or a definition that cannot work
├── StoreError                          the store cannot be opened or read
├── TaskFailure                         a task has failed; raised by its function and by `Client`
├── TaskCancelled                       a task that a `Client` waits for was cancelled
└── WireError                           has a code that goes to the client
    ├── Unauthorized, Forbidden (PermissionError)
    ├── UnknownEvent, UnknownTask, UnknownDefinition (LookupError)
    ├── InvalidArguments, InvalidPayload, TooLarge (ValueError)
    ├── AlreadyRunning, TaskEnded, NotCancellable
    └── RateLimited, Unavailable
Cancelled (BaseException)               raised inside the work once its cancellation was asked for
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, ClassVar, Self

__all__ = [
    "AlreadyRunning",
    "Cancelled",
    "ConfigurationError",
    "Forbidden",
    "InvalidArguments",
    "InvalidPayload",
    "NotCancellable",
    "RateLimited",
    "SocketProgressError",
    "StoreError",
    "TaskCancelled",
    "TaskEnded",
    "TaskFailure",
    "TooLarge",
    "Unauthorized",
    "Unavailable",
    "UnknownDefinition",
    "UnknownEvent",
    "UnknownTask",
    "WireError",
]


class SocketProgressError(Exception):
    """The root of the package's errors."""


class ConfigurationError(SocketProgressError, ValueError):
    """A setting or a task definition cannot work as it was given."""


class StoreError(SocketProgressError):
    """The store cannot be opened, read or written."""


class TaskFailure(SocketProgressError):
    """Fails the task that raises it with an error code of its own; raised for who waits for one.

    Args:
        message: one line for people.
        code: one of `TASK_ERROR_CODES`, e.g. ``"exit_status"``.
    """

    def __init__(self, message: str, *, code: str = "exception") -> None:
        super().__init__(message)
        self.code = code


class TaskCancelled(SocketProgressError):
    """A task that is waited for was cancelled; the one that waits goes on."""


class Cancelled(BaseException):
    """The task's cancellation was asked for.

    A `BaseException`, as asyncio's own, so that ``except Exception: continue`` in a loop does not
    swallow it.
    """


class WireError(SocketProgressError):
    """An error that a client gets to see as ``{code, message, field?}``."""

    code: ClassVar[str] = "unavailable"
    http_status: ClassVar[int] = 503

    def __init__(self, message: str, *, field: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.field = field

    def to_wire(self) -> dict[str, Any]:
        """Return ``{code, message}`` and, where one is to blame, ``field``."""
        wire: dict[str, Any] = {"code": self.code, "message": self.message}
        if self.field is not None:
            wire["field"] = self.field
        return wire

    def beside(self) -> dict[str, Any]:
        """Return what goes into an ack beside ``ok`` and ``error``."""
        return {}


class Unauthorized(WireError, PermissionError):
    """No token, or not the right one."""

    code = "unauthorized"
    http_status = 401


class Forbidden(WireError, PermissionError):
    """Known, but not allowed: a foreign Host or Origin, or a role that is too small."""

    code = "forbidden"
    http_status = 403


class UnknownEvent(WireError, LookupError):
    """The protocol has no such event."""

    code = "unknown_event"
    http_status = 404


class UnknownTask(WireError, LookupError):
    """No task has this id, or none that the one who asks may see: it is the same to them."""

    code = "unknown_task"
    http_status = 404

    @classmethod
    def of(cls, task_id: str, *, field: str = "task_id") -> Self:
        """Return the error that names an id."""
        return cls(f"no task has the id {task_id!r}", field=field)


class UnknownDefinition(WireError, LookupError):
    """No task function is registered under this name."""

    code = "unknown_definition"
    http_status = 404


class InvalidArguments(WireError, ValueError):
    """The arguments do not fit the task function."""

    code = "invalid_arguments"
    http_status = 422


class InvalidPayload(WireError, ValueError):
    """The payload does not fit the event or the route."""

    code = "invalid_payload"
    http_status = 400


class TooLarge(WireError, ValueError):
    """The payload is over a documented limit."""

    code = "too_large"
    http_status = 413


class AlreadyRunning(WireError):
    """The definition runs as often as its `max_running` allows."""

    code = "already_running"
    http_status = 409

    def __init__(self, message: str, *, running: Sequence[str], field: str | None = None) -> None:
        super().__init__(message, field=field)
        self.running = list(running)

    def beside(self) -> dict[str, Any]:
        """Return ``{running: [task_id, …]}``."""
        return {"running": self.running}


class TaskEnded(WireError):
    """The task is completed, failed or cancelled: it never changes again."""

    code = "task_ended"
    http_status = 409


class NotCancellable(WireError):
    """The task was started with ``cancellable=False``."""

    code = "not_cancellable"
    http_status = 409


class RateLimited(WireError):
    """More events, watches or connections than a limit allows."""

    code = "rate_limited"
    http_status = 429

    def __init__(self, message: str, *, retry_after_s: float, field: str | None = None) -> None:
        super().__init__(message, field=field)
        self.retry_after_s = retry_after_s

    def to_wire(self) -> dict[str, Any]:
        """Return the error with ``retry_after_s``."""
        return {**super().to_wire(), "retry_after_s": math.ceil(self.retry_after_s * 1000) / 1000}


class Unavailable(WireError):
    """The server cannot do this now: it is stopping, or the store does not answer."""

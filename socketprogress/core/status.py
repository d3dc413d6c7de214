"""The status words of a task, which its steps have, too."""

from __future__ import annotations

import enum

__all__ = ["TERMINAL", "Status"]


class Status(enum.StrEnum):
    """What a task or a step is; the value is the word on the wire."""

    QUEUED = "queued"
    IN_PROGRESS = "in_progress"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    LOST = "lost"


TERMINAL = frozenset({Status.COMPLETED, Status.FAILED, Status.CANCELLED})

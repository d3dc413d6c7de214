"""A body's reports in wire form; what it returns and raises is `core.values`'."""

from __future__ import annotations

from collections.abc import Sequence

from socketprogress.core.ports import Report
from socketprogress.core.values import MOST_BYTES, NotJSON, describe, dumps, plain, trace

__all__ = ["MOST_BYTES", "NotJSON", "condense", "describe", "dumps", "plain", "trace"]


def condense(reports: Sequence[Report], *, most: int = 64) -> Sequence[Report]:
    """Return at most `most` reports: the oldest become one that says what all of them said."""
    if len(reports) <= most:
        return reports
    first: Report = {}
    lines: list[str] = []
    for report in reports[: len(reports) - most + 1]:
        lines.extend(report.get("log", ()))
        first.update(report)
    if lines:
        first["log"] = lines
    return [first, *reports[len(reports) - most + 1 :]]

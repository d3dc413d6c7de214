"""The percent that a command's output tells in plain words."""

from __future__ import annotations

import re
from typing import NamedTuple

__all__ = ["Count", "count_in"]


class Count(NamedTuple):
    """How far something is: `current` of `total`."""

    current: float
    total: float


PERCENT = re.compile(r"(?<![\w.,-])(\d{1,3}(?:[.,]\d+)?)[ \u00a0]?%(?![\w%])")
FRACTION = re.compile(r"(?<![\w./,:-])(\d+) ?/ ?(\d+)(?![\w/%]|[.,:-]\w)")


def count_in(line: str) -> Count | None:
    """Return the count that a line of output shows: ``37 %``, ``37.5%`` or ``12/80``.

    Where there are several, the last percent counts, else the last fraction; what cannot be a
    count (``140%``, ``9/3``, a date, a path) is none.

    Args:
        line: one line without escape sequences.
    """
    for text in reversed(PERCENT.findall(line)):
        value = float(text.replace(",", "."))
        if value <= 100:
            return Count(value, 100)
    for current, total in reversed(FRACTION.findall(line)):
        if int(total) > 0 and int(current) <= int(total):
            return Count(int(current), int(total))
    return None

"""Parts of a log that are as large as a connection takes them."""

from __future__ import annotations

from collections.abc import Iterable

from socketprogress.core.ports import LogPage

__all__ = ["newest_of", "oldest_of"]

ESCAPED = 6
AROUND = 3


def oldest_of(page: LogPage, most_bytes: int) -> LogPage:
    """Return the first lines of a page, as many as fit and one at least."""
    count = _fitting(page.lines, most_bytes)
    return LogPage(page.offset, page.lines[:count], page.offset + count) if page.lines else page


def newest_of(page: LogPage, most_bytes: int) -> LogPage:
    """Return the last lines of a page, as many as fit and one at least."""
    left_out = len(page.lines) - _fitting(reversed(page.lines), most_bytes)
    return LogPage(page.offset + left_out, page.lines[left_out:], page.next_offset)


def _fitting(lines: Iterable[str], most_bytes: int) -> int:
    """Return how many lines fit as JSON, counted generously; one at least if there are any."""
    count = size_bytes = 0
    for line in lines:
        size_bytes += AROUND + len(line) * (1 if line.isascii() else ESCAPED)
        if count and size_bytes > most_bytes:
            break
        count += 1
    return count

"""Numbers of reports: each higher than those before, whoever gave them."""

from __future__ import annotations

from collections.abc import Iterator

__all__ = ["Rising"]


class Rising(Iterator[int]):
    """Takes numbers from `source`, and higher ones where these do not rise.

    Args:
        source: numbers that mostly rise, such as a clock's.
    """

    def __init__(self, source: Iterator[int]) -> None:
        self._source = source
        self._last = -1

    def __next__(self) -> int:
        self._last = max(self._last + 1, next(self._source))
        return self._last

    def above(self, number: int) -> None:
        """Go on above a number that another process has given."""
        self._last = max(self._last, number)

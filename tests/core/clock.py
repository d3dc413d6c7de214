"""A clock that stands still until a test moves it."""

from __future__ import annotations


class MockClock:
    """Both clocks of a server, advanced by hand; a `Clock`."""

    def __init__(self, *, wall: float = 1_700_000_000.0, monotonic: float = 1_000.0) -> None:
        self._wall = wall
        self._monotonic = monotonic

    def wall(self) -> float:
        """Return Unix seconds."""
        return self._wall

    def monotonic(self) -> float:
        """Return seconds that never go back."""
        return self._monotonic

    def advance(self, seconds: float) -> None:
        """Let the same time pass on both clocks."""
        self._wall += seconds
        self._monotonic += seconds

    def set_wall(self, wall: float) -> None:
        """Set the wall clock alone, as an operator or a time server does."""
        self._wall = wall

"""What a process prints, as lines for a log: bounded, and a terminal's redrawn line only once."""

from __future__ import annotations

__all__ = ["Lines"]

LINE_CHARS = 2_000
REST_BYTES = 4 * LINE_CHARS


class Lines:
    """Cuts what arrives in pieces into lines.

    Args:
        most: lines that one piece may give; of more, the first and the last halves are kept.
    """

    def __init__(self, *, most: int = 200) -> None:
        self._half = most // 2
        self._rest = b""

    def feed(self, data: bytes) -> list[str]:
        """Return the lines that this piece completes."""
        data = self._rest + data
        count = data.count(b"\n")
        if count > 2 * self._half:
            first = data.split(b"\n", self._half)[:-1]
            *last, rest = data.rsplit(b"\n", self._half + 1)[1:]
            left_out = count - len(first) - len(last)
            note = f"… {left_out:,} lines left out: more than a log takes at once"
            lines = [*map(_text, first), note, *map(_text, last)]
        else:
            *complete, rest = data.split(b"\n")
            lines = [_text(line) for line in complete]
        self._rest = _newest(rest)[:REST_BYTES]
        return lines

    def end(self) -> list[str]:
        """Return the line that no line break completed, if there is one."""
        rest, self._rest = self._rest, b""
        return [_text(rest)] if rest.strip() else []


def _newest(line: bytes) -> bytes:
    """Return what a terminal would show last: what follows the last carriage return."""
    shown = line.rstrip(b"\r")
    return shown[shown.rfind(b"\r") + 1 :]


def _text(line: bytes) -> str:
    return _newest(line)[:REST_BYTES].decode("utf-8", "replace")[:LINE_CHARS]

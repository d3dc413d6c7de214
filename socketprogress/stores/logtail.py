"""The newest lines of a log, within bounds, under their absolute numbers."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from socketprogress.core.ports import LogPage

__all__ = ["MOST_BYTES", "MOST_LINES", "Chunk", "LogTail", "chunked", "page"]

MOST_LINES = 10_000
MOST_BYTES = 1 << 20
_CHUNK_LINES = 500
_CHUNK_BYTES = 1 << 16
_LINE_CHARS = 1 << 16
_CUT = " … (cut)"


@dataclass(frozen=True, slots=True)
class Chunk:
    """Some lines in a row, the first of which has the number `offset`."""

    offset: int
    lines: tuple[str, ...]
    size_bytes: int

    @property
    def end(self) -> int:
        """The number of the line after the last."""
        return self.offset + len(self.lines)

    def since(self, offset: int) -> Chunk | None:
        """Return what of it has a number of at least `offset`, or None."""
        if self.end <= offset:
            return None
        if self.offset >= offset:
            return self
        return next(chunked(offset, self.lines[offset - self.offset :]), None)


def chunked(offset: int, lines: Iterable[str]) -> Iterator[Chunk]:
    """Yield the lines in chunks small enough to be dropped one by one; overlong lines are cut."""
    part: list[str] = []
    size = 0
    for line in lines:
        kept = line if len(line) <= _LINE_CHARS else line[:_LINE_CHARS] + _CUT
        part.append(kept)
        size += len(kept) if kept.isascii() else len(kept.encode("utf-8", "surrogatepass"))
        if len(part) >= _CHUNK_LINES or size >= _CHUNK_BYTES:
            yield Chunk(offset, tuple(part), size)
            offset += len(part)
            part, size = [], 0
    if part:
        yield Chunk(offset, tuple(part), size)


def page(chunks: Iterable[Chunk], offset: int, limit: int, *, end: int) -> LogPage:
    """Return at most `limit` lines in a row from chunks sorted by their offset.

    Args:
        chunks: the chunks, which may overlap and leave gaps.
        offset: the number of the first line wanted; a negative one counts from `end`.
        limit: how many lines at most.
        end: the number of the line after the last.
    """
    at = min(max(end + offset if offset < 0 else offset, end - MOST_LINES, 0), end)
    lines: list[str] = []
    for chunk in chunks:
        if chunk.end <= at:
            continue
        if chunk.offset > at:
            if lines:
                break
            at = chunk.offset
        if len(lines) >= limit:
            break
        taken = chunk.lines[at - chunk.offset :][: limit - len(lines)]
        lines.extend(taken)
        at += len(taken)
    return LogPage(at - len(lines), tuple(lines), at)


class LogTail:
    """The newest chunks of one log: at most `MOST_LINES` lines and `MOST_BYTES` bytes."""

    __slots__ = ("chunks", "dropped", "end", "lines", "size_bytes")

    def __init__(self) -> None:
        self.chunks: deque[Chunk] = deque()
        self.end = 0
        self.lines = 0
        self.size_bytes = 0
        self.dropped = 0

    def append(self, offset: int, lines: Sequence[str]) -> None:
        """Add lines at the end, and drop the oldest beyond the bounds."""
        self.extend(chunked(offset, lines))

    def extend(self, chunks: Iterable[Chunk]) -> None:
        """Add chunks, and drop the oldest beyond the bounds; a line that is there stays."""
        for added in chunks:
            chunk = added.since(self.end)
            if chunk is None:
                continue
            self.chunks.append(chunk)
            self.end = chunk.end
            self.lines += len(chunk.lines)
            self.size_bytes += chunk.size_bytes
        while self.lines > MOST_LINES or self.size_bytes > MOST_BYTES:
            oldest = self.chunks.popleft()
            self.lines -= len(oldest.lines)
            self.size_bytes -= oldest.size_bytes
            self.dropped += len(oldest.lines)

"""What a command writes to its terminal, as lines of text."""

from __future__ import annotations

import codecs
import re

__all__ = ["TerminalText"]

LINE_START = re.compile(r"\x1b\[(?:[01]?G|2K|\d*[AF]|H)")  # column 1, erase, up, home
ESCAPE = re.compile(
    r"\x1b(?:"
    r"\[[0-?]*[ -/]*[@-~]"  # CSI: colours, cursor, erase
    r"|[\]PX^_][^\x07\x1b]*(?:\x07|\x1b\\)"  # OSC and other strings: titles, links
    r"|[ -/]*[0-Z\\^-~]"  # two-character sequences, character sets
    r")"
)
UNFINISHED = re.compile(r"\x1b(?:\[[0-?]*[ -/]*|[\]PX^_][^\x07\x1b]*\x1b?|[ -/]*)?\Z")
PART = re.compile("\r*\n|\r|\b+|[^\r\n\b]+")
CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
ESCAPE_CHARS = 4_096


class TerminalText:
    """Turns bytes into finished lines and the line that is being written.

    Escape sequences go, a carriage return starts the line again (a progress bar is one line, its
    latest), a backspace takes a character back, and lines end at `line_chars`.

    Attributes:
        line: the line that is being written, as it stands.
    """

    def __init__(self, *, line_chars: int = 2_000) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._line_chars = line_chars
        self._kept = ""
        self._restart = False
        self._logged = 0
        self._redrawn = False
        self.line = ""

    def feed(self, data: bytes, *, final: bool = False) -> list[str]:
        """Take the next bytes; return the lines finished by them."""
        text = self._kept + self._decoder.decode(data, final)
        self._kept = ""
        unfinished = UNFINISHED.search(text)
        if unfinished and not final and len(unfinished[0]) < ESCAPE_CHARS:
            text, self._kept = text[: unfinished.start()], unfinished[0]
        lines: list[str] = []
        for part in PART.findall(ESCAPE.sub("", LINE_START.sub("\r", text))):
            self._take(part, lines)
        if final and self.line:
            self._end(lines)
        return lines

    def idle(self) -> list[str]:
        """Return what a line without an end says so far, once; a bar is left to be redrawn."""
        if self._logged or self._redrawn or not self.line.strip():
            return []
        self._logged = len(self.line)
        return [self.line]

    def _take(self, part: str, lines: list[str]) -> None:
        if part[-1] == "\n":
            self._end(lines)
        elif part == "\r":
            self._restart = True
        elif part[0] == "\b":
            self.line = self.line[: -len(part)]
            self._redrawn = True
        else:
            if self._restart:
                self.line, self._logged, self._redrawn = "", 0, True
                self._restart = False
            room = self._line_chars - len(self.line)
            self.line += CONTROL.sub("", part)[: max(room, 0)]

    def _end(self, lines: list[str]) -> None:
        rest = self.line[self._logged :].rstrip()
        if rest or not self._logged:
            lines.append(rest)
        self.line, self._logged = "", 0
        self._restart = self._redrawn = False

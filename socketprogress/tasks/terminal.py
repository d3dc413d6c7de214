"""What a command writes to its terminal, as lines of text."""

from __future__ import annotations

import codecs
import re

__all__ = ["TerminalText"]

LINE_START = re.compile(r"\x1b\[(?:[01]?G|2K|H)")  # column 1, erase, home
ESCAPE = re.compile(
    r"\x1b(?:"
    r"\[(?!\d*[ABEF])[0-?]*[ -/]*[@-~]"  # CSI: colours, erase; up and down are moves
    r"|[\]PX^_][^\x07\x1b]*(?:\x07|\x1b\\)"  # OSC and other strings: titles, links
    r"|[ -/]*[0-Z\\^-~]"  # two-character sequences, character sets
    r")"
)
UNFINISHED = re.compile(
    r"\x1b(?:\[[0-?]*[ -/]*|[\]PX^_][^\x07\x1b]*\x1b?|[ -/]*|7(?:\x1b\[[^\x1b]*)+\x1b?)?\Z"
)
PINNED = re.compile(r"\x1b7\x1b\[\d+;\d+[Hf](.{0,500}?)\x1b8", re.DOTALL)
SCREEN = re.compile(r"\x1b\[\?(?:1049|1047|47)([hl])")  # into and out of the alternate screen
TOKEN = re.compile("\r*\n|\r|\b+|\x1b\\[(\\d*)([ABEF])|[^\r\n\b\x1b]+|\x1b")
LINE_END = re.compile("\r+\n")
SPECIAL = re.compile("[\r\b\x1b]")
CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
ESCAPE_CHARS = 4_096
ROWS = 64  # as far as a cursor moves up
UP = "AF"


class _Row:
    """A row of the terminal: its text, and what the log has been told of it."""

    __slots__ = ("partial", "redrawn", "restart", "text", "told")

    def __init__(self, text: str = "", told: str | None = None) -> None:
        self.text, self.told = text, told
        self.partial = self.restart = self.redrawn = False

    def news(self) -> str | None:
        """Return what the log has not been told, or None; it is told then."""
        told, self.told = self.told, self.text
        if told is None:
            text = self.text.rstrip()
            return text if text or not self.redrawn else None
        rest = self.text[len(told) :] if self.partial else "" if told == self.text else self.text
        self.partial = False
        return rest.rstrip() or None


class TerminalText:
    """Turns bytes into finished lines and the rows that are being written.

    Escape sequences go, a carriage return starts the row again (a progress bar is one line, its
    latest), a backspace takes a character back, and lines end at `line_chars`. Rows that the cursor
    goes back up to are told again, as they are then, once the output moves on below them: several
    bars that are redrawn for hours are a line each. What a full-screen program shows on the
    alternate screen is left out, and a bar pinned to the screen's last row is no line.

    Attributes:
        pinned: the newest text that was put somewhere else on the screen and the cursor back.
    """

    def __init__(self, *, line_chars: int = 2_000) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._line_chars = line_chars
        self._kept = ""
        self._rows = [_Row()]
        self._at = 0
        self._top = 0
        self._hidden = False
        self.pinned = ""

    @property
    def line(self) -> str:
        """The row that is being written, as it stands."""
        return self._rows[self._at].text

    @property
    def rows(self) -> list[str]:
        """The rows that are drawn together, from the highest one that the cursor went up to."""
        return [row.text for row in self._rows[self._top :]]

    def feed(self, data: bytes, *, final: bool = False) -> list[str]:
        """Take the next bytes; return the lines finished by them."""
        text = self._kept + self._decoder.decode(data, final)
        self._kept = ""
        if "\x1b" in text:
            unfinished = UNFINISHED.search(text)
            if unfinished and not final and len(unfinished[0]) < ESCAPE_CHARS:
                text, self._kept = text[: unfinished.start()], unfinished[0]
            text = self._on_screen(text)
            pinned = PINNED.findall(text)
            if pinned:
                self.pinned = CONTROL.sub("", ESCAPE.sub("", pinned[-1])).strip()
                text = PINNED.sub("", text)
            text = ESCAPE.sub("", LINE_START.sub("\r", text))
        elif self._hidden:
            text = ""
        lines: list[str] = []
        self._write(text, lines)
        if final:
            self._finish(lines)
        return lines

    def idle(self) -> list[str]:
        """Return what a line without an end says so far, once; a bar is left to be redrawn."""
        row = self._rows[self._at]
        if row.told is not None or row.redrawn or not row.text.strip():
            return []
        row.told, row.partial = row.text, True
        return [row.text]

    def _on_screen(self, text: str) -> str:
        parts = SCREEN.split(text)
        shown = "" if self._hidden else parts[0]
        for switch, part in zip(parts[1::2], parts[2::2], strict=True):
            self._hidden = switch == "h"
            shown += "" if self._hidden else part
        return shown

    def _write(self, text: str, lines: list[str]) -> None:
        if "\r" in text:
            text = LINE_END.sub("\n", text)
        plain = text.count("\n") > 1 and not SPECIAL.search(text)
        if plain and self._at == len(self._rows) - 1:
            self._write_plain(text, lines)
            return
        for match in TOKEN.finditer(text):
            token = match[0]
            if token[-1] == "\n":
                self._down(lines)
            elif match[2]:
                self._move(int(match[1] or 1), up=match[2] in UP)
            else:
                self._take(token)

    def _write_plain(self, text: str, lines: list[str]) -> None:
        """Write lines without any cursor movement at once: a flood is mostly that."""
        first, *whole, last = text.split("\n")
        self._take(first)
        self._new_row(lines)
        whole = [CONTROL.sub("", part)[: self._line_chars].rstrip() for part in whole]
        lines += whole
        self._rows[-1:] = [_Row(part, part) for part in whole[-ROWS:]]
        self._rows.append(_Row())
        self._trim()
        self._take(last)

    def _take(self, piece: str) -> None:
        row = self._rows[self._at]
        if piece == "\r":
            row.restart = True
        elif piece[:1] == "\b":
            row.text = row.text[: -len(piece)]
            row.redrawn = True
        elif piece:
            if row.restart:
                row.text, row.redrawn, row.restart = "", True, False
                if row.partial:
                    row.told, row.partial = None, False
            room = self._line_chars - len(row.text)
            row.text += CONTROL.sub("", piece)[: max(room, 0)]

    def _move(self, rows: int, *, up: bool) -> None:
        self._at = max(0, self._at - rows) if up else min(self._at + rows, len(self._rows) - 1)
        self._top = min(self._top, self._at)
        self._rows[self._at].restart = True

    def _down(self, lines: list[str]) -> None:
        if self._at < len(self._rows) - 1:
            self._at += 1
            self._rows[self._at].restart = True
        else:
            self._new_row(lines)

    def _new_row(self, lines: list[str]) -> None:
        """Begin a row below all others; what was drawn above it stays as it is for now."""
        lines += [news for row in self._rows[self._top :] if (news := row.news()) is not None]
        self._rows.append(_Row())
        self._trim()

    def _trim(self) -> None:
        del self._rows[:-ROWS]
        self._at = self._top = len(self._rows) - 1

    def _finish(self, lines: list[str]) -> None:
        rows = [row for row in self._rows[self._top :] if row.text or row.told is not None]
        lines += [news for row in rows if (news := row.news()) is not None]
        self._rows = [_Row()]
        self._at = self._top = 0

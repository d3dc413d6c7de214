"""What a CSV file looks like: its encoding, delimiter, header and column types."""

from __future__ import annotations

import codecs
import csv
import io
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import IO

from socketprogress.core.errors import TaskFailure
from socketprogress.core.reporter import Reporter

__all__ = ["FIELD_CHARS", "ColumnTypes", "Layout", "column_names", "sniff"]

CHUNK_BYTES = 1 << 20
SAMPLE_BYTES = 1 << 18
SAMPLE_ROWS = 500
FIELD_CHARS = 1 << 24
DELIMITERS = "\t;|,"  # of two that fit equally well the first: a comma may be a decimal point
BYTE_ORDER_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
INTEGER = re.compile(r"(?:0|-?[1-9][0-9]{0,17})?")
REAL = re.compile(
    r"(?:-?(?:(?:0|[1-9][0-9]{0,14})(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]{1,2})?)?"
)
NAME_CHARS = 200


@dataclass(frozen=True, slots=True)
class Layout:
    """How a file is to be read.

    Args:
        encoding: a codec's name; every byte of the file was tried.
        delimiter: between two fields.
        header: the first row, or None where that is data already.
        width: fields of a row.
        lines: line feeds in the file.
        has_nul: whether there are NUL characters.
    """

    encoding: str
    delimiter: str
    header: tuple[str, ...] | None
    width: int
    lines: int
    has_nul: bool


def sniff(progress: Reporter, file: IO[bytes]) -> Layout:
    """Read a file once and return its layout.

    UTF-8 is what decodes as such, anything else without a byte-order mark is latin-1. The first
    row is the header, unless it has a number above a column of numbers.

    Args:
        progress: counts the bytes.
        file: at its start.

    Raises:
        TaskFailure: there is nothing in it, or a line too long for a row of text.
        Cancelled: somebody has asked for the task's end.
    """
    survey = _Survey()
    while chunk := file.read(CHUNK_BYTES):
        survey.add(chunk)
        progress.advance(len(chunk))
    rows, delimiter = _first_rows(survey.sample())
    if not rows:
        raise TaskFailure("the file is empty: it has neither a header nor rows")
    width = len(rows[0])
    has_header = _has_header(rows)
    return Layout(
        encoding=survey.encoding,
        delimiter=delimiter,
        header=tuple(rows[0]) if has_header else None,
        width=width,
        lines=survey.lines,
        has_nul=survey.has_nul,
    )


class _Survey:
    """What all bytes of a file tell."""

    def __init__(self) -> None:
        self.encoding = ""
        self.lines = 0
        self.has_nul = False
        self._head = b""
        self._line_bytes = 0
        self._beyond_ascii = False
        self._decoder: codecs.IncrementalDecoder | None = None

    def add(self, chunk: bytes) -> None:
        if not self.encoding:
            marks = (name for mark, name in BYTE_ORDER_MARKS if chunk.startswith(mark))
            self.encoding = next(marks, "utf-8")
            self._decoder = codecs.getincrementaldecoder(self.encoding)()
        self._head += chunk[: SAMPLE_BYTES - len(self._head)]
        self._measure(chunk)
        if self._decoder is None:
            return
        try:
            text = self._decoder.decode(chunk)
        except UnicodeDecodeError:
            self._give_up()
        else:
            self.has_nul = self.has_nul or "\0" in text
            self._beyond_ascii = self._beyond_ascii or not text.isascii()

    def sample(self) -> str:
        """Return the beginning of the file, of whole lines where it is long."""
        if self._decoder is not None and self.encoding == "utf-8" and not self._beyond_ascii:
            try:
                self._decoder.decode(b"", True)
            except UnicodeDecodeError:  # one odd byte at the very end, and no UTF-8 before it
                self._give_up()
        text = self._head.decode(self.encoding or "utf-8", "replace").replace("\0", "")
        if len(self._head) < SAMPLE_BYTES:
            return text
        return text[: max(text.rfind("\n"), text.rfind("\r")) + 1] or text

    def _give_up(self) -> None:
        if self.encoding == "utf-8":
            self.encoding = "latin-1"
            self.has_nul = True  # not looked for any more; looking while loading costs little
        self._decoder = None

    def _measure(self, chunk: bytes) -> None:
        self.lines += chunk.count(b"\n")
        last = max(chunk.rfind(b"\n"), chunk.rfind(b"\r"))
        first = min((i for i in (chunk.find(b"\n"), chunk.find(b"\r")) if i >= 0), default=-1)
        self._line_bytes += len(chunk) if first < 0 else first
        if self._line_bytes > FIELD_CHARS:
            raise TaskFailure(f"a line is longer than {FIELD_CHARS:,} bytes: this is no CSV file")
        if last >= 0:
            self._line_bytes = len(chunk) - last - 1


def _first_rows(sample: str) -> tuple[list[list[str]], str]:
    """Return the first rows that are not blank, split at the delimiter that fits best."""
    best: tuple[float, list[list[str]], str] = (-1.0, [], ",")
    for delimiter in DELIMITERS:
        reader = csv.reader(io.StringIO(sample, newline=""), delimiter=delimiter)
        try:
            rows = [row for row in islice(reader, SAMPLE_ROWS) if row]
        except csv.Error:
            continue
        fit = _fit(rows)
        if fit > best[0] or (fit == best[0] == 0):
            best = (fit, rows, delimiter)
    return best[1], best[2]


def _fit(rows: list[list[str]]) -> float:
    """Return the share of rows as wide as most are; half of it if the first row is not."""
    if not rows:
        return 0.0
    width, count = Counter(map(len, rows)).most_common(1)[0]
    if width == 1:
        return 0.0
    share = count / len(rows)
    return round(share if len(rows[0]) == width else share / 2, 2)


def _has_header(rows: list[list[str]]) -> bool:
    first, rest = rows[0], rows[1:]
    types = ColumnTypes(len(first))
    types.add([(row + [""] * len(first))[: len(first)] for row in rest])
    numeric = [i for i, kind in enumerate(types.names()) if kind != "TEXT"]
    words = sum(bool(first[i].strip()) and not REAL.fullmatch(first[i]) for i in numeric)
    return words > 0 or not any(first[i] and REAL.fullmatch(first[i]) for i in numeric)


class ColumnTypes:
    """Finds the narrowest SQLite type that keeps every value of a column as it was written.

    ``007`` and a number of thirty digits stay text; an empty field is no value.
    """

    def __init__(self, width: int) -> None:
        self._patterns: dict[int, re.Pattern[str]] = dict.fromkeys(range(width), INTEGER)
        self._filled: set[int] = set()
        self._width = width

    def add(self, rows: Sequence[Sequence[str]]) -> None:
        """Take more rows, each of the full width."""
        for column in list(self._patterns):
            values = [row[column] for row in rows]
            if column not in self._filled and any(values):
                self._filled.add(column)
            if all(map(self._patterns[column].fullmatch, values)):
                continue
            if self._patterns[column] is INTEGER and all(map(REAL.fullmatch, values)):
                self._patterns[column] = REAL
            else:
                del self._patterns[column]

    def names(self) -> list[str]:
        """Return ``INTEGER``, ``REAL`` or ``TEXT`` for every column."""
        names = {INTEGER: "INTEGER", REAL: "REAL"}
        return [
            names[self._patterns[column]]
            if column in self._patterns and column in self._filled
            else "TEXT"
            for column in range(self._width)
        ]


def column_names(header: Iterable[str] | None, width: int) -> list[str]:
    """Return a distinct, printable name for every column.

    Empty ones become ``column_3``, and what differs from an earlier one in case alone, or not at
    all, ``name_2``: SQLite takes both for the same.
    """
    given = list(header or ())[:width]
    given += [""] * (width - len(given))
    names: list[str] = []
    taken: set[str] = set()
    for number, text in enumerate(given, 1):
        plain = " ".join("".join(c if c.isprintable() else " " for c in text).split())
        plain = plain[:NAME_CHARS] or f"column_{number}"
        name, copy = plain, 2
        while name.casefold() in taken:
            name, copy = f"{plain}_{copy}", copy + 1
        taken.add(name.casefold())
        names.append(name)
    return names

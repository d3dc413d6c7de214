"""The count that a line of a command's output tells, if it tells one.

What is found is a heuristic, and meant to rather miss a count than to invent one. A **strong**
reading has a shape that only progress has: a percent at a bar, in square brackets, after dots or
alone on its line; a count in brackets, alone, or after a counting word (``Step 3/4``); the line of
a program known by its format (tqdm, rsync, curl, wget, pip, git, apt). A **weak** one is any other
percent, ``12/80`` or ``3 of 10``: it may as well be a ratio in prose, so that whoever follows it
waits until it rises. Counts beyond their totals, versions, paths and dates are none, except a date
of two numbers in brackets.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

__all__ = ["Count", "Reading", "count_in", "read"]


class Count(NamedTuple):
    """How far something is: `current` of `total`."""

    current: float
    total: float

    @property
    def share(self) -> float:
        """The part that is done, from 0 to 1."""
        return self.current / self.total


@dataclass(frozen=True, slots=True)
class Reading:
    """What a line says: a count, of what, after which words, and whether it can be nothing else."""

    count: Count
    unit: str
    label: str
    strong: bool


NUMBER = r"\d+(?:[.,]\d+)?"
WORDS = (
    r"(?:step|stage|phase|epoch|batch|iter(?:ation)?|file|page|part|chunk|item|row|record|image|"
    r"frame|test|task|job|run|round|layer|object|package|sample|trial|fold|quer(?:y|ie)|progress|"
    r"done|process|complet|finish|download|upload|install|compil|build|cop(?:y|ie)|"
    r"read|writ|extract|convert|pack|render|encod|verify)(?:e?s|ed|e|ing)?"
)
GLYPHS = "#=█▓━▉■●"
INSIDE = rf"{GLYPHS}>.\-*_ ╸╺▏▎▍▌▋▊"

TQDM = re.compile(rf"\d{{1,3}}%\|[^|]*\| *(?P<n>{NUMBER})/(?P<total>{NUMBER})(?= *\[| )")
GIT = re.compile(r"\d{1,3}% \((?P<n>\d+)/(?P<total>\d+)\)")
SIZE = r"[\d.]+[kMGTP]?"
CURL = re.compile(
    rf"^ *(?P<n>\d{{1,3}}) +{SIZE} +\d{{1,3}} +{SIZE} +\d{{1,3}} +{SIZE} +{SIZE} +{SIZE} +[-\d]+:[-\d]+:"
)
PIP = re.compile(rf"[━╸╺█]{{3}} *(?P<n>{NUMBER})/(?P<total>{NUMBER}) *(?P<unit>[kKMGT]?i?B)\b")
KNOWN = ((TQDM, "it"), (GIT, "it"), (CURL, "%"), (PIP, "B"))

PERCENT = re.compile(r"(?<![\w.,-])(?P<n>\d{1,3}(?:[.,]\d+)?)[ \u00a0]?%(?![\w%])")
FRACTION = re.compile(
    r"(?<![\w./,:-])(?P<n>\d+)(?: ?/ ?| of | out of )(?P<total>\d+)(?![\w/%]|[.,:-]\w)"
)
CONTEXT = 120  # characters on either side that are looked at
MOST = 8  # counts of a line that are looked at
LINE_CHARS = 1_000

IN_SQUARE = (re.compile(r"\[ *(?:[\w-]{1,40} )?$"), re.compile(r" *\]"))
BAR_AFTER = re.compile(rf" ?(?:\||[\[(][{INSIDE}]*[\])]|[\[|(]?[{GLYPHS}]{{2}})")
BAR_BEFORE = re.compile(
    rf"[{GLYPHS}]{{3}}|[\[|][{INSIDE}]{{3,}}[\]|] *$|(?:\.\.|…) *$|\.{{6}}|\| *$"
)
ALONE_AFTER = re.compile(r"\s*(?:done|complet\w*|finished)?\W*$|\s*[\[|(:]|\s{3}|\t", re.IGNORECASE)
RSYNC = (re.compile(r" *[\d,.]+[KMGT]? +$"), re.compile(r" +[\d.,]+[kKMGT]?B/s"))
WORD_BEFORE = re.compile(rf"\W*(?:\w{{1,40}} )?{WORDS}\W{{1,3}}$", re.IGNORECASE)
NO_WORD = re.compile(r"\W*$")
DIGITS = re.compile(r"\d+")
LABEL_END = GLYPHS + ">.-*_ ╸╺▏▎▍▌▋▊[|(0123456789"
LABEL_CHARS = 60


def count_in(line: str) -> Count | None:
    """Return the count that a line of output shows: ``37 %``, ``37.5%``, ``12/80`` or ``3 of 10``.

    What cannot be a count (``140%``, ``9/3``, a date, a path) is none.

    Args:
        line: one line without escape sequences.
    """
    reading = read(line)
    return None if reading is None else reading.count


def read(line: str) -> Reading | None:
    """Return what a line of output says of a progress, or None.

    Of several counts the first strong one is taken, or else the last percent, or else the last
    fraction.

    Args:
        line: one line without escape sequences; only its first thousand characters are read.
    """
    line = line[:LINE_CHARS]
    if "%" not in line and "/" not in line and " of " not in line and ":" not in line:
        return None
    for pattern, unit in KNOWN:
        match = pattern.search(line)
        count = match and _count(match)
        if match and count:
            return Reading(count, match.groupdict().get("unit") or unit, _label(match), True)
    weak = None
    for match, count in _found(FRACTION, line):
        strong = _is_count(match)
        if strong or not _is_date(match):
            weak = Reading(count, "it", _label(match), strong)
        if strong:
            break
    for match, count in _found(PERCENT, line):
        reading = Reading(count, "%", _label(match), _is_percent(match))
        if reading.strong:
            return reading
        if weak is None or not weak.strong:
            weak = reading
    return weak


def _found(pattern: re.Pattern[str], line: str) -> Iterator[tuple[re.Match[str], Count]]:
    for number, match in enumerate(pattern.finditer(line)):
        count = _count(match)
        if count is not None:
            yield match, count
        if number >= MOST:
            break


def _count(match: re.Match[str]) -> Count | None:
    fields = match.groupdict()
    current = float(fields["n"].replace(",", "."))
    total = float(fields.get("total", "100").replace(",", "."))
    return Count(current, total) if current <= total and total > 0 else None


def _label(match: re.Match[str]) -> str:
    before = match.string[: match.start("n")]
    return DIGITS.sub("0", before.rstrip(LABEL_END)).strip()[-LABEL_CHARS:]


def _around(match: re.Match[str]) -> tuple[str, str]:
    line, start, end = match.string, match.start(), match.end()
    return line[max(0, start - CONTEXT) : start], line[end : end + CONTEXT]


def _is_percent(match: re.Match[str]) -> bool:
    before, after = _around(match)
    first = NO_WORD.match(before) or WORD_BEFORE.match(before)
    return bool(
        _encloses(IN_SQUARE, before, after)
        or BAR_AFTER.match(after)
        or BAR_BEFORE.search(before)
        or (RSYNC[0].match(before) and RSYNC[1].match(after))
        or (first and ALONE_AFTER.match(after))
    )


def _is_count(match: re.Match[str]) -> bool:
    before, after = _around(match)
    if _encloses(IN_SQUARE, before, after) or (before.strip() == "(" and after.startswith(")")):
        return True
    if _is_date(match):
        return False
    return bool(WORD_BEFORE.match(before) or (NO_WORD.match(before) and NO_WORD.match(after)))


def _encloses(pair: tuple[re.Pattern[str], re.Pattern[str]], before: str, after: str) -> bool:
    return bool(pair[0].search(before) and pair[1].match(after))


def _is_date(match: re.Match[str]) -> bool:
    """Return whether a fraction is written as a day and a month are: ``08/12``."""
    texts = match.groups()
    return any(len(text) > 1 and text.startswith("0") for text in texts)

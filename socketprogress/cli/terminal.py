"""What a task looks like in a terminal: texts made safe, figures made short, one line per task."""

from __future__ import annotations

import os
import re
import shutil
import sys
import unicodedata
from collections.abc import Mapping
from typing import Any, TextIO

import click

__all__ = [
    "bar",
    "columns_of",
    "duration",
    "fit",
    "headline",
    "is_live",
    "paint",
    "percent",
    "plain",
    "width",
]

# Escape sequences whole, then all that a terminal acts on: controls, separators, text direction.
_ESCAPES = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[@-_])")
_CONTROLS = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]+"
)
COLOURS = {
    "completed": "green",
    "failed": "red",
    "cancelled": "yellow",
    "lost": "yellow",
    "in_progress": "cyan",
}
WORTH_A_RANGE_S = 5
QUIET_S = 3
"""So long nothing is said of the time left: most work is over by then."""
BAR_CELLS = (10, 30)
MINUTE_S, HOUR_S = 60, 3600
KIBI = 1024
STEADY_COLUMNS = 79


def plain(text: object) -> str:
    """Return a text on one line that no terminal takes for a command."""
    return _CONTROLS.sub(" ", _ESCAPES.sub("", str(text))).strip()


def width(text: str) -> int:
    """Return how many cells a text takes."""
    return sum(
        0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1
        for c in text
    )


def fit(text: str, cells: int) -> str:
    """Return a text cut to so many cells, with an ellipsis where it was cut."""
    if width(text) <= cells:
        return text
    kept = ""
    for character in text:
        if width(kept + character) >= cells:
            break
        kept += character
    return f"{kept}…" if cells > 0 else ""


def duration(seconds: float | None) -> str:
    """Return seconds as `0:42` or `1:02:03`; unknown is empty."""
    if seconds is None:
        return ""
    whole = max(0, round(seconds))
    minutes, rest = divmod(whole, MINUTE_S)
    if whole < HOUR_S:
        return f"{minutes}:{rest:02}"
    return f"{whole // HOUR_S}:{minutes % MINUTE_S:02}:{rest:02}"


def percent(progress: float | None) -> str:
    """Return `12.3 %`, cut off and not rounded: 100 is said only of what is completed."""
    if progress is None:
        return ""
    return "100 %" if progress >= 100 else f"{round(progress * 100) // 10 / 10:.1f} %"


def headline(state: Mapping[str, Any]) -> str:
    """Return a task's figures on one line: percent, counts, rate, time left, message."""
    parts = [percent(state.get("progress")), _counts(state), _rate(state), _time_left(state)]
    parts.append(plain(state.get("message") or ""))
    return "  ".join(part for part in parts if part)


def _time_left(state: Mapping[str, Any]) -> str:
    """Return the time left, as a range where that says more; empty where nothing is known, and at first."""
    if state.get("status") != "in_progress" or state.get("cancel_requested"):
        return ""
    elapsed = state.get("elapsed_s")
    if elapsed is not None and elapsed < QUIET_S:
        return ""
    left, usual = state.get("eta_s"), state.get("usual_s")
    if left is not None:
        ends = state.get("eta_low_s"), state.get("eta_high_s")
        low, high = (left if end is None else end for end in ends)
        is_one = high < WORTH_A_RANGE_S or duration(low) == duration(high)
        return f"{duration(left) if is_one else f'{duration(low)}-{duration(high)}'} left"
    is_over = usual is not None and (elapsed or 0) > usual
    return "longer than usual" if is_over else ""


def bar(state: Mapping[str, Any], columns: int, *, unicode: bool = True) -> str:
    """Return a task as a line with a bar, at most `columns` cells wide."""
    least, most = BAR_CELLS
    cells = max(least, min(most, columns // 4))
    title = fit(plain(state.get("title") or state.get("name") or ""), max(8, columns // 4))
    full, empty = ("█", "░") if unicode else ("#", "-")
    progress = state.get("progress")
    done = 0 if progress is None else int(cells * progress / 100)
    drawn = full * done + empty * (cells - done)
    status = state.get("status")
    word = "" if status == "in_progress" else f"{str(status).replace('_', ' ')}  "
    if state.get("cancel_requested") and status == "in_progress":
        word = "cancelling  "
    return fit(f"{title}  {drawn}  {word}{headline(state)}", columns)


def is_live(stream: TextIO) -> bool:
    """Whether a line can be drawn again and again there."""
    return stream.isatty() and os.environ.get("TERM") != "dumb"


def columns_of(stream: TextIO) -> int:
    """Return the width of the terminal behind a stream, one cell less: the last one wraps."""
    try:
        return max(20, os.get_terminal_size(stream.fileno()).columns - 1)
    except (OSError, ValueError):
        return shutil.get_terminal_size((STEADY_COLUMNS + 1, 24)).columns - 1


def paint(text: str, status: str, *, stream: TextIO | None = None) -> str:
    """Return a text in its status's colour, where the terminal and the user want colours."""
    stream = stream or sys.stdout
    if not is_live(stream) or os.environ.get("NO_COLOR"):
        return text
    return click.style(text, fg=COLOURS.get(status))


def _counts(state: Mapping[str, Any]) -> str:
    current, total = state.get("current"), state.get("total")
    if not current and not total:
        return ""
    unit = plain(state.get("unit") or "it")
    if total is None:
        return _amount(current or 0, unit)
    if unit == "B":
        return f"{_amount(current or 0, unit)} / {_amount(total, unit)}"
    return f"{_number(current or 0)}/{_number(total)} {unit}"


def _rate(state: Mapping[str, Any]) -> str:
    rate = state.get("rate")
    if not rate or state.get("status") != "in_progress":
        return ""
    return f"{_amount(rate, plain(state.get('unit') or 'it'))}/s"


def _amount(value: float, unit: str) -> str:
    if unit != "B":
        return f"{_number(value)} {unit}"
    for prefix in ("", "Ki", "Mi", "Gi"):
        if abs(value) < KIBI:
            return f"{value:.0f} B" if not prefix else f"{value:.1f} {prefix}B"
        value /= KIBI
    return f"{value:.1f} TiB"


def _number(value: float) -> str:
    if float(value).is_integer() or abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"

"""Following the progress that a command's output tells, from look to look.

What is followed is a heuristic. A weak reading (see `percent`) counts once it has risen after the
same words, and never displaces a strong one that is under way. The share never goes back, except for
a bar that starts again: the one before was nearly done and this one is not, or another strong one
rises while ours is no longer seen. Of several bars that are drawn together the mean is followed; if
the first stands while another one starts again, they are nested, and it is the first. A layer of a
docker pull is half done when it is downloaded.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from socketprogress.tasks.percent import Count, Reading, read

__all__ = ["Meter", "Move"]

NEARLY, BEGUN = 0.95, 0.5  # a bar that was above the first share and is below the second
WHOLE = 0.999
LABELS = 64
LINES_A_LOOK = 200
DROP = 0.3

LAYER = re.compile(
    r"\W*(?P<id>[0-9a-f]{12}):? +(?P<word>Pulling fs layer|Waiting|Downloading|Verifying Checksum|"
    r"Download complete|Extracting|Pull complete|Already exists)\b(?P<rest>.*)"
)
LAYER_SHARES = {
    "Pulling fs layer": 0.0,
    "Waiting": 0.0,
    "Downloading": 0.0,
    "Verifying Checksum": 0.5,
    "Download complete": 0.5,
    "Extracting": 0.5,
    "Pull complete": 1.0,
    "Already exists": 1.0,
}
AMOUNTS = re.compile(r"([\d.]+) ?([kKMGT]?i?)B/([\d.]+) ?([kKMGT]?i?)B")
SCALE = {"": 0, "k": 1, "K": 1, "M": 2, "G": 3, "T": 4}

CLOCK = r"(\d+):(\d\d):(\d\d(?:\.\d+)?)"
DURATION = re.compile(rf"^\s*Duration: {CLOCK}, ")
ENCODED = re.compile(rf"size= *\S+ time={CLOCK} ")


@dataclass(frozen=True, slots=True)
class Move:
    """Where the progress goes, and whether it starts again there."""

    count: Count
    unit: str
    reset: bool


class Meter:
    """Decides which of the counts in a command's output are its progress."""

    def __init__(self) -> None:
        self._now: Reading | None = None
        self._rival: Reading | None = None
        self._hints: OrderedDict[str, float] = OrderedDict()
        self._layers: dict[str, float] = {}
        self._pulls = False
        self._block = _Block()
        self._duration_s = 0.0

    def see(
        self, lines: Sequence[str], rows: Sequence[str] = (), *, pinned: str = ""
    ) -> Move | None:
        """Take what the output says by now; return where the progress goes, or None.

        Args:
            lines: the lines that were finished since the last look.
            rows: the rows that are drawn together at present, the last one being written.
            pinned: a bar that is kept elsewhere on the screen; it goes over all else.
        """
        before = self._now
        reset = False
        bars = [reading for row in rows if (reading := self._read(row)) and reading.strong]
        readings = [self._read(line) for line in lines[-LINES_A_LOOK:]]
        if len(bars) > 1:
            inner = {bar.label for bar in bars[1:]}
            readings = [r for r in readings if r and not (r.strong and r.label in inner)]
            readings.append(self._block.overall(bars))
        else:
            readings += bars or [self._read(row) for row in rows[-1:]]
        if pinned:
            readings = [self._read(pinned)]
        for reading in readings:
            reset = (reading is not None and self._follow(reading)) or reset
        if self._now is None or (self._now == before and not reset):
            return None
        return Move(self._now.count, self._now.unit, reset)

    def _read(self, line: str) -> Reading | None:
        layer = LAYER.match(line)
        if layer:
            return self._of_layers(layer)
        found = DURATION.match(line)
        if found:
            self._duration_s = max(self._duration_s, _seconds(found))
            return None
        if line.startswith("ffmpeg version"):
            self._duration_s = 0.0
        encoded = ENCODED.search(line) if self._duration_s else None
        if encoded:
            done = min(_seconds(encoded), self._duration_s)
            return Reading(Count(done, self._duration_s), "s", "ffmpeg", True)
        return read(line)

    def _of_layers(self, layer: re.Match[str]) -> Reading | None:
        share = LAYER_SHARES[layer["word"]]
        amounts = AMOUNTS.search(layer["rest"])
        if amounts and layer["word"] in {"Downloading", "Extracting"}:
            done, whole = _bytes(amounts[1], amounts[2]), _bytes(amounts[3], amounts[4])
            share += min(done / whole, 1.0) / 2 if whole else 0.0
        known = self._layers
        known[layer["id"]] = max(known.get(layer["id"], 0.0), share)
        self._pulls = self._pulls or share < 1
        if not self._pulls:  # those that are there already come first
            return None
        mean = sum(known.values()) / len(known)
        return Reading(Count(round(100 * mean, 2), 100), "%", "layers", True)

    def _follow(self, reading: Reading) -> bool:
        """Follow a reading if it is the progress; return whether that starts again."""
        now = self._now
        if not reading.strong and not self._has_risen(reading):
            return False
        if now is None:
            self._now = reading
            return False
        share, done = reading.count.share, now.count.share
        if now.strong and not reading.strong and done < NEARLY:
            return False
        if share > done or (share == done and reading.label == now.label):
            self._now, self._rival = reading, None
            return False
        again = done >= NEARLY and share <= BEGUN
        if again or self._outdone_by(reading):
            self._now, self._rival = reading, None
            return True
        return False

    def _has_risen(self, reading: Reading) -> bool:
        now = self._now
        if now is not None and not now.strong and now.label == reading.label:
            return True
        key = f"{reading.unit}{reading.count.total}{reading.label}"
        before = self._hints.pop(key, None)
        self._hints[key] = reading.count.share
        if len(self._hints) > LABELS:
            self._hints.popitem(last=False)
        return before is not None and before < reading.count.share

    def _outdone_by(self, reading: Reading) -> bool:
        """Return whether a bar that is behind ours has risen while ours was not seen."""
        if not reading.strong or reading.label == "layers":
            return False
        rival, self._rival = self._rival, reading
        return (
            rival is not None
            and rival.label == reading.label
            and rival.count.share < reading.count.share
        )


class _Block:
    """Several bars that are drawn together: side by side, or one within the other."""

    def __init__(self) -> None:
        self._shares: list[float] = []
        self._label = ""
        self._first = 0.0
        self._nested = False

    def overall(self, bars: Sequence[Reading]) -> Reading:
        """Return what the bars say together."""
        shares = [bar.count.share for bar in bars]
        if bars[0].label != self._label or not self._shares or shares[0] < self._shares[0]:
            self._label, self._first, self._nested = bars[0].label, shares[0], False
        elif any(
            now < before - DROP for before, now in zip(self._shares[1:], shares[1:], strict=False)
        ):
            self._nested = True
        if self._one_after_another(bars):
            self._nested = True
        self._shares = shares
        if self._nested or shares[0] == self._first < WHOLE:
            return bars[0]
        mean = sum(shares) / len(shares)
        return Reading(Count(round(100 * mean, 2), 100), "%", "several bars", True)

    def _one_after_another(self, bars: Sequence[Reading]) -> bool:
        """Return whether an inner bar is done and the next one of its name is not."""
        if bars[0].count.share >= WHOLE:
            return False
        return any(
            bar.count.share >= WHOLE > later.count.share and bar.label == later.label
            for bar, later in pairwise(bars[1:])
        )


def _seconds(match: re.Match[str]) -> float:
    return int(match[1]) * 3600 + int(match[2]) * 60 + float(match[3])


def _bytes(amount: str, prefix: str) -> float:
    base = 1024.0 if prefix.endswith("i") else 1000.0
    try:
        return float(amount) * base ** SCALE[prefix[:1]]
    except ValueError:
        return 0.0

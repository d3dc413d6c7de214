"""How a report becomes a task's next state, and what is known of a live task beside its state."""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from socketprogress.core import state as states
from socketprogress.core import steps as steps_of
from socketprogress.core.history import History, Usual
from socketprogress.core.ports import Report
from socketprogress.core.progress import UNKNOWN, Pace, finite
from socketprogress.core.protocol import one_line
from socketprogress.core.state import TaskFile, TaskState
from socketprogress.core.status import Status
from socketprogress.core.steps import Steps

__all__ = ["MESSAGE_CHARS", "TITLE_CHARS", "Live", "awake", "begun", "taken"]

MESSAGE_CHARS = 500
TITLE_CHARS = 500
UNIT_CHARS = 50
SIGNS_OF_LIFE = frozenset({"task_id", "reporter_seq", "log"})
TEXTS = {"message": MESSAGE_CHARS, "title": TITLE_CHARS, "unit": UNIT_CHARS}
OTHERS = frozenset({"abandon_s", "reporter_seq"})


class Live:
    """What the hub knows of a task that has not ended, on the monotonic clock.

    Attributes:
        pace: how fast the counts of the present step rise.
        share: how fast the whole task's percent rises, for the time left of several steps.
        usual: how long such tasks took so far, None while nothing can be said.
        ending: the terminal state that the store is writing.
        foreign: another process speaks for the task.
        is_unsaved: the newest state was not due yet.
    """

    __slots__ = (
        "_heard",
        "_lease_s",
        "_saved",
        "_stepped",
        "ending",
        "foreign",
        "is_unsaved",
        "lost_at",
        "pace",
        "share",
        "usual",
    )

    def __init__(self, now: float, *, lease_s: float | None = None, foreign: bool = False) -> None:
        self.pace, self.share = Pace(now), Pace(now)
        self.usual: Usual | None = None
        self.ending: TaskState | None = None
        self.foreign = foreign
        self.is_unsaved = False
        self.lost_at: float | None = None
        self._lease_s = lease_s
        self._heard = self._stepped = self._saved = now

    @classmethod
    def resumed(cls, state: TaskState, now: float, *, at: float, lease_s: float | None) -> Live:
        """Return what is known of a task whose earlier server has gone: its clocks go on.

        Args:
            state: as `awake` returns it; its counts and its seconds are those at its `updated_at`.
            now: monotonic seconds.
            at: Unix seconds.
            lease_s: the silence that is forgiven from now on.
        """
        live = cls(now, lease_s=lease_s)
        told = now - _silent_s(state, at)
        live.pace = Pace(told - (state.elapsed_s or 0.0))
        live.pace.restart(told, state.current)
        live.share.restart(told, state.progress or 0.0)
        index = steps_of.running(state.steps)
        if state.status is Status.LOST:
            live.lost_at = now
        live._stepped = told - ((state.steps[index].elapsed_s or 0.0) if index >= 0 else 0.0)
        return live

    @property
    def closed(self) -> bool:
        """Whether nothing more is taken: the end is on its way, or another process speaks."""
        return self.foreign or self.ending is not None

    def restart(self, now: float, count: float = 0.0) -> None:
        """Count the time from now on: the work begins, at this count."""
        self.pace, self.share = Pace(now), Pace(now)
        self.pace.restart(now, count)
        self._stepped = self._heard = now

    def grant(self, lease_s: float | None) -> None:
        """Forgive so many seconds of silence from now on."""
        self._lease_s = lease_s

    def hear(self, now: float) -> None:
        """Take a sign of life; the time that the task was lost is a pause."""
        if self.lost_at is not None:
            for pace in (self.pace, self.share):
                pace.pause(now - self.lost_at)
            self._stepped += now - self.lost_at
            self.lost_at = None
        self._heard = now

    @property
    def heard_at(self) -> float:
        """When there was a sign of life last, monotonic."""
        return self._heard

    def silent(self, now: float) -> bool:
        """Return whether the lease has run out."""
        return self._lease_s is not None and now - self._heard > self._lease_s

    def save_is_due(self, now: float, every_s: float) -> bool:
        """Return whether a state in progress should be stored again, and note that it is."""
        self.is_unsaved = now - self._saved < every_s
        if not self.is_unsaved:
            self._saved = now
        return not self.is_unsaved

    def elapsed_s(self, now: float) -> float:
        """Return the seconds since the work's start, those that it was lost excluded."""
        return self.pace.elapsed_s(now if self.lost_at is None else self.lost_at)

    def timed(self, steps: Steps, now: float) -> Steps:
        """Return the steps with the running one's seconds."""
        index = steps_of.running(steps)
        if index < 0:
            return steps
        until = now if self.lost_at is None else self.lost_at
        step = replace(steps[index], elapsed_s=round(max(until - self._stepped, 0.0), 3))
        return (*steps[:index], step, *steps[index + 1 :])

    def enter(self, now: float) -> None:
        """Note that a step begins: its counts and its seconds start at 0."""
        self._stepped = now
        self.pace.restart(now)

    def left(self, state: TaskState, now: float, total: float | None) -> dict[str, float | None]:
        """Return a state's fields of the time left.

        They follow from the counts or, with steps, from the whole percent; as long as these say
        nothing, from how long such tasks took so far.
        """
        usual = self.usual
        if state.cancel_requested:
            left, usual = UNKNOWN, None
        else:
            left = self.share.left(now, 100.0) if state.steps else self.pace.left(now, total)
        if usual is not None and left.eta_s is None:
            left = usual.left(self.elapsed_s(now))
        return {
            "eta_s": left.eta_s,
            "eta_low_s": left.eta_low_s,
            "eta_high_s": left.eta_high_s,
            "usual_s": None if usual is None else usual.median_s,
        }


def awake(state: TaskState, *, at: float, lease_s: float) -> TaskState:
    """Return a stored state as its next server goes on with it, at `at` (Unix seconds).

    What it was silent meanwhile is a pause if that is longer than its lease, as it would be for a server
    that is there, or if it was the server's own work, which did not go on.
    """
    if _silent_s(state, at) <= (0 if state.source == "server" else lease_s):
        return state
    return replace(state, updated_at=at)


def _silent_s(state: TaskState, at: float) -> float:
    if state.status is not Status.IN_PROGRESS:
        return 0.0
    return max(at - (state.updated_at or at), 0.0)


def begun(state: TaskState, live: Live, history: History, *, now: float, at: float) -> TaskState:
    """Return what becomes of a queued task whose work begins; of any other, itself."""
    if state.status is not Status.QUEUED:
        return state
    live.restart(now, state.current)
    live.usual = history.usual(state)
    return states.begin(state, at=at, **live.left(state, now, state.total))


def taken(state: TaskState, live: Live, report: Report, *, now: float, at: float) -> TaskState:
    """Return the state after a report.

    Args:
        state: the state before; not terminal.
        live: what else is known of the task; it learns from the report.
        report: what the reporter said.
        now: monotonic seconds.
        at: Unix seconds.
    """
    if SIGNS_OF_LIFE.issuperset(report):
        return state
    reset = bool(report.get("reset"))
    steps, stepped = state.steps, False
    if "step" in report:
        steps, stepped = _entered(steps, live, report["step"], now)
    current = report.get("current", 0 if stepped or reset else state.current)
    counted = finite(current + report.get("advance", 0))
    current = state.current if counted is None else counted
    total = finite(report.get("total", None if stepped else state.total))
    if reset:
        live.pace.restart(now, current)
    live.pace.add(now, current)
    if steps:
        timed = live.timed(steps, now)
        steps = steps_of.count(timed, current=current, total=total, reset=reset)
        live.share.add(now, steps_of.overall(steps, current, total) or 0.0)
    return states.change(
        state,
        at=at,
        reset=reset,
        current=current,
        total=total,
        steps=steps,
        rate=live.pace.rate,
        elapsed_s=live.elapsed_s(now),
        **live.left(state, now, total),
        **_words(report, state),
    )


def _entered(steps: Steps, live: Live, name: str | None, now: float) -> tuple[Steps, bool]:
    index = steps_of.index_of(steps, name) if name is not None else -1
    if index < 0:
        return steps, False
    steps = steps_of.enter(live.timed(steps, now), index)
    live.enter(now)
    return steps, True


def _words(report: Report, state: TaskState) -> dict[str, Any]:
    words: dict[str, Any] = {}
    for name, value in report.items():
        if name in TEXTS:
            words[name] = one_line(str(value), TEXTS[name])
        elif name in OTHERS:
            words[name] = value
        elif name == "files":
            files = report["files"]
            words[name] = tuple(TaskFile(str(f["name"]), int(f["size_bytes"])) for f in files)
    if words.get("title") == "":  # as for a task that is opened without one
        words["title"] = state.name
    return words

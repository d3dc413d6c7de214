"""Says who holds up the loop: a native thread that asks it for a sign of life again and again."""

from __future__ import annotations

import logging
import sys
import traceback

from socketprogress.server.runtime import Runtime

__all__ = ["Watchdog"]

log = logging.getLogger(__name__)

STALL_S = 0.5
EVERY_S = 0.25
FRAMES = 12


class Watchdog:
    """Logs the loop's stack when it has stood still for longer than `STALL_S`.

    In threading mode there is no loop, and nothing to watch.

    Args:
        runtime: the async mode.
    """

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._stopped = runtime.threading.Event()

    def start(self) -> None:
        """Watch from now on."""
        if self._runtime.loop_thread is not None:
            self._runtime.threading.Thread(
                target=self._run, name="socketprogress-watchdog", daemon=True
            ).start()

    def stop(self) -> None:
        """Watch no more."""
        self._stopped.set()

    def _run(self) -> None:
        while not self._stopped.wait(EVERY_S):
            alive = self._runtime.threading.Event()
            self._runtime.call_on_loop(alive.set)
            if alive.wait(STALL_S) or self._stopped.is_set():
                continue
            log.warning("the loop has stood still for %.1f s:\n%s", STALL_S, self._stack())
            while not (alive.wait(EVERY_S) or self._stopped.is_set()):
                pass

    def _stack(self) -> str:
        frame = sys._current_frames().get(self._runtime.loop_thread or 0)
        return "".join(traceback.format_stack(frame)[-FRAMES:]) if frame else "(no stack)"

"""Imports of the sender's thread that no fork may cut in half.

A child forked in the middle of another thread's import would wait for that module for ever.
"""

from __future__ import annotations

import importlib
import os
import threading
from typing import Any

__all__ = ["import_whole"]

PATIENCE_S = 2.0


class _Guard:
    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.held = False

    def before(self) -> None:
        self.held = self.lock.acquire(timeout=PATIENCE_S)

    def in_parent(self) -> None:
        if self.held:
            self.lock.release()

    def in_child(self) -> None:
        self.lock = threading.RLock()


_guard = _Guard()
os.register_at_fork(
    before=_guard.before, after_in_parent=_guard.in_parent, after_in_child=_guard.in_child
)


def import_whole(name: str) -> Any:
    """Import a module while nobody forks."""
    with _guard.lock:
        return importlib.import_module(name)

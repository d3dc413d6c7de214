"""What a monkey-patched application has replaced, and the originals that we go on with.

Such an application has chosen greenlets for everything. Our own native threads are made by the
original `threading` there, and they never log themselves: logging's locks have become green ones,
and a native thread that has to wait for one waits for ever.
"""

from __future__ import annotations

import importlib.util
import logging
import sys
from collections.abc import Callable
from functools import partial
from types import ModuleType
from typing import Any

__all__ = ["green_mode", "green_threading", "log_on_loop", "original_threading"]

PACKAGE = "socketprogress"
COPY = "__socketprogress_threading"
LEVELS = (logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR, logging.CRITICAL)


def green_mode(module: str = "socket") -> str | None:
    """Return which of eventlet and gevent has replaced a module of this process, or None."""
    patcher = sys.modules.get("eventlet.patcher")
    if patcher is not None and patcher.is_monkey_patched(module):
        return "eventlet"
    monkey = sys.modules.get("gevent.monkey")
    if monkey is not None and monkey.is_module_patched(module):
        return "gevent"
    return None


def original_threading() -> ModuleType:
    """Return a `threading` whose threads are native, whatever gevent has done to the known one."""
    if green_mode("threading") != "gevent":
        return sys.modules["threading"]
    if COPY not in sys.modules:
        sys.modules[COPY] = _copy_of_threading()
    return sys.modules[COPY]


def green_threading(spawn: Callable[..., object]) -> ModuleType:
    """Return the application's own `threading` with greenlets for threads that let Ctrl-C through.

    Those that it has made of `threading.Thread` end with the KeyboardInterrupt that happens to hit
    them, and nobody else hears of it.
    """

    class Thread:
        def __init__(self, *, target: Callable[[], None], **_: Any) -> None:
            self._target = target

        def start(self) -> None:
            spawn(self._target)

    module = ModuleType("threading")
    vars(module).update({**vars(sys.modules["threading"]), "Thread": Thread})
    return module


def log_on_loop(is_loop: Callable[[], bool], call_on_loop: Callable[..., Any]) -> None:
    """Have what our native threads log written by the loop from now on."""
    for name in [PACKAGE, *logging.root.manager.loggerDict]:
        if name == PACKAGE or name.startswith(f"{PACKAGE}."):
            logger = logging.getLogger(name)
            for level in LEVELS:  # what is not known yet would be looked up under a green lock
                logger.isEnabledFor(level)
            logger.addFilter(partial(_let_through, logger, is_loop, call_on_loop))


def _let_through(
    logger: logging.Logger,
    is_loop: Callable[[], bool],
    call_on_loop: Callable[..., Any],
    record: logging.LogRecord,
) -> bool:
    if is_loop():
        return True
    call_on_loop(partial(logger.callHandlers, record))
    return False


def _copy_of_threading() -> ModuleType:
    from gevent import monkey  # noqa: PLC0415 - it is loaded already

    known = sys.modules["_thread"]
    original = ModuleType("_thread")
    vars(original).update({**vars(known), **monkey.saved.get("_thread", {})})
    spec = importlib.util.find_spec("threading")
    if spec is None or spec.loader is None:
        raise ImportError("the standard library's threading has gone")
    module = importlib.util.module_from_spec(spec)
    sys.modules["_thread"] = original
    try:
        spec.loader.exec_module(module)
    finally:
        sys.modules["_thread"] = known
    return module

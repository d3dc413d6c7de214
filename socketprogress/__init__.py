"""Real-time progress for long work: set numbers, and every browser and terminal sees them move."""

from __future__ import annotations

import importlib

# For a checker it is true; at run time the first to import `typing` is who needs it.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from socketprogress.client.reporter import Reporter
    from socketprogress.client.tqdm import tqdm, trange
    from socketprogress.client.track import track
    from socketprogress.client.watcher import Client
    from socketprogress.core.errors import (
        Cancelled,
        SocketProgressError,
        TaskCancelled,
        TaskFailure,
    )
    from socketprogress.core.registry import task
    from socketprogress.server.extension import SocketProgress

__version__ = "0.1.0"

_HOMES = {
    "Cancelled": "socketprogress.core.errors",
    "Client": "socketprogress.client.watcher",
    "Reporter": "socketprogress.client.reporter",
    "SocketProgress": "socketprogress.server.extension",
    "SocketProgressError": "socketprogress.core.errors",
    "TaskCancelled": "socketprogress.core.errors",
    "TaskFailure": "socketprogress.core.errors",
    "task": "socketprogress.core.registry",
    "tqdm": "socketprogress.client.tqdm",
    "track": "socketprogress.client.track",
    "trange": "socketprogress.client.tqdm",
}

__all__ = [
    "Cancelled",
    "Client",
    "Reporter",
    "SocketProgress",
    "SocketProgressError",
    "TaskCancelled",
    "TaskFailure",
    "__version__",
    "task",
    "tqdm",
    "track",
    "trange",
]


def __getattr__(name: str) -> Any:
    """Import a public name when it is first asked for: a script's Reporter loads no server."""
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)

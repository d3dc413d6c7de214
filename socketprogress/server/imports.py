"""Socket.IO without the Redis client, which takes a third of the time that a server takes to start.

python-socketio loads it for message queues, if it is installed; our own server has none. Whoever makes
such a queue all the same, in a task say, gets it then.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

__all__ = ["import_socketio"]

CLIENT = "redis"
QUEUES = {"redis_manager": "RedisManager", "async_redis_manager": "AsyncRedisManager"}


def import_socketio() -> None:
    """Import Socket.IO, unless it is there already; nothing else may import meanwhile."""
    if CLIENT in sys.modules or "socketio" in sys.modules:
        return
    sys.modules[CLIENT] = None  # type: ignore[assignment]  # how Python marks what is not to be found
    try:
        importlib.import_module("socketio")
    finally:
        del sys.modules[CLIENT]
    for name, queue in QUEUES.items():
        module = importlib.import_module(f"socketio.{name}")
        _complete_at_use(module, getattr(module, queue))


def _complete_at_use(module: ModuleType, queue: type[Any]) -> None:
    """Give a module what it was made without when its first queue is made."""
    plain: Callable[..., None] = queue.__init__

    def init(self: Any, *args: Any, **options: Any) -> None:
        queue.__init__ = plain
        _complete(module)
        plain(self, *args, **options)

    queue.__init__ = init


def _complete(module: ModuleType) -> None:
    """Import what the module has tried to import; where it is not installed, it says so itself."""
    try:
        client = importlib.import_module(CLIENT)
        loop_client = importlib.import_module(f"{CLIENT}.asyncio")
    except ImportError:
        return
    vars(module).update(redis=client, aioredis=loop_client, RedisError=client.RedisError)

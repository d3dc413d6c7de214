"""Puts the drop-in in the place of tqdm in every process that has this folder on its path.

For tqdm's own tests: whatever name of tqdm's a test uses, and whatever tqdm's own functions make a
bar of, it is a bar of ours, in processes that a test starts too.
"""

from __future__ import annotations

import importlib
import types
from typing import Any

MODULES = (
    "tqdm", "tqdm.std", "tqdm.cli", "tqdm.auto", "tqdm.asyncio", "tqdm.autonotebook",
    "tqdm.contrib", "tqdm.contrib.concurrent", "tqdm.contrib.itertools", "tqdm.contrib.logging",
)  # fmt: skip


def put(old: Any, new: Any) -> None:
    """Replace an object wherever these modules name it: as a global or as a default argument."""
    for name in MODULES:
        module = importlib.import_module(name)
        for key, value in list(vars(module).items()):
            if value is old:
                setattr(module, key, new)
            elif isinstance(value, types.FunctionType):
                value.__defaults__ = _instead(old, new, value.__defaults__)
                keywords = value.__kwdefaults__ or {}
                for keyword in [k for k, default in keywords.items() if default is old]:
                    keywords[keyword] = new


def _instead(old: Any, new: Any, values: tuple[Any, ...] | None) -> tuple[Any, ...] | None:
    return values and tuple(new if value is old else value for value in values)


def substitute() -> None:
    """Put every public name of the drop-in in its place."""
    import tqdm.asyncio
    import tqdm.auto
    import tqdm.contrib.concurrent
    import tqdm.std

    import socketprogress.asyncio
    import socketprogress.auto
    import socketprogress.client.tqdm
    import socketprogress.contrib.concurrent

    theirs = {
        "std": tqdm.std.tqdm,
        "asyncio": tqdm.asyncio.tqdm_asyncio,
        "maps": (tqdm.contrib.concurrent.thread_map, tqdm.contrib.concurrent.process_map),
    }
    if tqdm.auto.tqdm is not theirs["asyncio"]:
        raise RuntimeError("tqdm.auto has chosen a notebook: these are tests for a terminal")
    ours = socketprogress.asyncio.tqdm_asyncio
    tqdm.asyncio.tqdm_asyncio = tqdm.asyncio.tqdm = ours
    put(theirs["asyncio"], socketprogress.auto.tqdm)
    put(theirs["std"], socketprogress.client.tqdm.tqdm)
    put(theirs["maps"][0], socketprogress.contrib.concurrent.thread_map)
    put(theirs["maps"][1], socketprogress.contrib.concurrent.process_map)


substitute()

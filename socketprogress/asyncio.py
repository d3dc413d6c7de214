"""What `tqdm.asyncio` has, live on a server too: ``async for``, `as_completed` and `gather`."""

from __future__ import annotations

from typing import Any

from tqdm import asyncio as theirs

from socketprogress.client import tqdm as client

__all__ = ["tarange", "tqdm", "tqdm_asyncio", "trange"]


class tqdm_asyncio(client.tqdm, theirs.tqdm_asyncio):  # type: ignore[misc]  # noqa: N801 - as there
    """`tqdm.asyncio.tqdm`, unchanged, and a task with the same progress on a server."""


def tarange(*args: Any, **kwargs: Any) -> tqdm_asyncio:
    """Return ``tqdm(range(*args), **kwargs)``."""
    bar: tqdm_asyncio = tqdm_asyncio(range(*args), **kwargs)
    return bar


tqdm = tqdm_asyncio
trange = tarange

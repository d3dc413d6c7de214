"""What `tqdm.auto` chooses, for a terminal or a notebook, live on a server too."""

from __future__ import annotations

from typing import Any

from tqdm.auto import tqdm as tqdm_auto

from socketprogress.client import tqdm as client

__all__ = ["tqdm", "trange"]


class tqdm(client.tqdm, tqdm_auto):  # type: ignore[misc]  # noqa: N801 - as it is called there
    """`tqdm.auto.tqdm`, unchanged, and a task with the same progress on a server."""


def trange(*args: Any, **kwargs: Any) -> tqdm:
    """Return ``tqdm(range(*args), **kwargs)``."""
    bar: tqdm = tqdm(range(*args), **kwargs)
    return bar

"""What `tqdm.contrib.concurrent` has, with bars that are live on a server too."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from socketprogress.auto import tqdm
from socketprogress.client import pools

__all__ = ["process_map", "thread_map"]


def thread_map(fn: Callable[..., Any], *iterables: Iterable[Any], **options: Any) -> list[Any]:
    """Return ``list(map(fn, *iterables))``, computed by threads; the options are tqdm's.

    Raises:
        Cancelled: somebody has asked for the end of the bar's task.
    """
    return pools.thread_map(fn, *iterables, **{"tqdm_class": tqdm, **options})


def process_map(fn: Callable[..., Any], *iterables: Iterable[Any], **options: Any) -> list[Any]:
    """Return ``list(map(fn, *iterables))``, computed by processes; the options are tqdm's.

    Raises:
        Cancelled: somebody has asked for the end of the bar's task.
    """
    return pools.process_map(fn, *iterables, **{"tqdm_class": tqdm, **options})

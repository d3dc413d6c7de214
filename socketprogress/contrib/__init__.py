"""What `tqdm.contrib` has, with bars that are live on a server too."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from tqdm import contrib as theirs

from socketprogress.auto import tqdm

__all__ = ["tenumerate", "tmap", "tzip"]


def tenumerate(
    iterable: Iterable[Any], start: int = 0, total: float | None = None, **options: Any
) -> Iterator[tuple[Any, Any]]:
    """Return ``enumerate(tqdm(iterable), start)``, or numpy's `ndenumerate` of an array."""
    found: Iterator[tuple[Any, Any]] = theirs.tenumerate(
        iterable, start, total, **{"tqdm_class": tqdm, **options}
    )
    return found


def tzip(first: Iterable[Any], *more: Iterable[Any], **options: Any) -> Iterator[tuple[Any, ...]]:
    """Return ``zip(tqdm(first), *more)``."""
    found: Iterator[tuple[Any, ...]] = theirs.tzip(first, *more, **{"tqdm_class": tqdm, **options})
    return found


def tmap(function: Callable[..., Any], *items: Iterable[Any], **options: Any) -> Iterator[Any]:
    """Return ``map(function, tqdm(items), …)``."""
    found: Iterator[Any] = theirs.tmap(function, *items, **{"tqdm_class": tqdm, **options})
    return found

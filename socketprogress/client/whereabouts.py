"""What a server says of itself at its address: where its events are, or that the address is another's."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from socketprogress.core.errors import Unavailable

__all__ = ["Answer", "Unreachable", "Whereabouts", "usual", "whereabouts", "whole"]

EMBEDDED = "/socketprogress"
PREFIX = "/progress"
SOCKET_PATH = "/socket.io"
MOST_BYTES = 65_536
ELSEWHERE = (
    "there is no socketprogress at {url}; inside of another application its prefix is a part of the "
    "address, such as {example}"
)

Answer = tuple[int, bytes]
"""The status of an answer, and its body."""


class Unreachable(Unavailable):
    """Nobody answers at the server's address, or somebody else."""


@dataclass(frozen=True, slots=True)
class Whereabouts:
    """Where a server's events are: a Socket.IO namespace, and the path of Socket.IO."""

    namespace: str
    socket_path: str = SOCKET_PATH


def usual(url: str) -> Whereabouts:
    """Return where the events of a server are that says nothing of them."""
    return Whereabouts(EMBEDDED if urlsplit(url).path.strip("/") else "/")


def whereabouts(url: str, get: Callable[[str], Answer]) -> Whereabouts:
    """Ask a server where its events are; where that is not told, they are where they usually are.

    Args:
        url: the server's base URL.
        get: what to ask with: it gets the URL of a question, follows no redirect, and passes errors on.

    Raises:
        Unreachable: what answers is no socketprogress.
    """
    status, told = _ask(get, url)
    if told is not None:
        return told
    root = urlunsplit((*urlsplit(url)[:2], "", "", ""))
    other = root if urlsplit(url).path.strip("/") else root + PREFIX
    if _ask(get, other)[1] is not None:
        raise Unreachable(f"there is no socketprogress at {url}, but there is one at {other}")
    if status in (200, 404):
        raise Unreachable(ELSEWHERE.format(url=url, example=root + PREFIX))
    return usual(url)  # a login, a limit, a proxy: no word of who is behind it


def whole(chunks: Iterable[bytes], *, timeout_s: float) -> bytes:
    """Return a body that comes in pieces, cut where it is longer or later than such an answer is."""
    body, late = b"", time.monotonic() + timeout_s
    for chunk in chunks:
        body += chunk
        if len(body) > MOST_BYTES or time.monotonic() > late:
            break
    return body


def _ask(get: Callable[[str], Answer], url: str) -> tuple[int, Whereabouts | None]:
    status, body = get(f"{url}/api/connection")
    try:
        told: Any = json.loads(body) if status == 200 else None
    except (ValueError, RecursionError):
        told = None
    if isinstance(told, dict) and isinstance(told.get("namespace"), str):
        path = told.get("socket_path")
        known = Whereabouts(told["namespace"], path if isinstance(path, str) else SOCKET_PATH)
        return status, known
    return status, None

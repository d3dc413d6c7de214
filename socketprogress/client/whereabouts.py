"""What a server says of itself at its address: where its events are, or that the address is another's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit, urlunsplit

from socketprogress.client.link import EMBEDDED
from socketprogress.core.errors import Unavailable

if TYPE_CHECKING:
    import requests

__all__ = ["Unreachable", "Whereabouts", "whereabouts"]

PREFIX = "/progress"
SOCKET_PATH = "/socket.io"
ELSEWHERE = (
    "there is no socketprogress at {url}; inside of another application its prefix is a part of the "
    "address, such as {example}"
)


class Unreachable(Unavailable):
    """Nobody answers at the server's address, or somebody else."""


@dataclass(frozen=True, slots=True)
class Whereabouts:
    """Where a server's events are: a Socket.IO namespace, and the path of Socket.IO."""

    namespace: str
    socket_path: str = SOCKET_PATH


def whereabouts(session: requests.Session, url: str, *, timeout_s: float) -> Whereabouts:
    """Ask a server where its events are; where that is not told, they are where they usually are.

    Args:
        session: what to ask with.
        url: the server's base URL.
        timeout_s: seconds that each answer may take.

    Raises:
        Unreachable: what answers is no socketprogress.
        requests.RequestException: nobody answers.
    """
    status, told = _ask(session, url, timeout_s)
    if told is not None:
        return told
    path = urlsplit(url).path.strip("/")
    root = urlunsplit((*urlsplit(url)[:2], "", "", ""))
    other = root if path else root + PREFIX
    if _ask(session, other, timeout_s)[1] is not None:
        raise Unreachable(f"there is no socketprogress at {url}, but there is one at {other}")
    if status in (200, 404):
        raise Unreachable(ELSEWHERE.format(url=url, example=root + PREFIX))
    # A login, a limit, a proxy: no word of who is behind it.
    return Whereabouts(EMBEDDED if path else "/")


def _ask(session: requests.Session, url: str, timeout_s: float) -> tuple[int, Whereabouts | None]:
    answer = session.get(f"{url}/api/connection", timeout=timeout_s, allow_redirects=False)
    try:
        told: Any = answer.json() if answer.status_code == 200 else None
    except ValueError:
        told = None
    if isinstance(told, dict) and isinstance(told.get("namespace"), str):
        path = told.get("socket_path")
        known = Whereabouts(told["namespace"], path if isinstance(path, str) else SOCKET_PATH)
        return answer.status_code, known
    return answer.status_code, None

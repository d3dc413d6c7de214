"""The delivery of the spool on demand."""

from __future__ import annotations

import threading
import time

from socketprogress.client.backlog import Backlog
from socketprogress.client.exchange import Exchange
from socketprogress.client.link import Broken, Refused
from socketprogress.client.origin import origin_of
from socketprogress.client.outbox import Outbox
from socketprogress.client.sender import numbers
from socketprogress.core.errors import Unauthorized, Unavailable

__all__ = ["deliver_spool"]

LOOK_S = 0.1


def deliver_spool(
    url: str | None = None, token: str | None = None, *, timeout_s: float = 30.0
) -> int:
    """Deliver what earlier processes could not, and return the number of tasks it was about.

    Args:
        url: the server; by default the one that reports go to.
        token: what it asks for.
        timeout_s: seconds after which it stops; what is left stays in the spool.

    Raises:
        Unauthorized: the server wants another token; what it does not take is kept.
        Unavailable: there is no server, or it went away.
    """
    origin = origin_of(url, token)
    if origin is None or not origin.url:
        raise Unavailable("no server is known: name one, or set SOCKETPROGRESS_URL")
    clock, lock = time.monotonic, threading.Lock()
    outbox, backlog = Outbox(numbers()), Backlog(origin.url, clock=clock)
    exchange = Exchange(origin, outbox, lock=lock, backlog=backlog, clock=clock)
    deadline = clock() + timeout_s
    try:
        exchange.connect()
        while clock() < deadline:
            backlog.look(outbox)
            if not backlog.is_delivering:
                break
            exchange.say()
            exchange.wait((), LOOK_S)
            if outbox.barred:
                raise Unauthorized(outbox.barred)
    except Refused as exc:
        raise Unauthorized(str(exc)) from exc
    except Broken as exc:
        raise Unavailable(str(exc)) from exc
    finally:
        exchange.close()
        backlog.release()
    return backlog.delivered

"""How fast one address may ask over HTTP."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable

from socketprogress.core.errors import RateLimited
from socketprogress.server.access import TokenBucket

__all__ = ["Rates", "extra_of_list"]

ADDRESSES = 4_096
TASKS_A_REQUEST = 100


def extra_of_list(tasks: int) -> int:
    """Return what a page that has so many tasks counts for beside itself: one for each hundred."""
    return tasks // TASKS_A_REQUEST


class Rates:
    """A token bucket for each address; of too many addresses the one longest silent is forgotten.

    Args:
        per_s: requests a second.
        burst: how many may come at once after a pause.
        clock: monotonic seconds.
    """

    def __init__(
        self, per_s: float, burst: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._per_s, self._burst, self._clock = per_s, burst, clock
        self._buckets: OrderedDict[str, TokenBucket] = OrderedDict()
        self._lock = threading.Lock()

    def spend(self, address: str) -> None:
        """Take a request.

        Raises:
            RateLimited: the address has asked too much.
        """
        with self._lock:
            wait_s = self._bucket(address).take()
        if wait_s:
            raise RateLimited(
                f"more than {self._per_s:g} requests a second came from here", retry_after_s=wait_s
            )

    def charge(self, address: str, cost: float) -> None:
        """Count what a request that was taken turned out to cost more."""
        if cost:
            with self._lock:
                self._bucket(address).charge(cost)

    def _bucket(self, address: str) -> TokenBucket:
        bucket = self._buckets.pop(address, None)
        if bucket is None:
            bucket = TokenBucket(self._per_s, self._burst, self._clock)
        while len(self._buckets) >= ADDRESSES:
            self._buckets.popitem(last=False)
        self._buckets[address] = bucket
        return bucket

"""A task that does on the loop what nobody should do there."""

from __future__ import annotations

import time

from socketprogress import task


@task(executor="hub")
def standstill() -> str:
    """Hold up the loop."""
    time.sleep(1.5)
    return "done"

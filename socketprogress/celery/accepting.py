"""What workers take from their broker: no pickles, unless the host says so."""

from __future__ import annotations

import logging

from celery import Celery

__all__ = ["refuse_pickle"]

log = logging.getLogger(__name__)

PICKLES = frozenset({"pickle", "application/x-python-serialize"})


def refuse_pickle(app: Celery) -> None:
    """Have a worker refuse pickles: whoever reaches the broker could run anything by them."""
    for name in ("accept_content", "result_accept_content"):
        accepted = app.conf.get(name)
        if accepted and not PICKLES.isdisjoint(accepted):
            left = [one for one in accepted if one not in PICKLES]
            app.conf[name] = left or ["json"]
            log.warning(
                "%s is %s now: pickles are refused; install(…, accept_pickle=True) allows them",
                name,
                app.conf[name],
            )

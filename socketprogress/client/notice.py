"""The one warning that a process gets about its reports; what follows is for debugging."""

from __future__ import annotations

import logging
from typing import Any

__all__ = ["warn_once"]

log = logging.getLogger("socketprogress.client")
_said: list[str] = []


def warn_once(text: str, *args: Any) -> None:
    """Log a warning, unless this process had one already."""
    if _said:
        log.debug(text, *args)
        return
    _said.append(text)
    log.warning(text, *args)

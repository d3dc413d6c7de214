"""The server's log: one line an event on stderr, and never a token in it."""

from __future__ import annotations

import logging
import re

__all__ = ["LEVELS", "set_up"]

LEVELS = ("debug", "info", "warning", "error", "critical")

# These tell of every packet at info; that is for a debug log.
NOISY = ("engineio", "geventwebsocket", "socketio", "werkzeug")
_IN_URL = re.compile(r"(token=)[^&\s\"']+", re.IGNORECASE)
_GIVEN_OUT = re.compile(r"\bspt_[\w-]{8,}")


class OneLine(logging.Formatter):
    """Formats a record as one line (a traceback follows on its own) without secrets.

    Args:
        secret: the server's token, which is blotted out wherever it turns up.
    """

    def __init__(self, secret: str | None) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s")
        self._secret = secret

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's name
        """Return the line, control characters written out."""
        line = super().formatMessage(record)
        return "".join(c if c.isprintable() else repr(c)[1:-1] for c in line)

    def format(self, record: logging.LogRecord) -> str:
        """Return the line and the traceback, if there is one."""
        text = _IN_URL.sub(r"\1…", super().format(record))
        text = _GIVEN_OUT.sub("spt_…", text)
        return text.replace(self._secret, "…") if self._secret else text


def set_up(level: str, *, secret: str | None = None) -> None:
    """Send the process's log to stderr.

    Args:
        level: one of `LEVELS`.
        secret: a text that must not be in it.
    """
    handler = logging.StreamHandler()
    handler.setFormatter(OneLine(secret))
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    for name in NOISY:
        logging.getLogger(name).setLevel(logging.NOTSET if level == "debug" else logging.WARNING)

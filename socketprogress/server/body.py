"""A request's body, read as it comes: whatever has arrived at once, never waiting for more."""

from __future__ import annotations

import io
import select
import time
from typing import Any

from socketprogress.core.errors import InvalidPayload

__all__ = ["Body", "Cut"]

PIECE_BYTES = 128 * 1024
CHUNKED_BYTES = 16 * 1024
PATIENCE_S = 60.0
LINGER_S = 5.0
LINGER_BYTES = 32 << 20


class Cut(Exception):
    """The connection is gone, or nothing came over it for a minute, before the body's end."""


class Body:
    """Reads the body of one request.

    Args:
        environ: the request's WSGI environment.

    Attributes:
        length: the bytes that are announced; None for a body in chunks.
        position: the bytes that have been read.
    """

    def __init__(self, environ: dict[str, Any]) -> None:
        self._stream = environ["wsgi.input"]
        self.position = 0
        chunked = "chunked" in environ.get("HTTP_TRANSFER_ENCODING", "").lower()
        self.length = None if chunked else _length(environ.get("CONTENT_LENGTH"))
        # Servers wrap the connection's file; its `read1` returns what there is.
        self._file = getattr(self._stream, "rfile", self._stream)
        self._is_direct = not chunked and isinstance(self._file, io.BufferedIOBase)
        self._polled = self._poll()
        self._be_patient()

    def read(self) -> bytes:
        """Return what has arrived, waiting for the first byte of it; nothing at the end.

        Raises:
            Cut: the rest does not come.
        """
        left = CHUNKED_BYTES if self.length is None else self.length - self.position
        if left <= 0:
            return b""
        try:
            piece = self._read1(left) if self._is_direct else self._read(left)
        except (OSError, ValueError) as exc:
            slow = isinstance(exc, TimeoutError)
            raise Cut("nothing came for a minute" if slow else "the connection was cut") from exc
        if not piece and self.length is not None:
            raise Cut("the connection was cut")
        self.position += len(piece)
        return piece

    def is_quiet(self) -> bool:
        """Return whether the next `read` would have to wait, as far as that can be known."""
        if self._polled is None:
            return False
        try:
            return not self._polled.poll(0)
        except OSError:
            return True

    def leave(self) -> None:
        """Give up on the rest: the server reads on for a while only, for its answer to be heard."""
        if self._is_direct and self._file is not self._stream:
            self._stream.rfile = _Rest(self._file)

    def _read1(self, left: int) -> bytes:
        if self.position == 0:
            self._stream.read(0)  # tells a client that waits for it to go on
        piece: bytes = self._file.read1(min(left, PIECE_BYTES))
        if self._file is not self._stream:
            self._stream.position += len(piece)
        return piece

    def _read(self, left: int) -> bytes:
        piece: bytes = self._stream.read(min(left, CHUNKED_BYTES))
        return piece

    def _poll(self) -> Any:
        try:
            descriptor = self._file.fileno()
        except (AttributeError, OSError):  # no connection at all
            return None
        polled = select.poll()
        polled.register(descriptor, select.POLLIN)
        return polled

    def _be_patient(self) -> None:
        """Let no client hold a connection for ever, where the server sets no bound itself."""
        connection: Any = getattr(getattr(self._file, "raw", None), "_sock", None)
        if hasattr(connection, "gettimeout") and connection.gettimeout() is None:
            connection.settimeout(PATIENCE_S)


class _Rest:
    """What nobody wants any more of a connection's file: some of it, for some seconds."""

    def __init__(self, file: Any) -> None:
        self._file = file
        self._left = LINGER_BYTES
        self._until = time.monotonic() + LINGER_S

    def read(self, size: int = -1) -> bytes:
        """Read on, or fail, which makes the server close the connection."""
        self._left -= size
        if self._left < 0 or time.monotonic() > self._until:
            raise OSError("the client does not stop sending")
        rest: bytes = self._file.read(size)
        return rest

    def readline(self, size: int = -1) -> bytes:
        """Read a line."""
        line: bytes = self._file.readline(size)
        return line


def _length(text: str | None) -> int | None:
    if not text:
        return 0
    if not (text.isascii() and text.isdigit()):
        raise InvalidPayload("Content-Length must be a number")
    return int(text)

"""From a connection to the disk: bytes gathered into large pieces, written beside the loop."""

from __future__ import annotations

from socketprogress.server.body import Body
from socketprogress.server.upload import Upload
from socketprogress.server.uploading import Uploads

__all__ = ["Stream"]

PIECE_BYTES = 1 << 20


class Stream:
    """One connection that brings an upload's bytes.

    Args:
        uploads: where the upload is.
        upload: the upload.
        body: where its bytes come from.

    Raises:
        Superseded: it is over.
        Unavailable: the disk fails.
    """

    def __init__(self, uploads: Uploads, upload: Upload, body: Body) -> None:
        self._uploads, self._upload, self._body = uploads, upload, body
        self._turn = uploads.begin_writing(upload)
        self._pieces: list[bytes] = []
        self._gathered = 0

    @property
    def size(self) -> int:
        """The bytes that have come, those of earlier connections included."""
        return self._upload.file.size + self._gathered

    def take(self, piece: bytes) -> None:
        """Take bytes; they are on the disk before anybody waits for more.

        Raises:
            Superseded, TooLarge, Unavailable: as `Uploads.write`.
        """
        self._pieces.append(piece)
        self._gathered += len(piece)
        if self._gathered >= PIECE_BYTES or self._body.is_quiet():
            self.flush()

    def flush(self) -> None:
        """Write what has been gathered; raises as `take`."""
        pieces, self._pieces, self._gathered = self._pieces, [], 0
        if pieces:
            self._uploads.write(self._upload, self._turn, pieces)

    def close(self) -> None:
        """Make way for another connection."""
        self._uploads.end_writing(self._upload, self._turn)

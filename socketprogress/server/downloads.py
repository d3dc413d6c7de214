"""Result files: always attachments, read in pieces by a native thread, whole or a part."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO
from urllib.parse import quote

from flask import Response, request
from werkzeug.datastructures import ContentRange
from werkzeug.exceptions import RequestedRangeNotSatisfiable
from werkzeug.http import is_resource_modified

from socketprogress.core.errors import UnknownTask
from socketprogress.server.runtime import Runtime

__all__ = ["send_file"]

PIECE_BYTES = 256 * 1024


def send_file(path: Path, runtime: Runtime) -> Response:
    """Return a file as an attachment; a single `Range` is answered with that part.

    Args:
        path: the file.
        runtime: what reads it beside the loop.

    Raises:
        UnknownTask: it is not there, or is a link.
        RequestedRangeNotSatisfiable (416): the range begins behind the file's end.
    """
    file: BinaryIO = runtime.run_blocking(_open, path)
    stat = os.fstat(file.fileno())
    etag = f"{stat.st_mtime_ns:x}-{stat.st_size:x}"
    try:
        first, end = _part(stat.st_size, etag)
    except RequestedRangeNotSatisfiable:
        file.close()
        raise
    is_part = (first, end) != (0, stat.st_size)
    response = Response(
        _Pieces(file, first, end - first, runtime),
        206 if is_part else 200,
        content_type="application/octet-stream",
        direct_passthrough=True,
    )
    response.content_length = end - first
    response.headers["Content-Disposition"] = _disposition(path.name)
    response.headers["Accept-Ranges"] = "bytes"
    response.headers["Cache-Control"] = "private, no-cache"
    response.set_etag(etag)
    if is_part:
        response.content_range = ContentRange("bytes", first, end, stat.st_size)
    elif not is_resource_modified(request.environ, etag=f'"{etag}"'):
        response.close()
        return Response(status=304, headers={"ETag": f'"{etag}"', "Cache-Control": "no-cache"})
    return response


def _disposition(name: str) -> str:
    plain = re.sub(r"[^ !#-\[\]-~]", "_", name)
    utf8 = quote(name.encode("utf-8", "surrogateescape"), safe="")
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{utf8}"


def _open(path: Path) -> BinaryIO:
    try:
        # A result that has become a link since it was offered may lead anywhere.
        return os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW), "rb")
    except OSError:
        raise UnknownTask(f"there is no file {path.name!r} any more", field="name") from None


def _part(size: int, etag: str) -> tuple[int, int]:
    """Return the first byte and the one behind the last of what is asked for."""
    wanted = request.range
    if wanted is None or wanted.units != "bytes" or len(wanted.ranges) != 1:
        return 0, size
    if "If-Range" in request.headers and request.if_range.etag != etag:
        return 0, size
    part = wanted.range_for_length(size)
    if part is None:
        raise RequestedRangeNotSatisfiable(size, description=f"the file has {size} bytes")
    return part


class _Pieces(Iterator[bytes]):
    """A part of an open file; closed by the server when the response is over, however it ends."""

    def __init__(self, file: BinaryIO, first: int, size_bytes: int, runtime: Runtime) -> None:
        self._file, self._runtime, self._left = file, runtime, size_bytes
        file.seek(first)

    def __next__(self) -> bytes:
        piece = b""
        if self._left > 0:
            most = min(PIECE_BYTES, self._left)
            piece = self._runtime.run_blocking(self._file.read, most)
        if not piece:
            self.close()
            raise StopIteration
        self._left -= len(piece)
        return piece

    def close(self) -> None:
        """Close the file."""
        self._file.close()

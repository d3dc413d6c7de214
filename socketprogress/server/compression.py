"""Answers in gzip for those who take it: pages and JSON on their way out, static files once."""

from __future__ import annotations

import gzip
import io
import secrets

from flask import Response, request

from socketprogress.server.runtime import Runtime

__all__ = ["compress", "compress_once", "takes_gzip"]

# What fits into one packet gets there no sooner for being smaller.
LEAST_BYTES = 1400
TYPES = frozenset({"application/json", "image/svg+xml", "text/html", "text/plain"})
LEVEL = 5
# More than this holds the loop up for longer than a hop to another thread costs.
LARGE_BYTES = 128 * 1024
PADDING_BYTES = 64


def takes_gzip() -> bool:
    """Return whether this request's sender takes gzip, and likes it no less than the plain text.

    Never for a part of something: parts are those of the plain text.
    """
    if "Range" in request.headers:
        return False
    wanted = request.accept_encodings
    return bool(0 < wanted.quality("gzip") >= wanted.quality("identity"))


def compress_once(body: bytes, content_type: str) -> bytes | None:
    """Return a static file's gzip, or None where that is hardly smaller."""
    is_text = content_type.startswith(("text/", "application/", "image/svg"))
    if not is_text or len(body) < LEAST_BYTES:
        return None
    packed = gzip.compress(body, 9, mtime=0)
    return packed if len(packed) < 0.9 * len(body) else None


def compress(response: Response, runtime: Runtime) -> Response:
    """Compress a page or a JSON answer for those who take it.

    The length of an answer that holds a secret beside what an attacker puts into it tells the secret
    bit by bit (BREACH). The secret of a page is the proof in its forms: `csrf` gives that another
    face in every answer. For all else a page says, the length is blurred by some random bytes.

    Args:
        response: a whole answer; files and what streams are left as they are.
        runtime: does what is large in a native thread.
    """
    if response.is_streamed or "Content-Encoding" in response.headers:
        return response
    if response.mimetype not in TYPES:
        return response
    response.vary.add("Accept-Encoding")
    body = response.get_data()
    if not takes_gzip() or len(body) < LEAST_BYTES:
        _keep_weak(response)
        return response
    large = len(body) > LARGE_BYTES
    response.set_data(runtime.run_blocking(_packed, body) if large else _packed(body))
    response.headers["Content-Encoding"] = "gzip"
    tag, _ = response.get_etag()
    if tag is not None:  # a strong one is that of the plain text alone
        response.set_etag(tag, weak=True)
    return response


def _keep_weak(response: Response) -> None:
    """Say that nothing has changed by the very tag that was asked about."""
    tag, is_weak = response.get_etag()
    if response.status_code == 304 and tag is not None and not is_weak:
        response.set_etag(tag, weak=request.if_none_match.is_weak(tag))


def _packed(body: bytes) -> bytes:
    out = io.BytesIO()
    # The name that a gzip may have is nobody's, and as long as it likes.
    name = "x" * secrets.randbelow(PADDING_BYTES)
    with gzip.GzipFile(name, "wb", LEVEL, out, mtime=0) as packer:
        packer.write(body)
    return out.getvalue()

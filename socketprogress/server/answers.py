"""HTTP answers: JSON in and out, errors as clients see them, the headers of every response."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Mapping
from typing import Any

from flask import Response, request
from werkzeug.exceptions import HTTPException

from socketprogress.core.errors import InvalidPayload, RateLimited, TooLarge, WireError
from socketprogress.core.protocol import one_line
from socketprogress.server.settings import Settings

__all__ = ["Failure", "answer", "failure_of", "harden", "query", "read_json", "see_other"]

log = logging.getLogger(__name__)

CSP = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; "
    "require-trusted-types-for 'script'; frame-ancestors "
)
HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Cross-Origin-Resource-Policy": "same-origin",
}
DOCUMENT_HEADERS = {
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}
# What is never a document by itself: a page has thirty of them, and each header thirty times.
PARTS = frozenset({"text/css", "text/javascript"})
CODES = {403: "forbidden", 413: "too_large", 429: "rate_limited"}


class Failure:
    """An error on its way to a client.

    Attributes:
        status: the HTTP status.
        error: ``{code, message, field?}``.
        beside: what stands beside ``error``.
        headers: what the status asks for, such as `Allow`.
    """

    def __init__(
        self,
        status: int,
        error: dict[str, Any],
        *,
        beside: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self.status, self.error = status, error
        self.beside, self.headers = dict(beside or {}), dict(headers or {})


def failure_of(exc: Exception) -> Failure:
    """Return what a client gets to see of an exception; what nobody meant goes into the log."""
    if isinstance(exc, WireError):
        headers = {}
        if isinstance(exc, RateLimited):
            headers["Retry-After"] = str(max(round(exc.retry_after_s), 1))
        if exc.http_status == 401:
            headers["WWW-Authenticate"] = "Bearer"
        return Failure(exc.http_status, exc.to_wire(), beside=exc.beside(), headers=headers)
    if isinstance(exc, HTTPException):
        status = exc.code or 500
        code = CODES.get(status, "invalid_payload" if status < 500 else "unavailable")
        message = {
            404: f"there is nothing at {request.path[:200]!r}",
            405: f"{request.method[:20]} is not allowed at {request.path[:200]!r}",
        }.get(status, exc.description or exc.name)
        allowed = getattr(exc, "valid_methods", None)
        headers = {"Allow": ", ".join(sorted(allowed))} if allowed else {}
        return Failure(status, {"code": code, "message": message}, headers=headers)
    log.error("%s %s failed", request.method, request.path, exc_info=exc)
    message = "the server failed on this request; its log says why"
    return Failure(500, {"code": "unavailable", "message": message})


def answer(
    value: Mapping[str, Any], status: int = 200, headers: Mapping[str, str] | None = None
) -> Response:
    """Return a value as a JSON response."""
    body = json.dumps(value, separators=(",", ":"))
    return Response(body, status, dict(headers or {}), content_type="application/json")


def see_other(url: str) -> Response:
    """Return the redirect after a form: 303, so that the browser goes on with a GET."""
    return Response(status=303, headers={"Location": url})


def read_json(limits: Settings, *, of_any_type: bool = False) -> Any:
    """Return the request's body as the JSON value it is.

    Args:
        limits: the server's bounds.
        of_any_type: whatever its Content-Type says, such as what curl says by itself. Only for
            methods that another site's form cannot send.

    Raises:
        UnsupportedMediaType (415), TooLarge, InvalidPayload: it is not to be had.
    """
    if not (request.is_json or of_any_type):
        raise _NotJson("send JSON, with `Content-Type: application/json`")
    most = limits.max_payload_bytes
    too_large = TooLarge(f"the payload is over the limit of {most:,} bytes")
    if (request.content_length or 0) > most:
        raise too_large
    body = request.stream.read(most + 1)
    if len(body) > most:
        raise too_large
    try:
        return json.loads(body.decode(), object_pairs_hook=_unique)
    except InvalidPayload:
        raise
    except RecursionError:
        raise InvalidPayload(f"the payload is nested over {limits.max_depth} levels") from None
    except ValueError as exc:
        raise InvalidPayload(f"the payload is no JSON: {exc}") from None


def query(names: Iterable[str], *, integers: Iterable[str] = ()) -> dict[str, Any]:
    """Return the request's query as a payload.

    Args:
        names: what may be asked.
        integers: which of these are whole numbers.

    Raises:
        InvalidPayload: an unknown name, one given twice, or a text that is no number.
    """
    found: dict[str, Any] = {}
    known = tuple(names)
    for name, values in request.args.lists():
        if name not in known:
            raise InvalidPayload(
                f"there is no {name[:100]!r} to ask for, only: {', '.join(known)}",
                field=name[:100],
            )
        if len(values) > 1:
            raise InvalidPayload(f"{name} is given {len(values)} times", field=name)
        found[name] = values[0]
    for name in integers:
        if name in found:
            found[name] = _integer(name, found[name])
    return found


def harden(response: Response, *, framed_by: Iterable[str] = ()) -> Response:
    """Add the headers that keep a browser from doing more with a response than it should.

    Args:
        response: the response.
        framed_by: origins whose pages may frame it, `'self'` for our own.
    """
    for name, value in HEADERS.items():
        response.headers.setdefault(name, value)
    response.headers.setdefault("Cache-Control", "no-store")
    if response.mimetype in PARTS:
        return response
    ancestors = " ".join(framed_by) or "'none'"
    response.headers.setdefault("Content-Security-Policy", CSP + ancestors)
    for name, value in DOCUMENT_HEADERS.items():
        response.headers.setdefault(name, value)
    if not framed_by:
        response.headers.setdefault("X-Frame-Options", "DENY")
    return response


class _NotJson(WireError):
    code = "invalid_payload"
    http_status = 415


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise InvalidPayload(f"{name[:100]!r} is there twice", field=one_line(name, 100))
        found[name] = value
    return found


def _integer(name: str, text: str) -> int:
    digits = text.removeprefix("-")
    if not (digits.isascii() and digits.isdigit() and len(digits) < 20):
        raise InvalidPayload(f"{name} must be an integer, not {text[:80]!r}", field=name)
    return int(text)

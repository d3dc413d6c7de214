"""A multipart body, part by part as it comes: fields whole, the file in pieces."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from werkzeug.exceptions import RequestEntityTooLarge
from werkzeug.http import parse_options_header
from werkzeug.sansio import multipart

from socketprogress.core.errors import InvalidPayload, TooLarge
from socketprogress.core.protocol import one_line
from socketprogress.server.body import Body

__all__ = ["Field", "FileBegins", "FileEnds", "FilePiece", "Part", "boundary_of", "parts"]

BUFFER_BYTES = 1 << 20
MOST_PARTS = 200


@dataclass(frozen=True, slots=True)
class Field:
    """A field and its text."""

    name: str
    text: str


@dataclass(frozen=True, slots=True)
class FileBegins:
    """A file, as the client calls it; `most` is what it can have at most, None if unknown."""

    name: str
    filename: str
    most: int | None


@dataclass(frozen=True, slots=True)
class FilePiece:
    """Some of the file's bytes."""

    data: bytes


@dataclass(frozen=True, slots=True)
class FileEnds:
    """The file is there as a whole."""


Part = Field | FileBegins | FilePiece | FileEnds


def boundary_of(content_type: str) -> bytes:
    """Return what separates the parts.

    Raises:
        InvalidPayload: this is no multipart form.
    """
    kind, options = parse_options_header(content_type)
    boundary = options.get("boundary", "")
    if kind.lower() != "multipart/form-data" or not boundary.isascii() or not boundary:
        raise InvalidPayload("send the file as multipart/form-data, in the field `file`")
    return boundary.encode()


def parts(body: Body, boundary: bytes, *, field_bytes: int) -> Iterator[Part]:
    """Yield the parts in their order, each as soon as it is there.

    Args:
        body: what is read.
        boundary: what separates them.
        field_bytes: what all fields together may have.

    Raises:
        Cut: the body is over before its last boundary.
        InvalidPayload, TooLarge: it is no form, or its fields are over the bounds.
    """
    decoder = multipart.MultipartDecoder(boundary, BUFFER_BYTES, max_parts=MOST_PARTS)
    reader = _Parts(decoder, body, field_bytes)
    try:
        while not reader.over:
            piece = body.read()
            decoder.receive_data(piece or None)
            yield from reader.ready()
    except RequestEntityTooLarge:
        raise TooLarge("a part's header is too long, or there are too many parts") from None
    except ValueError as exc:
        if isinstance(exc, InvalidPayload | TooLarge):
            raise
        raise InvalidPayload(f"the body is no multipart form: {one_line(str(exc), 200)}") from None


class _Parts:
    """Makes parts of the decoder's events."""

    def __init__(self, decoder: multipart.MultipartDecoder, body: Body, field_bytes: int) -> None:
        self._decoder, self._body, self._left = decoder, body, field_bytes
        self._field: tuple[str, bytearray] | None = None
        self.over = False

    def ready(self) -> Iterator[Part]:
        """Yield what can be made of what has been received."""
        while True:
            event = self._decoder.next_event()
            if isinstance(event, multipart.NeedData):
                return
            if isinstance(event, multipart.Epilogue):
                self.over = True
                return
            yield from self._part(event)

    def _part(self, event: multipart.Event) -> Iterator[Part]:
        if isinstance(event, multipart.Field):
            self._field = (_named(event.name), bytearray())
        elif isinstance(event, multipart.File):
            self._field = None
            yield FileBegins(_named(event.name), event.filename, self._most())
        elif isinstance(event, multipart.Data):
            if self._field is not None:
                yield from self._of_field(*self._field, event)
                return
            if event.data:
                yield FilePiece(event.data)
            if not event.more_data:
                yield FileEnds()

    def _of_field(self, name: str, text: bytearray, event: multipart.Data) -> Iterator[Part]:
        text += event.data
        self._left -= len(event.data)
        if self._left < 0:
            raise TooLarge("the fields are too long", field=one_line(name, 100))
        if not event.more_data:
            try:
                yield Field(name, text.decode())
            except UnicodeDecodeError:
                raise InvalidPayload(
                    f"the field {one_line(name, 100)!r} is no UTF-8", field=one_line(name, 100)
                ) from None

    def _most(self) -> int | None:
        """Return the bytes that are left for the file, if it is the last part."""
        if self._body.length is None:
            return None
        left = self._body.length - self._body.position + len(self._decoder.buffer)
        return max(left - len(b"\r\n") - len(b"\r\n--") - len(self._decoder.boundary) - 4, 0)


def _named(name: str | None) -> str:
    if not name:
        raise InvalidPayload("a part of the form has no name")
    return name

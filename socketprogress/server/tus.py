"""Uploads that go on after a cut: tus 1.0.0, core, creation, expiration and termination.

Source: https://tus.io/protocols/resumable-upload
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Mapping
from email.utils import formatdate
from functools import wraps

from flask import Blueprint, Response, request

from socketprogress.core.errors import (
    InvalidPayload,
    TaskEnded,
    TooLarge,
    Unavailable,
    UnknownTask,
    WireError,
)
from socketprogress.core.protocol import check_task_id, one_line
from socketprogress.core.state import TaskError, TaskState
from socketprogress.server.answers import answer, failure_of
from socketprogress.server.body import Body, Cut
from socketprogress.server.face import Face
from socketprogress.server.principals import needs
from socketprogress.server.stream import Stream
from socketprogress.server.upload import Upload
from socketprogress.server.uploadplan import wanted_of
from socketprogress.server.uploads import permitted

__all__ = ["add_tus", "metadata_of"]

VERSION = "1.0.0"
EXTENSIONS = "creation,creation-defer-length,creation-with-upload,expiration,termination"
OFFSET_STREAM = "application/offset+octet-stream"
TEXTS = ("task", "args", "title", "task_id")
METADATA_CHARS = 64 * 1024
NUMBER = re.compile(r"[0-9]{1,18}\Z")

View = Callable[..., Response]


class _Gone(TaskEnded):
    """The upload was there and is over."""

    code = "unknown_task"
    http_status = 404


class _WrongVersion(InvalidPayload):
    """The client speaks another version of tus."""

    http_status = 412


class _WrongType(InvalidPayload):
    """A PATCH that is no stream of bytes at an offset."""

    http_status = 415


class _WrongOffset(InvalidPayload):
    """The client would go on elsewhere than where the file ends."""

    http_status = 409


class _Unheard(TaskEnded):
    """Nobody is there to read the answer; what has arrived stays."""

    http_status = 400


class _Overlong(TaskEnded):
    """More bytes than were announced; those before stay."""

    code = "too_large"
    http_status = 413


def add_tus(blueprint: Blueprint, face: Face) -> None:
    """Add the routes to the blueprint."""

    @blueprint.route("/api/uploads/tus", methods=["OPTIONS", "POST"])
    @needs("start")
    @_speaking(face)
    def tus_create() -> Response:
        if request.method == "OPTIONS":
            most = face.service.settings.max_upload_bytes
            headers = {"Tus-Extension": EXTENSIONS, "Tus-Max-Size": str(most)}
            return Response(status=204, headers={"Tus-Version": VERSION, **headers})
        return _create(face)

    @blueprint.route("/api/uploads/tus/<task_id>", methods=["HEAD", "PATCH", "DELETE", "POST"])
    @needs("cancel")
    @_speaking(face)
    def tus_upload(task_id: str) -> Response:
        method = request.method
        if method == "POST":  # some networks let nothing else through
            method = request.headers.get("X-HTTP-Method-Override", "").upper()
        acts = {"HEAD": _tell, "PATCH": _go_on, "DELETE": _terminate}
        if method not in acts:
            raise InvalidPayload("X-HTTP-Method-Override must be HEAD, PATCH or DELETE")
        return acts[method](face, check_task_id(task_id))


def metadata_of(text: str) -> dict[str, str]:
    """Return what `Upload-Metadata` says.

    Raises:
        InvalidPayload: it is not well-formed.
    """
    if len(text) > METADATA_CHARS:
        raise TooLarge("Upload-Metadata is too long")
    found: dict[str, str] = {}
    for pair in filter(None, (part.strip() for part in text.split(","))):
        key, _, value = pair.partition(" ")
        if key in found:
            raise InvalidPayload(f"{one_line(key, 100)!r} is there twice in Upload-Metadata")
        try:
            found[key] = base64.b64decode(value.strip(), validate=True).decode()
        except (ValueError, binascii.Error) as exc:
            reason = one_line(str(exc), 200)
            raise InvalidPayload(
                f"Upload-Metadata is not well-formed: {reason}", field=one_line(key, 100)
            ) from None
    return found


def _speaking(face: Face) -> Callable[[View], View]:
    """Return a decorator of views that speak tus, in their errors too."""

    def decorate(view: View) -> View:
        @wraps(view)
        def speak(**args: str) -> Response:
            try:
                if request.method != "OPTIONS":
                    _check_version()
                response = view(**args)
            except WireError as exc:
                failure = failure_of(_while_stopping(face, exc))
                face.service.metrics.refused("http", failure.error["code"])
                body = {"error": failure.error, **failure.beside}
                response = answer(body, failure.status, failure.headers)
                if isinstance(exc, _WrongVersion):
                    response.headers["Tus-Version"] = VERSION
            response.headers["Tus-Resumable"] = VERSION
            response.headers["Cache-Control"] = "no-store"
            return response

        return speak

    return decorate


def _while_stopping(face: Face, exc: WireError) -> WireError:
    """Have clients ask the next server, which no longer has the upload, and begin it anew."""
    if isinstance(exc, TaskEnded) and face.service.uploads.stopping:
        return Unavailable("the server is stopping: ask again later")
    return exc


def _check_version() -> None:
    given = request.headers.get("Tus-Resumable", "")
    if given != VERSION:
        raise _WrongVersion(
            f"this server speaks tus {VERSION}, not {one_line(given, 20) or 'none'}: "
            f"send `Tus-Resumable: {VERSION}`"
        )


def _create(face: Face) -> Response:
    """Begin an upload, or find the one that has its `task_id` already: 201 with its address."""
    uploads, settings = face.service.uploads, face.service.settings
    given = request.headers.get("Upload-Metadata", "")
    metadata = metadata_of(given)
    texts = {name: metadata[name] for name in TEXTS if name in metadata}
    wanted, length = wanted_of(texts, settings), _length()
    if wanted.task_id is not None and face.permits.seek(wanted.task_id) is not None:
        face.permits.need(face.principal(), "cancel", wanted.task_id)
        return _created(face, face.service.hub.get(wanted.task_id))
    plan = uploads.plan(wanted)
    wanted = permitted(face, wanted, plan)
    name = metadata.get("filename") or metadata.get("name") or ""
    with face.permits.hiding(face.principal()):
        upload = uploads.open(wanted, plan, file_name=name, length=length, metadata=given)
    if request.mimetype == OFFSET_STREAM:
        _receive(face, upload, Body(request.environ))
    elif length == 0:
        uploads.finish(upload)
    return _created(face, face.service.hub.get(upload.task_id))


def _created(face: Face, state: TaskState) -> Response:
    headers = {"Location": face.url("tus_upload", state.task_id), **_standing(face, state.task_id)}
    body = {"task_id": state.task_id, "task": face.snapshot(state)}
    return answer(body, 201, headers)


def _tell(face: Face, task_id: str) -> Response:
    """Say how much has arrived; whoever asks goes on, so that a connection before is given up."""
    uploads = face.service.uploads
    upload = uploads.find(task_id)
    if upload is None:
        _finished(face, task_id)
        return Response(status=200, headers=_standing(face, task_id))
    uploads.end_writing(upload, uploads.begin_writing(upload))
    headers = {"Upload-Metadata": upload.metadata} if upload.metadata else {}
    if upload.length is None:
        headers["Upload-Defer-Length"] = "1"
    return Response(status=200, headers={**headers, **_standing(face, task_id)})


def _go_on(face: Face, task_id: str) -> Response:
    """Take the next bytes, and keep of them what arrives."""
    uploads = face.service.uploads
    body = Body(request.environ)
    if request.mimetype != OFFSET_STREAM:
        raise _WrongType(f"send `Content-Type: {OFFSET_STREAM}`")
    offset = _number("Upload-Offset")
    if offset is None:
        raise InvalidPayload("Upload-Offset must be a number", field="Upload-Offset")
    upload = uploads.find(task_id)
    size = _finished(face, task_id) if upload is None else None
    try:
        if upload is None:
            _check_offset(offset, size or 0)
        else:
            _announce(face, upload)
            _receive(face, upload, body, offset)
    except WireError as exc:
        body.leave()
        raise exc from None
    return Response(status=204, headers=_standing(face, task_id))


def _terminate(face: Face, task_id: str) -> Response:
    """End an upload, or the work on it."""
    face.service.hub.get(task_id)
    if face.service.uploads.find(task_id) is None:
        _finished(face, task_id)
    try:
        face.service.cancel(task_id)
    except TaskEnded as exc:
        raise _Gone(exc.message) from None
    return Response(status=204)


def _receive(face: Face, upload: Upload, body: Body, offset: int | None = None) -> None:
    """Write the request's body behind what is there, and end the upload with its last byte."""
    uploads = face.service.uploads
    stream = Stream(uploads, upload, body)
    try:
        _check_offset(stream.size if offset is None else offset, stream.size)
        _check_fits(upload, stream.size + (body.length or 0))
        _drain(body, stream, upload)
        if upload.length == upload.file.size:
            uploads.finish(upload)
    except (TaskEnded, _WrongOffset):
        raise
    except WireError as exc:
        uploads.fail(upload, TaskError("exception", exc.message))
        raise
    finally:
        stream.close()


def _drain(body: Body, stream: Stream, upload: Upload) -> None:
    try:
        while piece := body.read():
            _check_fits(upload, stream.size + len(piece))
            stream.take(piece)
    except Cut as exc:
        raise _Unheard(str(exc)) from None
    finally:
        stream.flush()


def _check_offset(given: int, size: int) -> None:
    if given != size:
        raise _WrongOffset(f"{size} bytes are there: go on behind them, not at {given}")


def _check_fits(upload: Upload, size: int) -> None:
    if upload.length is not None and size > upload.length:
        raise _Overlong(f"the upload has {upload.length} bytes, and more came")


def _announce(face: Face, upload: Upload) -> None:
    """Take the length of an upload that was begun without one."""
    length = _number("Upload-Length")
    if length is None:
        return
    if upload.length is None:
        face.service.uploads.announce(upload, length)
    elif upload.length != length:
        raise InvalidPayload("Upload-Length is not what it was", field="Upload-Length")


def _finished(face: Face, task_id: str) -> int:
    """Return the size of an upload that is whole.

    Raises:
        UnknownTask, _Gone: there is none.
    """
    size = face.service.uploads.finished(task_id)
    state = face.service.hub.find(task_id)
    if state is None:
        raise UnknownTask.of(task_id)
    if size is None:
        raise _Gone(f"the upload {task_id} is over, or is none that can be resumed")
    return size


def _standing(face: Face, task_id: str) -> Mapping[str, str]:
    """Return the headers that say how far an upload is."""
    uploads = face.service.uploads
    upload = uploads.find(task_id)
    if upload is None:
        size = uploads.finished(task_id)
        return {} if size is None else {"Upload-Offset": str(size), "Upload-Length": str(size)}
    headers = {
        "Upload-Offset": str(upload.file.size),
        "Upload-Expires": formatdate(uploads.expires_at(upload), usegmt=True),
    }
    if upload.length is not None:
        headers["Upload-Length"] = str(upload.length)
    return headers


def _length() -> int | None:
    """Return the announced length, or None where it comes later."""
    length = _number("Upload-Length")
    if length is None and request.headers.get("Upload-Defer-Length") != "1":
        raise InvalidPayload("Upload-Length must be a number", field="Upload-Length")
    return length


def _number(name: str) -> int | None:
    text = request.headers.get(name)
    if text is None:
        return None
    if not NUMBER.match(text):
        raise InvalidPayload(f"{name} must be a number", field=name)
    return int(text)

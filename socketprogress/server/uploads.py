"""`POST /api/uploads`: a multipart form with a file, streamed to the disk; pages send it, too."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from flask import Blueprint, Response, request

from socketprogress.core.errors import InvalidArguments, InvalidPayload, TooLarge, WireError
from socketprogress.core.protocol import one_line
from socketprogress.core.state import TaskError, TaskState
from socketprogress.server.answers import answer, failure_of, query, see_other
from socketprogress.server.body import Body, Cut
from socketprogress.server.csrf import check_csrf
from socketprogress.server.face import Face
from socketprogress.server.forms import arguments
from socketprogress.server.multipart import (
    Field,
    FileBegins,
    FileEnds,
    FilePiece,
    boundary_of,
    parts,
)
from socketprogress.server.pages import error_page
from socketprogress.server.payloads import StartRequest, clean
from socketprogress.server.principals import needs
from socketprogress.server.stream import Stream
from socketprogress.server.upload import Upload, size_of
from socketprogress.server.uploadplan import Plan, wanted_of

__all__ = ["add_uploads", "permitted"]

TEXTS = ("task", "args", "title", "task_id")
OVERHEAD_BYTES = 1 << 20


def add_uploads(blueprint: Blueprint, face: Face) -> None:
    """Add the route to the blueprint."""

    @blueprint.post("/api/uploads")
    @needs("start")
    def api_upload() -> Response:
        """Take a file: 201; 200 where the `task_id` given is that of a task there is already."""
        body = Body(request.environ)
        try:
            form = Form(face, body)
            state = form.receive()
        except WireError as exc:
            body.leave()
            if not _is_page():
                raise exc from None
            failure = failure_of(exc)
            face.service.metrics.refused("http", failure.error["code"])
            return error_page(face, failure)
        if form.is_page:
            return see_other(face.url("task", state.task_id))
        headers = {"Location": face.url("api_task", state.task_id)}
        if form.is_known:
            body.leave()
            headers["Connection"] = "close"
        content = {"task_id": state.task_id, "task": face.snapshot(state)}
        return answer(content, 200 if form.is_known else 201, headers)


def _is_page() -> bool:
    return "text/html" in request.headers.get("Accept", "")


def permitted(face: Face, wanted: StartRequest, plan: Plan) -> StartRequest:
    """Return what the visitor wants, if they may; raises as `Permits.start`."""
    return face.permits.start(face.principal(), wanted, plan.name)


class Form:
    """One multipart request, from its first part to its task.

    Args:
        face: the server's.
        body: the request's body.

    Attributes:
        is_page: a browser has sent it from one of our pages.
        is_known: the task was there before.

    Raises:
        InvalidPayload: it is no form.
        TooLarge: it announces more than there may be.
    """

    def __init__(self, face: Face, body: Body) -> None:
        self._face, self._body = face, body
        self._uploads = face.service.uploads
        self._settings = face.service.settings
        self._boundary = boundary_of(request.headers.get("Content-Type", ""))
        self._fields: dict[str, str] = dict(query(("task",)))
        self._upload: Upload | None = None
        self._stream: Stream | None = None
        self._whole = False
        self.is_page = _is_page()
        self.is_known = False
        most = self._settings.max_upload_bytes
        if (body.length or 0) > most + OVERHEAD_BYTES:
            raise TooLarge(f"an upload has {size_of(most)} at most")

    def receive(self) -> TaskState:
        """Take all parts and return the state of the task that the file is for.

        Raises:
            WireError: it cannot be taken; nothing of it is left.
        """
        try:
            known = self._take_parts()
            return self._finished() if known is None else known
        except Cut as exc:
            self._failed(TaskError("interrupted", f"{exc} before the file was there"))
            raise InvalidPayload(f"{exc} before the form's end") from None
        except WireError as exc:
            self._failed(TaskError("exception", exc.message))
            raise
        finally:
            if self._stream is not None:
                self._stream.close()

    def _take_parts(self) -> TaskState | None:
        bound = self._settings.max_payload_bytes
        for part in parts(self._body, self._boundary, field_bytes=bound):
            if isinstance(part, Field):
                self._take_field(part)
            elif isinstance(part, FileBegins):
                known = self._known()
                if known is not None:
                    return known
                self._begin(part)
            elif self._stream is None:
                raise InvalidPayload("choose a file", field="file")
            elif isinstance(part, FilePiece):
                self._stream.take(part.data)
            elif isinstance(part, FileEnds):
                self._stream.flush()
                self._whole = True
        return None

    def _take_field(self, field: Field) -> None:
        name = one_line(field.name, 100)
        if field.name == "file" and not self.is_page:
            raise InvalidPayload("file must be a file, with a name", field="file")
        if field.name in self._fields and field.name != "task":
            raise InvalidPayload(f"{name!r} is there twice", field=name)
        if field.name not in TEXTS and not self.is_page:
            known = ", ".join(("file", *TEXTS))
            raise InvalidPayload(f"there is no {name!r}, only: {known}", field=name)
        if field.name == "task_id" and self._upload is not None:
            raise InvalidPayload("task_id must come before the file", field="task_id")
        self._fields[field.name] = field.text

    def _known(self) -> TaskState | None:
        """Return the task that has the id which is wanted, if the visitor may see it."""
        wanted = self._wanted()
        if wanted.task_id is None or self._face.permits.seek(wanted.task_id) is None:
            return None
        self._face.permits.need(self._face.principal(), "view", wanted.task_id)
        self.is_known = True
        return self._face.service.hub.get(wanted.task_id)

    def _begin(self, part: FileBegins) -> None:
        if part.name != "file":
            raise InvalidPayload("the file belongs in the field `file`", field="file")
        if self._upload is not None:
            raise InvalidPayload("one file at a time", field="file")
        if self.is_page:
            check_csrf(self._fields.get("csrf_token"))
        if not part.filename:
            raise InvalidPayload("choose a file", field="file")
        wanted = self._wanted()
        plan = self._early_plan(wanted)
        wanted = permitted(self._face, wanted, plan)
        with self._face.permits.hiding(self._face.principal()):
            self._upload = self._uploads.open(
                wanted, plan, file_name=part.filename, total=part.most, lax=self.is_page
            )
        self._stream = Stream(self._uploads, self._upload, self._body)

    def _early_plan(self, wanted: StartRequest) -> Plan:
        """Return what is known before the file; of other clients than pages more may follow it."""
        if self.is_page:
            return self._uploads.plan(wanted, lax=True)
        try:
            return self._uploads.plan(wanted, is_open="task" not in self._fields)
        except InvalidArguments as exc:
            if "args" in self._fields or exc.field == "task":
                raise
            return self._uploads.plan(replace(wanted, task=None), is_open=True)

    def _wanted(self) -> StartRequest:
        texts = {name: text for name, text in self._fields.items() if name in TEXTS}
        wanted = wanted_of(texts, self._settings)
        return wanted if not self.is_page else replace(wanted, args=self._form_args(wanted.task))

    def _form_args(self, task: str | None) -> dict[str, Any]:
        """Return the arguments of a page's form: its fields `definition:argument`, or `argument`."""
        if task is None:
            return {}
        binding = self._face.service.registry.get(task).binding
        rest = {}
        for name, text in self._fields.items():
            of, colon, argument = name.rpartition(":")
            if of == task or not (colon or name in {*TEXTS, "csrf_token"}):
                rest[argument] = text
        rest.pop(binding.file or "", None)
        args = arguments(rest, binding.schema())
        return dict(clean(args, most_deep=self._settings.max_depth))

    def _finished(self) -> TaskState:
        upload = self._upload
        if upload is None or not self._whole:
            raise InvalidPayload("there is no file in this form", field="file")
        wanted, before = self._wanted(), upload.wanted
        is_new = (wanted.task, wanted.args, wanted.title) != (
            before.task,
            before.args,
            before.title,
        )
        if not is_new and (wanted.task is None or not upload.plan.is_open):
            return self._uploads.finish(upload)
        plan = self._uploads.plan(wanted, lax=self.is_page)
        wanted = permitted(self._face, replace(wanted, task_id=None), plan)
        with self._face.permits.hiding(self._face.principal()):
            return self._uploads.finish(upload, wanted)

    def _failed(self, error: TaskError) -> None:
        if self._upload is not None:
            self._uploads.fail(self._upload, error)

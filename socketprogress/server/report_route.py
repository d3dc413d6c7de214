"""`PUT /api/tasks/<id>`: a reporter for whatever has curl."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, Response

from socketprogress.core.desk import check_step
from socketprogress.core.errors import InvalidPayload
from socketprogress.core.protocol import check_task_id
from socketprogress.core.reports import OPEN_FIELDS, REPORT_FIELDS, one_report, open_request
from socketprogress.server.answers import answer, read_json
from socketprogress.server.face import Face
from socketprogress.server.payloads import fields_of
from socketprogress.server.principals import needs

__all__ = ["add_reporting"]

FIELDS = (*OPEN_FIELDS, *(name for name in REPORT_FIELDS if name not in OPEN_FIELDS))
NAME = "report"
STORED_WITHIN_S = 20.0


def add_reporting(blueprint: Blueprint, face: Face) -> None:
    """Add the route to the blueprint."""
    service = face.service

    @blueprint.put("/api/tasks/<task_id>")
    @needs("open")
    def api_put(task_id: str) -> Response:
        """Create (201) or update (200) a task; its end is stored before this answers."""
        check_task_id(task_id)
        given = _given(read_json(service.settings, of_any_type=True), task_id, face)
        wanted = open_request(_opening(given), service.settings)
        report = one_report(_part(given, REPORT_FIELDS), service.settings)
        is_new = False
        if face.permits.seek(task_id) is None:
            wanted = face.permits.open(face.principal(), wanted)
            check_step(report, wanted.steps)
            _, is_new = service.reporting.open(wanted)
        else:
            face.permits.need(face.principal(), "report", task_id)
        for _, error in service.reporting.take([report], stored_within_s=STORED_WITHIN_S):
            raise error
        headers = {"Location": face.url("api_task", task_id)} if is_new else {}
        body = {"task_id": task_id, "task": face.snapshot(service.hub.get(task_id))}
        return answer(body, 201 if is_new else 200, headers)


def _given(data: Any, task_id: str, face: Face) -> dict[str, Any]:
    given = fields_of(data, FIELDS, face.service.settings)
    if given.setdefault("task_id", task_id) != task_id:
        raise InvalidPayload("task_id is not that of the URL", field="task_id")
    return given


def _opening(given: dict[str, Any]) -> dict[str, Any]:
    opening = {k: v for k, v in _part(given, OPEN_FIELDS).items() if v is not None}
    if "name" not in opening:
        opening.setdefault("title", given["task_id"])
    return {"name": NAME, **opening}


def _part(given: dict[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    return {name: value for name, value in given.items() if name in names}

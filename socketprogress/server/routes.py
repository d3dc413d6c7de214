"""The JSON API, and the blueprint that holds it together with the pages."""

from __future__ import annotations

import math
import time
from typing import Any

from flask import Blueprint, Response, current_app, g, request
from flask.blueprints import BlueprintSetupState
from werkzeug.exceptions import HTTPException

from socketprogress.core.errors import Forbidden, InvalidPayload, UnknownTask
from socketprogress.core.protocol import check_task_id, summary
from socketprogress.core.state import TaskState
from socketprogress.server.access import Access, Role, needed_role, needs
from socketprogress.server.answers import answer, failure_of, harden, query, read_json
from socketprogress.server.assets import Assets, find
from socketprogress.server.downloads import send_file
from socketprogress.server.face import Face
from socketprogress.server.pages import add_pages, arrive, error_page, login_page
from socketprogress.server.payloads import list_request, log_request, start_request
from socketprogress.server.report_route import add_reporting
from socketprogress.server.runtime import Runtime
from socketprogress.server.service import Service

__all__ = ["make_blueprint"]

LONGEST_WAIT_S = 60.0
YEAR_S = 31_536_000
JSON_PATHS = ("/api", "/healthz", "/metrics", "/static")


def make_blueprint(
    service: Service,
    access: Access,
    runtime: Runtime,
    *,
    name: str = "socketprogress",
    namespace: str = "/",
    socket_path: str = "/socket.io",
    refresh_s: int = 5,
) -> Blueprint:
    """Return every route but those of reporters, uploads and metrics.

    What is added to the blueprint later is behind the same door: a view needs the operator's role
    unless `access.needs` says otherwise.

    Args:
        service: what carries out what is asked for.
        access: who may ask.
        runtime: how to wait without holding up others.
        name: the blueprint's name.
        namespace: the Socket.IO namespace of the events, for the pages.
        socket_path: where Socket.IO is.
        refresh_s: seconds after which a page without JavaScript loads itself again.
    """
    face = Face(
        service=service,
        access=access,
        runtime=runtime,
        assets=Assets(),
        name=name,
        namespace=namespace,
        socket_path="/" + socket_path.strip("/"),
        refresh_s=refresh_s,
    )
    blueprint = Blueprint(name, __name__, template_folder=str(find("templates")))
    _add_door(blueprint, face)
    _add_failures(blueprint, face)
    _add_reading(blueprint, face)
    _add_acting(blueprint, face)
    add_reporting(blueprint, face)
    _add_open(blueprint, face)
    add_pages(blueprint, face)
    return blueprint


def _is_json(path: str, prefix: str) -> bool:
    inner = path[len(prefix) :]
    return any(inner == start or inner.startswith(f"{start}/") for start in JSON_PATHS)


def _add_door(blueprint: Blueprint, face: Face) -> None:
    @blueprint.before_request
    def door() -> Response | None:
        role = needed_role(current_app.view_functions.get(request.endpoint or ""))
        if role is None:
            return None
        if not _is_json(request.path, _mounted(face)):
            shown = arrive(face) or (login_page(face, 401) if face.role() is None else None)
            if shown is not None:
                return shown
        has = g.socketprogress_role = face.access.connection(request.environ)
        face.access.need(has, role)
        return None

    @blueprint.after_request
    def hardened(response: Response) -> Response:
        if request.endpoint == f"{face.name}.embed" and response.status_code == 200:
            return harden(response, framed_by=("'self'", *face.access.settings.origins))
        return harden(response)


def _mounted(face: Face) -> str:
    """Return the blueprint's prefix within the application."""
    return face.prefix()[len(request.script_root) :]


def _add_failures(blueprint: Blueprint, face: Face) -> None:
    def failed(exc: Exception) -> Response:
        failure = failure_of(exc)
        if _is_json(request.path, _mounted(face)):
            body = {"error": failure.error, **failure.beside}
            return answer(body, failure.status, failure.headers)
        return error_page(face, failure)

    blueprint.register_error_handler(Exception, failed)

    @blueprint.record_once
    def unmatched(state: BlueprintSetupState) -> None:
        # A path without a route belongs to no blueprint; the host application keeps its own ones.
        theirs = state.app.error_handler_spec[None][None].get(HTTPException)

        def elsewhere(exc: HTTPException) -> Any:
            mounted = _mounted(face)
            if request.path == mounted or request.path.startswith(f"{mounted}/"):
                return harden(failed(exc))
            return exc if theirs is None else theirs(exc)

        state.app.register_error_handler(HTTPException, elsewhere)


def _add_reading(blueprint: Blueprint, face: Face) -> None:
    service = face.service

    @blueprint.get("/api/tasks")
    @needs(Role.VIEWER)
    def api_list() -> Response:
        asked = query(("status", "search", "before", "limit"), integers=("limit",))
        wanted = list_request(asked, service.settings)
        page = service.hub.page(wanted.filter, limit=wanted.limit, before=wanted.before)
        tasks = [summary(state) for state in page.tasks]
        return answer({"tasks": tasks, "counts": service.hub.counts(), "next": page.next})

    @blueprint.get("/api/tasks/<task_id>")
    @needs(Role.VIEWER)
    def api_task(task_id: str) -> Response:
        wait_s = _wait_s(query(("wait",)).get("wait"))
        state = _awaited(face, check_task_id(task_id), wait_s)
        headers = {"ETag": _etag(state), "Cache-Control": "no-cache"}
        if request.if_none_match.contains_weak(_etag(state)[1:-1]):
            return Response(status=304, headers=headers)
        return answer(face.snapshot(state), headers=headers)

    @blueprint.get("/api/tasks/<task_id>/log")
    @needs(Role.VIEWER)
    def api_log(task_id: str) -> Response:
        numbers = ("offset", "limit")
        asked = {**query(numbers, integers=numbers), "task_id": task_id}
        wanted = log_request(asked, service.settings)
        page = service.log_page(wanted.task_id, offset=wanted.offset, limit=wanted.limit)
        return answer(
            {"offset": page.offset, "lines": list(page.lines), "next_offset": page.next_offset}
        )

    @blueprint.get("/api/tasks/<task_id>/files/<path:filename>")
    @needs(Role.VIEWER)
    def api_file(task_id: str, filename: str) -> Response:
        path = face.runtime.run_blocking(service.file, check_task_id(task_id), filename)
        return send_file(path, face.runtime)

    @blueprint.get("/api/definitions")
    @needs(Role.VIEWER)
    def api_definitions() -> Response:
        return answer({"definitions": [item.to_wire() for item in service.registry]})


def _add_acting(blueprint: Blueprint, face: Face) -> None:
    service = face.service

    def created(state: TaskState, status: int = 201) -> Response:
        headers = {"Location": face.url("api_task", state.task_id)}
        body = {"task_id": state.task_id, "task": face.snapshot(state)}
        return answer(body, status, headers)

    @blueprint.post("/api/tasks")
    @needs(Role.OPERATOR)
    def api_start() -> Response:
        """Start a task: 201; 200 where the `task_id` given is one that was started before."""
        wanted = start_request(read_json(service.settings), service.settings)
        is_known = wanted.task_id is not None and _is_known(service, wanted.task_id)
        state = service.start(
            wanted.task,
            wanted.args,
            title=wanted.title,
            task_id=wanted.task_id,
            tags=wanted.tags,
        )
        return created(state, 200 if is_known else 201)

    @blueprint.post("/api/tasks/<task_id>/cancel")
    @needs(Role.OPERATOR)
    def api_cancel(task_id: str) -> Response:
        state = service.cancel(check_task_id(task_id))
        return answer({"task_id": task_id, "task": face.snapshot(state)})

    @blueprint.post("/api/tasks/<task_id>/retry")
    @needs(Role.OPERATOR)
    def api_retry(task_id: str) -> Response:
        return created(service.retry(check_task_id(task_id)))


def _add_open(blueprint: Blueprint, face: Face) -> None:
    @blueprint.get("/healthz")
    @needs(None)
    def healthz() -> Response:
        health = face.service.health()
        if face.role() is None or not _is_our_host(face.access):
            health["reasons"] = []
        return answer(health)

    @blueprint.get("/static/<path:filename>")
    @needs(None)
    def asset(filename: str) -> Response:
        found = face.assets.get(filename)
        if found is None:
            return answer(
                {"error": {"code": "invalid_payload", "message": "there is no such file"}}, 404
            )
        response = Response(found.body, headers={"Content-Type": found.content_type})
        response.set_etag(found.version)
        if request.args.get("v") == found.version:
            response.headers["Cache-Control"] = f"public, max-age={YEAR_S}, immutable"
        else:
            response.headers["Cache-Control"] = "no-cache"
        response.make_conditional(request)
        return response


def _is_our_host(access: Access) -> bool:
    try:
        access.check_host(request.environ)
    except Forbidden:
        return False
    return True


def _is_known(service: Service, task_id: str) -> bool:
    try:
        service.hub.get(task_id)
    except UnknownTask:
        return False
    return True


def _etag(state: TaskState) -> str:
    return f'"{state.epoch}-{state.seq}"'


def _wait_s(text: str | None) -> float | None:
    """Return the seconds to wait at most; over a minute is a minute."""
    if text is None:
        return None
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not seconds >= 0 or "_" in text:
        raise InvalidPayload(f"wait must be seconds, not {text[:80]!r}", field="wait")
    return min(seconds, LONGEST_WAIT_S)


def _awaited(face: Face, task_id: str, wait_s: float | None) -> TaskState:
    """Return the task's state once it is newer than what the client has, or the time is over.

    A task that has ended never changes again: nobody waits for it.
    """
    hub = face.service.hub
    if wait_s is None:
        return hub.get(task_id)
    signal = face.runtime.signal()
    stop = hub.listen(task_id, signal.set)
    try:
        state = hub.get(task_id)
        had = request.if_none_match
        start, deadline = _etag(state), time.monotonic() + wait_s
        if had and not had.contains_weak(start[1:-1]):
            return state
        while not state.ended and _etag(state) == start:
            left_s = deadline - time.monotonic()
            if left_s <= 0 or not signal.wait(left_s):
                break
            signal.clear()
            state = hub.get(task_id)
    finally:
        stop()
    return hub.get(task_id)

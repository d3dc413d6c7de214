"""The JSON API, and the blueprint that holds it together with the pages."""

from __future__ import annotations

import math
import time

from flask import Blueprint, Response, request
from werkzeug.http import quote_etag

from socketprogress.core.errors import Forbidden, InvalidPayload, UnknownTask
from socketprogress.core.protocol import check_task_id
from socketprogress.core.state import TaskState
from socketprogress.server.access import Access
from socketprogress.server.answers import answer, query, read_json
from socketprogress.server.assets import Assets, find
from socketprogress.server.compression import takes_gzip
from socketprogress.server.door import add_door, add_failures
from socketprogress.server.downloads import send_file
from socketprogress.server.embedding import add_embedding
from socketprogress.server.face import Face
from socketprogress.server.metrics_route import add_metrics
from socketprogress.server.pages import add_pages, start
from socketprogress.server.payloads import list_request, log_request, start_request
from socketprogress.server.principals import needs
from socketprogress.server.rates import Rates
from socketprogress.server.report_route import add_reporting
from socketprogress.server.runtime import Runtime
from socketprogress.server.service import Service
from socketprogress.server.share_route import add_sharing
from socketprogress.server.tus import add_tus
from socketprogress.server.uploads import add_uploads

__all__ = ["make_blueprint"]

LONGEST_WAIT_S = 60.0
YEAR_S = 31_536_000


def make_blueprint(
    service: Service,
    access: Access,
    runtime: Runtime,
    *,
    rates: Rates,
    name: str = "socketprogress",
    namespace: str = "/",
    socket_path: str = "/socket.io",
    refresh_s: int = 5,
) -> Blueprint:
    """Return every route.

    What is added to the blueprint later is behind the same door: a view needs the operator's role
    unless `principals.needs` says otherwise.

    Args:
        service: what carries out what is asked for.
        access: who may ask.
        runtime: how to wait without holding up others.
        rates: how fast an address may ask.
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
        socket_path=socket_path,
        refresh_s=refresh_s,
        rates=rates,
    )
    blueprint = Blueprint(name, __name__, template_folder=str(find("templates")))
    add_door(blueprint, face)
    add_failures(blueprint, face)
    _add_reading(blueprint, face)
    _add_acting(blueprint, face)
    add_reporting(blueprint, face)
    add_sharing(blueprint, face)
    add_metrics(blueprint, face)
    add_uploads(blueprint, face)
    add_tus(blueprint, face)
    _add_open(blueprint, face)
    add_pages(blueprint, face)
    add_embedding(blueprint, face)
    return blueprint


def _add_reading(blueprint: Blueprint, face: Face) -> None:
    service = face.service

    @blueprint.get("/api/tasks")
    @needs("list")
    def api_list() -> Response:
        asked = query(("status", "search", "parent_id", "before", "limit"), integers=("limit",))
        wanted = list_request(asked, service.settings)
        return answer(face.listing(wanted, at=time.time()))

    @blueprint.get("/api/tasks/<task_id>")
    @needs("view")
    def api_task(task_id: str) -> Response:
        wait_s = _wait_s(query(("wait",)).get("wait"))
        state = _awaited(face, check_task_id(task_id), wait_s)
        headers = {"ETag": _etag(state), "Cache-Control": "no-cache"}
        if request.if_none_match.contains_weak(_version(state)):
            return Response(status=304, headers=headers)
        return answer(face.snapshot(state), headers=headers)

    @blueprint.get("/api/tasks/<task_id>/log")
    @needs("log")
    def api_log(task_id: str) -> Response:
        numbers = ("offset", "limit")
        asked = {**query(numbers, integers=numbers), "task_id": task_id}
        wanted = log_request(asked, service.settings)
        page = service.log_page(wanted.task_id, offset=wanted.offset, limit=wanted.limit)
        return answer(
            {"offset": page.offset, "lines": list(page.lines), "next_offset": page.next_offset}
        )

    @blueprint.get("/api/tasks/<task_id>/files/<path:filename>")
    @needs("files")
    def api_file(task_id: str, filename: str) -> Response:
        path = face.runtime.run_blocking(service.file, check_task_id(task_id), filename)
        return send_file(path, face.runtime)

    @blueprint.get("/api/definitions")
    @needs("definitions")
    def api_definitions() -> Response:
        known = face.permits.definitions(face.principal(), service.registry)
        return answer({"definitions": [item.to_wire() for item in known]})


def _add_acting(blueprint: Blueprint, face: Face) -> None:
    service = face.service

    def created(state: TaskState, status: int = 201) -> Response:
        headers = {"Location": face.url("api_task", state.task_id)}
        body = {"task_id": state.task_id, "task": face.snapshot(state)}
        return answer(body, status, headers)

    @blueprint.post("/api/tasks")
    @needs("start")
    def api_start() -> Response:
        """Start a task: 201; 200 where the `task_id` given is one that was started before."""
        wanted = start_request(read_json(service.settings), service.settings)
        is_known = wanted.task_id is not None and _is_known(service, wanted.task_id)
        state = start(face, wanted)
        return created(state, 200 if is_known else 201)

    @blueprint.post("/api/tasks/<task_id>/cancel")
    @needs("cancel")
    def api_cancel(task_id: str) -> Response:
        state = service.cancel(check_task_id(task_id))
        return answer({"task_id": task_id, "task": face.snapshot(state)})

    @blueprint.post("/api/tasks/<task_id>/retry")
    @needs("retry")
    def api_retry(task_id: str) -> Response:
        with face.permits.hiding(face.principal()):
            return created(service.retry(check_task_id(task_id)))


def _add_open(blueprint: Blueprint, face: Face) -> None:
    @blueprint.get("/healthz")
    @needs(None)
    def healthz() -> Response:
        health = face.service.health()
        visitor = face.visitor()
        is_told = visitor is not None and face.permits.may(visitor, "health")
        if not is_told or not _is_our_host(face.access):
            health["reasons"] = []
        return answer(health)

    @blueprint.get("/api/connection")
    @needs(None)
    def api_connection() -> Response:
        """Say where Socket.IO is, for those who know no more than the server's address."""
        path = request.script_root + face.socket_path
        return answer({"namespace": face.namespace, "socket_path": path, "now": time.time()})

    @blueprint.get("/static/<path:filename>")
    @needs(None)
    def asset(filename: str) -> Response:
        found, is_lasting = face.assets.at(filename)
        if found is None:
            return answer(
                {"error": {"code": "invalid_payload", "message": "there is no such file"}}, 404
            )
        packed = found.packed if takes_gzip() else None
        response = Response(packed or found.body, headers={"Content-Type": found.content_type})
        if packed:
            response.headers["Content-Encoding"] = "gzip"
        # The pages of others load the element and its modules from here; nothing here is secret.
        response.headers["Cross-Origin-Resource-Policy"] = "cross-origin"
        response.headers["Vary"] = "Origin, Accept-Encoding"
        response.set_etag(f"{found.version}-gzip" if packed else found.version)
        if is_lasting:
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


def _version(state: TaskState) -> str:
    return f"{state.epoch}-{state.seq}"


def _etag(state: TaskState) -> str:
    """Return the state's name; a weak one while the seconds since its start go on by themselves."""
    return quote_etag(_version(state), weak=not state.ended)


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
        start, deadline = _version(state), time.monotonic() + wait_s
        if had and not had.contains_weak(start):
            return state
        while not state.ended and _version(state) == start:
            left_s = deadline - time.monotonic()
            if left_s <= 0 or not signal.wait(left_s):
                break
            signal.clear()
            state = hub.get(task_id)
    finally:
        stop()
    # A minute is long: what was allowed at its beginning need not be at its end.
    face.permits.need(face.access.connection(request.environ), "view", task_id)
    return hub.get(task_id)

"""The pages and their forms: everything works, if less lively, without JavaScript."""

from __future__ import annotations

import contextlib
import math
import re
import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

from flask import Blueprint, Response, g, request

from socketprogress.core.errors import (
    AlreadyRunning,
    InvalidArguments,
    InvalidPayload,
    TaskEnded,
    Unauthorized,
    Unavailable,
    WireError,
)
from socketprogress.core.ports import LogPage
from socketprogress.core.protocol import check_task_id
from socketprogress.core.registry import Definition
from socketprogress.core.state import TaskState
from socketprogress.server.answers import Failure, see_other
from socketprogress.server.csrf import check_csrf
from socketprogress.server.face import Face
from socketprogress.server.forms import arguments
from socketprogress.server.payloads import StartRequest, clean, list_request
from socketprogress.server.principals import Principal, needs
from socketprogress.server.taskpage import qr_code, relatives, traceback_of
from socketprogress.server.tokens import cookie_digest

__all__ = ["add_pages", "arrive", "error_page", "login_page", "start"]

LOG_LINES = 200
COOKIE_S = 30 * 86_400
TOLD_FOR_S = 86_400


def add_pages(blueprint: Blueprint, face: Face) -> None:
    """Add the pages and the forms' targets to the blueprint."""
    _add_reading(blueprint, face)
    _add_forms(blueprint, face)
    _add_login(blueprint, face)


def _add_reading(blueprint: Blueprint, face: Face) -> None:
    service = face.service

    @blueprint.get("/", endpoint="list")
    @needs("list")
    def list_page() -> Response:
        return _list_page(face)

    @blueprint.get("/tasks/<task_id>")
    @needs("view")
    def task(task_id: str) -> Response:
        state = service.hub.get(check_task_id(task_id))
        page = LogPage(0, (), 0)
        if face.permits.may(face.principal(), "log", state):
            with contextlib.suppress(Unavailable):  # the task itself is known all the same
                page = service.log_page(task_id, offset=-LOG_LINES, limit=LOG_LINES)
        log = {"offset": page.offset, "lines": list(page.lines), "next_offset": page.next_offset}
        context = {**relatives(face, state), "log": log, "traceback": traceback_of(page.lines)}
        return face.render("task.html", state=state, **context)

    @blueprint.get("/tasks/<task_id>/qr.svg")
    @needs("view")
    def qr(task_id: str) -> Response:
        """The address of the task's page, for a phone's camera."""
        state = service.hub.get(check_task_id(task_id))
        url = request.host_url.rstrip("/") + face.url("task", state.task_id)
        return Response(qr_code(url), headers={"Content-Type": "image/svg+xml; charset=utf-8"})


def _add_forms(blueprint: Blueprint, face: Face) -> None:
    service = face.service

    @blueprint.post("/start/<definition>", endpoint="start")
    @needs("start")
    def start_form(definition: str) -> Response:
        _take_form(face)
        known = service.registry.get(definition)
        values = request.form.to_dict()
        values.pop("csrf_token", None)
        try:
            args = arguments(values, known.binding.schema())
            args = clean(args, most_deep=service.settings.max_depth)
            wanted = StartRequest(definition, args, title=None, task_id=None, tags=())
            state = start(face, wanted, lax=True)
        except (InvalidArguments, InvalidPayload, AlreadyRunning) as exc:
            return _refused_form(face, definition, exc, values)
        return see_other(face.url("task", state.task_id))

    @blueprint.get("/tasks/<task_id>/cancel")
    @needs("cancel")
    def cancel(task_id: str) -> Response:
        state = service.hub.get(check_task_id(task_id))
        if state.ended:
            return see_other(face.url("task", task_id))
        return face.render("cancel.html", state=state)

    @blueprint.post("/tasks/<task_id>/cancel")
    @needs("cancel")
    def cancel_now(task_id: str) -> Response:
        _take_form(face)
        with contextlib.suppress(TaskEnded):  # then what was wanted has happened
            service.cancel(check_task_id(task_id))
        return see_other(face.url("task", task_id))

    @blueprint.post("/tasks/<task_id>/retry")
    @needs("retry")
    def retry(task_id: str) -> Response:
        _take_form(face)
        with face.permits.hiding(face.principal()):
            state = service.retry(check_task_id(task_id))
        return see_other(face.url("task", state.task_id))


def _add_login(blueprint: Blueprint, face: Face) -> None:
    @blueprint.get("/login")
    @needs(None)
    def login() -> Response:
        arrived = arrive(face)
        if arrived is None and face.visitor() is not None:
            return see_other(_wanted_page(face))
        return arrived or login_page(face, 200)

    @blueprint.post("/login")
    @needs(None)
    def log_in() -> Response:
        _take_form(face)
        token = request.form.get("token", "").strip()
        try:
            holder = face.access.guess(token, request.environ)
        except Unauthorized as exc:
            return login_page(face, 401, error=exc.message)
        if holder is None:
            return login_page(face, 401, error="This is not the token.")
        response = see_other(_wanted_page(face))
        _set_cookie(face, response, token, holder)
        return response

    @blueprint.post("/logout")
    @needs(None)
    def log_out() -> Response:
        _take_form(face)
        response = see_other(face.url("list"))
        response.delete_cookie(face.access.cookie_name, path="/", httponly=True, samesite="Lax")
        return response


def start(face: Face, wanted: StartRequest, *, lax: bool = False) -> TaskState:
    """Start what the visitor wants, if they may.

    Args:
        face: the server's.
        wanted: what to start.
        lax: take texts for numbers, as forms give them.

    Raises:
        Forbidden, UnknownTask: they may not.
        UnknownDefinition, InvalidArguments, InvalidPayload, AlreadyRunning, Unavailable.
    """
    service, principal = face.service, face.principal()
    name = wanted.task if wanted.task is not None else service.settings.default_task
    wanted = face.permits.start(principal, wanted, name)
    with face.permits.hiding(principal):
        return service.start(
            wanted.task,
            wanted.args,
            title=wanted.title,
            task_id=wanted.task_id,
            tags=wanted.tags,
            lax=lax,
        )


def arrive(face: Face) -> Response | None:
    """Turn a `?token=` in a page's URL into a cookie, and redirect it away; None without one."""
    if "token" not in request.args or request.method not in {"GET", "HEAD"}:
        return None
    token = request.args["token"]
    try:
        holder = face.access.guess(token, request.environ)
    except Unauthorized as exc:
        return login_page(face, 401, error=exc.message)
    if holder is None and face.access.needs_token:
        return login_page(face, 401, error="The token in the address is not right.")
    response = see_other(_here())
    if holder is not None:
        _set_cookie(face, response, token, holder)
    return response


def login_page(face: Face, status: int, *, error: str | None = None) -> Response:
    """Return the page that asks for the token, and goes on to the page that was wanted."""

    def url(kind: str, arg: str | None = None) -> str:
        if kind != "login":
            return face.url(kind, arg)
        is_login = request.endpoint in {f"{face.name}.login", f"{face.name}.log_in"}
        here = _here() if request.method == "GET" else ""
        after = request.args.get("next", "") if is_login else here
        query = f"?{urlencode({'next': after})}" if after else ""
        return face.url("login") + query

    told = error or (g.get("socketprogress_told") if status == 401 else None)
    response = face.render("login.html", status, error=told, url=url)
    if status == 401:
        response.headers["WWW-Authenticate"] = "Bearer"
    return response


def error_page(face: Face, failure: Failure) -> Response:
    """Return the page that says what went wrong."""
    error = failure.error
    response = face.render(
        "error.html",
        failure.status,
        status=failure.status,
        code=error["code"],
        message=error["message"],
    )
    response.headers.update(failure.headers)
    return response


def _list_page(face: Face, status: int = 200, errors: Mapping[str, Any] | None = None) -> Response:
    service = face.service
    asked = {name: request.args.get(name) for name in ("status", "search", "before")}
    wanted = list_request(asked, service.settings)
    principal = face.principal()
    shown = principal.may("definitions") and face.permits.definitions(principal, service.registry)
    return face.render(
        "list.html",
        status,
        **face.listing(wanted),
        definitions=[_offered(definition) for definition in shown or ()],
        filters={"status": asked["status"] or "", "search": wanted.filter.search},
        form_errors=dict(errors or {}),
    )


def _offered(definition: Definition) -> dict[str, Any]:
    takes_file = definition.where != "celery"
    return {**definition.to_wire(), "file": definition.binding.file if takes_file else None}


def _refused_form(
    face: Face, definition: str, exc: WireError, values: Mapping[str, str]
) -> Response:
    field = re.split(r"[.\[]", exc.field or "")[0]  # of `numbers[0]`, the field that it is in
    wrong = {"field": field, "message": exc.message, "values": dict(values)}
    status = 409 if isinstance(exc, AlreadyRunning) else 422
    return _list_page(face, status, {definition: wrong})


def _take_form(face: Face) -> None:
    request.max_content_length = face.service.settings.max_payload_bytes
    request.max_form_memory_size = face.service.settings.max_payload_bytes
    check_csrf(request.form.get("csrf_token"))


def _here() -> str:
    """Return this request's own address, without the token."""
    rest = [(name, value) for name, value in request.args.items(multi=True) if name != "token"]
    path = f"{request.script_root}/{request.path.lstrip('/')}"
    return path + (f"?{urlencode(rest)}" if rest else "")


def _wanted_page(face: Face) -> str:
    after = request.args.get("next", "")
    is_ours = after.startswith(f"{face.prefix()}/") and not after.startswith("//")
    if is_ours and "\\" not in after and after.isprintable():
        return after
    return face.url("list")


def _set_cookie(face: Face, response: Response, token: str, holder: Principal) -> None:
    # It outlives the token, so that its bearer can be told that this has expired.
    ends_at = math.inf if holder.expires_at is None else holder.expires_at + TOLD_FOR_S
    # Lax, not Strict: a link in a mail must open the page; nothing is changed by a GET.
    response.set_cookie(
        face.access.cookie_name,
        cookie_digest(token),
        max_age=math.ceil(min(ends_at - time.time(), COOKIE_S)),
        httponly=True,
        samesite="Lax",
        secure=request.is_secure,
        path="/",
    )

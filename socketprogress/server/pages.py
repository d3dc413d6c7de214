"""The pages and their forms: everything works, if less lively, without JavaScript."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

from flask import Blueprint, Response, request

from socketprogress.core.errors import (
    AlreadyRunning,
    InvalidArguments,
    InvalidPayload,
    TaskEnded,
    Unavailable,
    WireError,
)
from socketprogress.core.ports import LogPage
from socketprogress.core.protocol import check_task_id, summary
from socketprogress.server.access import Role, needs
from socketprogress.server.answers import Failure, see_other
from socketprogress.server.csrf import check_csrf
from socketprogress.server.face import Face
from socketprogress.server.forms import arguments
from socketprogress.server.payloads import clean, list_request

__all__ = ["add_pages", "arrive", "error_page", "login_page"]

LOG_LINES = 200
COOKIE_S = 30 * 86_400


def add_pages(blueprint: Blueprint, face: Face) -> None:
    """Add the pages and the forms' targets to the blueprint."""
    _add_reading(blueprint, face)
    _add_forms(blueprint, face)
    _add_login(blueprint, face)


def _add_reading(blueprint: Blueprint, face: Face) -> None:
    service = face.service

    @blueprint.get("/", endpoint="list")
    @needs(Role.VIEWER)
    def list_page() -> Response:
        return _list_page(face)

    @blueprint.get("/tasks/<task_id>")
    @needs(Role.VIEWER)
    def task(task_id: str) -> Response:
        state = service.hub.get(check_task_id(task_id))
        try:
            page = service.log_page(task_id, offset=-LOG_LINES, limit=LOG_LINES)
        except Unavailable:  # the task itself is known all the same
            page = LogPage(0, (), 0)
        log = {"offset": page.offset, "lines": list(page.lines), "next_offset": page.next_offset}
        return face.render("task.html", task=face.snapshot(state), log=log)

    @blueprint.get("/embed/<task_id>")
    @needs(Role.VIEWER)
    def embed(task_id: str) -> Response:
        state = service.hub.get(check_task_id(task_id))
        return face.render("embed.html", task=face.snapshot(state))


def _add_forms(blueprint: Blueprint, face: Face) -> None:
    service = face.service

    @blueprint.post("/start/<definition>")
    @needs(Role.OPERATOR)
    def start(definition: str) -> Response:
        _take_form(face)
        known = service.registry.get(definition)
        values = request.form.to_dict()
        values.pop("csrf_token", None)
        try:
            args = arguments(values, known.binding.schema())
            args = clean(args, most_deep=service.settings.max_depth)
            state = service.start(definition, args, lax=True)
        except (InvalidArguments, InvalidPayload, AlreadyRunning) as exc:
            return _refused_form(face, definition, exc, values)
        return see_other(face.url("task", state.task_id))

    @blueprint.get("/tasks/<task_id>/cancel")
    @needs(Role.OPERATOR)
    def cancel(task_id: str) -> Response:
        state = service.hub.get(check_task_id(task_id))
        if state.ended:
            return see_other(face.url("task", task_id))
        return face.render("cancel.html", task=face.snapshot(state))

    @blueprint.post("/tasks/<task_id>/cancel")
    @needs(Role.OPERATOR)
    def cancel_now(task_id: str) -> Response:
        _take_form(face)
        with contextlib.suppress(TaskEnded):  # then what was wanted has happened
            service.cancel(check_task_id(task_id))
        return see_other(face.url("task", task_id))

    @blueprint.post("/tasks/<task_id>/retry")
    @needs(Role.OPERATOR)
    def retry(task_id: str) -> Response:
        _take_form(face)
        state = service.retry(check_task_id(task_id))
        return see_other(face.url("task", state.task_id))


def _add_login(blueprint: Blueprint, face: Face) -> None:
    @blueprint.get("/login")
    @needs(None)
    def login() -> Response:
        arrived = arrive(face)
        if arrived is None and face.role() is not None:
            return see_other(_wanted_page(face))
        return arrived or login_page(face, 200)

    @blueprint.post("/login")
    @needs(None)
    def log_in() -> Response:
        _take_form(face)
        role = face.access.guess(request.form.get("token", "").strip(), request.environ)
        if role is None:
            return login_page(face, 401, error="This is not the token.")
        response = see_other(_wanted_page(face))
        _set_cookie(face, response)
        return response


def arrive(face: Face) -> Response | None:
    """Turn a `?token=` in a page's URL into a cookie, and redirect it away; None without one."""
    if "token" not in request.args or request.method not in {"GET", "HEAD"}:
        return None
    access = face.access
    if access.needs_token and access.guess(request.args["token"], request.environ) is None:
        return login_page(face, 401, error="The token in the address is not right.")
    response = see_other(_here())
    if access.needs_token:
        _set_cookie(face, response)
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

    response = face.render("login.html", status, error=error, url=url)
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
    page = service.hub.page(wanted.filter, limit=wanted.limit, before=wanted.before)
    return face.render(
        "list.html",
        status,
        tasks=[summary(state) for state in page.tasks],
        counts=service.hub.counts(),
        definitions=[definition.to_wire() for definition in service.registry],
        filters={"status": asked["status"] or "", "search": wanted.filter.search},
        next=page.next,
        form_errors=dict(errors or {}),
    )


def _refused_form(
    face: Face, definition: str, exc: WireError, values: Mapping[str, str]
) -> Response:
    wrong = {"field": exc.field, "message": exc.message, "values": dict(values)}
    status = 409 if isinstance(exc, AlreadyRunning) else 422
    return _list_page(face, status, {definition: wrong})


def _take_form(face: Face) -> None:
    request.max_content_length = face.service.settings.max_payload_bytes
    request.max_form_memory_size = face.service.settings.max_payload_bytes
    check_csrf()


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


def _set_cookie(face: Face, response: Response) -> None:
    # Lax, not Strict: a link in a mail must open the page; nothing is changed by a GET.
    response.set_cookie(
        face.access.cookie_name,
        face.access.cookie_value,
        max_age=COOKIE_S,
        httponly=True,
        samesite="Lax",
        secure=request.is_secure,
        path="/",
    )

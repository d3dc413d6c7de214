"""What every request passes before its view: who sent it, and whether they may."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, Response, current_app, request
from flask.blueprints import BlueprintSetupState
from werkzeug.exceptions import HTTPException

from socketprogress.core.protocol import check_task_id
from socketprogress.server.answers import answer, failure_of, harden
from socketprogress.server.compression import compress
from socketprogress.server.embedding import FRAMED, arrive_in_frame
from socketprogress.server.face import Face
from socketprogress.server.pages import arrive, error_page, login_page
from socketprogress.server.principals import OF_A_TASK, OF_NEW_TASKS, needed_action

__all__ = ["add_door", "add_failures"]

JSON_PATHS = ("/api", "/healthz", "/metrics", "/static")


def _is_json(path: str, prefix: str) -> bool:
    inner = path[len(prefix) :]
    return any(inner == start or inner.startswith(f"{start}/") for start in JSON_PATHS)


def add_door(blueprint: Blueprint, face: Face) -> None:
    """Have every request to the blueprint's views pass, every answer compressed and hardened."""

    @blueprint.before_request
    def door() -> Response | None:
        action = needed_action(current_app.view_functions.get(request.endpoint or ""))
        if request.endpoint not in {f"{face.name}.asset", f"{face.name}.healthz"}:
            face.rates.spend(request.remote_addr or "")
        if action is None:
            return None
        shown = _shown_instead(face)
        if shown is not None:
            return shown
        principal = face.principal()
        face.permits.need_role(principal, action)
        if action in OF_A_TASK:
            face.permits.need(
                principal, action, check_task_id((request.view_args or {})["task_id"])
            )
        elif action not in OF_NEW_TASKS:
            face.permits.need(principal, action)
        return None

    @blueprint.after_request
    def hardened(response: Response) -> Response:
        response = compress(response, face.runtime)
        if _is_embedded(face) and response.status_code in FRAMED:
            return harden(response, framed_by=("'self'", *face.access.settings.origins))
        return harden(response)


def _shown_instead(face: Face) -> Response | None:
    """Return what a page's visitor gets who has to say first who they are."""
    if _is_embedded(face):
        return arrive_in_frame(face)
    if _is_json(request.path, _mounted(face)):
        return None
    return arrive(face) or (login_page(face, 401) if face.visitor() is None else None)


def _is_embedded(face: Face) -> bool:
    return request.endpoint == f"{face.name}.embed"


def _mounted(face: Face) -> str:
    """Return the blueprint's prefix within the application."""
    return face.prefix()[len(request.script_root) :]


def add_failures(blueprint: Blueprint, face: Face) -> None:
    """Answer what goes wrong below the blueprint's prefix, as JSON or as a page."""

    def failed(exc: Exception) -> Response:
        failure = failure_of(exc)
        face.service.metrics.refused("http", failure.error["code"])
        if _is_json(request.path, _mounted(face)):
            body = {"error": failure.error, **failure.beside}
            return answer(body, failure.status, failure.headers)
        return error_page(face, failure)

    blueprint.register_error_handler(Exception, failed)

    @blueprint.record_once
    def unmatched(state: BlueprintSetupState) -> None:
        # A path without a route belongs to no blueprint; the host application keeps its own ones.
        handlers = state.app.error_handler_spec[None][None]
        before = handlers.get(HTTPException)

        def elsewhere(exc: HTTPException) -> Any:
            mounted = _mounted(face)
            if request.path == mounted or request.path.startswith(f"{mounted}/"):
                return harden(failed(exc))
            theirs = before or handlers.get(Exception)
            return exc if theirs is None else current_app.ensure_sync(theirs)(exc)

        state.app.register_error_handler(HTTPException, elsewhere)

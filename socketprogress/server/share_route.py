"""`POST /api/tasks/<id>/token`: a watch link, which shows one task and allows nothing else."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from flask import Blueprint, Response, request

from socketprogress.core.errors import InvalidPayload
from socketprogress.server.answers import answer, read_json
from socketprogress.server.face import Face
from socketprogress.server.payloads import fields_of, text_of
from socketprogress.server.principals import Role, needs

__all__ = ["add_sharing"]

LASTS_S = 7 * 86_400.0
LONGEST_S = 10 * 365 * 86_400.0


def add_sharing(blueprint: Blueprint, face: Face) -> None:
    """Add the route to the blueprint."""

    @blueprint.post("/api/tasks/<task_id>/token", endpoint="token")
    @needs("share")
    def api_share(task_id: str) -> Response:
        """Make a token for watching a task: 201; ``{name?, expires_s?}``, by default for 7 days."""
        limits = face.service.settings
        data = read_json(limits) if request.content_length else {}
        given = fields_of(data, ("name", "expires_s"), limits)
        name, lasts_s = text_of(given, "name", limits.max_name_chars), _lasts_s(given)
        secret, token = face.runtime.run_blocking(
            lambda: face.access.tokens.new(
                Role.VIEWER, name=name or "", task_id=task_id, lasts_s=lasts_s
            )
        )
        host, shown = request.host_url.rstrip("/"), quote(secret)
        return answer(
            {
                "token": secret,
                "token_id": token.id,
                "url": f"{host}{face.url('task', task_id)}?token={shown}",
                "embed_url": f"{host}{face.url('embed', task_id)}#token={shown}",
                "expires_at": token.expires_at,
            },
            201,
        )


def _lasts_s(given: dict[str, Any]) -> float:
    value = given.get("expires_s")
    if value is None:
        return LASTS_S
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise InvalidPayload("expires_s must be a number of seconds", field="expires_s")
    if not 0 < value <= LONGEST_S:
        raise InvalidPayload(
            f"expires_s must be above 0 and at most {LONGEST_S:g} seconds", field="expires_s"
        )
    return float(value)

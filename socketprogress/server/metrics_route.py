"""`GET /metrics`: what a server counts, and how it is at this moment."""

from __future__ import annotations

from flask import Blueprint, Response

from socketprogress.server.face import Face
from socketprogress.server.metrics import CONTENT_TYPE, exposition
from socketprogress.server.principals import needs

__all__ = ["add_metrics"]


def add_metrics(blueprint: Blueprint, face: Face) -> None:
    """Add the route, for who may see tasks."""

    @blueprint.get("/metrics")
    @needs("metrics")
    def metrics() -> Response:
        service = face.service
        now = service.gauges()
        text = exposition([*service.metrics.collect(), *now])
        return Response(text, content_type=CONTENT_TYPE, headers={"Cache-Control": "no-store"})

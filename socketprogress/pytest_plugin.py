"""A pytest plugin for applications that have SocketProgress: tasks that run at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from flask import Flask

    from socketprogress.server.inline import InlineProgress

__all__ = ["inline_progress"]


@pytest.fixture
def inline_progress(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Callable[[Flask], InlineProgress]]:
    """Make an app's tasks run where they are started, to their end, in memory, without a thread.

    def test_photos_are_resized(app, inline_progress):
        tasks = inline_progress(app)
        app.test_client().post("/photos")
        assert tasks.last["status"] == "completed"
    """
    taken = []

    def take(app: Flask) -> InlineProgress:
        installation = app.extensions["socketprogress"]
        taken.append(installation)
        progress: InlineProgress = installation.inline(tmp_path_factory.mktemp("socketprogress"))
        return progress

    yield take
    for installation in taken:
        installation.engine.close()

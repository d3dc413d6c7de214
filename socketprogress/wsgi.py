"""The server as a WSGI application, for gunicorn: ``gunicorn 'socketprogress.wsgi:create_app()'``."""

from __future__ import annotations

import atexit
import sys
from typing import Any

import click

from socketprogress.cli import logs
from socketprogress.cli.serve import command, settings_from
from socketprogress.core.errors import ConfigurationError

__all__ = ["create_app"]

NOT_SETTINGS = frozenset({"open_page", "no_token"})


def create_app() -> Any:
    """Return the application of a server that another program listens for.

    The settings are those of ``socketprogress serve``, from the environment and
    `socketprogress.toml`. The async mode is that of the worker: ``gevent`` where it has patched the
    standard library, ``threading`` otherwise. One process has a data folder: one gunicorn worker.

    Returns:
        A Flask application, whose tasks end with the process.

    Raises:
        ConfigurationError, StoreError: a setting cannot work, or the data folder is in use.
    """
    from socketprogress.server.app import create_server  # noqa: PLC0415 - costs a third of a second

    with command.make_context("socketprogress", []) as ctx:
        given = {name: value for name, value in ctx.params.items() if name not in NOT_SETTINGS}
        given["async_mode"] = _mode(ctx)
        try:
            settings, is_new = settings_from(ctx, no_token=ctx.params["no_token"], **given)
        except click.UsageError as exc:
            raise ConfigurationError(exc.format_message()) from None
    if is_new:
        raise ConfigurationError(
            "who reaches this server by a proxy needs a token: set SOCKETPROGRESS_TOKEN"
        )
    logs.set_up(settings.log_level, secret=settings.token)
    server = create_server(settings)
    atexit.register(server.progress.engine.close)
    return server.app


def _mode(ctx: click.Context) -> str:
    """Return the async mode that the process around us can have."""
    monkey = sys.modules.get("gevent.monkey")
    mode = "gevent" if monkey is not None and monkey.is_module_patched("socket") else "threading"
    source = ctx.get_parameter_source("async_mode")
    wanted = str(ctx.params["async_mode"])
    if source is not click.core.ParameterSource.DEFAULT and wanted != mode:
        raise ConfigurationError(
            f"async mode {wanted!r} cannot be had here, this process runs {mode!r}; "
            "choose gunicorn's worker class instead: gthread or gevent"
        )
    return mode

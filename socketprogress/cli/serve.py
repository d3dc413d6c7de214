"""`socketprogress serve`: the server itself."""

from __future__ import annotations

import errno
import ipaddress
import logging
import os
import secrets
import threading
import time
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit, urlunsplit

import click
import platformdirs
from click.core import ParameterSource

from socketprogress.cli import logs
from socketprogress.cli.options import ConfiguredCommand, Lines, Paths, Size, setting
from socketprogress.cli.stopping import Stopper
from socketprogress.core.errors import ConfigurationError
from socketprogress.server.settings import ASYNC_MODES, Settings

__all__ = ["command", "default_data", "settings_from"]

log = logging.getLogger(__name__)

DEFAULTS = Settings()
TOKEN_BYTES = 24
RANKS = (
    ParameterSource.DEFAULT,
    ParameterSource.DEFAULT_MAP,
    ParameterSource.ENVIRONMENT,
    ParameterSource.COMMANDLINE,
)


@click.command(cls=ConfiguredCommand, name="serve")
@setting("--host", default=DEFAULTS.host, show_default=True, help="The address to listen at.")
@setting("--port", type=int, default=DEFAULTS.port, show_default=True, help="0 takes a free port.")
@setting("--open", "open_page", is_flag=True, help="Open the page in a browser once it is there.")
@setting(
    "--tasks", multiple=True, type=Paths(), metavar="MODULE_OR_FILE", help="Serve its functions."
)
@setting(
    "--command",
    "commands",
    multiple=True,
    type=Lines(),
    metavar="NAME='ARGV'",
    help="Offer a command as a task.",
)
@setting("--celery", metavar="MODULE:APP", help="Whose workers run executor='celery'.")
@setting(
    "--default-task",
    default=DEFAULTS.default_task,
    show_default=True,
    metavar="NAME",
    help="What a start without a name starts.",
)
@setting(
    "--workers", type=int, default=DEFAULTS.workers, show_default=True, help="Processes at most."
)
@setting("--root", default=".", metavar="DIR", help="Where tasks may read; default: this folder.")
@setting("--data", metavar="DIR", help="Where history and results are kept; default: per user.")
@setting(
    "--store", default=DEFAULTS.store, metavar="URL", help="sqlite:///path, memory:, or redis://…"
)
@setting(
    "--async-mode",
    type=click.Choice(ASYNC_MODES),
    default=DEFAULTS.async_mode,
    show_default=True,
    help="How the server waits.",
)
@setting("--token", metavar="TOKEN", help="What every client has to present.")
@setting("--no-token", is_flag=True, help="Ask for none, even where others can connect.")
@setting("--origin", "origins", multiple=True, metavar="URL", help="A page that may connect too.")
@setting(
    "--proxies",
    type=int,
    default=DEFAULTS.proxies,
    show_default=True,
    metavar="N",
    help="Reverse proxies before it, whose X-Forwarded headers count.",
)
@setting(
    "--max-upload",
    "max_upload_bytes",
    type=Size(),
    default="10GiB",
    show_default=True,
    metavar="SIZE",
    help="The largest file that may be uploaded.",
)
@setting(
    "--rate",
    "rate_hz",
    type=float,
    default=DEFAULTS.rate_hz,
    show_default=True,
    metavar="HZ",
    help="Updates a second that a watcher gets at most.",
)
@setting(
    "--ping-interval",
    "ping_interval_s",
    type=int,
    default=DEFAULTS.ping_interval_s,
    show_default=True,
    help="Seconds between pings.",
)
@setting(
    "--ping-timeout",
    "ping_timeout_s",
    type=int,
    default=DEFAULTS.ping_timeout_s,
    show_default=True,
    help="Seconds that an answer to a ping may take.",
)
@setting(
    "--upload-quota",
    "upload_quota_bytes",
    type=Size(),
    default="50GiB",
    show_default=True,
    metavar="SIZE",
    help="What all uploads may have together.",
)
@setting(
    "--upload-expiry",
    "upload_expiry_s",
    type=float,
    default=DEFAULTS.upload_expiry_s,
    show_default=True,
    metavar="SECONDS",
    help="How long an upload that was cut waits for its rest.",
)
@setting(
    "--log-level",
    type=click.Choice(logs.LEVELS, case_sensitive=False),
    default=DEFAULTS.log_level,
    show_default=True,
    help="How much goes to stderr.",
)
@click.pass_context
def command(ctx: click.Context, /, *, open_page: bool, no_token: bool, **given: Any) -> None:
    """Serve the live page, the socket and the API.

    Every option can also be given in the environment, as SOCKETPROGRESS_ and its name in capitals
    (SOCKETPROGRESS_ASYNC_MODE), or in a file socketprogress.toml in this folder, by its name
    (async-mode = "threading"). A flag goes over the environment, the environment over the file. In the
    environment, several --tasks are separated as in PATH, several --origin by spaces, and several
    --command stand one a line.
    """
    settings, is_new_token = settings_from(ctx, no_token=no_token, **given)
    logs.set_up(settings.log_level, secret=settings.token)
    ctx.exit(_serve(settings, open_page=open_page, show_token=is_new_token))


def settings_from(ctx: click.Context, *, no_token: bool, **given: Any) -> tuple[Settings, bool]:
    """Return the settings, and whether their token was made here.

    Args:
        ctx: where the values come from.
        no_token: whether there shall be no token at all.
        **given: the other options' values, by parameter name.

    Raises:
        click.UsageError: a value cannot work.
    """
    given["token"] = _token(ctx, given["token"] or None, no_token=no_token)
    given["root"] = Path(given["root"]).expanduser().absolute()
    data = given["data"]
    given["data"] = Path(data).expanduser().absolute() if data else default_data()
    for origin in given["origins"]:
        _check_origin(origin)
    try:
        settings = Settings(no_token=no_token, **given)
    except ConfigurationError as exc:
        raise click.UsageError(str(exc)) from None
    if settings.token is not None or (_is_loopback(settings.host) and not settings.proxies):
        return settings, False
    if no_token:
        click.echo(
            f"WARNING: everybody who can reach {_reach(settings)} may see, start and cancel tasks here; "
            "leave --no-token out to ask them for a token",
            err=True,
        )
        return settings, False
    return replace(settings, token=secrets.token_urlsafe(TOKEN_BYTES)), True


def _token(ctx: click.Context, token: str | None, *, no_token: bool) -> str | None:
    """Return the token that holds, where the stronger of two sources contradicts the weaker."""
    if not no_token or token is None:
        return token
    with_token, without = (
        RANKS.index(ctx.get_parameter_source(name) or ParameterSource.DEFAULT)
        for name in ("token", "no_token")
    )
    if with_token == without:
        raise click.UsageError("--token and --no-token contradict each other: give one of them")
    return token if with_token > without else None


def _check_origin(origin: str) -> None:
    parts = urlsplit(origin)
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.path.strip("/"):
        raise click.UsageError(
            f"the origin {origin!r} must be a scheme and a host, such as https://example.org:8443"
        )


def _reach(settings: Settings) -> str:
    return "the proxy" if settings.proxies else settings.host


def default_data() -> Path:
    """Return this user's own data folder."""
    return platformdirs.user_data_path("socketprogress", appauthor=False)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _serve(settings: Settings, *, open_page: bool, show_token: bool) -> int:
    """Serve until a signal; return the exit code."""
    with ExitStack() as held:
        stopper = Stopper(last_words=held.close)
        stopper.install()
        server = _create(settings)
        try:
            server.listen()
        except OSError as exc:
            raise ConfigurationError(_unavailable(settings, exc)) from None
        stopper.attach(server.stop)

        def on_ready(url: str) -> None:
            _announce(held, settings, url, open_page=open_page, show_token=show_token)

        server.serve(on_ready)
    return stopper.code or 0


def _create(settings: Settings) -> Any:
    from socketprogress.server.datadir import DataUnavailable
    from socketprogress.server.imports import import_socketio

    import_socketio()  # before anything else does
    from socketprogress.server.app import create_server

    try:
        return create_server(settings)
    except DataUnavailable:
        raise
    except ConfigurationError as exc:
        raise click.UsageError(str(exc)) from None


def _unavailable(settings: Settings, exc: OSError) -> str:
    if exc.errno == errno.EADDRINUSE:
        return (
            f"port {settings.port} of {settings.host} is in use by another process; "
            "choose another with --port, or --port 0 for a free one"
        )
    reason = exc.strerror or str(exc)
    return f"cannot listen at {settings.host} port {settings.port}: {reason}"


def _announce(
    held: ExitStack, settings: Settings, url: str, *, open_page: bool, show_token: bool
) -> None:
    """Say on stdout and in the run file where the server is, and open its page."""
    from socketprogress.client.runfile import RunFile, ServerAddress

    address = ServerAddress(
        url=_local(url),
        token=settings.token,
        pid=os.getpid(),
        started_at=time.time(),
        data=str(settings.data),
    )
    try:
        held.enter_context(RunFile(address))
    except OSError as exc:
        log.warning("other commands will need --server: no run file can be kept: %s", exc)
    secret = f"/?token={quote(settings.token or '')}"
    click.echo(f"Listening on {url}{secret if show_token else ''}")
    if open_page:
        import webbrowser

        page = address.url + (secret if settings.token else "/")
        threading.Thread(target=webbrowser.open, args=(page,), daemon=True).start()


def _local(url: str) -> str:
    """Return a URL that reaches the server from this host, whatever it listens at."""
    parts = urlsplit(url)
    loopback = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(parts.hostname or "")  # noqa: S104
    return urlunsplit(parts._replace(netloc=f"{loopback}:{parts.port}")) if loopback else url

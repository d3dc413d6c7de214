"""`socketprogress run`: any command, its bar, its log and its exit code live in the browser."""

from __future__ import annotations

import logging
import os
import secrets
import shlex
import signal
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import click

from socketprogress.cli.launch import exit_code, launch, reason

if TYPE_CHECKING:
    from socketprogress.cli.session import Session
    from socketprogress.client.reporter import Reporter

__all__ = ["command"]

log = logging.getLogger(__name__)

MARK = "SOCKETPROGRESS_RUN_MARK"
SWITCH_S = 0.0005  # so that passing output on never waits long for who reads along
TITLE_CHARS = 500
INTERRUPTED = {-signal.SIGINT, 128 + signal.SIGINT}


@click.command(
    name="run", context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False}
)
@click.option("--title", metavar="TITLE", help="What people see; default: the command.")
@click.option(
    "--server",
    metavar="URL",
    help="The server; default: SOCKETPROGRESS_URL, or the one that runs on this host.",
)
@click.option("--token", metavar="TOKEN", help="The server's token; or SOCKETPROGRESS_TOKEN.")
@click.argument("argv", nargs=-1, required=True, type=click.UNPROCESSED, metavar="-- COMMAND …")
@click.pass_context
def command(
    ctx: click.Context,
    /,
    *,
    title: str | None,
    server: str | None,
    token: str | None,
    argv: tuple[str, ...],
) -> None:
    """Run any command and follow it in the browser.

    It runs as it would without us: same streams, same terminal, same signals, same exit code, with a
    server or without. Its output is the task's log, a bar or a percent in it the task's progress, and
    cancelling the task ends whatever the command has started.
    """
    _check(server)
    ctx.exit(_Run(list(argv), title=title, server=server, token=token).run())


def _check(server: str | None) -> None:
    from socketprogress.client.origin import parse_url

    if server is not None:
        try:
            parse_url(server)
        except ValueError as exc:
            raise click.UsageError(f"--server: {exc}") from None


class _Run:
    """One command and its task, which is opened when the command runs already."""

    def __init__(
        self, argv: list[str], *, title: str | None, server: str | None, token: str | None
    ) -> None:
        self._argv = argv
        self._title = title or shlex.join(argv)[:TITLE_CHARS]
        self._server, self._token = server, token
        self._task_id = secrets.token_hex(16)
        self._mark = f"{MARK}={secrets.token_hex(16)}"
        self._session: Session | None = None
        self._reporter: Reporter | None = None
        self._opener = threading.Thread(target=self._open, name="socketprogress-open", daemon=True)

    def run(self) -> int:
        """Run the command to its end; return the exit code."""
        from socketprogress.cli.session import TAKEN, Session
        from socketprogress.cli.signals import SignalQueue

        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        signals = SignalQueue(TAKEN)
        try:
            launched = launch(self._argv, self._environment(), signals=signals.signals)
        except (OSError, ValueError) as exc:
            return self._refuse(exc)
        sys.setswitchinterval(SWITCH_S)
        from socketprogress.cli.listener import Listener

        self._session = session = Session(launched, self._mark, signals, look=self._look)
        self._listener = Listener(session.taps)
        self._opener.start()
        status = session.run()
        self._opener.join()
        if self._reporter is not None:
            self._listener.finish(self._reporter)
            self._end(self._reporter, session, status)
        return exit_code(status)

    def _environment(self) -> dict[str, str]:
        """Return the command's environment: a Python child's own bars belong to this task."""
        from socketprogress.client.origin import origin_of

        name, _, value = self._mark.partition("=")
        more = {name: value}
        origin = origin_of(self._server, self._token)
        if origin is not None:
            more["SOCKETPROGRESS_PARENT"] = self._task_id
            if origin.url:
                more["SOCKETPROGRESS_URL"] = origin.url
            if origin.token:
                more["SOCKETPROGRESS_TOKEN"] = origin.token
        return {**os.environ, **more}

    def _open(self) -> None:
        from socketprogress.client.reporter import Reporter

        try:
            reporter = Reporter(
                Path(self._argv[0]).name,
                title=self._title,
                url=self._server,
                token=self._token,
                task_id=self._task_id,
            )
        except Exception as exc:  # noqa: BLE001 - the command must not fail for whatever is wrong
            log.warning("the command is not reported: %s", exc)
            return
        if self._session is not None:
            reporter.attach(None, self._session.wake)
        self._reporter = reporter

    def _look(self) -> None:
        reporter, session = self._reporter, self._session
        if reporter is not None and session is not None:
            if reporter.cancel_requested:
                session.cancel()
            self._listener.look(reporter)

    def _refuse(self, exc: OSError | ValueError) -> int:
        error = exc if isinstance(exc, OSError) else OSError(0, str(exc))
        code, words = reason(self._argv[0], error)
        click.echo(f"socketprogress run: {words}", err=True)
        self._open()
        if self._reporter is not None:
            self._reporter.end(
                "failed", error={"code": "exit_status", "message": f"{words} (exit status {code})"}
            )
        return code

    def _end(self, reporter: Reporter, session: Session, status: int) -> None:
        reporter.result = {"exit_code": exit_code(status)}
        if session.cancelled:
            reporter.end("cancelled")
        elif status == 0:
            reporter.end("completed")
        elif session.interrupted or status in INTERRUPTED:
            words = f"interrupted: {_ending(status)}"
            reporter.end("cancelled", error={"code": "interrupted", "message": words})
        else:
            reporter.end("failed", error={"code": "exit_status", "message": _ending(status)})


def _ending(status: int) -> str:
    if status >= 0:
        return f"exit status {status}"
    try:
        return f"killed by {signal.Signals(-status).name}"
    except ValueError:
        return f"killed by signal {-status}"

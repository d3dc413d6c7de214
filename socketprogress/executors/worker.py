"""The program of a worker process: runs one body after the other for the server that started it.

Started as ``python -m socketprogress.executors.worker`` in a session of its own, with commands
coming in on descriptor 3 and reports going out on descriptor 4, one JSON object a line. It imports
the core and the user's modules, nothing else of this package.
"""

from __future__ import annotations

import contextlib
import faulthandler
import json
import os
import select
import signal
import sys
import threading
from _queue import SimpleQueue  # the C queue: a user's monkey patching never replaces it
from collections.abc import Mapping, Sequence
from dataclasses import replace
from posix import read, write
from types import FrameType
from typing import Any

from socketprogress.core.errors import Cancelled
from socketprogress.core.ports import Report
from socketprogress.core.reporter import Sampler
from socketprogress.core.state import TaskError
from socketprogress.executors.body import Body
from socketprogress.executors.modules import Modules
from socketprogress.executors.results import condense, describe, dumps
from socketprogress.executors.tidy import Tidy, flush_output, write_lines_at_once
from socketprogress.executors.tree import kill_tree
from socketprogress.executors.wire import (
    COMMANDS,
    MARK,
    REPORTS,
    job_from_wire,
    outcome_to_wire,
)

__all__ = ["Worker"]

PARENT_CHECK_MS = 1_000
NICENESS = 5


class Worker:
    """Serves one server until it says quit, or is gone."""

    def __init__(self) -> None:
        self._server = os.getppid()
        self._mark = f"{MARK}={os.environ.get(MARK, '')}".encode()
        self._sending = threading.Lock()
        self._jobs: SimpleQueue[Body | None] = SimpleQueue()
        self._accepted: Body | None = None
        self._body: Body | None = None
        self._terminated = False
        self._sampler = Sampler(self)
        self._modules = Modules()

    def serve(self) -> bool:
        """Run bodies as they come; return whether the process may end in the ordinary way."""
        self._prepare()
        control = threading.Thread(target=self._listen, name="socketprogress-control", daemon=True)
        control.start()
        self._tell({"ready": os.getpid()})
        tidy = Tidy(mark=self._mark)
        write_lines_at_once()
        while (body := self._jobs.get()) is not None:
            tidy.remember()
            self._work(body)
            left = tidy.up()
            self._tell({"leaving": left} if left else {"idle": True})
            if left:
                return "threads" not in left
        return True

    def send(self, reports: Sequence[Report]) -> None:
        """Take the sampler's reports."""
        self._tell({"reports": condense(reports)})

    def _prepare(self) -> None:
        for descriptor in (COMMANDS, REPORTS):
            os.set_inheritable(descriptor, False)
        os.closerange(REPORTS + 1, 4_096)
        os.nice(NICENESS)  # where work wants every core, the server still answers first
        faulthandler.enable()
        # A handler that does nothing, as an ignored signal would stay ignored in child programs.
        signal.signal(signal.SIGINT, lambda *_: None)
        signal.signal(signal.SIGTERM, self._on_sigterm)
        os.register_at_fork(after_in_child=_become_a_plain_process)
        for stream in (sys.stdout, sys.stderr):
            stream.reconfigure(  # type: ignore[union-attr]
                encoding="utf-8", errors="backslashreplace", line_buffering=True
            )

    def _work(self, body: Body) -> None:
        self._body, self._terminated = body, False
        # What the body opens with this package's client, here or in a child process, belongs to it.
        os.environ["SOCKETPROGRESS_PARENT"] = body.job.task_id
        self._tell({"started": True})
        self._sampler.add(body.reporter)
        reference = body.job.function or ""
        outcome = body.run(lambda: self._modules.function(reference))
        if self._terminated and not body.reporter.cancel_requested:
            error = TaskError("interrupted", "the worker process was ended by SIGTERM")
            outcome = replace(outcome, error=outcome.error or error)
        flush_output()
        try:
            self._sampler.remove(body.reporter)
        except Exception as exc:  # noqa: BLE001 - attributes of a user's own types may raise
            line = f"The last report is left out: {describe(exc)}"
            outcome = replace(outcome, traceback=(*outcome.traceback, line))
        self._body = None
        self._tell({"ended": outcome_to_wire(outcome)})

    def _on_sigterm(self, _number: int, _frame: FrameType | None) -> None:
        body = self._body
        if body is not None and body.armed:
            self._terminated = True
            raise Cancelled("the worker process got SIGTERM")

    def _tell(self, message: Mapping[str, Any]) -> None:
        data = dumps(message) + b"\n"
        with self._sending, contextlib.suppress(BrokenPipeError):  # `_listen` sees to that
            while data:
                data = data[write(REPORTS, data) :]

    def _listen(self) -> None:
        poll = select.poll()
        poll.register(COMMANDS, select.POLLIN)
        rest = b""
        while True:
            if not poll.poll(PARENT_CHECK_MS):
                # A process forked off the server may hold the pipe open after the server's death.
                if os.getppid() != self._server:
                    self._die()
                continue
            data = read(COMMANDS, 65_536)
            if not data:
                self._die()
            *lines, rest = (rest + data).split(b"\n")
            for line in lines:
                self._obey(json.loads(line))

    def _obey(self, command: Mapping[str, Any]) -> None:
        if "path" in command:
            sys.path[:] = command["path"]
            if command["pythonpath"] is None:
                os.environ.pop("PYTHONPATH", None)
            else:
                os.environ["PYTHONPATH"] = command["pythonpath"]
        elif "run" in command:
            self._accepted = Body(job_from_wire(command["run"]))
            self._jobs.put(self._accepted)
        elif "cancel" in command and self._accepted is not None:
            self._accepted.cancel()
        elif "quit" in command:
            self._jobs.put(None)

    def _die(self) -> None:
        """End with everything that was started here: the server is gone."""
        kill_tree(os.getpid(), mark=self._mark)
        os.killpg(0, signal.SIGKILL)


def _become_a_plain_process() -> None:
    """Undo in a forked child what makes a worker: its signals and its pipes."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for descriptor in (COMMANDS, REPORTS):
        with contextlib.suppress(OSError):
            os.close(descriptor)


if __name__ == "__main__":
    ordinary = Worker().serve()
    if not ordinary:
        flush_output()
        os._exit(0)

"""One run of a task function, from its arguments to its outcome; the same in every executor."""

from __future__ import annotations

import contextlib
import inspect
import sys
from collections.abc import Awaitable, Callable, Iterator
from functools import partial
from typing import Any

from socketprogress.core.arguments import Binding
from socketprogress.core.errors import Cancelled, TaskFailure
from socketprogress.core.ports import Job, Outcome
from socketprogress.core.reporter import Reporter
from socketprogress.core.state import TASK_ERROR_CODES, TaskError
from socketprogress.core.status import Status
from socketprogress.executors.results import NotJSON, describe, plain, trace

__all__ = ["Body", "timed_out"]


class Body:
    """Runs a job's function once.

    Args:
        job: what to run; its own `call` is not looked at.
        reporter: what the function reports to; one of the job's own by default.

    Attributes:
        reporter: what the function reports to.
        armed: whether the user's code runs at this moment, so that an exception may be raised
            into it from outside.
    """

    def __init__(self, job: Job, reporter: Reporter | None = None) -> None:
        self.job = job
        self.reporter = reporter or Reporter(
            job.function or "task",
            title=job.title or None,
            unit=job.unit,
            steps=job.steps,
            task_id=job.task_id,
            cancellable=job.cancellable,
            output_dir=job.output_dir,
        )
        self.armed = False
        self._wake: Callable[[], object] | None = None

    def run(self, load: Callable[[], Callable[..., Any]]) -> Outcome:
        """Call what `load` returns and turn its end, whatever it is, into an outcome."""
        try:
            try:
                self.arm()
                value = self._call(load)
            finally:
                self.disarm()
        except BaseException as exc:  # noqa: BLE001 - also SystemExit: no body ends the process that runs it
            return self._ended_by(exc)
        return self._completed(value)

    def cancel(self) -> None:
        """Ask the function to stop; one that awaits is woken up. Safe from any thread."""
        self.reporter.cancel_requested = True
        wake = self._wake
        if wake is not None and self.job.cancellable:
            with contextlib.suppress(RuntimeError):  # its loop has just been closed
                wake()

    def arm(self) -> None:
        """Allow exceptions from outside from now on."""
        self.armed = True

    def disarm(self) -> None:
        """Allow none any more; when this returns, none is on its way either."""
        self.armed = False

    def _call(self, load: Callable[[], Callable[..., Any]]) -> Any:
        self.reporter.check()
        function = load()
        if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
            raise TypeError(f"{function.__qualname__} is a generator: nothing would ever run it")
        binding = Binding(function)
        arguments = binding.convert(self.job.args)
        if binding.reporter is not None:
            arguments[binding.reporter] = self.reporter
        value = function(**arguments)
        return self._wait_for(value) if inspect.isawaitable(value) else value

    def _wait_for(self, awaitable: Awaitable[Any]) -> Any:
        import asyncio  # noqa: PLC0415 - costs 25 ms and 6 MB, which most bodies can do without

        async def main() -> Any:
            task = asyncio.current_task()
            if task is not None:
                self._wake = partial(asyncio.get_running_loop().call_soon_threadsafe, task.cancel)
            if self.reporter.cancel_requested:
                self.cancel()
            try:
                return await awaitable
            finally:
                self._wake = None

        return asyncio.run(main())

    def _completed(self, value: Any) -> Outcome:
        if value is None:
            value = self.reporter.result
        try:
            return Outcome(Status.COMPLETED, result=plain(value))
        except NotJSON as exc:
            with contextlib.suppress(Cancelled):  # the line is kept before it is raised
                self.reporter.log(f"The result is left out: {exc}")
            return Outcome(Status.COMPLETED)

    def _ended_by(self, exc: BaseException) -> Outcome:
        if self._is_cancellation(exc):
            return Outcome(Status.CANCELLED)
        if isinstance(exc, TaskFailure):
            code = exc.code if exc.code in TASK_ERROR_CODES else "exception"
            error = TaskError(code, " ".join(str(exc).split())[:500])
            lines = trace(exc) if exc.__cause__ is not None else ()
            return Outcome(Status.FAILED, error=error, traceback=lines)
        return Outcome(
            Status.FAILED, error=TaskError("exception", describe(exc)), traceback=trace(exc)
        )

    def _is_cancellation(self, exc: BaseException) -> bool:
        if isinstance(exc, Cancelled):
            return True
        if not self.reporter.cancel_requested:
            return False
        asyncio = sys.modules.get("asyncio")
        kinds: tuple[type[BaseException], ...] = (Cancelled, KeyboardInterrupt)
        if asyncio is not None:
            kinds = (*kinds, asyncio.CancelledError)
        return any(isinstance(origin, kinds) for origin in _origins(exc))


def timed_out(timeout_s: float) -> Outcome:
    """Return the outcome of a body that took longer than `timeout_s` seconds."""
    message = f"it took longer than {timeout_s:g} s"
    return Outcome(Status.FAILED, error=TaskError("timeout", message))


def _origins(exc: BaseException) -> Iterator[BaseException]:
    """Yield the exception and all that it was raised from, grouped or chained."""
    waiting, seen = [exc], set[int]()
    while waiting:
        one = waiting.pop()
        if id(one) in seen:
            continue
        seen.add(id(one))
        yield one
        waiting.extend(e for e in (one.__cause__, one.__context__) if e is not None)
        if isinstance(one, BaseExceptionGroup):
            waiting.extend(one.exceptions)

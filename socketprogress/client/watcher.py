"""`Client`: starts tasks of a server, watches them to their end, and asks for that end."""

from __future__ import annotations

import asyncio
import math
import os
import weakref
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from itertools import chain
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

from socketprogress.client.address import locate
from socketprogress.client.channel import State
from socketprogress.client.connect import Connection
from socketprogress.client.feed import OUTAGE_S, OnOutage, Watch
from socketprogress.core.errors import ConfigurationError, TaskCancelled, TaskFailure
from socketprogress.core.status import TERMINAL

__all__ = ["Client", "Pages", "Task", "TaskView"]

T = TypeVar("T")

PAGE = 1_000


class TaskView(Mapping[str, Any]):
    """A task at one moment, as the server told of it: ``view.progress``, or ``view["progress"]``.

    It never changes. Times are Unix seconds, durations seconds, `progress` percent; unknown is None.
    One from a list has no `steps`, `result` and `files`.
    """

    __slots__ = ("_fields",)

    _fields: dict[str, Any]
    task_id: str
    name: str
    title: str
    status: str
    progress: float | None
    current: float
    total: float | None
    unit: str
    message: str
    steps: list[dict[str, Any]]
    rate: float | None
    eta_s: float | None
    eta_low_s: float | None
    eta_high_s: float | None
    usual_s: float | None
    elapsed_s: float | None
    created_at: float
    started_at: float | None
    updated_at: float | None
    finished_at: float | None
    cancellable: bool
    cancel_requested: bool
    result: Any
    files: list[dict[str, Any]]
    error: dict[str, str] | None
    source: str
    host: str | None
    parent_id: str | None
    tags: list[str]
    epoch: str
    seq: int

    def __init__(self, fields: Mapping[str, Any]) -> None:
        object.__setattr__(self, "_fields", dict(fields))

    @property
    def ended(self) -> bool:
        """Whether it is completed, failed or cancelled, and so will never change again."""
        return self["status"] in TERMINAL

    def __getitem__(self, name: str) -> Any:
        return self._fields[name]

    def __getattr__(self, name: str) -> Any:
        if not name.startswith("_") and name in self:
            return self[name]
        raise AttributeError(f"this view of a task has no {name!r}; it has {', '.join(self)}")

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"{name!r} cannot be set: a view of a task never changes")

    def __iter__(self) -> Iterator[str]:
        return iter(self._fields)

    def __len__(self) -> int:
        return len(self._fields)

    def __repr__(self) -> str:
        shown = "indeterminate" if self.progress is None else f"{self.progress:g} %"
        return f"<TaskView {self.task_id} {self.name!r} {self.status} {shown}>"

    def __reduce__(self) -> tuple[Any, ...]:
        return TaskView, (dict(self),)


class Client:
    """A server's tasks, from a script, a service or a notebook; any thread may use it.

    It connects with the first call, and again whenever that is needed. Each call is one short
    exchange and waits for its answer; in asyncio, hand it to a thread::

        task = await asyncio.to_thread(client.start, "checksum")
        async for state in task.watch(): ...

    Args:
        url: the server's base URL; by default `SOCKETPROGRESS_URL`, or else the server that this
            user runs on this host.
        token: what the server asks for; by default the one in the URL, `SOCKETPROGRESS_TOKEN`, or
            the one in the run file.
        timeout_s: seconds that connecting and each call may take.
    """

    def __init__(
        self, url: str | None = None, *, token: str | None = None, timeout_s: float = 10.0
    ) -> None:
        self.connection = Connection(lambda: locate(url, token), timeout_s=timeout_s)
        # A client that is let go of, also at the interpreter's end, takes leave without waiting.
        self._farewell = weakref.finalize(self, self.connection.close, wait=False)

    @property
    def url(self) -> str:
        """The base URL of the server."""
        return self.connection.url

    def start(
        self,
        name: str | None = None,
        /,
        *,
        title: str | None = None,
        task_id: str | None = None,
        tags: Sequence[str] = (),
        args: Mapping[str, Any] | None = None,
        **more_args: Any,
    ) -> Task:
        """Start a task by the name of its definition: ``client.start("resize", folder="photos")``.

        Args:
            name: the definition; None for the server's default task.
            title: one line for people; the definition's own by default.
            task_id: its id; the same id again is the same task, not a second one.
            tags: words to find it by.
            args, more_args: the definition's arguments, JSON values or paths; `args` is for those
                that are called like one of these parameters.

        Raises:
            UnknownDefinition, InvalidArguments, InvalidPayload: with the `field` that is wrong.
            AlreadyRunning: with the ids of those that are `running`.
            Forbidden: the token is not an operator's.
            Unavailable: there is no server, or it does not answer.
        """
        arguments = {
            key: _json_value(value) for key, value in {**(args or {}), **more_args}.items()
        }
        if arguments and name is None:
            raise ConfigurationError("arguments need the name of a definition before them")
        wanted = {
            "task": name,
            "args": arguments,
            "title": title,
            "task_id": task_id,
            "tags": list(tags),
        }
        request = {key: value for key, value in wanted.items() if value}
        return Task(self, self.connection.call("start_task", request or None)["task_id"])

    def task(self, task_id: str) -> Task:
        """Return a task by its id; that there is none shows when it is used."""
        return Task(self, task_id)

    def list(
        self, *, status: str | Iterable[str] | None = None, search: str | None = None
    ) -> Pages[TaskView]:
        """Return the tasks: active before ended, newest first, fetched as far as iterated.

        Args:
            status: only those with this status, or one of these.
            search: only those with this in their title, name, id or tags.
        """
        wanted: dict[str, Any] = {}
        if status is not None:
            wanted["status"] = status if isinstance(status, str) else sorted(status)
        if search:
            wanted["search"] = search

        def fetch(cursor: Any) -> tuple[Iterable[TaskView], Any]:
            before = {} if cursor is None else {"before": cursor}
            page = self.connection.call("list_tasks", {**wanted, **before, "limit": PAGE})
            tasks = (TaskView(_as_of(task, page.get("now"))) for task in page["tasks"])
            return tasks, page["next"] if page["tasks"] else None

        return Pages(fetch)

    def definitions(self) -> Sequence[Mapping[str, Any]]:
        """Return what can be started: ``[{name, title, description, schema}]``."""
        found: Sequence[Mapping[str, Any]] = self.connection.call("list_definitions")["definitions"]
        return found

    def close(self) -> None:
        """Disconnect for good; watches that go on end with `Unavailable`."""
        self._farewell.detach()
        self.connection.close()

    def __enter__(self) -> Self:
        self.connection.open()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        await asyncio.to_thread(self.connection.open)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await asyncio.to_thread(self.close)


class Task:
    """One task of a server.

    Attributes:
        task_id: its id.
    """

    def __init__(self, client: Client, task_id: str) -> None:
        self.task_id = task_id
        self._client = client

    @property
    def url(self) -> str:
        """The address of its page."""
        return f"{self._client.url}/tasks/{self.task_id}"

    def watch(
        self,
        *,
        timeout: float | None = None,
        patience_s: float = OUTAGE_S,
        on_outage: OnOutage = lambda _error: None,
    ) -> Watch[TaskView]:
        """Return its states as they come, ``for`` or ``async for``: the newest first, its end last.

        A lost connection and a restarted server are waited for. Who is slow misses states in
        between, never the last.

        Args:
            timeout: seconds after which it ends even though the task goes on; None for never.
            patience_s: seconds without a server after which it gives up.
            on_outage: called with the reason when the server is gone, and with None when it is back.

        Raises:
            UnknownTask: while iterating: there is no such task, or no longer.
            Unavailable: while iterating: nobody answers, or the server did not come back.
        """
        return Watch(
            self._client.connection.feed(self.task_id, patience_s=patience_s),
            timeout_s=math.inf if timeout is None else timeout,
            on_outage=on_outage,
            view=_View(self._client),
        )

    def state(self) -> TaskView:
        """Return its state at this moment.

        Raises:
            UnknownTask: there is no such task.
            Unavailable: there is no server, or it does not answer.
        """
        with self.watch() as states:
            return next(states)

    def result(self, timeout: float | None = None) -> Any:
        """Wait for its end and return what it has returned.

        Args:
            timeout: seconds to wait at most; None for as long as it takes.

        Raises:
            TaskFailure: it has failed; `code` says how.
            TaskCancelled: it was cancelled.
            TimeoutError: it has not ended in time.
        """
        last = None
        for state in self.watch(timeout=timeout):
            last = state
        return self._outcome(last, timeout)

    async def wait(self, timeout: float | None = None) -> Any:
        """Wait for its end in asyncio and return what it has returned; else as `result`."""
        last = None
        async for state in self.watch(timeout=timeout):
            last = state
        return self._outcome(last, timeout)

    def cancel(self) -> TaskView:
        """Ask for its end, and return its state at this moment.

        Raises:
            TaskEnded: it has ended before.
            NotCancellable: it may not be cancelled.
        """
        return TaskView(self._client.connection.call("cancel_task", self.task_id)["task"])

    def retry(self) -> Task:
        """Start it again with the same arguments, and return the new task."""
        answer = self._client.connection.call("retry_task", self.task_id)
        return Task(self._client, answer["task_id"])

    def log(self) -> Pages[str]:
        """Return the lines of its log, fetched as far as iterated."""

        def fetch(cursor: Any) -> tuple[Iterable[str], Any]:
            wanted = {"task_id": self.task_id, "offset": cursor or 0, "limit": PAGE}
            page = self._client.connection.call("get_log", wanted)
            return page["lines"], page["next_offset"] if page["lines"] else None

        return Pages(fetch)

    def _outcome(self, state: TaskView | None, timeout_s: float | None) -> Any:
        if state is None or not state.ended:
            status = "unknown" if state is None else state.status.replace("_", " ")
            raise TimeoutError(f"task {self.task_id} is {status} after {timeout_s:g} s")
        error = state.error or {"code": "", "message": ""}
        if state.status == "failed":
            raise TaskFailure(error["message"], code=error["code"])
        if state.status == "cancelled":
            raise TaskCancelled(error["message"] or f"task {self.task_id} was cancelled")
        return state.result

    def __repr__(self) -> str:
        return f"<Task {self.task_id}>"


class Pages(Generic[T]):
    """What a server tells a page at a time; to be iterated over with `for` and with `async for`.

    Args:
        fetch: returns a page and the cursor of the next (None after the last), given the cursor
            (None for the first).
    """

    def __init__(self, fetch: Callable[[Any], tuple[Iterable[T], Any]]) -> None:
        self._fetch = fetch

    def __iter__(self) -> Iterator[T]:
        return chain.from_iterable(self._pages())

    async def __aiter__(self) -> AsyncIterator[T]:
        pages = self._pages()
        while (page := await asyncio.to_thread(next, pages, None)) is not None:
            for item in page:
                yield item

    def _pages(self) -> Iterator[Iterable[T]]:
        page, cursor = self._fetch(None)
        yield page
        while cursor is not None:
            page, cursor = self._fetch(cursor)
            yield page


class _View:
    """Makes views, and keeps the client as long as somebody watches."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def __call__(self, state: State) -> TaskView:
        return TaskView(state)


def _as_of(task: State, now: float | None) -> State:
    """Return a task whose elapsed seconds are those at the server's time `now`."""
    known, told_at = task["elapsed_s"], task["updated_at"]
    if now is None or known is None or told_at is None or task["status"] != "in_progress":
        return task
    return {**task, "elapsed_s": round(known + max(now - told_at, 0.0), 3)}


def _json_value(value: Any) -> Any:
    return os.fspath(value) if isinstance(value, os.PathLike) else value

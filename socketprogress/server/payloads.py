"""What clients send, checked: the same rules for a Socket.IO event and for a JSON route.

Each function takes the raw JSON value (None, a text, an object, anything at all) and returns what
was meant, or raises `InvalidPayload` with the `field` that is to blame.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from socketprogress.core.errors import InvalidPayload
from socketprogress.core.fields import clean, fields_of, tags_of, text_of, wrong
from socketprogress.core.hub import Filter
from socketprogress.core.protocol import STATUSES, check_task_id, one_line
from socketprogress.server.settings import Settings

__all__ = [
    "ListRequest",
    "LogRequest",
    "StartRequest",
    "WatchRequest",
    "clean",
    "fields_of",
    "list_request",
    "log_request",
    "no_request",
    "start_request",
    "tags_of",
    "task_request",
    "text_of",
    "watch_request",
]

LIMIT = 200
MOST = 1000
LOG_BYTES = 256 * 1024
OFFSETS = range(-(2**53), 2**53)


@dataclass(frozen=True, slots=True)
class StartRequest:
    """What to start; `task` is None for the default task."""

    task: str | None
    args: Mapping[str, Any]
    title: str | None
    task_id: str | None
    tags: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ListRequest:
    """Which tasks to list, from which cursor on, how many at most."""

    filter: Filter
    before: str | None
    limit: int


@dataclass(frozen=True, slots=True)
class WatchRequest:
    """Which task to watch, and the newest state of it that the client has."""

    task_id: str
    epoch: str | None
    seq: int | None


@dataclass(frozen=True, slots=True)
class LogRequest:
    """Which lines of which task's log, and how many bytes of them at most, but one line at least.

    A negative offset counts from the end.
    """

    task_id: str
    offset: int
    limit: int
    bytes: int


def start_request(data: Any, limits: Settings) -> StartRequest:
    """Return what nothing, a task name, or ``{task, args, title?, task_id?, tags?}`` asks for.

    Raises:
        InvalidPayload: with the `field`; inside `args` it is the argument's name, nested ``a.b``.
    """
    given = fields_of(
        {} if data is None else data,
        ("task", "args", "title", "task_id", "tags"),
        limits,
        short="task",
    )
    args = given.get("args")
    if args is not None and not isinstance(args, dict):
        raise wrong("args", "an object", args)
    task_id = given.get("task_id")
    return StartRequest(
        task=text_of(given, "task", limits.max_name_chars),
        args=args or {},
        title=text_of(given, "title", limits.max_title_chars),
        task_id=None if task_id is None else check_task_id(task_id),
        tags=tags_of(given.get("tags"), limits),
    )


def list_request(data: Any, limits: Settings, *, paged: bool = True) -> ListRequest:
    """Return what nothing or ``{status?, search?, parent_id?, before?, limit?}`` asks for.

    Args:
        data: `status` is one word, several with commas between them, or a list of words.
        limits: the server's bounds.
        paged: whether there may be a `before`; a live list has none.

    Raises:
        InvalidPayload: with the `field`.
    """
    names = ("status", "search", "parent_id", "limit", *(("before",) if paged else ()))
    given = fields_of({} if data is None else data, names, limits)
    search = text_of(given, "search", limits.max_title_chars) or ""
    parent_id = given.get("parent_id")
    if parent_id is not None:
        check_task_id(parent_id, field="parent_id")
    return ListRequest(
        filter=Filter(_statuses(given.get("status")), one_line(search, len(search)), parent_id),
        before=text_of(given, "before", limits.max_name_chars) or None,
        limit=_integer(given, "limit", range(1, MOST + 1), default=LIMIT),
    )


def task_request(data: Any, limits: Settings) -> str:
    """Return the id that a task id or ``{task_id}`` names.

    Raises:
        InvalidPayload: with the field ``task_id``, or the one that is unknown.
    """
    given = fields_of(data, ("task_id",), limits, short="task_id")
    return check_task_id(given.get("task_id"))


def watch_request(data: Any, limits: Settings) -> WatchRequest:
    """Return what a task id or ``{task_id, epoch?, seq?}`` asks for.

    Raises:
        InvalidPayload: with the `field`.
    """
    given = fields_of(data, ("task_id", "epoch", "seq"), limits, short="task_id")
    seq = given.get("seq")
    return WatchRequest(
        task_id=check_task_id(given.get("task_id")),
        epoch=text_of(given, "epoch", limits.max_name_chars),
        seq=None if seq is None else _integer(given, "seq", range(2**53), default=0),
    )


def no_request(data: Any, limits: Settings) -> None:
    """Take nothing, or an empty object.

    Raises:
        InvalidPayload: there is more.
    """
    fields_of({} if data is None else data, (), limits)


def log_request(data: Any, limits: Settings) -> LogRequest:
    """Return what a task id or ``{task_id, offset?, limit?, bytes?}`` asks for.

    Raises:
        InvalidPayload: with the `field`.
    """
    given = fields_of(data, ("task_id", "offset", "limit", "bytes"), limits, short="task_id")
    return LogRequest(
        task_id=check_task_id(given.get("task_id")),
        offset=_integer(given, "offset", OFFSETS, default=0),
        limit=_integer(given, "limit", range(1, MOST + 1), default=LIMIT),
        bytes=_integer(given, "bytes", range(1, LOG_BYTES + 1), default=LOG_BYTES),
    )


def _integer(given: Mapping[str, Any], name: str, allowed: range, *, default: int) -> int:
    value = given.get(name)
    if value is None:
        return default
    if not isinstance(value, int) or isinstance(value, bool):
        raise wrong(name, "an integer", value)
    if value not in allowed:
        raise InvalidPayload(
            f"{name} must be between {allowed.start} and {allowed.stop - 1}, not {value}",
            field=name,
        )
    return value


def _statuses(value: Any) -> frozenset[str]:
    if value is None:
        return frozenset()
    words = value.split(",") if isinstance(value, str) else value
    if not isinstance(words, list):
        raise wrong("status", "a status or an array of them", value)
    found = []
    for word in words:
        name = word.strip() if isinstance(word, str) else word
        if name == "":
            continue
        if name not in STATUSES:
            raise InvalidPayload(
                f"{str(word)[:80]!r} is no status; there are: {', '.join(STATUSES)}",
                field="status",
            )
        found.append(name)
    return frozenset(found)

"""What clients send, checked: the same rules for a Socket.IO event and for a JSON route.

Each function takes the raw JSON value (None, a text, an object, anything at all) and returns what
was meant, or raises `InvalidPayload` with the `field` that is to blame.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from socketprogress.core.errors import InvalidPayload
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
INTEGERS = range(-(2**63), 2**63)
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
    """Which lines of which task's log; a negative offset counts from the end."""

    task_id: str
    offset: int
    limit: int


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
        raise _wrong("args", "an object", args)
    task_id = given.get("task_id")
    return StartRequest(
        task=text_of(given, "task", limits.max_name_chars),
        args=args or {},
        title=text_of(given, "title", limits.max_title_chars),
        task_id=None if task_id is None else check_task_id(task_id),
        tags=tags_of(given.get("tags"), limits),
    )


def list_request(data: Any, limits: Settings, *, paged: bool = True) -> ListRequest:
    """Return what nothing or ``{status?, search?, before?, limit?}`` asks for.

    Args:
        data: `status` is one word, several with commas between them, or a list of words.
        limits: the server's bounds.
        paged: whether there may be a `before`; a live list has none.

    Raises:
        InvalidPayload: with the `field`.
    """
    names = ("status", "search", "before", "limit") if paged else ("status", "search", "limit")
    given = fields_of({} if data is None else data, names, limits)
    search = text_of(given, "search", limits.max_title_chars)
    return ListRequest(
        filter=Filter(_statuses(given.get("status")), one_line(search or "", len(search or ""))),
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
    """Return what a task id or ``{task_id, offset?, limit?}`` asks for.

    Raises:
        InvalidPayload: with the `field`.
    """
    given = fields_of(data, ("task_id", "offset", "limit"), limits, short="task_id")
    return LogRequest(
        task_id=check_task_id(given.get("task_id")),
        offset=_integer(given, "offset", OFFSETS, default=0),
        limit=_integer(given, "limit", range(1, MOST + 1), default=LIMIT),
    )


def clean(value: Any, *, most_deep: int, field: str | None = None) -> Any:
    """Return a JSON value without lone surrogates, or refuse what JSON cannot carry on.

    Args:
        value: any value that a JSON parser returns.
        most_deep: how many arrays and objects may be nested.
        field: what to blame.

    Raises:
        InvalidPayload: too deep, not finite, an integer beyond 64 bits, or binary.
    """
    if isinstance(value, str):
        return _scalar_text(value)
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        if value not in INTEGERS:
            raise InvalidPayload("an integer is beyond 64 bits", field=field)
        return value
    if isinstance(value, float):
        if not math.isfinite(value):
            raise InvalidPayload("a number is not finite", field=field)
        return value
    if most_deep < 1:
        raise InvalidPayload("the payload is nested too deeply", field=field)
    if isinstance(value, list):
        return [clean(item, most_deep=most_deep - 1, field=field) for item in value]
    if isinstance(value, dict):
        return {
            _scalar_text(str(key)): clean(item, most_deep=most_deep - 1, field=_inner(field, key))
            for key, item in value.items()
        }
    raise InvalidPayload(f"a {type(value).__name__} is no JSON value", field=field)


def _scalar_text(text: str) -> str:
    return text.encode("utf-8", "replace").decode("utf-8")


def _inner(field: str | None, key: Any) -> str:
    name = one_line(str(key), 100)
    # The arguments are named without the `args` around them: that is what their form calls them.
    return name if field in {None, "args"} else f"{field}.{name}"


def fields_of(
    data: Any, names: tuple[str, ...], limits: Settings, *, short: str | None = None
) -> dict[str, Any]:
    """Return the payload's fields, cleaned; a bare text is the field `short`."""
    if isinstance(data, str) and short is not None:
        data = {short: data}
    if not isinstance(data, dict):
        raise _wrong(short, "an object", data)
    for name in data:
        if name not in names:
            known, culprit = ", ".join(names) or "nothing", one_line(str(name), 100)
            raise InvalidPayload(f"there is no {culprit!r}, only: {known}", field=culprit)
    fields: dict[str, Any] = clean(data, most_deep=limits.max_depth)
    return fields


def _wrong(field: str | None, wanted: str, value: Any) -> InvalidPayload:
    kinds = {str: "a text", dict: "an object", list: "an array", bool: "a boolean"}
    got = "null" if value is None else kinds.get(type(value), type(value).__name__)
    return InvalidPayload(f"{field or 'the payload'} must be {wanted}, not {got}", field=field)


def text_of(given: Mapping[str, Any], name: str, most: int) -> str | None:
    """Return a field that is a text of at most `most` characters, or None."""
    value = given.get(name)
    if value is None:
        return None
    if not isinstance(value, str):
        raise _wrong(name, "a text", value)
    if len(value) > most:
        raise InvalidPayload(
            f"{name} has {len(value)} characters and {most} is the most", field=name
        )
    return value


def _integer(given: Mapping[str, Any], name: str, allowed: range, *, default: int) -> int:
    value = given.get(name)
    if value is None:
        return default
    if not isinstance(value, int) or isinstance(value, bool):
        raise _wrong(name, "an integer", value)
    if value not in allowed:
        raise InvalidPayload(
            f"{name} must be between {allowed.start} and {allowed.stop - 1}, not {value}",
            field=name,
        )
    return value


def tags_of(value: Any, limits: Settings) -> tuple[str, ...]:
    """Return the tags of a task, each on one line."""
    if value is None:
        return ()
    if not isinstance(value, list):
        raise _wrong("tags", "an array of texts", value)
    if len(value) > limits.max_tags:
        raise InvalidPayload(
            f"there are {len(value)} tags and {limits.max_tags} is the most", field="tags"
        )
    for tag in value:
        text_of({"tags": tag}, "tags", limits.max_name_chars)
        if tag is None:
            raise _wrong("tags", "an array of texts", tag)
    lines = (one_line(tag, limits.max_name_chars) for tag in value)
    return tuple(line for line in lines if line)


def _statuses(value: Any) -> frozenset[str]:
    if value is None:
        return frozenset()
    words = value.split(",") if isinstance(value, str) else value
    if not isinstance(words, list):
        raise _wrong("status", "a status or an array of them", value)
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

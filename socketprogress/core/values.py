"""What work returns, as strict JSON, and the exceptions that end it, in wire form."""

from __future__ import annotations

import dataclasses
import enum
import json
import math
import os
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import msgspec

__all__ = ["MOST_BYTES", "NotJSON", "describe", "dumps", "plain", "trace"]

MOST_BYTES = 256 * 1024
MESSAGE_CHARS = 500
TRACE_LINES = 1_000
PACKAGE = Path(__file__).parent.parent
OUR_FRAMES = (
    *(f"{PACKAGE / part}{os.sep}" for part in ("client", "core", "executors")),
    "<frozen ",
)


class NotJSON(ValueError):
    """A value has no strict JSON form."""


def plain(value: Any, *, most_bytes: int = MOST_BYTES) -> Any:
    """Return the value made of JSON's own types.

    Paths become strings, dataclasses and structs objects, tuples lists, numpy's scalars numbers.

    Raises:
        NotJSON: something in it has no strict JSON form, or all of it is over `most_bytes`.
    """
    try:
        made = _plain(value)
        size = len(dumps(made))
    except NotJSON:
        raise
    except Exception as exc:
        raise NotJSON(f"it cannot be read: {describe(exc)}") from exc
    if size > most_bytes:
        raise NotJSON(f"its {size:,} bytes are over the limit of {most_bytes:,}")
    return made


def _plain(value: Any) -> Any:
    if value is None or type(value) is bool:
        return value
    for kind, convert in CONVERSIONS:
        if isinstance(value, kind):
            return convert(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = dataclasses.fields(value)
        return {field.name: _plain(getattr(value, field.name)) for field in fields}
    item = getattr(value, "item", None)
    if callable(item) and getattr(value, "shape", None) == ():
        return _plain(item())
    raise NotJSON(f"a {type(value).__qualname__} has no JSON form")


def _number(value: float) -> float:
    if not math.isfinite(value):
        raise NotJSON(f"{value!r} is no JSON number")
    return float(value)


def _object(value: Mapping[Any, Any]) -> dict[str, Any]:
    made: dict[str, Any] = {}
    for key, item in value.items():
        if not isinstance(key, str | int) or isinstance(key, bool):
            raise NotJSON(f"the key {key!r} is no string")
        made[_text(str(key))] = _plain(item)
    return made


def _text(value: str) -> str:
    """Return the text without lone surrogates, which undecodable file names bring along."""
    return str.__str__(value).encode("utf-8", "replace").decode()


CONVERSIONS: tuple[tuple[Any, Callable[[Any], Any]], ...] = (
    (enum.Enum, lambda value: _plain(value.value)),
    (str, _text),
    (int, int),
    (float, _number),
    (Mapping, _object),
    (list | tuple, lambda value: [_plain(item) for item in value]),
    (os.PathLike, lambda value: _plain(os.fspath(value))),
    (msgspec.Struct, lambda value: _object(msgspec.structs.asdict(value))),
)


def dumps(value: Any) -> bytes:
    """Return strict, compact JSON without line breaks; what does not fit in becomes its `str`."""
    try:
        text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    except (TypeError, ValueError):
        text = json.dumps(_forgiving(value), ensure_ascii=False, separators=(",", ":"))
    return text.encode("utf-8", "replace")


def _forgiving(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _forgiving(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_forgiving(item) for item in value]
    try:
        return _plain(value)
    except NotJSON:
        return None if isinstance(value, float) else str(value)


def describe(exc: BaseException) -> str:
    """Return ``"ValueError: text"`` on one line of at most 500 characters."""
    try:
        text = " ".join(str(exc).split())
    except Exception:  # noqa: BLE001 - a user's __str__ may raise anything, and the name still tells something
        text = "(its text cannot be had)"
    name = type(exc).__qualname__
    return (f"{name}: {text}" if text else name)[:MESSAGE_CHARS]


def trace(exc: BaseException) -> tuple[str, ...]:
    """Return the traceback's lines, without the frames of ours that lead to the user's code."""
    try:
        shown = traceback.TracebackException(type(exc), exc, _theirs(exc.__traceback__))
        lines = "".join(shown.format()).splitlines()
    except Exception as broken:  # noqa: BLE001 - sources and __str__ of users may break the formatting
        lines = [describe(exc), f"(the traceback cannot be had: {describe(broken)})"]
    if len(lines) > TRACE_LINES:
        half = TRACE_LINES // 2
        lines[half:-half] = [f"… {len(lines) - 2 * half:,} lines left out"]
    return tuple(lines)


def _theirs(tb: TracebackType | None) -> TracebackType | None:
    while tb is not None and _is_ours(tb.tb_frame.f_code.co_filename):
        tb = tb.tb_next
    return tb


def _is_ours(filename: str) -> bool:
    return filename.startswith(OUR_FRAMES) or f"{os.sep}asyncio{os.sep}" in filename

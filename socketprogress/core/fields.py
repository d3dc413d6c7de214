"""What a client sends, field by field: the rules that hold for every payload."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from socketprogress.core.errors import InvalidPayload
from socketprogress.core.protocol import one_line

__all__ = ["Bounds", "Limits", "clean", "fields_of", "tags_of", "text_of", "wrong"]

INTEGERS = range(-(2**63), 2**63)


class Limits(Protocol):
    """The bounds of what a client may send; see `Settings`."""

    @property
    def max_payload_bytes(self) -> int:
        """The largest payload, in bytes."""

    @property
    def max_depth(self) -> int:
        """How deep arrays and objects may be nested."""

    @property
    def max_name_chars(self) -> int:
        """The longest name."""

    @property
    def max_title_chars(self) -> int:
        """The longest title."""

    @property
    def max_tags(self) -> int:
        """The most tags of a task."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """The limits where nobody has set others."""

    max_payload_bytes: int = 64 * 1024
    max_depth: int = 32
    max_name_chars: int = 200
    max_title_chars: int = 500
    max_tags: int = 100


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
    data: Any, names: tuple[str, ...], limits: Limits, *, short: str | None = None
) -> dict[str, Any]:
    """Return the payload's fields, cleaned; a bare text is the field `short`."""
    if isinstance(data, str) and short is not None:
        data = {short: data}
    if not isinstance(data, dict):
        raise wrong(short, "an object", data)
    for name in data:
        if name not in names:
            known, culprit = ", ".join(names) or "nothing", one_line(str(name), 100)
            raise InvalidPayload(f"there is no {culprit!r}, only: {known}", field=culprit)
    fields: dict[str, Any] = clean(data, most_deep=limits.max_depth)
    return fields


def wrong(field: str | None, wanted: str, value: Any) -> InvalidPayload:
    """Return the error for a value of the wrong kind."""
    kinds = {str: "a text", dict: "an object", list: "an array", bool: "a boolean"}
    got = "null" if value is None else kinds.get(type(value), type(value).__name__)
    return InvalidPayload(f"{field or 'the payload'} must be {wanted}, not {got}", field=field)


def text_of(given: Mapping[str, Any], name: str, most: int) -> str | None:
    """Return a field that is a text of at most `most` characters, or None."""
    value = given.get(name)
    if value is None:
        return None
    if not isinstance(value, str):
        raise wrong(name, "a text", value)
    if len(value) > most:
        raise InvalidPayload(
            f"{name} has {len(value)} characters and {most} is the most", field=name
        )
    return value


def tags_of(value: Any, limits: Limits) -> tuple[str, ...]:
    """Return the tags of a task, each on one line."""
    if value is None:
        return ()
    if not isinstance(value, list):
        raise wrong("tags", "an array of texts", value)
    if len(value) > limits.max_tags:
        raise InvalidPayload(
            f"there are {len(value)} tags and {limits.max_tags} is the most", field="tags"
        )
    for tag in value:
        text_of({"tags": tag}, "tags", limits.max_name_chars)
        if tag is None:
            raise wrong("tags", "an array of texts", tag)
    lines = (one_line(tag, limits.max_name_chars) for tag in value)
    return tuple(line for line in lines if line)

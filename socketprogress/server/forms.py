"""A start form's texts as arguments, read by the definition's JSON Schema."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from socketprogress.core.errors import InvalidArguments

__all__ = ["arguments"]

Schema = Mapping[str, Any]


def arguments(values: Mapping[str, str], schema: Schema) -> dict[str, Any]:
    """Return what a form means.

    What was left empty is left out. A checkbox that is not ticked is not sent at all: it is false.
    Numbers and booleans stay texts, for the definition to convert.

    Args:
        values: the texts by argument.
        schema: the definition's arguments.

    Raises:
        InvalidArguments: a field of JSON holds none.
    """
    properties: Schema = schema.get("properties", {})
    args: dict[str, Any] = {
        name: _value(name, text, _kind(properties.get(name, {}), schema))
        for name, text in values.items()
        if text.strip()
    }
    for name, kind in properties.items():
        if kind.get("type") == "boolean" and name not in values:
            args[name] = False
    return args


def _kind(part: Schema, schema: Schema) -> Schema:
    """Return the schema of a value itself: behind `null` as the other choice, and references."""
    for option in part.get("anyOf", ()):
        if option.get("type") != "null":
            part = option
            break
    name = part.get("$ref", "").rpartition("/")[2]
    found: Schema = schema.get("$defs", {}).get(name, part)
    return found


def _value(name: str, text: str, kind: Schema) -> Any:
    for option in kind.get("enum", ()):
        if text == option or text == json.dumps(option):
            return option
    if kind.get("type") not in {"array", "object"}:
        return text
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise InvalidArguments(f"{name} must be JSON, such as [1, 2]", field=name) from None

"""`key=value` arguments, turned into the JSON values that a definition's schema asks for."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from socketprogress.core.errors import InvalidArguments

__all__ = ["arguments", "coerce"]

Schema = Mapping[str, Any]
TRUE, FALSE = {"true", "yes", "on", "1"}, {"false", "no", "off", "0"}
KINDS = {
    "null": "null",
    "boolean": "true or false",
    "integer": "an integer",
    "number": "a number",
    "array": "a JSON array",
    "object": "a JSON object",
    "string": "a text",
}


def arguments(pairs: Sequence[str], schema: Schema) -> dict[str, Any]:
    """Return the arguments that `key=value` texts give.

    Args:
        pairs: the texts.
        schema: the JSON Schema of a definition's arguments.

    Raises:
        InvalidArguments: with the `field` to blame: a text without `=`, an argument that is
            unknown, missing, given twice, or of another kind.
    """
    known: Mapping[str, Schema] = schema.get("properties") or {}
    given: dict[str, Any] = {}
    for pair in pairs:
        name, equals, text = pair.partition("=")
        if not equals or not name:
            raise InvalidArguments(f"{pair!r} is no argument: write it as name=value", field=name)
        if name not in known:
            there_are = ", ".join(known) or "none"
            raise InvalidArguments(
                f"there is no argument {name!r}; there are: {there_are}", field=name
            )
        if name in given:
            raise InvalidArguments(f"the argument {name!r} is given twice", field=name)
        given[name] = coerce(name, text, known[name], schema)
    for name in schema.get("required") or ():
        if name not in given:
            raise InvalidArguments(
                f"the argument {name!r} is missing: add {name}=…", field=str(name)
            )
    return given


def coerce(name: str, text: str, schema: Schema, whole: Schema) -> Any:
    """Return a text as the JSON value that its schema asks for.

    Where several kinds fit, the most special one is taken: null, a boolean, a number, JSON, text.

    Args:
        name: the argument's name.
        text: what was typed.
        schema: the argument's own schema.
        whole: the schema that `$ref` points into.

    Raises:
        InvalidArguments: no kind fits.
    """
    parts = list(_parts(schema, whole))
    for choice in (choice for part in parts for choice in part.get("enum", ())):
        if text == (choice if isinstance(choice, str) else json.dumps(choice)):
            return choice
    kinds = {kind for part in parts if "enum" not in part for kind in _kinds(part)}
    for kind in KINDS:
        if kind in kinds:
            try:
                return _as_kind(kind, text)
            except ValueError:
                continue
    wanted = [json.dumps(choice) for part in parts for choice in part.get("enum", ())]
    wanted += [said for kind, said in KINDS.items() if kind in kinds]
    raise InvalidArguments(f"{name} must be {' or '.join(wanted)}, not {text!r}", field=name)


def _parts(schema: Schema, whole: Schema) -> Iterator[Schema]:
    """Yield the alternatives of a schema, references followed."""
    if "$ref" in schema:
        name = str(schema["$ref"]).rpartition("/")[2]
        yield from _parts((whole.get("$defs") or {}).get(name, {}), whole)
    elif "anyOf" in schema or "oneOf" in schema:
        for part in (*schema.get("anyOf", ()), *schema.get("oneOf", ())):
            yield from _parts(part, whole)
    else:
        yield schema


def _kinds(schema: Schema) -> Sequence[str]:
    kind = schema.get("type", list(KINDS))
    return [kind] if isinstance(kind, str) else list(kind)


def _as_kind(kind: str, text: str) -> Any:
    word = text.strip().lower()
    if kind == "string":
        return text
    if kind == "null" and word == "null":
        return None
    if kind == "boolean" and word in TRUE | FALSE:
        return word in TRUE
    if kind == "integer":
        return int(text)
    if kind == "number" and math.isfinite(number := float(text)):
        return number
    if kind in {"array", "object"}:
        value = json.loads(text)
        if isinstance(value, list if kind == "array" else dict):
            return value
    raise ValueError(f"{text!r} is no {kind}")

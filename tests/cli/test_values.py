"""`key=value` arguments."""

from __future__ import annotations

from typing import Any

import pytest

from socketprogress.cli.values import arguments
from socketprogress.core.errors import InvalidArguments

SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "path": {"type": "string"},
        "count": {"type": "integer"},
        "ratio": {"type": "number"},
        "deep": {"type": "boolean"},
        "maybe": {"anyOf": [{"type": "integer"}, {"type": "null"}]},
        "both": {"anyOf": [{"type": "string"}, {"type": "integer"}]},
        "names": {"type": "array", "items": {"type": "string"}},
        "options": {"$ref": "#/$defs/Options"},
        "level": {"enum": ["low", "high", 3]},
        "anything": {},
    },
    "required": ["path"],
    "$defs": {"Options": {"type": "object"}},
}


@pytest.mark.parametrize(
    ("pair", "value"),
    [
        ("count=7", 7),
        ("ratio=0.5", 0.5),
        ("ratio=3", 3.0),
        ("deep=true", True),
        ("deep=No", False),
        ("maybe=null", None),
        ("maybe=4", 4),
        ("both=12", 12),
        ("both=twelve", "twelve"),
        ('names=["a", "b"]', ["a", "b"]),
        ('options={"x": 1}', {"x": 1}),
        ("level=high", "high"),
        ("level=3", 3),
        ("anything=text", "text"),
        ("anything=[1]", [1]),
        ("path=a=b", "a=b"),
        ("path=", ""),
    ],
)
def test_a_value_becomes_what_its_schema_asks_for(pair: str, value: Any) -> None:
    given = arguments([pair] if pair.startswith("path") else ["path=.", pair], SCHEMA)

    name = pair.partition("=")[0]
    assert given[name] == value
    assert type(given[name]) is type(value)


@pytest.mark.parametrize(
    ("pairs", "field", "words"),
    [
        (["path=.", "count=x"], "count", "integer"),
        (["path=.", "ratio=nan"], "ratio", "number"),
        (["path=.", "names={}"], "names", "array"),
        (["path=.", "level=mid"], "level", '"low" or "high" or 3'),
        (["path=.", "colour=red"], "colour", "there are: path"),
        (["path=.", "path=/"], "path", "twice"),
        (["path=.", "loose"], "loose", "name=value"),
        (["count=1"], "path", "missing"),
    ],
)
def test_a_bad_argument_is_named_with_its_remedy(pairs: list[str], field: str, words: str) -> None:
    with pytest.raises(InvalidArguments, match=words) as caught:
        arguments(pairs, SCHEMA)

    assert caught.value.field == field
    assert field in str(caught.value)

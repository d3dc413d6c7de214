"""Which parameters of a function are arguments, and the schema of their form."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import msgspec
import pytest

from socketprogress.core.arguments import bind
from socketprogress.core.errors import ConfigurationError, InvalidArguments
from socketprogress.core.reporter import Reporter
from tests.core.signatures import (
    FUNCTIONS,
    Color,
    Crop,
    Look,
    name_of,
    of_int,
)

# -- which parameters are arguments --------------------------------------------------------------


def test_the_reporter_is_found_by_its_type_under_any_name() -> None:
    def copy(folder: Path, how_far: Reporter, width: int = 3) -> None: ...

    binding = bind(copy)

    assert binding.reporter == "how_far"
    assert list(binding.keywords) == ["folder", "width"]
    with pytest.raises(InvalidArguments, match="no argument 'how_far'"):
        binding.check({"folder": "x", "how_far": {}})


def test_a_first_parameter_of_its_name_is_the_reporter_where_nothing_says_otherwise() -> None:
    def plain(progress, width=3): ...  # type: ignore[no-untyped-def]
    def typed(progress: float) -> None: ...
    def second(width, progress): ...  # type: ignore[no-untyped-def]

    assert bind(plain).reporter == "progress"
    assert bind(typed).reporter is None
    assert bind(second).reporter is None


def test_a_function_may_do_without_a_reporter() -> None:
    assert bind(of_int).reporter is None


def test_open_ended_parameters_are_no_arguments() -> None:
    def copy(progress: Reporter, width: int, *rest: str, **more: str) -> None: ...

    binding = bind(copy)

    assert list(binding.keywords) == ["width"]
    for name in ("rest", "more", "anything"):
        with pytest.raises(InvalidArguments):
            binding.check({"width": 1, name: "x"})


def test_what_the_operator_sets_is_neither_in_the_form_nor_taken_from_the_wire() -> None:
    def checksum(path: Path, *, root: Path, exclude: Path | None = None) -> None: ...

    binding = bind(checksum, bound=frozenset({"root", "exclude", "nothing"}))

    assert list(binding.schema()["properties"]) == ["path"]
    for name in ("root", "exclude"):
        with pytest.raises(InvalidArguments, match=f"no argument '{name}'") as caught:
            binding.check({"path": "x", name: "/"})
        assert caught.value.field == name
    checked = binding.check({"path": "x"})
    assert binding.convert({**checked, "root": "/srv"}) == {
        "path": Path("x"),
        "root": Path("/srv"),
    }


class Tool:
    def run(self, progress: Reporter, width: int) -> None: ...

    def __call__(self, progress: Reporter, width: int) -> None: ...

    @classmethod
    def of_class(cls, progress: Reporter, width: int) -> None: ...

    @staticmethod
    def static(progress: Reporter, width: int) -> None: ...


def wrapped(progress: Reporter, width: int) -> None: ...


@functools.wraps(wrapped)
def wrapper(*args: Any, **kwargs: Any) -> None:
    wrapped(*args, **kwargs)


def with_more(more: str, progress: Reporter, width: int) -> None: ...


@pytest.mark.parametrize(
    "function",
    [
        Tool().run,
        Tool(),
        Tool.of_class,
        Tool.static,
        wrapper,
        functools.partial(with_more, "more"),
    ],
)
def test_whatever_can_be_called_can_be_bound(function: Callable[..., None]) -> None:
    binding = bind(function)

    assert (binding.reporter, list(binding.keywords)) == ("progress", ["width"])
    assert binding.check({"width": 3}) == {"width": 3}


def test_a_closure_may_name_what_only_its_scope_knows() -> None:
    from pathlib import Path as Folder  # the module's own names are not asked for it

    from socketprogress.core.reporter import Reporter as Progress

    class Local(msgspec.Struct):
        n: int

    def copy(progress: Progress, folder: Folder, local: Local) -> None:
        _ = (Progress, Folder, Local)

    binding = bind(copy)

    assert (binding.reporter, binding.paths) == ("progress", ("folder",))
    assert binding.check({"folder": "x", "local": {"n": 1}})["local"] == {"n": 1}


def closure_with_local_imports() -> Callable[..., None]:
    names: dict[str, Any] = {}
    source = (
        "from __future__ import annotations\n"
        "def factory():\n"
        "    from pathlib import Path\n"
        "    from typing import Any\n"
        "    from socketprogress.core.reporter import Reporter\n"
        "    def copy(bar: Reporter, folder: Path, more: Any = None): ...\n"
        "    return copy\n"
    )
    exec(source, names)  # noqa: S102 - a module that imports nothing at its top
    function: Callable[..., None] = names["factory"]()
    return function


def test_a_closure_that_does_not_use_what_it_is_annotated_with_is_understood_all_the_same() -> None:
    binding = bind(closure_with_local_imports())

    assert (binding.reporter, binding.paths) == ("bar", ("folder",))


def test_a_hint_that_nobody_knows_is_refused_rather_than_unchecked() -> None:
    def copy(folder: Nowhere) -> None: ...  # type: ignore[name-defined]  # noqa: F821

    with pytest.raises(ConfigurationError, match="'Nowhere' is not defined"):
        bind(copy)


def test_what_json_cannot_express_is_refused_when_it_is_registered() -> None:
    def of_object(value: threading_lock) -> None: ...
    def of_mixture(value: Path | str) -> None: ...
    def of_path_keys(value: dict[Path, int]) -> None: ...
    def positional(value: int, /) -> None: ...
    def odd_default(value: Any = object()) -> None: ...  # noqa: B008 - what is refused

    for function in (of_object, of_mixture, of_path_keys, positional, odd_default):
        with pytest.raises(ConfigurationError, match=function.__name__):
            bind(function)


class threading_lock:  # noqa: N801 - any class that has no JSON form
    pass


# -- the schema ----------------------------------------------------------------------------------


def references(schema: object) -> set[str]:
    if isinstance(schema, dict):
        own = {schema["$ref"]} if isinstance(schema.get("$ref"), str) else set()
        return own.union(*(references(value) for value in schema.values()))
    if isinstance(schema, list):
        return set().union(*(references(value) for value in schema))
    return set()


@pytest.mark.parametrize("function", FUNCTIONS, ids=name_of)
def test_a_schema_is_strict_json_and_refers_to_itself_only(
    function: Callable[..., None],
) -> None:
    schema = bind(function).schema()

    assert json.loads(json.dumps(schema, allow_nan=False)) == schema
    assert schema["type"] == "object"
    assert schema["additionalProperties"] is False
    assert list(schema["properties"]) == ["value"]
    for reference in references(schema):
        assert reference.removeprefix("#/$defs/") in schema["$defs"]


def test_a_schema_says_types_defaults_and_what_is_required() -> None:
    def resize(
        progress: Reporter,
        folder: Path,
        width: int = 800,
        how: Literal["fast", "fine"] = "fast",
        color: Color = Color.BLUE,
        out: Path = Path("out"),
        note: str | None = None,
    ) -> None: ...

    schema = bind(resize).schema()
    properties = schema["properties"]

    assert schema["required"] == ["folder"]
    assert properties["folder"] == {"type": "string", "format": "path"}
    assert properties["width"] == {"type": "integer", "default": 800}
    assert properties["how"] == {"enum": ["fast", "fine"], "default": "fast"}
    assert properties["color"]["default"] == "blue"
    assert properties["out"]["default"] == "out"
    assert properties["note"]["default"] is None
    assert "title" not in schema


def test_a_default_that_json_has_no_word_for_is_left_out() -> None:
    def wait(most_s: float = float("inf")) -> None: ...

    schema = bind(wait).schema()

    assert "inf" not in json.dumps(schema).lower()
    assert schema["required"] == []


def test_two_types_of_one_name_keep_apart() -> None:
    def copy(progress: Reporter, value: Crop, copy: Look) -> None: ...

    schema = bind(copy).schema()

    assert set(schema["properties"]) == {"value", "copy"}
    assert {"Crop", "Look", "Color"} <= set(schema["$defs"])

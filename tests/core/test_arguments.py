"""Type hints as the contract: what is taken, what is refused and by which field; paths."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from socketprogress.core.arguments import ExistingPath, bind
from socketprogress.core.errors import InvalidArguments
from tests.core.signatures import (
    FUNCTIONS,
    Color,
    Crop,
    Look,
    Size,
    Source,
    name_of,
    of_any,
    of_anything,
    of_bool,
    of_dataclass,
    of_dict,
    of_enum,
    of_existing,
    of_existing_paths,
    of_float,
    of_implied_optional,
    of_int,
    of_int_enum,
    of_list,
    of_literal,
    of_maybe_path,
    of_nested,
    of_optional,
    of_path,
    of_paths,
    of_str,
    of_struct,
    of_union,
)

TAKEN: list[tuple[Callable[..., None], Any, Any]] = [
    (of_int, 5, 5),
    (of_float, 5, 5.0),
    (of_float, 2.5, 2.5),
    (of_bool, True, True),
    (of_str, "x", "x"),
    (of_str, "", ""),
    (of_literal, "md5", "md5"),
    (of_literal, 5, 5),
    (of_enum, "red", Color.RED),
    (of_int_enum, 2, Size.LARGE),
    (of_list, [1, 2], [1, 2]),
    (of_list, [], []),
    (of_dict, {"a": 1.5}, {"a": 1.5}),
    (of_optional, None, None),
    (of_optional, 4, 4),
    (of_union, None, None),
    (of_implied_optional, None, None),
    (of_path, "a/b", Path("a/b")),
    (of_dataclass, {"width": 3}, Crop(3)),
    (of_nested, {"crop": {"width": 3}, "colors": ["blue"]}, Look(Crop(3), [Color.BLUE])),
    (of_struct, {"path": "a"}, Source(Path("a"))),
    (of_paths, ["a", "b"], [Path("a"), Path("b")]),
    (of_maybe_path, None, None),
    (of_maybe_path, "a", Path("a")),
    (of_anything, {"a": [None]}, {"a": [None]}),
    (of_any, "x", "x"),
]


@pytest.mark.parametrize(("function", "value", "typed"), TAKEN, ids=name_of)
def test_a_value_of_the_right_type_reaches_the_function_typed(
    function: Callable[..., None], value: Any, typed: Any
) -> None:
    binding = bind(function)

    checked = binding.check({"value": value})

    assert json.loads(json.dumps(checked)) == checked
    assert binding.convert(checked) == {"value": typed}
    assert type(binding.convert(checked)["value"]) is type(typed)


REFUSED: list[tuple[Callable[..., None], Any, str]] = [
    (of_int, "5", "value"),
    (of_int, 5.5, "value"),
    (of_int, True, "value"),
    (of_int, None, "value"),
    (of_float, "2.5", "value"),
    (of_bool, 1, "value"),
    (of_bool, "true", "value"),
    (of_str, 5, "value"),
    (of_str, None, "value"),
    (of_literal, "sha1", "value"),
    (of_enum, "green", "value"),
    (of_int_enum, 3, "value"),
    (of_list, [1, "x"], "value[1]"),
    (of_list, "12", "value"),
    (of_dict, {"a": "x"}, "value"),
    (of_optional, "x", "value"),
    (of_path, 5, "value"),
    (of_path, "", "value"),
    (of_path, "  ", "value"),
    (of_path, "a\0b", "value"),
    (of_paths, ["a", ""], "value[1]"),
    (of_paths, "a", "value"),
    (of_dataclass, {"height": 1}, "value.width"),
    (of_dataclass, {"width": "x"}, "value.width"),
    (of_dataclass, 5, "value"),
    (of_nested, {"crop": {"width": None}}, "value.crop.width"),
    (of_nested, {"crop": {}}, "value.crop.width"),
    (of_nested, {"crop": {"width": 1}, "colors": ["pink"]}, "value.colors[0]"),
    (of_struct, {"path": "a", "name": 5}, "value.name"),
    (of_struct, {"path": "a\0"}, "value.path"),
]


@pytest.mark.parametrize(("function", "value", "culprit"), REFUSED, ids=name_of)
def test_a_value_of_the_wrong_type_is_refused_by_its_field(
    function: Callable[..., None], value: Any, culprit: str
) -> None:
    with pytest.raises(InvalidArguments) as caught:
        bind(function).check({"value": value})

    assert caught.value.field == culprit
    assert "$" not in caught.value.message


def test_a_missing_argument_is_named() -> None:
    with pytest.raises(InvalidArguments, match="the argument 'value' is missing") as caught:
        bind(of_int).check({})

    assert caught.value.field == "value"


def test_an_unknown_argument_is_named() -> None:
    with pytest.raises(InvalidArguments, match="there is no argument 'oops'") as caught:
        bind(of_int).check({"value": 1, "oops": 2})

    assert caught.value.field == "oops"


def test_only_what_is_given_reaches_the_function_so_that_its_own_defaults_hold() -> None:
    def resize(width: int = 800, color: Color = Color.RED, folder: Path = Path("x")) -> None: ...

    binding = bind(resize)

    assert binding.check({}) == {}
    assert binding.convert({}) == {}
    assert binding.check({"width": 5}) == {"width": 5}


@pytest.mark.parametrize(
    ("function", "text", "value"),
    [
        (of_int, "5", 5),
        (of_float, "2.5", 2.5),
        (of_bool, "true", True),
        (of_bool, "0", False),
        (of_int_enum, "2", 2),
        (of_str, "5", "5"),
        (of_optional, "7", 7),
        (of_dataclass, {"width": "5", "height": "4"}, {"width": 5, "height": 4}),
    ],
    ids=name_of,
)
def test_forms_and_command_lines_may_give_texts_for_numbers(
    function: Callable[..., None], text: object, value: object
) -> None:
    assert bind(function).check({"value": text}, lax=True) == {"value": value}


@pytest.mark.parametrize(("function", "text"), [(of_int, "5.5"), (of_int, "x"), (of_bool, "maybe")])
def test_a_text_that_is_no_number_is_refused_from_forms_too(
    function: Callable[..., None], text: str
) -> None:
    with pytest.raises(InvalidArguments) as caught:
        bind(function).check({"value": text}, lax=True)

    assert caught.value.field == "value"


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=8,
)


@given(st.sampled_from(FUNCTIONS), json_values, st.booleans())
def test_any_json_at_all_is_taken_or_refused_with_a_field(
    function: Callable[..., None], value: object, lax: bool
) -> None:
    binding = bind(function)
    blamed: str | None = "value"
    try:
        checked = binding.check({"value": value}, root=Path("/nowhere"), lax=lax)
    except InvalidArguments as error:
        blamed = error.field
    else:
        assert binding.convert(checked).keys() == {"value"}

    assert blamed is not None
    assert blamed.startswith("value")


# -- paths ---------------------------------------------------------------------------------------


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "root"
    (root / "below").mkdir(parents=True)
    (root / "below" / "file").touch()
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "file").touch()
    (tmp_path / "root-beside").mkdir()
    (root / "escape").symlink_to(tmp_path / "outside")
    (root / "around").symlink_to(root / "below")
    return root


@pytest.mark.parametrize(
    ("given", "resolved"),
    [
        ("below/file", "below/file"),
        (".", ""),
        ("below/../below", "below"),
        ("around/file", "below/file"),
        ("not/there", "not/there"),
        (" spaced ", " spaced "),
    ],
)
def test_a_path_within_the_root_is_resolved(root: Path, given: str, resolved: str) -> None:
    for function, value in ((of_path, given), (of_paths, [given]), (of_maybe_path, given)):
        checked = bind(function).check({"value": value}, root=root)["value"]
        assert checked in (str(root / resolved), [str(root / resolved)])


def test_an_absolute_path_within_the_root_is_taken(root: Path) -> None:
    path = str(root / "below")

    assert bind(of_path).check({"value": path}, root=root) == {"value": path}


@pytest.mark.parametrize(
    "path",
    [
        "..",
        "../outside",
        "below/../../outside/file",
        "../root-beside",
        "/etc/passwd",
        "/",
        "escape",
        "escape/file",
        "around/../escape/file",
        "escape/../../outside",
        "~",
        "~/x",
        "~nobody-of-this-name/x",
        "a/" * 3_000 + "../" * 4_000 + "etc",
    ],
)
@pytest.mark.parametrize(
    "wrap",
    [
        (of_path, lambda path: path),
        (of_existing, lambda path: path),
        (of_maybe_path, lambda path: path),
        (of_paths, lambda path: ["below", path]),
        (of_struct, lambda path: {"path": path}),
    ],
    ids=lambda wrap: name_of(wrap[0]),
)
def test_no_path_leaves_the_root_however_deep_in_an_argument_it_is(
    root: Path, wrap: tuple[Callable[..., None], Callable[[str], Any]], path: str
) -> None:
    function, value = wrap

    with pytest.raises(InvalidArguments) as caught:
        bind(function).check({"value": value(path)}, root=root)

    assert caught.value.field == "value"
    assert len(caught.value.message) < 300


def test_a_default_path_is_the_authors_own_and_may_be_anywhere(root: Path) -> None:
    def copy(folder: Path = Path("/srv")) -> None: ...

    assert bind(copy).check({}, root=root) == {}


def test_without_a_root_paths_stay_as_they_are() -> None:
    assert bind(of_path).check({"value": "../x/../y"}) == {"value": "../x/../y"}


def test_the_application_itself_may_give_paths() -> None:
    checked = bind(of_path).check({"value": Path("/srv")})

    assert checked == {"value": "/srv"}
    assert bind(of_path).convert({"value": Path("/srv")}) == {"value": Path("/srv")}


def test_an_existing_path_must_be_there(root: Path) -> None:
    checked = bind(of_existing).check({"value": "below/file"}, root=root)
    assert checked == {"value": str(root / "below" / "file")}

    for path in ("nothing", "below/file/deeper", "x" * 300):
        with pytest.raises(InvalidArguments, match="does not exist") as caught:
            bind(of_existing).check({"value": path}, root=root)
        assert caught.value.field == "value"
        assert len(caught.value.message) < 300


def test_every_path_of_a_list_must_be_there(root: Path) -> None:
    binding = bind(of_existing_paths)

    assert binding.check({"value": ["below", "."]}, root=root)
    with pytest.raises(InvalidArguments, match="'nothing' does not exist"):
        binding.check({"value": ["below", "nothing"]}, root=root)


def test_an_existing_path_that_may_be_left_out_may_be_null(root: Path) -> None:
    def load(path: ExistingPath | None = None) -> None: ...

    assert bind(load).check({"path": None}, root=root) == {"path": None}
    with pytest.raises(InvalidArguments, match="does not exist"):
        bind(load).check({"path": "nothing"}, root=root)


def test_the_parameters_that_take_a_path_are_known() -> None:
    def load(a: Path, b: int, c: Path | None = None, *, d: ExistingPath) -> None: ...

    assert bind(load).paths == ("a", "c", "d")

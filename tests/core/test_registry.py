"""Definitions: how a function becomes a task, what it is called and where it runs."""

from __future__ import annotations

import functools
import string
from collections.abc import Callable
from pathlib import Path
from types import MappingProxyType, ModuleType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from socketprogress.core.errors import ConfigurationError, UnknownDefinition
from socketprogress.core.registry import Definition, Registry, _heading, definition_of, task
from socketprogress.core.reporter import Reporter


def resize(progress: Reporter, folder: Path, width: int = 800) -> None:
    """Resize every picture of a folder.

    The rest is for programmers.
    """


class Tool:
    """Has methods."""

    def run(self, progress: Reporter, width: int) -> None: ...

    @classmethod
    def of_class(cls, progress: Reporter) -> None: ...

    @staticmethod
    def static(progress: Reporter) -> None: ...


def defined(title: str = "", **options: Any) -> Definition:
    return Definition(name="resize", function=resize, title=title, **options)


# -- the decorator -------------------------------------------------------------------------------


def test_a_marked_function_stays_the_function_it_is() -> None:
    def copy(progress: Reporter, n: int) -> int:
        return n + 1

    assert task(copy) is copy
    assert copy(Reporter(), 1) == 2


def test_without_options_the_function_says_it_all() -> None:
    def copy(progress: Reporter) -> None:
        """Copy a tree.

        Slowly.
        """

    definition = definition_of(task(copy))

    assert definition is not None
    assert (definition.name, definition.title, definition.description) == (
        "copy",
        "",
        "Copy a tree.",
    )
    assert definition.function is copy


def test_every_option_reaches_the_definition() -> None:
    @task(
        name="pack:v2",
        title="Pack {folder}",
        steps={"Scan": 1, "Pack": 9},
        executor="hub",
        max_running=2,
        cancellable=False,
        timeout_s=9.5,
        description="Packs.",
        unit="files",
    )
    def pack(progress: Reporter, folder: str) -> None: ...

    definition = definition_of(pack)

    assert definition == Definition(
        name="pack:v2",
        function=pack,
        title="Pack {folder}",
        description="Packs.",
        steps={"Scan": 1.0, "Pack": 9.0},
        executor="hub",
        max_running=2,
        cancellable=False,
        timeout_s=9.5,
        unit="files",
    )


@pytest.mark.parametrize(
    ("steps", "weights"),
    [
        (["Scan", "Pack"], {"Scan": 1.0, "Pack": 1.0}),
        (MappingProxyType({"Scan": 2, "Pack": 3}), {"Scan": 2.0, "Pack": 3.0}),
        ((), {}),
    ],
)
def test_steps_are_names_or_a_mapping_of_weights(steps: Any, weights: dict[str, float]) -> None:
    definition = definition_of(task(name="x", steps=steps)(lambda: None))

    assert definition is not None
    assert definition.steps == weights


@pytest.mark.parametrize(
    "options",
    [
        {"name": ""},
        {"name": "a b"},
        {"name": "a/b"},
        {"name": "x\n"},
        {"name": "x" * 201},
        {"executor": "moon"},
        {"max_running": 0},
        {"timeout_s": 0},
        {"timeout_s": -1.0},
        {"steps": {"a": 0}},
        {"steps": ["a", "a"]},
        {"steps": "Scan"},
    ],
    ids=repr,
)
def test_an_option_that_cannot_work_is_refused_at_once(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError):
        task(**{"name": "x", **options})(lambda: None)


def test_what_is_not_marked_is_no_definition() -> None:
    for thing in (resize, None, 5, "x", object(), Tool, Tool().run):
        assert definition_of(thing) is None


def test_a_thing_that_raises_when_it_is_asked_is_no_definition() -> None:
    class Proxy:
        def __getattr__(self, name: str) -> Any:
            raise RuntimeError("working outside of a request")

    assert definition_of(Proxy()) is None


def test_an_object_and_a_partial_can_be_marked_too() -> None:
    class Work:
        def __call__(self, progress: Reporter, n: int) -> None: ...

    registry = Registry()
    for function in (Work(), functools.partial(resize, width=5)):
        registry.add_all([task(function)])

    assert [definition.name for definition in registry] == ["Work", "partial"]
    assert [definition.where for definition in registry] == ["thread", "thread"]


# -- where it runs -------------------------------------------------------------------------------


def test_what_can_be_imported_by_name_runs_in_a_process() -> None:
    assert defined().importable == f"{__name__}:resize"
    assert defined().where == "process"
    for function in (Tool.static, Tool.of_class):
        assert Definition(name="x", function=function).where == "process"


def test_closures_and_methods_of_an_object_run_in_a_thread() -> None:
    def closure() -> None: ...

    for function in (closure, lambda: None, Tool().run):
        definition = Definition(name="x", function=function)
        assert (definition.importable, definition.where) == (None, "thread")


def test_what_is_run_as_a_script_cannot_be_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resize, "__module__", "__main__")

    assert defined().where == "thread"


def test_a_reference_makes_it_importable_and_an_executor_decides() -> None:
    assert defined(reference="/srv/tasks.py:resize").importable == "/srv/tasks.py:resize"
    assert defined(executor="hub").where == "hub"


# -- titles --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("template", "args", "title"),
    [
        ("", {}, "resize"),
        ("Resize {folder}", {"folder": "pics"}, "Resize pics"),
        ("Resize {folder} to {width}", {"folder": "pics"}, "Resize pics to 800"),
        ("Resize {folder} to {width}", {"folder": "p", "width": 3}, "Resize p to 3"),
        ("Resize {missing}!", {}, "Resize !"),
        ("Resize {folder:>6}", {"folder": "ab"}, "Resize ab"),
        ("Resize {width:d}", {}, "Resize 800"),
        ("Resize {missing:d}", {}, "Resize {missing:d}"),
        ("Resize {missing.attribute}", {}, "Resize {missing.attribute}"),
        ("Resize {missing[0]}", {}, "Resize {missing[0]}"),
        ("Resize {0}", {}, "Resize {0}"),
        ("Resize {", {}, "Resize {"),
        ("{{literal}}", {}, "{literal}"),
    ],
)
def test_a_title_has_the_arguments_filled_in_as_far_as_they_go(
    template: str, args: dict[str, Any], title: str
) -> None:
    assert defined(template).title_for(args) == title


@pytest.mark.parametrize(
    "hostile",
    ["{width}", "{folder.__class__}", "{0}", "{", "{folder!r:{width}}", "%s %(folder)s"],
)
def test_an_argument_is_never_a_template_itself(hostile: str) -> None:
    assert defined("Resize {folder}").title_for({"folder": hostile}) == f"Resize {hostile}"


def test_a_title_is_one_short_line_whatever_the_arguments_are() -> None:
    title = defined("Resize {folder}").title_for(
        {"folder": "a\r\n\x1b[2Jb\u2028c\ud800" + "x" * 999}
    )

    assert title.startswith("Resize a [2Jb c?xx")
    assert len(title) == 500


@given(
    st.text(st.sampled_from(string.ascii_letters + "{}[]!:.0 \n"), max_size=30),
    st.dictionaries(st.sampled_from(["folder", "width"]), st.text(max_size=5)),
)
def test_no_template_and_no_argument_breaks_a_title_or_the_form(
    template: str, args: dict[str, str]
) -> None:
    definition = defined(template)

    assert len(definition.title_for(args).splitlines()) <= 1
    assert definition.to_wire()["title"]


@pytest.mark.parametrize(
    ("template", "heading"),
    [
        ("Checksum of {path}", "Checksum"),
        ("Import {path} into {table}", "Import"),
        ("Count {n} files", "Count files"),
        ("Resize {folder}", "Resize"),
        ("{path}", ""),
        ("Log in", "Log in"),
        ("Turn it on", "Turn it on"),
        ("Offer {a} for", "Offer"),
        ("Plain", "Plain"),
        ("{{x}} of {path}", "{x}"),
        ("Stray {", "Stray {"),
        ("", ""),
    ],
)
def test_a_heading_is_the_title_without_its_fields(template: str, heading: str) -> None:
    assert _heading(template) == heading


def test_a_definition_on_the_wire_has_its_form() -> None:
    wire = defined("Resize {folder}", description="Resizes.").to_wire()

    assert set(wire) == {"name", "title", "description", "schema"}
    assert (wire["name"], wire["title"]) == ("resize", "Resize")
    assert list(wire["schema"]["properties"]) == ["folder", "width"]
    assert defined("{folder}").to_wire()["title"] == "resize"


# -- the registry --------------------------------------------------------------------------------


def test_definitions_are_found_by_name_and_listed_in_order() -> None:
    registry = Registry()
    second = registry.add(Definition(name="b", function=resize))
    first = registry.add(Definition(name="a", function=resize))

    assert registry.get("a") is first
    assert list(registry) == [second, first]


def test_a_name_that_nobody_has_is_answered_with_those_there_are() -> None:
    registry = Registry()
    with pytest.raises(UnknownDefinition, match="'x'; there are: none"):
        registry.get("x")
    registry.add(defined())

    with pytest.raises(UnknownDefinition, match="there are: resize") as caught:
        registry.get("x")

    assert caught.value.field == "task"


def test_two_functions_cannot_have_one_name_but_one_may_come_twice() -> None:
    registry = Registry()
    registry.add(defined())
    registry.add(defined())

    with pytest.raises(ConfigurationError, match="two task functions are called 'resize'"):
        registry.add(Definition(name="resize", function=Tool.static))


def test_hints_that_cannot_work_are_refused_at_registration() -> None:
    def copy(what: Tool) -> None: ...

    with pytest.raises(ConfigurationError, match="copy"):
        Registry().add(Definition(name="copy", function=copy))


def test_a_modules_marked_functions_are_added_under_its_file() -> None:
    module = ModuleType("jobs")
    source = (
        "from socketprogress.core.registry import task\n"
        "@task\n"
        "def one(progress): ...\n"
        "@task(name='second')\n"
        "def two(progress): ...\n"
        "def helper(): ...\n"
        "again = one\n"
    )
    exec(source, module.__dict__)  # noqa: S102 - a module of the test's own
    registry = Registry()

    count = registry.add_all(list(vars(module).values()), reference=Path("/srv/jobs.py"))

    assert count == 3
    assert {d.name: d.importable for d in registry} == {
        "one": "/srv/jobs.py:one",
        "second": "/srv/jobs.py:two",
    }


def bound_by_keyword(path: Path, *, root: Path, n: int = 1) -> None: ...


def bound_by_place(path: Path, root: Path) -> None: ...


@pytest.mark.parametrize(
    ("function", "bound", "open_ones"),
    [
        (bound_by_keyword, {"root": "/srv"}, ["path", "n"]),
        (bound_by_place, {}, ["path", "root"]),
    ],
)
def test_the_registry_binds_keyword_only_parameters_of_its_names(
    function: Callable[..., None], bound: dict[str, Any], open_ones: list[str]
) -> None:
    registry = Registry(bound={"root": "/srv", "other": 5})

    definition = registry.add(Definition(name="x", function=function))

    assert definition.bound == bound
    assert list(definition.to_wire()["schema"]["properties"]) == open_ones


def test_what_a_definition_binds_itself_stands_above_the_registrys() -> None:
    registry = Registry(bound={"root": "/srv"})
    own = Definition(name="x", function=bound_by_keyword, bound={"root": "/own", "n": 3})

    definition = registry.add(own)

    assert definition.bound == {"root": "/own", "n": 3}
    assert list(definition.to_wire()["schema"]["properties"]) == ["path"]

"""Task definitions: a function, how it runs, and the arguments that it takes."""

from __future__ import annotations

import inspect
import re
import string
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar, overload

from socketprogress.core import steps as steps_of
from socketprogress.core.arguments import Binding, bind
from socketprogress.core.errors import ConfigurationError, UnknownDefinition
from socketprogress.core.protocol import one_line

__all__ = ["EXECUTORS", "Definition", "Registry", "definition_of", "task"]

EXECUTORS = ("process", "thread", "hub", "celery")
MARK = "__socketprogress__"
NAME = re.compile(r"[A-Za-z0-9_.:-]{1,200}\Z")
TITLE_CHARS = 500

Function = TypeVar("Function", bound=Callable[..., Any])


@dataclass(frozen=True)
class Definition:
    """One registered task function.

    Args:
        name: what clients start it by.
        function: the function; None of its own work is done at registration.
        title: one line for people; ``{argument}`` is filled in.
        steps: names of the steps with their weights.
        executor: one of `EXECUTORS`, or None for "process" where the function can be imported by
            name and "thread" elsewhere.
        max_running: how many may be queued or running at once; None for any number.
        timeout_s: seconds after which it is ended as `failed`/`timeout`.
        bound: arguments that the operator sets and clients never see.
        reference: `module:qualname` or `/file.py:qualname` for a worker process; found by itself.
    """

    name: str
    function: Callable[..., Any]
    title: str = ""
    description: str = ""
    steps: Mapping[str, float] = field(default_factory=dict)
    executor: str | None = None
    max_running: int | None = None
    cancellable: bool = True
    timeout_s: float | None = None
    unit: str = "it"
    bound: Mapping[str, Any] = field(default_factory=dict)
    reference: str | None = None

    def __post_init__(self) -> None:
        if not NAME.match(self.name):
            raise ConfigurationError(f"{self.name!r} cannot name a task: use A-Z a-z 0-9 _ . : -")
        if self.executor is not None and self.executor not in EXECUTORS:
            raise ConfigurationError(f"executor {self.executor!r} is none of {EXECUTORS}")
        if self.max_running is not None and self.max_running < 1:
            raise ConfigurationError(f"max_running={self.max_running} must be at least 1")
        if self.timeout_s is not None and self.timeout_s <= 0:
            raise ConfigurationError(f"timeout_s={self.timeout_s} must be above 0")
        steps_of.make(dict(self.steps))

    @cached_property
    def binding(self) -> Binding:
        """How JSON values become this function's arguments."""
        return bind(self.function, bound=frozenset(self.bound))

    @property
    def where(self) -> str:
        """The executor that runs it: the one asked for, or the best that can."""
        if self.executor is not None:
            return self.executor
        return "process" if self.importable else "thread"

    @property
    def importable(self) -> str | None:
        """The name by which another process imports the function, or None."""
        if self.reference is not None:
            return self.reference
        function = self.function
        module, name = function.__module__, getattr(function, "__qualname__", "<no name>")
        if "<" in name or module == "__main__" or _of_instance(function):
            return None
        return f"{module}:{name}"

    def title_for(self, args: Mapping[str, Any]) -> str:
        """Return the title with the arguments filled in, on one line."""
        template = self.title or self.name
        try:
            filled = template.format_map(_Blanks({**self._defaults(), **args}))
        except (ValueError, LookupError, AttributeError, TypeError):
            filled = template
        return " ".join(one_line(filled, 4 * TITLE_CHARS).split())[:TITLE_CHARS]

    def to_wire(self) -> dict[str, Any]:
        """Return ``{name, title, description, schema}``."""
        return dict(self._wire)

    @cached_property
    def _wire(self) -> dict[str, Any]:
        # A schema takes a tenth of a millisecond to make, and any client may ask for all of them.
        return {
            "name": self.name,
            "title": _heading(self.title) or self.name,
            "description": self.description,
            "schema": self.binding.schema(),
        }

    def _defaults(self) -> dict[str, Any]:
        parameters = inspect.signature(self.function).parameters.values()
        known = (p for p in parameters if p.default is not p.empty and p.default is not None)
        return {p.name: p.default for p in known}


class _Blanks(dict[str, Any]):
    def __missing__(self, key: str) -> str:
        return ""


def _of_instance(function: Any) -> bool:
    """Return whether it is a method bound to an object, which no import would bring back."""
    return inspect.ismethod(function) and not inspect.isclass(function.__self__)


def _heading(template: str) -> str:
    """Return a title template without its fields: "Checksum of {path}" is "Checksum"."""
    try:
        parts = list(string.Formatter().parse(template))
    except ValueError:  # a stray brace; the titles made of it show it as it is, too
        return template
    text = " ".join("".join(part for part, *_ in parts).split())
    if all(name is None for _, name, *_ in parts):
        return text
    return re.sub(r"(\s+(of|for|from|in|into|to|with|on))?\s*$", "", text)


@overload
def task(function: Function) -> Function: ...


@overload
def task(
    *,
    name: str | None = ...,
    title: str | None = ...,
    steps: Sequence[str] | Mapping[str, float] = ...,
    executor: str | None = ...,
    max_running: int | None = ...,
    cancellable: bool = ...,
    timeout_s: float | None = ...,
    description: str | None = ...,
    unit: str = ...,
) -> Callable[[Function], Function]: ...


def task(
    function: Any = None,
    *,
    name: str | None = None,
    title: str | None = None,
    steps: Sequence[str] | Mapping[str, float] = (),
    executor: str | None = None,
    max_running: int | None = None,
    cancellable: bool = True,
    timeout_s: float | None = None,
    description: str | None = None,
    unit: str = "it",
) -> Any:
    """Mark a function as a task; the function itself stays as it is.

    Its parameter annotated `Reporter` (or a first one called ``progress``) takes the reporter; the
    others are the arguments, checked by their type hints.

    Args:
        function: the function, when used without parentheses.
        name: what clients start it by; the function's name by default.
        title: one line for people, such as ``"Resize {folder}"``.
        steps: names of its steps, or a mapping of names to weights.
        executor: "process" (default where the function can be imported by name), "thread"
            (default for closures), "hub" or "celery".
        max_running: how many may be queued or running at once.
        cancellable: whether anybody may cancel it.
        timeout_s: seconds after which it fails with ``timeout``.
        description: the text of its form; the docstring's first line by default.
        unit: what it counts.

    Raises:
        ConfigurationError: an option cannot work.
    """

    def mark(function: Function) -> Function:
        doc = inspect.getdoc(function) or ""
        definition = Definition(
            name=name or str(getattr(function, "__name__", type(function).__name__)),
            function=function,
            title=title or "",
            description=doc.partition("\n")[0] if description is None else description,
            steps=_weights(steps),
            executor=executor,
            max_running=max_running,
            cancellable=cancellable,
            timeout_s=timeout_s,
            unit=unit,
        )
        setattr(function, MARK, definition)
        return function

    return mark if function is None else mark(function)


def _weights(steps: Sequence[str] | Mapping[str, float]) -> dict[str, float]:
    return {step.name: step.weight for step in steps_of.make(steps)}


def definition_of(function: Any) -> Definition | None:
    """Return the definition that `task` attached to a function, or None."""
    # A module may hold anything: a proxy such as Flask's `request` raises when it is asked.
    found = inspect.getattr_static(function, MARK, None)
    return found if isinstance(found, Definition) else None


class Registry:
    """The definitions of one server, by name.

    Args:
        bound: operator-set values for keyword-only parameters of these names, e.g. ``root``.
    """

    def __init__(self, *, bound: Mapping[str, Any] | None = None) -> None:
        self._definitions: dict[str, Definition] = {}
        self._bound = dict(bound or {})
        self._settled: set[str] = set()

    def __contains__(self, name: str) -> bool:
        return name in self._definitions

    def __iter__(self) -> Iterator[Definition]:
        return iter(self._definitions.values())

    def add(self, definition: Definition) -> Definition:
        """Register a definition; its parameters are checked at once.

        Raises:
            ConfigurationError: another function has this name, or its hints cannot work.
        """
        other = self._definitions.get(definition.name)
        known = other is None or other.function is definition.function
        if not known and not self._made_again(other, definition):
            raise ConfigurationError(f"two task functions are called {definition.name!r}")
        definition = self._with_bound(definition)
        _ = definition.binding
        self._definitions[definition.name] = definition
        self._settled.discard(definition.name)
        return definition

    def copy(self) -> Registry:
        """Return a registry of the same definitions.

        In both of them a factory that runs again may bring the functions anew that it makes.
        """
        other = Registry(bound=self._bound)
        other._definitions = dict(self._definitions)
        other._settled = set(self._definitions)
        self._settled = set(self._definitions)
        return other

    def add_all(self, functions: Iterable[Any], *, reference: Path | None = None) -> int:
        """Register every marked function; return how many there were."""
        count = 0
        for function in functions:
            definition = definition_of(function)
            if definition is None:
                continue
            if reference is not None:
                name = f"{reference}:{function.__qualname__}"
                definition = replace(definition, reference=name)
            self.add(definition)
            count += 1
        return count

    def get(self, name: str) -> Definition:
        """Return the definition of this name.

        Raises:
            UnknownDefinition: there is none.
        """
        try:
            return self._definitions[name]
        except KeyError:
            known = ", ".join(sorted(self._definitions)) or "none"
            raise UnknownDefinition(
                f"no task is called {name!r}; there are: {known}", field="task"
            ) from None

    def _made_again(self, other: Definition | None, definition: Definition) -> bool:
        if other is None or definition.name not in self._settled:
            return False
        was, now = other.function, definition.function
        name = getattr(now, "__qualname__", "")
        same = (was.__module__, getattr(was, "__qualname__", "")) == (now.__module__, name)
        return same and "<locals>" in name

    def _with_bound(self, definition: Definition) -> Definition:
        keyword_only = {
            p.name
            for p in inspect.signature(definition.function).parameters.values()
            if p.kind is p.KEYWORD_ONLY
        }
        ours = {k: v for k, v in self._bound.items() if k in keyword_only}
        return replace(definition, bound={**ours, **definition.bound}) if ours else definition

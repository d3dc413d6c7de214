"""A task function's arguments: their types, their check, their JSON Schema.

The type hints are the contract: msgspec checks the values against them before anything runs.
"""

from __future__ import annotations

import functools
import inspect
import math
import os
import re
import types
import typing
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any

import msgspec

from socketprogress.core.errors import ConfigurationError, InvalidArguments
from socketprogress.core.reporter import Reporter

__all__ = ["Binding", "ExistingPath", "bind"]

ExistingPath = Annotated[Path, msgspec.Meta(extra={"exists": True})]
"""A path that must be there when the task is started."""

REPORTER_NAMES = ("progress", "reporter")


class Binding:
    """How JSON values become the arguments of one function.

    Args:
        function: the task function; its hints are resolved once.
        bound: names of keyword-only parameters that the operator sets, never the wire.

    Attributes:
        reporter: the name of the parameter that takes the `Reporter`, or None.
        paths: names of the parameters that take a path.
        file: the name of the first of them that clients may give, or None: uploads go there.
        keywords: all parameters that can be given by name.
    """

    def __init__(
        self, function: Callable[..., Any], *, bound: frozenset[str] = frozenset()
    ) -> None:
        hints = _hints(function)
        parameters = [
            p
            for p in inspect.signature(function).parameters.values()
            if p.kind not in {p.VAR_POSITIONAL, p.VAR_KEYWORD}
        ]
        for p in parameters:
            if p.kind is p.POSITIONAL_ONLY:
                raise TypeError(f"{p.name} is positional-only and cannot be given by name")
        self.reporter = _reporter_of(parameters, hints)
        self.keywords = {p.name: hints.get(p.name, Any) for p in parameters}
        self.keywords.pop(self.reporter or "", None)
        for hint in self.keywords.values():
            _refuse_path_keys(hint)
        self.bound = bound & set(self.keywords)
        self.paths = tuple(name for name, hint in self.keywords.items() if _is_path(hint))
        self.file = next((name for name in self.paths if name not in self.bound), None)
        self._existing = {name for name, hint in self.keywords.items() if _must_exist(hint)}
        open_ones = [p for p in parameters if p.name in self.keywords and p.name not in self.bound]
        self._wire = _struct("arguments", open_ones, hints)
        self._all = _struct("arguments", parameters, hints, without=self.reporter)
        self._defaults = {p.name: p.default for p in open_ones if p.default is not p.empty}

    def check(
        self,
        args: Mapping[str, Any],
        *,
        root: Path | None = None,
        lax: bool = False,
        placed: str | None = None,
    ) -> dict[str, Any]:
        """Return the arguments as JSON values, checked, every path resolved.

        Args:
            args: JSON values by parameter name.
            root: where relative paths begin and no path may leave; None leaves paths as they are.
            lax: take strings for numbers and booleans too, as forms and command lines give them.
            placed: an argument that the server itself has set: it is a path, and stays as it is.

        Raises:
            InvalidArguments: with the `field` that is to blame.
        """
        try:
            struct = msgspec.convert(dict(args), self._wire, dec_hook=_decode, strict=not lax)
        except (msgspec.ValidationError, OverflowError) as exc:
            raise InvalidArguments(_plain(str(exc)), field=_field(str(exc))) from None
        return {
            name: args[name] if name == placed else self._checked(name, getattr(struct, name), root)
            for name in args
        }

    def convert(self, args: Mapping[str, Any]) -> dict[str, Any]:
        """Return checked JSON values as the function's typed arguments, by name."""
        try:
            struct = msgspec.convert(dict(args), self._all, dec_hook=_decode)
        except (msgspec.ValidationError, OverflowError) as exc:
            raise InvalidArguments(_plain(str(exc)), field=_field(str(exc))) from None
        return {name: getattr(struct, name) for name in args if name in self.keywords}

    def schema(self) -> dict[str, Any]:
        """Return the JSON Schema of the arguments, self-contained."""
        schema = msgspec.json.schema(self._wire, schema_hook=_schema_of)
        definitions = schema.pop("$defs", {})
        name = schema.pop("$ref", "").rpartition("/")[2]
        schema.update(definitions.pop(name, {}))
        if definitions:
            schema["$defs"] = definitions
        for name, default in self._defaults.items():
            if not (isinstance(default, float) and not math.isfinite(default)):  # no JSON number
                plain = msgspec.to_builtins(default, enc_hook=_encode)
                schema["properties"][name]["default"] = plain
        schema.pop("title", None)
        return schema

    def _checked(self, name: str, value: Any, root: Path | None) -> Any:
        """Return an argument as JSON, every path in it, however deep, checked and resolved."""

        def encode(part: Any) -> Any:
            if isinstance(part, Path):
                path = part if root is None else _inside(part, root, name)
                # Path.exists would raise for names too long and for folders not readable.
                if name in self._existing and not os.path.exists(path):  # noqa: PTH110
                    raise InvalidArguments(f"{_brief(part)} does not exist", field=name)
                return str(path)
            return _encode(part)

        return msgspec.to_builtins(value, enc_hook=encode)


def bind(function: Callable[..., Any], *, bound: frozenset[str] = frozenset()) -> Binding:
    """Return how JSON values become the arguments of `function`.

    Raises:
        ConfigurationError: a type hint cannot be resolved, or has no JSON form.
    """
    try:
        binding = Binding(function, bound=bound)
        binding.schema()
    except (TypeError, NameError, ValueError) as exc:
        name = getattr(function, "__qualname__", repr(function))
        raise ConfigurationError(
            f"the parameters of {name} cannot become a form: {exc}; "
            "give them type hints that JSON can express"
        ) from exc
    return binding


def _hints(function: Callable[..., Any]) -> dict[str, Any]:
    while isinstance(function, functools.partial):
        function = function.func
    if not inspect.isroutine(function):  # an object that can be called
        function = type(function).__call__
    try:
        return typing.get_type_hints(function, include_extras=True)
    except NameError:
        # A closure's hints may name what only its own scope knows, of which no more is kept than
        # what its body uses; what nearly every task function is annotated with is known anyway.
        known = inspect.getclosurevars(function).nonlocals
        module = getattr(inspect.unwrap(function), "__globals__", {})
        names = {"Reporter": Reporter, "Path": Path, "Any": Any, **module}
        return typing.get_type_hints(function, names, dict(known), include_extras=True)


def _reporter_of(parameters: list[inspect.Parameter], hints: Mapping[str, Any]) -> str | None:
    for parameter in parameters:
        hint = hints.get(parameter.name)
        if isinstance(hint, type) and issubclass(hint, Reporter):
            return parameter.name
    for parameter in parameters[:1]:
        if parameter.name in REPORTER_NAMES and parameter.name not in hints:
            return parameter.name
    return None


def _struct(
    name: str,
    parameters: list[inspect.Parameter],
    hints: Mapping[str, Any],
    *,
    without: str | None = None,
) -> type[msgspec.Struct]:
    fields: list[tuple[str, Any, Any]] = []
    for p in parameters:
        if p.name == without:
            continue
        hint = hints.get(p.name, Any)
        default = msgspec.NODEFAULT if p.default is p.empty else msgspec.field(default=None)
        if p.default is None and hint is not Any:
            hint = hint | None
        fields.append((p.name, hint, default))
    return msgspec.defstruct(name, fields, kw_only=True, forbid_unknown_fields=True)


def _is_path(hint: Any) -> bool:
    if typing.get_origin(hint) in {typing.Union, types.UnionType, typing.Annotated}:
        return any(_is_path(part) for part in typing.get_args(hint))
    return isinstance(hint, type) and issubclass(hint, Path)


def _refuse_path_keys(hint: Any) -> None:
    origin, parts = typing.get_origin(hint), typing.get_args(hint)
    if isinstance(origin, type) and issubclass(origin, Mapping) and parts and _is_path(parts[0]):
        raise TypeError("a path as a key would not be checked; use a list of objects")
    for part in parts:
        _refuse_path_keys(part)


def _must_exist(hint: Any) -> bool:
    if isinstance(hint, msgspec.Meta):
        return bool((hint.extra or {}).get("exists"))
    return any(_must_exist(part) for part in (*typing.get_args(hint), *_notes(hint)))


def _notes(hint: Any) -> tuple[Any, ...]:
    return getattr(hint, "__metadata__", ())


def _decode(hint: Any, value: Any) -> Any:
    if isinstance(hint, type) and issubclass(hint, Path):
        if isinstance(value, Path):  # from the application itself; JSON has none
            return hint(value)
        if not isinstance(value, str):
            raise ValueError(f"Expected `str`, got `{type(value).__name__}`")
        if "\0" in value or not value.strip():
            raise ValueError("Expected a path, got an empty one or one with a NUL")
        return hint(value)
    raise TypeError(f"{hint!r} has no JSON form")


def _encode(value: Any) -> Any:
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"{value!r} has no JSON form")


def _schema_of(hint: Any) -> dict[str, Any]:
    if isinstance(hint, type) and issubclass(hint, Path):
        return {"type": "string", "format": "path"}
    raise TypeError(f"{hint!r} has no JSON Schema")


def _inside(path: Path, root: Path, field: str) -> Path:
    top = root.resolve()
    try:
        resolved = (top / path.expanduser()).resolve()
    except (OSError, RuntimeError, ValueError):
        raise InvalidArguments(f"{_brief(path)} cannot be resolved", field=field) from None
    if resolved != top and top not in resolved.parents:
        raise InvalidArguments(
            f"{_brief(path)} is outside of the server's root folder", field=field
        )
    return resolved


def _brief(path: Path) -> str:
    text = str(path)
    return repr(text if len(text) <= 200 else f"{text[:200]}…")


def _plain(message: str) -> str:
    unknown = re.match(r"Object contains unknown field `([^`]+)`", message)
    if unknown:
        return f"there is no argument {unknown.group(1)!r}"
    missing = re.match(r"Object missing required field `([^`]+)`", message)
    if missing:
        return f"the argument {missing.group(1)!r} is missing"
    return message.replace("`$.", "`")


def _field(message: str) -> str | None:
    found = re.search(r"at `(?:key in )?\$\.?([^`]*)`", message)
    place = found.group(1).replace("[...]", "").strip(".") if found else ""
    named = re.search(r"(?:unknown|required) field `([^`]+)`", message)
    if named:
        return f"{place}.{named.group(1)}" if place else named.group(1)
    return place or None

"""Functions of one parameter each, of every type that a task function may ask for."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Optional

import msgspec

from socketprogress.core.arguments import ExistingPath


class Color(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Size(enum.IntEnum):
    SMALL = 1
    LARGE = 2


@dataclass
class Crop:
    width: int
    height: int = 10


@dataclass
class Look:
    crop: Crop
    colors: list[Color] = field(default_factory=list)


class Source(msgspec.Struct):
    path: Path
    name: str = ""


def of_int(value: int) -> None: ...
def of_float(value: float) -> None: ...
def of_bool(value: bool) -> None: ...
def of_str(value: str) -> None: ...
def of_literal(value: Literal["md5", "sha256", 5]) -> None: ...
def of_enum(value: Color) -> None: ...
def of_int_enum(value: Size) -> None: ...
def of_list(value: list[int]) -> None: ...
def of_dict(value: dict[str, float]) -> None: ...
def of_optional(value: Optional[int]) -> None: ...  # noqa: UP045 - the older spelling works too
def of_union(value: int | None = None) -> None: ...
def of_implied_optional(value: int = None) -> None: ...  # type: ignore[assignment]  # noqa: RUF013
def of_path(value: Path) -> None: ...
def of_existing(value: ExistingPath) -> None: ...
def of_dataclass(value: Crop) -> None: ...
def of_nested(value: Look) -> None: ...
def of_struct(value: Source) -> None: ...
def of_paths(value: list[Path]) -> None: ...
def of_existing_paths(value: list[ExistingPath]) -> None: ...
def of_maybe_path(value: Path | None = None) -> None: ...
def of_anything(value) -> None: ...  # type: ignore[no-untyped-def]
def of_any(value: Any = 3) -> None: ...


FUNCTIONS = [function for name, function in list(globals().items()) if name.startswith("of_")]


def name_of(function: object) -> str:
    """Return what a test case is called by."""
    return getattr(function, "__name__", repr(function))

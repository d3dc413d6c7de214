"""Find a task function by its name, in a module or in a file."""

from __future__ import annotations

import functools
import importlib
import importlib.util
import os
import sys
import zlib
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any, cast

__all__ = ["Modules", "file_of"]


def file_of(reference: str) -> str | None:
    """Return the file that a reference names, or None if it names a module."""
    where = reference.rpartition(":")[0]
    return where if os.sep in where else None


class Modules:
    """Imports modules by name, and files once under the name of their stem."""

    def __init__(self) -> None:
        self._files: dict[str, ModuleType] = {}

    def function(self, reference: str) -> Callable[..., Any]:
        """Return the function of ``module:qualname`` or ``/path/file.py:qualname``.

        Raises:
            ImportError: there is no such module or file, or whatever its own code raises.
            AttributeError: it has no such function.
        """
        where, _, qualname = reference.rpartition(":")
        path = file_of(reference)
        module = importlib.import_module(where) if path is None else self._from_file(path)
        found = functools.reduce(getattr, qualname.split("."), cast(Any, module))
        return cast(Callable[..., Any], found)

    def _from_file(self, path: str) -> ModuleType:
        known = self._files.get(path)
        if known is not None:
            return known
        name = _free_name(Path(path))
        spec = importlib.util.spec_from_file_location(name, path)
        if spec is None or spec.loader is None:
            raise ImportError(f"{path!r} is no Python file")
        folder = str(Path(path).parent)
        if folder not in sys.path:
            sys.path.insert(0, folder)
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        try:
            spec.loader.exec_module(module)
        except BaseException:
            del sys.modules[name]
            raise
        self._files[path] = module
        return module


def _free_name(path: Path) -> str:
    """Return the stem, or, where a module of that name exists, one that nobody else has."""
    if path.stem not in sys.modules and path.stem not in sys.stdlib_module_names:
        return path.stem
    return f"{path.stem}_{zlib.crc32(os.fsencode(path)):08x}"

"""Finds the task functions of a server: the built-in ones, modules, files and commands."""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
from pathlib import Path
from types import ModuleType

from socketprogress.core.errors import ConfigurationError
from socketprogress.core.registry import Definition, Registry
from socketprogress.server.settings import Settings
from socketprogress.tasks import BUILT_INS
from socketprogress.tasks.command import parse_command, run_command

__all__ = ["load_definitions", "load_named"]


def load_definitions(registry: Registry, settings: Settings) -> None:
    """Register everything that the settings name.

    Raises:
        ConfigurationError: a module cannot be imported or has no task, a command cannot be read,
            two tasks have one name, the default task does not exist, or there is no Celery
            application for those that need one.
    """
    registry.add_all(BUILT_INS)
    load_named(registry, settings)
    names = {definition.name for definition in registry}
    if settings.default_task not in names:
        raise ConfigurationError(
            f"the default task {settings.default_task!r} does not exist; there are: "
            + ", ".join(sorted(names))
        )
    remote = sorted(one.name for one in registry if one.where == "celery")
    if remote and not settings.celery:
        raise ConfigurationError(
            f"{', '.join(remote)} would run on Celery's workers: name the Celery application by "
            "--celery module:app or SOCKETPROGRESS_CELERY"
        )


def load_named(registry: Registry, settings: Settings) -> None:
    """Register the task functions of the modules and the commands that the settings name.

    Raises:
        ConfigurationError: as for `load_definitions`.
    """
    for source in settings.tasks:
        _load(registry, source)
    for text in settings.commands:
        name, argv = parse_command(text)
        registry.add(_command(name, argv, settings.root))


def _load(registry: Registry, source: str) -> None:
    path = Path(source)
    is_file = path.suffix == ".py" or os.sep in source
    _see_this_folder(first=not is_file)
    try:
        module = _from_file(path) if is_file else importlib.import_module(source)
    except ConfigurationError:
        raise
    except BaseException as exc:
        if isinstance(exc, KeyboardInterrupt):
            raise
        raise ConfigurationError(
            f"--tasks {source}: the import failed: {type(exc).__name__}: {exc}"
        ) from exc
    reference = path.resolve() if is_file else None
    if not registry.add_all(list(vars(module).values()), reference=reference):
        raise ConfigurationError(
            f"--tasks {source}: no function there is marked with @socketprogress.task"
        )


def _see_this_folder(*, first: bool) -> None:
    """Let tasks import what lies in the folder that the server is started in.

    Only a module that is named comes from there whatever else has its name.
    """
    here = str(Path.cwd())
    if first and sys.path[0] not in {here, ""}:
        sys.path.insert(0, here)
    elif here not in sys.path and "" not in sys.path:
        sys.path.append(here)


def _from_file(path: Path) -> ModuleType:
    path = path.resolve()
    if not path.is_file():
        raise ConfigurationError(f"--tasks {path}: there is no such file")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise ConfigurationError(f"--tasks {path}: this is no Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules.setdefault(path.stem, module)
    if str(path.parent) not in sys.path:
        sys.path.insert(0, str(path.parent))
    spec.loader.exec_module(module)
    return module


def _command(name: str, argv: list[str], root: Path) -> Definition:
    return Definition(
        name=name,
        function=run_command,
        title=name,
        description="Runs " + " ".join(argv),
        executor="process",
        bound={"argv": argv, "cwd": str(root.resolve())},
    )

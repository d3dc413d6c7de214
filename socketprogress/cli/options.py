"""Where `serve` takes its settings from: flag, environment, `socketprogress.toml`, default."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, ClassVar

import click
from click.core import ParameterSource

__all__ = [
    "CONFIG_FILE",
    "ConfiguredCommand",
    "Lines",
    "Paths",
    "Setting",
    "Size",
    "defaults_from",
    "read_config",
    "setting",
]

CONFIG_FILE = "socketprogress.toml"
ENV_PREFIX = "SOCKETPROGRESS_"
SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*(?:([kmgt])(i)?)?b?", re.IGNORECASE)


class Paths(click.types.StringParamType):
    """A module or a file; the environment holds several as PATH does."""

    envvar_list_splitter: ClassVar[str] = click.Path.envvar_list_splitter


class Lines(click.types.StringParamType):
    """A text with spaces in it; the environment holds several of them, one a line."""

    envvar_list_splitter: ClassVar[str] = "\n"

    def split_envvar_value(self, rv: str) -> list[str]:
        """Return the lines that are not empty."""
        return [line.strip() for line in rv.splitlines() if line.strip()]


class Size(click.ParamType[int]):
    """A number of bytes: 4096, 500MB, 10GiB."""

    name = "size"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Return the number of bytes."""
        found = SIZE.fullmatch(str(value).strip())
        if found is None:
            self.fail(f"{value!r} is no size: give bytes, or 500MB, or 10GiB", param, ctx)
        number, unit, binary = found.groups()
        step = 1024 if binary else 1000
        return int(float(number) * step ** ("kmgt".index(unit.lower()) + 1 if unit else 0))


class Setting(click.Option):
    """An option that the environment and the configuration file may set too.

    Its environment variable is its long flag's name in capitals: `SOCKETPROGRESS_ASYNC_MODE`. An
    error names the place that the bad value came from.
    """

    def __init__(self, *args: Any, **attrs: Any) -> None:
        super().__init__(*args, **attrs)
        self.key = max(self.opts, key=len).removeprefix("--")
        self.envvar = ENV_PREFIX + self.key.upper().replace("-", "_")

    def get_error_hint(self, ctx: click.Context | None) -> str:
        """Return the flag, the environment variable or the key that holds the bad value."""
        source = ctx and self.name and ctx.get_parameter_source(self.name)
        if source is ParameterSource.ENVIRONMENT:
            return f"the environment variable {self.envvar}"
        if source is ParameterSource.DEFAULT_MAP:
            return f"{self.key!r} in {CONFIG_FILE}"
        return f"'--{self.key}'"


def read_config(folder: Path) -> dict[str, Any]:
    """Return the top-level keys of `socketprogress.toml` in a folder; empty without one.

    Raises:
        click.UsageError: it cannot be read or is no TOML.
    """
    path = folder / CONFIG_FILE
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as exc:
        raise click.UsageError(f"{path} cannot be read: {exc}") from None


def defaults_from(config: Mapping[str, Any], settings: Iterable[Setting]) -> dict[str, Any]:
    """Return the configuration file's values by parameter name, as the flags would give them.

    Raises:
        click.UsageError: a key that no flag has, or a value that is of another kind.
    """
    known = {setting.key: setting for setting in settings}
    unknown = sorted(key for key in config if key.replace("_", "-") not in known)
    if unknown:
        raise click.UsageError(
            f"{CONFIG_FILE} has unknown keys: {', '.join(unknown)}; it may have {', '.join(known)}"
        )
    defaults = {}
    for key, value in config.items():
        setting = known[key.replace("_", "-")]
        defaults[str(setting.name)] = _as_given(setting, key, value)
    return defaults


def _as_given(setting: Setting, key: str, value: Any) -> Any:
    if setting.is_flag:
        return _checked(key, value, bool, "true or false")
    if setting.multiple:
        items = value if isinstance(value, list) else [value]
        return [_checked(key, item, str, "a text or a list of texts") for item in items]
    if isinstance(value, bool):
        return _checked(key, value, str, "a text or a number")
    return str(_checked(key, value, (str, int, float), "a text or a number"))


def _checked(key: str, value: Any, kind: Any, wanted: str) -> Any:
    if not isinstance(value, kind):
        raise click.UsageError(f"{CONFIG_FILE}: {key} = {value!r} must be {wanted}")
    return value


def load_config(ctx: click.Context, settings: Iterable[Setting]) -> None:
    """Make the configuration file's values the defaults of a command's options."""
    ctx.default_map = {
        **defaults_from(read_config(Path.cwd()), settings),
        **(ctx.default_map or {}),
    }


class ConfiguredCommand(click.Command):
    """A command whose options may stand in `socketprogress.toml`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Read the configuration file before the flags, which go over it."""
        if "--help" not in args:
            load_config(ctx, (p for p in self.params if isinstance(p, Setting)))
        return super().parse_args(ctx, args)


def setting(*declarations: str, **attrs: Any) -> Callable[[Any], Any]:
    """Return a decorator that adds a `Setting` to a command."""
    return click.option(*declarations, cls=Setting, **attrs)

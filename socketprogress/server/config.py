"""An application's settings: options of `init_app`, then `SOCKETPROGRESS_*` in `app.config`."""

from __future__ import annotations

import difflib
import json
import types
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Union, get_args, get_origin, get_type_hints

from socketprogress.core.errors import ConfigurationError
from socketprogress.server.settings import Settings

if TYPE_CHECKING:
    from flask import Flask

__all__ = ["PREFIX", "mounting", "settings_of"]

PREFIX = "SOCKETPROGRESS_"
MOUNTING = {"url_prefix": "/progress", "namespace": "/socketprogress"}
# What reporters read from the environment: an app that takes its whole environment has these too.
REPORTERS = frozenset({"URL", "LEASE", "MODE", "PARENT"})
TRUE, FALSE = frozenset({"1", "true", "yes", "on"}), frozenset({"0", "false", "no", "off", ""})


def settings_of(app: Flask, options: Mapping[str, Any], *, async_mode: str) -> Settings:
    """Return the settings of an embedded server; its data is in the instance folder by default.

    Args:
        app: whose `config` is read.
        options: what `init_app` was given, which stands above the `config`.
        async_mode: the one that holds where none is set.

    Raises:
        ConfigurationError: an unknown name, or a value that cannot be read or cannot work.
    """
    kinds = get_type_hints(Settings)
    given = {
        "data": Path(app.instance_path) / "socketprogress",
        "async_mode": async_mode,
        **_configured(app.config, known=kinds),
    }
    for name, value in options.items():
        if name not in kinds:
            raise ConfigurationError(f"init_app has no option {name!r}{_nearest(name, kinds)}")
        given[name] = _read(f"the option {name}", value, kinds[name])
    return Settings(**given)


def mounting(app: Flask, **options: str | None) -> tuple[str, str]:
    """Return the URL prefix and the namespace: from options, the `config` or the default.

    Raises:
        ConfigurationError: one of them does not begin with a slash.
    """
    found = []
    for name, default in MOUNTING.items():
        value = options[name]
        if value is None:
            value = str(app.config.get(PREFIX + name.upper(), default))
        if name == "url_prefix":
            value = value.rstrip("/")
        if not value.startswith("/") and not (name == "url_prefix" and value == ""):
            raise ConfigurationError(f"{name} is {value!r} and must begin with a slash")
        found.append(value)
    return found[0], found[1]


def _configured(config: Mapping[str, Any], *, known: Mapping[str, Any]) -> dict[str, Any]:
    found = {}
    for key in config:
        if not key.startswith(PREFIX) or key.removeprefix(PREFIX) in REPORTERS:
            continue
        name = key.removeprefix(PREFIX).lower()
        if name in MOUNTING:
            continue
        if name not in known:
            keys = [PREFIX + one.upper() for one in (*known, *MOUNTING)]
            raise ConfigurationError(f"app.config has no setting {key!r}{_nearest(key, keys)}")
        found[name] = _read(f"app.config[{key!r}]", config[key], known[name])
    return found


def _nearest(name: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    return f"; did you mean {close[0]!r}?" if close else ""


def _read(what: str, value: Any, kind: Any) -> Any:
    """Return a value as its setting has it; the environment gives texts for everything."""
    if kind is Any:
        return value
    if get_origin(kind) in {Union, types.UnionType}:
        if value is None or value == "":
            return None
        kind = next(one for one in get_args(kind) if one is not type(None))
    reader = READERS.get(kind)
    return _several(what, value) if reader is None else reader(what, value)


def _text(what: str, value: Any) -> str:
    if not isinstance(value, str):
        raise ConfigurationError(f"{what} = {value!r} must be a text")
    return value


def _number(what: str, value: Any) -> float:
    try:
        if isinstance(value, (int, float, str)) and not isinstance(value, bool):
            return float(value)
    except ValueError:
        pass
    raise ConfigurationError(f"{what} = {value!r} must be a number")


def _whole(what: str, value: Any) -> int:
    number = _number(what, value)
    if not number.is_integer():
        raise ConfigurationError(f"{what} = {value!r} must be a whole number")
    return int(number)


def _path(what: str, value: Any) -> Path:
    if not isinstance(value, (str, Path)):
        raise ConfigurationError(f"{what} = {value!r} must be a path")
    return Path(value).expanduser()


def _truth(what: str, value: Any) -> bool:
    text = str(value).strip().lower()
    if text not in TRUE | FALSE:
        raise ConfigurationError(f"{what} = {value!r} must be true or false")
    return text in TRUE


def _several(what: str, value: Any) -> tuple[str, ...]:
    """Return texts: of a list, of JSON, or of one text with commas between them."""
    if isinstance(value, str):
        text = value.strip()
        try:
            value = json.loads(text) if text.startswith("[") else text.split(",")
        except ValueError:
            raise ConfigurationError(f"{what} = {value!r} is no JSON list") from None
        value = [item.strip() if isinstance(item, str) else item for item in value]
        value = [item for item in value if item != ""]
    if not isinstance(value, (list, tuple, set, frozenset)) or not all(
        isinstance(item, str) for item in value
    ):
        raise ConfigurationError(f"{what} = {value!r} must be a list of texts")
    return tuple(value)


READERS: dict[Any, Callable[[str, Any], Any]] = {
    Path: _path,
    bool: _truth,
    float: _number,
    int: _whole,
    str: _text,
}

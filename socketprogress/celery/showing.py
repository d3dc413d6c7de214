"""What a Celery task looks like: its title without secrets, and what its `meta` says of progress."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from celery.utils.saferepr import saferepr

from socketprogress.core.fields import clean
from socketprogress.core.progress import finite
from socketprogress.core.protocol import one_line

__all__ = ["HIDDEN", "Progress", "Redact", "args_of", "progress_of", "title_of"]

Redact = Callable[[str, str, Any], Any]
"""``redact(task_name, argument_name, value)`` returns what is shown of an argument."""

HIDDEN = "***"
UNKNOWN = "…"
TITLE_CHARS = 200
VALUE_CHARS = 60
ARG_CHARS = 1_000
ARGS_CHARS = 8_000
DEPTH = 8
SECRET = re.compile(
    r"(?:^|[_\W])(?:pass|passwd|pwd|pin|auth|key|keys|apikey|jwt|otp|cookie|session|signature)(?:$|[_\W])"
    r"|password|passphrase|secret|token|credential|private|api_?key",
    re.IGNORECASE,
)
CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
BUILT_IN = frozenset(
    {"PENDING", "RECEIVED", "STARTED", "SUCCESS", "FAILURE", "RETRY", "REVOKED", "PROGRESS"}
)


@dataclass(frozen=True, slots=True)
class Progress:
    """What a `meta` says; None is not said."""

    current: float | None = None
    total: float | None = None
    unit: str | None = None
    message: str | None = None


def title_of(
    name: str,
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    *,
    function: Callable[..., Any] | None = None,
    redact: Redact | None = None,
) -> str:
    """Return a task's title, like ``resize(7, size='small', token=***)``.

    Args:
        name: the task's, of which the last part is shown.
        args: its positional arguments. They are shown only where `function` tells their names: one
            of them may be a secret.
        kwargs: its named arguments.
        function: what they are given to.
        redact: the application's own say on what is shown.
    """
    names = _names(function, len(args))
    shown = []
    for index, value in enumerate(args):
        named = names[index] if index < len(names) else ""
        shown.append(_shown(name, named, value, redact) if named else UNKNOWN)
    for key, value in kwargs.items():
        shown.append(f"{key}={_shown(name, str(key), value, redact)}")
    return one_line(f"{name.rpartition('.')[2]}({', '.join(shown)})", TITLE_CHARS)


def args_of(
    name: str,
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    *,
    function: Callable[..., Any] | None = None,
    redact: Redact | None = None,
) -> dict[str, Any]:
    """Return a task's arguments by name as JSON values, hidden as in its title.

    What is no JSON, or long, is its text. Those without a name are left out.

    Args:
        name, args, kwargs, function, redact: as for `title_of`.
    """
    found: dict[str, Any] = {}
    names = _names(function, len(args))
    given = [*zip(names, args, strict=False), *((str(key), value) for key, value in kwargs.items())]
    left = ARGS_CHARS
    for key, value in given:
        text, plain = _json(_visible(name, key, value, redact))
        left -= len(text) + len(key)
        if left < 0:
            break
        # What `*names` takes has one name.
        found[key] = plain if key not in found else f"{found[key]}, {plain}"[:ARG_CHARS]
    return found


def progress_of(state: Any, meta: Any) -> Progress:
    """Return what ``update_state(state=…, meta=…)`` says of a task's progress.

    ``{current, total}`` and ``{done, total}`` are counts, ``{percent}`` and ``{progress}`` percents,
    ``status`` and ``message`` are texts. A state of the application's own is the message where
    there is no text.
    """
    given = meta if isinstance(meta, Mapping) else {}
    own = str(state) if state and str(state) not in BUILT_IN else None
    text = next((given[k] for k in ("message", "status") if isinstance(given.get(k), str)), own)
    done = next((n for k in ("current", "done") if (n := _number(given.get(k))) is not None), None)
    total = _number(given.get("total"))
    percent = next(
        (n for k in ("percent", "progress") if (n := _number(given.get(k))) is not None), None
    )
    if done is None and percent is not None:
        return Progress(min(max(percent, 0.0), 100.0), 100, "%", text)
    return Progress(done, total if total is not None and total >= 0 else None, None, text)


def _number(value: Any) -> float | None:
    try:
        return None if isinstance(value, bool) else finite(value)
    except (TypeError, ValueError):
        return None


def _names(function: Callable[..., Any] | None, count: int) -> list[str]:
    if function is None:
        return []
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return []
    names: list[str] = []
    for one in parameters:
        if one.kind is one.VAR_POSITIONAL:
            names += [one.name] * (count - len(names))
        elif one.kind in {one.POSITIONAL_ONLY, one.POSITIONAL_OR_KEYWORD}:
            names.append(one.name)
    return names


def _shown(task: str, name: str, value: Any, redact: Redact | None) -> str:
    value = _visible(task, name, value, redact)
    if isinstance(value, str) and value == HIDDEN:
        return HIDDEN
    return str(saferepr(value, maxlen=VALUE_CHARS))


def _visible(task: str, name: str, value: Any, redact: Redact | None) -> Any:
    """Return what may be seen of an argument."""
    if is_secret(name):
        return HIDDEN
    if redact is not None:
        try:
            value = redact(task, name, value)
        except Exception:  # noqa: BLE001 - the application's own; what it was to hide stays hidden
            return HIDDEN
    return _plain(value, DEPTH)


def _json(value: Any) -> tuple[str, Any]:
    """Return a value as JSON text, and the value that this is; its own text where it is none."""
    try:
        text = json.dumps(value, allow_nan=False)
        if len(text) <= ARG_CHARS:
            return text, clean(json.loads(text), most_deep=2 * DEPTH)
    except (TypeError, ValueError, RecursionError):  # InvalidPayload is a ValueError
        pass
    shown = str(saferepr(value, maxlen=ARG_CHARS))[:ARG_CHARS]
    return json.dumps(shown), shown


def _plain(value: Any, depth: int) -> Any:
    """Return a value without the secrets in it."""
    if depth <= 0:
        return UNKNOWN
    if isinstance(value, Mapping):
        return {
            key: HIDDEN if is_secret(str(key)) else _plain(one, depth - 1)
            for key, one in value.items()
        }
    if isinstance(value, (list, tuple)):
        return [_plain(one, depth - 1) for one in value]
    return value


def is_secret(name: str) -> bool:
    """Return whether an argument of this name is not for everybody's eyes."""
    return SECRET.search(CAMEL.sub("_", name)) is not None

"""States and log lines as JSON, readable by older and newer versions: never pickle."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from msgspec.structs import replace

from socketprogress.core.state import TaskState

__all__ = ["decode_lines", "decode_news", "decode_state", "encode_lines", "encode_state"]

log = logging.getLogger(__name__)


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"{type(value).__name__} is no JSON value")


_encoder = msgspec.json.Encoder(enc_hook=_plain)
_state_decoder = msgspec.json.Decoder(TaskState)
_lines_decoder = msgspec.json.Decoder(list[str])
_news_decoder = msgspec.json.Decoder(list[TaskState | str])


def encode_state(state: TaskState) -> bytes:
    """Return the state as JSON; a result or arguments that are no JSON are logged and left out."""
    try:
        return _encode(state)
    except Exception:  # msgspec raises many kinds; one odd task must not hold up all the others
        log.exception("task %s is stored without its result and arguments", state.task_id)
        return _encode(replace(state, result=None, args={}))


def decode_state(blob: bytes) -> TaskState:
    """Return a state from JSON; unknown fields are ignored and missing ones take their defaults.

    Raises:
        ValueError: it is no state.
    """
    try:
        return _state_decoder.decode(blob)
    except ValueError:  # lone surrogates are read by the standard library only
        return msgspec.convert(json.loads(blob), TaskState)


def decode_news(blob: bytes) -> list[TaskState | str]:
    """Return what an entry of a feed tells: states, or the ids of tasks whose states are large.

    Raises:
        ValueError: it is no such list.
    """
    try:
        return _news_decoder.decode(blob)
    except ValueError:
        return msgspec.convert(json.loads(blob), list[TaskState | str])


def encode_lines(lines: Sequence[str]) -> bytes:
    """Return log lines as JSON."""
    return _encode(lines)


def decode_lines(blob: bytes) -> list[str]:
    """Return log lines from JSON.

    Raises:
        ValueError: it is no list of strings.
    """
    try:
        return _lines_decoder.decode(blob)
    except ValueError:
        return msgspec.convert(json.loads(blob), list[str])


def _encode(value: Any) -> bytes:
    try:
        return _encoder.encode(value)
    except UnicodeEncodeError:  # lone surrogates, as in file names that are no UTF-8
        return json.dumps(msgspec.to_builtins(value, enc_hook=_plain)).encode()

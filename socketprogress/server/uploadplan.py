"""What is to become of an upload: its task's name, title, arguments and steps, checked beforehand."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from socketprogress.core.errors import InvalidArguments, InvalidPayload
from socketprogress.core.protocol import one_line
from socketprogress.core.registry import Definition, Registry
from socketprogress.core.retention import UPLOAD
from socketprogress.server.payloads import StartRequest, start_request
from socketprogress.server.settings import Settings

__all__ = ["COMPLETE", "PROCESS", "Plan", "make_plan", "wanted_of"]

PROCESS, COMPLETE = "Process", "Complete"
SHARE = 1.5
"""How much the upload weighs beside all that follows it: three fifths of the bar."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What happens to a file: `definition` gets it as its argument `parameter`; None keeps it.

    `args` are the other arguments, `is_open` says that a definition may still be named.
    """

    definition: Definition | None
    parameter: str
    args: Mapping[str, Any]
    title: str
    is_open: bool

    @property
    def name(self) -> str:
        """The task's name."""
        return UPLOAD if self.definition is None else self.definition.name

    @property
    def steps(self) -> dict[str, float]:
        """The steps with their weights: the upload, and the definition's own after it."""
        if self.definition is None:
            return {}
        own = dict(self.definition.steps) or {PROCESS: 9.0, COMPLETE: 1.0}
        first = "Upload"
        while first in own:
            first = f"{first} file"
        return {first: SHARE * sum(own.values()), **own}

    def title_for(self, file_name: str, most: int) -> str:
        """Return the title of the task that gets this file."""
        if self.title:
            return self.title
        if self.definition is None:
            return one_line(f"Upload of {file_name}", most)
        return self.definition.title_for(self.args_for(file_name))

    def args_for(self, file_name: str) -> dict[str, Any]:
        """Return the task's arguments as people see them: of the file its own name."""
        return {} if self.definition is None else {**self.args, self.parameter: file_name}


def wanted_of(texts: Mapping[str, str], limits: Settings) -> StartRequest:
    """Return what the texts `task`, `args`, `title` and `task_id` ask for; empty ones are none.

    Raises:
        InvalidPayload: with the `field` that is to blame.
    """
    given: dict[str, Any] = {name: text for name, text in texts.items() if text.strip()}
    if "args" in given:
        try:
            given["args"] = json.loads(given["args"])
        except (ValueError, RecursionError):
            raise InvalidPayload(
                'args must be JSON, such as {"table": "t"}', field="args"
            ) from None
    return start_request(given, limits)


def make_plan(
    registry: Registry,
    wanted: StartRequest,
    limits: Settings,
    *,
    lax: bool = False,
    is_open: bool = False,
) -> Plan:
    """Return what is to become of a file.

    Args:
        registry: the definitions.
        wanted: what the client asks for.
        limits: the server's bounds.
        lax: take texts for numbers, as forms give them.
        is_open: whether a definition may still be named.

    Raises:
        UnknownDefinition, InvalidArguments: with the `field` that is to blame.
    """
    title = one_line(wanted.title or "", limits.max_title_chars)
    if wanted.task is None:
        if wanted.args and not is_open:
            raise InvalidArguments("args are for a task: name it in `task`", field="args")
        return Plan(None, "", {}, title, is_open)
    definition = registry.get(wanted.task)
    parameter = definition.binding.file
    if parameter is None:
        raise InvalidArguments(
            f"the task {definition.name!r} takes no file: none of its arguments is a path",
            field="task",
        )
    if definition.where == "celery":
        raise InvalidArguments(
            f"the task {definition.name!r} runs on Celery's workers, which do not see what is uploaded "
            "here: put the file where they find it, and start the task with its path",
            field="task",
        )
    if parameter in wanted.args:
        raise InvalidArguments(f"{parameter} is the uploaded file: leave it out", field=parameter)
    checked = definition.binding.check(
        {**wanted.args, parameter: UPLOAD}, root=limits.root, lax=lax, placed=parameter
    )
    del checked[parameter]
    return Plan(definition, parameter, checked, title, is_open=False)

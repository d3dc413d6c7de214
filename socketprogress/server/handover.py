"""The second half of an upload's life: a task function has the file, in the very same task."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from socketprogress.core.hub import Hub
from socketprogress.core.ports import Executor, Job, Outcome
from socketprogress.core.registry import Definition
from socketprogress.core.state import TaskState
from socketprogress.core.status import Status
from socketprogress.server.runtime import Runtime
from socketprogress.server.supervisor import Supervisor
from socketprogress.server.uploadplan import COMPLETE

__all__ = ["HandedOver", "args_for"]


class HandedOver(Supervisor):
    """Watches over work whose task has begun with an upload.

    Args:
        job, executor, hub, runtime: as for `Supervisor`.
        on_over: called when the work is over, before its end is shown; may wait for the disk.
    """

    def __init__(
        self,
        job: Job,
        executor: Executor,
        hub: Hub,
        runtime: Runtime,
        *,
        on_over: Callable[[], None],
    ) -> None:
        super().__init__(job, executor, hub, runtime)
        self._unit = job.unit
        self._runtime = runtime
        self._on_over = on_over

    def started(self) -> None:
        """Enter the step after the upload, with counts of its own."""
        steps = self._hub.get(self.task_id).steps
        self._hub.apply(
            [
                {
                    "task_id": self.task_id,
                    "step": steps[1].name,
                    "current": 0,
                    "total": None,
                    "unit": self._unit,
                    "message": "",
                }
            ]
        )

    def _book(self) -> None:
        outcome = self._outcome or Outcome(Status.CANCELLED)
        steps = self._hub.get(self.task_id).steps
        if outcome.status is Status.COMPLETED and steps[-1].name == COMPLETE:
            self._hub.apply([{"task_id": self.task_id, "step": COMPLETE}])
        self._runtime.run_blocking(self._on_over)
        super()._book()


def args_for(definition: Definition, state: TaskState, file: Path) -> dict[str, Any]:
    """Return the arguments for work on an upload: the file's folder is the only root it sees."""
    args = {**state.args, **definition.bound, definition.binding.file or "": str(file)}
    if "root" in definition.bound:
        args["root"] = file.parent
    args.pop("exclude", None)
    return args

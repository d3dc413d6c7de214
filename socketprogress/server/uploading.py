"""Uploads: a task from the first byte on, a file that is there whole or not at all."""

from __future__ import annotations

import logging
import shutil
import time
from collections import OrderedDict
from collections.abc import Callable
from functools import partial
from pathlib import Path

from socketprogress.core.errors import Unavailable, WireError
from socketprogress.core.hub import Hub
from socketprogress.core.registry import Definition, Registry
from socketprogress.core.state import TaskError, TaskFile, TaskState
from socketprogress.core.status import Status
from socketprogress.core.steps import count, enter, make
from socketprogress.server.filenames import safe_name
from socketprogress.server.incoming import IncomingFile, Superseded
from socketprogress.server.payloads import StartRequest
from socketprogress.server.runtime import Runtime
from socketprogress.server.settings import Settings
from socketprogress.server.supervisor import STOPPED
from socketprogress.server.upload import Quota, Upload
from socketprogress.server.uploadplan import Plan, make_plan

__all__ = ["Uploads"]

log = logging.getLogger(__name__)

FINISHED = 10_000
INTERRUPTED = TaskError("interrupted", "the connection was cut before the file was there")
Created = tuple[TaskState, bool]
Claiming = Callable[[str, Definition, Callable[..., Created]], Created]
Launch = Callable[[Definition, TaskState, Path, Callable[[], None]], None]


class Uploads:
    """The uploads on their way.

    Whoever takes an upload out of here ends it: its last byte, a cancellation, its time.

    Args:
        hub: where their tasks are.
        registry: the definitions that may get a file.
        settings: bounds and folders.
        runtime: how to wait for the disk.
        launch: has a definition work on a task's file, and is told where that is and what to do after it.
        claiming: creates a task of a definition, unless too many of them run on other servers.

    Attributes:
        stopping: whether the server ends, and the uploads with it.
    """

    def __init__(
        self,
        hub: Hub,
        registry: Registry,
        settings: Settings,
        runtime: Runtime,
        launch: Launch,
        *,
        claiming: Claiming,
    ) -> None:
        self._hub, self._registry, self._settings = hub, registry, settings
        self._runtime, self._launch, self._claiming = runtime, launch, claiming
        self.folder = settings.data / "uploads"
        self._coming: dict[str, Upload] = {}
        self._finished: OrderedDict[str, int] = OrderedDict()
        self.stopping = False
        self.quota = Quota(hub, settings)

    # -- an upload's life ------------------------------------------------------------------------

    def plan(self, wanted: StartRequest, *, lax: bool = False, is_open: bool = False) -> Plan:
        """Return what is to become of a file; raises as `make_plan`."""
        return make_plan(self._registry, wanted, self._settings, lax=lax, is_open=is_open)

    def open(
        self,
        wanted: StartRequest,
        plan: Plan,
        *,
        file_name: str,
        length: int | None = None,
        total: int | None = None,
        lax: bool = False,
        metadata: str | None = None,
    ) -> Upload:
        """Begin an upload: from now on its task is there.

        Args:
            wanted: what the client asks for.
            plan: what that comes to.
            file_name: what the client calls the file.
            length: its bytes, where they are known for sure.
            total: its bytes at most, where that is all that is known.
            lax: as for `plan`.
            metadata: of a resumable upload, what its client has said.

        Raises:
            TooLarge, Unavailable, AlreadyRunning.
        """
        self._check_open()
        task_id = wanted.task_id or self._hub.new_id()
        upload = Upload(
            task_id=task_id,
            name=safe_name(file_name),
            wanted=wanted,
            plan=plan,
            file=IncomingFile(self.folder / task_id, self._runtime.threading),
            length=length,
            lax=lax,
            resumable=metadata is not None,
            metadata=metadata or "",
        )
        self._runtime.run_blocking(self._make, upload)
        try:
            self._check_open()
            self._create(upload, length if length is not None else total)
        except WireError:
            self._coming.pop(task_id, None)
            self._runtime.run_blocking(upload.file.remove)
            raise
        return upload

    def begin_writing(self, upload: Upload) -> int:
        """Return the turn of a connection that brings the next bytes.

        Raises:
            Superseded: the upload is over.
            Unavailable: the disk fails.
        """
        turn = self._runtime.run_blocking(upload.file.take_turn)
        upload.writing = turn
        if upload.said_paused:
            upload.said_paused = False
            self._hub.apply([{"task_id": upload.task_id, "message": ""}])
        return turn

    def write(self, upload: Upload, turn: int, pieces: list[bytes]) -> int:
        """Store the next bytes, tell the watchers, and return how many there are now.

        Raises:
            Superseded: another connection goes on with it, or it is over.
            TooLarge, Unavailable: it is over a bound, or the disk is full.
        """
        size = upload.file.size + sum(map(len, pieces))
        self.quota.check_length(size)
        if upload.length is None:
            others = [other for other in self._coming.values() if other is not upload]
            self.quota.check_total(size, others)
        size = self._runtime.run_blocking(upload.file.append, turn, pieces)
        self._hub.apply([{"task_id": upload.task_id, "current": size}])
        return size

    def end_writing(self, upload: Upload, turn: int) -> None:
        """Let the upload wait for another connection."""
        self._runtime.run_blocking(upload.file.end_turn, turn)
        if upload.writing == turn:
            upload.writing, upload.left_at = 0, time.monotonic()

    def finish(self, upload: Upload, wanted: StartRequest | None = None) -> TaskState:
        """Take a whole file: its definition gets it, or it is kept; return the task's state.

        Args:
            upload: the upload.
            wanted: what the client asks for, if that was not known before.

        Raises:
            Superseded: it is over already.
            WireError: it cannot be done; the task has failed, and nothing of it is left.
        """
        if not self._take(upload):
            raise Superseded("this upload is over")
        task_id, size = upload.task_id, upload.file.size
        if upload.resumable:
            self._note_finished(task_id, size)
        try:
            if wanted is not None:
                upload.wanted = wanted
                upload.plan = self.plan(wanted, lax=upload.lax)
            self._hub.apply([{"task_id": task_id, "current": size, "total": size}])
            if upload.plan.definition is None:
                self._keep(upload)
            else:
                self._hand_over(upload, upload.plan.definition)
        except WireError as exc:
            self._fail(upload, TaskError("exception", exc.message))
            raise
        return self._hub.get(task_id)

    def fail(self, upload: Upload, error: TaskError = INTERRUPTED) -> None:
        """End an upload that will not be whole: its task has failed, and nothing of it is left."""
        if self._take(upload):
            self._fail(upload, error)

    def cancel(self, task_id: str) -> bool:
        """End an upload that somebody wants no more; return whether there was one."""
        upload = self._coming.get(task_id)
        if upload is None or not self._take(upload):
            return False
        self._drop(upload)
        self._hub.end(task_id, Status.CANCELLED)
        return True

    # -- resumable uploads -----------------------------------------------------------------------

    def find(self, task_id: str) -> Upload | None:
        """Return a resumable upload that is on its way."""
        upload = self._coming.get(task_id)
        return upload if upload is not None and upload.resumable else None

    def finished(self, task_id: str) -> int | None:
        """Return the bytes of a resumable upload that has come to its end lately."""
        return self._finished.get(task_id)

    def announce(self, upload: Upload, length: int) -> None:
        """Take the length of an upload that began without.

        Raises:
            TooLarge, Unavailable: it does not fit.
        """
        others = [other for other in self._coming.values() if other is not upload]
        self._runtime.run_blocking(self.quota.check, length, others)
        upload.length = length
        self._runtime.run_blocking(upload.file.write_record, upload.record())
        self._hub.apply([{"task_id": upload.task_id, "total": length}])

    def expires_at(self, upload: Upload) -> float:
        """Return when an upload that nobody goes on with is over, Unix seconds."""
        left_s = self._settings.upload_expiry_s - (time.monotonic() - upload.left_at)
        return time.time() + left_s

    # -- a server's life -------------------------------------------------------------------------

    def coming(self) -> list[Upload]:
        """Return the uploads on their way."""
        return list(self._coming.values())

    def revive(self, upload: Upload) -> None:
        """Go on with an upload of an earlier server."""
        self._coming[upload.task_id] = upload

    def forget(self, upload: Upload) -> None:
        """Leave an upload that has no task any more to who clears up."""
        self._coming.pop(upload.task_id, None)

    def close(self) -> None:
        """End the uploads on their way, resumable ones too; from now on there are no more."""
        self.stopping = True
        for upload in self.coming():
            if self._take(upload):
                self._drop(upload)
                if self._hub.find(upload.task_id) is not None:
                    self._hub.end(upload.task_id, Status.CANCELLED, error=STOPPED)

    # -- inside ----------------------------------------------------------------------------------

    def _check_open(self) -> None:
        if self.stopping:
            raise Unavailable("the server is stopping and takes no more uploads")

    def _make(self, upload: Upload) -> None:
        self.quota.check(upload.length, self._coming.values())
        upload.file.create()
        if upload.resumable:
            upload.file.write_record(upload.record())
        self._coming[upload.task_id] = upload

    def _create(self, upload: Upload, total: int | None) -> None:
        plan = upload.plan
        definition = plan.definition
        create = partial(
            self._hub.create,
            plan.name,
            title=plan.title_for(upload.name, self._settings.max_title_chars),
            max_running=None if definition is None else definition.max_running,
            steps=make(plan.steps),
            unit="B",
            total=total,
            tags=upload.wanted.tags,
            args=plan.args_for(upload.name),
            uploaded=True,
        )
        if definition is None or definition.max_running is None:
            state, is_new = create(task_id=upload.task_id)
        else:
            state, is_new = self._claiming(upload.task_id, definition, create)
        if not is_new:
            raise Unavailable(f"task {state.task_id} has just been started otherwise")
        self._hub.begin(upload.task_id)

    def _take(self, upload: Upload) -> bool:
        """Return whether it is ours to end this upload: it is nobody else's from now on."""
        return self._coming.pop(upload.task_id, None) is upload

    def _keep(self, upload: Upload) -> None:
        target = self._settings.data / "files" / upload.task_id / upload.name
        self._runtime.run_blocking(upload.file.place, target)
        size = upload.file.size
        self.quota.keep(size)
        title = upload.plan.title_for(upload.name, self._settings.max_title_chars)
        if title != self._hub.get(upload.task_id).title:
            self._hub.assign(upload.task_id, upload.plan.name, title=title)
        self._hub.end(
            upload.task_id,
            Status.COMPLETED,
            result={"file": upload.name, "bytes": size},
            files=[TaskFile(upload.name, size)],
        )
        self._runtime.run_blocking(upload.file.remove)

    def _hand_over(self, upload: Upload, definition: Definition) -> None:
        plan, target = upload.plan, upload.file.done / upload.name
        self._runtime.run_blocking(upload.file.place, target)
        state = self._hub.get(upload.task_id)
        steps = state.steps
        if list(plan.steps) != [step.name for step in steps]:
            steps = enter(make(plan.steps), 0)
            steps = count(steps, current=1, total=1, reset=False)
        state = self._hub.assign(
            upload.task_id,
            definition.name,
            max_running=definition.max_running,
            title=plan.title_for(upload.name, self._settings.max_title_chars),
            args=plan.args_for(upload.name),
            steps=steps,
            cancellable=definition.cancellable,
        )
        self._launch(definition, state, target, upload.file.remove)

    def _fail(self, upload: Upload, error: TaskError) -> None:
        self._drop(upload)
        self._hub.end(upload.task_id, Status.FAILED, error=error)

    def _drop(self, upload: Upload) -> None:
        self._finished.pop(upload.task_id, None)
        try:
            self._runtime.run_blocking(self._remove, upload)
        except OSError:  # the next start removes it
            log.exception("the upload %s cannot be removed", upload.task_id)

    def _remove(self, upload: Upload) -> None:
        upload.file.remove()
        shutil.rmtree(self._settings.data / "files" / upload.task_id, ignore_errors=True)

    def _note_finished(self, task_id: str, size: int) -> None:
        self._finished[task_id] = size
        while len(self._finished) > FINISHED:
            self._finished.popitem(last=False)

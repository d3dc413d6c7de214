"""What is done for uploads at a server's start, and every second from then on."""

from __future__ import annotations

import logging
import shutil
import time
from pathlib import Path
from typing import Any

from socketprogress.core.errors import WireError
from socketprogress.core.hub import Hub
from socketprogress.core.state import TaskError
from socketprogress.core.status import Status
from socketprogress.server.filenames import safe_name
from socketprogress.server.incoming import IncomingFile
from socketprogress.server.payloads import StartRequest
from socketprogress.server.runtime import Runtime
from socketprogress.server.settings import Settings
from socketprogress.server.upload import Upload
from socketprogress.server.uploading import Uploads

__all__ = ["UploadKeeper"]

log = logging.getLogger(__name__)

PAUSED_AFTER_S = 2.0
EXPIRED = TaskError("timeout", "nobody has brought the rest of the file")


class UploadKeeper:
    """Goes on with what an earlier server has left, and ends what nobody goes on with.

    Args:
        uploads: the uploads on their way.
        hub: where their tasks are.
        settings: bounds and folders.
        runtime: how to wait for the disk.
    """

    def __init__(self, uploads: Uploads, hub: Hub, settings: Settings, runtime: Runtime) -> None:
        self._uploads, self._hub = uploads, hub
        self._settings, self._runtime = settings, runtime
        self._leftover: list[Path] = []

    def resumable(self) -> frozenset[str]:
        """Read what an earlier server has left, and return the ids of what can go on."""
        folder = self._uploads.folder
        for one in sorted(folder.iterdir()) if folder.is_dir() else ():
            # In a shared store another server may have booked its end by now.
            upload = None if self._hub.store.is_shared else self._revived(one)
            if upload is None:
                self._leftover.append(one)
            else:
                self._uploads.revive(upload)
        return frozenset(upload.task_id for upload in self._uploads.coming())

    def restored(self) -> None:
        """Go on with what is a task still, once the hub has its tasks back."""
        for upload in self._uploads.coming():
            state = self._hub.find(upload.task_id)
            if state is None or state.ended:
                self._uploads.forget(upload)
                self._leftover.append(upload.file.folder)
            else:
                self._hub.apply([{"task_id": upload.task_id, "current": upload.file.size}])

    def sweep(self) -> None:
        """Remove leftovers, say which uploads wait, and end those that nobody goes on with."""
        leftover, self._leftover = self._leftover, []
        for folder in leftover:
            self._runtime.run_blocking(self._clear, folder)
        for upload in self._uploads.coming():
            self._hub.heard(upload.task_id)
            if upload.resumable and not upload.writing:
                self._look_at(upload)

    def _revived(self, folder: Path) -> Upload | None:
        file = IncomingFile(folder, self._runtime.threading)
        record = file.read_record()
        if record is None:
            return None
        try:
            return self._from_record(folder.name, file, record)
        except (WireError, LookupError, TypeError, ValueError) as exc:
            log.warning("the upload %s cannot go on: %s", folder.name, exc)
            return None

    def _from_record(self, task_id: str, file: IncomingFile, record: dict[str, Any]) -> Upload:
        wanted = StartRequest(
            task=record["task"],
            args=record["args"],
            title=record["title"],
            task_id=task_id,
            tags=tuple(record["tags"]),
        )
        silent_s = max(time.time() - file.touched_at(), 0.0)
        return Upload(
            task_id=task_id,
            name=safe_name(record["name"]),
            wanted=wanted,
            plan=self._uploads.plan(wanted),
            file=file,
            length=record["length"],
            resumable=True,
            metadata=record["metadata"],
            left_at=time.monotonic() - silent_s,
        )

    def _clear(self, folder: Path) -> None:
        state = self._hub.find(folder.name)
        shutil.rmtree(folder, ignore_errors=True)
        if state is None or state.status is not Status.COMPLETED:
            shutil.rmtree(self._settings.data / "files" / folder.name, ignore_errors=True)

    def _look_at(self, upload: Upload) -> None:
        silent_s = time.monotonic() - upload.left_at
        if upload.length == upload.file.size and silent_s > PAUSED_AFTER_S:
            # The server was killed between its last byte and its end.
            self._finish(upload)
        elif silent_s > self._settings.upload_expiry_s:
            self._uploads.fail(upload, EXPIRED)
        elif silent_s > PAUSED_AFTER_S and not upload.said_paused:
            upload.said_paused = True
            at = time.gmtime(self._uploads.expires_at(upload))
            until = time.strftime("%Y-%m-%d %H:%M UTC", at)
            message = f"Waiting for the rest of the file until {until}"
            self._hub.apply([{"task_id": upload.task_id, "message": message}])

    def _finish(self, upload: Upload) -> None:
        try:
            self._uploads.finish(upload)
        except WireError as exc:
            log.warning("the upload %s cannot be taken: %s", upload.task_id, exc)

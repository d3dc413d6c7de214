"""The store in Redis, for several processes: a hash a task, and one stream that tells of changes."""

from __future__ import annotations

import logging
import secrets
import threading as stdlib_threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import msgspec

from socketprogress.core.errors import StoreError
from socketprogress.core.ports import Threading
from socketprogress.core.state import TaskState
from socketprogress.stores import codec
from socketprogress.stores.backlog import Backlog
from socketprogress.stores.behind import WriteBehind
from socketprogress.stores.logtail import Chunk
from socketprogress.stores.redis_place import (
    Place,
    check,
    connect,
    parse_redis_url,
    reason,
    redis_errors,
)
from socketprogress.stores.redis_scripts import CLAIM, COMMAND, WRITE

__all__ = ["RedisStore"]

log = logging.getLogger(__name__)

STATES_A_CALL = 200
BYTES_A_CALL = 256 * 1024
TOLD_BYTES = 32 * 1024
READ_AT_ONCE = 500
CALL_S = 2.0
LEAVE_S = 0.2


class RedisStore(WriteBehind):
    """Keeps tasks in Redis, under a prefix, and tells all other processes of them; a `Store`.

    Every changed state is due at once, and the newest of each task goes out 10 times a second, and
    whenever somebody waits for a writing: a watcher on another server sees it then. What was called
    back survives whatever Redis itself survives.

    Args:
        url: ``redis://user:password@host:port/db?prefix=…`` or ``rediss://…``.
        threading: where threads and locks come from.
        monotonic: the clock for time-outs, in seconds.

    Attributes:
        place: where it is.
        origin: names this process in the feed.
        trouble: why the feed cannot be read at present, if it is read at all.
        on_refused: called from the store's thread with the stored state of a task that another process
            has ended or taken over.

    Raises:
        ConfigurationError: the URL is of another form, or the package `redis` is missing.
        StoreError: no Redis answers there, or one that is too old.
    """

    save_every_s = 0.0
    is_shared = True
    rest_s = 0.1
    hanging_s = 2.0
    stop_s = 2.0

    def __init__(
        self,
        url: str,
        *,
        threading: Threading = stdlib_threading,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.place: Place = parse_redis_url(url)
        super().__init__(self.place.shown, threading=threading, monotonic=monotonic)
        self.origin = secrets.token_urlsafe(9)
        self.on_refused: Callable[[TaskState], None] = lambda _: None
        self.trouble: str | None = None
        self._kept: dict[str, str] = {}
        self._writes: Any = connect(self.place)
        self._reads: Any = connect(self.place)
        self._script = self._writes.register_script(WRITE)
        self.errors = (*redis_errors(), ValueError)
        check(self._writes, self.place)
        # All servers of a store sign with the same secret, whoever of them is first.
        self._writes.hsetnx(self.place.key("meta"), "secret_key", secrets.token_urlsafe(32))
        self._writer.start()

    def problem(self) -> str | None:
        """Return one line on why Redis does not do its part at present, or None."""
        return super().problem() or self.trouble

    def get_meta(self, key: str) -> str | None:
        """Return a value kept by `set_meta`; one that was read before, if Redis does not answer.

        Raises:
            StoreError: Redis does not answer, and it was never read.
        """
        try:
            value = super().get_meta(key)
        except StoreError:
            if key not in self._kept:
                raise
            return self._kept[key]
        if value is not None:
            self._kept[key] = value
        return value

    def set_meta(self, key: str, value: str) -> None:
        """Keep a small value and wait until Redis has it.

        Raises:
            StoreError: Redis has not taken it yet; it is tried again all the same.
        """
        super().set_meta(key, value)
        self._kept[key] = value

    def restore_meta(self, client: Any) -> None:
        """Tell a Redis that has lost its data the values that this process knows."""
        for key, value in self._kept.items():
            client.hsetnx(self.place.key("meta"), key, value)

    def find(self, task_id: str) -> TaskState | None:
        """Return the stored state of a task, or None.

        Raises:
            StoreError: Redis does not answer.
        """
        states = self._read(lambda: list(self.fetch([task_id], self._reads)), timeout_s=CALL_S)
        return states[0] if states else None

    def command(self, kind: str, task_id: str) -> bool:
        """Tell whoever speaks for a task what is wanted of it; return whether there is such a task.

        Raises:
            StoreError: Redis does not answer.
        """
        (asked, _) = self._read(self._reads.time, timeout_s=CALL_S)
        return bool(self._call(COMMAND, kind, task_id, asked))

    def leave(self, epoch: str) -> None:
        """Tell the others that a process has gone.

        Raises:
            StoreError: Redis does not answer at once.
        """
        key = self.place.key("servers")
        self._read(lambda: self._reads.hdel(key, epoch), timeout_s=LEAVE_S)

    def claim(self, task_id: str, name: str, most: int | None) -> tuple[str, list[str]]:
        """Ask whether this process may start a task.

        Args:
            task_id: the task.
            name: its definition's.
            most: how many of this definition may run on all servers together; None for any number.

        Returns:
            ``"free"``, ``"known"`` (there is such a task), ``"claimed"`` (another process is starting it)
            or ``"full"``, and then the ids of those that run.

        Raises:
            StoreError: Redis does not answer.
        """
        answer = self._call(CLAIM, task_id, name, -1 if most is None else most)
        verdict, *running = (one.decode() for one in answer)
        return verdict, running

    def release(self, task_id: str, name: str) -> None:
        """Take a claim back: nothing was started.

        Raises:
            StoreError: Redis does not answer.
        """

        def release() -> None:
            pipeline = self._reads.pipeline(transaction=False)
            pipeline.delete(self.place.key(f"start:{task_id}"))
            pipeline.zrem(self.place.key(f"running:{name}"), task_id)
            pipeline.execute()

        self._read(release, timeout_s=CALL_S)

    def _call(self, script: str, *args: Any) -> Any:
        return self._read(
            lambda: self._reads.eval(script, 1, self.place.prefix, *args), timeout_s=CALL_S
        )

    def _stored_states(self) -> dict[str, TaskState]:
        ids = [one.decode() for one in self._reads.zrange(self.place.key("tasks"), 0, -1)]
        return {state.task_id: state for state in self.fetch(ids, self._reads)}

    def fetch(self, task_ids: list[str], client: Any) -> Iterator[TaskState]:
        """Yield the stored states of tasks; what is gone or cannot be decoded is left out."""
        for first in range(0, len(task_ids), READ_AT_ONCE):
            some = task_ids[first : first + READ_AT_ONCE]
            pipeline = client.pipeline(transaction=False)
            for task_id in some:
                pipeline.hget(self.place.key("task", task_id), "state")
            for task_id, blob in zip(some, pipeline.execute(), strict=True):
                try:
                    if blob is not None:
                        yield codec.decode_state(blob)
                except (ValueError, TypeError) as error:
                    log.warning("task %s cannot be read and is left out: %s", task_id, error)

    def _stored_log_ends(self) -> dict[str, int]:
        told = self._reads.hgetall(self.place.key("logs"))
        return {task_id.decode(): int(sizes.split(b":")[0]) for task_id, sizes in told.items()}

    def _stored_meta(self, key: str) -> str | None:
        value = self._reads.hget(self.place.key("meta"), key)
        return None if value is None else value.decode("utf-8", "surrogatepass")

    def _stored_chunks(
        self,
        task_id: str,
        offset: int,  # noqa: ARG002 - a log is a mebibyte at most: one answer has all of it
        limit: int,  # noqa: ARG002
        *,
        known_end: int,
    ) -> tuple[list[Chunk], int]:
        pipeline = self._reads.pipeline(transaction=False)
        pipeline.hget(self.place.key("logs"), task_id)
        pipeline.lrange(self.place.key("log", task_id), 0, -1)
        sizes, texts = pipeline.execute()
        end = max(known_end, 0 if sizes is None else int(sizes.split(b":")[0]))
        return [_chunk(text) for text in texts], end

    def _reason(self, error: Exception) -> str:
        return reason(error)

    def _drop_reads(self) -> None:
        self._reads.close()

    def _drop_writes(self) -> None:
        self._writes.close()

    def _tidy(self, is_wanted: Callable[[], bool]) -> None:
        """Leave it to Redis: what is deleted there takes no room."""

    def _write(self, batch: Backlog) -> None:
        meta = [
            part.encode("utf-8", "surrogatepass") for item in batch.meta.items() for part in item
        ]
        deleted = list(batch.deleted)
        for states, logs in _parts(batch):
            told = msgspec.msgpack.encode([self.origin, deleted, states, logs])
            for blob in self._script(keys=[self.place.prefix], args=[told, *meta]):
                self.on_refused(codec.decode_state(blob))
            deleted, meta = [], []


def _parts(batch: Backlog) -> Iterator[tuple[list[Any], list[Any]]]:
    """Yield a backlog's states and logs as the script takes them, so many as go at once.

    A task's log goes with its state.
    """
    states: list[Any] = []
    logs: list[Any] = []
    size = 0
    for task_id in dict.fromkeys((*batch.states, *batch.logs)):
        if task_id in batch.states:
            item = _told(batch.states[task_id])
            size += len(item[-1])
            states.append(item)
        if task_id in batch.logs:
            chunks = batch.chunks(task_id)
            size += sum(chunk.size_bytes for chunk in chunks)
            logs.append([task_id, [_told_lines(chunk) for chunk in chunks]])
        if len(states) >= STATES_A_CALL or size > BYTES_A_CALL:
            yield states, logs
            states, logs, size = [], [], 0
    if states or logs or batch.deleted or batch.meta:
        yield states, logs


def _told(state: TaskState) -> list[Any]:
    """Return a state as the script takes it: in texts alone, as Lua's MessagePack knows no bytes."""
    blob = codec.encode_state(state)
    return [
        state.task_id,
        _sound(state.name),
        "1" if state.ended else "0",
        str(state.term),
        _sound(state.epoch),
        str(state.seq),
        # Who wants a large one fetches it: the feed is memory.
        f'"{state.task_id}"' if len(blob) > TOLD_BYTES else "",
        blob.decode(),
    ]


def _sound(text: str) -> str:
    """Return a text that UTF-8 can say; the state has it as it is."""
    return text.encode("utf-8", "replace").decode()


def _told_lines(chunk: Chunk) -> list[Any]:
    return [
        chunk.offset,
        len(chunk.lines),
        chunk.size_bytes,
        codec.encode_lines(chunk.lines).decode(),
    ]


def _chunk(text: bytes) -> Chunk:
    first, _, size, lines = text.split(b":", 3)
    return Chunk(int(first), tuple(codec.decode_lines(lines)), int(size))

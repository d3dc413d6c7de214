"""Reading a folder tree that other people write to: never outside of it, never stuck, never fatal.

Everything that is opened is checked *after* it was opened, by the path that the kernel knows it
under, so that a link exchanged at the wrong moment leads nowhere.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import msgspec

from socketprogress.core.arguments import ExistingPath
from socketprogress.core.errors import TaskFailure
from socketprogress.core.reporter import Reporter

__all__ = [
    "Entry",
    "Fence",
    "FileInRoot",
    "LeftOut",
    "Ration",
    "Skips",
    "Tree",
    "WithinRoot",
    "finished",
    "open_one",
    "scan",
    "shown",
]

FileInRoot = Annotated[ExistingPath, msgspec.Meta(description="A file in the root folder.")]
WithinRoot = (
    Annotated[
        ExistingPath, msgspec.Meta(description="In the root folder; empty stands for all of it.")
    ]
    | None
)

READ = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
SKIPS_LOGGED = 100


class LeftOut(Exception):
    """A file or folder that is not read, and why."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A regular file: its name below the tree's top, with ``/``, and its size when scanned."""

    name: str
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Fence:
    """Which files may be read: those below `root` that are not below `exclude`, both resolved."""

    root: str
    exclude: str | None = None

    def holds(self, real: str) -> bool:
        """Return whether a resolved path lies inside."""
        if self.exclude is not None and _below(real, self.exclude):
            return False
        return _below(real, self.root)

    def open_file(self, path: str) -> int:
        """Return a descriptor to read a regular file from.

        Raises:
            LeftOut: it is something else, or leads out of the fence.
            OSError: it cannot be opened.
        """
        descriptor = self._open(path, READ)
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise LeftOut("not a regular file")
        return descriptor

    def open_folder(self, path: str) -> int:
        """Return a descriptor of a folder to list; raises as `open_file`."""
        return self._open(path, READ | os.O_DIRECTORY)

    def _open(self, path: str, flags: int) -> int:
        descriptor = os.open(path, flags)
        real = _real_path(descriptor, path)
        if self.holds(real):
            return descriptor
        os.close(descriptor)
        if self.exclude is not None and _below(real, self.exclude):
            raise LeftOut("the server's own data")
        raise LeftOut("leads out of the root folder")


@dataclass(slots=True)
class Tree:
    """What a scan found below `top`, by name; `empty_folders` are those with nothing in them."""

    top: str
    fence: Fence
    entries: list[Entry] = field(default_factory=list)
    empty_folders: list[str] = field(default_factory=list)

    @property
    def size_bytes(self) -> int:
        """The files' sizes together."""
        return sum(entry.size_bytes for entry in self.entries)

    def open(self, entry: Entry) -> int:
        """Return a descriptor to read the entry from; raises as `Fence.open_file`."""
        return self.fence.open_file(os.path.join(self.top, entry.name))


class Skips:
    """Logs what is left out: the first hundred with their reason, the rest as a number."""

    def __init__(self, progress: Reporter) -> None:
        self._progress = progress
        self.count = 0

    def add(self, name: str, reason: str | Exception) -> None:
        """Count one more; an `OSError` gives its own words."""
        self.count += 1
        if self.count <= SKIPS_LOGGED:
            said = reason.strerror if isinstance(reason, OSError) else reason
            self._progress.log(f"skipped {shown(name)}: {said}")

    def close(self) -> None:
        """Log how many there were beyond those logged."""
        if self.count > SKIPS_LOGGED:
            self._progress.log(f"skipped {self.count - SKIPS_LOGGED:,} more")


class Ration:
    """Counts one file's bytes: in the end exactly as many as were planned for it.

    A file may shrink, grow or vanish after the scan; the total stays true to the plan.
    """

    __slots__ = ("_left", "_progress")

    def __init__(self, progress: Reporter, planned: int) -> None:
        self._progress = progress
        self._left = planned

    def take(self, size_bytes: int) -> None:
        """Count bytes just read; raises `Cancelled` as `Reporter.advance`."""
        counted = min(size_bytes, self._left)
        self._left -= counted
        self._progress.advance(counted)

    def close(self) -> None:
        """Count what was planned and did not come."""
        left, self._left = self._left, 0
        self._progress.advance(left)


def scan(
    progress: Reporter, path: Path | None, *, root: Path, exclude: Path | None, skips: Skips
) -> Tree:
    """Return the regular files at or below `path`, in the order of their names' bytes.

    Links to folders are not followed; a link to a file counts as that file where it stays inside
    of `root`. Counts files as it goes.

    Args:
        progress: where the count and the present folder go.
        path: a file or folder; None for the root.
        root: nothing outside of it is read, unless `path` itself is a file elsewhere.
        exclude: a folder left out, such as the server's own data.
        skips: takes what is left out.

    Raises:
        TaskFailure: `path` is neither a file nor a folder, or cannot be listed.
        Cancelled: somebody has asked for the task's end.
    """
    top = os.path.realpath(root if path is None else root / path)
    outside = os.path.realpath(root)
    own = None if exclude is None else os.path.realpath(exclude)
    if os.path.isdir(top):
        tree = Tree(top, Fence(outside if _below(top, outside) else top, own))
        _walk(progress, tree, skips)
        tree.entries.sort(key=lambda entry: os.fsencode(entry.name))
        tree.empty_folders.sort(key=os.fsencode)
        return tree
    return _single(progress, top)


def open_one(path: str) -> int:
    """Return a descriptor of the one file that was asked for, by its path without links.

    Raises:
        TaskFailure: it cannot be read, or is no regular file.
    """
    try:
        return Fence(path).open_file(path)
    except (OSError, LeftOut) as exc:
        reason = exc.strerror if isinstance(exc, OSError) else exc
        raise TaskFailure(f"{shown(path)} cannot be read: {reason}") from exc


def _single(progress: Reporter, path: str) -> Tree:
    folder, name = os.path.split(path)
    descriptor = open_one(path)
    try:
        size_bytes = os.fstat(descriptor).st_size
    finally:
        os.close(descriptor)
    progress.advance()
    return Tree(folder, Fence(path), [Entry(name, size_bytes)])


def _walk(progress: Reporter, tree: Tree, skips: Skips) -> None:
    pending = [""]
    while pending:
        folder = pending.pop()
        progress.message = shown(folder or os.path.basename(tree.top) or tree.top)
        progress.check()
        try:
            descriptor = tree.fence.open_folder(os.path.join(tree.top, folder))
        except (OSError, LeftOut) as exc:
            if not folder:
                raise TaskFailure(f"{shown(tree.top)} cannot be listed: {exc}") from exc
            skips.add(folder, exc)
            continue
        try:
            pending += _list(progress, tree, folder, descriptor, skips)
        finally:
            os.close(descriptor)


def _list(progress: Reporter, tree: Tree, folder: str, descriptor: int, skips: Skips) -> list[str]:
    """Add a folder's files to the tree; return its folders."""
    folders: list[str] = []
    empty = True
    try:
        with os.scandir(descriptor) as found:
            for item in found:
                empty = False
                name = f"{folder}/{item.name}" if folder else item.name
                try:
                    if item.is_dir(follow_symlinks=False):
                        folders.append(name)
                        continue
                    tree.entries.append(Entry(name, _size_of_file(tree, name, item)))
                    progress.advance()
                except (OSError, LeftOut) as exc:
                    skips.add(name, exc)
    except OSError as exc:
        skips.add(folder, exc)
    if empty and folder:
        tree.empty_folders.append(folder)
    return folders


def _size_of_file(tree: Tree, name: str, item: os.DirEntry[str]) -> int:
    if item.is_symlink():
        path = os.path.join(tree.top, name)
        status = os.stat(path)
        if stat.S_ISDIR(status.st_mode):
            raise LeftOut("a link to a folder")
        if not tree.fence.holds(os.path.realpath(path)):
            raise LeftOut("a link that leads out of the root folder")
    else:
        status = item.stat(follow_symlinks=False)
    if not stat.S_ISREG(status.st_mode):
        raise LeftOut(_KINDS.get(stat.S_IFMT(status.st_mode), "not a regular file"))
    return status.st_size


_KINDS = {
    stat.S_IFIFO: "a FIFO",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


def shown(name: str) -> str:
    """Return a file name as one line of valid Unicode, for people."""
    if name.isprintable():
        return name
    text = os.fsencode(name).decode("utf-8", "replace")
    return "".join(c if c.isprintable() else "\ufffd" for c in text)


@contextlib.contextmanager
def finished(path: Path) -> Iterator[Path]:
    """Yield a hidden name beside `path` to write to; it becomes `path` only if all went well."""
    part = path.with_name(f".{path.name}.part")
    try:
        yield part
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def _below(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder.rstrip("/") + "/")


def _real_path(descriptor: int, path: str) -> str:
    """Return the path of an open file without links, from the kernel where it tells."""
    if sys.platform == "darwin":
        found = fcntl.fcntl(descriptor, fcntl.F_GETPATH, bytes(1024))
        return os.fsdecode(found.rstrip(b"\0"))
    try:
        return os.readlink(f"/proc/self/fd/{descriptor}")
    except OSError:
        return os.path.realpath(path)

"""The built-in `archive`: pack a tree, read the archive back, and offer it once it is proven."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from socketprogress.core.errors import TaskFailure
from socketprogress.core.registry import task
from socketprogress.core.reporter import Reporter
from socketprogress.tasks.files import (
    Entry,
    LeftOut,
    Ration,
    Skips,
    Tree,
    WithinRoot,
    finished,
    scan,
    shown,
)
from socketprogress.tasks.packers import (
    PIECE_BYTES,
    UNREADABLE,
    Format,
    TarWriter,
    ZipWriter,
    members,
    writer,
)

__all__ = ["archive"]


@task(title="Archive {path}", steps={"Scan": 5, "Pack": 70, "Verify": 25}, unit="file")
def archive(
    progress: Reporter,
    path: WithinRoot = None,
    format: Format = "zip",
    *,
    root: Path,
    exclude: Path | None = None,
) -> dict[str, object]:
    """Pack a folder into an archive, verify every member, and offer it for download.

    Members are named relative to the folder, in the order of their names' bytes; links to files
    inside the root are packed as files, empty folders are kept.

    Args:
        progress: takes files while scanning, bytes while packing and verifying.
        path: a folder or a single file; the whole root by default.
        format: zip, tar.gz or tar.xz.
        root: nothing outside of it is read.
        exclude: a folder left out, such as the server's own data.

    Returns:
        ``{files, bytes, archive, archive_bytes, verified}``: `archive` is the file's name, and
        `verified` says that every member was read back and is equal to what was packed.

    Raises:
        TaskFailure: a member read back differs from what was packed.
    """
    skips = Skips(progress)
    progress.step("Scan")
    tree = scan(progress, path, root=root, exclude=exclude, skips=skips)
    target = progress.output_dir / f"{_stem(root if path is None else path)}.{format}"
    progress.unit = "B"
    with finished(target) as part:
        progress.step("Pack", total=tree.size_bytes)
        with writer(part, format) as packer:
            packed = list(_pack(progress, tree, packer, skips))
        skips.close()
        size_bytes = sum(member.size_bytes for member in packed)
        progress.step("Verify", total=size_bytes)
        _verify(progress, part, format, packed)
    progress.add_file(target)
    return {
        "files": len(packed),
        "bytes": size_bytes,
        "archive": target.name,
        "archive_bytes": target.stat().st_size,
        "verified": True,
    }


@dataclass(frozen=True, slots=True)
class _Member:
    """A file as it was packed: its name in the archive, its size and digest."""

    name: str
    size_bytes: int
    digest: bytes


class _Source:
    """Reads one file up to the size it was opened with, counting and hashing on the way.

    The size stands in front of a member, so a file that grows is cut there, and one that shrinks
    is filled up with zeros, as tar does.
    """

    def __init__(self, descriptor: int, size_bytes: int, ration: Ration) -> None:
        self._descriptor = descriptor
        self._left = size_bytes
        self._ration = ration
        self._digest = hashlib.sha256()
        self.filled_bytes = 0

    def read(self, size: int = PIECE_BYTES) -> bytes:
        """Return as many bytes as asked for, fewer only at the end."""
        wanted = min(self._left, size)
        piece = os.read(self._descriptor, wanted)
        while len(piece) < wanted:
            more = os.read(self._descriptor, wanted - len(piece))
            if not more:
                self.filled_bytes += wanted - len(piece)
                more = bytes(wanted - len(piece))
            piece += more
        self._left -= wanted
        self._digest.update(piece)
        self._ration.take(wanted)
        return piece

    def digest(self) -> bytes:
        """Return the digest of what was read."""
        return self._digest.digest()


def _pack(
    progress: Reporter, tree: Tree, packer: ZipWriter | TarWriter, skips: Skips
) -> Iterator[_Member]:
    for entry in tree.entries:
        progress.message = shown(entry.name)
        ration = Ration(progress, entry.size_bytes)
        try:
            descriptor = _open(tree, entry)
        except (OSError, LeftOut) as exc:
            skips.add(entry.name, exc)
        else:
            try:
                yield _pack_one(progress, packer, entry, descriptor, ration)
            finally:
                os.close(descriptor)
        ration.close()
    for name in tree.empty_folders:
        packer.add_folder(name)
        progress.check()


def _open(tree: Tree, entry: Entry) -> int:
    """Return a descriptor that is known to be readable: a member begun cannot be taken back."""
    descriptor = tree.open(entry)
    try:
        os.pread(descriptor, 1, 0)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def _pack_one(
    progress: Reporter,
    packer: ZipWriter | TarWriter,
    entry: Entry,
    descriptor: int,
    ration: Ration,
) -> _Member:
    status = os.fstat(descriptor)
    source = _Source(descriptor, status.st_size, ration)
    name = packer.add(entry.name, status, source)
    if source.filled_bytes:
        progress.log(
            f"{shown(entry.name)} shrank while it was read: {source.filled_bytes:,} B are zeros"
        )
    elif os.fstat(descriptor).st_size != status.st_size:
        progress.log(f"{shown(entry.name)} grew while it was read: packed as it was at first")
    return _Member(name, status.st_size, source.digest())


def _verify(progress: Reporter, path: Path, form: Format, packed: Sequence[_Member]) -> None:
    expected = iter(packed)
    try:
        for name, content in members(path, form):
            progress.message = shown(name)
            member = next(expected, None)
            if member is None or (member.name, member.digest) != (name, _digest(progress, content)):
                raise TaskFailure(f"{shown(name)} in the archive is not what was packed")
    except UNREADABLE as exc:
        raise TaskFailure(f"the archive cannot be read back: {exc}") from exc
    missing = next(expected, None)
    if missing is not None:
        raise TaskFailure(f"{shown(missing.name)} is missing from the archive")


def _digest(progress: Reporter, content: IO[bytes]) -> bytes:
    digest = hashlib.sha256()
    while piece := content.read(PIECE_BYTES):
        digest.update(piece)
        progress.advance(len(piece))
    return digest.digest()


def _stem(path: Path) -> str:
    """Return a harmless file name for the archive of a folder or file."""
    plain = re.sub(r"[^\w.-]+", "_", shown(os.path.basename(os.path.realpath(path))))
    return plain.lstrip(".-")[:100] or "archive"

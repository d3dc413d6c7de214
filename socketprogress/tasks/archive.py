"""The built-in `archive`: pack a tree, read the archive back, and offer it once it is proven."""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import lzma
import os
import re
import stat
import tarfile
import time
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Literal, Self, cast

from socketprogress.core.arguments import ExistingPath
from socketprogress.core.errors import TaskFailure
from socketprogress.core.registry import task
from socketprogress.core.reporter import Reporter
from socketprogress.tasks.files import (
    Entry,
    LeftOut,
    Ration,
    Skips,
    Tree,
    finished,
    scan,
    shown,
)

__all__ = ["archive"]

Format = Literal["zip", "tar.gz", "tar.xz"]

PIECE_BYTES = 1 << 16
ZIP_YEARS = (1980, 2107)


@task(title="Archive {path}", steps={"Scan": 5, "Pack": 70, "Verify": 25}, unit="file")
def archive(
    progress: Reporter,
    path: ExistingPath | None = None,
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
        with _writer(part, format) as writer:
            packed = list(_pack(progress, tree, writer, skips))
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
    progress: Reporter, tree: Tree, writer: _ZipWriter | _TarWriter, skips: Skips
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
                yield _pack_one(progress, writer, entry, descriptor, ration)
            finally:
                os.close(descriptor)
        ration.close()
    for name in tree.empty_folders:
        writer.add_folder(name)
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
    writer: _ZipWriter | _TarWriter,
    entry: Entry,
    descriptor: int,
    ration: Ration,
) -> _Member:
    status = os.fstat(descriptor)
    source = _Source(descriptor, status.st_size, ration)
    name = writer.add(entry.name, status, source)
    if source.filled_bytes:
        progress.log(
            f"{shown(entry.name)} shrank while it was read: {source.filled_bytes:,} B are zeros"
        )
    elif os.fstat(descriptor).st_size != status.st_size:
        progress.log(f"{shown(entry.name)} grew while it was read: packed as it was at first")
    return _Member(name, status.st_size, source.digest())


class _ZipWriter:
    """Packs into a zip file; names that are not UTF-8 get ``%XX`` for each byte that is none."""

    def __init__(self, path: Path) -> None:
        self._zip = zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED)
        self._names: set[str] = set()

    def add(self, name: str, status: os.stat_result, source: _Source) -> str:
        info = zipfile.ZipInfo(self._free(name), _zip_time(status.st_mtime))
        info.compress_type = zipfile.ZIP_DEFLATED
        info.external_attr = (stat.S_IFREG | stat.S_IMODE(status.st_mode)) << 16
        info.file_size = status.st_size
        with self._zip.open(info, "w") as member:
            while piece := source.read():
                member.write(piece)
        return info.filename

    def add_folder(self, name: str) -> None:
        info = zipfile.ZipInfo(self._free(name) + "/")
        info.external_attr = (stat.S_IFDIR | 0o755) << 16
        self._zip.writestr(info, b"")

    def _free(self, name: str) -> str:
        plain = re.sub("[\udc80-\udcff]", lambda byte: f"%{ord(byte[0]) - 0xDC00:02X}", name)
        free, number = plain, 2
        while free in self._names:
            free, number = f"{plain}~{number}", number + 1
        self._names.add(free)
        return free

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self._zip.close()


class _TarWriter:
    """Packs into a compressed tar file with PAX headers, which hold any name."""

    def __init__(self, path: Path, kind: str) -> None:
        self._open = contextlib.ExitStack()
        raw = self._open.enter_context(path.open("wb"))
        packer: gzip.GzipFile | lzma.LZMAFile
        if kind == "gz":
            packer = gzip.GzipFile("", "wb", 6, raw, mtime=0)
        else:
            packer = lzma.LZMAFile(raw, "wb")
        stream = self._open.enter_context(packer)
        self._tar = self._open.enter_context(
            tarfile.open(fileobj=stream, mode="w", format=tarfile.PAX_FORMAT, encoding="utf-8")
        )

    def add(self, name: str, status: os.stat_result, source: _Source) -> str:
        info = tarfile.TarInfo(name)
        info.size = status.st_size
        info.mtime = int(status.st_mtime)
        info.mode = stat.S_IMODE(status.st_mode)
        self._tar.addfile(info, cast(IO[bytes], source))
        self._tar.members.clear()  # a million of them is gigabytes, and nobody asks for them
        return name

    def add_folder(self, name: str) -> None:
        info = tarfile.TarInfo(name)
        info.type, info.mode = tarfile.DIRTYPE, 0o755
        self._tar.addfile(info)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self._open.close()


def _writer(path: Path, form: Format) -> _ZipWriter | _TarWriter:
    return _ZipWriter(path) if form == "zip" else _TarWriter(path, form.removeprefix("tar."))


def _members(path: Path, form: Format) -> Iterator[tuple[str, IO[bytes]]]:
    """Yield the archive's files, name and content, in the order in which they were packed."""
    if form == "zip":
        with zipfile.ZipFile(path) as packed:
            for entry in packed.infolist():
                if not entry.is_dir():
                    with packed.open(entry) as content:
                        yield entry.filename, content
        return
    with tarfile.open(path, f"r:{form.removeprefix('tar.')}", encoding="utf-8") as tar:
        for member in tar:
            if (stream := tar.extractfile(member)) is not None:
                yield member.name, stream
            tar.members.clear()


def _verify(progress: Reporter, path: Path, form: Format, packed: Sequence[_Member]) -> None:
    expected = iter(packed)
    try:
        for name, content in _members(path, form):
            progress.message = shown(name)
            member = next(expected, None)
            if member is None or (member.name, member.digest) != (name, _digest(progress, content)):
                raise TaskFailure(f"{shown(name)} in the archive is not what was packed")
    except _UNREADABLE as exc:
        raise TaskFailure(f"the archive cannot be read back: {exc}") from exc
    missing = next(expected, None)
    if missing is not None:
        raise TaskFailure(f"{shown(missing.name)} is missing from the archive")


_UNREADABLE = (
    OSError,
    EOFError,
    zlib.error,
    lzma.LZMAError,
    zipfile.BadZipFile,
    tarfile.TarError,
)


def _digest(progress: Reporter, content: IO[bytes]) -> bytes:
    digest = hashlib.sha256()
    while piece := content.read(PIECE_BYTES):
        digest.update(piece)
        progress.advance(len(piece))
    return digest.digest()


def _zip_time(mtime: float) -> tuple[int, int, int, int, int, int]:
    """Return a time that a zip file can hold: between 1980 and 2107."""
    year, month, day, hour, minute, second = time.localtime(mtime)[:6]
    if year < ZIP_YEARS[0]:
        return (ZIP_YEARS[0], 1, 1, 0, 0, 0)
    if year > ZIP_YEARS[1]:
        return (ZIP_YEARS[1], 12, 31, 23, 59, 58)
    return (year, month, day, hour, minute, second)


def _stem(path: Path) -> str:
    """Return a harmless file name for the archive of a folder or file."""
    plain = re.sub(r"[^\w.-]+", "_", shown(os.path.basename(os.path.realpath(path))))
    return plain.lstrip(".-")[:100] or "archive"

"""The kinds of archive: one writer each, and one reader for all."""

from __future__ import annotations

import contextlib
import gzip
import lzma
import os
import re
import stat
import tarfile
import time
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Literal, Protocol, Self, cast

__all__ = [
    "PIECE_BYTES",
    "UNREADABLE",
    "Format",
    "Source",
    "TarWriter",
    "ZipWriter",
    "members",
    "writer",
]

Format = Literal["zip", "tar.gz", "tar.xz"]

PIECE_BYTES = 1 << 16
ZIP_YEARS = (1980, 2107)

UNREADABLE = (
    OSError,
    EOFError,
    zlib.error,
    lzma.LZMAError,
    zipfile.BadZipFile,
    tarfile.TarError,
)
"""What reading a damaged archive raises."""


class Source(Protocol):
    """A file's content, of exactly the size that its status tells."""

    def read(self, size: int = PIECE_BYTES, /) -> bytes:
        """Return as many bytes as asked for, fewer only at the end."""


class ZipWriter:
    """Packs into a zip file; names that are not UTF-8 get ``%XX`` for each byte that is none."""

    def __init__(self, path: Path) -> None:
        self._zip = zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED)
        self._names: set[str] = set()

    def add(self, name: str, status: os.stat_result, source: Source) -> str:
        """Pack a file; return the name that it has in the archive."""
        info = zipfile.ZipInfo(self._free(name), _zip_time(status.st_mtime))
        info.compress_type = zipfile.ZIP_DEFLATED
        info.external_attr = (stat.S_IFREG | stat.S_IMODE(status.st_mode)) << 16
        info.file_size = status.st_size
        with self._zip.open(info, "w") as member:
            while piece := source.read():
                member.write(piece)
        return info.filename

    def add_folder(self, name: str) -> None:
        """Pack an empty folder."""
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


class _Tar(tarfile.TarFile):
    members: list[tarfile.TarInfo]


class TarWriter:
    """Packs into a compressed tar file with PAX headers, which hold any name."""

    def __init__(self, path: Path, kind: str) -> None:
        self._open = contextlib.ExitStack()
        raw = self._open.enter_context(path.open("wb"))
        packer: gzip.GzipFile | lzma.LZMAFile
        if kind == "gz":
            packer = gzip.GzipFile("", "wb", 6, raw, mtime=0)
        else:
            packer = lzma.LZMAFile(raw, "wb")  # noqa: SIM115 - the stack closes it
        stream = self._open.enter_context(packer)
        self._tar = self._open.enter_context(
            _Tar(fileobj=stream, mode="w", format=tarfile.PAX_FORMAT, encoding="utf-8")
        )

    def add(self, name: str, status: os.stat_result, source: Source) -> str:
        """Pack a file; return the name that it has in the archive."""
        info = tarfile.TarInfo(name)
        info.size = status.st_size
        info.mtime = int(status.st_mtime)
        info.mode = stat.S_IMODE(status.st_mode)
        self._tar.addfile(info, cast(IO[bytes], source))
        self._tar.members.clear()  # a million of them is gigabytes, and nobody asks for them
        return name

    def add_folder(self, name: str) -> None:
        """Pack an empty folder."""
        info = tarfile.TarInfo(name)
        info.type, info.mode = tarfile.DIRTYPE, 0o755
        self._tar.addfile(info)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self._open.close()


def writer(path: Path, form: Format) -> ZipWriter | TarWriter:
    """Return a context that packs into a new archive of this kind."""
    return ZipWriter(path) if form == "zip" else TarWriter(path, form.removeprefix("tar."))


def members(path: Path, form: Format) -> Iterator[tuple[str, IO[bytes]]]:
    """Yield the archive's files, name and content, in the order in which they were packed."""
    if form == "zip":
        with zipfile.ZipFile(path) as packed:
            for entry in packed.infolist():
                if not entry.is_dir():
                    with packed.open(entry) as content:
                        yield entry.filename, content
        return
    with _Tar.open(path, "r:*", encoding="utf-8") as tar:
        for member in tar:
            if (stream := tar.extractfile(member)) is not None:
                yield member.name, stream
            tar.members.clear()


def _zip_time(mtime: float) -> tuple[int, int, int, int, int, int]:
    """Return a time that a zip file can hold: between 1980 and 2107."""
    year, month, day, hour, minute, second = time.localtime(mtime)[:6]
    if year < ZIP_YEARS[0]:
        return (ZIP_YEARS[0], 1, 1, 0, 0, 0)
    if year > ZIP_YEARS[1]:
        return (ZIP_YEARS[1], 12, 31, 23, 59, 58)
    return (year, month, day, hour, minute, second)

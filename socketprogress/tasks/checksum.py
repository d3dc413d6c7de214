"""The built-in `checksum`: a tree's digests, as `sha256sum -c` reads them, and its duplicates."""

from __future__ import annotations

import hashlib
import json
import os
import threading
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

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

__all__ = ["checksum"]

Algorithm = Literal["sha256", "sha1", "sha512", "md5", "blake2b"]

FILE_NAMES = {
    "sha256": "SHA256SUMS",
    "sha1": "SHA1SUMS",
    "sha512": "SHA512SUMS",
    "md5": "MD5SUMS",
    "blake2b": "B2SUMS",
}
CHUNK_BYTES = 1 << 20
LARGE_BYTES = 1 << 20
THREADS = min(4, os.cpu_count() or 1)
ESCAPES = str.maketrans({"\\": "\\\\", "\n": "\\n", "\r": "\\r"})


@task(title="Checksum {path}", steps={"Scan": 5, "Hash": 90, "Report": 5}, unit="file")
def checksum(
    progress: Reporter,
    path: WithinRoot = None,
    algorithm: Algorithm = "sha256",
    *,
    root: Path,
    exclude: Path | None = None,
) -> dict[str, int]:
    """Hash every file of a folder into a checksum file and find the duplicates.

    The checksum file (`SHA256SUMS` and the like) is for `sha256sum -c`, run in the hashed folder.
    `duplicates.json` lists every content that is there more than once, as
    ``{digest, size_bytes, paths}``. Two names of one file (links) are not duplicates.

    Args:
        progress: takes files while scanning and reporting, bytes while hashing.
        path: a folder or a single file; the whole root by default.
        algorithm: which digest.
        root: nothing outside of it is read.
        exclude: a folder left out, such as the server's own data.

    Returns:
        ``{files, bytes, duplicates}``: `duplicates` is how many files could go without losing any
        content, that is all but one of each group of equal files.
    """
    skips = Skips(progress)
    progress.step("Scan")
    tree = scan(progress, path, root=root, exclude=exclude, skips=skips)
    progress.unit = "B"
    progress.step("Hash", total=tree.size_bytes)
    digests = _Hashing(progress, tree, algorithm, skips).run()
    skips.close()
    groups = _duplicates(digests)
    progress.unit = "file"
    progress.step("Report", total=len(digests))
    _report(progress, digests, groups, FILE_NAMES[algorithm])
    return {
        "files": len(digests),
        "bytes": sum(digest.size_bytes for digest in digests),
        "duplicates": sum(len(group["paths"]) - 1 for group in groups),
    }


@dataclass(frozen=True, slots=True)
class _Digest:
    name: str
    value: str
    size_bytes: int
    identity: tuple[int, int]


class _Hashing:
    """Hashes small files one after the other and large ones side by side.

    Hashing a large piece leaves other threads running; with small ones they only get in each
    other's way.
    """

    def __init__(self, progress: Reporter, tree: Tree, algorithm: str, skips: Skips) -> None:
        self._progress = progress
        self._tree = tree
        self._algorithm = algorithm
        self._skips = skips
        self._lock = threading.Lock()
        self._stop = False
        self._digests: dict[str, _Digest] = {}

    def run(self) -> list[_Digest]:
        """Return the digests of all files that could be read, in the tree's order."""
        entries = self._tree.entries
        self._work(e for e in entries if e.size_bytes < LARGE_BYTES)
        large = iter([e for e in entries if e.size_bytes >= LARGE_BYTES])
        with ThreadPoolExecutor(THREADS, "checksum") as pool:
            try:
                for done in [pool.submit(self._work, large) for _ in range(THREADS)]:
                    done.result()
            finally:
                self._stop = True
        return [self._digests[e.name] for e in entries if e.name in self._digests]

    def _work(self, entries: Iterable[Entry]) -> None:
        buffer = bytearray(CHUNK_BYTES)
        for entry in entries:
            if self._stop:
                return
            self._progress.message = shown(entry.name)
            ration = Ration(self._progress, entry.size_bytes)
            try:
                self._digests[entry.name] = self._hash(entry, buffer, ration)
            except (OSError, LeftOut) as exc:
                with self._lock:
                    self._skips.add(entry.name, exc)
            with self._lock:
                ration.close()

    def _hash(self, entry: Entry, buffer: bytearray, ration: Ration) -> _Digest:
        digest = hashlib.new(self._algorithm, usedforsecurity=False)
        descriptor = self._tree.open(entry)
        try:
            before = os.fstat(descriptor)
            size_bytes = 0
            for piece in _pieces(descriptor, buffer):
                digest.update(piece)
                size_bytes += len(piece)
                with self._lock:
                    ration.take(len(piece))
                if self._stop:
                    break
            after = os.fstat(descriptor)
        finally:
            os.close(descriptor)
        if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
            with self._lock:
                self._progress.log(f"{shown(entry.name)} changed while it was read")
        return _Digest(entry.name, digest.hexdigest(), size_bytes, (after.st_dev, after.st_ino))


def _pieces(descriptor: int, buffer: bytearray) -> Iterator[memoryview]:
    view = memoryview(buffer)
    while size := os.readv(descriptor, [buffer]):
        yield view[:size]


def _duplicates(digests: list[_Digest]) -> list[dict[str, Any]]:
    groups: dict[tuple[int, str], dict[tuple[int, int], str]] = {}
    for digest in digests:
        names = groups.setdefault((digest.size_bytes, digest.value), {})
        names.setdefault(digest.identity, digest.name)
    return [
        {"digest": value, "size_bytes": size_bytes, "paths": list(names.values())}
        for (size_bytes, value), names in groups.items()
        if len(names) > 1
    ]


def _report(
    progress: Reporter, digests: list[_Digest], groups: list[dict[str, Any]], file_name: str
) -> None:
    sums = progress.output_dir / file_name
    duplicates = progress.output_dir / "duplicates.json"
    progress.message = file_name
    with finished(sums) as part, finished(duplicates) as part_of_duplicates:
        with part.open("wb") as lines:
            for digest in digests:
                lines.write(_line(digest))
                progress.advance()
        part_of_duplicates.write_text(json.dumps(groups, indent=1), encoding="ascii")
    progress.add_file(sums)
    progress.add_file(duplicates)


def _line(digest: _Digest) -> bytes:
    """Return a line as coreutils write it: a backslash in front says that the name is escaped."""
    escaped = digest.name.translate(ESCAPES)
    mark = "" if escaped == digest.name else "\\"
    if escaped == "-":  # a bare dash would be standard input
        escaped = "./-"
    return os.fsencode(f"{mark}{digest.value}  {escaped}\n")

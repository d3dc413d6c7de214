"""Finds `templates/` and `static/`, in a checkout or an installed wheel, and reads the latter."""

from __future__ import annotations

import hashlib
import os
import posixpath
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import socketprogress
from socketprogress.server.compression import compress_once

__all__ = ["Asset", "Assets", "find"]

TYPES = {
    ".css": "text/css; charset=utf-8",
    ".ico": "image/x-icon",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".mjs": "text/javascript; charset=utf-8",
    ".png": "image/png",
    ".svg": "image/svg+xml; charset=utf-8",
    ".txt": "text/plain; charset=utf-8",
    ".webmanifest": "application/manifest+json",
    ".woff2": "font/woff2",
}
FileMark = tuple[str, int, int]

# A segment of a path that is no file's name; what follows it is a version.
MARK = "~"
IMPORT = re.compile(rb"""^(?:import|export)\b[^;"]*?"(\.[^"]+)";""", re.MULTILINE)


def find(name: str) -> Path:
    """Return the folder of this name: in the installed package, or beside it in a checkout."""
    package = Path(socketprogress.__file__).resolve().parent
    inside = package / name
    return inside if inside.is_dir() else package.parent / name


@dataclass(frozen=True, slots=True)
class Asset:
    """One file as it is served; `version` is a digest of its content, `packed` its gzip."""

    body: bytes
    packed: bytes | None
    content_type: str
    version: str


class Assets:
    """The static files, each read once per change of it.

    Args:
        folder: where they are; links out of it are not followed.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = (folder or find("static")).resolve()
        self._read: dict[Path, tuple[tuple[int, int], Asset]] = {}
        self._version: tuple[tuple[FileMark, ...], str] | None = None
        self._modules: dict[tuple[str, str], tuple[str, ...]] = {}

    def get(self, name: str) -> Asset | None:
        """Return a file, or None if there is none of this name and of a type that is served."""
        content_type = TYPES.get(Path(name).suffix)
        if content_type is None or "\0" in name:
            return None
        path = (self._folder / name).resolve()
        # Path.is_file would raise for names too long.
        if not path.is_relative_to(self._folder) or not os.path.isfile(path):  # noqa: PTH113
            return None
        stat = path.stat()
        mark = (stat.st_mtime_ns, stat.st_size)
        known = self._read.get(path)  # not by its name: `a/../b` is one of very many
        if known is not None and known[0] == mark:
            return known[1]
        body = path.read_bytes()
        packed = compress_once(body, content_type)
        asset = Asset(body, packed, content_type, hashlib.sha256(body).hexdigest()[:16])
        self._read[path] = (mark, asset)
        return asset

    def at(self, address: str) -> tuple[Asset | None, bool]:
        """Return the file at an address below the static files' own, and whether it never changes."""
        first, slash, name = address.partition("/")
        if not (slash and first.startswith(MARK)):
            return self.get(address), False
        return self.get(name), first == MARK + self.version()

    def addresses(self) -> Callable[[str], str]:
        """Return what gives a file's relative URL, for one page.

        All are below the version of the whole, and the modules that a script imports are so
        with it: a browser keeps every one of them for ever.
        """
        version = self.version()
        return lambda name: f"{MARK}{version}/{quote(name)}"

    def modules(self, script: str) -> tuple[str, ...]:
        """Return a script and all modules that it imports, and these import, each once."""
        version = self.version()
        known = self._modules.get((version, script))
        if known is not None:
            return known
        found = [script]
        for name in found:  # which grows meanwhile
            asset = self.get(name)
            for match in IMPORT.finditer(asset.body if asset else b""):
                module = posixpath.normpath(f"{posixpath.dirname(name)}/{match[1].decode()}")
                if module not in found:
                    found.append(module)
        self._modules[version, script] = tuple(found)
        return tuple(found)

    def version(self) -> str:
        """Return a digest of all files together, of which each is read again when it has changed."""
        marks = tuple(_marks(str(self._folder)))
        if self._version is None or self._version[0] != marks:
            digest = hashlib.sha256()
            for name, *_ in sorted(marks):
                asset = self.get(name)
                digest.update(f"{name} {asset and asset.version}\n".encode())
            self._version = (marks, digest.hexdigest()[:16])
        return self._version[1]


def _marks(folder: str, inner: str = "") -> Iterator[FileMark]:
    """Yield each file's name, and by what a change of it shows."""
    with os.scandir(folder) as entries:  # a page costs this once; paths would be five times slower
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                yield from _marks(entry.path, f"{inner}{entry.name}/")
            else:
                stat = entry.stat(follow_symlinks=False)
                yield inner + entry.name, stat.st_mtime_ns, stat.st_size

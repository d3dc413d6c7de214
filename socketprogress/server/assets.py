"""Finds `templates/` and `static/`, in a checkout or an installed wheel, and reads the latter."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import socketprogress

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


def find(name: str) -> Path:
    """Return the folder of this name: in the installed package, or beside it in a checkout."""
    package = Path(socketprogress.__file__).resolve().parent
    inside = package / name
    return inside if inside.is_dir() else package.parent / name


@dataclass(frozen=True, slots=True)
class Asset:
    """One file as it is served; `version` is a digest of its content."""

    body: bytes
    content_type: str
    version: str


class Assets:
    """The static files, each read once per change of it.

    Args:
        folder: where they are; links out of it are not followed.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = (folder or find("static")).resolve()
        self._read: dict[str, tuple[tuple[int, int], Asset]] = {}

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
        known = self._read.get(name)
        if known is not None and known[0] == mark:
            return known[1]
        body = path.read_bytes()
        asset = Asset(body, content_type, hashlib.sha256(body).hexdigest()[:16])
        self._read[name] = (mark, asset)
        return asset

    def address(self, name: str) -> str:
        """Return a file's relative URL, with its version so that it can be cached for ever."""
        asset = self.get(name)
        return quote(name) if asset is None else f"{quote(name)}?v={asset.version}"

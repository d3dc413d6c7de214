"""Hashes the files of a folder: one bar for all of them, and inside it one for each file's bytes."""

import hashlib
import sys
from pathlib import Path

from socketprogress import Reporter, track

BLOCK_BYTES = 1 << 20


def digest(path: Path) -> str:
    """Return a file's SHA-256."""
    sha = hashlib.sha256()
    size = path.stat().st_size
    with Reporter("digest", title=path.name, total=size, unit="B", leave=False) as bar:
        with path.open("rb") as file:
            while block := file.read(BLOCK_BYTES):
                sha.update(block)
                bar.advance(len(block))
        bar.result = sha.hexdigest()
    return sha.hexdigest()


folder = Path(sys.argv[1] if len(sys.argv) > 1 else ".")
files = sorted(path for path in folder.rglob("*") if path.is_file())
for path in track(files, name="hash_files", title=f"Hash {folder}", unit="file"):
    print(digest(path), path)

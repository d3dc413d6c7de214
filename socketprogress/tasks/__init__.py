"""The built-in definitions: real work on the user's files, read-only and with true progress."""

from __future__ import annotations

from socketprogress.tasks.archive import archive
from socketprogress.tasks.checksum import checksum
from socketprogress.tasks.csv_import import csv_import

__all__ = ["BUILT_INS", "archive", "checksum", "csv_import"]

BUILT_INS = (checksum, archive, csv_import)

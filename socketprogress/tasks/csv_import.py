"""The built-in `csv_import`: a CSV file becomes an indexed SQLite table with a profile."""

from __future__ import annotations

import csv
import io
import json
import os
import re
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from socketprogress.core.errors import TaskFailure
from socketprogress.core.registry import task
from socketprogress.core.reporter import Reporter
from socketprogress.tasks.csv_layout import (
    FIELD_CHARS,
    ColumnTypes,
    Layout,
    column_names,
    sniff,
)
from socketprogress.tasks.csv_table import Table
from socketprogress.tasks.files import FileInRoot, finished, open_one, shown

__all__ = ["csv_import"]

TABLE = re.compile(r"[^\W\d]\w{0,62}\Z")
BATCH_ROWS = 5_000
BATCH_BYTES = 1 << 22
RAGGED_LOGGED = 20


@task(title="Import {path}", steps={"Sniff": 2, "Load": 45, "Index": 20, "Profile": 33}, unit="B")
def csv_import(
    progress: Reporter, path: FileInRoot, table: str | None = None, *, root: Path
) -> dict[str, Any]:
    """Load a CSV file into a SQLite table, index it and profile its columns.

    Encoding, delimiter, header and column types are found out. An empty field becomes NULL, NUL
    characters go, blank lines are no rows. A row that is too short is filled up with NULL, what a
    row has too many stands as a JSON list in an additional column.

    Args:
        progress: takes bytes while sniffing and loading, then rows, then columns.
        path: the file.
        table: the table's name; from the file's name by default.
        root: where a relative path begins.

    Returns:
        ``{table, rows, columns, ragged, encoding, delimiter}``: `columns` and `ragged` are
        numbers, the latter of rows whose width was not the header's.

    Raises:
        TaskFailure: the file cannot be read or is empty, or the table's name cannot be one.
    """
    source = os.path.realpath(root / path)
    name = _table_name(source) if table is None else _checked(table)
    csv.field_size_limit(FIELD_CHARS)
    target = progress.output_dir / f"{name}.sqlite"
    profile = progress.output_dir / "profile.json"
    with os.fdopen(open_one(source), "rb", buffering=0) as file:
        progress.step("Sniff", total=os.fstat(file.fileno()).st_size)
        layout = sniff(progress, file)
        names = column_names(layout.header, layout.width)
        with finished(target) as part, finished(profile) as profile_part:
            with Table(progress, part, name, names) as rows:
                load = _Load(progress, layout, rows)
                load.run(file)
                rows.build(load.types.names())
                columns = rows.profile()
            result = {
                "table": name,
                "rows": rows.count,
                "columns": len(names),
                "ragged": load.ragged,
                "encoding": layout.encoding,
                "delimiter": layout.delimiter,
            }
            text = json.dumps({**result, "columns": columns}, indent=1, ensure_ascii=False)
            profile_part.write_text(text, encoding="utf-8")
    progress.add_file(target)
    progress.add_file(profile)
    return result


class _Load:
    """Reads the rows and hands them to the table in batches."""

    def __init__(self, progress: Reporter, layout: Layout, table: Table) -> None:
        self._progress = progress
        self._layout = layout
        self._table = table
        self.types = ColumnTypes(layout.width)
        self.ragged = 0

    def run(self, file: io.RawIOBase | io.FileIO) -> None:
        """Load the whole file."""
        progress = self._progress
        file.seek(0)
        size_bytes = os.fstat(file.fileno()).st_size
        progress.step("Load", total=size_bytes)
        text = io.TextIOWrapper(
            io.BufferedReader(file, 1 << 18), self._layout.encoding, "replace", newline=""
        )
        line_bytes = size_bytes / max(self._layout.lines, 1)
        batch_rows = max(1, min(BATCH_ROWS, int(BATCH_BYTES / max(line_bytes, 1))))
        try:
            for batch in self._batches(text, batch_rows):
                self._take(batch)
                progress.current = min(file.tell(), size_bytes)
                progress.message = f"{self._table.count:,} rows"
                progress.check()
        finally:
            text.detach().detach()
        progress.current = size_bytes
        if self.ragged > RAGGED_LOGGED:
            progress.log(f"{self.ragged - RAGGED_LOGGED:,} more rows of another width")

    def _batches(self, text: io.TextIOWrapper, size: int) -> Iterator[list[list[str]]]:
        lines = (line.replace("\0", "") for line in text) if self._layout.has_nul else text
        reader = csv.reader(lines, delimiter=self._layout.delimiter)
        try:
            if self._layout.header is not None:
                next((row for row in reader if row), None)
            while batch := list(islice(reader, size)):
                yield batch
        except csv.Error as exc:
            raise TaskFailure(
                f"near line {reader.line_num:,}: {exc}; is a quote not closed there?"
            ) from exc

    def _take(self, batch: list[list[str]]) -> None:
        width = self._layout.width
        widths = set(map(len, batch))
        if 0 in widths:
            batch = [row for row in batch if row]
            widths.discard(0)
        if widths <= {width}:
            self.types.add(batch)
            self._table.add(batch)
            return
        even, surplus = self._even(batch, width)
        self.types.add(even)
        self._table.add(even, surplus=surplus)

    def _even(self, batch: list[list[str]], width: int) -> tuple[list[list[str]], list[str | None]]:
        """Return the rows of equal width, and for each what it had too many, as JSON."""
        even: list[list[str]] = []
        surplus: list[str | None] = []
        for number, row in enumerate(batch, self._table.count + 1):
            if len(row) != width:
                self.ragged += 1
                if self.ragged <= RAGGED_LOGGED:
                    self._progress.log(f"row {number:,}: {len(row)} fields instead of {width}")
            even.append(row[:width] + [""] * (width - len(row)))
            over = row[width:]
            surplus.append(json.dumps(over, ensure_ascii=False) if over else None)
        return even, surplus


def _checked(table: str) -> str:
    if not TABLE.match(table) or table.lower().startswith("sqlite_"):
        raise TaskFailure(
            f"{table!r} cannot name a table: use at most 63 letters, digits and underscores, "
            "no digit first, and not sqlite_ in front"
        )
    return table


def _table_name(path: str) -> str:
    """Return a table name made of a file's name."""
    plain = re.sub(r"\W+", "_", shown(os.path.splitext(os.path.basename(path))[0])).strip("_")
    if not plain or not TABLE.match(plain[:1]):
        plain = f"t_{plain}".rstrip("_")
    plain = plain[:63]
    return f"t_{plain}"[:63] if plain.lower().startswith("sqlite_") else plain

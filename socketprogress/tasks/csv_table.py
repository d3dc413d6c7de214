"""A SQLite table that is filled with text first and typed once every value is known."""

# ruff: noqa: S608 - every name that stands in a statement went through `_quoted`

from __future__ import annotations

import contextlib
import re
import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Self

from socketprogress.core.errors import TaskFailure
from socketprogress.core.reporter import Reporter

__all__ = ["Table"]

MOST_COLUMNS = 1_999
COPIED_ROWS = 20_000
INDEXES = 8
SAMPLE_ROWS = 1_000
KEY_CHARS = 100
SHOWN_CHARS = 200
CALLBACK_STEPS = 20_000
ID_LIKE = re.compile(
    r"(?:^|[\W_])(?:id|uuid|guid|key|code|sku|isbn|iban|email|slug)$|[a-z](?:Id|ID|Key|Code)$|^ID$",
    re.ASCII,
)


class Table:
    """One table of a new database.

    Rows arrive as text in a staging database beside it, so that a type is given to a column only
    when all of its values are known.

    Args:
        progress: takes the counts and is asked about cancellation.
        path: the new database.
        name: the table's name.
        columns: their distinct names.

    Attributes:
        count: rows so far.

    Raises:
        TaskFailure: SQLite cannot hold so many columns.
    """

    def __init__(self, progress: Reporter, path: Path, name: str, columns: Sequence[str]) -> None:
        if len(columns) > MOST_COLUMNS:
            raise TaskFailure(f"{len(columns):,} columns are more than {MOST_COLUMNS:,}")
        self._progress = progress
        self._staging = path.with_name(f"{path.name}.staging")
        self._name = name
        self._columns = list(columns)
        self._types: list[str] = []
        self._indexes: list[tuple[int, bool]] = []
        self._has_surplus = False
        self.count = 0
        self._rows = sqlite3.connect(path, isolation_level=None)
        self._rows.set_progress_handler(self._cancelled, CALLBACK_STEPS)

    def __enter__(self) -> Self:
        fields = ", ".join(f"c{i}" for i in range(len(self._columns)))
        self._execute("PRAGMA journal_mode = MEMORY")  # an index that fails must be undone
        self._execute("PRAGMA synchronous = OFF")
        self._execute("PRAGMA cache_size = -65536")
        self._execute("ATTACH DATABASE ? AS staging", str(self._staging))
        self._execute("PRAGMA staging.journal_mode = OFF")
        self._execute("PRAGMA staging.synchronous = OFF")
        self._execute(f"CREATE TABLE staging.lines ({fields}, surplus)")
        self._execute("BEGIN")
        return self

    def __exit__(self, *exc: object) -> None:
        self._rows.close()
        self._staging.unlink(missing_ok=True)

    def add(self, rows: Sequence[Sequence[str]], *, surplus: Sequence[str | None] = ()) -> None:
        """Add rows of the full width; `surplus` is what each of them had too many."""
        width = len(self._columns)
        fields = ", ".join(f"c{i}" for i in range(width))
        marks = ", ".join("?" * width)
        sql = f"INSERT INTO staging.lines ({fields}) VALUES ({marks})"
        if any(surplus):
            self._has_surplus = True
            sql = f"INSERT INTO staging.lines VALUES ({marks}, ?)"
            rows = [[*row, over] for row, over in zip(rows, surplus, strict=True)]  # type: ignore[list-item]
        with self._interruptible():
            self._rows.executemany(sql, rows)
        self.count += len(rows)

    def build(self, types: Sequence[str]) -> None:
        """Make the table of these column types, and the indexes that are worth having."""
        self._types = list(types)
        candidates = self._candidates()
        self._progress.unit = "row"
        self._progress.step("Index", total=self.count * (1 + len(candidates)))
        self._copy()
        for column, id_like in candidates:
            self._progress.message = self._columns[column]
            self._index(column, id_like=id_like)
            self._progress.advance(self.count)
        self._execute("COMMIT")

    def profile(self) -> list[dict[str, Any]]:
        """Return what is in every column.

        Each is ``{name, type, index, count, nulls, distinct, min, max, mean}``: `index` is
        "unique", "plain" or None, `count` leaves NULLs out, `mean` is None for text.
        """
        indexes = {column: "unique" if unique else "plain" for column, unique in self._indexes}
        self._progress.unit = "column"
        self._progress.step("Profile", total=len(self._columns))
        profiles = []
        for column, (name, kind) in enumerate(zip(self._columns, self._types, strict=True)):
            self._progress.message = name
            field = _quoted(name)
            mean = "NULL" if kind == "TEXT" else f"avg({field})"
            table = _quoted(self._name)
            count, least, most, average = self._row(
                f"SELECT count({field}), min({field}), max({field}), {mean} FROM {table}"
            )
            # Sorted groups stay quick where count(DISTINCT) would look up every value in a tree.
            (distinct,) = self._row(
                "SELECT count(*) FROM "
                f"(SELECT 1 FROM {table} WHERE {field} IS NOT NULL GROUP BY {field})"
            )
            profiles.append(
                {
                    "name": name,
                    "type": kind,
                    "index": indexes.get(column),
                    "count": count,
                    "nulls": self.count - count,
                    "distinct": distinct,
                    "min": _shortened(least),
                    "max": _shortened(most),
                    "mean": average,
                }
            )
            self._progress.advance()
        return profiles

    def _copy(self) -> None:
        surplus = self._surplus_name()
        columns = [f"{_quoted(n)} {k}" for n, k in zip(self._columns, self._types, strict=True)]
        values = [f"NULLIF(c{i}, '')" for i in range(len(self._columns))]
        if surplus is not None:
            columns.append(f"{_quoted(surplus)} TEXT")
            values.append("surplus")
        self._execute(f"CREATE TABLE main.{_quoted(self._name)} ({', '.join(columns)})")
        for first in range(0, self.count, COPIED_ROWS):
            self._execute(
                f"INSERT INTO main.{_quoted(self._name)} SELECT {', '.join(values)} "
                "FROM staging.lines WHERE rowid > ? AND rowid <= ?",
                first,
                first + COPIED_ROWS,
            )
            self._progress.advance(min(COPIED_ROWS, self.count - first))

    def _surplus_name(self) -> str | None:
        if not self._has_surplus:
            return None
        taken = {name.casefold() for name in self._columns}
        name = "surplus"
        while name in taken:
            name += "_"
        return name

    def _candidates(self) -> list[tuple[int, bool]]:
        """Return the columns to index: named like a key, or unique and short as far as is seen."""
        found: list[tuple[int, bool]] = []
        for column, kind in enumerate(self._types):
            id_like = ID_LIKE.search(self._columns[column]) is not None
            rows, filled, distinct, longest = self._row(
                f"SELECT count(*), count(v), count(DISTINCT v), max(length(v)) FROM "
                f"(SELECT NULLIF(c{column}, '') AS v FROM staging.lines LIMIT {SAMPLE_ROWS})"
            )
            unique = kind != "REAL" and distinct == rows > 1
            if filled and longest <= KEY_CHARS and (id_like or unique):
                found.append((column, id_like))
        found.sort(key=lambda candidate: not candidate[1])
        return sorted(found[:INDEXES])

    def _index(self, column: int, *, id_like: bool) -> None:
        name = _quoted(f"{self._name}_{column + 1}")
        on = f"{_quoted(self._name)} ({_quoted(self._columns[column])})"
        try:
            self._execute(f"CREATE UNIQUE INDEX main.{name} ON {on}")
        except sqlite3.IntegrityError:
            if not id_like:
                return
            self._execute(f"CREATE INDEX main.{name} ON {on}")
            self._indexes.append((column, False))
        else:
            self._indexes.append((column, True))

    def _row(self, sql: str) -> tuple[Any, ...]:
        with self._interruptible():
            row: tuple[Any, ...] = self._rows.execute(sql).fetchone()
        return row

    def _execute(self, sql: str, *values: object) -> None:
        with self._interruptible():
            self._rows.execute(sql, values)

    @contextlib.contextmanager
    def _interruptible(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.OperationalError:
            self._progress.check()  # SQLite calls it an interruption
            raise

    def _cancelled(self) -> int:
        return int(self._progress.cancel_requested and self._progress.cancellable)


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _shortened(value: Any) -> Any:
    return value[:SHOWN_CHARS] if isinstance(value, str) else value

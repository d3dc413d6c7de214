"""The built-in `csv_import`: what goes in as text comes out of SQLite unchanged."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from socketprogress.core.errors import Cancelled, TaskFailure
from socketprogress.core.reporter import Reporter
from socketprogress.tasks import csv_import
from socketprogress.tasks.csv_layout import ColumnTypes, column_names


@pytest.fixture
def load(watch: Any, root: Path) -> Any:
    """Write a CSV file, import it, and return what watched the import."""

    def run(content: bytes | str, *, name: str = "data.csv", table: str | None = None) -> Any:
        raw = content.encode() if isinstance(content, str) else content
        (root / name).write_bytes(raw)
        watched = watch(csv_import)
        watched.result = watched.run(root / name, table, root=root)
        return watched

    return run


def rows(watched: Any, sql: str | None = None) -> list[tuple[Any, ...]]:
    name = watched.result["table"]
    with closing(sqlite3.connect(watched.output_dir / f"{name}.sqlite")) as database:
        return database.execute(sql or f'SELECT * FROM "{name}"').fetchall()  # noqa: S608


def columns(watched: Any) -> dict[str, str]:
    return {row[1]: row[2] for row in rows(watched, "PRAGMA table_info(data)")}


def profile(watched: Any) -> dict[str, Any]:
    text = (watched.output_dir / "profile.json").read_text(encoding="utf-8")
    return {column["name"]: column for column in json.loads(text)["columns"]}


def test_a_file_becomes_a_typed_indexed_and_profiled_table(load: Any) -> None:
    run = load("id,name,price,zip\n1,Ann,1.50,00501\n2,Bob,,10115\n3,Ann,2.5,99950\n")

    assert run.result == {
        "table": "data",
        "rows": 3,
        "columns": 4,
        "ragged": 0,
        "encoding": "utf-8",
        "delimiter": ",",
    }
    assert rows(run) == [
        (1, "Ann", 1.5, "00501"),
        (2, "Bob", None, "10115"),
        (3, "Ann", 2.5, "99950"),
    ]
    assert columns(run) == {"id": "INTEGER", "name": "TEXT", "price": "REAL", "zip": "TEXT"}
    assert profile(run)["price"] == {
        "name": "price",
        "type": "REAL",
        "index": None,
        "count": 2,
        "nulls": 1,
        "distinct": 2,
        "min": 1.5,
        "max": 2.5,
        "mean": 2.0,
    }
    assert {name: c["index"] for name, c in profile(run).items()} == {
        "id": "unique",
        "name": None,
        "price": None,
        "zip": "unique",
    }
    assert run.left == ["data.sqlite", "profile.json"]


@pytest.mark.parametrize(
    ("raw", "encoding", "word"),
    [
        ("name,n\ncafé,1\n".encode("utf-8-sig"), "utf-8-sig", "café"),
        ("name,n\ncafé,1\n".encode(), "utf-8", "café"),
        ("name,n\ncafé,1\n".encode("utf-16"), "utf-16", "café"),
        (b"\xfe\xff" + "name,n\ncafé,1\n".encode("utf-16-be"), "utf-16", "café"),
        ("name,n\ncafé,1\n".encode("utf-32"), "utf-32", "café"),
        ("name,n\ncafé,1\n".encode("latin-1"), "latin-1", "café"),
        ("n,name\n1,café".encode("latin-1"), "latin-1", "café"),
        (b"name,n\n" + b"plain,1\n" * 200_000 + "café,2\n".encode("latin-1"), "latin-1", "café"),
    ],
)
def test_the_encoding_is_found(load: Any, raw: bytes, encoding: str, word: str) -> None:
    run = load(raw)

    assert run.result["encoding"] == encoding
    assert rows(run, "SELECT name FROM data ORDER BY rowid DESC LIMIT 1") == [(word,)]


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_the_delimiter_is_found(load: Any, delimiter: str) -> None:
    text = "".join(delimiter.join(row) + "\n" for row in ["abc", "1x2", "3y4", "5z6"])

    run = load(text)

    assert run.result["delimiter"] == delimiter
    assert run.result["columns"] == 3


def test_decimal_commas_are_no_delimiters(load: Any) -> None:
    run = load("price;count\n1,5;2\n2,5;3\n")

    assert run.result["delimiter"] == ";"
    assert rows(run) == [("1,5", 2), ("2,5", 3)]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_every_line_end_is_one(load: Any, end: str) -> None:
    run = load(end.join(["a,b", "1,2", "3,4"]))

    assert rows(run) == [(1, 2), (3, 4)]


def test_quotes_hold_delimiters_line_ends_and_quotes(load: Any) -> None:
    run = load('a,b\n"x, ""y""\r\nz",1\n\'; DROP TABLE data; --,2\n')

    assert rows(run) == [('x, "y"\r\nz', 1), ("'; DROP TABLE data; --", 2)]


def test_a_first_row_of_numbers_above_numbers_is_data(load: Any) -> None:
    run = load("1,x\n2,y\n")

    assert rows(run) == [(1, "x"), (2, "y")]
    assert list(columns(run)) == ["column_1", "column_2"]


def test_odd_column_names_are_made_distinct_and_harmless(load: Any) -> None:
    run = load('Name,,name,"a ""b"" [c]","new\nline",select,rowid,,NAME\n1,2,3,4,5,6,7,8,9\n')

    assert list(columns(run)) == [
        "Name",
        "column_2",
        "name_2",
        'a "b" [c]',
        "new line",
        "select",
        "rowid",
        "column_8",
        "NAME_3",
    ]
    assert rows(run) == [(1, 2, 3, 4, 5, 6, 7, 8, 9)]


def test_column_names_that_are_taken_already_go_on_counting() -> None:
    assert column_names(["a", "a_2", "a"], 3) == ["a", "a_2", "a_3"]


def test_ragged_rows_lose_nothing(load: Any) -> None:
    run = load("a,b,surplus\n1,2,3\n4\n\n5,6,7,8,9\n")

    assert run.result["ragged"] == 2
    assert run.result["columns"] == 3
    assert rows(run) == [(1, 2, 3, None), (4, None, None, None), (5, 6, 7, '["8", "9"]')]
    assert run.log == ["row 2: 1 fields instead of 3", "row 3: 5 fields instead of 3"]
    assert list(columns(run)) == ["a", "b", "surplus", "surplus_"]


def test_many_ragged_rows_are_summed_up_in_the_log(load: Any) -> None:
    run = load("a,b\n1,2\n" + "3\n" * 50)

    assert run.result["ragged"] == 50
    assert len(run.log) == 21
    assert run.log[-1] == "30 more rows of another width"


@pytest.mark.parametrize("content", ["", "\n\n \n"[:2], "\ufeff"])
def test_an_empty_file_fails_and_says_so(load: Any, content: str) -> None:
    with pytest.raises(TaskFailure, match="the file is empty"):
        load(content)


def test_a_header_without_rows_is_an_empty_table(load: Any) -> None:
    run = load("id,name\n")

    assert (run.result["rows"], run.result["columns"]) == (0, 2)
    assert profile(run)["id"]["count"] == 0


def test_nul_characters_are_left_out(load: Any) -> None:
    run = load(b"a,b\nx\0y,1\n\0,2\n")

    assert rows(run) == [("xy", 1), (None, 2)]


def test_huge_fields_are_kept(load: Any) -> None:
    huge = "x" * 3_000_000

    run = load(f'a,b\n"{huge}",1\n')

    assert rows(run) == [(huge, 1)]
    assert len(profile(run)["a"]["min"]) == 200


def test_a_quote_that_is_never_closed_fails_with_its_line(load: Any) -> None:
    text = 'a,b\n1,2\n3,"open\n' + "filling,the,file\n" * 1_200_000

    with pytest.raises(TaskFailure, match=r"near line [\d,]+: .*is a quote not closed there"):
        load(text)


def test_a_line_too_long_for_text_fails(load: Any) -> None:
    with pytest.raises(TaskFailure, match="no CSV file"):
        load(b"a,b\n" + b"x" * (1 << 24) + b"xx\n")


def test_more_columns_than_sqlite_holds_fail(load: Any) -> None:
    with pytest.raises(TaskFailure, match="2,500 columns"):
        load(",".join(f"c{i}" for i in range(2_500)) + "\n")


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        (["1", "-2", "0", ""], "INTEGER"),
        (["1", "2.5", "-.5", "1e3"], "REAL"),
        (["007", "8"], "TEXT"),
        (["12345678901234567890"], "TEXT"),
        (["+491234"], "TEXT"),
        (["1e999"], "TEXT"),
        (["٣"], "TEXT"),
        (["nan"], "TEXT"),
        (["", ""], "TEXT"),
        (["1", "n/a"], "TEXT"),
    ],
)
def test_a_type_never_changes_what_was_written(values: list[str], kind: str) -> None:
    types = ColumnTypes(1)
    types.add([[value] for value in values])

    assert types.names() == [kind]


def test_a_type_follows_from_all_rows_not_from_the_first(load: Any) -> None:
    run = load("n\n" + "".join(f"{i}\n" for i in range(12_000)) + "n/a\n")

    assert columns(run) == {"n": "TEXT"}
    assert rows(run, "SELECT n FROM data LIMIT 1") == [("0",)]


@pytest.mark.parametrize(
    "table",
    [
        "",
        "1st",
        "a b",
        'x"; DROP TABLE y; --',
        "sqlite_master",
        "SQLITE_x",
        "a\0b",
        "x" * 64,
        "ä-ö",
    ],
)
def test_a_bad_table_name_fails_before_anything_is_read(load: Any, table: str) -> None:
    with pytest.raises(TaskFailure, match="cannot name a table"):
        load("a\n1\n", table=table)


@pytest.mark.parametrize(
    ("name", "table"),
    [
        ("Sales 2024.csv", "Sales_2024"),
        ("2024.csv", "t_2024"),
        ("---.csv", "t"),
        ("sqlite_stat.csv", "t_sqlite_stat"),
        ("größe.csv", "größe"),
        ("x" * 100 + ".csv", "x" * 63),
        ("\udcff.csv", "t"),
    ],
)
def test_a_table_is_called_as_its_file(load: Any, name: str, table: str) -> None:
    run = load("a\n1\n", name=name)

    assert run.result["table"] == table
    assert rows(run) == [(1,)]


def test_a_table_may_be_called_as_a_word_of_sql(load: Any) -> None:
    run = load("a\n1\n", table="select")

    assert rows(run) == [(1,)]


def test_a_column_named_like_a_key_is_indexed_even_if_not_unique(load: Any) -> None:
    run = load("customer_id,orderId,idea,x\n1,5,a,1.5\n1,6,a,2.5\n,7,b,3.5\n")

    indexes = {name: column["index"] for name, column in profile(run).items()}
    assert rows(run, "PRAGMA integrity_check") == [("ok",)]
    assert indexes == {"customer_id": "plain", "orderId": "unique", "idea": None, "x": None}


def test_counts_only_rise_and_end_at_their_total(load: Any, root: Path) -> None:
    run = load("id,word\n" + "".join(f"{i},word {i % 7}\n" for i in range(60_000)))

    size = (root / "data.csv").stat().st_size
    ends = {step: counts[-1] for step, counts in run.counts.items()}
    assert ends == {
        "Sniff": (size, size),
        "Load": (size, size),
        "Index": (120_000, 120_000),
        "Profile": (2, 2),
    }
    for counts in run.counts.values():
        assert [c for c, _ in counts] == sorted(c for c, _ in counts)
    assert len(run.reporter.moves["Load"]) > 2


@pytest.mark.parametrize("step", ["Sniff", "Load", "Index", "Profile"])
def test_a_cancelled_import_leaves_nothing(watch: Any, root: Path, step: str) -> None:
    (root / "data.csv").write_text(
        "id,word\n" + "".join(f"{i},word {i % 7}\n" for i in range(100_000))
    )
    run = watch(csv_import)
    run.reporter.__class__ = type("C", (CancelledIn,), {"cancelled_step": step})

    with pytest.raises(Cancelled):
        run.run(root / "data.csv", root=root)

    assert run.left == []
    assert list(run.counts)[-1] == step


class CancelledIn(Reporter):
    """A reporter whose task is cancelled as soon as one step has begun."""

    cancelled_step = ""

    def step(self, name: str, **kwargs: Any) -> None:
        super().step(name, **kwargs)
        if name == self.cancelled_step:
            self.cancel_requested = True


def test_a_single_statement_that_takes_long_is_interrupted(watch: Any, root: Path) -> None:
    # Given an import whose next statement is one sort of many rows
    (root / "data.csv").write_text("word\n" + "".join(f"w{i % 991}\n" for i in range(300_000)))
    run = watch(csv_import)
    run.cancel_at(lambda reporter: reporter.unit == "column" and reporter.message == "word")

    with pytest.raises(Cancelled):
        run.run(root / "data.csv", root=root)

    assert run.left == []


def test_a_folder_or_a_device_is_no_csv_file(watch: Any, root: Path) -> None:
    for path in (root, Path("/dev/zero")):
        with pytest.raises(TaskFailure, match="not a regular file"):
            watch(csv_import).run(path, root=root)


def test_a_file_that_grows_while_it_is_loaded_is_loaded_whole(watch: Any, root: Path) -> None:
    (root / "data.csv").write_text("a\n1\n")

    class Growing(Reporter):
        def step(self, name: str, **kwargs: Any) -> None:
            super().step(name, **kwargs)
            if name == "Load":
                with (root / "data.csv").open("a") as more:
                    more.write("2\n3\n")

    run = watch(csv_import)
    run.reporter.__class__ = Growing

    assert run.run(root / "data.csv", root=root)["rows"] == 3
    assert run.counts["Load"][-1] == (4, 4)

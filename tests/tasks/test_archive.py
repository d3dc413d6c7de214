"""The built-in `archive`, read back by Python's readers and by the system's tools."""

from __future__ import annotations

import os
import shutil
import subprocess
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import pytest

from socketprogress.core.errors import Cancelled, TaskFailure
from socketprogress.core.reporter import Reporter
from socketprogress.tasks import archive

FORMATS = ("zip", "tar.gz", "tar.xz")


def contents(path: Path) -> dict[str, bytes]:
    if path.suffix == ".zip":
        with zipfile.ZipFile(path) as packed:
            return {name: packed.read(name) for name in packed.namelist()}
    with tarfile.open(path, encoding="utf-8", errors="surrogateescape") as tar:
        return {
            member.name + "/" * member.isdir(): stream.read()
            if (stream := tar.extractfile(member))
            else b""
            for member in tar
        }


@pytest.mark.parametrize("form", FORMATS)
def test_an_archive_holds_every_file_under_its_relative_name(
    watch: Any, root: Path, form: str
) -> None:
    (root / "photos" / "2024").mkdir(parents=True)
    (root / "photos" / "empty").mkdir()
    (root / "photos" / "2024" / "b").write_bytes(b"bb" * 50_000)
    (root / "photos" / "a").write_bytes(b"")

    run = watch(archive)
    result = run.run(root / "photos", form, root=root)

    packed = run.output_dir / f"photos.{form}"
    assert result == {
        "files": 2,
        "bytes": 100_000,
        "archive": packed.name,
        "archive_bytes": packed.stat().st_size,
        "verified": True,
    }
    assert contents(packed) == {"2024/b": b"bb" * 50_000, "a": b"", "empty/": b""}
    assert run.left == [packed.name]


@pytest.mark.parametrize(
    ("form", "test"),
    [("zip", ["unzip", "-tq"]), ("tar.gz", ["tar", "-tzf"]), ("tar.xz", ["tar", "-tJf"])],
)
def test_the_systems_tools_read_an_archive_of_odd_names(
    watch: Any, root: Path, odd_names: list[str], form: str, test: list[str]
) -> None:
    tool = shutil.which(test[0])
    if tool is None:
        pytest.skip(f"{test[0]} is not installed")

    run = watch(archive)
    result = run.run(None, form, root=root)

    command = [tool, test[1], str(run.output_dir / result["archive"])]
    done = subprocess.run(command, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    assert result["files"] == len(odd_names)


@pytest.mark.parametrize("form", ["tar.gz", "zip"])
def test_odd_names_survive_the_way_through_an_archive(
    watch: Any, root: Path, odd_names: list[str], form: str
) -> None:
    run = watch(archive)
    result = run.run(None, form, root=root)

    names = set(contents(run.output_dir / result["archive"]))
    if form == "zip":  # a zip file's names are Unicode
        odd_names = [name.replace("\udcff\udcfe", "%FF%FE") for name in odd_names]
    assert names == set(odd_names)


def test_two_names_that_a_zip_file_cannot_tell_apart_are_both_kept(watch: Any, root: Path) -> None:
    for name in ("%FF", "\udcff"):
        (root / name).write_bytes(os.fsencode(name))

    run = watch(archive)
    result = run.run(None, root=root)

    packed = contents(run.output_dir / result["archive"])
    assert packed == {"%FF": b"%FF", "%FF~2": b"\xff"}


@pytest.mark.parametrize("form", FORMATS)
def test_counts_only_rise_and_end_at_their_total(watch: Any, root: Path, form: str) -> None:
    for number in range(300):
        (root / str(number)).write_bytes(os.urandom(number * 10))

    run = watch(archive)
    result = run.run(None, form, root=root)

    assert list(run.counts) == ["Scan", "Pack", "Verify"]
    for step in ("Pack", "Verify"):
        currents = [current for current, _ in run.counts[step]]
        assert currents == sorted(currents)
        assert {total for _, total in run.counts[step]} == {result["bytes"]} == {currents[-1]}
        assert len(run.reporter.moves[step]) > 100


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("step", ["Pack", "Verify"])
def test_a_cancelled_archive_leaves_nothing(watch: Any, root: Path, form: str, step: str) -> None:
    (root / "large").write_bytes(bytes(20 << 20))

    run = watch(archive)
    run.reporter.__class__ = type("C", (CancelledIn,), {"cancelled_step": step})
    with pytest.raises(Cancelled):
        run.run(None, form, root=root)

    assert run.left == []
    assert 0 < run.reporter.current < 20 << 20


class CancelledIn(Reporter):
    """A reporter whose task is cancelled in the midst of one step."""

    cancelled_step = ""
    entered = ""

    def step(self, name: str, **kwargs: Any) -> None:
        super().step(name, **kwargs)
        self.entered = name

    def advance(self, n: float = 1) -> None:
        if self.entered == self.cancelled_step and self.current > 1 << 20:
            self.cancel_requested = True
        super().advance(n)


@pytest.mark.parametrize("form", FORMATS)
def test_an_archive_that_reads_back_differently_is_not_offered(
    watch: Any, root: Path, form: str
) -> None:
    # Given a disk that forgets a byte between packing and verifying
    (root / "file").write_bytes(os.urandom(100_000))
    run = watch(archive)

    class Forgetful(Reporter):
        def step(self, name: str, **kwargs: Any) -> None:
            super().step(name, **kwargs)
            if name == "Verify":
                (part,) = run.output_dir.glob(".*.part")
                with part.open("r+b") as file:
                    file.seek(50_000)
                    byte = file.read(1)[0]
                    file.seek(50_000)
                    file.write(bytes([byte ^ 0xFF]))

    run.reporter.__class__ = Forgetful

    with pytest.raises(TaskFailure, match=r"cannot be read back|is not what was packed"):
        run.run(None, form, root=root)

    assert run.left == []


class Meddling(Reporter):
    """A reporter that changes a file once its neighbour in front of it is packed."""

    change = ""
    folder = Path()

    def advance(self, n: float = 1) -> None:
        file = self.folder / "b"
        if self.total == 300_000 and n and file.exists() and not self.cancel_requested:
            if self.change == "vanishes":
                file.unlink()
            elif self.change == "shrinks" and self.message == "b":
                os.truncate(file, 10)
            elif self.change == "grows" and self.message == "b":
                with file.open("ab") as more:
                    more.write(bytes(1_000))
        super().advance(n)


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("change", ["vanishes", "shrinks", "grows"])
def test_a_file_that_changes_while_it_is_packed_spoils_nothing(
    watch: Any, root: Path, form: str, change: str
) -> None:
    (root / "a").write_bytes(b"a" * 100_000)
    (root / "b").write_bytes(b"b" * 100_000)
    (root / "c").write_bytes(b"c" * 100_000)

    run = watch(archive)
    run.reporter.__class__ = type("M", (Meddling,), {"change": change, "folder": root})
    result = run.run(None, form, root=root)

    packed = contents(run.output_dir / result["archive"])
    assert packed["a"] == b"a" * 100_000
    assert packed["c"] == b"c" * 100_000
    assert run.counts["Pack"][-1] == (300_000, 300_000)
    if change == "vanishes":
        assert set(packed) == {"a", "c"}
    elif change == "grows":
        assert packed["b"] == b"b" * 100_000
        assert "b grew while it was read: packed as it was at first" in run.log
    else:
        assert packed["b"].rstrip(b"\0").strip(b"b") == b""
        assert any(line.startswith("b shrank while it was read: ") for line in run.log)


def test_links_never_lead_out_of_the_root(watch: Any, root: Path, tmp_path: Path) -> None:
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret" / "key").write_bytes(b"secret")
    (root / "folder").symlink_to(tmp_path / "secret")
    (root / "key").symlink_to(tmp_path / "secret" / "key")
    (root / "file").write_bytes(b"1")
    (root / "link").symlink_to("file")

    run = watch(archive)
    result = run.run(None, root=root)

    assert contents(run.output_dir / result["archive"]) == {"file": b"1", "link": b"1"}


@pytest.mark.parametrize(
    ("seconds", "year"), [(0, 1980), (4_000_000_000, 2096), (8_000_000_000, 2107)]
)
def test_a_time_that_zip_cannot_hold_is_moved_to_its_bounds(
    watch: Any, root: Path, seconds: int, year: int
) -> None:
    (root / "old").write_bytes(b"1")
    os.utime(root / "old", (seconds, seconds))

    run = watch(archive)
    run.run(None, root=root)

    with zipfile.ZipFile(run.output_dir / "root.zip") as packed:
        assert packed.infolist()[0].date_time[0] == year


@pytest.mark.parametrize("form", FORMATS)
def test_permissions_and_order_are_kept(watch: Any, root: Path, form: str) -> None:
    for name in ("z", "a", "m"):
        (root / name).write_bytes(b"1")
    (root / "m").chmod(0o750)

    run = watch(archive)
    run.run(None, form, root=root)

    packed = run.output_dir / f"root.{form}"
    assert list(contents(packed)) == ["a", "m", "z"]
    if form == "zip":
        with zipfile.ZipFile(packed) as archived:
            assert archived.getinfo("m").external_attr >> 16 & 0o777 == 0o750
    else:
        with tarfile.open(packed) as tar:
            assert tar.getmember("m").mode == 0o750


def test_the_archives_name_is_harmless(watch: Any, root: Path) -> None:
    folder = root / "..-a b;c\n"
    folder.mkdir()

    run = watch(archive)

    assert run.run(folder, root=root)["archive"] == "a_b_c_.zip"

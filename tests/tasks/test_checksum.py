"""The built-in `checksum`, held against coreutils' own."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from socketprogress.core.errors import Cancelled, TaskFailure
from socketprogress.core.reporter import Reporter
from socketprogress.tasks import checksum, files

MIB = 1 << 20
NOBODY = 65534


def coreutils_check(tool: str, sums: Path, folder: Path) -> None:
    found = shutil.which(tool)
    if found is None:
        pytest.skip(f"{tool} is not installed")
    command = [found, "--check", "--strict", "--quiet", str(sums)]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize(
    ("algorithm", "tool", "name"),
    [
        ("sha256", "sha256sum", "SHA256SUMS"),
        ("sha1", "sha1sum", "SHA1SUMS"),
        ("sha512", "sha512sum", "SHA512SUMS"),
        ("md5", "md5sum", "MD5SUMS"),
        ("blake2b", "b2sum", "B2SUMS"),
    ],
)
def test_coreutils_accept_the_checksum_file_whatever_the_names(
    watch: Any, root: Path, odd_names: list[str], algorithm: str, tool: str, name: str
) -> None:
    run = watch(checksum)

    result = run.run(root, algorithm, root=root)

    assert result["files"] == len(odd_names)
    assert len((run.output_dir / name).read_bytes().splitlines()) >= len(odd_names)
    coreutils_check(tool, run.output_dir / name, root)


def test_the_checksum_file_is_what_sha256sum_would_have_written(
    watch: Any, root: Path, odd_names: list[str]
) -> None:
    tool = shutil.which("sha256sum")
    if tool is None:
        pytest.skip("sha256sum is not installed")
    (root / "-").unlink()  # there it means standard input
    names = sorted((n for n in odd_names if n != "-"), key=os.fsencode)

    run = watch(checksum)
    run.run(None, root=root)

    theirs = subprocess.run([tool, "--", *names], cwd=root, capture_output=True, check=True).stdout
    assert (run.output_dir / "SHA256SUMS").read_bytes() == theirs


def test_a_single_file_is_hashed_under_its_own_name(watch: Any, root: Path) -> None:
    (root / "sub").mkdir()
    (root / "sub" / "one.bin").write_bytes(b"abc")

    run = watch(checksum)
    result = run.run(root / "sub" / "one.bin", root=root)

    assert result == {"files": 1, "bytes": 3, "duplicates": 0}
    digest = hashlib.sha256(b"abc").hexdigest()
    assert (run.output_dir / "SHA256SUMS").read_text() == f"{digest}  one.bin\n"


def test_duplicates_are_the_files_that_could_go(watch: Any, root: Path) -> None:
    # Given three equal files, one of them with a second name, and a pair
    for name in ("a", "b", "c"):
        (root / name).write_bytes(b"same")
    os.link(root / "a", root / "a, linked")
    (root / "b, linked").symlink_to("b")
    for name in ("x", "y"):
        (root / name).write_bytes(b"other")
    (root / "alone").write_bytes(b"alone")

    run = watch(checksum)
    result = run.run(None, root=root)

    assert result["duplicates"] == 3
    groups = json.loads((run.output_dir / "duplicates.json").read_text())
    assert groups == [
        {"digest": hashlib.sha256(b"same").hexdigest(), "size_bytes": 4, "paths": ["a", "b", "c"]},
        {"digest": hashlib.sha256(b"other").hexdigest(), "size_bytes": 5, "paths": ["x", "y"]},
    ]


def test_both_files_are_offered(watch: Any, root: Path) -> None:
    (root / "a").write_bytes(b"a")

    run = watch(checksum)
    run.run(None, root=root)

    offered = [report["files"] for report in run.reports if "files" in report][-1]
    assert [file["name"] for file in offered] == ["SHA256SUMS", "duplicates.json"]
    assert run.left == ["SHA256SUMS", "duplicates.json"]


def test_counts_only_rise_and_end_at_their_total(watch: Any, root: Path) -> None:
    for number in range(500):
        (root / f"{number:03}").write_bytes(bytes(number))
    (root / "large").write_bytes(bytes(30 * MIB))

    run = watch(checksum)
    run.run(None, root=root)

    assert list(run.counts) == ["Scan", "Hash", "Report"]
    for step, counts in run.counts.items():
        currents = [current for current, _ in counts]
        assert currents == sorted(currents), step
        if step != "Scan":
            assert {total for _, total in counts} == {currents[-1]}, step
    assert len(run.reporter.moves["Hash"]) > 500  # with every small file, and within the large one


@pytest.mark.parametrize("size", [64 * 1024, 8 * MIB])
def test_a_cancellation_in_the_midst_of_a_file_leaves_nothing(
    watch: Any, root: Path, size: int
) -> None:
    # Given a file that is hashed in many pieces (sparse: it costs no room), or many files
    with (root / "huge").open("wb") as huge:
        huge.truncate(50_000 * MIB)
    (root / "other").write_bytes(bytes(size))

    run = watch(checksum)
    run.cancel_at(lambda reporter: reporter.unit == "B" and reporter.current >= size)
    with pytest.raises(Cancelled):
        run.run(None, root=root)

    assert run.left == []
    assert run.reporter.current < 49_000 * MIB


def test_a_cancellation_while_reporting_leaves_nothing(watch: Any, root: Path) -> None:
    for number in range(300):
        (root / str(number)).write_bytes(b"")
    run = watch(checksum)
    run.reporter.__class__ = CancelledInReport

    with pytest.raises(Cancelled):
        run.run(None, root=root)

    assert run.left == []


class CancelledInReport(Reporter):
    """A reporter whose task is cancelled at the hundredth line of its report."""

    def advance(self, n: float = 1) -> None:
        if self.unit == "file" and self.total == 300 and self.current == 100:
            self.cancel_requested = True
        super().advance(n)


def test_links_never_lead_out_of_the_root(watch: Any, root: Path, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.mkdir()
    (secret / "key").write_bytes(b"secret")
    (root / "file link").symlink_to(secret / "key")
    (root / "folder link").symlink_to(secret)
    (root / "loop").symlink_to("loop")
    (root / "nowhere").symlink_to("missing")
    (root / "to a device").symlink_to("/dev/zero")
    (root / "inside").write_bytes(b"inside")

    run = watch(checksum)
    result = run.run(None, root=root)

    assert (result["files"], result["bytes"]) == (1, 6)
    log = "\n".join(run.log)
    for name in ("file link", "folder link", "loop", "nowhere", "to a device"):
        assert f"skipped {name}: " in log


def test_a_folder_exchanged_for_a_link_after_the_scan_leads_nowhere(
    root: Path, tmp_path: Path
) -> None:
    # Given a tree that was scanned
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret" / "key").write_bytes(b"secret")
    (root / "folder").mkdir()
    (root / "folder" / "key").write_bytes(b"harmless")
    reporter = Reporter()
    tree = files.scan(reporter, None, root=root, exclude=None, skips=files.Skips(reporter))

    # When its folder becomes a link to one outside
    shutil.rmtree(root / "folder")
    (root / "folder").symlink_to(tmp_path / "secret")

    # Then the file in it is not opened
    with pytest.raises(files.LeftOut, match="out of the root"):
        tree.open(tree.entries[0])


def test_what_is_no_regular_file_is_skipped(
    watch: Any, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    os.mkfifo(root / "fifo")
    monkeypatch.chdir(root)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("socket")
        (root / "file").write_bytes(b"1")

        run = watch(checksum)
        result = run.run(None, root=root)

    assert result["files"] == 1
    assert sorted(run.log) == ["skipped fifo: a FIFO", "skipped socket: a socket"]


def test_the_servers_own_data_is_left_out(watch: Any, root: Path) -> None:
    (root / "data" / "files").mkdir(parents=True)
    (root / "data" / "files" / "state.db").write_bytes(b"12345")
    (root / "data of mine").write_bytes(b"1")
    (root / "link").symlink_to("data/files/state.db")

    run = watch(checksum)
    result = run.run(None, root=root, exclude=root / "data")

    assert (result["files"], result["bytes"]) == (1, 1)


@pytest.fixture
def plain_user_folder() -> Iterator[Path]:
    """A folder of a user for whom permissions count: root may read everything."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o777)
    root_runs_this = os.geteuid() == 0
    if root_runs_this:
        os.seteuid(NOBODY)
    try:
        yield folder
    finally:
        if root_runs_this:
            os.seteuid(0)
        shutil.rmtree(folder)


def test_unreadable_files_and_folders_are_skipped(watch: Any, plain_user_folder: Path) -> None:
    root = plain_user_folder / "root"
    root.mkdir()
    (root / "file").write_bytes(b"1")
    (root / "closed").write_bytes(b"22")
    (root / "closed").chmod(0)
    (root / "folder").mkdir(mode=0)

    run = watch(checksum, plain_user_folder / "results")
    result = run.run(None, root=root)
    (root / "folder").chmod(0o700)

    assert result["files"] == 1
    assert run.counts["Hash"][-1] == (3, 3)
    assert run.log == [
        "skipped folder: Permission denied",
        "skipped closed: Permission denied",
    ]


class Meddling(Reporter):
    """A reporter that changes the tree as soon as hashing begins."""

    meddle: Callable[[], None]

    def step(self, name: str, **kwargs: Any) -> None:
        super().step(name, **kwargs)
        if name == "Hash":
            type(self).meddle()


@pytest.mark.parametrize("change", ["vanishes", "shrinks", "grows", "becomes a folder"])
def test_a_file_that_changes_after_the_scan_does_not_spoil_the_count(
    watch: Any, root: Path, change: str
) -> None:
    (root / "a").write_bytes(bytes(5_000))
    (root / "z").write_bytes(bytes(7_000))
    changed = root / "a"

    def meddle() -> None:
        if change == "shrinks":
            changed.write_bytes(b"1")
        elif change == "grows":
            changed.write_bytes(bytes(5 * MIB))
        else:
            changed.unlink()
        if change == "becomes a folder":
            changed.mkdir()

    run = watch(checksum)
    run.reporter.__class__ = type("M", (Meddling,), {"meddle": staticmethod(meddle)})
    result = run.run(None, root=root)

    assert run.counts["Hash"][-1] == (12_000, 12_000)
    assert result["files"] == (2 if change in {"shrinks", "grows"} else 1)
    if result["files"] == 2:
        coreutils_check("sha256sum", run.output_dir / "SHA256SUMS", root)


def test_an_empty_folder_has_an_empty_checksum_file(watch: Any, root: Path) -> None:
    run = watch(checksum)

    assert run.run(None, root=root) == {"files": 0, "bytes": 0, "duplicates": 0}
    assert (run.output_dir / "SHA256SUMS").read_bytes() == b""


def test_a_path_that_is_not_there_fails_with_its_name(watch: Any, root: Path) -> None:
    with pytest.raises(TaskFailure, match=r"gone cannot be read: No such file"):
        watch(checksum).run(root / "gone", root=root)


def test_many_skipped_files_are_summed_up(watch: Any, root: Path) -> None:
    for number in range(130):
        os.mkfifo(root / str(number))

    run = watch(checksum)
    run.run(None, root=root)

    assert len(run.log) == files.SKIPS_LOGGED + 1
    assert run.log[-1] == "skipped 30 more"


def test_messages_and_log_lines_are_valid_unicode_on_one_line() -> None:
    shown = files.shown("a\udcff\n\u2028b")

    assert shown.encode() == "a\ufffd\ufffd\ufffdb".encode()
